"""What keys and sources of messages tell."""

from __future__ import annotations

from bot import subjects
from bot.messages import OutboundMessage

BROADCAST = "broadcast:"


def broadcast_of(message: OutboundMessage) -> str:
    """The id of the broadcast that a message belongs to, "" for none: its source is `broadcast:<id>`."""
    return message.source.removeprefix(BROADCAST) if message.source.startswith(BROADCAST) else ""


def order_subject(key: str, order: str) -> str:
    """The subject of the order that a message or decision is about, "" for none: notices are named `shop|notice|order|…`."""
    shop, _, rest = key.partition("|")
    return subjects.order(shop, order) if order and rest else ""
