"""May this be sent: the table of purposes by state, and what holds for every plan whatever the record says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from bot.hours import ALWAYS, Hours, day_start, is_open, parse
from bot.policy import MOST_WAITING, Decision, Plan, PolicySettings, agreed, best_window, candidates, decide, zone_of
from bot.ports import Capabilities, WindowRule
from bot.reasons import Rule, SkipReason
from bot.records import Address, Awaited, Buyer, Consent, Grant, SentCount, Waiting, Window

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOON = 1_790_049_600_000  # 2026-09-22 12:00 in Shanghai
NIGHT = NOON + 10 * HOUR + 30 * MINUTE  # 22:30

CHAT = Capabilities(
    frozenset({"text"}),
    0,
    windows={"message": WindowRule(DAY, -1), "follow": WindowRule(MINUTE, 3)},
    window_margin_ms=10_000,
)
TEXTS = Capabilities(frozenset({"text"}), 0, address_is_phone=True, sms=True)
TEMPLATES = Capabilities(frozenset({"notice"}), 0, address_is_phone=True, sms=True, free_text=False)
ACCOUNTS = {"chat": CHAT, "sms": TEXTS, "cn": TEMPLATES}
SHOP = PolicySettings(ACCOUNTS, SHANGHAI, notices=frozenset({("order_shipped", "cn"), ("order_shipped", "chat")}))
GRANTED = Consent(marketing="granted", at=1)


def chat(**fields: Any) -> Address:
    """An address in an open chat of somebody who agreed to everything."""
    values = {"windows": {"message": Window(NOON + DAY)}, "consent": GRANTED, "last_in": 5, **fields}
    return Address("chat", "p1", **values)


def text(**fields: Any) -> Address:
    return Address("sms", "+8613900001234", **{"consent": GRANTED, **fields})


def buyer(*addresses: Address, **fields: Any) -> Buyer:
    return Buyer("b1", "address:chat:p1", 1, addresses=list(addresses), **fields)


def plan(purpose: str, *addresses: Address, now: int = NOON, **fields: Any) -> Plan:
    to = {"reply_to": addresses[0]} if purpose == "reply" and addresses else {}
    return Plan(purpose, buyer(*addresses), now, **{**to, **fields})  # type: ignore[arg-type]


def told(decision: Decision) -> tuple[str, str, str]:
    """Outcome, reason, account."""
    return decision.outcome, decision.reason, decision.address.account if decision.address else ""


# --- the table: purpose by state --------------------------------------------------------------------------------------

SEND, NO = "send", "skip"
STATES: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, NOON),
    "night": ({}, NIGHT),
    "opted out": ({"opted_out": True}, NOON),
    "not asked": ({"consent": Consent()}, NOON),
    "refused": ({"consent": Consent(marketing="refused")}, NOON),
    "blocked": ({"blocked": True}, NOON),
    "unreachable": ({"reachable": False}, NOON),
    "staff": ({"staff_until": NOON + 15 * MINUTE}, NOON),
    "shut": ({"windows": {}}, NOON),
    "used up": ({"windows": {"follow": Window(NOON + MINUTE, 0)}}, NOON),
}
TABLE = {
    # state         reply            service            marketing
    "plain": ((SEND, ""), (SEND, ""), (SEND, "")),
    "night": ((SEND, ""), ("defer", ""), ("defer", "")),
    "opted out": ((SEND, ""), (SEND, ""), (NO, "opted_out")),
    "not asked": ((SEND, ""), (SEND, ""), (NO, "no_consent")),
    "refused": ((SEND, ""), (SEND, ""), (NO, "no_consent")),
    "blocked": ((NO, "blocked"), (NO, "blocked"), (NO, "blocked")),
    "unreachable": ((NO, "unreachable"), (NO, "unreachable"), (NO, "unreachable")),
    "staff": ((NO, "staff_own"), (SEND, ""), ("defer", "staff_own")),
    "shut": ((NO, "window_closed"), (NO, "window_closed"), (NO, "window_closed")),
    "used up": ((NO, "quota_used"), (NO, "quota_used"), (NO, "quota_used")),
}


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("purpose", ["reply", "service", "marketing"])
def test_the_table(state, purpose):
    """Each purpose in each state of its one address, as docs/policy.md has it."""
    fields, now = STATES[state]
    decision = decide(plan(purpose, chat(**fields), now=now), SHOP)
    expected = TABLE[state][("reply", "service", "marketing").index(purpose)]
    assert (decision.outcome, decision.reason) == expected


@pytest.mark.parametrize("state", STATES)
def test_a_code_is_free_of_hours_caps_consent_and_staff(state):
    """A code goes at night, after an opt-out and while staff write: only a carrier's block or a dead number stops it."""
    fields, now = STATES[state]
    fields = {key: value for key, value in fields.items() if key != "windows"}
    expected = {"blocked": (NO, "blocked"), "unreachable": (NO, "unreachable")}.get(state, (SEND, ""))
    decision = decide(plan("code", text(**fields), now=now), SHOP)
    assert (decision.outcome, decision.reason) == expected


