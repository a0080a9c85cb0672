"""From a test to SQL over `tables.buyers`: one maker per kind of fact. SQLAlchemy Core only; every value is bound.

What lies beside the buyer (orders, items, coupons, messages, tags) is asked as `id IN (SELECT …)`: either database makes a set of it
once, or walks it. What is allowed at addresses is asked of the few ways in which buyers can be reached (`way IN (SELECT …)`, see
`ledger.ways`); only an open window is looked up, for who has one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    true,
    union_all,
)

from bot.clock import DAY_MS
from bot.events import Ms
from bot.hours import local
from ledger import tables
from ledger.segments.kinds import Compiled, Moment
from ledger.segments.lifecycle import ASLEEP_DAYS, NEW_DAYS, PRE_CHURN_DAYS
from ledger.segments.texts import value_at

buyers, addresses, tags, coupons = tables.buyers.c, tables.addresses.c, tables.tags.c, tables.coupons.c
orders, items, messages, ways = tables.orders.c, tables.items.c, tables.messages.c, tables.ways.c
ALIVE = and_(buyers.erased.is_(False), buyers.merged_into == "")
"""Who can be in a segment at all: neither erased nor merged into another."""
Condition = ColumnElement[bool]
REACHED = ("sent", "delivered", "read")


# --- columns of the buyer -----------------------------------------------------------------------------------------------


def number(column: Column[Any]) -> Compiled:
    """A number or amount of the record."""
    return lambda op, value, _, __: compare(column, op, value)


def number_if(column: Column[Any], known: Condition) -> Compiled:
    """One that only some buyers have: nothing is true of it for the others."""
    return lambda op, value, _, __: and_(known, compare(column, op, value))


def text(column: Column[str]) -> Compiled:
    """A text of the record, "" where it is not known."""
    return lambda op, value, _, __: match_text(column, op, value)


def moment_of(column: Column[int]) -> Compiled:
    """A time of the record, 0 where it never was."""

    def compiled(op: str, value: Any, _: dict[str, Any], moment: Moment) -> Condition:
        match op:
            case "known":
                return column > 0 if value else column == 0
            case "before":
                return and_(column > 0, column < value.at(moment))
            case "after":
                return and_(column > 0, column >= value.at(moment))
            case "between":
                low, high = value
                return and_(column > 0, column >= low.at(moment), column < high.end(moment))
            case "within":
                return and_(column > 0, column >= value.at(moment))
            case _:
                return or_(column == 0, column < value.at(moment))

    return compiled


def yes_no(condition: Condition) -> Compiled:
    """Something that is so or not."""
    return lambda _, value, __, ___: condition if value else not_(condition)


_PLAIN: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "between": lambda column, value: column.between(*value),
    "in": lambda column, value: column.in_(value),
    "not_in": lambda column, value: column.not_in(value),
}


def compare(column: ColumnElement[Any], op: str, value: Any) -> Condition:
    """A column against a value."""
    found: Condition = _PLAIN[op](column, value)
    return found


def match_text(column: ColumnElement[str], op: str, value: Any) -> Condition:
    """A text against a value; upper and lower case differ, as they do in both databases alike."""
    match op:
        case "known":
            return column != "" if value else column == ""
        case "contains":  # LIKE folds ASCII in one database and nothing in the other
            return func.replace(column, value, "") != column
        case "starts_with":
            return compare(func.substr(column, 1, len(value)), "=", value)
        case _:
            return compare(column, op, value)


# --- days of a year -----------------------------------------------------------------------------------------------------


def today(moment: Moment) -> date:
    """The day it is at the shop."""
    return local(moment.now, moment.zone).date()


_BORN = buyers.birth_year * 10_000 + buyers.birth_month * 100 + buyers.birth_day


def age(op: str, value: Any, _: dict[str, Any], moment: Moment) -> Condition:
    """Full years; nothing is true of an age that is not known."""
    return and_(buyers.birth_year > 0, _aged(op, value, today(moment)))


def _aged(op: str, value: Any, day: date) -> Condition:
    def at_least(years: int) -> Condition:
        return (day.year - years) * 10_000 + day.month * 100 + day.day >= _BORN

    match op:
        case ">=":
            return at_least(value)
        case ">":
            return at_least(value + 1)
        case "<":
            return not_(at_least(value))
        case "<=":
            return not_(at_least(value + 1))
        case "between":
            return and_(at_least(value[0]), not_(at_least(value[1] + 1)))
        case "=":
            return and_(at_least(value), not_(at_least(value + 1)))
        case _:
            return or_(not_(at_least(value)), at_least(value + 1))


BANDS: dict[str, tuple[int, int]] = {
    "under_18": (0, 17),
    "18-24": (18, 24),
    "25-35": (25, 35),
    "36-50": (36, 50),
    "over_50": (51, 200),
}


def age_band(op: str, value: Any, _: dict[str, Any], moment: Moment) -> Condition:
    """The bands of the trade; an age that is not known is in none of them."""
    day, asked = today(moment), value if isinstance(value, tuple) else (value,)
    inside = and_(buyers.birth_year > 0, or_(*(_aged("between", BANDS[name], day) for name in asked)))
    return inside if op in ("=", "in") else not_(inside)


def birthday_in(op: str, value: Any, _: dict[str, Any], moment: Moment) -> Condition:
    """Days until the next birthday, 0 today; who was born on 29 February has it on the 28th of other years."""
    match op:
        case "between":
            low, high = value
        case "=":
            low, high = value, value
        case "<" | "<=":
            low, high = 0, value - (op == "<")
        case _:
            low, high = value + (op == ">"), 366
    return (buyers.birth_month * 100 + buyers.birth_day).in_(_days_in(today(moment), low, high))


def _days_in(start: date, low: int, high: int) -> list[int]:
    """The days (month * 100 + day) whose next birthday is `low` to `high` days ahead."""
    nearest: dict[int, int] = {}
    for ahead in range(367):
        day = start + timedelta(days=ahead)
        nearest.setdefault(day.month * 100 + day.day, ahead)
        if (day.month, day.day) == (2, 28) and (day + timedelta(days=1)).month == 3:
            nearest.setdefault(229, ahead)
    return [day for day, ahead in nearest.items() if low <= ahead <= high]


# --- lifecycle ----------------------------------------------------------------------------------------------------------


def stage(moment: Moment) -> ColumnElement[str]:
    """Where a buyer stands, by the days since the first paid and the last order."""

    def ago(days: int) -> Ms:
        return moment.now - days * DAY_MS

    return case(
        (buyers.orders_count == 0, "never"),
        (buyers.last_order_at < ago(ASLEEP_DAYS), "asleep"),
        (buyers.last_order_at < ago(PRE_CHURN_DAYS), "pre_churn"),
        (buyers.first_order_at >= ago(NEW_DAYS), "new"),
        else_="active",
    )


def lifecycle(op: str, value: Any, _: dict[str, Any], moment: Moment) -> Condition:
    """One of the stages."""
    return compare(stage(moment), op, value)


# --- rows beside the buyer ----------------------------------------------------------------------------------------------

HasAny = Callable[[Sequence[Any]], Condition]


def rows(op: str, value: Any, has_any: HasAny) -> Condition:
    """Has, has not, has any, has none, has all."""
    match op:
        case "=":
            return has_any((value,))
        case "!=":
            return not_(has_any((value,)))
        case "in":
            return has_any(value)
        case "not_in":
            return not_(has_any(value))
        case _:
            return and_(*(has_any((one,)) for one in value))


def tag(op: str, value: Any, _: dict[str, Any], __: Moment) -> Condition:
    """Tags."""
    return rows(op, value, lambda asked: buyers.id.in_(select(tags.buyer).where(tags.tag.in_(asked))))


def size(op: str, value: Any, qualifiers: dict[str, Any], _: Moment) -> Condition:
    """The size of one kind of garment."""
    known = value_at(buyers.sizes, qualifiers.get("kind", "top"))
    return match_text(func.coalesce(known, ""), op, value)


def _reached(*conditions: Condition, account: str = "") -> Condition:
    mine = [ways.account == account, *conditions] if account else conditions
    return buyers.way.in_(select(ways.way).where(*mine))


def consent(column: Column[str]) -> Compiled:
    """What the buyer allows somewhere, or at the account that is named; a column of `ways`."""

    def compiled(op: str, value: Any, qualifiers: dict[str, Any], _: Moment) -> Condition:
        return rows(op, value, lambda asked: _reached(column.in_(asked), account=qualifiers.get("account", "")))

    return compiled


def at_address(condition: Condition) -> Compiled:
    """Something that is so at an address, or at none; over columns of `ways`."""

    def compiled(_: str, value: Any, qualifiers: dict[str, Any], __: Moment) -> Condition:
        found = _reached(condition, account=qualifiers.get("account", ""))
        return found if value else not_(found)

    return compiled


def window_open(_: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
    """A reply window is open, somewhere or at the account that is named."""
    found: Condition = buyers.window_closes_at > moment.now
    if account := qualifiers.get("account", ""):
        mine = (addresses.buyer == buyers.id, addresses.account == account, addresses.window_closes_at > moment.now)
        found = and_(found, exists().where(*mine))
    return found if value else not_(found)


MARKETABLE = and_(
    ways.marketing == "granted",
    ways.reachable.is_(True),
    ways.blocked.is_(False),
    ways.opted_out.is_(False),
)


def can_market(_: str, value: Any, qualifiers: dict[str, Any], __: Moment) -> Condition:
    """Agreed, reachable and not opted out at one and the same address: on any account as the record says it, or on one."""
    account = qualifiers.get("account", "")
    found = _reached(MARKETABLE, account=account) if account else buyers.can_market.is_(True)
    return found if value else not_(found)


def on_account(op: str, value: Any, _: dict[str, Any], __: Moment) -> Condition:
    """Has an address on an account."""
    return rows(op, value, lambda asked: _reached(ways.account.in_(asked)))


def _span(column: Column[int], qualifiers: dict[str, Any], moment: Moment) -> list[Condition]:
    found: list[Condition] = []
    if "since" in qualifiers:
        found.append(column >= qualifiers["since"].at(moment))
    if "until" in qualifiers:
        found.append(column < qualifiers["until"].at(moment))
    return found


def _placed(what: Iterable[Condition], *more: Condition) -> Select[Any]:
    return select(orders.buyer).where(*what, *more)


def order_rows(column: Column[str]) -> Compiled:
    """Has an order of which this is so, placed in the span."""

    def compiled(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
        where = _span(orders.placed_at, qualifiers, moment)
        if "shop" in qualifiers:
            where.append(orders.shop == qualifiers["shop"])
        return rows(op, value, lambda asked: buyers.id.in_(_placed(where, column.in_(asked))))

    return compiled


def order_sums(column: Column[Any], what: ColumnElement[Any]) -> Compiled:
    """A sum over the buyer's paid orders: the record's own, or counted anew for a span or shop."""

    def compiled(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
        if not qualifiers:
            return compare(column, op, value)
        where = [orders.paid_at > 0, *_span(orders.paid_at, qualifiers, moment)]
        if "shop" in qualifiers:
            where.append(orders.shop == qualifiers["shop"])
        if column is buyers.spent and moment.currency:
            where.append(orders.currency == moment.currency)

        if column is buyers.orders_count and (some := _some(op, value)) is not None:
            any_at_all = buyers.id.in_(_placed(where))
            return any_at_all if some else not_(any_at_all)

        def counted(wanted: Condition) -> Condition:
            return buyers.id.in_(_placed(where).group_by(orders.buyer).having(wanted))

        # Who has no such order is in no group: where nothing (0) would do, the others are left out instead.
        return (
            not_(counted(not_(compare(what, op, value))))
            if _zero_does(op, value)
            else counted(compare(what, op, value))
        )

    return compiled


def _some(op: str, value: Any) -> bool | None:
    """Whether a count that is asked for means any at all (True) or none (False); None: it must be counted."""
    if (op, value) in ((">=", 1), (">", 0), ("!=", 0)):
        return True
    return False if (op, value) in (("<", 1), ("<=", 0), ("=", 0), ("between", (0, 0))) else None


def _zero_does(op: str, value: Any) -> bool:
    match op:
        case "=":
            return bool(value == 0)
        case "!=":
            return bool(value != 0)
        case "<":
            return bool(value > 0)
        case "<=":
            return True
        case "between":
            return bool(value[0] == 0)
        case ">=":
            return bool(value == 0)
        case _:
            return False


def bought(column: Column[str]) -> Compiled:
    """Bought (and paid for) an item in the span."""

    def compiled(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
        where = [items.paid_at > 0, *_span(items.paid_at, qualifiers, moment)]

        def buyers_of(wanted: Condition) -> Condition:
            return buyers.id.in_(select(items.buyer).where(*where, wanted))

        if op in ("contains", "starts_with"):
            return buyers_of(match_text(column, op, value))
        if op == "known":
            return buyers_of(true()) if value else not_(buyers_of(true()))
        return rows(op, value, lambda asked: buyers_of(column.in_(asked)))

    return compiled


# --- coupons ------------------------------------------------------------------------------------------------------------


def _coupon_state(state: str, now: Ms) -> Condition:
    match state:
        case "redeemed":
            return coupons.state == "redeemed"
        case "expired":
            return and_(coupons.state != "redeemed", coupons.expires_at > 0, coupons.expires_at <= now)
        case "claimed":
            return and_(coupons.state != "redeemed", or_(coupons.expires_at == 0, coupons.expires_at > now))
        case "any":
            return true()
        case _:
            return false()


def _wallet(*conditions: Condition) -> Condition:
    return buyers.id.in_(select(coupons.buyer).where(*conditions))


def coupon_campaign(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
    """Holds a coupon of a campaign."""
    state = _coupon_state(qualifiers.get("state", "any"), moment.now)
    return rows(op, value, lambda asked: _wallet(coupons.campaign.in_(asked), state))


def coupon_state(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
    """Holds a coupon in a state."""
    mine = [coupons.campaign == qualifiers["campaign"]] if "campaign" in qualifiers else []
    return rows(op, value, lambda asked: _wallet(or_(*(_coupon_state(one, moment.now) for one in asked)), *mine))


def coupon_expires(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
    """Holds a coupon, not used yet, that expires in so many days."""

    def at(days: int) -> Ms:
        return moment.now + days * DAY_MS

    ends = coupons.expires_at
    span: Condition
    match op:
        case "between":
            span = ends.between(at(value[0]), at(value[1]))
        case "=":  # on the value-th day from now
            span = and_(ends > at(value - 1), ends <= at(value))
        case _:
            span = compare(ends, op, at(value))
    mine = [coupons.campaign == qualifiers["campaign"]] if "campaign" in qualifiers else []
    return _wallet(coupons.state != "redeemed", ends > moment.now, span, *mine)


# --- messages -----------------------------------------------------------------------------------------------------------


def _message_states(state: str) -> list[Condition]:
    if state == "any":
        return []
    return [messages.state.in_(REACHED)] if state == "reached" else [messages.state == state]


def written_to(*conditions: Condition) -> Condition:
    """Was sent a message of which this is so; what a merged buyer got, the survivor got."""
    merged = tables.buyers.alias("merged")
    direct = select(messages.buyer).where(*conditions)
    before = (
        select(merged.c.merged_into)
        .select_from(merged.join(tables.messages, messages.buyer == merged.c.id))
        .where(merged.c.merged_into != "", *conditions)
    )
    return buyers.id.in_(union_all(direct, before))


def broadcast(op: str, value: Any, qualifiers: dict[str, Any], _: Moment) -> Condition:
    """Got a broadcast; "reached" (sent or later) unless a state is named."""
    states = _message_states(qualifiers.get("state", "reached"))
    return rows(op, value, lambda asked: written_to(messages.broadcast.in_(asked), *states))


def message_state(op: str, value: Any, qualifiers: dict[str, Any], moment: Moment) -> Condition:
    """Has a message in a state, planned in the span."""
    where = _span(messages.created_at, qualifiers, moment)
    for name, column in (("account", messages.account), ("purpose", messages.purpose)):
        if name in qualifiers:
            where.append(column == qualifiers[name])
    return rows(op, value, lambda asked: written_to(messages.state.in_(asked), *where))
