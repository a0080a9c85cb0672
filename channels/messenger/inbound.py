"""What Meta posts, as events. Pure and total: an item that cannot be read is counted, never raised."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal

from bot import subjects
from bot.errors import PayloadError
from bot.events import (
    AccountAlert,
    Body,
    Event,
    Followed,
    Media,
    MessageReceived,
    Ms,
    OptChanged,
    Scanned,
    StaffReleased,
    StaffSpoke,
    StaffTook,
    StatusReported,
    Tapped,
)

# The Page Inbox: one id in Meta's echo page, another in its routing page; both are accepted.
PAGE_INBOX_APPS = frozenset({"26390203743090", "263902037430900"})
THUMBS_UP = frozenset({"369239263222822", "369239343222814", "369239383222810"})
GET_STARTED = "GET_STARTED"
MAX_ITEMS = 5000
COUNTED = (
    "reaction",
    "message_edit",
    "account_linking",
    "messaging_feedback",
    "response_feedback",
    "messaging_customer_information",
    "request_thread_control",
    "app_roles",
    "order",
    "template",
)


def decode(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a webhook. Raises PayloadError."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise PayloadError("the body is not a JSON object")
    return value


class Reader:
    """Reads one webhook: `pages` maps page ids to account names, `own_app` is the app that sends for us."""

    def __init__(self, pages: Mapping[str, str], own_app: str, received: Ms) -> None:
        self._pages = pages
        self._own_app = own_app
        self._received = received
        self.events: list[Event] = []
        self.ignored: list[str] = []

    def read(self, value: Mapping[str, Any]) -> None:
        """Collects the events of every entry."""
        if value.get("object") != "page":
            self.ignored.append(f"object {str(value.get('object'))[:30]}")
            return
        for entry in _dicts(value.get("entry")):
            account = self._pages.get(_text(entry, "id"))
            if account is None:
                self.ignored.append("page that is not configured")
                continue
            for item in _dicts(entry.get("messaging")):
                self._item(account, _text(entry, "id"), item, standby=False)
            for item in _dicts(entry.get("standby")):
                self._item(account, _text(entry, "id"), item, standby=True)
            self.ignored += [f"change {_text(change, 'field')[:30]}" for change in _dicts(entry.get("changes"))]

    def _add(self, account: str, psid: str, id: str, at: Ms, body: Body) -> None:
        scoped = f"{account}|{id}" if id else ""
        self.events.append(Event(scoped, subjects.address(account, psid), account, at, self._received, body))

    def _item(self, account: str, page: str, item: Mapping[str, Any], *, standby: bool) -> None:
        sender, recipient = _id(item, "sender"), _id(item, "recipient")
        at = _time(item.get("timestamp")) or self._received
        psid = recipient if sender == page else sender
        if "policy_enforcement" in item:
            self._policy(account, item, at)
            return
        if not psid or len(psid) > 64:
            self.ignored.append("item without a buyer")
            return
        message = item.get("message")
        if isinstance(message, dict) and message.get("is_echo"):
            self._echo(account, psid, message, at)
        elif standby:
            self.ignored.append("standby")  # another app answers; its sends reach us as echoes
        elif isinstance(message, dict):
            self._message(account, psid, message, at)
        else:
            self._other(account, psid, item, at)

    # --- messages -------------------------------------------------------------------------------------------------

    def _message(self, account: str, psid: str, message: Mapping[str, Any], at: Ms) -> None:
        mid = _text(message, "mid")
        if message.get("is_deleted"):
            self.ignored.append("deleted message")
            return
        if not mid:
            self.ignored.append("message without mid")
            return
        text = _text(message, "text", 8000)
        media = _media(message)
        payload = _text(_dict(message.get("quick_reply")), "payload", 1000)
        phone = ""
        if payload and payload == text and _looks_like_phone(payload):
            phone, payload = payload, ""
        if not text and any(m.kind == "sticker" and m.ref in THUMBS_UP for m in media):
            text = "👍"
        kind = "text" if text or not media else media[0].kind
        referral = _dict(message.get("referral"))
        body = MessageReceived(
            text=text, kind=kind, payload=payload, media=media, phone=phone, referral=_text(referral, "ref")
        )
        self._add(account, psid, mid, at, body)

    def _echo(self, account: str, psid: str, message: Mapping[str, Any], at: Ms) -> None:
        app = _text(message, "app_id")
        mid, metadata = _text(message, "mid"), _text(message, "metadata", 1000)
        ours = metadata.startswith("m_") and (not self._own_app or app == self._own_app)
        if ours:
            body: Body = StatusReported(state="sent", ref=metadata, provider_id=mid)
            self._add(account, psid, "", at, body)
            return
        if self._own_app and app == self._own_app:
            self.ignored.append("echo of our app without our id")
            return
        by = "page inbox" if app in PAGE_INBOX_APPS or not app else f"app {app}"
        self._add(account, psid, mid, at, StaffSpoke(text=_text(message, "text", 2000), by=by))

    # --- everything else ------------------------------------------------------------------------------------------

    def _other(self, account: str, psid: str, item: Mapping[str, Any], at: Ms) -> None:
        if "delivery" in item:
            self._receipt(account, psid, _dict(item["delivery"]), at, read=False)
        elif "read" in item:
            self._receipt(account, psid, _dict(item["read"]), at, read=True)
        elif "postback" in item:
            self._postback(account, psid, _dict(item["postback"]), at)
        elif "referral" in item:
            ref = _text(_dict(item["referral"]), "ref")
            body = Scanned(scene=ref, opener="message")
            self._add(account, psid, f"referral|{psid}|{at}|{ref}", at, body)
        elif "optin" in item:
            self._optin(account, psid, _dict(item["optin"]), at)
        elif "take_thread_control" in item or "pass_thread_control" in item:
            self._control(account, psid, item, at)
        else:
            named = next((name for name in COUNTED if name in item), "unknown")
            self.ignored.append(named)

    def _postback(self, account: str, psid: str, postback: Mapping[str, Any], at: Ms) -> None:
        payload, title = _text(postback, "payload", 1000), _text(postback, "title", 200)
        referral = _text(_dict(postback.get("referral")), "ref")
        id = _text(postback, "mid") or f"postback|{_short(f'{psid}|{at}|{payload}')}"
        if not payload:
            self.ignored.append("postback without payload")
        elif payload == GET_STARTED:
            self._add(account, psid, id, at, Followed(scene=referral, opener="message"))
        else:
            self._add(account, psid, id, at, Tapped(payload=payload, title=title, referral=referral))

    def _receipt(self, account: str, psid: str, receipt: Mapping[str, Any], at: Ms, *, read: bool) -> None:
        watermark = _time(receipt.get("watermark"))
        state: Literal["read", "delivered"] = "read" if read else "delivered"
        if watermark:
            self._add(account, psid, "", at, StatusReported(state=state, watermark=watermark))
            return
        mids = receipt.get("mids")
        for mid in mids if isinstance(mids, list) else ():
            if isinstance(mid, str) and mid:
                self._add(account, psid, "", at, StatusReported(state=state, provider_id=mid))

    def _optin(self, account: str, psid: str, optin: Mapping[str, Any], at: Ms) -> None:
        status = _text(optin, "notification_messages_status").replace(" ", "_").upper()
        token = _text(optin, "notification_messages_token") or _text(optin, "ref") or _text(optin, "user_ref")
        id = f"optin|{token}|{at}"
        if status == "STOP_NOTIFICATIONS":
            self._add(account, psid, id, at, OptChanged(change="out"))
        elif status == "RESUME_NOTIFICATIONS":
            self._add(account, psid, id, at, OptChanged(change="in"))
        elif _text(optin, "type"):
            self.ignored.append(f"optin {_text(optin, 'type')[:30]}")
        else:
            self._add(account, psid, id, at, Scanned(scene=_text(optin, "ref"), opener="message"))

    def _control(self, account: str, psid: str, item: Mapping[str, Any], at: Ms) -> None:
        if "take_thread_control" in item:
            self._add(account, psid, f"take|{psid}|{at}", at, StaffTook(by="page inbox"))
            return
        new_owner = _text(_dict(item["pass_thread_control"]), "new_owner_app_id")
        if self._own_app and new_owner and new_owner != self._own_app:
            self._add(account, psid, f"pass|{psid}|{at}", at, StaffTook(by=f"app {new_owner}"))
        else:
            self._add(account, psid, f"pass|{psid}|{at}", at, StaffReleased(by="page inbox"))

    def _policy(self, account: str, item: Mapping[str, Any], at: Ms) -> None:
        policy = _dict(item["policy_enforcement"])
        action = _text(policy, "action", 30)
        body = AccountAlert(kind=action or "policy", detail=_text(policy, "reason", 200))
        self.events.append(
            Event(f"{account}|policy|{action}|{at}", subjects.account(account), account, at, self._received, body)
        )


# --- small readers ----------------------------------------------------------------------------------------------------


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value[:MAX_ITEMS] if isinstance(one, dict))


def _text(data: Mapping[str, Any], name: str, limit: int = 500) -> str:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    try:
        text = str(value)
        text.encode("utf-8")
    except (UnicodeEncodeError, ValueError):
        return ""
    return text[:limit]


def _id(item: Mapping[str, Any], name: str) -> str:
    return _text(_dict(item.get(name)), "id", 100)


def _time(value: Any) -> Ms:
    """Milliseconds; seconds and strings occur: from 10^12 on it is milliseconds."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0
    if not isinstance(value, int) or not 0 < value < 10**14:
        return 0
    return value if value >= 10**12 else value * 1000


def _media(message: Mapping[str, Any]) -> tuple[Media, ...]:
    found = []
    for attachment in _dicts(message.get("attachments")):
        payload = _dict(attachment.get("payload"))
        kind = _text(attachment, "type", 30) or "other"
        ref = _text(payload, "sticker_id")
        if ref:
            kind = "sticker"
        known = (
            kind
            if kind in ("image", "voice", "video", "file", "sticker", "location")
            else {"audio": "voice"}.get(kind, "other")
        )
        found.append(Media(kind=known, url=_text(payload, "url", 2000), ref=ref))
    return tuple(found[:20])


def _looks_like_phone(text: str) -> bool:
    digits = sum(c.isdigit() for c in text)
    return text[:1] in "+0123456789" and 7 <= digits <= 15 and all(c in "+0123456789 -()" for c in text)


def _short(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()
