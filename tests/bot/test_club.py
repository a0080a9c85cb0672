"""The club's arithmetic: any order of events and letters, any repetition, two buyers who become one; months, levels, words."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import buyers, club, orders
from bot.club import Level, Rules, count, offer, points_of, settle, spent, standing
from bot.effects import ClaimCoupon
from bot.events import BuyerFacts, Event, Money, OrderFacts, RefundFacts, ShipmentFacts, ShopEvent, TouchAsked
from bot.handling import Turn
from bot.records import Buyer, Club, Coupon, Credit, Lane, Member, Order, RefundCase
from handlers.club import reached
from tests.handlers.test_total import facts

ZONE = ZoneInfo("Asia/Shanghai")
DAY = 86_400_000
NOV = 1_794_000_000_000  # 7 November 2026
NAMES = {"zh-CN": "银卡会员", "en": "Silver"}
LEVELS = (Level("basic", Decimal(0)), Level("silver", Decimal(300), NAMES, gift="SILVER"), Level("gold", Decimal(1000)))
RULES = Rules("CNY", Decimal(1), LEVELS, 12, 15, ZONE)
PHONES = ("+8613900000001", "+8613900000002")


def shop_event(kind: str, id: str, phone: str = PHONES[0], amount: str = "", case: str = "", at: int = NOV) -> Event:
    total = Money(Decimal("188.50"), "CNY")
    facts = OrderFacts(id, number=f"#{id}", total=total if kind.startswith("order.") else None)
    refund = RefundFacts(case, Money(Decimal(amount), "CNY"), "refund_only") if case else None
    body = ShopEvent(kind, "main", at, order=facts, buyer=BuyerFacts(phones=(phone,)), refund=refund)
    return Event(kind, f"order:main:{id}", "main", at, at, body)


def member(number: str = "801234567890", **more) -> Buyer:
    """Who has a card since long ago."""
    card = Member(number, joined_at=NOV - 400 * DAY, **more)
    return Buyer(f"b_{number}", f"phone:{PHONES[0]}", NOV, member=card)


@dataclass
class World:
    """Orders and buyers that write to each other: letters between two of them arrive once and in order, but when they like."""

    homes: dict[str, Buyer]
    orders: dict[str, Order] = field(default_factory=dict)
    letters: dict[tuple[str, str], deque[ShopEvent]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def post(self, source: str, to: str, body: ShopEvent) -> None:
        self.letters.setdefault((source, to), deque()).append(body)

    def told(self, event: Event) -> None:
        order, _ = orders.apply(self.orders.get(event.subject), event)
        self.orders[event.subject] = order
        self._offer(order)

    def _offer(self, order: Order) -> None:
        if letter := offer(order, RULES, NOV):
            self.post(order.subject, letter[0], letter[1])

    def deliver(self, which: int) -> bool:
        """One letter arrives."""
        waiting = [pair for pair, letters in self.letters.items() if letters]
        if not waiting:
            return False
        source, to = waiting[which % len(waiting)]
        body = self.letters[source, to].popleft()
        if to in self.orders:
            order = self.orders[to]
            club.answered(order, body.data)
            self._offer(order)
        else:
            found = count(self.homes[to], body, RULES, NOV)
            self.notices += [found.notice.key] if found.notice else []
            self.post(to, source, found.answer)
        return True

    def merge(self) -> None:
        """The second buyer becomes the first: its number leads there from now on."""
        one, two = (self.homes[f"phone:{phone}"] for phone in PHONES)
        if one is not two:
            buyers.merge(one, two)
            settle(one, RULES, NOV)
            self.homes[f"phone:{PHONES[1]}"] = one


IDS = ("1", "2", "3")
STEPS = st.one_of(
    st.tuples(st.just("order.paid"), st.sampled_from(IDS)),
    st.tuples(st.just("order.completed"), st.sampled_from(IDS)),
    st.tuples(st.just("order.cancelled"), st.just("3")),
    st.tuples(
        st.sampled_from(["refund.succeeded", "refund.requested", "refund.rejected"]),
        st.tuples(st.sampled_from(IDS), st.sampled_from(["a", "b"]), st.sampled_from(["0.50", "60.00", "188.50"])),
    ),
    st.tuples(st.just("letter"), st.integers(0, 9)),
    st.tuples(st.just("letter"), st.integers(0, 9)),
    st.tuples(st.just("merge"), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_points_are_those_of_the_money_kept(steps):
    """Once all letters have arrived, and never more than what could be kept before that."""
    world = World({f"phone:{phone}": member(f"80123456789{n}") for n, phone in enumerate(PHONES)})
    for what, given_ in steps:
        if what == "letter":
            world.deliver(given_)
        elif what == "merge":
            world.merge()
        elif isinstance(given_, tuple):
            number, case, amount = given_
            world.told(shop_event(what, number, PHONES[int(number) % 2], amount, case))
        else:
            world.told(shop_event(what, given_, PHONES[int(given_) % 2]))
        cards = {id(one): one.member for one in world.homes.values()}.values()
        assert sum(card.points for card in cards) <= 188 * len(world.orders)
    while world.deliver(0):
        pass
    kept = [orders.kept(order) for order in world.orders.values()]
    amounts = [one.amount for one in kept if one is not None]
    cards = list({id(one): one.member for one in world.homes.values()}.values())
    assert sum(card.points for card in cards) == sum(int(amount) for amount in amounts)
    assert sum(spent(card, RULES, NOV) for card in cards) == sum(amounts)
    for one in world.homes.values():
        assert one.member.level == RULES.reached(spent(one.member, RULES, NOV)).key
    assert len(set(world.notices)) == len(world.notices)
    assert not any(order.credit and order.credit.asked for order in world.orders.values())


@pytest.mark.parametrize(
    ("rate", "amount", "points"),
    [
        ("1", "188.99", 188),
        ("0.1", "188.99", 18),
        ("2.5", "3.99", 7),
        ("1", "0.99", 0),
        ("0", "500", 0),
        ("0.0001", "9999", 0),
    ],
)
def test_points_are_of_whole_units(rate, amount, points):
    assert points_of(Decimal(rate), Decimal(amount)) == points


def taken(buyer: Buyer, **order) -> club.Counted:
    """What comes of one completed order at a buyer's record."""
    facts = {"id": "1", "shop": "main", "subject": "order:main:1", "total": Money(Decimal("188.50"), "CNY"), **order}
    found = Order(buyer=BuyerFacts(phones=(PHONES[0],)), completed_at=facts.pop("completed_at", NOV), cod=True, **facts)
    letter = offer(found, RULES, NOV)
    assert letter is not None
    return count(buyer, letter[1], RULES, NOV)


