"""What we send, as the customer-service API wants it."""

from __future__ import annotations

from typing import Any

from bot.errors import ContentError
from bot.messages import Card, OrderReceipt, OutboundMessage, Text
from bot.sms import graphemes

TEXT_BYTES = 2000  # documented 2048 bytes, which count the UTF-8 of the text
MENU_OPTIONS = 8
Json = dict[str, Any]


def pieces(text: str) -> list[str]:
    """A text in pieces of at most 2000 bytes, cut after a line where one ends late enough, never inside a character."""
    if len(text.encode("utf-8", "surrogatepass")) <= TEXT_BYTES:
        return [text] if text else []
    found, current = [], ""
    size = 0
    for cluster in graphemes(text):
        weight = len(cluster.encode("utf-8", "surrogatepass"))
        if size + weight > TEXT_BYTES:
            kept, rest = _at_line(current)
            found.append(kept)
            current, size = rest, len(rest.encode("utf-8", "surrogatepass"))
        current, size = current + cluster, size + weight
    return [*found, current] if current else found


def _at_line(text: str) -> tuple[str, str]:
    end = text.rfind("\n") + 1
    return (text[:end], text[end:]) if end > len(text) // 2 else (text, "")


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
    parts = pieces(text)
    # Links are lines of their own, whole in one piece.
    for button in content.buttons:
        url, label = button.url.replace('"', "%22"), button.label.replace("<", "＜")
        link = f'\n<a href="{url}">{label}</a>'
        if len((parts[-1] + link).encode("utf-8", "surrogatepass")) > TEXT_BYTES:
            parts.append(link.lstrip())
        else:
            parts[-1] += link
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