@pytest.mark.parametrize(
    "fields", [{"opted_out": True}, {"blocked": True, "opted_out": True}, {"staff_until": NOON + DAY}]
)
def test_an_opt_out_is_always_confirmed(fields):
    """The one confirmation goes also while staff write and to a number that has just been blocked."""
    assert told(decide(plan("reply", chat(**fields), confirms_opt_out=True), SHOP)) == (SEND, "", "chat")


def test_a_service_notice_that_is_refused_is_not_sent():
    """Who refused service notices too gets none."""
    decision = decide(plan("service", chat(consent=Consent(service="refused"))), SHOP)
    assert told(decision) == (NO, "opted_out", "")


def test_an_erased_buyer_is_not_written_to():
    """Nothing is left to write to."""
    assert told(decide(Plan("service", buyer(chat(), erased=True), NOON), SHOP)) == (NO, "erased", "")


# --- lanes ------------------------------------------------------------------------------------------------------------


def test_an_answer_goes_where_the_question_came_from():
    """A reply has no other lane, and one to an account that is configured no more has none."""
    shut = chat(windows={})
    assert told(decide(plan("reply", shut, text()), SHOP)) == (NO, "window_closed", "")
    gone = Address("gone", "x")
    assert told(decide(plan("reply", gone, text()), SHOP)) == (NO, "no_address", "")


def test_an_open_chat_comes_before_a_text():
    """It costs nothing; with the chat shut, the text goes."""
    assert told(decide(plan("service", text(last_in=9), chat()), SHOP)) == (SEND, "", "chat")
    assert told(decide(plan("service", text(), chat(windows={})), SHOP)) == (SEND, "", "sms")


def test_the_shops_order_of_channels_holds():
    """Cheapest first as configured, per purpose."""
    shop = replace(SHOP, order_of_channels={"service": ["sms", "chat"]})
    assert told(decide(plan("service", chat(), text()), shop)) == (SEND, "", "sms")
    assert told(decide(plan("marketing", chat(), text()), shop)) == (SEND, "", "chat")


def test_only_the_accounts_that_were_asked_for():
    """`accounts` of the API narrows, it never widens."""
    assert told(decide(plan("service", chat(), text(), only=("sms",)), SHOP)) == (SEND, "", "sms")
    assert told(decide(plan("service", chat(), only=("sms",)), SHOP)) == (NO, "no_address", "")


def test_a_template_carries_a_service_notice_where_the_window_is_shut():
    """Never marketing, never a message that needs the chat itself."""
    shut = chat(windows={})
    decision = decide(plan("service", shut, key="order_shipped"), SHOP)
    assert (decision.outcome, decision.notice, decision.opener) == (SEND, True, "")
    assert decide(plan("marketing", shut, key="order_shipped"), SHOP).reason == "window_closed"
    assert decide(plan("service", shut, key="order_shipped", needs_window=True), SHOP).reason == "window_closed"


