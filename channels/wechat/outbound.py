"""What we send, as the customer-service API wants it."""

from __future__ import annotations

from typing import Any

from bot.errors import ContentError
from bot.messages import Card, Notice, OrderReceipt, OutboundMessage, Text
from bot.sms import graphemes

TEXT_BYTES = 2000  # documented 2048 bytes, which count the UTF-8 of the text
MENU_OPTIONS = 8
Json = dict[str, Any]


def pieces(text: str) -> list[str]:
    """A text in pieces of at most 2000 bytes, never cut inside a character."""
    found, current, size = [], "", 0
    for cluster in graphemes(text):
        weight = len(cluster.encode("utf-8", "surrogatepass"))
        if size + weight > TEXT_BYTES:
            found.append(current)
            current, size = "", 0
        current, size = current + cluster, size + weight
    return [*found, current] if current else found


def bodies(message: OutboundMessage) -> list[Json]:
    """The bodies of `message/custom/send`, in order. Raises ContentError."""
    content = message.content
    if isinstance(content, Text):
        return [{"touser": message.to, **body} for body in _text(content)]
    if isinstance(content, Card):
        article = {"title": content.title, "description": content.text, "url": content.url, "picurl": content.image_url}
        return [{"touser": message.to, "msgtype": "news", "news": {"articles": [article]}}]
    if isinstance(content, OrderReceipt):
        return [{"touser": message.to, **body} for body in _text(Text(content.text))]
    raise ContentError(f"{type(content).__name__} is not a chat message")


def _text(content: Text) -> list[Json]:
    text = content.text
    if not text.strip():
        raise ContentError("the text is empty")
    for button in content.buttons:
        text += f'\n<a href="{button.url}">{button.label}</a>'
    parts = pieces(text)
    if content.choices and not content.numbered and len(content.choices) <= MENU_OPTIONS:
        menu = {
            "head_content": parts[-1],
            "list": [{"id": choice.payload, "content": choice.label} for choice in content.choices],
            "tail_content": "",
        }
        last: Json = {"msgtype": "msgmenu", "msgmenu": menu}
    else:
        last = {"msgtype": "text", "text": {"content": parts[-1]}}
    return [*({"msgtype": "text", "text": {"content": part}} for part in parts[:-1]), last]


def template(message: OutboundMessage, notice: Notice) -> Json:
    """The body of `message/template/send`; our id dedups for 10 minutes."""
    return {
        "touser": message.to,
        "template_id": notice.template_id,
        "client_msg_id": message.id[:32],
        "data": {name: {"value": value} for name, value in notice.fields.items()},
    }
