"""What we send, as Meta wants it: the `message` objects of `POST /{page}/messages`. Pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.errors import ContentError
from bot.messages import Button, Card, Content, Notice, OrderReceipt, Picture, ReceiptLine, Text
from bot.sms import graphemes, split
from channels.messenger.wire import (
    BUTTON_TEXT_LIMIT,
    BUTTONS,
    CARD_LIMIT,
    CHOICES,
    PAYLOAD_LIMIT,
    RECEIPT_LINES,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Json,
)


def cut(text: str, limit: int) -> str:
    """A title that fits, never cut inside a character."""
    out = ""
    for cluster in graphemes(text):
        if len(out) + len(cluster) > limit:
            return out or text[:limit]
        out += cluster
    return out


def bodies(content: Content) -> list[Json]:
    """The `message` objects to send, in order. Raises ContentError for what Messenger cannot carry."""
    match content:
        case Text():
            return _text(content)
        case Card():
            return [_generic(content)]
        case OrderReceipt():
            return [_receipt(content)]
        case Picture():
            raise ContentError("a picture is uploaded, not posted")
        case Notice():
            raise ContentError("Messenger has no notice templates on this line")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode(value: object) -> bytes:
    """Compact JSON. Raises ContentError for half a surrogate pair, which is no text."""
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise ContentError("the text holds half a character") from None


# --- text -----------------------------------------------------------------------------------------------------------


def _text(content: Text) -> list[Json]:
    if not content.text.strip():
        raise ContentError("the text is empty")
    shown, spelled = content.buttons[:BUTTONS], content.buttons[BUTTONS:]
    # A template shows three links; more are spelled out, none is dropped.
    words = "\n".join([content.text, *(f"{button.label} {button.url}" for button in spelled)])
    pieces = split(words, TEXT_LIMIT)
    if shown:
        pieces = [*pieces[:-1], *split(pieces[-1], BUTTON_TEXT_LIMIT)]
    last: Json = {"text": pieces[-1]}
    if shown:
        payload = {"template_type": "button", "text": pieces[-1], "buttons": [_button(button) for button in shown]}
        last = {"attachment": {"type": "template", "payload": payload}}
    if replies := _quick_replies(content):
        last["quick_replies"] = replies
    return [*({"text": piece} for piece in pieces[:-1]), last]


def _quick_replies(content: Text) -> list[Json]:
    """At most 13. Above that a wording which spells its choices out goes without taps: some would mislead."""
    if len(content.choices) > CHOICES:
        if content.numbered:
            return []
        raise ContentError(f"{len(content.choices)} choices; Messenger shows at most {CHOICES}")
    replies: list[Json] = []
    if content.ask_phone and len(content.choices) < CHOICES:
        replies.append({"content_type": "user_phone_number"})
    for choice in content.choices:
        if not choice.label.strip() or not 0 < len(choice.payload) <= PAYLOAD_LIMIT:
            raise ContentError(f"a choice needs a label, and a payload of 1 to {PAYLOAD_LIMIT} characters")
        replies.append({"content_type": "text", "title": cut(choice.label, TITLE_LIMIT), "payload": choice.payload})
    return replies


def _button(button: Button) -> Json:
    if not button.label.strip() or not button.url.startswith(("https://", "http://")):
        raise ContentError("a button needs a label and a web address")
    return {"type": "web_url", "title": cut(button.label, TITLE_LIMIT), "url": button.url}


# --- templates --------------------------------------------------------------------------------------------------------


def _generic(card: Card) -> Json:
    if not card.title.strip():
        raise ContentError("a card needs a title")
    if len(card.buttons) > BUTTONS:
        raise ContentError(f"{len(card.buttons)} buttons on a card; Messenger shows at most {BUTTONS}")
    element: Json = {"title": _ellipsis(card.title)}
    if card.text:
        element["subtitle"] = _ellipsis(card.text)
    if card.image_url:
        element["image_url"] = card.image_url
    if card.url:
        element["default_action"] = {"type": "web_url", "url": card.url}
    if card.buttons:
        element["buttons"] = [_button(button) for button in card.buttons]
    if len(element) == 1:
        return {"text": cut(card.title, TEXT_LIMIT)}  # Meta wants one field besides the title
    return _template({"template_type": "generic", "elements": [element]})


def _receipt(receipt: OrderReceipt) -> Json:
    payload: Json = {
        "template_type": "receipt",
        "recipient_name": receipt.buyer or "-",
        "order_number": receipt.number,
        "currency": receipt.currency,
        "payment_method": receipt.paid_with or "-",
        "summary": {"total_cost": _number(receipt.total)},
    }
    if receipt.lines:
        payload["elements"] = [_line(line, receipt.currency) for line in receipt.lines[:RECEIPT_LINES]]
    if receipt.url:
        payload["order_url"] = receipt.url
    if receipt.at:
        payload["timestamp"] = str(receipt.at // 1000)
    return _template(payload)


def _line(line: ReceiptLine, currency: str) -> Json:
    return {
        "title": cut(line.title, CARD_LIMIT) or "-",
        "quantity": line.qty,
        "price": _number(line.price),
        "currency": currency,
    }


def _template(payload: Json) -> Json:
    return {"attachment": {"type": "template", "payload": payload}}


def _ellipsis(text: str) -> str:
    return text if len(text) <= CARD_LIMIT else cut(text, CARD_LIMIT - 1) + "…"


def _number(amount: str) -> float:
    """A receipt shows JSON numbers; up to 15 digits a float prints exactly what the decimal said."""
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise ContentError("an amount of the receipt is no number") from None
    if not value.is_finite() or abs(value) >= 10**13:
        raise ContentError("an amount of the receipt is out of range")
    return float(value)


# --- pictures ---------------------------------------------------------------------------------------------------------


def multipart(fields: Sequence[tuple[str, Any]], image: bytes) -> tuple[str, bytes]:
    """Content type and body of a form with the fields (JSON but for plain strings) and the picture as `filedata`."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + (value.encode() if isinstance(value, str) else encode(value))
        + b"\r\n"
        for name, value in fields
    ]
    disposition = 'Content-Disposition: form-data; name="filedata"; filename="code.png"\r\nContent-Type: image/png'
    head = f"--{boundary}\r\n{disposition}\r\n\r\n".encode()
    body = b"".join([*parts, head, image, f"\r\n--{boundary}--\r\n".encode()])
    return f"multipart/form-data; boundary={boundary}", body