LEAVES = replace(SHOP, subscriptions={("order_shipped", "chat"): "tpl1", ("review_invite", "chat"): "tpl1"})


def allowed(*times: int, **fields: Any) -> Address:
    """An address whose window is shut, with so many notices allowed."""
    return chat(**{"windows": {}, "grants": {"tpl1": Grant(list(times))}, **fields})


def test_a_subscription_notice_goes_while_the_buyer_allowed_one():
    """Outside the window only, before SMS; without leave the next lane, or the window's own reason by the rule `grant`."""
    decision = decide(plan("service", allowed(5, 6), text(), key="order_shipped"), LEAVES)
    assert (*told(decision), decision.notice, decision.grant) == (SEND, "", "chat", True, "tpl1")
    assert ("grant", "allow", "2 left") in [(one.rule, one.verdict, one.detail) for one in decision.rules]
    inside = decide(plan("service", chat(grants={"tpl1": Grant([5])}), key="order_shipped"), LEAVES)
    assert (inside.opener, inside.notice, inside.grant) == ("message", False, "")
    assert told(decide(plan("service", allowed(), text(), key="order_shipped"), LEAVES)) == (SEND, "", "sms")
    for fields, reason in (({}, "window_closed"), ({"windows": {"follow": Window(NOON + MINUTE, 0)}}, "quota_used")):
        refused = decide(plan("service", allowed(**fields), key="order_shipped"), LEAVES)
        assert (refused.outcome, refused.reason, refused.rules[-1].rule) == (NO, reason, "grant")
    assert decide(plan("service", allowed(5), key="order_paid"), LEAVES).reason == "window_closed"
    assert decide(plan("reply", allowed(5), key="order_shipped"), LEAVES).reason == "window_closed"


def test_leave_for_a_notice_is_no_consent_to_marketing():
    """A review invitation may take one, though it needs a window else; hours, caps, opt-outs and staff hold for it."""
    asked = {"key": "review_invite", "needs_window": True}
    decision = decide(plan("marketing", allowed(5), text(), **asked), LEAVES)
    assert (*told(decision), decision.grant) == (SEND, "", "chat", "tpl1")
    assert decide(plan("marketing", allowed(), text(), **asked), LEAVES).reason == "window_closed"
    for fields, expected in (
        ({"consent": Consent()}, (NO, "no_consent")),
        ({"opted_out": True}, (NO, "opted_out")),
        ({"blocked": True}, (NO, "blocked")),
        ({"staff_until": NOON + HOUR}, ("defer", "staff_own")),
    ):
        decision = decide(plan("marketing", allowed(5, **fields), **asked), LEAVES)
        assert (decision.outcome, decision.reason) == expected
    assert decide(plan("marketing", allowed(5), now=NIGHT, **asked), LEAVES).outcome == "defer"


def test_who_does_not_follow_is_reached_by_a_notice_that_they_allowed_since():
    """Unreachable for everything else; what was allowed before leaving is over."""
    gone = {"reachable": False, "left_at": 10}
    assert told(decide(plan("service", allowed(20, **gone), key="order_shipped"), LEAVES)) == (SEND, "", "chat")
    assert decide(plan("service", allowed(5, **gone), key="order_shipped"), LEAVES).reason == "unreachable"
    still = allowed(20, **gone, windows={"message": Window(NOON + DAY)})
    assert decide(plan("service", still, key="order_shipped"), LEAVES).grant == "tpl1"
    assert decide(plan("reply", still), LEAVES).reason == "unreachable"


def test_a_line_of_templates_needs_one():
    """Alibaba Cloud takes no free text."""
    cn = Address("cn", "+8613900001234", consent=GRANTED)
    assert decide(plan("service", cn, key="order_shipped"), SHOP).notice
    assert decide(plan("service", cn, key="order_paid"), SHOP).reason == "no_template"
    assert decide(plan("marketing", cn, key="order_shipped", needs_window=True), SHOP).reason == "window_closed"