def test_why_nothing_is_counted():
    """No card, another card, the shop's own club, a card of later, another currency: the answer says which."""
    nobody = Buyer("b", f"phone:{PHONES[0]}", NOV)
    own = member()
    own.club = Club(NOV, "vip", 7)
    later = member()
    later.member.joined_at = NOV + 1000
    for buyer, why, more in (
        (nobody, "no_card", {}),
        (own, "own_club", {}),
        (later, "before_card", {}),
        (member(), "currency", {"total": Money(Decimal(188), "USD")}),
        (
            member("809999999999"),
            "other_card",
            {"credit": Credit("1", "CNY", "2026-11", NOV, "x", "801234567890", Decimal(300), 300)},
        ),
    ):
        found = taken(buyer, **more)
        assert found.answer.data == {"closed": why}
        assert found.notice is None
        assert buyer.member is None or (buyer.member.points, buyer.member.level) == (0, "basic")
    assert nobody.uncounted == ["order:main:1"]


def test_two_cards_add_up():
    """Points and months; a level that either brought by an import is the least of both."""
    one, two = member(points=7), member("809999999999", level="gold", points=5)
    one.member.spend = {"CNY 2026-11": "188.50", "CNY 2026-10": "1"}
    two.member.joined_at += DAY
    buyers.merge(one, two)
    assert (one.member.points, one.member.spend) == (12, {"CNY 2026-11": "188.50", "CNY 2026-10": "1"})
    assert settle(one, RULES, NOV) == ["silver", "gold"]
    other = member("808888888888")
    other.member.spend = {"CNY 2026-11": "100"}
    buyers.merge(one, other)
    assert one.member.spend == {"CNY 2026-11": "288.50", "CNY 2026-10": "1"}
    assert spent(one.member, RULES, NOV) == Decimal("289.5")


def test_what_is_kept_of_an_order():
    """Nothing of a cancelled or wholly refunded one; a refund in another currency takes nothing; no less than nothing."""
    order = Order("1", "main", "order:main:1", total=Money(Decimal("188.00"), "CNY"), cod=True, completed_at=NOV)
    assert orders.kept(order).amount == 188
    for currency, amount in (("USD", 188), ("CNY", 88), ("CNY", 0)):
        case = RefundCase(str(amount), amount=Money(Decimal(100), currency))
        case.lane.state = "succeeded"
        order.refunds.append(case)
        assert orders.kept(order).amount == amount
        order.refunds = [one for one in order.refunds if one.amount.currency == "CNY"]
    order.refunds = []
    for field_, value in (("closed", "cancelled"), ("pay", Lane("refunded"))):
        before = getattr(order, field_)
        setattr(order, field_, value)
        assert orders.kept(order).amount == 0
        setattr(order, field_, before)
    order.closed = "closed_unpaid"  # and paid after all
    assert orders.kept(order).amount == 188


