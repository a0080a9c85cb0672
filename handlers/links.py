"""Links to the buyer's own pages, where they are said."""

from __future__ import annotations

from bot.handling import Turn


def link(turn: Turn) -> str:
    """A link of the kind that fits where it is said; "" where none may be given: no public address, a doubted number."""
    address = turn.address
    if address is None or address.doubted:
        return ""
    return turn.facts.page_link("chat" if _is_chat(turn) else "text", turn.buyer, turn.now)


def chat_link(turn: Turn) -> str:
    """The same in a chat; "" by SMS, where a link would make one text two."""
    return link(turn) if _is_chat(turn) else ""


def _is_chat(turn: Turn) -> bool:
    known = turn.facts.accounts.get(turn.address.account) if turn.address is not None else None
    return known is not None and not known.capabilities.address_is_phone
