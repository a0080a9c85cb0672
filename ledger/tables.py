"""The tables of the ledger (SQLAlchemy Core): the raw journal, and what is derived from it.

Times are ms since 1970 UTC, as everywhere. Amounts are exact: `Amount` keeps ten-thousandths of the currency's unit as an
integer, so that both databases compare them alike. Every derived table can be made anew from `journal` (`ledger.rebuild`).

Buyers, and what is kept per buyer, lie in the order of buyers' ids in SQLite (`WITHOUT ROWID`): a question over a million
buyers reads what lies beside them in passing (0.6 s) rather than by a million far look-ups (1.9 s). What it asks of everybody's
addresses it need not read at all: a shop's buyers are reached in some hundred different ways, and each names his (`ways`, 0.1 s).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

SCALE = 10_000
RECKONED = {"reckoned": True}  # a column that is worked out from other rows at times: the projector leaves it as it is
_CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}  # rows lie in the order of their key: one tree to write


def scaled(value: Decimal | str | int) -> int:
    """An amount as it is kept; what is finer than a ten-thousandth is rounded half to even."""
    return int((Decimal(value) * SCALE).to_integral_value())


class Amount(TypeDecorator[Decimal]):
    """A decimal amount as an integer of ten-thousandths."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | str | int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else scaled(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else Decimal(value) / SCALE


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=primary_key, nullable=False, default="")


def _ms(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0)


def _rooted() -> Column[bool]:
    """Raw entries that told of the row are gone (`ledger.retention`): a rebuild keeps it as it stands."""
    return Column("rooted", Boolean, nullable=False, default=False, server_default=false(), info=RECKONED)


# --- what is copied ---------------------------------------------------------------------------------------------------

facts = Table(
    "facts",  # of the ledger itself: epoch (which store it belongs to), derived (which rules made the derived tables)
    metadata,
    _text("name", primary_key=True),
    _text("value"),
)

positions = Table(
    "positions",  # up to which journal entry (`ms-seq`) a partition is projected
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    _text("last_id"),
    Column("floor", Text, nullable=False, default="", server_default=""),  # up to which raw entries are gone by age
)

journal = Table(
    "journal",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _text("kind"),  # turn, send, status, broadcast, unplanned
    Column("body", LargeBinary, nullable=False),
)

# --- buyers -----------------------------------------------------------------------------------------------------------

_MERGED = text("merged_into <> ''")
buyers = Table(
    "buyers",
    metadata,
    _text("id", primary_key=True),
    Column("partition", Integer, nullable=False),
    _text("home"),
    _ms("created_at"),
    _ms("updated_at"),
    _text("name"),
    _text("locale"),
    _text("timezone"),
    _text("birthday"),  # "1990-01-02", "01-02" or ""
    _count("birth_year"),  # 0 unknown
    _count("birth_month"),
    _count("birth_day"),
    _text("gender"),
    _text("sizes"),  # JSON
    _flag("erased"),
    _text("merged_into"),  # id of the survivor
    _ms("merged_at"),  # when that was last told, by the server's time
    _text("member_no"),
    _text("member_level"),
    _count("member_points"),
    _ms("member_joined_at"),  # 0: no member
    _text("member_source"),
    _ms("left_club_at"),
    _count("orders_count"),  # paid orders, as in the record
    Column("spent", Amount, nullable=False, default=Decimal(0)),  # in the brand's currency
    Column("average_order", Amount, nullable=False, default=Decimal(0)),
    _ms("first_order_at"),
    _ms("last_order_at"),
    _ms("last_in_at"),  # last message from the buyer, on any address
    _ms("last_marketing_at"),
    _flag("can_market"),  # some address grants marketing, is reachable and not opted out
    # The latest of its addresses; and in which way they reach it (`ways`), 0: by no address.
    Column("window_closes_at", BigInteger, nullable=False, default=0, server_default="0"),
    Column("way", BigInteger, nullable=False, default=0, server_default="0"),
    Column(
        "draw", Integer, nullable=False, default=0, server_default="0"
    ),  # thirty of the id's random bits (`ids.draw`)
    Column(
        "r", SmallInteger, nullable=False, default=0, info=RECKONED
    ),  # recency, frequency and money: 1 to 5, 0 never bought
    Column("f", SmallInteger, nullable=False, default=0, info=RECKONED),
    Column("m", SmallInteger, nullable=False, default=0, info=RECKONED),
    _rooted(),
    Index("ix_buyers_partition_id", "partition", "id"),
    Index("ix_buyers_member_no", "member_no"),
    Index("ix_buyers_last_order_at", "last_order_at"),
    Index("ix_buyers_merged_into", "merged_into", sqlite_where=_MERGED, postgresql_where=_MERGED),
    **_CLUSTERED,
)