def test_an_order_is_complete_from_the_first_word_of_it():
    """Told twice in either order; and only an order that found no card is offered once more."""
    for times in ((NOV, NOV + DAY), (NOV + DAY, NOV)):
        order = None
        for at in times:
            order, _ = orders.apply(order, shop_event("order.completed", "1", at=at))
        assert order.completed_at == NOV
    for why, again in (("no_card", None), ("before_card", Credit(closed="before_card"))):
        order.credit = Credit(closed=why)
        club.again(order)
        assert order.credit == again


def test_only_the_first_amount_of_an_order_is_told():
    """A higher price later is more points, and no second notice."""
    buyer = member(points=100)
    buyer.member.spend = {"CNY 2026-11": "100"}
    credit = Credit("1", "CNY", "2026-11", NOV, buyer.home, buyer.member.number, Decimal(100), 100)
    found = taken(buyer, credit=credit)
    assert (buyer.member.points, found.notice) == (188, None)


def test_a_gift_is_claimed_once():
    """Of one that waits for its hour the coupon is told again, not claimed again; used or over, nothing is said."""
    body = TouchAsked("level_gift", "level_gift|silver", "marketing", vars={"level": "silver"}, not_after=NOV + DAY)
    event = Event("", f"phone:{PHONES[0]}", "main", NOV, NOV, body)
    facts_ = replace(facts(), club=RULES)
    buyer = member()
    assert reached(Turn(event, buyer, NOV, facts_)) == [ClaimCoupon("SILVER", "level_gift", {"level": "silver"})]
    buyer.tallies[club.given("silver")] = 1
    assert reached(Turn(event, buyer, NOV, facts_)) == []
    buyer.coupons = [Coupon("K7QF2M9PXWT4", "SILVER", expires_at=NOV + 1)]
    (told,) = reached(Turn(event, buyer, NOV, facts_))
    assert (told.key, told.purpose, told.vars["code"]) == ("level_gift", "marketing", "K7QF2M9PXWT4")
    assert reached(Turn(event, buyer, NOV + 1, facts_)) == []


def test_what_is_given_is_told_in_a_line():
    """`touchpoint check`."""
    assert club.told(RULES) == (
        "1 points per whole CNY, silver from 300 CNY, gold from 1000 CNY within 12 calendar months; "
        "without order.completed 15 days after delivery"
    )
    assert "no points and no levels" in club.told(Rules("CNY"))


def test_points_that_an_import_took_do_not_go_below_nothing():
    """188 given, set to 5 by an import, 188 taken back: none are left."""
    buyer = member(points=5)
    buyer.member.spend = {"CNY 2026-11": "188.50"}
    back = Credit("1", "CNY", "2026-11", NOV, buyer.home, buyer.member.number, Decimal("188.50"), 188)
    refund = RefundCase("r", amount=Money(Decimal("188.50"), "CNY"))
    refund.lane.state = "succeeded"
    taken(buyer, credit=back, refunds=[refund])
    assert (buyer.member.points, buyer.member.spend) == (0, {})


def test_a_completion_of_tomorrow_counts_today():
    """By a shop whose clock is ahead: in the month that it is."""
    buyer = member()
    taken(buyer, completed_at=NOV + 40 * DAY)
    assert buyer.member.spend == {"CNY 2026-11": "188.50"}


def test_what_is_told_late_is_counted_and_not_told():
    buyer = member()
    assert taken(buyer, completed_at=NOV - 4 * DAY).notice is None
    assert buyer.member.points == 188
    assert taken(member(), completed_at=NOV - 2 * DAY).notice is not None


def test_months_that_count_and_months_that_are_summed_up():
    """Twelve with this one; of more than three years ago one sum is left, which a refund still finds."""
    buyer = member()
    buyer.member.spend = {"CNY 2025-11": "500", "CNY 2025-12": "200", "USD 2026-11": "999", "CNY 2023-01": "50"}
    assert spent(buyer.member, RULES, NOV) == 200
    taken(buyer)
    assert spent(buyer.member, RULES, NOV) == Decimal("388.5")
    assert buyer.member.spend["CNY earlier"] == "50"
    ever = Rules("CNY", Decimal(1), LEVELS, 0, 15, ZONE)
    assert spent(buyer.member, ever, NOV) == Decimal("938.5")
    club._spend(buyer.member, "CNY", "2023-01", Decimal(-20), NOV, RULES)
    assert buyer.member.spend["CNY earlier"] == "30"


