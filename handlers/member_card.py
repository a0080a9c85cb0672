"""The member card: privacy line, phone number, proof, and the card at once; then what makes it useful, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from bot.buyers import RECYCLED_DAYS
from bot.clock import DAY_MS
from bot.effects import (
    ChangePhone,
    ClaimCoupon,
    ClaimResult,
    CodeResult,
    Effect,
    Enter,
    IssueCard,
    Leave,
    Missed,
    OpenTask,
    ProvePhone,
    Resolution,
    Say,
    Schedule,
    SendCode,
    Trust,
)
from bot.events import IdentityHeld, MessageReceived
from bot.handling import Handler, Trigger, Turn
from bot.messages import Picture
from bot.phones import takes_texts
from handlers.club import standing
from handlers.coupon_words import coupon_values, remind
from handlers.links import chat_link
from handlers.profile import CONSENT_AFTER_MS, consent_open, consent_question, first_step, parse_birthday
from handlers.resume import resume

MAX_TRIES = 3
CODE_TRIES = 5
FACT_TRIES = 2
RESEND = frozenset({"重发", "重發", "resend", "再发一次"})
PICTURE = Picture(qr="{card}", alt="{card}")


def _by_phone(turn: Turn) -> bool:
    known = turn.facts.accounts.get(turn.event.account)
    return bool(known and known.capabilities.address_is_phone)


def show(turn: Turn) -> list[Effect]:
    """The card that the buyer has; and the question about marketing, if it could not be asked so far."""
    shown: list[Effect] = [Say("card_show", {**standing(turn), "page": chat_link(turn)}), *_picture(turn)]
    waits = "consent_ask" in turn.buyer.timers or (turn.address is not None and turn.address.dialog.state)
    return [*shown, consent_question()] if consent_open(turn) and not waits else shown


def _picture(turn: Turn) -> list[Effect]:
    account = turn.address.account if turn.address is not None else turn.event.account
    known = turn.facts.accounts.get(account)
    if known is None or "picture" not in known.capabilities.contents:
        return []
    return [Say("card_picture", content=PICTURE)]


def asked(turn: Turn) -> Sequence[Effect]:
    """A keyword or a menu entry asks for the card."""
    return start(turn, source=f"{turn.event.account}:keyword")


def doubt(turn: Turn) -> list[Effect]:
    """What is asked first where the number that writes may have changed hands; nothing where all is well."""
    address, buyer = turn.address, turn.buyer
    if address is None or not address.doubted or buyer.member is None:
        return []
    if turn.now - buyer.last_order_at < RECYCLED_DAYS * DAY_MS and address.id in buyer.phones:
        return []
    return _ask_fact(turn, {"phone": address.id, "own": "1"}, "birthday" if buyer.birthday else "")


def start(turn: Turn, *, source: str) -> Sequence[Effect]:
    """Shows the card there is, or begins to open one."""
    if first := doubt(turn):
        return first
    if turn.buyer.member is not None:
        return show(turn)
    data = {"source": source}
    values: dict[str, object] = {"privacy": turn.facts.privacy_url}
    if _by_phone(turn):
        return [Enter("card.confirm", data), Say("join_by_sms", values)]
    return [Enter("card.phone", data), Say("join_ask_phone", values, ask_phone=True)]


def confirmed(turn: Turn) -> Sequence[Effect]:
    """By SMS the number proves itself: only yes or no is left."""
    data = _data(turn)
    yes = turn.arg == "yes" or turn.text in ("y", "yes", "好", "同意", "是", "要", "ok")
    if yes and turn.address is not None:
        return [Enter("card.wait", data, 600), ProvePhone(turn.address.id)]
    if turn.arg in ("no", "back") or turn.text in ("n", "no", "不", "不要", "不用"):
        return [Leave(), Say("dialog_left")]
    return _again(turn, "join_by_sms", {"privacy": turn.facts.privacy_url})


def _data(turn: Turn) -> dict[str, str]:
    return dict(turn.address.dialog.data) if turn.address is not None else {}


def _again(turn: Turn, key: str, values: dict[str, object]) -> list[Effect]:
    """Asks again with a hint, twice; then lets go."""
    tries = turn.address.dialog.tries if turn.address is not None else 0
    if tries + 1 >= MAX_TRIES:
        return _end(turn, "join_gave_up")
    return [Missed(), Say(key, values)]


def _end(turn: Turn, key: str, values: dict[str, object] | None = None) -> list[Effect]:
    """Lets go: of opening a card, or of changing the number, which leaves everything as it was."""
    if _data(turn).get("next") == "number":
        return [Say("number_kept"), *resume(turn)]
    return [Leave(), Say(key, values or {})]


def phone(turn: Turn) -> Sequence[Effect]:
    """A phone number, typed or handed over by the channel."""
    if turn.arg == "back":
        return _end(turn, "dialog_left")
    body = turn.event.body
    given = body.phone if isinstance(body, MessageReceived) and body.phone else turn.raw_text
    number = turn.facts.parse_phone(given)
    if not number or not takes_texts(number):
        return _again(turn, "join_phone_again", {})
    return [SendCode(number, "code_sent", _data(turn))]


def code_sent(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """The code is on its way, or why not."""
    assert isinstance(result, CodeResult)
    if result.outcome != "sent":
        key = {"too_many": "code_too_many", "no_lane": "code_no_lane"}.get(result.outcome, "code_not_allowed")
        return [*resume(turn), Say(key, {"retry_at": result.retry_at})]
    kept = {name: value for name, value in result.data.items() if name in ("source", "next")}
    data = {**kept, "phone": result.phone, "digest": result.digest, "expires": str(result.expires_at)}
    return [Enter("card.code", data, 900), Say("code_sent", {"tail": result.phone[-4:]})]


def code(turn: Turn) -> Sequence[Effect]:
    """The six digits."""
    data = _data(turn)
    kept = {name: value for name, value in data.items() if name in ("source", "next")}
    if turn.arg == "back" or "phone" not in data:
        return [Enter("card.phone", kept), Say("phone_once_more", ask_phone=True)]
    if turn.text in RESEND:
        return [SendCode(data["phone"], "code_sent", data)]
    digits = "".join(c for c in turn.text if c.isdigit())
    if digits and int(data.get("expires", "0")) < turn.now:
        return [SendCode(data["phone"], "code_sent", data)]
    if len(digits) == 6 and turn.facts.check_code(data["phone"], digits, data.get("digest", "")):
        return [
            Enter("card.wait", {**kept, "phone": data["phone"]}, 600),
            ProvePhone(data["phone"], by_code=True),
        ]
    tries = turn.address.dialog.tries if turn.address is not None else 0
    if tries + 1 >= CODE_TRIES:
        return _end(turn, "code_gave_up")
    return [Missed(), Say("code_wrong")]


def waiting(_: Turn) -> Sequence[Effect]:
    """Something was typed while the number is being linked: a moment later the card is there."""
    return [Say("card_moment")]


def proved(turn: Turn) -> Sequence[Effect]:
    """The number is the buyer's: the card at once (or the one that the number already had), then the rest."""
    if turn.address is None:
        return []
    data = _data(turn)
    if data.get("next") == "number":
        return [ChangePhone(data.get("phone", "")), Say("number_changed"), *resume(turn)]
    if turn.buyer.member is not None:
        return [Leave(), *show(turn)]
    effects: list[Effect] = [Leave(), IssueCard(data.get("source", "")), Say("card_issued"), *_picture(turn)]
    if turn.facts.gift_campaign:
        effects.append(ClaimCoupon(turn.facts.gift_campaign, "gift"))
    effects.append(Schedule("consent_ask", turn.now + CONSENT_AFTER_MS))
    return [*effects, *first_step(turn)]