phones = Table("phones", metadata, _text("phone", primary_key=True), _text("buyer", primary_key=True), **_CLUSTERED)
Index("ix_phones_buyer", phones.c.buyer)

tags = Table("tags", metadata, _text("buyer", primary_key=True), _text("tag", primary_key=True), **_CLUSTERED)
Index("ix_tags_tag_buyer", tags.c.tag, tags.c.buyer)

addresses = Table(
    "addresses",
    metadata,
    _text("buyer", primary_key=True),
    _text("account", primary_key=True),
    _text("address", primary_key=True),
    _flag("reachable"),
    _flag("blocked"),
    _flag("opted_out"),
    _text("service"),  # granted, refused, unknown
    _text("marketing"),
    _text("calls"),
    _text("coupons"),
    _ms("window_closes_at"),  # the latest of its reply windows; 0 none open
    _ms("last_in_at"),
    _ms("followed_at"),
    Index("ix_addresses_account_address", "account", "address"),
    **_CLUSTERED,
)

ways = Table(
    "ways",  # in which ways people can be reached, each set of addresses that somebody has once: what buyers' `way` names
    metadata,
    Column("way", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("account"),
    _flag("reachable"),
    _flag("blocked"),
    _flag("opted_out"),
    _text("service"),
    _text("marketing"),
    _text("calls"),
    _text("coupons"),
    **_CLUSTERED,
)

_OUTLIVES = text("kept_until > 0")
consents = Table(
    "consents",  # the evidence: one row per answer, kept as given
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("buyer"),
    _text("account"),
    _text("address"),
    _text("topic"),  # marketing, coupons, calls, service; notice:<template> for single notices
    _text("verdict"),
    _ms("at"),
    _text("wording"),  # key and version of what was shown
    _text("source"),
    Column("ip", Text, nullable=False, default="", server_default=""),  # of the browser that answered; "" no browser
    Column("browser", Text, nullable=False, default="", server_default=""),  # what it called itself
    Column("kept_until", BigInteger, nullable=False, default=0, server_default="0"),  # after its buyer went by age
    Index("ix_consents_buyer", "buyer"),
    Index("ix_consents_kept_until", "kept_until", sqlite_where=_OUTLIVES, postgresql_where=_OUTLIVES),
    **_CLUSTERED,
)

coupons = Table(
    "coupons",
    metadata,
    _text("code", primary_key=True),
    _text("buyer"),
    _text("campaign"),
    _text("state"),  # claimed, redeemed; expired follows from expires_at
    _ms("claimed_at"),
    _ms("expires_at"),
    _ms("redeemed_at"),
    _text("order_id"),
    _ms("told_at"),  # by the server's time: what was told last holds
    _rooted(),
    Index("ix_coupons_buyer", "buyer"),
    Index("ix_coupons_campaign_state", "campaign", "state"),
    **_CLUSTERED,
)

# --- orders -----------------------------------------------------------------------------------------------------------

orders = Table(
    "orders",
    metadata,
    _text("subject", primary_key=True),
    _text("shop"),
    _text("id"),
    _text("number"),
    _text("pay"),
    _text("ship"),
    _text("refund"),
    _text("closed"),
    Column("total", Amount, nullable=False, default=Decimal(0)),
    _text("currency"),
    _text("city"),
    _ms("placed_at"),
    _ms("paid_at"),
    _ms("updated_at"),
    _rooted(),
    Column("buyer", Text, nullable=False, default="", server_default="", info=RECKONED),  # follows from `owners`
    Index("ix_orders_placed_at", "placed_at"),
    # In the buyers' order, as below: sums need no sort, and a set of buyers is filled from its end (0.7 → 0.3 s for a million).
    Index("ix_orders_buyer_paid_at_shop_currency_total", "buyer", "paid_at", "shop", "currency", "total"),
    Index("ix_orders_city_buyer_placed_at", "city", "buyer", "placed_at"),
)

owners = Table(
    "owners",  # whose order: told by the buyer's record, in any order with the order itself
    metadata,
    _text("subject", primary_key=True),
    _text("buyer"),
    _ms("told_at"),  # when the order last sent word to this buyer, by the server's time; 0: only remembered
    _rooted(),
    Index("ix_owners_buyer", "buyer"),
    **_CLUSTERED,
)

items = Table(
    "items",
    metadata,
    _text("subject", primary_key=True),  # of the order
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("sku"),
    _text("product"),  # product_id, "" where the shop names none
    _text("title"),
    _count("qty"),
    Column("price", Amount, nullable=False, default=Decimal(0)),
    _ms("paid_at"),  # of the order; 0 unpaid
    Column("buyer", Text, nullable=False, default="", server_default="", info=RECKONED),  # follows from `owners`
    Index("ix_items_product_buyer_paid_at", "product", "buyer", "paid_at"),
    Index("ix_items_sku_buyer_paid_at", "sku", "buyer", "paid_at"),
    Index("ix_items_title_buyer_paid_at", "title", "buyer", "paid_at"),
    **_CLUSTERED,
)

# --- messages, decisions, tasks, timelines ----------------------------------------------------------------------------

messages = Table(
    "messages",
    metadata,
    _text("id", primary_key=True),
    Column("partition", Integer, nullable=False),
    _text("buyer"),
    _text("account"),
    _text("address"),
    _text("purpose"),
    _text("key"),
    _text("source"),
    _text("broadcast"),
    _text("order_id"),
    _text("text"),
    _text("state"),
    _text("reason"),
    Column("code", Text, nullable=False, default="", server_default=""),  # the provider's own, of a failure
    _ms("created_at"),
    _ms("updated_at"),
    _count("parts"),  # the provider's count, else as planned
    _text("price"),  # of one part, as configured when it was planned: decimal and currency, "" unknown
    _text("cost"),  # decimal and currency, "" unknown
    _text("touch"),  # message key of the touch, if it is one
    _text("topic"),
    _text("locale"),
    _text("again_of"),  # id of the message that failed before, whose words it repeats
    _text("order_subject"),  # the order that it is about: whose it is, where no buyer is named, follows from `owners`
    _rooted(),
    Index("ix_messages_order_subject", "order_subject"),
    Index("ix_messages_buyer_created_at", "buyer", "created_at"),
    Index("ix_messages_created_at_id", "created_at", "id"),
    Index("ix_messages_broadcast_state_buyer", "broadcast", "state", "buyer"),
)

history = Table(
    "history",  # the states that a message went through
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("message"),
    _text("state"),
    _text("reason"),
    _text("code"),
    _ms("at"),
    Index("ix_history_message", "message"),
    **_CLUSTERED,
)

decisions = Table(
    "decisions",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("message"),
    _text("buyer"),
    _text("purpose"),
    _text("outcome"),
    _text("source"),
    _text("key"),
    _text("account"),
    _text("reason"),
    Column("order_id", Text, nullable=False, default="", server_default=""),
    _text("order_subject"),
    _ms("at"),
    _ms("until"),
    _text("rules"),  # JSON list
    _text("denied_by"),  # the rule that denied or deferred, for look-ups
    Index("ix_decisions_at_message", "at", "message"),
    Index("ix_decisions_buyer_at", "buyer", "at"),
    Index("ix_decisions_message", "message"),
    Index("ix_decisions_order_subject", "order_subject"),
)

tasks = Table(
    "tasks",
    metadata,
    _text("id", primary_key=True),
    _text("kind"),
    _text("state"),
    _text("buyer"),
    _text("order_id"),
    _text("brief"),
    _text("assignee"),
    _text("outcome"),
    _text("note"),
    _ms("created_at"),
    _ms("due_at"),
    _text("home"),  # subject of the record that opened it
    _text("order_subject"),
    _ms("told_at"),  # by the server's time: what was told last holds
    _rooted(),
    Index("ix_tasks_buyer", "buyer"),
    Index("ix_tasks_state_created_at", "state", "created_at"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("ms", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    _text("buyer"),
    _ms("at"),
    _text("kind"),
    _text("summary"),
    _text("ref"),
    Index("ix_timeline_buyer_at", "buyer", "at", "partition", "ms", "seq", "line"),  # the order of its pages
    **_CLUSTERED,
)

# --- broadcasts -------------------------------------------------------------------------------------------------------

segments = Table(
    "segments",  # saved by staff: not derived
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("definition"),  # JSON of `where`
    _text("created_by"),
    _ms("created_at"),
    _text("updated_by"),
    _ms("updated_at"),
    _count("version"),  # rises with every change: two staff do not overwrite each other unseen
)

audiences = Table(
    "audiences",  # who a broadcast is for, frozen when it starts: not derived
    metadata,
    _text("broadcast", primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    _text("buyer", primary_key=True),
    _text("home"),
    _text("variant"),
    **_CLUSTERED,
)

frozen = Table(
    "frozen",  # which audiences are complete: one may well be empty; not derived
    metadata,
    _text("broadcast", primary_key=True),
    Column("size", BigInteger, nullable=False),
    _ms("at"),
)

ROOTED = (buyers, coupons, owners, orders, messages, tasks)
"""Tables whose rows may outlive the raw entries that told of them."""

PARTS = ((phones, "buyer", buyers), (tags, "buyer", buyers), (addresses, "buyer", buyers), (items, "subject", orders))
"""What lies beside a row: table, column that names the row, table of the row."""

KEPT = (journal, segments, audiences, frozen, positions, facts)
"""What does not follow from the journal: a rebuild leaves it, a move to another database copies it, facts last (a ledger without
them belongs to no store, so that a move that broke off is not taken for whole)."""
