"""Segments without SQL: the same conditions over the same rows, read once and judged buyer by buyer in plain Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables

DAY = 86_400_000
READ = ("buyers", "tags", "addresses", "orders", "owners", "items", "coupons", "messages")
Row = dict[str, Any]


class People:
    """All buyers with what is theirs."""

    def __init__(self, rows: dict[str, list[Row]], now: int, zone: ZoneInfo) -> None:
        self.now, self.zone = now, zone
        self.buyers = {b["id"]: b for b in rows["buyers"]}
        merged = {id: b["merged_into"] for id, b in self.buyers.items() if b["merged_into"]}
        owners = {o["subject"]: o["buyer"] for o in rows["owners"]}
        self.tags, self.addresses, self.orders, self.items, self.coupons, self.messages = (
            {id: [] for id in self.buyers} for _ in range(6)
        )
        for name in ("tags", "addresses", "coupons"):
            for row in rows[name]:
                getattr(self, name)[row["buyer"]].append(row)
        for name in ("orders", "items"):
            for row in rows[name]:
                if row["subject"] in owners:
                    getattr(self, name)[owners[row["subject"]]].append(row)
        for row in rows["messages"]:
            for whose in {row["buyer"], merged.get(row["buyer"], row["buyer"])}:
                self.messages[whose].append(row)

    def inside(self, where: Row) -> set[str]:
        """The ids of those in the segment."""
        return {
            id
            for id, buyer in self.buyers.items()
            if not buyer["erased"] and not buyer["merged_into"] and self.holds(where, buyer)
        }

    def holds(self, where: Row, buyer: Row) -> bool:
        if "all" in where:
            return all(self.holds(part, buyer) for part in where["all"])
        if "any" in where:
            return any(self.holds(part, buyer) for part in where["any"])
        if "none" in where:
            return not any(self.holds(part, buyer) for part in where["none"])
        if "not" in where:
            return not self.holds(where["not"], buyer)
        return _FIELDS[where["field"]](self, where, buyer)

    # --- times ----------------------------------------------------------------------------------------------------

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.now / 1000, self.zone).date()

    def start(self, value: Any) -> int:
        if isinstance(value, dict):
            return self.now - value["days"] * DAY
        if len(value) == 10:
            return int(datetime.combine(date.fromisoformat(value), datetime.min.time(), self.zone).timestamp() * 1000)
        return int(datetime.fromisoformat(value).timestamp() * 1000)

    def end(self, value: Any) -> int:
        """The first moment that no longer counts to a time that itself does."""
        if isinstance(value, str) and len(value) == 10:
            return self.start((date.fromisoformat(value) + timedelta(days=1)).isoformat())
        return self.start(value) + 1

    def spans(self, where: Row, at: int) -> bool:
        return ("since" not in where or at >= self.start(where["since"])) and (
            "until" not in where or at < self.start(where["until"])
        )


def compare(op: str, known: Any, value: Any) -> bool:
    return {
        "=": lambda: known == value,
        "!=": lambda: known != value,
        "<": lambda: known < value,
        "<=": lambda: known <= value,
        ">": lambda: known > value,
        ">=": lambda: known >= value,
        "between": lambda: value[0] <= known <= value[1],
        "in": lambda: known in value,
        "not_in": lambda: known not in value,
        "contains": lambda: value in known,
        "starts_with": lambda: known.startswith(value),
        "known": lambda: bool(known) is value,
    }[op]()


def among(op: str, has: Callable[[Any], bool], value: Any) -> bool:
    """Has, has not, has any, has none, has all."""
    return {
        "=": lambda: has(value),
        "!=": lambda: not has(value),
        "in": lambda: any(map(has, value)),
        "not_in": lambda: not any(map(has, value)),
        "all": lambda: all(map(has, value)),
    }[op]()


Judge = Callable[[People, Row, Row], bool]


def plain(column: str) -> Judge:
    return lambda _, w, b: compare(w["op"], b[column], w["value"])


def amount(read: Callable[[People, Row, Row], Decimal | None]) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        value = [Decimal(v) for v in w["value"]] if isinstance(w["value"], list) else Decimal(w["value"])
        known = read(people, w, b)
        return known is not None and compare(w["op"], known, value)

    return judge


def number(read: Callable[[People, Row, Row], int | None]) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        known = read(people, w, b)
        return known is not None and compare(w["op"], known, w["value"])

    return judge


def moment(column: str) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        at, op, value = b[column], w["op"], w["value"]
        if op == "known":
            return bool(at) is value
        if op == "not_within":
            return not at or at < people.start(value)
        if not at:
            return False
        if op == "between":
            return people.start(value[0]) <= at < people.end(value[1])
        return at < people.start(value) if op == "before" else at >= people.start(value)

    return judge


def age(people: People, _: Row, b: Row) -> int | None:
    if not b["birth_year"]:
        return None
    today = people.today
    return today.year - b["birth_year"] - ((today.month, today.day) < (b["birth_month"], b["birth_day"]))


def band(people: People, w: Row, b: Row) -> bool:
    years = age(people, w, b)
    names = {"under_18": (0, 17), "18-24": (18, 24), "25-35": (25, 35), "36-50": (36, 50), "over_50": (51, 999)}
    mine = next((n for n, (low, high) in names.items() if years is not None and low <= years <= high), None)
    return among(w["op"], lambda name: name == mine, w["value"])


def birthday_in(people: People, _: Row, b: Row) -> int | None:
    if not b["birth_month"]:
        return None
    for ahead in range(367):
        day = people.today + timedelta(days=ahead)
        month, of_month = b["birth_month"], b["birth_day"]
        if (month, of_month) == (2, 29) and not (day.year % 4 == 0 and (day.year % 100 or day.year % 400 == 0)):
            of_month = 28
        if (day.month, day.day) == (month, of_month):
            return ahead
    raise AssertionError


def size(_: People, w: Row, b: Row) -> bool:
    return compare(w["op"], json.loads(b["sizes"] or "{}").get(w.get("kind", "top"), ""), w["value"])


def at_addresses(condition: Callable[[People, Row], bool]) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        mine = [a for a in people.addresses[b["id"]] if w.get("account", a["account"]) == a["account"]]
        return any(condition(people, a) for a in mine) is w["value"]

    return judge


def consent(topic: str) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        said = {a[topic] for a in people.addresses[b["id"]] if w.get("account", a["account"]) == a["account"]}
        return among(w["op"], said.__contains__, w["value"])

    return judge


def marketable(_: People, a: Row) -> bool:
    return a["marketing"] == "granted" and a["reachable"] and not a["blocked"] and not a["opted_out"]


def can_market(people: People, w: Row, b: Row) -> bool:
    return at_addresses(marketable)(people, w, b) if "account" in w else b["can_market"] is w["value"]


def paid_orders(people: People, w: Row, b: Row) -> list[Row]:
    return [
        o
        for o in people.orders[b["id"]]
        if o["paid_at"] and people.spans(w, o["paid_at"]) and w.get("shop", o["shop"]) == o["shop"]
    ]


def qualified(w: Row) -> bool:
    return any(name in w for name in ("since", "until", "shop"))


def order_rows(column: str) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        said = {
            o[column]
            for o in people.orders[b["id"]]
            if people.spans(w, o["placed_at"]) and w.get("shop", o["shop"]) == o["shop"]
        }
        return among(w["op"], said.__contains__, w["value"])

    return judge


def bought(column: str) -> Judge:
    def judge(people: People, w: Row, b: Row) -> bool:
        mine = {i[column] for i in people.items[b["id"]] if i["paid_at"] and people.spans(w, i["paid_at"])}
        if w["op"] in ("contains", "starts_with"):
            return any(compare(w["op"], one, w["value"]) for one in mine)
        return bool(mine) is w["value"] if w["op"] == "known" else among(w["op"], mine.__contains__, w["value"])

    return judge


def coupon_is(people: People, c: Row, state: str) -> bool:
    over = bool(c["expires_at"]) and c["expires_at"] <= people.now
    mine = "redeemed" if c["state"] == "redeemed" else "expired" if over else "claimed"
    return state in ("any", mine)


def campaign(people: People, w: Row, b: Row) -> bool:
    mine = {c["campaign"] for c in people.coupons[b["id"]] if coupon_is(people, c, w.get("state", "any"))}
    return among(w["op"], mine.__contains__, w["value"])


def coupon_state(people: People, w: Row, b: Row) -> bool:
    mine = [c for c in people.coupons[b["id"]] if w.get("campaign", c["campaign"]) == c["campaign"]]
    return among(w["op"], lambda state: any(coupon_is(people, c, state) for c in mine), w["value"])


def expires_in(people: People, w: Row, b: Row) -> bool:
    def fits(c: Row) -> bool:
        left = Decimal(c["expires_at"] - people.now) / DAY
        if w["op"] == "=":
            return w["value"] - 1 < left <= w["value"]
        return compare(w["op"], left, w["value"])

    mine = [c for c in people.coupons[b["id"]] if w.get("campaign", c["campaign"]) == c["campaign"]]
    return any(c["state"] != "redeemed" and c["expires_at"] > people.now and fits(c) for c in mine)


def got(people: People, w: Row, b: Row) -> bool:
    state = w.get("state", "reached")
    wanted = {"reached": {"sent", "delivered", "read"}}.get(state, {state})
    mine = {m["broadcast"] for m in people.messages[b["id"]] if state == "any" or m["state"] in wanted}
    return among(w["op"], mine.__contains__, w["value"])


def message_state(people: People, w: Row, b: Row) -> bool:
    mine = {
        m["state"]
        for m in people.messages[b["id"]]
        if people.spans(w, m["created_at"]) and all(w.get(q, m[q]) == m[q] for q in ("account", "purpose"))
    }
    return among(w["op"], mine.__contains__, w["value"])


def stage(people: People, w: Row, b: Row) -> bool:
    last, first = ((people.now - b[name]) / DAY for name in ("last_order_at", "first_order_at"))
    if not b["orders_count"]:
        mine = "never"
    else:
        mine = "asleep" if last > 365 else "pre_churn" if last > 90 else "new" if first <= 30 else "active"
    return among(w["op"], lambda name: name == mine, w["value"])


def spent(people: People, w: Row, b: Row) -> Decimal:
    return sum((o["total"] for o in paid_orders(people, w, b)), Decimal(0)) if qualified(w) else b["spent"]


_FIELDS: dict[str, Judge] = {
    "buyer.id": plain("id"),
    "buyer.name": plain("name"),
    "buyer.locale": plain("locale"),
    "buyer.gender": plain("gender"),
    "buyer.age": number(age),
    "buyer.age_band": band,
    "buyer.birthday_month": number(lambda p, w, b: b["birth_month"] or None),
    "buyer.birthday_day": number(lambda p, w, b: b["birth_day"] or None),
    "buyer.birthday_in": number(birthday_in),
    "buyer.tags": lambda p, w, b: among(w["op"], {t["tag"] for t in p.tags[b["id"]]}.__contains__, w["value"]),
    "buyer.size": size,
    "buyer.created": moment("created_at"),
    "buyer.last_in": moment("last_in_at"),
    "member.is": lambda p, w, b: bool(b["member_no"]) is w["value"],
    "member.level": plain("member_level"),
    "member.points": plain("member_points"),
    "member.joined": moment("member_joined_at"),
    "member.source": plain("member_source"),
    "consent.marketing": consent("marketing"),
    "consent.coupons": consent("coupons"),
    "consent.calls": consent("calls"),
    "consent.service": consent("service"),
    "consent.can_market": can_market,
    "channels.account": lambda p, w, b: among(
        w["op"], {a["account"] for a in p.addresses[b["id"]]}.__contains__, w["value"]
    ),
    "channels.reachable": at_addresses(lambda p, a: a["reachable"] and not a["blocked"]),
    "channels.opted_out": at_addresses(lambda p, a: a["opted_out"]),
    "channels.window_open": at_addresses(lambda p, a: a["window_closes_at"] > p.now),
    "orders.count": number(lambda p, w, b: len(paid_orders(p, w, b)) if qualified(w) else b["orders_count"]),
    "orders.spent": amount(spent),
    "orders.average": amount(lambda p, w, b: b["average_order"] if b["orders_count"] else None),
    "orders.first": moment("first_order_at"),
    "orders.last": moment("last_order_at"),
    "orders.pay": order_rows("pay"),
    "orders.ship": order_rows("ship"),
    "orders.refund": order_rows("refund"),
    "orders.city": order_rows("city"),
    "orders.shop": order_rows("shop"),
    "items.sku": bought("sku"),
    "items.product": bought("product"),
    "items.title": bought("title"),
    "coupons.campaign": campaign,
    "coupons.state": coupon_state,
    "coupons.expires_in": expires_in,
    "messages.last_marketing": moment("last_marketing_at"),
    "messages.broadcast": got,
    "messages.state": message_state,
    "rfm.r": plain("r"),
    "rfm.f": plain("f"),
    "rfm.m": plain("m"),
    "lifecycle": stage,
}
FIELDS: Sequence[str] = tuple(_FIELDS)


async def read(connection: AsyncConnection, now: int, zone: ZoneInfo) -> People:
    """Everybody in a ledger."""
    rows = {}
    for name in READ:
        found = await connection.execute(select(tables.metadata.tables[name]))
        rows[name] = [dict(row) for row in found.mappings()]
    return People(rows, now, zone)


def utc(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")
