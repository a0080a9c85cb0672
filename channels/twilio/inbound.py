"""What Twilio posts, as events: a buyer's text, an opt-out that Twilio answered, a delivery status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bot import ids, subjects
from bot.errors import PayloadError
from bot.events import Event, Media, MessageReceived, Ms, OptChanged, StatusReported
from bot.phones import is_e164
from bot.ports import Parsed
from channels.twilio.errors import AGAIN_AFTER_S, BLOCKED, failure_of
from channels.twilio.signature import Form

MAX_TEXT = 8000  # a Body has 1600 characters at most; joined ones may be longer
MAX_MEDIA = 10

STATES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    # That Twilio reports at all proves that it took the message: this settles a send whose answer was lost.
    "accepted": "sent",
    "scheduled": "sent",
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "partially_delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
OPT_OUT_TYPES: Mapping[str, Literal["out", "in", "help"]] = {"STOP": "out", "START": "in", "HELP": "help"}
_KINDS = {"image": "image", "audio": "voice", "video": "video"}


def read(account: str, form: Form, ref: str, received: Ms) -> Parsed:
    """The events of one post; `ref` is our message id from the signed URL. Raises PayloadError."""
    fields = _fields(form)
    state = fields.get("MessageStatus") or fields.get("SmsStatus", "")
    if state in ("", "received", "receiving"):
        return _message(account, fields, received)
    return _status(account, fields, state, ref, received)


def _fields(form: Form) -> Mapping[str, str]:
    """Name to value. A name with two values would leave it to chance which one counts."""
    fields: dict[str, str] = {}
    for name, value in form:
        if fields.setdefault(name, value) != value:
            raise PayloadError("a field stands twice with different values")
    return fields


# --- a buyer's text ---------------------------------------------------------------------------------------------------


def _message(account: str, fields: Mapping[str, str], received: Ms) -> Parsed:
    sid = fields.get("MessageSid") or fields.get("SmsSid") or fields.get("SmsMessageSid", "")
    sender = fields.get("From", "")
    if not sid or len(sid) > 64 or not sender:
        raise PayloadError("MessageSid or From is missing")
    if not is_e164(sender):
        return Parsed(ignored=["message from no phone number"])  # whatsapp:…, short codes, names
    change = OPT_OUT_TYPES.get(fields.get("OptOutType", "").upper())
    if change == "in" and fields.get("Body", "").strip().lower() == "yes":
        change = None  # Twilio takes YES as a way back, but here it answers questions: it must not grant marketing
    body = OptChanged(change=change, answered=True, blocks_all=change == "out") if change else _received(fields)
    return Parsed(events=[Event(sid, subjects.address(account, sender), account, received, received, body)])


def _received(fields: Mapping[str, str]) -> MessageReceived:
    text = fields.get("Body", "").replace("\0", "")[:MAX_TEXT]
    media = tuple(
        Media(kind=_kind(fields.get(f"MediaContentType{i}", "")), url=fields[f"MediaUrl{i}"][:2000])
        for i in range(MAX_MEDIA)
        if fields.get(f"MediaUrl{i}")
    )
    return MessageReceived(text=text, kind="text" if text or not media else media[0].kind, media=media)


def _kind(content_type: str) -> str:
    return _KINDS.get(content_type.partition("/")[0].strip().lower(), "file")


# --- what became of ours ----------------------------------------------------------------------------------------------


def _status(account: str, fields: Mapping[str, str], state: str, ref: str, received: Ms) -> Parsed:
    to, sid = fields.get("To", ""), fields.get("MessageSid") or fields.get("SmsSid", "")
    known = STATES.get(state.lower())
    if known is None:
        return Parsed(ignored=[f"status {state[:20]}"])
    if not to or not sid:
        raise PayloadError("MessageSid or To is missing")
    if not is_e164(to):
        return Parsed(ignored=["status of no phone number"])
    code = fields.get("ErrorCode", "")
    code = code if code.isascii() and code.isdigit() and len(code) < 10 else ""
    body = StatusReported(
        state=known,
        ref=ref if ids.is_message(ref) else "",
        provider_id=sid[:64],
        code=code,
        reason=str(failure_of(int(code or 0))) if known == "failed" else "",
        marketing_only=known == "failed" and code == str(BLOCKED),
        again_after_s=AGAIN_AFTER_S.get(int(code or 0), ()) if known == "failed" else (),
    )
    return Parsed(events=[Event("", subjects.address(account, to), account, received, received, body)])
