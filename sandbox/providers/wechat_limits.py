"""What the simulated WeChat takes: shapes and limits of messages, as the real one refuses them. Pure."""

from __future__ import annotations

import re
from typing import Any

REFUSED = {
    40004: "invalid media type",
    40005: "invalid file type",
    40007: "invalid media_id",
    40008: "invalid message type",
    40009: "invalid image size",
    40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
    40035: "invalid parameter",
    40037: "invalid template_id",
    41005: "media data missing",
    43101: "user refuse to accept the msg",
    44001: "empty media data",
    44004: "text content is empty",
    45002: "content size out of limit",
    45008: "article count out of limit",
    47001: "data format error",
}
TEXT_BYTES, MENU_OPTIONS, IMAGE_BYTES = 2048, 8, 10 * 1024 * 1024
_ESCAPED = re.compile(rb"\\u[0-9a-fA-F]{4}")
_PICTURE = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM")
_FIELDS = {
    "thing": re.compile(r"[^\x00-\x1f]{1,20}"),
    "number": re.compile(r"-?\d{1,32}(\.\d+)?"),
    "letter": re.compile(r"[A-Za-z]{1,32}"),
    "character_string": re.compile(r"[!-~]{1,32}"),
    "time": re.compile(r".{0,20}\d{1,2}:\d{2}.{0,30}"),
    "date": re.compile(r"\d{4}年\d{1,2}月\d{1,2}日.{0,40}"),
    "amount": re.compile(r"[¥$€£]?\d{1,10}(\.\d+)?元?"),
    "phone_number": re.compile(r"[0-9+ -]{1,17}"),
    "name": re.compile(r"[\u4e00-\u9fff]{1,10}|[!-~ ]{1,20}"),
    "phrase": re.compile(r"[\u4e00-\u9fff]{1,5}"),
}


def escaped(raw: bytes) -> bool:
    r"""Whether a body spells characters as \uXXXX, which WeChat refuses."""
    return bool(_ESCAPED.search(raw))


def picture(kind: str, data: bytes | None) -> int:
    """The errcode of an upload that is not taken, 0 for a good one."""
    if kind not in ("image", "voice", "video", "thumb"):
        return 40004
    if data is None:
        return 41005
    if not data:
        return 44001
    if kind == "image" and not _PICTURE.match(data):
        return 40005
    return 40009 if len(data) > IMAGE_BYTES else 0


def refusal(body: dict[str, Any]) -> int:
    """The errcode of a customer-service message that is not taken, 0 for a good one."""
    kind = body.get("msgtype")
    part = body.get(kind) if isinstance(kind, str) else None
    if not isinstance(part, dict):
        return 40008
    match kind:
        case "text":
            return _text(part.get("content"))
        case "msgmenu":
            return _menu(part)
        case "news":
            return _news(part.get("articles"))
        case "image":
            return 0 if isinstance(part.get("media_id"), str) else 40007
        case _:
            return 40008


def _text(content: Any) -> int:
    if not isinstance(content, str):
        return 40035
    if not content.strip():
        return 44004
    return 45002 if len(content.encode("utf-8", "surrogatepass")) > TEXT_BYTES else 0


def _menu(part: dict[str, Any]) -> int:
    options = part.get("list")
    if not isinstance(options, list) or not 0 < len(options) <= MENU_OPTIONS:
        return 40035
    for option in options:
        if not isinstance(option, dict) or not all(
            isinstance(option.get(k), str) and option[k] for k in ("id", "content")
        ):
            return 40035
    head, tail = part.get("head_content"), part.get("tail_content", "")
    if not isinstance(head, str) or not isinstance(tail, str):
        return 40035
    return 45002 if len((head + tail).encode("utf-8", "surrogatepass")) > TEXT_BYTES else 0


def _news(articles: Any) -> int:
    if not isinstance(articles, list) or len(articles) != 1:
        return 45008
    if not isinstance(articles[0], dict) or not isinstance(articles[0].get("title"), str) or not articles[0]["title"]:
        return 40035
    return 0


def field_refused(data: Any) -> str:
    """The first field of a template message that breaks its type's rule, "" for none."""
    if not isinstance(data, dict):
        return "data"
    for name, held in data.items():
        value = held.get("value") if isinstance(held, dict) else None
        rule = _FIELDS.get(name.rstrip("0123456789"))
        if not isinstance(value, str) or not value.strip() or "\n" in value or (rule and not rule.fullmatch(value)):
            return str(name)
    return ""