def test_what_needs_a_chat_never_goes_by_text():
    """A review invitation outside an open chat is skipped."""
    assert told(decide(plan("marketing", text(), needs_window=True), SHOP)) == (NO, "window_closed", "")
    assert told(decide(plan("marketing", text(), chat(), needs_window=True), SHOP)) == (SEND, "", "chat")


def test_what_is_not_worth_a_text_goes_by_chat_or_its_template():
    """That an order is complete: in the window, else by a template, never by SMS."""
    asked = {"key": "order_shipped", "spares_texts": True}
    assert told(decide(plan("service", text(), chat(), **asked), SHOP)) == (SEND, "", "chat")
    shut = decide(plan("service", text(), chat(windows={}), **asked), SHOP)
    assert (*told(shut), shut.notice) == (SEND, "", "chat", True)
    cn = Address("cn", "+8613900001234", consent=GRANTED)
    assert told(decide(plan("service", text(), cn, **asked), SHOP)) == (NO, "window_closed", "")


def test_of_several_refusals_the_buyers_own_will_is_told():
    """Opted out in the chat and no template by SMS: the opt-out is the reason staff read."""
    cn = Address("cn", "+8613900001234", consent=GRANTED)
    decision = decide(plan("marketing", chat(opted_out=True), cn), SHOP)
    assert decision.reason == "opted_out"
    assert {rule.rule for rule in decision.rules} == {"opt_out", "template"}


def test_the_window_without_a_quota_is_used_first():
    """A follow's three messages are kept for when nothing else is open; a window in its last seconds counts as shut."""
    both = chat(windows={"follow": Window(NOON + 50_000, 3), "message": Window(NOON + DAY)})
    assert decide(plan("reply", both), SHOP).opener == "message"
    assert best_window(chat(windows={"follow": Window(NOON + 50_000, 3)}), CHAT, NOON) == ("follow", False)
    assert best_window(chat(windows={"message": Window(NOON + 9_000)}), CHAT, NOON) == ("", False)
    assert best_window(chat(windows={"message": Window(NOON + 10_000)}), CHAT, NOON) == ("", False)
    assert best_window(chat(windows={"message": Window(NOON + 10_001)}), CHAT, NOON) == ("message", False)
    assert best_window(chat(windows={"other": Window(NOON + DAY)}), CHAT, NOON) == ("", False)


# --- a topic that was asked for ---------------------------------------------------------------------------------------


def test_the_next_coupons_may_be_told_to_who_asked_for_that():
    """Asked for at this address: that topic and no other marketing; an opt-out ends it too."""
    asked = Consent(marketing="refused", coupons="granted")
    assert decide(plan("marketing", chat(consent=asked), topic="coupons"), SHOP).outcome == SEND
    assert decide(plan("marketing", chat(consent=asked)), SHOP).reason == "no_consent"
    assert decide(plan("marketing", chat(consent=asked, opted_out=True), topic="coupons"), SHOP).reason == "opted_out"
    assert decide(plan("marketing", text(consent=Consent()), topic="coupons"), SHOP).reason == "no_consent"


def test_a_wish_for_a_product_holds_where_it_was_asked_for():
    """In this chat and for this product: by no other address of the buyer, for no other product, not after an opt-out."""
    linen = "product:main:p5"
    asked = Awaited(linen, "", NOON, "chat", "p1", "evidence")

    def who(*addresses: Address) -> Plan:
        return Plan("marketing", buyer(*addresses, awaits=[asked]), NOON, topic=linen)

    never = Consent()
    assert told(decide(who(chat(consent=never)), SHOP)) == (SEND, "", "chat")
    assert decide(who(text(consent=never)), SHOP).reason == "no_consent"
    assert decide(who(chat(consent=never, windows={}), text(consent=never)), SHOP).outcome == NO
    assert decide(who(structs.replace(chat(consent=never), id="p2")), SHOP).reason == "no_consent"
    assert decide(structs.replace(who(chat(consent=never)), topic="product:main:p6"), SHOP).reason == "no_consent"
    assert decide(structs.replace(who(chat(consent=never)), topic=""), SHOP).reason == "no_consent"
    assert decide(who(chat(consent=never, opted_out=True)), SHOP).reason == "opted_out"


