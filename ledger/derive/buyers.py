"""Rows of buyers: the person, how to reach them, their wallet, and who became whom."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation

from bot import ids
from bot.events import Ms
from bot.orders import PAID
from bot.records import Address, Buyer, Link
from ledger import tables
from ledger.derive.entries import Entry, Turn
from ledger.derive.state import Row, State, blank
from ledger.ways import NONE, rows_of, way_of

NOBODY = ""
COUPON_RANK = {"claimed": 0, "expired": 0, "redeemed": 1}


def merge(entry: Entry, buyer: Buyer, state: State) -> None:
    """Whoever became this buyer. Of two survivors the one that took in the other holds, whichever is told of first."""
    for loser in buyer.merged:
        row = state.buyers.get(loser)
        known = row["merged_into"] if row is not None else NOBODY
        if known == buyer.id or (known and known not in buyer.merged):
            continue
        row = dict(row) if row is not None else blank(tables.buyers, id=loser, partition=ids.partition_in(loser) or 0)
        row["merged_into"], row["merged_at"] = buyer.id, entry.ms
        state.buyers.put(loser, row)
        for held in (state.owners, state.coupons):
            for key, owned in list(held.rows.items()):
                if owned["buyer"] == loser:
                    held.put(key, {**owned, "buyer": buyer.id})


def survivor(id: str, state: State) -> str:
    """The buyer's id, or that of whom the buyer became."""
    row = state.buyers.get(id)
    return row["merged_into"] or id if row is not None else id


def put(entry: Entry, turn: Turn, buyer: Buyer, state: State) -> None:
    """The buyer as the record is now. What the record forgets (first order, last marketing) is kept here."""
    before = state.buyers.get(buyer.id) or blank(tables.buyers)
    row = blank(
        tables.buyers,
        id=buyer.id,
        partition=entry.partition,
        home=buyer.home,
        created_at=buyer.created_at,
        updated_at=turn.entry.at,
        erased=buyer.erased,
        merged_into=before["merged_into"],
        merged_at=before["merged_at"],
        r=before["r"],
        f=before["f"],
        m=before["m"],
    )
    row["draw"] = ids.draw(buyer.id)
    addresses = list({(a.account, a.id): _address(buyer.id, a) for a in buyer.addresses}.values())
    row["way"] = way = way_of(addresses)
    row["window_closes_at"] = max((a["window_closes_at"] for a in addresses), default=0)
    if way not in state.ways:
        state.ways[way] = rows_of(way, addresses)
    if not buyer.erased:
        row |= _person(buyer) | _member(buyer) | _orders(buyer, before, state.currency)
        row["last_in_at"] = max((a.last_in for a in buyer.addresses), default=0)
        row["last_marketing_at"] = max([before["last_marketing_at"], *buyer.sent.marketing])
        row["can_market"] = any(map(_can_market, buyer.addresses))
    state.buyers.put(buyer.id, row)
    state.phones[buyer.id] = [{"phone": phone, "buyer": buyer.id} for phone in dict.fromkeys(buyer.phones)]
    state.tags[buyer.id] = [{"buyer": buyer.id, "tag": tag} for tag in dict.fromkeys(buyer.tags)]
    state.addresses[buyer.id] = addresses


def left(entry: Entry, turn: Turn, link: Link, state: State) -> None:
    """A merge's loser is a link now: found by its id alone, reached nowhere."""
    row = dict(state.buyers.get(link.buyer) or blank(tables.buyers, id=link.buyer, partition=entry.partition))
    row |= {"home": link.home, "updated_at": turn.entry.at, "can_market": False, "window_closes_at": 0, "way": NONE}
    state.buyers.put(link.buyer, row)
    state.phones[link.buyer], state.tags[link.buyer], state.addresses[link.buyer] = [], [], []


def _person(buyer: Buyer) -> Row:
    year, month, day = _birthday(buyer.birthday)
    return {
        "name": buyer.name,
        "locale": buyer.locale,
        "timezone": buyer.timezone,
        "birthday": buyer.birthday,
        "birth_year": year,
        "birth_month": month,
        "birth_day": day,
        "gender": buyer.gender,
        "sizes": json.dumps(buyer.sizes, ensure_ascii=False, sort_keys=True) if buyer.sizes else "",
    }


def _member(buyer: Buyer) -> Row:
    found: Row = {"left_club_at": buyer.left_club_at}
    if (member := buyer.member) is not None:
        found |= {
            "member_no": member.number,
            "member_level": member.level,
            "member_points": member.points,
            "member_joined_at": member.joined_at,
            "member_source": member.source,
        }
    return found


def _orders(buyer: Buyer, before: Row, currency: str) -> Row:
    spent, count = _amount(buyer.spent.get(currency, "0")), buyer.orders_count
    times = [o.paid_at or o.placed_at for o in buyer.orders if o.pay in PAID]
    times = [at for at in (*times, before["first_order_at"]) if at]
    return {
        "orders_count": count,
        "spent": spent,
        "average_order": spent / count if count > 0 else Decimal(0),
        "first_order_at": min(times, default=0),
        "last_order_at": buyer.last_order_at,
    }


def _birthday(text: str) -> tuple[int, int, int]:
    parts = text.split("-")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) not in (2, 3):
        return 0, 0, 0
    numbers = [0, *map(int, parts)][-3:]
    return numbers[0], numbers[1], numbers[2]


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


def _can_market(address: Address) -> bool:
    granted = address.consent.marketing == "granted"
    return granted and address.reachable and not address.blocked and not address.opted_out


def _address(buyer: str, address: Address) -> Row:
    consent = address.consent
    return {
        "buyer": buyer,
        "account": address.account,
        "address": address.id,
        "reachable": address.reachable,
        "blocked": address.blocked,
        "opted_out": address.opted_out,
        "service": consent.service,
        "marketing": consent.marketing,
        "calls": consent.calls,
        "coupons": consent.coupons,
        "window_closes_at": max((window.closes_at for window in address.windows.values()), default=0),
        "last_in_at": address.last_in,
        "followed_at": address.followed_at,
    }


def coupons(turn: Turn, buyer: Buyer, state: State) -> None:
    """The wallet. A coupon only goes from claimed to redeemed, and from a buyer to whom the buyer became."""
    holder = survivor(buyer.id, state)
    for coupon in buyer.coupons:
        row = state.coupons.get(coupon.code)
        used = coupon.state == "redeemed"
        fresh = blank(
            tables.coupons,
            code=coupon.code,
            buyer=holder,
            campaign=coupon.campaign,
            state="redeemed" if used else "claimed",
            claimed_at=coupon.claimed_at,
            expires_at=coupon.expires_at,
            redeemed_at=turn.entry.at if used else 0,
            order_id=coupon.order,
        )
        found = fresh if row is None else _held_already(row, fresh)
        if found != row:
            state.coupons.put(coupon.code, found)


def _held_already(row: Row, fresh: Row) -> Row:
    if fresh["state"] != "redeemed":
        return row
    at: Ms = min(filter(None, (row["redeemed_at"], fresh["redeemed_at"])))
    return {**row, "state": "redeemed", "redeemed_at": at, "order_id": row["order_id"] or fresh["order_id"]}
