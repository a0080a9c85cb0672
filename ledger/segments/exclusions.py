"""Ready exclusions (do not pitch): switches of a broadcast, each a condition for who is left out.

`excluded(names, items, …)` gives one condition per name; a broadcast goes to its segment without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bot.products import ItemView
from ledger.segments.conditions import Condition, Group, Term, near
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import DaysAgo
from ledger.segments.lifecycle import ASLEEP_DAYS

AVERAGE_UNDER, ITEM_OVER = Decimal(100), Decimal(200)
"""Amounts of the brand's currency: nothing over 200 is offered to who spends under 100 on average."""
NOBODY = Group("any", ())
_WRITTEN_TO = re.compile(r"written_to_in_([1-9]\d?)_days", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pitched:
    """What a broadcast is about: `refs` as it names them, `views` what the catalogue says of those it knows."""

    refs: Sequence[str] = ()
    views: Mapping[str, ItemView] = field(default_factory=dict)

    def price(self) -> Decimal:
        """The dearest of them; 0 where no price is known."""
        return max((view.price.amount for view in self.views.values() if view.price is not None), default=Decimal(0))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One switch: its words for staff, and whom it leaves out."""

    name: str
    title: dict[str, str]
    explained: dict[str, str]
    condition: Callable[[Pitched], Condition]


def _bought(days: int) -> Condition:
    return Term(FIELDS["orders.count"], ">=", 1, {"since": DaysAgo(days)})


def _bought_same(pitched: Pitched) -> Condition:
    """The same product in any size; anything at all where the broadcast names no item."""
    if not pitched.refs:
        return _bought(2)
    views = [pitched.views.get(ref) for ref in pitched.refs]
    products = tuple(dict.fromkeys(view.id if view else ref for view, ref in zip(views, pitched.refs, strict=True)))
    since = {"since": DaysAgo(2)}
    product = Term(FIELDS["items.product"], "in", products, since)
    return Group("any", (product, Term(FIELDS["items.sku"], "in", tuple(dict.fromkeys(pitched.refs)), since)))


def _too_dear(pitched: Pitched) -> Condition:
    if pitched.price() <= ITEM_OVER:
        return NOBODY
    return Term(FIELDS["orders.average"], "<", AVERAGE_UNDER, {})


def _asleep(_: Pitched) -> Condition:
    return Term(FIELDS["orders.last"], "before", DaysAgo(ASLEEP_DAYS), {})


def _written_to(days: int) -> Callable[[Pitched], Condition]:
    return lambda _: Term(FIELDS["messages.last_marketing"], "within", DaysAgo(days), {})


def _words(zh_cn: str, zh_tw: str, en: str) -> dict[str, str]:
    return {"zh-CN": zh_cn, "zh-TW": zh_tw, "en": en}


def written_to(days: int) -> Exclusion:
    """Who got marketing in the last days."""
    return Exclusion(
        f"written_to_in_{days}_days",
        _words(f"{days} 天内收到过营销消息", f"{days} 天內收過行銷訊息", f"Got marketing in the last {days} days"),
        _words(
            f"最近 {days} 天内已经收到过营销消息的买家，这次不再打扰。",
            f"最近 {days} 天內已收過行銷訊息的買家，這次不再打擾。",
            f"Leaves out whoever a marketing message reached in the last {days} days.",
        ),
        _written_to(days),
    )


READY: tuple[Exclusion, ...] = (
    Exclusion(
        "bought_in_2_days",
        _words("2 天内刚买过", "2 天內剛買過", "Bought in the last 2 days"),
        _words(
            "最近 2 天内买过群发所推商品的买家；群发没有指定商品时，为 2 天内有付款订单的买家。",
            "最近 2 天內買過本次推薦商品的買家；沒有指定商品時，為 2 天內有付款訂單的買家。",
            "Leaves out who paid for one of the broadcast's items in the last 2 days; for anything, where it names none.",
        ),
        _bought_same,
    ),
    Exclusion(
        "bought_in_1_week",
        _words("1 周内买过", "1 週內買過", "Bought in the last week"),
        _words(
            "最近 7 天内有付款订单的买家。",
            "最近 7 天內有付款訂單的買家。",
            "Leaves out who paid for an order in the last 7 days.",
        ),
        lambda _: _bought(7),
    ),
    Exclusion(
        "bought_in_2_weeks",
        _words("2 周内买过", "2 週內買過", "Bought in the last 2 weeks"),
        _words(
            "最近 14 天内有付款订单的买家（复购周期还没到）。",
            "最近 14 天內有付款訂單的買家（還不到回購的時候）。",
            "Leaves out who paid for an order in the last 14 days: too early to buy again.",
        ),
        lambda _: _bought(14),
    ),
    Exclusion(
        "average_order_under_100",
        _words("客单价偏低", "平均客單價偏低", "Average order far below the item"),
        _words(
            "群发商品有高于 200 的，不发给平均客单价低于 100 的买家。",
            "推薦商品有高於 200 的，不發給平均客單價低於 100 的買家。",
            "Where an item costs over 200, leaves out buyers whose average order is under 100.",
        ),
        _too_dear,
    ),
    Exclusion(
        "last_order_over_1_year",
        _words("超过 1 年没买", "超過 1 年沒買", "Last order over a year ago"),
        _words(
            "最近一次付款订单在 1 年以前的买家，效果差，容易打扰。",
            "最近一次付款訂單在 1 年以前的買家，效果差，容易打擾。",
            "Leaves out buyers whose last paid order is over a year ago.",
        ),
        _asleep,
    ),
    written_to(3),
    written_to(7),
)
"""The switches that are offered; `written_to_in_N_days` takes any N from 1 to 99."""


def exclusion(name: str) -> Exclusion | None:
    """The switch of a name, or None."""
    found = next((one for one in READY if one.name == name), None)
    if found is None and (days := _WRITTEN_TO.fullmatch(name)):
        return written_to(int(days[1]))
    return found


def fault_of(name: str) -> str:
    """What is wrong with a name, "" for a good one."""
    if exclusion(name) is not None:
        return ""
    names = [one.name for one in READY]
    return f"there is no exclusion of this name; {near(name, names) or 'there are: ' + ', '.join(names)}"


def excluded(names: Sequence[str], pitched: Pitched) -> dict[str, Condition]:
    """Whom each of the switches leaves out; names that are not known leave out nobody."""
    found = {name: exclusion(name) for name in dict.fromkeys(names)}
    return {name: one.condition(pitched) for name, one in found.items() if one is not None}
