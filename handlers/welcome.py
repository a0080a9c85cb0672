"""First contact and the menu: says that it is automatic, offers, never asks for a number."""

from __future__ import annotations

from collections.abc import Sequence

from bot.effects import Effect, Leave, Say
from bot.events import Followed, Scanned
from bot.handling import Handler, Trigger, Turn
from handlers.member_card import start as start_card
from handlers.resume import resume


def menu(turn: Turn) -> Sequence[Effect]:
    """The menu with its numbers."""
    del turn
    return [Say("welcome")]


def helped(turn: Turn) -> Sequence[Effect]:
    """What can be written, when people are there, and the way out."""
    return [Say("help", {"hours": turn.facts.staff_hours, "phone": turn.facts.staff_phone})]


def arrived(turn: Turn) -> Sequence[Effect]:
    """A follow or a scan: a QR code of the card starts the card, anything else is greeted with the menu."""
    body = turn.event.body
    scene = body.scene if isinstance(body, Followed | Scanned) else ""
    if scene.lower().startswith(("card", "join", "member")):
        return start_card(turn, source=f"{turn.event.account}:qr:{scene[:40]}")
    return [Say("welcome")]


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
    says=frozenset({"welcome", "help", "dialog_left"}),
)