# --- hours ------------------------------------------------------------------------------------------------------------


def test_marketing_waits_for_its_hours_in_the_buyers_zone():
    """22:30 in Shanghai is 09:00 the next day there, and 16:30 in Berlin."""
    waits = decide(plan("marketing", chat(), now=NIGHT), SHOP)
    assert waits.until == NIGHT + 10 * HOUR + 30 * MINUTE
    assert decide(plan("marketing", chat(timezone="Europe/Berlin"), now=NIGHT), SHOP).outcome == SEND
    there = Plan("marketing", buyer(chat(), timezone="Europe/Berlin"), NIGHT)
    assert zone_of(there, SHOP, there.buyer.addresses[0]) == BERLIN
    assert decide(there, SHOP).outcome == SEND
    both = Plan("marketing", buyer(chat(timezone="Asia/Shanghai"), timezone="Europe/Berlin"), NIGHT)
    assert decide(both, SHOP).outcome == "defer"  # the address says more than the record


def test_what_would_come_too_late_is_not_deferred():
    """Useful until midnight: at 22:30 it is skipped, not sent in the morning."""
    decision = decide(plan("service", chat(), now=NIGHT, not_after=NIGHT + HOUR), SHOP)
    assert told(decision) == (NO, "too_late", "chat")
    assert decide(plan("service", chat(), now=NOON, not_after=NOON - 1), SHOP).reason == "too_late"
    assert decide(plan("service", chat(), now=NOON, not_after=NOON), SHOP).outcome == SEND
    opens = NIGHT + 10 * HOUR + 30 * MINUTE
    just = decide(plan("marketing", chat(), now=NIGHT, not_after=opens), SHOP)
    assert (just.outcome, just.until) == ("defer", opens)
    assert decide(plan("marketing", chat(), now=NIGHT, not_after=opens - 1), SHOP).reason == "too_late"


def test_staff_who_write_on_one_lane_hold_back_marketing_on_all():
    """No text about a cart while a colleague talks with the buyer in the chat; after the hold come the hours."""
    staffed = chat(staff_until=NOON + 15 * MINUTE)
    decision = decide(plan("marketing", staffed, text()), SHOP)
    assert (decision.outcome, decision.reason, decision.until) == ("defer", "staff_own", NOON + 15 * MINUTE)
    late = decide(plan("marketing", chat(staff_until=NIGHT)), SHOP)
    assert late.until == NIGHT + 10 * HOUR + 30 * MINUTE
    assert decide(plan("marketing", staffed, not_after=NOON + MINUTE), SHOP).reason == "too_late"
    # The message would go by text; the colleague writes in the chat.
    elsewhere = decide(plan("marketing", chat(staff_until=NOON + MINUTE, windows={}), text()), SHOP)
    assert told(elsewhere) == ("defer", "staff_own", "sms")
    assert decide(plan("marketing", chat(staff_until=NOON), text()), SHOP).outcome == SEND
    assert decide(plan("reply", chat(staff_until=NOON)), SHOP).outcome == SEND
    assert decide(plan("reply", chat(staff_until=NOON + 1)), SHOP).reason == "staff_own"


# --- caps -------------------------------------------------------------------------------------------------------------


