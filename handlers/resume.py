"""Back to the dialog that another one interrupted, with its question asked again."""

from __future__ import annotations

from bot.effects import Effect, Leave, Say
from bot.handling import Turn


def resume(turn: Turn) -> list[Effect]:
    """Ends this dialog; the one it interrupted goes on where it was."""
    dialog = turn.address.dialog if turn.address is not None else None
    if dialog is None or not dialog.paused:
        return [Leave()]
    return [Leave(resume=True), *_question(turn, dialog.paused, dialog.paused_data.get("phone", ""))]


def _question(turn: Turn, state: str, phone: str) -> list[Effect]:
    family, _, step = state.partition(".")
    if family == "profile":
        return [Say(f"ask_{step}")]
    match state:
        case "consent.marketing":
            return [Say("ask_marketing")]
        case "leave.confirm":
            return [Say("leave_confirm")]
        case "card.confirm":
            return [Say("join_by_sms", {"privacy": turn.facts.privacy_url})]
        case "card.phone":
            return [Say("phone_once_more", ask_phone=True)]
        case "card.fact":
            return [Say("number_fact")]
        case "card.code":
            return [Say("code_sent", {"tail": phone[-4:]})]
        case _:
            return []
