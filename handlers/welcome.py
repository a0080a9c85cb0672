"""First contact and the menu: says that it is automatic, offers, never asks for a number. Nobody is greeted twice a day."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS
from bot.effects import Effect, Leave, Remember, Say
from bot.events import Followed, Scanned
from bot.handling import Handler, Trigger, Turn
from handlers.member_card import start as start_card
from handlers.resume import resume

SAME_SCAN_MS = 10_000  # a code that made the buyer follow may also come as a scan


def menu(turn: Turn) -> Sequence[Effect]:
    """The menu with its numbers; the first time a day on an account with a greeting that says who is speaking."""
    greeted = f"greeted:{turn.event.account}"
    if turn.now - turn.buyer.tallies.get(greeted, 0) < DAY_MS:
        return [Say("menu")]
    return [Say("welcome_back" if _returns(turn) else "welcome"), Remember(greeted, turn.now, replace=True)]


def _returns(turn: Turn) -> bool:
    """Whether this is somebody we know: a member, or who has bought; not where another may have the number by now."""
    doubted = turn.address is not None and turn.address.doubted
    return not doubted and (turn.buyer.member is not None or turn.buyer.orders_count > 0)


def helped(turn: Turn) -> Sequence[Effect]:
    """What can be written, when people are there, and the way out."""
    return [Say("help", {"hours": turn.facts.staff_hours, "phone": turn.facts.staff_phone})]


def arrived(turn: Turn) -> Sequence[Effect]:
    """A follow or a scan: a QR code of the card starts the card, anything else is greeted with the menu."""
    body = turn.event.body
    followed_at = turn.address.followed_at if turn.address is not None else 0
    if isinstance(body, Scanned) and 0 <= turn.event.at - followed_at < SAME_SCAN_MS:
        return []
    scene = body.scene if isinstance(body, Followed | Scanned) else ""
    if scene.lower().startswith(("card", "join", "member")):
        return start_card(turn, source=f"{turn.event.account}:qr:{scene[:40]}")
    return menu(turn)


def left(turn: Turn) -> Sequence[Effect]:
    """The buyer leaves a dialog; the one that it interrupted, if any, goes on."""
    if turn.address is not None and turn.address.dialog.paused:
        return resume(turn)
    return [Leave(), Say("dialog_left")]


HANDLER = Handler(
    name="welcome",
    runs={
        Trigger("intent", "menu"): menu,
        Trigger("intent", "help"): helped,
        Trigger("event", "followed"): arrived,
        Trigger("event", "scanned"): arrived,
        Trigger("intent", "leave_dialog"): left,
    },
)