def test_what_makes_it_wait_is_told_with_its_end():
    """A hold of staff stands among the rules; a message that may not wait any more is skipped by the rule that holds it."""
    until = NOON + 15 * MINUTE
    held = decide(plan("marketing", chat(staff_until=until)), SHOP)
    assert [(one.rule, one.until) for one in held.rules if one.verdict == "defer"] == [("staff_own", until)]
    crowd = {f"wait:{number}": Waiting(b"", f"m_{number}") for number in range(MOST_WAITING)}
    full = buyer(chat(staff_until=until), waiting=crowd)
    decision = decide(Plan("marketing", full, NOON), SHOP)
    assert told(decision)[:2] == (NO, "cap_reached")
    assert (decision.rules[-1].rule, decision.rules[-1].verdict) == ("staff_own", "deny")
    assert decide(Plan("service", buyer(chat(), waiting=crowd), NIGHT), SHOP).outcome == "defer"


def sent(purpose: str, *ago: int) -> dict[str, Any]:
    return {"sent": SentCount(**{purpose: [NOON - one for one in ago]})}


def test_the_week_and_the_day_of_marketing():
    """One a day, two in seven days: the third waits until the oldest of the two is a week old."""
    once = decide(Plan("marketing", buyer(chat(), **sent("marketing", HOUR)), NOON), SHOP)
    assert (once.outcome, once.reason) == ("defer", "cap_reached")
    assert once.until == day_start(NOON, SHANGHAI, 1) + 9 * HOUR
    twice = decide(Plan("marketing", buyer(chat(), **sent("marketing", 6 * DAY, DAY)), NOON), SHOP)
    assert twice.until == NOON + DAY
    free = decide(Plan("marketing", buyer(chat(), **sent("marketing", 7 * DAY, DAY)), NOON), SHOP)
    assert free.outcome == SEND
    midnight = NOON - day_start(NOON, SHANGHAI)
    assert decide(Plan("marketing", buyer(chat(), **sent("marketing", midnight)), NOON), SHOP).outcome == "defer"
    assert decide(Plan("marketing", buyer(chat(), **sent("marketing", midnight + 1)), NOON), SHOP).outcome == SEND


def test_a_cap_that_frees_too_late_is_the_caps_doing():
    """Staff read which rule they could change; while they hold the chat for longer than the cap, it waits for them."""
    once = buyer(chat(), **sent("marketing", HOUR))
    assert decide(Plan("marketing", once, NOON, not_after=NOON + HOUR), SHOP).reason == "cap_reached"
    held = buyer(chat(staff_until=NOON + 3 * DAY), **sent("marketing", HOUR))
    assert decide(Plan("marketing", held, NOON), SHOP).until == NOON + 3 * DAY


def test_what_a_cap_refuses_does_not_wait_for_the_morning():
    """The seventh notice of a day is skipped at night as well, not sent the next day."""
    seven = buyer(chat(), sent=SentCount(service=[NIGHT - n * HOUR for n in range(1, 7)]))
    assert told(decide(Plan("service", seven, NIGHT), SHOP)) == (NO, "cap_reached", "chat")


def test_caps_are_told_where_there_is_room_too():
    """Staff see how much of a share is used before it is used up."""
    news, notice = decide(plan("marketing", chat()), SHOP), decide(plan("service", chat()), SHOP)
    told_of = {one.rule: one.detail for one in (*news.rules, *notice.rules) if one.verdict == "allow"}
    assert told_of["marketing_per_week"] == f"0 of {SHOP.marketing_per_week} this week"
    assert told_of["marketing_per_day"] == f"0 of {SHOP.marketing_per_day} today"
    assert told_of["service_per_day"] == f"0 of {SHOP.service_per_day} today"


def test_a_lowered_cap_waits_for_enough_to_be_old():
    """Five sent, two allowed: four of them must pass out of the week."""
    ago = (6 * DAY, 5 * DAY, 4 * DAY, 3 * DAY, 2 * DAY)
    decision = decide(Plan("marketing", buyer(chat(), **sent("marketing", *ago)), NOON), SHOP)
    assert decision.until == NOON + 4 * DAY


