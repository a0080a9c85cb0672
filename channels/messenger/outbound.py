"""What we send, as Meta wants it: bodies of `POST /{page}/messages`. Limits of the Send API, 2026."""

from __future__ import annotations

from typing import Any

from bot.errors import ContentError
from bot.messages import Card, Content, Notice, OrderReceipt, OutboundMessage, Picture, Text
from bot.sms import graphemes, split

TEXT_LIMIT = 1900  # documented "< 2000"
BUTTON_TEXT_LIMIT = 640
TITLE_LIMIT = 20
CHOICES = 13
Json = dict[str, Any]


def cut(text: str, limit: int) -> str:
    """A title that fits, never cut inside a character."""
    out = ""
    for cluster in graphemes(text):
        if len(out) + len(cluster) > limit:
            return out
        out += cluster
    return out


def bodies(message: OutboundMessage) -> list[Json]:
    """The `message` objects to send, in order. Raises ContentError for what Messenger cannot carry."""
    return _bodies(message.content)


def _bodies(content: Content) -> list[Json]:
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


def _text(content: Text) -> list[Json]:
    pieces = split(content.text, TEXT_LIMIT)
    if not pieces:
        raise ContentError("the text is empty")
    if content.buttons and len(pieces[-1]) <= BUTTON_TEXT_LIMIT:
        buttons = [_button(button.label, button.url) for button in content.buttons[:3]]
        payload = {"template_type": "button", "text": pieces[-1], "buttons": buttons}
        last: Json = {"attachment": {"type": "template", "payload": payload}}
    else:
        last = {"text": pieces[-1]}
    if replies := _quick_replies(content):
        last["quick_replies"] = replies
    return [*({"text": piece} for piece in pieces[:-1]), last]


def _quick_replies(content: Text) -> list[Json]:
    replies: list[Json] = [{"content_type": "user_phone_number"}] if content.ask_phone else []
    if len(content.choices) + len(replies) > CHOICES:
        raise ContentError(f"{len(content.choices)} choices; Messenger shows at most {CHOICES}")
    for choice in content.choices:
        if len(choice.payload) > 1000:
            raise ContentError("a choice's payload is over 1000 characters")
        replies.append({"content_type": "text", "title": cut(choice.label, TITLE_LIMIT), "payload": choice.payload})
    return replies


def _button(label: str, url: str) -> Json:
    return {"type": "web_url", "title": cut(label, TITLE_LIMIT), "url": url}


def _generic(card: Card) -> Json:
    element: Json = {"title": cut(card.title, 80)}
    if card.text:
        element["subtitle"] = cut(card.text, 80)
    if card.image_url:
        element["image_url"] = card.image_url
    if card.url:
        element["default_action"] = {"type": "web_url", "url": card.url}
    if card.buttons:
        element["buttons"] = [_button(button.label, button.url) for button in card.buttons[:3]]
    if len(element) == 1:
        return {"text": card.title}
    return {"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": [element]}}}


def _receipt(receipt: OrderReceipt) -> Json:
    payload: Json = {
        "template_type": "receipt",
        "recipient_name": receipt.buyer or "-",
        "order_number": receipt.number,
        "currency": receipt.currency,
        "payment_method": receipt.paid_with or "-",
        "summary": {"total_cost": receipt.total},
        "elements": [
            {"title": cut(line.title, 80), "quantity": line.qty, "price": line.price, "currency": receipt.currency}
            for line in receipt.lines[:100]
        ],
    }
    if receipt.url:
        payload["order_url"] = receipt.url
    if receipt.at:
        payload["timestamp"] = str(receipt.at // 1000)
    return {"attachment": {"type": "template", "payload": payload}}
