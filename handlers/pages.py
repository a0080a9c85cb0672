"""What a buyer asks for on the own pages: the same rules as in the chat. The page has proved who it is before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bot.clock import DAY_MS
from bot.effects import (
    Await,
    ClaimCoupon,
    ClaimResult,
    Effect,
    IssueCard,
    LeaveClub,
    NoteProof,
    OpenTask,
    OptIn,
    OptOut,
    Resolution,
    Revoke,
    Say,
    SetConsent,
    SetProfile,
    Tag,
    TellCode,
)
from bot.events import Ms, StaffAsked
from bot.handling import Handler, Trigger, Turn
from handlers.coupon_words import remind

SAME_OFFERS = "same-offers"
"""The tag of a buyer who wants the offers that everybody gets."""
SAMPLE_WITHIN_MS: Ms = 2 * DAY_MS
TOPICS = ("marketing", "coupons", "calls", "service")


def _data(turn: Turn) -> dict[str, Any]:
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    found: dict[str, Any] = json.loads(body.data)
    return found


def consent(turn: Turn) -> Sequence[Effect]:
    """Answers that were changed on the page of settings: per address and topic, with the wording that stood there."""
    data, effects = _data(turn), list[Effect]()
    source, locale = f"page:{data['page']}", data["locale"]
    out = any(address.opted_out for address in turn.buyer.addresses)
    for account, id, topic, verdict in data["changes"]:
        address = turn.buyer.address(account, id)
        if address is None or topic not in TOPICS:
            continue
        wording = f"page_{topic}"
        if topic == "marketing" and verdict == "granted" and out:
            effects.append(OptIn(source, wording, account, id, locale))
        else:
            effects.append(SetConsent(topic, verdict, wording, source, account, id, locale))
        if topic == "coupons":
            effects.append(Await("coupons", on=verdict == "granted"))
    if "same_offers" in data:
        effects.append(Tag(SAME_OFFERS, remove=not data["same_offers"]))
    return effects


def stop(turn: Turn) -> Sequence[Effect]:
    """One tap: no marketing any more, on any channel."""
    return [OptOut(source=f"page:{_data(turn)['page']}")]


def profile(turn: Turn) -> Sequence[Effect]:
    """What the buyer tells of themselves; "" takes it back."""
    return [SetProfile(name, value) for name, value in _data(turn)["fields"].items()]


def sample(turn: Turn) -> Sequence[Effect]:
    """A sample or a fitting is asked for: work for staff."""
    data = _data(turn)
    due = turn.now + SAMPLE_WITHIN_MS
    return [OpenTask("sample", f"asks to try: {data['brief']}", key=f"sample:{data['item']}", due_at=due)]


def sample_tried(turn: Turn) -> Sequence[Effect]:
    """A week after staff sent a sample: how was it?"""
    not_after = turn.now + 3 * DAY_MS
    return [Say("sample_feedback", purpose="service", source="journey:sample/1", not_after=not_after)]


def begin(turn: Turn) -> Sequence[Effect]:
    """A number was typed on the page for joining: a record to send its code from."""
    del turn
    return []


def code(turn: Turn) -> Sequence[Effect]:
    """The page drew a code for one of the buyer's numbers: it goes by SMS."""
    data = _data(turn)
    return [TellCode(data["phone"], data["account"], data["otp"], data["until"], data["wording"])]


def proved(turn: Turn) -> Sequence[Effect]:
    """A code came back right on a page."""
    return [NoteProof(_data(turn)["phone"])]


def join(turn: Turn) -> Sequence[Effect]:
    """The number was proved on the page for joining: the card at once, with its gift."""
    data = _data(turn)
    effects: list[Effect] = [NoteProof(data["phone"])]
    if not turn.buyer.locale:
        effects.append(SetProfile("locale", data["locale"]))
    if turn.buyer.member is None:
        effects.append(IssueCard(data["source"]))
        if turn.facts.gift_campaign:
            effects.append(ClaimCoupon(turn.facts.gift_campaign, "page_claimed"))
    return effects


def claim(turn: Turn) -> Sequence[Effect]:
    """A coupon is claimed from the wallet; the page shows what came of it."""
    key = str(_data(turn)["campaign"])[:32]
    held = any(coupon.campaign == key for coupon in turn.buyer.coupons)
    return [ClaimCoupon(key, "page_claimed")] if held or key not in turn.facts.club.gifts else []


def claimed(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """Told of before it ends, like any other."""
    assert isinstance(result, ClaimResult)
    return remind(turn, result.code, result.expires_at) if result.outcome == "won" else []


def leave_club(turn: Turn) -> Sequence[Effect]:
    """The card is given back."""
    return [LeaveClub()] if turn.buyer.member is not None else []


def revoke(turn: Turn) -> Sequence[Effect]:
    """Signed out everywhere."""
    del turn
    return [Revoke()]


HANDLER = Handler(
    name="pages",
    runs={
        Trigger("staff", "page_consent"): consent,
        Trigger("staff", "page_stop"): stop,
        Trigger("staff", "page_profile"): profile,
        Trigger("staff", "page_sample"): sample,
        Trigger("timer", "sample"): sample_tried,
        Trigger("staff", "page_begin"): begin,
        Trigger("staff", "page_code"): code,
        Trigger("staff", "page_proved"): proved,
        Trigger("staff", "page_join"): join,
        Trigger("staff", "page_claim"): claim,
        Trigger("staff", "page_leave"): leave_club,
        Trigger("staff", "page_revoke"): revoke,
    },
    continuations={"page_claimed": claimed},
)
