"""What the gateway sends: contents, messages, and the answers of providers."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from bot.events import Guard, Money, Ms

Purpose: TypeAlias = Literal["reply", "code", "service", "marketing"]
NoticeKind: TypeAlias = Literal["template", "subscription"]
State: TypeAlias = Literal["queued", "sending", "sent", "delivered", "read", "failed", "skipped", "in_doubt"]
"""A state only moves to a higher rank (`RANK` in lua/commit.lua and lua/settle.lua; a late `delivered` outranks `failed`, as
providers correct themselves); `queued`, `sending` and `in_doubt` may go back to `queued` for another attempt."""


class Choice(Struct, frozen=True, array_like=True):
    """One option of a question. `payload` comes back in `MessageReceived.payload` or `Tapped.payload` when taken."""

    payload: str
    label: str


class Button(Struct, frozen=True, array_like=True):
    """A link button."""

    label: str
    url: str


class Text(Struct, frozen=True, tag="text", omit_defaults=True):
    """Words, with at most 13 choices.

    A channel renders choices as quick replies, menu options or numbered lines. `numbered` says that the wording itself
    already spells the choices out as "1 … 2 …", so that a plain-text channel must not list them again.
    `ask_phone` asks a channel that can hand over the buyer's own number to offer that.
    """

    text: str
    choices: tuple[Choice, ...] = ()
    numbered: bool = False
    buttons: tuple[Button, ...] = ()
    ask_phone: bool = False


class Picture(Struct, frozen=True, tag="picture", omit_defaults=True):
    """A QR code of `qr`, drawn at the send; `alt` is what a channel without pictures says instead."""

    qr: str
    alt: str


class Card(Struct, frozen=True, tag="card", omit_defaults=True):
    """A title with text, picture and link buttons (generic template, news)."""

    title: str
    text: str = ""
    image_url: str = ""
    url: str = ""
    buttons: tuple[Button, ...] = ()


class ReceiptLine(Struct, frozen=True, array_like=True):
    """One line of a receipt; `price` a decimal string."""

    title: str
    qty: int
    price: str


class OrderReceipt(Struct, frozen=True, tag="receipt", omit_defaults=True):
    """A paid order (Messenger's receipt template); `text` is what other channels say."""

    number: str
    buyer: str
    currency: str
    total: str
    lines: tuple[ReceiptLine, ...]
    text: str
    url: str = ""
    paid_with: str = ""
    at: Ms = 0


class Notice(Struct, frozen=True, tag="notice", omit_defaults=True):
    """An approved provider template with named fields, for lanes that take no free text. `text` is its preview.

    `kind` subscription: each one goes by a leave that the buyer gave for it (`bot.grants`).
    """

    template_id: str
    fields: dict[str, str]
    text: str = ""
    kind: NoticeKind = "template"


Content: TypeAlias = Text | Picture | Card | OrderReceipt | Notice


class OutboundMessage(Struct, frozen=True, omit_defaults=True):
    """One message to one address, as planned. Immutable; its state lives beside it in the store.

    `id` is ours and goes to the provider where it has a field for it. `not_after` 0: no end. `guard` is checked once
    more just before the provider call.
    """

    id: str
    buyer: str
    home: str  # subject of the buyer's record
    account: str
    to: str
    purpose: Purpose
    content: Content
    created_at: Ms
    key: str = ""  # wording key
    source: str = ""
    locale: str = ""
    not_after: Ms = 0
    guard: Guard | None = None
    order: str = ""
    parts: int = 0  # as planned; the provider's own count stands beside the message
    touch: str = ""  # message key of the touch, if it is one
    window_opener: str = ""
    topic: str = ""  # of marketing, where the buyer asked for this alone
    price: Money | None = None  # of one part, as configured when it was planned
    again_of: str = ""  # id of the message that failed before, whose words it repeats
    again: int = 0  # how many failed before it
    variant: str = ""  # of a broadcast
    grant: Ms = 0  # when the buyer gave the leave that this notice takes; 0: it needs none


class Receipt(Struct, frozen=True, omit_defaults=True):
    """A provider's acceptance. `provider_id` "" where it gives none; `parts` 0 where it does not say.

    `share_of_rate`: what of the account's usual rate may be used from here on, 0 to 1 (0: nothing for a minute).
    """

    provider_id: str = ""
    parts: int = 0
    state: State = "sent"
    extra_ids: tuple[str, ...] = ()
    share_of_rate: float = 1.0


def lane_of(purpose: str) -> str:
    """The sending lane of a purpose: hi for what a buyer waits for, lo for the rest."""
    return "hi" if purpose in ("reply", "code") else "lo"
