"""Meta's wire: limits, names, and readers that turn any JSON value into a plain one. Nothing here raises but `decode`.

Sources: Messenger Platform reference, Send API and Webhooks pages, read September 2026 (Graph v26.0).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

from bot import fastjson, ids
from bot.errors import PayloadError
from bot.events import Media, Ms

Json: TypeAlias = dict[str, Any]

TEXT_LIMIT = 1900  # documented as "< 2000"; room for what Meta counts in another way
BUTTON_TEXT_LIMIT = 640
BUTTONS = 3
TITLE_LIMIT = 20  # quick replies and buttons
CARD_LIMIT = 80  # title and subtitle of a generic element
CHOICES = 13
PAYLOAD_LIMIT = 1000
RECEIPT_LINES = 100

PAGE_INBOX_APPS = frozenset({"26390203743090", "263902037430900"})
"""The Page Inbox: one id in Meta's echo page, another in its routing page; both are accepted."""
THUMBS_UP = frozenset({"369239263222822", "369239343222814", "369239383222810"})
"""The blue thumb in its three sizes."""
GET_STARTED = "GET_STARTED"
"""Payload of the Get Started button, as our page setup sets it."""

VERSIONS_END = {
    "v20.0": "2026-09-24",
    "v21.0": "2027-01-21",
    "v22.0": "2027-05-20",
    "v23.0": "2027-10-08",
    "v24.0": "2028-02-18",
    "v25.0": "2028-07-29",
}
"""The last day of each Graph version that Meta has announced the end of."""

SUBSCRIBED_FIELDS = (
    "messages",
    "messaging_postbacks",
    "messaging_optins",
    "messaging_referrals",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "message_reactions",
    "messaging_policy_enforcement",
    "messaging_handovers",
    "standby",
)
"""What a page must be subscribed to: `check` names the missing ones."""

COUNTED = (
    "message_edit",
    "account_linking",
    "messaging_feedback",
    "response_feedback",
    "messaging_customer_information",
    "request_thread_control",
    "app_roles",
    "template",
)
"""Kinds that are understood and of no use: counted."""

_MEDIA = {
    "image": "image",
    "audio": "voice",
    "video": "video",
    "reel": "video",
    "ig_reel": "video",
    "file": "file",
    "sticker": "sticker",
    "location": "location",
    "fallback": "link",
    "post": "link",
    "ig_post": "link",
}
_LONG = re.compile(rb"\d{21}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_PHONE = re.compile(r"\+?\d[\d ()-]{5,24}", re.ASCII)


def decode(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a webhook. Raises PayloadError."""
    try:
        value = _with_long_numbers(body) if _LONG.search(body) else fastjson.loads(body, _with_long_numbers)
    except (ValueError, RecursionError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise PayloadError("the body is not a JSON object")
    return value


def _with_long_numbers(body: bytes) -> Any:
    return json.loads(body.decode("utf-8"), parse_int=_whole)


def _whole(digits: str) -> int:
    """A number too long to be one of Meta's must not cost the whole batch (Python refuses over 4300 digits)."""
    return int(digits) if len(digits) <= 20 else 0


def table(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def text(data: Mapping[str, Any], name: str, limit: int = 500) -> str:
    """A string (Meta writes some ids as numbers), whole characters only, cut at `limit`."""
    value = data.get(name)
    if type(value) is str and value.isascii():  # as nearly always: a webhook asks a dozen times
        return value[:limit]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    words = str(value)
    return (words if words.isascii() else words.encode("utf-8", "replace").decode("utf-8"))[:limit]


def id_of(item: Mapping[str, Any], name: str) -> str:
    """The id of `sender` or `recipient`, "" where there is none that could be one."""
    id = text(table(item.get(name)), "id", 100)
    return id if len(id) <= 64 and id.isprintable() and " " not in id else ""


def time_of(value: Any) -> Ms:
    """Milliseconds; seconds and strings occur: from 10^12 on it is milliseconds. 0 for what is no time."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    at = value if value >= 10**12 else value * 1000
    # Between 2001 and 2100: anything else would move reply windows to nowhere.
    return at if 10**12 <= at < 4_102_444_800_000 else 0


def label(value: str) -> str:
    """A kind that may be counted by name, or "other": counters must not grow with what is posted."""
    return value if _NAME.fullmatch(value) else "other"


def ours(metadata: str) -> bool:
    """Whether an echo's metadata is the id of a message of ours, or of a piece before its last (`m_…/1`)."""
    id, slash, piece = metadata.partition("/")
    return ids.is_message(id) and (not slash or (piece.isascii() and piece.isdigit()))


def is_phone(payload: str) -> bool:
    """Whether a quick reply handed over a phone number (its payload and its text are the number)."""
    return _PHONE.fullmatch(payload) is not None and 7 <= sum(c.isdigit() for c in payload) <= 15


def media_of(message: Mapping[str, Any]) -> tuple[Media, ...]:
    """The attachments of a message, at most 20. Their URLs expire."""
    found = []
    for attachment in rows(message.get("attachments"))[:20]:
        payload = table(table(attachment).get("payload"))
        kind = _MEDIA.get(text(table(attachment), "type", 30), "other")
        ref = text(payload, "sticker_id", 100)
        if kind == "location":
            ref = _place(table(payload.get("coordinates")))
        found.append(
            Media(kind="sticker" if ref and kind == "image" else kind, url=text(payload, "url", 2000), ref=ref)
        )
    return tuple(found)


def _place(coordinates: Mapping[str, Any]) -> str:
    values = [coordinates.get(name) for name in ("lat", "long")]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and -180 <= one <= 180 for one in values):
        return ""
    return ",".join(str(one) for one in values)


def short(text: str) -> str:
    """A fixed-length stand-in for what is long or should not be kept."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
