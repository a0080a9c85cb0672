"""The shop's member club, where the gateway keeps it: points and levels by the money that completed orders brought. Pure.

An order's record knows what it brought (`orders.kept`), the buyer's record sums it up. The order offers what has changed, one
offer at a time, and offers the next when the buyer's record has answered: so each amount counts once, whatever comes twice or in
another order, and what was never counted is never taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_DOWN, Decimal, InvalidOperation

from msgspec import Struct

from bot import orders, subjects
from bot.clock import DAY_MS
from bot.events import Guard, Ms, OrderFacts, ShopEvent, TouchAsked
from bot.hours import instant, local
from bot.records import Buyer, Credit, Member, Order, Timer
from bot.touching import item_of

OFFERED, ANSWERED, AGAIN = "club.offered", "club.answered", "club.again"
"""Events between records: an order offers, a buyer's record answers, or asks for an order again that came before its card."""
TIMER = "club"
"""The engine's own timer: an order counts as completed; a member's level falls, as old months no longer count."""
BASIC = "basic"
BASIC_NAMES: Mapping[str, str] = {"zh-CN": "普通会员", "zh-TW": "一般會員", "en": "basic"}
MOST_MONTHS = 36
EARLIER = "earlier"
"""Where the spend of months goes that no level looks at any more."""
MOST_UNCOUNTED = 20
_ENDED = ("delivered", "returned", "cancelled")


@dataclass(frozen=True, slots=True)
class Level:
    """A level: what has to be spent for it, what it is called and what it gives, by locale, and a campaign for who reaches it."""

    key: str
    spend: Decimal
    names: Mapping[str, str] = field(default_factory=dict)
    rights: Mapping[str, str] = field(default_factory=dict)
    gift: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """`levels`: the lowest first, the lowest is "basic" at 0. `within_months`: calendar months that count, 0 for all."""

    currency: str = ""
    points_per: Decimal = Decimal(0)
    levels: tuple[Level, ...] = (Level(BASIC, Decimal(0), BASIC_NAMES),)
    within_months: int = 0
    complete_after_days: int = 15
    zone: tzinfo = UTC

    @property
    def graded(self) -> bool:
        """Whether there are levels to reach."""
        return len(self.levels) > 1

    @property
    def on(self) -> bool:
        """Whether anything is counted here."""
        return self.graded or self.points_per > 0

    @property
    def gifts(self) -> frozenset[str]:
        """The campaigns that come with levels alone."""
        return frozenset(level.gift for level in self.levels if level.gift)

    @property
    def names(self) -> dict[str, Mapping[str, str]]:
        """What levels are called, by key and locale."""
        return {level.key: level.names for level in self.levels}

    def find(self, level: str) -> Level | None:
        """A level by its key, or by one of its names, as an import may spell it."""
        wanted = level.strip().casefold()
        for one in self.levels:
            if wanted in (one.key.casefold(), *(name.casefold() for name in one.names.values())):
                return one
        return None

    def rank(self, level: Level) -> int:
        """How high a level is, from 0."""
        return self.levels.index(level)

    def reached(self, spend: Decimal) -> Level:
        """The level that a spend reaches."""
        return next(level for level in reversed(self.levels) if spend >= level.spend or level is self.levels[0])

    def next(self, level: Level) -> Level | None:
        """The level above."""
        return self.levels[place] if (place := self.rank(level) + 1) < len(self.levels) else None


def points_of(rate: Decimal, amount: Decimal) -> int:
    """Points for an amount: by its whole units, rounded down."""
    return int((amount.to_integral_value(ROUND_DOWN) * rate).to_integral_value(ROUND_DOWN))


def month_of(at: Ms, zone: tzinfo) -> str:
    """The calendar month of an instant: 2026-11."""
    return f"{local(at, zone):%Y-%m}"


def _months(at: Ms, zone: tzinfo, count: int) -> list[str]:
    """The month of an instant and those before it, `count` together."""
    here = local(at, zone)
    last = here.year * 12 + here.month - 1
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(last, last - count, -1)]


