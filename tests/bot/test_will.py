"""Nobody is messaged against their will: a machine that tries every path to a marketing message without an opt-in.

What was said is kept beside the gateway, in the order it was said, per address: a message of marketing must follow a yes
given at that very address, later than the last no of whoever that address belongs to.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bot import subjects
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.effects import ClaimCoupon, ClaimResult, CodeResult, IssueCard, SendCode
from bot.events import BuyerFacts, CheckoutFacts, Event, Item, OptChanged, OrderFacts, ShipmentFacts, ShopEvent
from bot.records import Buyer, Link
from bot.run import Answered, Issued, Unresolved
from tests.desk import PHONE, Desk

T = 1_790_000_000_000
WHERE = [("chat", "p1"), ("chat", "p2"), ("sms", PHONE)]
PLACES = st.sampled_from(WHERE)
OUT = ("退订", "TD", "STOP", "r", "拒收")
BACK = ("恢复", "START")
YES = ("1", "要", "好", "ok")
WORDS = [
    *(
        "会员",
        "13900001234",
        "123456",
        "跳过",
        "小满",
        "1月2日",
        "女",
        "0",
        "2",
        "不用",
        "返回",
        "我的信息",
        "注销会员",
    ),
    *("换手机号", "优惠券", "领 OLD", "领 MAY", "你好", "人工", "订单", "no"),
]


class Shop(Desk):
    """The desk, with what shared scripts would answer: cards, codes, coupons that are sold out or won."""

    def _quiet(self, question: Unresolved) -> Answered:  # type: ignore[override]
        match question:
            case IssueCard():
                self._count += 1
                return Issued(f"8{self._count:011d}")
            case ClaimCoupon(campaign="OLD"):
                return ClaimResult("sold_out", "OLD")
            case ClaimCoupon(campaign=key):
                self._count += 1
                return ClaimResult("won", key, f"CODE{self._count:08d}", self.now + 4 * DAY_MS)
            case SendCode(phone=phone):
                data = {**question.data, "account": "sms", "otp": "123456"}
                return CodeResult("sent", phone, "good", self.now + 600_000, data=data)
            case _:
                return super()._quiet(question)


class Will(RuleBasedStateMachine):
    """Buyers, staff and shop do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Shop(T)
        self.step = 0
        self.yes: dict[tuple[str, str], int] = {}
        self.wish: dict[tuple[str, str], int] = {}
        self.no: dict[tuple[str, str], int] = {}
        self.shown: dict[tuple[str, str], dict[str, int]] = {}
        self.seen = 0

    @initialize()
    def everybody_writes_once(self) -> None:
        """So that there are records."""
        for account, id in WHERE:
            self.desk.says(id, "你好", account)

    def _home(self, place: tuple[str, str]) -> str:
        return self.desk.buyer(subjects.address(*place)).id if self._known(place) else ""

    def _known(self, place: tuple[str, str]) -> bool:
        found = self.desk.record(subjects.address(*place))
        while isinstance(found, Link):
            found = self.desk.record(found.home)
        return isinstance(found, Buyer)

    def _refuses(self, place: tuple[str, str]) -> None:
        """A no at one address counts for every address of that buyer as it is known now."""
        home = self._home(place)
        for other in WHERE:
            if other == place or (home and self._home(other) == home):
                self.no[other] = self.step

    def _asked(self, place: tuple[str, str], key: str) -> bool:
        return self.shown.get(place, {}).get(key, 0) > self.no.get(place, 0)

    # --- what they do -----------------------------------------------------------------------------------------------

    @rule(place=PLACES, text=st.sampled_from([*WORDS, *YES, *OUT, *BACK]))
    def says(self, place: tuple[str, str], text: str) -> None:
        """A buyer writes anything; what counts as a yes is only an answer to a question that was asked since the last no."""
        self.step += 1
        if text in BACK:
            self.yes[place] = self.step
        if text in YES and self._asked(place, "ask_marketing"):
            self.yes[place] = self.step
        if text in YES and self._asked(place, "coupon_sold_out"):
            self.wish[place] = self.step
        if text in OUT:
            self._refuses(place)
        left = self.desk.told.count("left_club")
        home = [other for other in WHERE if self._home(other) == self._home(place)]
        account, id = place
        self.desk.says(id, text, account)
        if self.desk.told.count("left_club") > left:
            for other in home:
                self.no[other] = self.step
        self._look()

    @rule(place=PLACES, change=st.sampled_from(["out", "in"]))
    def provider_reports(self, place: tuple[str, str], change: Any) -> None:
        """The provider's own stop and start."""
        self.step += 1
        if change == "out":
            self._refuses(place)
        else:
            self.yes[place] = self.step
        subject = subjects.address(*place)
        self.desk.post(Event("", subject, place[0], self.desk.now, self.desk.now, OptChanged(change)))
        self.desk.settle()
        self._look()

    @rule(place=PLACES, purpose=st.sampled_from(["marketing", "service"]), other=st.booleans())
    def api_sends(self, place: tuple[str, str], purpose: str, other: bool) -> None:
        """POST /messages, to any address of the buyer or to one account."""
        self.step += 1
        data = {"id": f"m{self.step}", "purpose": purpose, "text": "会员日", "accounts": [] if other else [place[0]]}
        self.desk.asks(subjects.address(*place), "message", json.dumps(data).encode())
        self._look()

    @rule(place=PLACES, verdict=st.sampled_from(["granted", "refused"]))
    def api_records_consent(self, place: tuple[str, str], verdict: str) -> None:
        """Consent with evidence, by the shop's own system."""
        self.step += 1
        if verdict == "granted":
            self.yes[place] = self.step
        self.desk.grants(subjects.address(*place), *place, "marketing", verdict)
        if verdict == "refused":
            self.no[place] = self.step
        self._look()

    @rule(answer=st.sampled_from(["yes", "no", "unknown"]), old=st.booleans(), number=st.sampled_from([PHONE, ""]))
    def checkout(self, answer: Any, old: bool, number: str) -> None:
        """A cart of the phone's owner, with the shop's tick or an old one; three notes may follow."""
        self.step += 1
        at = self.desk.now - (400 * DAY_MS if old else 0)
        if answer == "yes":
            self.yes[WHERE[2]] = self.step if not old else self.yes.get(WHERE[2], 0) or 1
        facts = BuyerFacts(ref="701", phones=(number,) if number else (), sms_consent=answer, consent_at=at)
        cart = CheckoutFacts(f"t{self.step}", (Item("衬衫"),), updated_at=self.desk.now, started_at=self.desk.now)
        self._shop("checkout.updated", subjects.cart("main", cart.token), buyer=facts, checkout=cart)
        self._look()

    @rule(place=PLACES)
    def order_delivered(self, place: tuple[str, str]) -> None:
        """An order of a chat or a phone is delivered: the review invitation may follow after three days."""
        self.step += 1
        facts = BuyerFacts(phones=(PHONE,)) if place[0] == "sms" else BuyerFacts(address=f"chat:{place[1]}")
        id = f"o{self.step}"
        subject = subjects.order("main", id)
        order = OrderFacts(id=id, pay_state="paid", placed_at=self.desk.now, items=(Item("衬衫"),))
        self._shop("order.paid", subject, order=order, buyer=facts)
        shipment = ShipmentFacts(id="s1", state="delivered")
        self._shop("shipment.updated", subject, order=OrderFacts(id=id), shipment=shipment)
        self._look()

    def _shop(self, kind: str, subject: str, **facts: Any) -> None:
        now = self.desk.now
        body = ShopEvent(kind=kind, shop="main", occurred_at=now, version=now, **facts)
        self.desk.post(Event(f"{kind}{self.step}", subject, "main", now, now, body))
        self.desk.settle()

    @rule(place=PLACES)
    def coupons_open(self, place: tuple[str, str]) -> None:
        """A campaign can be claimed: who waits is told."""
        self.step += 1
        self.desk.asks(subjects.address(*place), "coupons_open", b'{"campaign": "PCT"}')
        self._look()

    @rule(one=PLACES, two=PLACES)
    def staff_merge(self, one: tuple[str, str], two: tuple[str, str]) -> None:
        """Two records turn out to be one buyer."""
        self.step += 1
        if self._home(one) and self._home(two) and self._home(one) != self._home(two):
            into = self.desk.buyer(subjects.address(*two)).home
            self.desk.asks(subjects.address(*one), "merge", json.dumps({"into": into}).encode())
        self._look()

    @rule(place=PLACES, takes=st.booleans())
    def staff_take(self, place: tuple[str, str], takes: bool) -> None:
        """Staff take the conversation over, or give it back."""
        until = self.desk.now + HOUR_MS
        what = b'{"until": %d}' % until if takes else b"{}"
        self.desk.asks(subjects.address(*place), "take" if takes else "release", what)
        self._look()

    @rule(ms=st.sampled_from([MINUTE_MS, 11 * MINUTE_MS, HOUR_MS, DAY_MS, 4 * DAY_MS]))
    def time_passes(self, ms: int) -> None:
        """Timers fire: cart notes, coupons that end, invitations, questions."""
        self.step += 1
        self.desk.advance(ms)
        self._look()

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        for message in self.desk.sent[self.seen :]:
            place = (message.account, message.to)
            self.shown.setdefault(place, {})[message.key] = self.step
            if message.purpose == "marketing":
                said = self.yes.get(place, 0)
                if message.key == "coupon_next":
                    said = max(said, self.wish.pop(place, 0))
                assert said > self.no.get(place, 0), (message.key, place, self.yes, self.no)
        self.seen = len(self.desk.sent)

    @invariant()
    def every_planned_message_has_a_state(self) -> None:
        """Nothing waits that no timer will end."""
        waits = {
            held.id
            for subject in self.desk.records
            if isinstance(record := self.desk.record(subject), Buyer)
            for held in record.waiting.values()
        }
        assert set(self.desk.waiting) <= waits


Will.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestWill = Will.TestCase
