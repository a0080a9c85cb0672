"""What WeChat pushes, as events. Pure and total over well-formed bodies.

Repeats are recognised by MsgId; events carry none, so sender, time, event and key stand in (the provider documents sender
and time; two events of one second need more).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from bot import subjects
from bot.clock import rfc3339
from bot.errors import PayloadError
from bot.events import (
    AccountAlert,
    Body,
    Event,
    Followed,
    GrantChanged,
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
from channels.wechat.errors import NO_GRANT
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
POPUP = "subscribe_msg_popup_event"
LEAVE: Mapping[str, Mapping[str, Literal["given", "taken"]]] = {
    POPUP: {"accept": "given", "reject": "taken"},
    "subscribe_msg_change_event": {"reject": "taken"},
}
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
    if event in LEAVE:
        return _leaves(account, sender, event, node, at, received)
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
        listed = _listed(node, "SubscribeMsgSentEvent")
        return tuple(told for one in listed for told in _result(account, sender, one, at, received))
    return ()


def _result(account: str, sender: str, one: Node, at: Ms, received: Ms) -> Iterator[Event]:
    """What became of a subscription notice. Its message is found by template and order, so a repeat must be known as one."""
    template, id = text(one, "TemplateId", 100), text(one, "MsgID", 40)
    code = text(one, "ErrorCode", 20)
    failed = code != "0"
    body = StatusReported(
        "failed" if failed else "delivered",
        provider_id=id,
        code=code if failed else "",
        reason="rejected" if failed else "",
        template=template,
    )
    key = f"{sender}|{id or at}|{template}|sent"
    yield _make(account, sender, key, at, received, body)
    if code == str(NO_GRANT) and template:
        yield _make(account, sender, f"{key}|void", at, received, GrantChanged(template, "void"))


def _listed(node: Node, *wrappers: str) -> list[Node]:
    """The entries of a push that wraps a list: one or several, whichever of its names the wrapper has."""
    wrapped = next((node[name] for name in wrappers if isinstance(node.get(name), dict)), None)
    return nodes(wrapped.get("List")) if isinstance(wrapped, dict) else []


def _leaves(account: str, sender: str, event: str, node: Node, at: Ms, received: Ms) -> Parsed:
    """Yes and no to subscription notices, from WeChat's dialog or its settings, where there is only a no.

    The text of the documentation and its example differ on the wrapper of the change event: both names are read for both.
    """
    events, ignored = [], []
    for one in _listed(node, "SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent"):
        template, said = text(one, "TemplateId", 100), text(one, "SubscribeStatusString", 20)
        change = LEAVE[event].get(said)
        if not template or change is None:
            ignored.append(event)
            continue
        scene = {"1": "page", "2": "article"}.get(text(one, "PopupScene", 10), "dialog")
        source = scene if event == POPUP else "settings"
        body = GrantChanged(template, change, source)
        events.append(_make(account, sender, f"{sender}|{at}|{event}|{template}|{said}", at, received, body))
    return Parsed(events=tuple(events), ignored=tuple(ignored) if events or ignored else (event,))


def _status(provider_id: str, *, failed: bool) -> StatusReported:
    return StatusReported(
        state="failed" if failed else "delivered", provider_id=provider_id, reason="rejected" if failed else ""
    )
