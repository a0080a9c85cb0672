"""What Alibaba Cloud posts, as events: receipts, and replies that refuse. Pure and total per item.

The posts carry no signature, so they may do no more than move a status or opt a number out: a forged one can grant
nothing and put no words into a buyer's mouth. Source: https://help.aliyun.com/zh/sms/developer-reference/smsreport-2
and …/smsup-2 (2026-11).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any

from bot import ids, subjects
from bot.errors import PayloadError
from bot.events import Event, Ms, OptChanged, StatusReported
from bot.ports import Parsed
from channels.alibaba.errors import failure_of

MAX_ITEMS = 2000
OPT_OUT_WORDS = frozenset(
    "r t td n 退订 退訂 退定 拒收 拒絕 拒绝 取消订阅 取消訂閱 不要再发 别发了 stop stopall unsubscribe optout revoke cancel end quit".split()
)
_EDGES = " .。!！?？,，、~～\"'“”‘’「」【】[]()（）"
_MAINLAND = re.compile(r"(?:\+?86|0086)?(1[3-9]\d{9})", re.ASCII)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)
_ZONE = timezone(timedelta(hours=8))


def read(account: str, body: bytes, received: Ms) -> Parsed:
    """The events of a batch of receipts or replies. Raises PayloadError for what is no JSON array."""
    events: list[Event] = []
    ignored: list[str] = []
    for item in decode(body):
        found = _item(account, item, received)
        if isinstance(found, Event):
            events.append(found)
        else:
            ignored.append(found)
    return Parsed(events=events, ignored=ignored)


def decode(body: bytes) -> list[Mapping[str, Any]]:
    """The objects of the array. Raises PayloadError."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    if not isinstance(value, list):
        raise PayloadError("the body is not a JSON array")
    if len(value) > MAX_ITEMS:
        raise PayloadError(f"the array has over {MAX_ITEMS} items")
    if not all(isinstance(item, dict) for item in value):
        raise PayloadError("an item of the array is not an object")
    return value


def _item(account: str, item: Mapping[str, Any], received: Ms) -> Event | str:
    """The event of one item, or what to count it as."""
    if "phone_number" not in item:
        return "item without phone_number"  # results of reviews of signatures and templates
    phone = mainland(_text(item, "phone_number"))
    if not phone:
        return "item of no mainland number"
    subject = subjects.address(account, phone)
    if "success" in item:
        return _report(account, subject, item, received)
    if "content" in item:
        return _reply(account, subject, item, received)
    return "unknown item"


def _report(account: str, subject: str, item: Mapping[str, Any], received: Ms) -> Event | str:
    success = item["success"]
    if success not in (True, False, "true", "false"):
        return "receipt without success"
    delivered = success in (True, "true")
    ref, biz_id = _text(item, "out_id"), _text(item, "biz_id")
    ref = ref if ids.is_message(ref) else ""
    if not ref and not biz_id:
        return "receipt that names no message"
    code, size = _text(item, "err_code"), _text(item, "sms_size")
    body = StatusReported(
        state="delivered" if delivered else "failed",
        ref=ref,
        provider_id=biz_id,
        code="" if delivered else code,
        reason="" if delivered else str(failure_of(code)),
        parts=int(size) if re.fullmatch(r"[0-9]{1,3}", size) else 0,
    )
    return Event("", subject, account, _time(item, "report_time", received), received, body)


def _reply(account: str, subject: str, item: Mapping[str, Any], received: Ms) -> Event | str:
    if fold(_text(item, "content")) not in OPT_OUT_WORDS:
        return "reply that is no opt-out"
    sequence, sent = _text(item, "sequence_id"), _text(item, "send_time")
    seed = "|".join([sequence, sent, _text(item, "content")])
    id = f"up|{sequence or blake2b(seed.encode(), digest_size=12).hexdigest()}"
    body = OptChanged(change="out", answered=False)
    return Event(id, subject, account, _time(item, "send_time", received), received, body)


# --- small readers ----------------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """As words are compared: width and case folded, without surrounding blanks and punctuation."""
    return unicodedata.normalize("NFKC", text).strip().strip(_EDGES).casefold()


def mainland(text: str) -> str:
    """E.164 of a mainland mobile number as Alibaba Cloud writes it (bare, 86…, 0086… or +86…), else ""."""
    found = _MAINLAND.fullmatch(text)
    return f"+86{found[1]}" if found else ""


def _text(item: Mapping[str, Any], name: str) -> str:
    """A string or a number as text, at most 200 characters; "" for anything else."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return ""
    text = str(value)[:200]
    return "" if any("\ud800" <= c <= "\udfff" for c in text) else text


def _time(item: Mapping[str, Any], name: str, received: Ms) -> Ms:
    """A time of day in UTC+8, never after now: an unsigned post must not outlast what a buyer decides later."""
    found = _TIME.fullmatch(_text(item, name))
    if found is None:
        return received
    try:
        at = datetime(*map(int, found.groups()), tzinfo=_ZONE)  # type: ignore[arg-type,misc]  # six numbers
    except ValueError:
        return received
    return min(int(at.astimezone(UTC).timestamp()) * 1000, received)
