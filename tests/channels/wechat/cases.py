"""WeChat's row for the channel suite: recorded pushes (people and ids are invented), requests, errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.errors import (
    AccountError,
    ContentError,
    NoGrantError,
    ProviderDownError,
    RejectedError,
    SendError,
    TemporaryError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)
from bot.events import Event, Followed, GrantChanged, MessageReceived, Scanned, Tapped, Unfollowed
from bot.messages import Content, Notice, OutboundMessage, Picture, Receipt, Text
from bot.ports import RawRequest
from channels.wechat import TYPE
from channels.wechat.config import decode_key
from channels.wechat.crypto import Crypto, signature
from tests.contracts.channel import NAME, NOW, ChannelCase, ErrorCase, FixedTokens, Fixture, SendCase, request
from tests.contracts.fake import Got, reply
from tests.contracts.mutations import xml_mutations

TOKEN, APP = "tok3n_Shop01", "wx00aa11bb22cc33dd"
KEY = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE"
OPENID = "oFAKEbuyer0001"
OUR_ID = "m_0abcdefghjkmnpqrst"
TS = 1767225599
CONFIG = {"app_id": APP, "app_secret": "s3cret-app-9", "token": TOKEN, "encoding_aes_key": KEY}


def sign(body: bytes, secret: str) -> RawRequest:
    """A push in safe mode: encrypted by the key, signed by the token."""
    raw = decode_key(secret) or b"\x01" * 32
    encrypted = Crypto([raw], APP).encrypt(body, b"R4nd0mSixteenBy!")
    query = {"signature": "x", "timestamp": str(TS), "nonce": "839", "encrypt_type": "aes"}
    query["msg_signature"] = signature(TOKEN, str(TS), "839", encrypted)
    whole = f"<xml><ToUserName><![CDATA[gh_x]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
    return request(whole.encode(), query=query.items())


def unsigned(good: RawRequest) -> RawRequest:
    """Without its signature."""
    return replace(good, query=tuple(p for p in good.query if p[0] != "msg_signature"))


def push(kind: str, **fields: Any) -> bytes:
    inner = "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in fields.items())
    return (
        f"<xml><ToUserName><![CDATA[gh_x]]></ToUserName><FromUserName><![CDATA[{OPENID}]]></FromUserName>"
        f"<CreateTime>{TS}</CreateTime><MsgType><![CDATA[{kind}]]></MsgType>{inner}</xml>"
    ).encode()


def event(key: str, body: Any) -> Event:
    return Event(f"{NAME}|{key}" if key else "", f"address:{NAME}:{OPENID}", NAME, TS * 1000, NOW, body)


def told(name: str, event_key: str, body: Any, label: str, **more: Any) -> Fixture:
    return Fixture(
        name,
        push("event", Event=label, EventKey=event_key, **more),
        (event(f"{OPENID}|{TS * 1000}|{label}|{event_key}", body),),
    )


def leave(
    name: str, label: str, wrapper: str, template: str, said: str, change: str, source: str, scene: str = ""
) -> Fixture:
    """A push about one template; either wrapper may come with either event."""
    one = (
        f"<List><TemplateId>{template}</TemplateId><SubscribeStatusString>{said}</SubscribeStatusString>{scene}</List>"
    )
    raw = push("event", Event=label).replace(b"</xml>", f"<{wrapper}>{one}</{wrapper}></xml>".encode())
    key = f"{OPENID}|{TS * 1000}|{label}|{template}|{said}"
    return Fixture(name, raw, (event(key, GrantChanged(template, change, source)),))  # type: ignore[arg-type]


POPUP, CHANGE = "subscribe_msg_popup_event", "subscribe_msg_change_event"
SCENE = "<PopupScene>{}</PopupScene>"
FIXTURES = (
    leave("yes on a page", POPUP, "SubscribeMsgPopupEvent", "T1", "accept", "given", "page", SCENE.format(1)),
    leave("yes in an article", POPUP, "SubscribeMsgPopupEvent", "T2", "accept", "given", "article", SCENE.format(2)),
    leave("no on a page", POPUP, "SubscribeMsgPopupEvent", "T3", "reject", "taken", "page", SCENE.format(1)),
    leave("no in the settings", CHANGE, "SubscribeMsgChangeEvent", "T4", "reject", "taken", "settings"),
    leave("no, otherwise wrapped", CHANGE, "SubscribeMsgPopupEvent", "T5", "reject", "taken", "settings"),
    Fixture("text", push("text", Content="会员卡 hi", MsgId="1"), (event("1", MessageReceived("会员卡 hi")),)),
    told("follow", "qrscene_a", Followed("a"), "subscribe"),
    told("leave", "", Unfollowed(), "unsubscribe"),
    told("scan", "a", Scanned("a"), "SCAN"),
    told("click", "card", Tapped("card", opener="click"), "CLICK"),
    Fixture("view", push("event", Event="VIEW", EventKey="https://a"), (), ("VIEW",)),
)


def handshake(token: str) -> RawRequest:
    query = {
        "signature": signature(token, str(TS), "839") if token.isprintable() and token.isascii() else token,
        "timestamp": str(TS),
        "nonce": "839",
        "echostr": "0011580120",
    }
    return request(method="GET", query=query.items())


def outbound(content: Content) -> OutboundMessage:
    return OutboundMessage(OUR_ID, "b_1", f"address:{NAME}:{OPENID}", NAME, OPENID, "service", content, NOW)


def sent(name: str, content: Content, body: dict[str, Any]) -> SendCase:
    def check(got: list[Got]) -> None:
        assert [(g.method, g.path, g.query) for g in got] == [
            ("POST", "/cgi-bin/message/custom/send", {"access_token": FixedTokens.token})
        ]
        assert got[0].json == {"touser": OPENID, **body}

    return SendCase(name, outbound(content), check, Receipt())


def _pic(got):
    assert [g.path for g in got] == ["/cgi-bin/media/upload", "/cgi-bin/message/custom/send"]
    png = got[0].body.partition(b"\x89PNG\r\n\x1a\n")[2]
    assert int.from_bytes(png[8:12], "big") >= 29 * 8, "Micro QR"


def _subscription(got):
    assert [(g.method, g.path, g.query) for g in got] == [
        ("POST", "/cgi-bin/message/subscribe/bizsend", {"access_token": FixedTokens.token})
    ]
    assert got[0].json == {"touser": OPENID, "template_id": "T1", "data": {"thing1": {"value": "Tea"}}}


def code(n: Any, raises: type[SendError], msg: str = "Order 1009 packed", *, wait: float | None = None) -> ErrorCase:
    return ErrorCase(str(n), reply({"errcode": n, "errmsg": msg}), raises, str(n), wait)


CASE = ChannelCase(
    type=TYPE,
    config=CONFIG,
    sign=sign,
    secret=KEY,
    secret_field="encoding_aes_key",
    unsigned=unsigned,
    covered=lambda body: (body.index(b"<Encrypt><![CDATA[") + 18, body.index(b"]]></Encrypt>")),
    handshake=handshake,
    handshake_secret=TOKEN,
    handshake_answer=b"0011580120",
    required=("app_id", "app_secret", "token"),
    fixtures=FIXTURES,
    mutate=xml_mutations,
    message=outbound(Text("Order 1009 packed")),
    accepted=reply({"errcode": 0, "errmsg": "ok"}),
    sends=(
        sent("text", Text("Order 1009 packed"), {"msgtype": "text", "text": {"content": "Order 1009 packed"}}),
        SendCase(
            "picture",
            outbound(Picture("801234567890", "x")),
            _pic,
            Receipt(),
            (reply({"media_id": "M1"}), reply({"errcode": 0})),
        ),
        SendCase(
            "notice",
            outbound(Notice("T1", {"thing1": "Tea"})),
            lambda got: None,
            Receipt("77"),
            (reply({"errcode": 0, "msgid": 77}),),
        ),
        SendCase(
            "subscription",
            outbound(Notice("T1", {"thing1": "Tea"}, kind="subscription")),
            _subscription,
            Receipt(),
            (reply({"errcode": 0, "errmsg": "ok"}),),
        ),
    ),
    unfit=(
        outbound(Text("")),
        outbound(Text("  ")),
        outbound(Text("Half \ud83c")),
        outbound(Picture("x" * 5000, "a")),
        outbound(Picture("", "a")),
    ),
    errors=(
        code(-1, ProviderDownError),
        code(45015, WindowClosedError),
        code(45047, WindowClosedError),
        code(40003, UnreachableError),
        code(43004, UnreachableError),
        code(43019, UnreachableError),
        code(48002, UnreachableError),
        code(49003, UnreachableError),
        code(50005, UnreachableError),
        code(43101, NoGrantError),
        code(43117, RejectedError),
        code(40097, RejectedError),
        code(40007, ContentError),
        code(40033, ContentError),
        code(40037, ContentError),
        code(40249, ContentError),
        code(44004, ContentError),
        code(45002, ContentError),
        code(47001, ContentError),
        code(47003, ContentError, "argument invalid! data.thing2.value invalid rid: 66aa-bb11-cc22"),
        *(
            code(n, AccountError)
            for n in (40002, 40013, 40125, 40243, 41001, 43106, 48003, 48004, 50001, 50002, 61004, 61007, 89503, 89507)
        ),
        code(48001, AccountError),
        code(45009, ThrottledError, wait=3600.0),
        code(45011, ThrottledError, wait=60.0),
        code(99999, TemporaryError),
        code("40003", UnreachableError),
        code(40164, AccountError, f"invalid ip 10.0.0.1 ipv6 {FixedTokens.token}"),
    ),
)