def _month_start(at: Ms, zone: tzinfo, later: int) -> Ms:
    here = local(at, zone)
    month = here.year * 12 + here.month - 1 + later
    return instant(datetime(month // 12, month % 12 + 1, 1), zone)  # noqa: DTZ001  # `instant` gives it its zone


# --- the order --------------------------------------------------------------------------------------------------------


def watch(order: Order, rules: Rules) -> None:
    """Sets the time at which an order counts as completed though nobody says so: its parcels have all come long enough ago."""
    ended = [one for one in order.shipments if one.lane.state in _ENDED]
    came = [one.delivered_at for one in ended if one.lane.state == "delivered"]
    waits = rules.on and rules.complete_after_days and not order.completed_at and order.credit is None
    if waits and came and len(ended) == len(order.shipments) and order.closed != "cancelled":
        order.timers[TIMER] = Timer(due=max(came) + rules.complete_after_days * DAY_MS)
    else:
        order.timers.pop(TIMER, None)


def offer(order: Order, rules: Rules, now: Ms) -> tuple[str, ShopEvent] | None:
    """What the order's buyer's record is to count now, and where to post it: the difference to what it counts already."""
    kept, credit = orders.kept(order), order.credit
    if credit is None and (kept is None or kept.amount <= 0):
        return None
    if credit is None:
        if not rules.on:
            order.credit = Credit(closed="off")  # also if a club begins later: it counts what is completed from then on
            return None
        if not (home := orders.identity(order.buyer, order.shop)):
            return None
        assert kept is not None
        at = min(order.completed_at, now)  # a shop's clock may be ahead
        credit = Credit(str(rules.points_per), kept.currency, month_of(at, rules.zone), at, home)
        order.credit = credit
    if credit.asked or credit.closed:
        return None
    amount = kept.amount if kept is not None and kept.currency == credit.currency else Decimal(0)
    points = points_of(Decimal(credit.rate), amount)
    if (amount, points) == (credit.amount, credit.points):
        return None
    credit.asked = True
    data = {
        "amount": str(amount - credit.amount), "points": str(points - credit.points),
        "stands": str(amount), "stands_points": str(points),
        "currency": credit.currency, "month": credit.month, "at": str(credit.at), "card": credit.card,
        "item": item_of(order.items),
    }  # fmt: skip
    facts = OrderFacts(id=order.id, number=order.number)
    return credit.home, ShopEvent(OFFERED, order.shop, occurred_at=now, order=facts, data=data)


def answered(order: Order, told: Mapping[str, str]) -> None:
    """The buyer's record has counted what was offered, or says why it does not."""
    credit = order.credit
    if credit is None or credit.closed:
        return
    credit.asked = False
    if why := told.get("closed", ""):
        credit.closed = why
        return
    credit.home, credit.card = told["home"], told["card"]
    credit.amount, credit.points = Decimal(told["stands"]), int(told["stands_points"])


def again(order: Order) -> None:
    """The order's buyer has a card after all, by a merge or an import."""
    if order.credit is not None and order.credit.closed == "no_card":
        order.credit = None


# --- the buyer --------------------------------------------------------------------------------------------------------


class Counted(Struct):
    """What an offer came to: the answer for the order, lines for the timeline, the notice, the levels reached on the way."""

    answer: ShopEvent
    notes: list[tuple[str, str]]
    notice: TouchAsked | None = None
    levels: list[str] = []


def count(buyer: Buyer, body: ShopEvent, rules: Rules, now: Ms) -> Counted:
    """Counts what an order offers, or says why not. Points never fall below 0: an import may have set them lower meanwhile."""
    told, order = body.data, body.order
    assert order is not None
    named = order.number or order.id
    if why := _closed(buyer, told, rules):
        _note_uncounted(buyer, subjects.order(body.shop, order.id), why)
        return Counted(_answer(body, {"closed": why}), _why_not(buyer, told, why, named, rules))
    member = buyer.member
    assert member is not None
    adopt(member)
    points, before = int(told["points"]), member.level
    member.points = max(0, member.points + points)
    _spend(member, told["currency"], told["month"], Decimal(told["amount"]), now, rules)
    answer = {name: told[name] for name in ("stands", "stands_points")} | {"home": buyer.home, "card": member.number}
    reached = settle(buyer, rules, now)
    notes = [("points", f"{points:+d} points, order {named}")] if points else []
    found = Counted(_answer(body, answer), [*notes, *level_note(before, member.level)], levels=reached)
    fresh = now - int(told["at"]) <= orders.FRESH_MS["completed"]
    if not told["card"] and fresh and (points > 0 or reached):
        found.notice = _notice(body, named, reached[-1] if reached else "", now)
    return found


def _closed(buyer: Buyer, told: Mapping[str, str], rules: Rules) -> str:
    """Why nothing is counted: `no_card`, `other_card`, `own_club`, `off`, `before_card`, `currency`, "" where it is."""
    member, first = buyer.member, not told["card"]
    if member is None:
        return "no_card" if first else "other_card"
    if not first and told["card"] not in member.numbers:
        return "other_card"
    if buyer.club is not None:
        return "own_club"
    if first and not rules.on:
        return "off"
    if first and int(told["at"]) // 1000 < member.joined_at // 1000:  # shops tell whole seconds
        return "before_card"
    return "currency" if first and told["currency"] != rules.currency else ""


def _note_uncounted(buyer: Buyer, subject: str, why: str) -> None:
    if why == "no_card" and subject not in buyer.uncounted:
        buyer.uncounted = [*buyer.uncounted, subject][-MOST_UNCOUNTED:]


def _why_not(buyer: Buyer, told: Mapping[str, str], why: str, named: str, rules: Rules) -> list[tuple[str, str]]:
    """What staff read of an order that a member might ask about."""
    if buyer.member is None or why not in ("before_card", "currency"):
        return []
    paid = f"it was paid in {told['currency']}, the club counts {rules.currency}"
    return [("points", f"none for order {named}: {'completed before the card' if why == 'before_card' else paid}")]


def _answer(body: ShopEvent, data: dict[str, str]) -> ShopEvent:
    return ShopEvent(ANSWERED, body.shop, occurred_at=body.occurred_at, order=body.order, data=data)


def _notice(body: ShopEvent, named: str, level: str, now: Ms) -> TouchAsked:
    """The notice that an order is complete, once per order. Its reason is that the amount still stands."""
    assert body.order is not None
    told = body.data
    texts = {"item": told["item"], "number": named, "points": told["points"], "level": level}
    return TouchAsked(
        notice="order_completed",
        key=f"{body.shop}|order_completed|{body.order.id}",
        vars={name: text for name, text in texts.items() if text and text != "0"},
        guard=Guard(subjects.order(body.shop, body.order.id), "kept", (told["stands"],)),
        not_after=now + 2 * DAY_MS,
        source="journey:order_completed/1",
        shop=body.shop,
    )


def gift_touch(level: Level, now: Ms) -> TouchAsked:
    """What a level gives once, asked of the buyer's own record."""
    return TouchAsked(
        notice="level_gift",
        key=f"level_gift|{level.key}",
        purpose="marketing",
        vars={"level": level.key},
        not_after=now + 7 * DAY_MS,
        source="journey:level_gift/1",
    )


def given(level: str) -> str:
    """The small counter of a buyer that remembers a level's gift."""
    return f"level_gift:{level}"


def _spend(member: Member, currency: str, month: str, amount: Decimal, now: Ms, rules: Rules) -> None:
    kept = _months(now, rules.zone, MOST_MONTHS)
    key = f"{currency} {month}"
    if amount < 0 and key not in member.spend:
        key = f"{currency} {EARLIER}"
    member.spend[key] = str(_amount(member.spend.get(key)) + amount)
    for old in [one for one in member.spend if one.partition(" ")[2] < kept[-1] and not one.endswith(EARLIER)]:
        sums = f"{old.partition(' ')[0]} {EARLIER}"
        member.spend[sums] = str(_amount(member.spend.get(sums)) + _amount(member.spend.pop(old)))
    member.spend = {one: text for one, text in member.spend.items() if _amount(text)}


def _amount(text: str | None) -> Decimal:
    try:
        return Decimal(text or "0")
    except InvalidOperation:
        return Decimal(0)


def spent(member: Member, rules: Rules, now: Ms) -> Decimal:
    """What counts for the level: money of completed orders in the brand's currency, of the months that count."""
    months = _months(now, rules.zone, rules.within_months) if rules.within_months else None
    return sum(
        (
            _amount(text)
            for key, text in member.spend.items()
            if key.partition(" ")[0] == rules.currency and (months is None or key.partition(" ")[2] in months)
        ),
        Decimal(0),
    )


def adopt(member: Member) -> None:
    """A level on a card for which nothing was counted yet came with it, by an import: it is the least that the card has."""
    if not member.granted and not member.spend and member.level not in ("", BASIC):
        member.granted = (member.level,)


def settle(buyer: Buyer, rules: Rules, now: Ms) -> list[str]:
    """The card's level by what was spent, and the time at which it falls by itself. Answers the levels that it rose to.

    Not where the shop's own club says it, nor where an import gave a level that the configuration does not know. It does not fall
    below a level that an import gave.
    """
    member = buyer.member
    buyer.timers.pop(TIMER, None)
    if member is None or buyer.club is not None or not rules.graded:
        return []
    told = [rules.find(level) for level in member.granted]
    if None in told and member.level in member.granted:
        return []
    floor = max((rules.rank(level) for level in told if level is not None), default=0)
    before = rules.find(member.level) or rules.levels[0]
    place = max(floor, rules.rank(rules.reached(spent(member, rules, now))))
    member.level = rules.levels[place].key
    if at := _falls_at(member, rules, now, floor, place):
        buyer.timers[TIMER] = Timer(due=at)
    return [level.key for level in rules.levels[rules.rank(before) + 1 : place + 1]]


def _falls_at(member: Member, rules: Rules, now: Ms, floor: int, place: int) -> Ms:
    for later in range(1, rules.within_months + 1):
        at = _month_start(now, rules.zone, later)
        if max(floor, rules.rank(rules.reached(spent(member, rules, at)))) < place:
            return at
    return 0


def level_note(before: str, after: str) -> list[tuple[str, str]]:
    """A line for the timeline, where the level has changed."""
    return [("level", f"{before} to {after}")] if before != after else []


# --- what is shown ----------------------------------------------------------------------------------------------------


def told(rules: Rules) -> str:
    """What the club gives, in a line for whoever runs it."""
    if not rules.on:
        return "no points and no levels by orders here; [club] points_per and levels give them"
    points = f"{rules.points_per.normalize():f} points per whole {rules.currency}" if rules.points_per else "no points"
    levels = ", ".join(f"{level.key} from {level.spend:f} {rules.currency}" for level in rules.levels[1:])
    span = f" within {rules.within_months} calendar months" if rules.within_months else ""
    days = rules.complete_after_days
    late = f"; without order.completed {days} days after delivery" if days else "; by order.completed alone"
    return f"{points}{f', {levels}{span}' if levels else ''}{late}"


def standing(member: Member, rules: Rules, now: Ms) -> tuple[Level | None, Level | None, Decimal]:
    """A card's level, the next one, and how much is missing for it: (None, None, 0) where no levels are reached by spending."""
    level = rules.find(member.level) if rules.graded else None
    above = rules.next(level) if level is not None else None
    missing = max(above.spend - spent(member, rules, now), Decimal(0)) if above is not None else Decimal(0)
    return level, above, missing