# --- a number that may have changed hands -----------------------------------------------------------------------------


def held(turn: Turn) -> Sequence[Effect]:
    """The number has a card from long ago: a fact that only its holder knows, or a clerk."""
    body = turn.event.body
    assert isinstance(body, IdentityHeld)
    return [] if turn.address is None else _ask_fact(turn, _data(turn), body.asks)


def _ask_fact(turn: Turn, data: dict[str, str], asks: str) -> list[Effect]:
    wrong = int(data.get("facts", "0"))
    if asks and wrong < FACT_TRIES:
        return [Enter("card.fact", data, 900), Say("number_fact_again" if wrong else "number_fact")]
    due = turn.facts.staff_answer_by(turn.now)
    task = OpenTask("handover", "a card of long ago: is its number still the same person's?", key="number", due_at=due)
    return [task, Leave(), Say("number_by_staff", {"answer_at": due})]


def fact(turn: Turn) -> Sequence[Effect]:
    """The card's birthday."""
    data = _data(turn)
    if turn.arg == "back":
        return _end(turn, "dialog_left")
    given = parse_birthday(turn.text)[-5:]
    if not given:
        return _again(turn, "number_fact_again", {})
    data["facts"] = str(int(data.get("facts", "0")) + 1)
    if "own" not in data:
        return [Enter("card.wait", data, 600), ProvePhone(data.get("phone", ""), fact=given)]
    if given == turn.buyer.birthday[-5:]:
        return [Trust(), Leave(), *show(turn)]
    return _ask_fact(turn, data, "birthday")


def gift(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """The opening gift, where there is one left."""
    assert isinstance(result, ClaimResult)
    if result.outcome not in ("won", "again"):
        return []
    return [Say("card_gift", coupon_values(turn, result)), *remind(turn, result.code, result.expires_at)]


HANDLER = Handler(
    name="member_card",
    runs={
        Trigger("intent", "member_card"): asked,
        Trigger("state", "card.confirm"): confirmed,
        Trigger("state", "card.phone"): phone,
        Trigger("state", "card.code"): code,
        Trigger("state", "card.wait"): waiting,
        Trigger("state", "card.fact"): fact,
        Trigger("event", "identity_held"): held,
        Trigger("event", "identity_granted"): proved,
        Trigger("event", "absorbed"): proved,
    },
    continuations={"code_sent": code_sent, "gift": gift},
    states=frozenset({"card.confirm", "card.phone", "card.code", "card.wait", "card.fact"}),
)
