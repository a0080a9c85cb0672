"""What would become of a broadcast: everything that a preview tells of an audience, counted in one pass over the buyers."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, TypeAlias

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, literal, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.broadcasts import Broadcast
from bot.events import Ms
from bot.locales import LOCALES
from ledger import tables
from ledger.lanes import NEAREST, Lanes
from ledger.segments.conditions import Condition, parse_text
from ledger.segments.kinds import Moment
from ledger.segments.preview import collected, enough, sliced, split
from ledger.segments.sql import compiled, where_of
from ledger.tally import Columns, tally

_MIXED = 1 << 30


class Preview(Struct, omit_defaults=True):
    """What would become of a broadcast that started now. Numbers of buyers.

    `matched`: whom the conditions hold; `excluded`: by switch, how many of these it leaves out (a buyer may count at several);
    `count`: the audience. Of the audience: `sendable` to somebody's address now, `skipped` by reason, the rest; `lanes`: (account,
    locale) → to how many it would go there, by the order of `accounts`; `reachable`: account → for how many it would do, whatever
    the order; `by_locale` ("": none of ours is known); `by_variant`; `capped`: sendable, but over the weekly or daily cap, so they wait.
    """

    count: int
    matched: int
    excluded: dict[str, int]
    sendable: int
    skipped: dict[str, int]
    lanes: dict[tuple[str, str], int]
    reachable: dict[str, int]
    by_locale: dict[str, int]
    by_variant: dict[str, int]
    capped: int
    sample: list[str]
    as_of: Ms = 0


class Who(Struct, frozen=True):
    """Whom a broadcast's conditions hold, and whom each of its switches leaves out."""

    matched: Condition
    left_out: dict[str, Condition]

    def where(self, moment: Moment) -> ColumnElement[bool]:
        """The audience."""
        return and_(where_of(self.matched, moment), *(not_(compiled(one, moment)) for one in self.left_out.values()))


_Key: TypeAlias = tuple[str, ...]


async def foreseen(
    connection: AsyncConnection, broadcast: Broadcast, lanes: Lanes, who: Who, moment: Moment, *, sample: int
) -> Preview:
    """The preview, without `as_of`; `sample`: ids of at most so many of the audience."""
    variants = {name: n for n, name in enumerate(dict.fromkeys(("", *(one.name for one in broadcast.variants))))}
    each = _each(broadcast, lanes, who, moment, variants)
    seed, where = broadcast.where + broadcast.segment, who.where(moment)

    def wanted(c: Columns) -> dict[_Key, ColumnElement[bool]]:
        return _wanted(c, lanes, list(who.left_out), variants)

    if connection.dialect.name == "sqlite":
        told, (ids,) = await tally(
            connection,
            each.add_columns(tables.buyers.c.id, tables.buyers.c.draw),
            wanted,
            lambda c: collected(case((c.out == 0, c.id)), c.draw, seed),
        )
        drawn = split(ids)
    else:
        told, _ = await tally(connection, each, wanted)
        drawn = await sliced(connection, where, seed) if sample else []
    count = told["count",]
    found = await enough(connection, where, seed, drawn, min(sample, count)) if sample else []
    return Preview(
        count=count,
        matched=told["matched",],
        excluded={name: told["excluded", name] for name in who.left_out},
        sendable=count - sum(_some(told, "skipped").values()),
        skipped=_some(told, "skipped"),
        lanes={(key[1], key[2]): n for key, n in told.items() if key[0] == "lanes" and n},
        reachable=_some(told, "reachable"),
        by_locale=_some(told, "locale"),
        by_variant=_some(told, "variant") if broadcast.variants else {},
        capped=told["capped",],
        sample=found,
    )


def _some(told: dict[_Key, int], what: str) -> dict[str, int]:
    return {key[1]: count for key, count in told.items() if key[0] == what and count}


def _each(
    broadcast: Broadcast, lanes: Lanes, who: Who, moment: Moment, variants: dict[str, int]
) -> Select[tuple[Any, ...]]:
    """Of every buyer whom the conditions hold: small numbers that stand for all that is counted."""
    out: ColumnElement[int] = literal(0)
    for n, one in enumerate(who.left_out.values()):
        out += case((compiled(one, moment), 1 << n), else_=0)
    locale = case({name: n for n, name in enumerate(LOCALES, 1)}, value=tables.buyers.c.locale, else_=0)
    return (
        select(
            out.label("out"),
            locale.label("locale"),
            lanes.able().label("able"),
            lanes.why().label("why"),
            variant_of(broadcast, moment, variants).label("variant"),
            case((lanes.capped(), 1), else_=0).label("capped"),
        )
        .select_from(lanes.source)
        .where(where_of(who.matched, moment))
    )


def _wanted(c: Columns, lanes: Lanes, switches: list[str], variants: dict[str, int]) -> dict[_Key, ColumnElement[bool]]:
    kept, nowhere = c.out == 0, c.able == 0
    locales = dict(enumerate(("", *LOCALES)))
    found: dict[_Key, ColumnElement[bool]] = {("matched",): c.out >= 0, ("count",): kept}
    found |= {("excluded", name): c.out.bitwise_and(1 << n) != 0 for n, name in enumerate(switches)}
    found |= {("skipped", str(reason)): and_(kept, nowhere, c.why == n) for n, reason in enumerate(NEAREST)}
    found |= {("locale", name): and_(kept, c.locale == n) for n, name in locales.items()}
    found |= {("variant", name): and_(kept, c.variant == n) for name, n in variants.items()}
    for n, account in enumerate(lanes.names):
        found["reachable", account] = and_(kept, c.able.bitwise_and(1 << n) != 0)
        first = c.able.bitwise_and((2 << n) - 1) == 1 << n  # no earlier one does
        found |= {("lanes", account, name): and_(kept, first, c.locale == at) for at, name in locales.items()}
    return found | {("capped",): and_(kept, not_(nowhere), c.capped == 1)}


def variant_of(broadcast: Broadcast, moment: Moment, spelled: dict[str, Any] | None = None) -> ColumnElement[Any]:
    """The variant a buyer gets, "" for the broadcast's own words; by its name, or as `spelled`."""

    def value(name: str) -> ColumnElement[Any]:
        return literal(spelled[name] if spelled else name)

    whens = [
        (compiled(parse_text(one.where, path=f"variants[{n}].where"), moment), value(one.name))
        for n, one in enumerate(broadcast.variants)
        if one.where
    ]
    shared = [one for one in broadcast.variants if not one.where and one.weight > 0]
    total, upto = sum(one.weight for one in shared), 0
    drawn = mixed(broadcast.id)
    for one in shared[:-1]:
        upto += one.weight
        whens.append((drawn < upto * _MIXED // total, value(one.name)))
    rest = value(shared[-1].name if shared else "")
    return case(*whens, else_=rest) if whens else rest


def mixed(salt: str) -> ColumnElement[int]:
    """A number from 0 up to 2^30 for each buyer, spread evenly and anew for each salt.

    What was drawn with the id already, multiplied by an odd number that follows from the salt, as both databases can.
    """
    drawn = int.from_bytes(blake2b(salt.encode(), digest_size=8).digest(), "big")
    factor, shift = (drawn & (_MIXED - 1)) | 1, drawn >> 32 & (_MIXED - 1)
    return (tables.buyers.c.draw * literal(factor, BigInteger) + shift) % _MIXED
