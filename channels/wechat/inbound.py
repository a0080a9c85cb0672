"""What WeChat pushes, as events. Pure and total over well-formed bodies.

Repeats are recognised by MsgId; events carry none, so sender, time, event and key stand in (the provider documents sender
and time; two events of one second need more).
"""

from __future__ import annotations

from bot import subjects
from bot.clock import rfc3339
from bot.errors import PayloadError
from bot.events import (
    AccountAlert,
    Body,
    Event,
    Followed,
    Media,
    MessageReceived,
    Ms,
    Scanned,
    StaffReleased,
    StaffTook,
    StatusReported,
    Tapped,
    Unfollowed,
)
from bot.ports import Parsed
from channels.wechat.xml import Node, nodes, text

KINDS = {
    "image": "image",
    "voice": "voice",
    "video": "video",
    "shortvideo": "video",
    "location": "location",
    "link": "link",
}
ALERTS = frozenset(
    {
        "qualification_verify_success", "naming_verify_success", "qualification_verify_fail", "naming_verify_fail",
        "annual_renew", "verify_expired",
    }
)  # fmt: skip
GONE = "user_authorization_cancellation"
"""The buyer closed the whole WeChat account. The other privacy pushes name data that is not kept here, and are counted."""


def read(account: str, node: Node, received: Ms) -> Parsed:
    """The events of one push. Raises PayloadError where sender, time or kind are missing."""
    sender, kind = text(node, "FromUserName", 64), text(node, "MsgType", 40)
    at = _time(text(node, "CreateTime", 20))
    if not sender or not kind or not at:
        raise PayloadError("FromUserName, CreateTime or MsgType is missing")
    if kind == "event":
        return _event(account, sender, node, at, received)
    id = text(node, "MsgId", 40) or text(node, "MsgID", 40)
    if not id:
        raise PayloadError("MsgId is missing")
    body = _message(kind, node)
    return Parsed(events=(_make(account, sender, id, at, received, body),))


def _make(account: str, sender: str, id: str, at: Ms, received: Ms, body: Body) -> Event:
    return Event(f"{account}|{id}" if id else "", subjects.address(account, sender), account, at, received, body)


def _time(value: str) -> Ms:
    return int(value) * 1000 if value.isascii() and value.isdigit() and 0 < int(value) < 10**11 else 0


def _message(kind: str, node: Node) -> MessageReceived:
    content = text(node, "Content", 8000)
    if kind == "text":
        option = text(node, "bizmsgmenuid", 1000)
        # A tapped menu option comes as a text, but counts as a menu click for the quota.
        return MessageReceived(text=content, payload=option, opener="click" if option else "message")
    if kind == "voice":
        return MessageReceived(text=text(node, "Recognition", 4000), kind="voice", media=_media("voice", node))
    if kind == "location":
        place = text(node, "Label", 200) or f"{text(node, 'Location_X', 30)},{text(node, 'Location_Y', 30)}"
        return MessageReceived(text=place, kind="location")
    if kind == "link":
        return MessageReceived(
            text=text(node, "Title", 200), kind="link", media=(Media("link", url=text(node, "Url")),)
        )
    return MessageReceived(kind=KINDS.get(kind, "other"), media=_media(KINDS.get(kind, "other"), node))


def _media(kind: str, node: Node) -> tuple[Media, ...]:
    url, ref = text(node, "PicUrl"), text(node, "MediaId", 200)
    return (Media(kind, url=url, ref=ref),) if url or ref else ()


# --- events -----------------------------------------------------------------------------------------------------------


def _event(account: str, sender: str, node: Node, at: Ms, received: Ms) -> Parsed:
    event, key = text(node, "Event", 60), text(node, "EventKey", 1000)
    id = f"{sender}|{at}|{event}|{key}"
    if event.lower() in ALERTS:
        body = AccountAlert(kind=event.lower(), detail=_detail(node))
        return Parsed(events=(Event(f"{account}|{id}", subjects.account(account), account, at, received, body),))
    if event == GONE and (whom := text(node, "OpenID", 64)):
        return Parsed(events=(_make(account, whom, f"{whom}|{id}", at, received, Unfollowed()),))
    if statuses := _statuses(account, sender, event, node, at, received):
        return Parsed(events=statuses)
    body_of = _body(event, key, node)
    if body_of is None:
        return Parsed(ignored=(event or "event without a name",))
    return Parsed(events=(_make(account, sender, id, at, received, body_of),))


def _detail(node: Node) -> str:
    """What to tell staff of a push about the account: a reason, or the day from which its rights are gone."""
    expires = _time(text(node, "ExpiredTime", 20))
    return text(node, "FailReason", 200) or (f"expires {rfc3339(expires)[:10]}" if expires else "")


def _body(event: str, key: str, node: Node) -> Body | None:
    match event:
        case "subscribe":
            return Followed(scene=key.removeprefix("qrscene_"))
        case "unsubscribe":
            return Unfollowed()
        case "SCAN":
            return Scanned(scene=key)
        case "CLICK" | "scancode_push" | "scancode_waitmsg":
            return Tapped(payload=key, opener="click") if key else None
        case "kf_create_session" | "kf_switch_session":
            return StaffTook(by=text(node, "KfAccount", 80) or text(node, "ToKfAccount", 80))
        case "kf_close_session":
            return StaffReleased(by=text(node, "KfAccount", 80))
        case _:
            return None


def _statuses(account: str, sender: str, event: str, node: Node, at: Ms, received: Ms) -> tuple[Event, ...]:
    """Results of template messages and notices, by the provider's message id."""
    if event == "TEMPLATESENDJOBFINISH":
        failed = text(node, "Status", 60).replace(" ", "").lower().startswith("failed")
        return (_make(account, sender, "", at, received, _status(text(node, "MsgID", 40), failed=failed)),)
    if event == "subscribe_msg_sent_event":
        wrapped = node.get("SubscribeMsgSentEvent")
        listed = nodes(wrapped.get("List")) if isinstance(wrapped, dict) else []
        return tuple(
            _make(
                account,
                sender,
                "",
                at,
                received,
                _status(text(one, "MsgID", 40), failed=text(one, "ErrorCode", 20) != "0"),
            )
            for one in listed
        )
    return ()


def _status(provider_id: str, *, failed: bool) -> StatusReported:
    return StatusReported(
        state="failed" if failed else "delivered", provider_id=provider_id, reason="rejected" if failed else ""
    )