def test_the_day_of_service_notices():
    """Six a day of the buyer's calendar, the seventh is skipped; yesterday's do not count."""
    six = sent("service", *(n * HOUR for n in range(1, 7)))
    assert decide(Plan("service", buyer(chat(), **six), NOON), SHOP).reason == "cap_reached"
    yesterday = sent("service", *(DAY + n * HOUR for n in range(6)))
    assert decide(Plan("service", buyer(chat(), **yesterday), NOON), SHOP).outcome == SEND
    midnight = NOON - day_start(NOON, SHANGHAI)
    today = sent("service", *[midnight] * 6)
    assert decide(Plan("service", buyer(chat(), **today), NOON), SHOP).reason == "cap_reached"


def test_zero_turns_a_cap_off():
    """0 is no cap."""
    shop = replace(SHOP, marketing_per_week=0, marketing_per_day=0, service_per_day=0)
    many = SentCount(marketing=[NOON - 1] * 9, service=[NOON - 1] * 9)
    for purpose in ("service", "marketing"):
        assert decide(Plan(purpose, buyer(chat(), sent=many), NOON), shop).outcome == SEND  # type: ignore[arg-type]


# --- for every plan ---------------------------------------------------------------------------------------------------

VERDICTS = st.sampled_from(["granted", "refused", "unknown"])
TIMES = st.integers(NOON - 2 * DAY, NOON + 2 * DAY)
WINDOWS = st.dictionaries(
    st.sampled_from(["message", "follow", "lost"]), st.builds(Window, closes_at=TIMES, left=st.integers(-1, 2))
)
ADDRESSES = st.builds(
    Address,
    account=st.sampled_from(["chat", "sms", "cn", "gone"]),
    id=st.sampled_from(["p1", "p2"]),
    reachable=st.booleans(),
    blocked=st.booleans(),
    opted_out=st.booleans(),
    consent=st.builds(Consent, service=VERDICTS, marketing=VERDICTS, coupons=VERDICTS),
    windows=WINDOWS,
    last_in=TIMES,
    staff_until=st.just(0) | TIMES,
    timezone=st.sampled_from(["", "Europe/Berlin", "Asia/Kathmandu", "Mars/Olympus"]),
)
BUYERS = st.builds(
    Buyer,
    id=st.just("b"),
    home=st.just("address:chat:p1"),
    created_at=st.just(1),
    timezone=st.sampled_from(["", "America/New_York"]),
    addresses=st.lists(ADDRESSES, max_size=4),
    erased=st.sampled_from([False, False, False, True]),
    sent=st.builds(SentCount, marketing=st.lists(TIMES, max_size=4), service=st.lists(TIMES, max_size=8)),
)
SPANS = st.builds(Hours, st.integers(0, 1439), st.integers(0, 1440)) | st.just(ALWAYS) | st.just(parse("22:00-06:00"))
SETTINGS = st.builds(
    PolicySettings,
    accounts=st.just(ACCOUNTS),
    timezone=st.sampled_from([SHANGHAI, BERLIN]),
    marketing_hours=SPANS,
    service_hours=SPANS,
    marketing_per_week=st.integers(0, 3),
    marketing_per_day=st.integers(0, 2),
    service_per_day=st.integers(0, 6),
    order_of_channels=st.sampled_from([{}, {"marketing": ["sms", "chat"], "service": ["cn", "gone"]}]),
    notices=st.just(frozenset({("order_shipped", "cn"), ("order_shipped", "chat")})),
)


@st.composite
def plans(draw: Any) -> Plan:
    """Any plan that an effect can lead to."""
    who = draw(BUYERS)
    purpose = draw(st.sampled_from(["reply", "code", "service", "marketing"]))
    now = draw(TIMES)
    return Plan(
        purpose,
        who,
        now,
        key=draw(st.sampled_from(["order_shipped", "cart_1"])),
        reply_to=draw(st.sampled_from([None, *who.addresses])) if purpose == "reply" else None,
        only=draw(st.sampled_from([(), ("sms",), ("gone",)])),
        not_after=draw(st.sampled_from([0, now - 1, now + HOUR, now + DAY])),
        needs_window=purpose == "marketing" and draw(st.booleans()),
        topic=draw(st.sampled_from(["", "coupons"])) if purpose == "marketing" else "",
        confirms_opt_out=purpose == "reply" and draw(st.booleans()),
    )


