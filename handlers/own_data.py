"""The buyer's own data: what is held, leaving the club, another number."""

from __future__ import annotations

from collections.abc import Sequence

from bot.effects import Effect, Enter, Leave, LeaveClub, Say
from bot.handling import Handler, Trigger, Turn
from bot.phones import mask
from handlers.club import standing
from handlers.links import link
from handlers.member_card import doubt
from handlers.resume import resume


def my_data(turn: Turn) -> Sequence[Effect]:
    """A summary of what is held; the whole by the link or from staff."""
    if first := doubt(turn):
        return first
    buyer = turn.buyer
    values = {
        "phone": ", ".join(mask(phone) for phone in buyer.phones[:2]),
        "birthday": buyer.birthday,
        "orders": len(buyer.orders),
        "coupons": sum(coupon.state == "claimed" for coupon in buyer.coupons),
        "marketing": any(a.consent.marketing == "granted" and not a.opted_out for a in buyer.addresses),
        "privacy": turn.facts.privacy_url,
        **{name: value for name, value in standing(turn).items() if name != "rights"},
        "page": link(turn),
    }
    return [Say("my_data", values)]


def leave(turn: Turn) -> Sequence[Effect]:
    """Asks before the card goes."""
    if first := doubt(turn):
        return first
    if turn.buyer.member is None:
        return [Say("leave_no_card")]
    return [Enter("leave.confirm", timeout_s=600, pause=True), Say("leave_confirm")]


def leave_answer(turn: Turn) -> Sequence[Effect]:
    """Only a clear yes removes the card."""
    if turn.arg == "leave_club" or turn.text in ("是", "确定", "確定", "yes", "y"):
        return [LeaveClub(), Leave(), Say("left_club")]
    return [Say("leave_kept"), *resume(turn)]


def change_number(turn: Turn) -> Sequence[Effect]:
    """A new number is proved like the first."""
    if turn.buyer.member is None:
        return [Say("leave_no_card")]
    known = turn.facts.accounts.get(turn.event.account)
    if known is not None and known.capabilities.address_is_phone:
        return [Say("number_by_chat")]
    return [Enter("card.phone", {"next": "number"}, pause=True), Say("number_ask", ask_phone=True)]


HANDLER = Handler(
    name="own_data",
    runs={
        Trigger("intent", "my_data"): my_data,
        Trigger("intent", "leave_club"): leave,
        Trigger("state", "leave.confirm"): leave_answer,
        Trigger("intent", "change_number"): change_number,
    },
    states=frozenset({"leave.confirm"}),
)