def test_a_level_falls_on_the_first_of_its_month():
    """Silver by November 2025 and 2026: what is left of it in November 2027 is too little."""
    buyer = member()
    buyer.member.spend = {"CNY 2026-03": "250", "CNY 2026-11": "100"}
    assert settle(buyer, RULES, NOV) == ["silver"]
    due = buyer.timers[club.TIMER].due
    assert club.month_of(due, ZONE) == "2027-03"
    assert club.month_of(due - 1, ZONE) == "2027-02"
    assert settle(buyer, RULES, due - 1) == []
    assert buyer.member.level == "silver"
    settle(buyer, RULES, due)
    assert buyer.member.level == "basic"
    assert club.TIMER not in buyer.timers


def test_an_imported_level_is_a_floor():
    """Silver by its name, gold by spending, silver again when that is over; an unknown one is nobody's to change."""
    buyer = member(level="银卡会员")
    taken(buyer)
    assert (buyer.member.level, buyer.member.granted) == ("silver", ("银卡会员",))
    buyer.member.spend["CNY 2026-11"] = "1000"
    assert settle(buyer, RULES, NOV) == ["gold"]
    settle(buyer, RULES, NOV + 400 * DAY)
    assert buyer.member.level == "silver"
    strange = member(level="VIP8")
    taken(strange)
    assert strange.member.level == "VIP8"
    assert standing(strange.member, RULES, NOV) == (None, None, 0)
    assert standing(buyer.member, RULES, NOV + 400 * DAY) == (LEVELS[1], LEVELS[2], 1000)


def delivered(order: Order | None, parcel: str, state: str, at: int = NOV) -> Order:
    body = ShopEvent(
        "shipment.updated", "main", at, order=OrderFacts("1"), shipment=ShipmentFacts(parcel, state=state, scan_at=at)
    )
    return orders.apply(order, Event("", "order:main:1", "main", at, at, body))[0]


def test_an_order_waits_for_its_last_parcel():
    """Fifteen days after the last one came; not while one is on its way; not where none came, the club is off, or it is complete."""
    order = delivered(None, "a", "delivered")
    club.watch(order, RULES)
    assert order.timers[club.TIMER].due == NOV + 15 * DAY
    order = delivered(order, "b", "in_transit")
    club.watch(order, RULES)
    assert club.TIMER not in order.timers
    order = delivered(order, "b", "delivered", NOV + DAY)
    club.watch(order, RULES)
    assert order.timers[club.TIMER].due == NOV + 16 * DAY
    for rules in (Rules("CNY", zone=ZONE), Rules("CNY", Decimal(1), complete_after_days=0)):
        club.watch(order, rules)
        assert club.TIMER not in order.timers
    order.completed_at = NOV
    club.watch(order, RULES)
    assert club.TIMER not in order.timers
    order.completed_at, order.closed = 0, "cancelled"
    club.watch(order, RULES)
    assert club.TIMER not in order.timers
    back = delivered(None, "a", "returned")
    club.watch(back, RULES)
    assert club.TIMER not in back.timers


def test_the_notices_reason_is_the_amount():
    """Read once more just before it goes: another amount is another notice's reason, and there is none."""
    order = Order("1", "main", "order:main:1", total=Money(Decimal("188.00"), "CNY"), cod=True, completed_at=NOV)
    order.buyer = BuyerFacts(phones=(PHONES[0],))
    letter = offer(order, RULES, NOV)
    guard = count(member(), letter[1], RULES, NOV).notice.guard
    assert orders.still_holds(guard, order)
    refund = RefundCase("r", amount=Money(Decimal(8), "CNY"))
    refund.lane.state = "succeeded"
    order.refunds.append(refund)
    assert not orders.still_holds(guard, order)


def test_what_is_complete_before_there_is_a_club_stays_uncounted():
    order = Order("1", "main", "order:main:1", total=Money(Decimal(9), "CNY"), cod=True, completed_at=NOV)
    order.buyer = BuyerFacts(phones=(PHONES[0],))
    assert offer(order, Rules("CNY"), NOV) is None
    assert offer(order, RULES, NOV) is None
    assert order.credit == Credit(closed="off")