@given(plans(), SETTINGS)
@settings(max_examples=1500, deadline=None)
def test_what_holds_for_every_plan(asked, shop):
    """Closed words, no message against the buyer's will, outside hours, caps, windows and quotas, or after its time."""
    before = structs.asdict(asked.buyer), asked.now
    decision = decide(asked, shop)
    assert (structs.asdict(asked.buyer), asked.now) == before
    again = decide(asked, shop)
    assert (told(again), again.rules) == (told(decision), decision.rules)

    assert decision.outcome in ("send", "skip", "defer")
    assert decision.rules, "a decision that nobody can explain"
    assert {rule.rule for rule in decision.rules} <= {str(rule) for rule in Rule}
    assert {rule.verdict for rule in decision.rules} <= {"allow", "deny", "defer"}
    match decision.outcome:
        case "skip":
            assert decision.reason in {str(reason) for reason in SkipReason}
        case "defer":
            _waits(asked, shop, decision)
        case _:
            _goes(asked, shop, decision)


def _waits(asked: Plan, shop: PolicySettings, decision: Decision) -> None:
    assert asked.purpose in ("service", "marketing")
    assert decision.until > asked.now
    assert not asked.not_after or decision.until <= asked.not_after
    assert any(rule.verdict == "defer" for rule in decision.rules)
    span = shop.marketing_hours if asked.purpose == "marketing" else shop.service_hours
    assert is_open(span, decision.until, zone_of(asked, shop, decision.address))


def _goes(asked: Plan, shop: PolicySettings, decision: Decision) -> None:
    address, now = decision.address, asked.now
    assert address is not None
    assert decision.reason == ""
    assert address in candidates(asked, shop)
    assert address.reachable
    assert asked.confirms_opt_out or not address.blocked
    assert not asked.not_after or now <= asked.not_after
    able = ACCOUNTS[address.account]
    if able.windows and not decision.notice:
        window = address.windows[decision.opener]
        assert window.closes_at > now
        assert window.left != 0
    if asked.needs_window:
        assert able.windows
        assert not decision.notice
    if decision.notice:
        assert (asked.key, address.account) in shop.notices
    if asked.purpose == "reply" and not asked.confirms_opt_out:
        assert address.staff_until <= now
    if asked.purpose == "service":
        assert address.consent.service != "refused"
    if asked.purpose in ("service", "marketing"):
        _in_time(asked, shop, address)
    if asked.purpose == "marketing":
        assert agreed(address, asked.topic)
        assert not address.opted_out
        assert all(one.staff_until <= now for one in asked.buyer.addresses)
        assert able.free_text or decision.notice


def _in_time(asked: Plan, shop: PolicySettings, address: Address) -> None:
    where, now = zone_of(asked, shop, address), asked.now
    today = day_start(now, where)
    if asked.purpose == "service":
        assert is_open(shop.service_hours, now, where)
        counted = sum(at >= today for at in asked.buyer.sent.service)
        assert not shop.service_per_day or counted < shop.service_per_day
        return
    assert is_open(shop.marketing_hours, now, where)
    week = [at for at in asked.buyer.sent.marketing if at > now - 7 * DAY]
    assert not shop.marketing_per_week or len(week) < shop.marketing_per_week
    assert not shop.marketing_per_day or sum(at >= today for at in week) < shop.marketing_per_day


@given(BUYERS, SETTINGS, TIMES)
@settings(max_examples=500, deadline=None)
def test_without_a_granted_opt_in_marketing_is_never_sent(who, shop, now):
    """Whatever else the record says: no address with consent, no message, now or later."""
    for address in who.addresses:
        if address.consent.marketing == "granted":
            address.consent.marketing = "unknown"
    assert decide(Plan("marketing", who, now), shop).outcome == "skip"
