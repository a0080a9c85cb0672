"""Messenger's row for the channel suite: recorded bodies (people and ids are invented), requests, errors."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    SendError,
    TemporaryError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)
from bot.events import (
    AccountAlert,
    Body,
    Event,
    Followed,
    Media,
    MessageReceived,
    OptChanged,
    Scanned,
    StaffReleased,
    StaffSpoke,
    StaffTook,
    StatusReported,
    Tapped,
)
from bot.messages import (
    Button,
    Card,
    Choice,
    Content,
    Notice,
    OrderReceipt,
    OutboundMessage,
    Picture,
    Purpose,
    Receipt,
    ReceiptLine,
    Text,
)
from bot.ports import RawRequest
from channels.messenger import TYPE
from tests.contracts.channel import NAME, NOW, ChannelCase, ErrorCase, Fixture, SendCase, request
from tests.contracts.fake import Got, Reply, reply

PAGE = "900100200300400"
PSID = "7001002003004005"
OWN_APP = "3300440055006600"
SECRET = "shop-app-secret-0123456789abcdef"
VERIFY = "verify-me-7391"
TOKEN = "EAATESTPAGETOKEN123"
OUR_ID = "m_0abcdefghjkmnpqrst"
AT = 1_767_225_599_987

CONFIG: dict[str, Any] = {
    "page_id": PAGE,
    "app_id": OWN_APP,
    "app_secret": SECRET,
    "verify_token": VERIFY,
    "page_access_token": TOKEN,
}


# --- in ---------------------------------------------------------------------------------------------------------------


def sign(body: bytes, secret: str) -> RawRequest:
    """A request as Meta signs it."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return request(body, headers={"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"})


def posted(*items: dict[str, Any], place: str = "messaging", page: str = PAGE) -> bytes:
    """A webhook with one entry."""
    return json.dumps({"object": "page", "entry": [{"id": page, "time": 1767225600123, place: list(items)}]}).encode()


def item(**kind: Any) -> dict[str, Any]:
    """One item from the buyer."""
    return {"sender": {"id": PSID}, "recipient": {"id": PAGE}, "timestamp": AT, **kind}


def echo(**message: Any) -> dict[str, Any]:
    """One message of the page, as it is told back."""
    head = {"sender": {"id": PAGE}, "recipient": {"id": PSID}, "timestamp": AT}
    return {**head, "message": {"is_echo": True, **message}}


def event(key: str, body: Body, at: int = AT) -> Event:
    """The event expected of the buyer's thread."""
    return Event(f"{PAGE}|{key}" if key else "", f"address:{NAME}:{PSID}", NAME, at, NOW, body)


def one(name: str, kind: dict[str, Any], body: Body, key: str, at: int = AT, **place: str) -> Fixture:
    """A fixture of one item that gives one event."""
    return Fixture(name, posted(kind | {"timestamp": at}, **place), (event(key, body, at),))


def digest(*parts: object) -> str:
    """What an id holds of parts that are long or secret."""
    return hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=12).hexdigest()


def counted(name: str, kind: dict[str, Any], label: str, **place: str) -> Fixture:
    """A fixture that is only counted."""
    return Fixture(name, posted(kind, **place), (), (label,))


def message(**fields: Any) -> dict[str, Any]:
    """A buyer's message."""
    return item(message=fields)


def control(kind: str, **fields: Any) -> dict[str, Any]:
    """A change of who owns the conversation."""
    return item(**{kind: fields})


REACTION = item(reaction={"reaction": "love", "emoji": "❤️", "action": "react", "mid": "m_out1"})
REACTION_KEY = f"reaction|{digest(PSID, 'm_out1', '❤️', AT)}"
FIXTURES = (
    one("text", message(mid="m_t1", text="hello", reply_to={"mid": "m_p"}), MessageReceived(text="hello"), "m_t1"),
    one(
        "quick reply",
        message(mid="m_q1", text="Red", quick_reply={"payload": "COLOR:RED"}),
        MessageReceived(text="Red", payload="COLOR:RED"),
        "m_q1",
    ),
    one(
        "phone handed over",
        message(mid="m_q2", text="+886 912-345-678", quick_reply={"payload": "+886 912-345-678"}),
        MessageReceived(text="+886 912-345-678", phone="+886 912-345-678"),
        "m_q2",
    ),
    one(
        "e-mail handed over",
        message(mid="m_q3", text="ann@shop.example", quick_reply={"payload": "ann@shop.example"}),
        MessageReceived(text="ann@shop.example"),
        "m_q3",
    ),
    one(
        "image and text",
        message(
            mid="m_a1", text="this", attachments=[{"type": "image", "payload": {"url": "https://cdn.example/x.jpg"}}]
        ),
        MessageReceived(text="this", media=(Media("image", "https://cdn.example/x.jpg"),)),
        "m_a1",
    ),
    one(
        "all attachments",
        message(
            mid="m_a2",
            attachments=[
                {"type": "audio", "payload": {"url": "https://cdn.example/a.mp4"}},
                {"type": "video", "payload": {"url": "https://cdn.example/v.mp4"}},
                {"type": "ig_reel", "payload": {"url": "https://cdn.example/r", "title": "r", "reel_video_id": 7}},
                {"type": "file", "payload": {"url": "https://cdn.example/f.pdf"}},
                {"type": "fallback", "payload": None},
                {"type": "fallback", "payload": {"url": "https://shop.example/p", "title": "p"}},
                {"type": "post", "payload": {"url": "https://fb.example/p", "id": "1"}},
                {"type": "location", "payload": {"coordinates": {"lat": 25.03, "long": 121.5}}},
                {"type": "template", "payload": {"product": {"elements": [{"id": "1", "retailer_id": "SKU1"}]}}},
                {"type": "appointment_booking", "payload": {"booking_id": "1", "status": "requested"}},
                {"type": "sticker", "payload": {"sticker_id": 1234, "url": "https://cdn.example/s.png"}},
                {"type": "image", "payload": {"sticker_id": "1235", "url": "https://cdn.example/s.png"}},
            ],
        ),
        MessageReceived(
            kind="voice",
            media=(
                Media("voice", "https://cdn.example/a.mp4"),
                Media("video", "https://cdn.example/v.mp4"),
                Media("video", "https://cdn.example/r"),
                Media("file", "https://cdn.example/f.pdf"),
                Media("link"),
                Media("link", "https://shop.example/p"),
                Media("link", "https://fb.example/p"),
                Media("location", "", "25.03,121.5"),
                Media("other"),
                Media("other"),
                Media("sticker", "https://cdn.example/s.png", "1234"),
                Media("sticker", "https://cdn.example/s.png", "1235"),
            ),
        ),
        "m_a2",
    ),
    one(
        "thumbs up",
        message(mid="m_a3", attachments=[{"type": "sticker", "payload": {"sticker_id": 369239263222822}}]),
        MessageReceived(text="👍", media=(Media("sticker", "", "369239263222822"),)),
        "m_a3",
    ),
    one(
        "message from an advertisement",
        message(
            mid="m_r1", text="hi", referral={"ref": "race50", "ad_id": "238", "source": "ADS", "type": "OPEN_THREAD"}
        ),
        MessageReceived(text="hi", referral="race50"),
        "m_r1",
    ),
    one(
        "message about a product",
        message(mid="m_r2", text="in stock?", referral={"product": {"id": "55501"}}),
        MessageReceived(text="in stock?"),
        "m_r2",
    ),
    one(
        "slash command",
        message(mid="m_c1", text="/coupon", commands=[{"name": "coupon"}]),
        MessageReceived(text="/coupon"),
        "m_c1",
    ),
    one("half a character", message(mid="m_c2", text="gift \ud83c!"), MessageReceived(text="gift ?!"), "m_c2"),
    counted("deleted", message(mid="m_d1", is_deleted=True), "deleted message"),
    one(
        "cart sent",
        item(order={"products": [{"id": 1, "retailer_id": "SKU1", "quantity": 2}], "note": "as a gift please"}),
        MessageReceived(text="as a gift please", kind="other"),
        f"order|{PSID}|{AT}",
    ),
    # --- taps and links
    one(
        "get started",
        item(
            postback={"mid": "m_pb1", "title": "Get Started", "payload": "GET_STARTED", "referral": {"ref": "card-A12"}}
        ),
        Followed(scene="card-A12", opener="message"),
        "m_pb1",
    ),
    one(
        "menu tap",
        item(postback={"mid": "m_pb2", "title": "My card", "payload": "card"}),
        Tapped(payload="card", title="My card"),
        "m_pb2",
    ),
    one(
        "tap that starts a thread",
        item(postback={"mid": "m_pb3", "title": "Where?", "payload": "orders", "referral": {"ref": "ad1"}}),
        Tapped(payload="orders", title="Where?", referral="ad1"),
        "m_pb3",
    ),
    one(
        "tap without mid",
        item(postback={"title": "Later", "payload": "LATER:9"}),
        Tapped(payload="LATER:9", title="Later"),
        f"postback|{digest(PSID, AT, 'LATER:9')}",
    ),
    counted("tap without payload", item(postback={"mid": "m_pb4", "title": "?"}), "postback without payload"),
    one(
        "m.me link",
        item(
            referral={
                "ref": "cart_77",
                "source": "SHORTLINK",
                "type": "OPEN_THREAD",
                "referer_uri": "https://a.example",
            }
        ),
        Scanned(scene="cart_77", opener="message"),
        f"referral|{digest(PSID, AT, 'cart_77')}",
    ),
    # --- opt-ins
    one(
        "plugin",
        item(optin={"ref": "cart_78"}),
        Scanned(scene="cart_78", opener="message"),
        f"optin|{digest(PSID, 'cart_78')}|{AT}",
    ),
    Fixture(
        "checkbox plugin",
        posted({"recipient": {"id": PAGE}, "timestamp": AT, "optin": {"ref": "cart_77", "user_ref": "uuid-cart-77"}}),
        (),
        ("item without a buyer",),
    ),
    one(
        "stop notifications",
        item(
            optin={
                "type": "notification_messages",
                "payload": "memberday",
                "notification_messages_token": "34455",
                "notification_messages_status": "STOP NOTIFICATIONS",
                "token_expiry_timestamp": 4070908800000,
            }
        ),
        OptChanged("out"),
        f"optin|{digest(PSID, '34455')}|{AT}",
    ),
    one(
        "resume notifications",
        item(
            optin={
                "type": "notification_messages",
                "notification_messages_token": "34456",
                "notification_messages_status": "RESUME_NOTIFICATIONS",
            }
        ),
        OptChanged("in"),
        f"optin|{digest(PSID, '34456')}|{AT}",
    ),
    counted(
        "marketing opt-in",
        item(optin={"type": "notification_messages", "payload": "memberday", "notification_messages_token": "34455"}),
        "optin notification_messages",
    ),
    counted(
        "one-time opt-in",
        item(optin={"type": "one_time_notif_req", "payload": "restock_9", "one_time_notif_token": "1199"}),
        "optin one_time_notif_req",
    ),
    # --- statuses
    Fixture(
        "delivered",
        posted(item(delivery={"mids": ["m_o1", "m_o2"], "watermark": 1767225611000})),
        (
            event("", StatusReported("delivered", provider_id="m_o1")),
            event("", StatusReported("delivered", provider_id="m_o2")),
            event("", StatusReported("delivered", watermark=1767225611000)),
        ),
    ),
    one(
        "delivered without mids",
        item(delivery={"watermark": 1767225612000, "seq": 3}),
        StatusReported("delivered", watermark=1767225612000),
        "",
    ),
    one(
        "delivered without watermark",
        item(delivery={"mids": ["m_o3"]}),
        StatusReported("delivered", provider_id="m_o3"),
        "",
    ),
    counted("delivery of nothing", item(delivery={}), "delivered receipt of nothing"),
    one("read", item(read={"watermark": 1767225699000}), StatusReported("read", watermark=1767225699000), ""),
    # --- echoes
    one(
        "our echo",
        echo(mid="m_out1", app_id=int(OWN_APP), metadata=OUR_ID, text="packed"),
        StatusReported("sent", ref=OUR_ID, provider_id="m_out1"),
        "",
    ),
    one(
        "our echo under another app id",
        echo(mid="m_out2", app_id=99, metadata=OUR_ID, text="packed"),
        StatusReported("sent", ref=OUR_ID, provider_id="m_out2"),
        "",
    ),
    counted(
        "echo of an earlier piece",
        echo(mid="m_out3", app_id=int(OWN_APP), metadata=f"{OUR_ID}/1"),
        "echo of an earlier piece",
    ),
    counted(
        "our app without our id", echo(mid="m_out4", app_id=int(OWN_APP), text="test"), "echo of our app without our id"
    ),
    one(
        "page inbox", echo(mid="m_in1", app_id=26390203743090, text="On it"), StaffSpoke("On it", "page inbox"), "m_in1"
    ),
    one(
        "page inbox, other id",
        echo(mid="m_in2", app_id="263902037430900", text="Hi"),
        StaffSpoke("Hi", "page inbox"),
        "m_in2",
    ),
    one("echo without app", echo(mid="m_in3", text="By phone"), StaffSpoke("By phone", "page inbox"), "m_in3"),
    one(
        "another app",
        echo(mid="m_in4", app_id=4711, metadata="outbox:8841", attachments=[{"type": "image", "payload": None}]),
        StaffSpoke("", "app 4711"),
        "m_in4",
    ),
    # --- who owns the conversation
    one(
        "taken by the inbox",
        control("take_thread_control", previous_owner_app_id=OWN_APP, new_owner_app_id="263902037430900"),
        StaffTook("page inbox"),
        f"take|{PSID}|{AT}",
    ),
    one(
        "taken by nobody named",
        control("take_thread_control", previous_owner_app_id=OWN_APP, new_owner_app_id=None),
        StaffTook("page inbox"),
        f"take|{PSID}|{AT + 1}",
        AT + 1,
    ),
    one(
        "taken by us",
        control("take_thread_control", previous_owner_app_id="4711", new_owner_app_id=OWN_APP),
        StaffReleased("app 4711"),
        f"take|{PSID}|{AT + 2}",
        AT + 2,
    ),
    one(
        "passed to us",
        control("pass_thread_control", previous_owner_app_id=None, new_owner_app_id=OWN_APP, metadata="x"),
        StaffReleased("page inbox"),
        f"pass|{PSID}|{AT}",
    ),
    one(
        "passed to another app",
        control("pass_thread_control", previous_owner_app_id=OWN_APP, new_owner_app_id=4711),
        StaffTook("app 4711"),
        f"pass|{PSID}|{AT + 3}",
        AT + 3,
    ),
    counted(
        "control asked for",
        control("request_thread_control", requested_owner_app_id="4711", metadata="x"),
        "request_thread_control",
    ),
    counted(
        "roles", {"recipient": {"id": PAGE}, "timestamp": AT, "app_roles": {OWN_APP: ["primary_receiver"]}}, "app_roles"
    ),
    # --- standby
    one(
        "standby message",
        message(mid="m_s1", text="STOP"),
        MessageReceived(text="STOP", overheard=True),
        "m_s1",
        place="standby",
    ),
    counted("standby tap", item(postback={"mid": "m_s2", "title": "My card"}), "standby postback", place="standby"),
    counted("standby plugin", item(optin={"ref": "cart_77"}), "standby optin", place="standby"),
    one(
        "standby reaction",
        item(reaction={"reaction": "love", "action": "react", "mid": "m_out2"}),
        MessageReceived(kind="reaction", overheard=True),
        f"reaction|{digest(PSID, 'm_out2', '', AT)}",
        place="standby",
    ),
    one(
        "standby echo",
        echo(mid="m_s3", app_id=263902037430900, text="A person here"),
        StaffSpoke("A person here", "page inbox"),
        "m_s3",
        place="standby",
    ),
    one(
        "standby read",
        item(read={"watermark": 1767225700000}),
        StatusReported("read", watermark=1767225700000),
        "",
        place="standby",
    ),
    # --- the account
    Fixture(
        "policy block",
        posted(
            {"recipient": {"id": PAGE}, "timestamp": AT, "policy_enforcement": {"action": "block", "reason": "spam"}}
        ),
        (Event(f"{PAGE}|policy|block|{AT}", f"account:{NAME}", NAME, AT, NOW, AccountAlert("block", "spam")),),
    ),
    Fixture(
        "policy unblock",
        posted({"recipient": {"id": PAGE}, "timestamp": AT, "policy_enforcement": {"action": "unblock"}}),
        (
            Event(
                f"{PAGE}|policy|unblock|{AT}",
                f"account:{NAME}",
                NAME,
                AT,
                NOW,
                AccountAlert("unblock", "policy enforcement: unblock"),
            ),
        ),
    ),
    # --- of no use
    one("reaction", REACTION, MessageReceived(kind="reaction", overheard=True), REACTION_KEY),
    counted(
        "reaction taken back",
        item(reaction={"reaction": "love", "emoji": "❤️", "action": "unreact", "mid": "m_out1"}),
        "reaction taken back",
    ),
    counted("edit", item(message_edit={"mid": "m_t1", "text": "new", "num_edit": "1"}), "message_edit"),
    counted("linking", item(account_linking={"status": "linked", "authorization_code": "ABC"}), "account_linking"),
    counted(
        "feedback",
        item(messaging_feedback={"feedback_screens": [{"screen_id": 0, "questions": {}}]}),
        "messaging_feedback",
    ),
    counted(
        "thumbs on an answer",
        item(response_feedback={"feedback": "Good response", "mid": "m_out1"}),
        "response_feedback",
    ),
    counted("address form", item(messaging_customer_information={"screens": []}), "messaging_customer_information"),
    counted(
        "coupon revealed", item(template={"type": "coupon", "payload": "CAMP1", "coupon_code": "OFF10"}), "template"
    ),
    counted("unknown kind", item(brand_new={"x": 1}), "unknown"),
    Fixture(
        "page changes",
        json.dumps(
            {
                "object": "page",
                "entry": [
                    {
                        "id": PAGE,
                        "time": 1,
                        "changes": [{"field": "feed", "value": {"item": "comment"}}, {"field": "A b", "value": 1}],
                    }
                ],
            }
        ).encode(),
        (),
        ("change feed", "change other"),
    ),
    Fixture("instagram", b'{"object":"instagram","entry":[{"id":"1","messaging":[]}]}', (), ("object instagram",)),
    Fixture("another page", posted(message(mid="m_z1", text="x"), page="111"), (), ("page that is not configured",)),
    # --- odd times
    Fixture(
        "seconds",
        posted(message(mid="m_w1", text="x") | {"timestamp": 1767225599}),
        (event("m_w1", MessageReceived("x"), 1767225599000),),
    ),
    Fixture(
        "string",
        posted(message(mid="m_w2", text="x") | {"timestamp": "1767225599987"}),
        (event("m_w2", MessageReceived("x")),),
    ),
    Fixture(
        "absurd time",
        posted(message(mid="m_w3", text="x") | {"timestamp": 7}),
        (event("m_w3", MessageReceived("x"), 1767225600123),),
    ),
    Fixture(
        "no time at all",
        json.dumps(
            {
                "object": "page",
                "entry": [{"id": int(PAGE), "messaging": [message(mid="m_w4", text="x") | {"timestamp": None}]}],
            }
        ).encode(),
        (event("m_w4", MessageReceived("x"), NOW),),
    ),
    Fixture(
        "junk among items",
        posted(None, message(mid="m_w5", text="x"), 7),
        (event("m_w5", MessageReceived("x")),),
        ("item that is no object",) * 2,
    ),  # type: ignore[arg-type]
)


def _v(text: str) -> bytes:
    return (
        '{"object":"page","entry":[{"id":"900100200300400","time":1767225601000,"messaging":[{"sender":{"id":"7001002003004005"},'
        '"recipient":{"id":"900100200300400"},"timestamp":1767225600900,"message":{"mid":"m_TEST0002","text":"'
        + text
        + '"}}]}]}'
    ).encode()


V1 = (
    b'{"object":"page","entry":[{"id":"900100200300400","time":1767225600123,"messaging":[{"sender":{"id":"7001002003004005"},'
    b'"recipient":{"id":"900100200300400"},"timestamp":1767225599987,"message":{"mid":"m_TEST0001","text":"hello"}}]}]}'
)
V2 = _v(r"caf\u00e9 \u4f1a\u5458\u65e5 \ud83c\udf81 https:\/\/shop.example\/d?c=1")
V3 = _v("café 会员日 🎁 https://shop.example/d?c=1")
V4 = _v(r"caf\u00e9 \u4f1a\u5458\u65e5 \ud83c\udf81 https://shop.example/d?c=1")
V5 = _v(r"caf\u00E9 \u4F1A\u5458\u65e5 \uD83C\uDF81 https:\/\/shop.example\/d?c=1")
DIGESTS = (
    (b"", "8983cba7b75dea4551e2772ccd8a911d7a0ca1773f7b0303cde7cc5bfa9bd7fa"),
    (V1, "c985303cbf0f4e5b2cf90b138eeedb2eb45696cfb96d23f8112960788dabb219"),
    (V2, "c59cf7546bd7c4a109440b8b6468bed306e0cdf7098f7afd3042d072c2f9e52a"),
    (V3, "29060c6ce74dd6b6e335b9473cf7b06f556067f4b9be35c20e01bc720808d10d"),
    (V4, "b2935301698e81553af5f8fae9394cf63889663674e88aa4e7f583e52657b21b"),
    (V5, "02e1f018693c941557c6193410179ac51b6082d9bbd13b844d6779025654a148"),
    (rb'{"t":"\ud83c\udf81"}', "a214c379760b8147cc8837aeecff63d27c88a674062b476b926f1bdc6bcda564"),
    (bytes.fromhex("7b2274223a22f09f8e81227d"), "40a6bbb529aecdd48128eff039d396cd7418f45fd1adb597926216b2d4f0c2c9"),
)


def _signed(body: bytes, digest: str, prefix: str = "sha256=") -> RawRequest:
    return request(body, headers={"X-Hub-Signature-256": prefix + digest})


VECTORS = (
    *((_signed(body, digest), True) for body, digest in DIGESTS),
    *((_signed(body, DIGESTS[2][1]), False) for body in (V3, V4, V5)),  # what a proxy makes of V2
    (_signed(DIGESTS[7][0], DIGESTS[6][1]), False),
    (_signed(V1, DIGESTS[1][1].upper()), False),
    (_signed(V1, DIGESTS[1][1], ""), False),
    (_signed(V1, "9eee9f81722ad8c81f8e19ba8565618075aa32e5", "sha1="), False),
    (request(V1, headers={"X-Hub-Signature": "sha1=9eee9f81722ad8c81f8e19ba8565618075aa32e5"}), False),
)


def handshake(token: str) -> RawRequest:
    """Meta's GET when the callback is saved."""
    query = (("hub.mode", "subscribe"), ("hub.verify_token", token), ("hub.challenge", "0011580120"))
    return request(method="GET", query=query)


def batch(n: int) -> tuple[bytes, int]:
    """`n` messages in as many entries."""
    entries = [
        {"id": PAGE, "time": AT, "messaging": [message(mid=f"m_b{number}", text=str(number))]} for number in range(n)
    ]
    return json.dumps({"object": "page", "entry": entries}).encode(), n


# --- out --------------------------------------------------------------------------------------------------------------


def outbound(content: Content, purpose: Purpose = "service") -> OutboundMessage:
    """A message to the buyer."""
    home = f"address:{NAME}:{PSID}"
    return OutboundMessage(OUR_ID, "b_1", home, NAME, PSID, purpose, content, NOW)


ACCEPTED = reply({"recipient_id": PSID, "message_id": "m_out1"})
LONG = "".join(f"Line {number} of a text that is too long for one message. 👩‍👩‍👧\n" for number in range(90))


def posts(body: dict[str, Any], messaging_type: str = "UPDATE") -> Any:
    """The one request that must have been made."""

    def check(got: list[Got]) -> None:
        assert [(g.method, g.target) for g in got] == [("POST", f"/v26.0/{PAGE}/messages")]
        assert got[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert got[0].headers["content-type"] == "application/json"
        assert got[0].json == {
            "recipient": {"id": PSID},
            "messaging_type": messaging_type,
            "message": {**body, "metadata": OUR_ID},
        }

    return check


def sent(name: str, content: Content, body: dict[str, Any], purpose: Purpose = "service") -> SendCase:
    """A content that makes one request."""
    kind = "RESPONSE" if purpose in ("reply", "code") else "UPDATE"
    return SendCase(name, outbound(content, purpose), posts(body, kind), Receipt(provider_id="m_out1"))


def template(kind: str, **payload: Any) -> dict[str, Any]:
    """A template attachment."""
    return {"attachment": {"type": "template", "payload": {"template_type": kind, **payload}}}


def _long(got: list[Got]) -> None:
    texts = [g.json["message"]["text"] for g in got]
    assert len(texts) == 3
    assert all(0 < len(one) <= 1900 for one in texts)
    assert "".join(texts).replace("\n", "") == LONG.replace("\n", "")
    assert [g.json["message"]["metadata"] for g in got] == [f"{OUR_ID}/1", f"{OUR_ID}/2", OUR_ID]
    assert ["quick_replies" in g.json["message"] for g in got] == [False, False, True]


def _picture(got: list[Got]) -> None:
    kind = got[0].headers["content-type"]
    assert kind.startswith("multipart/form-data; boundary=")
    parts = got[0].body.split(b"--" + kind.partition("boundary=")[2].encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    fields = {part.split(b'name="')[1].split(b'"')[0]: part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:-1]}
    assert json.loads(fields[b"recipient"]) == {"id": PSID}
    assert fields[b"messaging_type"] == b"RESPONSE"
    assert json.loads(fields[b"message"]) == {"attachment": {"type": "image", "payload": {}}, "metadata": OUR_ID}
    assert fields[b"filedata"].startswith(b"\x89PNG\r\n\x1a\n")
    assert fields[b"filedata"].endswith(b"IEND\xaeB`\x82")


def _template_after_text(got: list[Got]) -> None:
    assert [list(g.json["message"]) for g in got] == [["text", "metadata"], ["attachment", "metadata"]]
    payload = got[1].json["message"]["attachment"]["payload"]
    assert len(payload["text"]) <= 640
    assert payload["buttons"] == [{"type": "web_url", "title": "Pay", "url": "https://shop.example/p"}]


CHOICES = tuple(Choice(f"pick:{number}", f"Choice {number}") for number in range(13))
BUTTON = Button("Pay", "https://shop.example/p")
SENDS = (
    sent("text", Text("Order 1009 packed"), {"text": "Order 1009 packed"}),
    sent("reply", Text("您好 👋"), {"text": "您好 👋"}, "reply"),
    sent("code", Text("123456"), {"text": "123456"}, "code"),
    sent("marketing", Text("Member day"), {"text": "Member day"}, "marketing"),
    sent(
        "choices",
        Text("Join?", choices=(Choice("join", "办会员卡"), Choice("no", "A label that is far too long 👩‍👩‍👧"))),
        {
            "text": "Join?",
            "quick_replies": [
                {"content_type": "text", "title": "办会员卡", "payload": "join"},
                {"content_type": "text", "title": "A label that is far ", "payload": "no"},
            ],
        },
    ),
    sent(
        "phone asked for",
        Text("Your number?", choices=(Choice(".later", "Later"),), ask_phone=True),
        {
            "text": "Your number?",
            "quick_replies": [
                {"content_type": "user_phone_number"},
                {"content_type": "text", "title": "Later", "payload": ".later"},
            ],
        },
    ),
    sent(
        "thirteen choices leave no room for the phone",
        Text("Which?", choices=CHOICES, ask_phone=True),
        {
            "text": "Which?",
            "quick_replies": [{"content_type": "text", "title": c.label, "payload": c.payload} for c in CHOICES],
        },
    ),
    sent(
        "fourteen that the text spells out",
        Text("1 a … 14 n", choices=(*CHOICES, Choice("x", "n")), numbered=True),
        {"text": "1 a … 14 n"},
    ),
    sent(
        "buttons",
        Text("Order 1009", buttons=(BUTTON, Button("A very long label for a button", "https://shop.example/t"))),
        template(
            "button",
            text="Order 1009",
            buttons=[
                {"type": "web_url", "title": "Pay", "url": "https://shop.example/p"},
                {"type": "web_url", "title": "A very long label fo", "url": "https://shop.example/t"},
            ],
        ),
    ),
    sent(
        "a fourth button is spelled out",
        Text("Links", buttons=(BUTTON, BUTTON, BUTTON, Button("More", "https://shop.example/m"))),
        template(
            "button",
            text="Links\nMore https://shop.example/m",
            buttons=[{"type": "web_url", "title": "Pay", "url": "https://shop.example/p"}] * 3,
        ),
    ),
    SendCase(
        "buttons under a longer text",
        outbound(Text("word " * 200, buttons=(BUTTON,))),
        _template_after_text,
        Receipt(provider_id="m_2", extra_ids=("m_1",)),
        (reply({"message_id": "m_1"}), reply({"message_id": "m_2"})),
    ),
    SendCase(
        "long text in pieces",
        outbound(Text(LONG, choices=(Choice("a", "A"),))),
        _long,
        Receipt(provider_id="m_3", extra_ids=("m_1", "m_2")),
        tuple(reply({"recipient_id": PSID, "message_id": f"m_{number}"}) for number in (1, 2, 3)),
    ),
    sent(
        "card",
        Card("Tea box", "In stock", "https://shop.example/t.png", "https://shop.example/t", (BUTTON,)),
        template(
            "generic",
            elements=[
                {
                    "title": "Tea box",
                    "subtitle": "In stock",
                    "image_url": "https://shop.example/t.png",
                    "default_action": {"type": "web_url", "url": "https://shop.example/t"},
                    "buttons": [{"type": "web_url", "title": "Pay", "url": "https://shop.example/p"}],
                }
            ],
        ),
    ),
    sent(
        "card with long words",
        Card("T" * 90, "会" * 90),
        template("generic", elements=[{"title": "T" * 79 + "…", "subtitle": "会" * 79 + "…"}]),
    ),
    sent("card of a title", Card("Tea box"), {"text": "Tea box"}),
    sent(
        "receipt",
        OrderReceipt(
            "1009-1",
            "A. Buyer",
            "TWD",
            "934.50",
            (ReceiptLine("Tea", 2, "440"), ReceiptLine("", 1, "54.50")),
            "paid",
            "https://shop.example/o",
            "Card",
            1_767_225_600_500,
        ),
        template(
            "receipt",
            recipient_name="A. Buyer",
            order_number="1009-1",
            currency="TWD",
            payment_method="Card",
            summary={"total_cost": 934.5},
            elements=[
                {"title": "Tea", "quantity": 2, "price": 440.0, "currency": "TWD"},
                {"title": "-", "quantity": 1, "price": 54.5, "currency": "TWD"},
            ],
            order_url="https://shop.example/o",
            timestamp="1767225600",
        ),
    ),
    sent(
        "bare receipt",
        OrderReceipt("1010", "", "USD", "0.10", (), "paid"),
        template(
            "receipt",
            recipient_name="-",
            order_number="1010",
            currency="USD",
            payment_method="-",
            summary={"total_cost": 0.1},
        ),
    ),
    SendCase(
        "picture", outbound(Picture("801234567890", "8012 3456 7890"), "reply"), _picture, Receipt(provider_id="m_out1")
    ),
)

UNFIT = tuple(
    outbound(content)
    for content in (
        Notice("t1", {"a": "b"}, "preview"),
        Text(""),
        Text("  \n "),
        Text("Which?", choices=(*CHOICES, Choice("x", "n"))),
        Text("Which?", choices=(Choice("p" * 1001, "x"),)),
        Text("Which?", choices=(Choice("", "x"),)),
        Text("Which?", choices=(Choice("x", " "),)),
        Text("Half \ud83c"),
        Text("Pay", buttons=(Button("Pay", "javascript:alert(1)"),)),
        Text("Pay", buttons=(Button(" ", "https://shop.example"),)),
        Card(" "),
        Card("Tea", buttons=(BUTTON,) * 4),
        OrderReceipt("1", "A", "USD", "much", (), "x"),
        OrderReceipt("1", "A", "USD", "NaN", (), "x"),
        OrderReceipt("1", "A", "USD", "1e40", (), "x"),
        OrderReceipt("1", "A", "USD", "1", (ReceiptLine("Tea", 1, ""),), "x"),
        Picture("x" * 5000, "too long"),
        Picture("", "nothing"),
    )
)


def failing(code: Any, sub: Any = None, status: int = 400, **more: Any) -> Reply:
    """An error of Meta's; its message quotes what was sent."""
    error = {
        "message": f"(#{code}) Order 1009 packed to {PSID}",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "Axy",
    }
    if sub is not None:
        error["error_subcode"] = sub
    return reply({"error": {**error, **more}}, status)


def row(label: str, answer: Reply, raises: type[SendError], retry_after_s: float | None = None) -> ErrorCase:
    """One row: `label` is the code that staff see."""
    return ErrorCase(label, answer, raises, label.partition(" ")[0], retry_after_s)


def usage(minutes: int) -> dict[str, str]:
    """Meta's header on business limits."""
    return {
        "X_Business_Use_Case_Usage": json.dumps(
            {"1": [{"type": "messenger", "estimated_time_to_regain_access": minutes}]}
        )
    }


THROTTLED = {"error": {"code": 613, "message": "slow"}}
ERRORS = (
    row("1", failing(1, status=500), InDoubtError),
    row("1 with another status", failing(1), InDoubtError),
    row("1/99", failing(1, 99), AccountError),
    row("1/1357046", failing(1, 1357046), InDoubtError),
    row("2", failing(2, status=500, is_transient=True), ProviderDownError),
    row("1200", failing(1200), ProviderDownError),
    row("7777 transient", failing(7777, is_transient=True), ProviderDownError),
    row("7777 on 500", failing(7777, status=500), InDoubtError),
    row("7777 on 400", failing(7777), RejectedError),
    row("7777 on 401", failing(7777, status=401), AccountError),
    row("4", failing(4), ThrottledError, 60),
    row("17", failing(17), ThrottledError),
    row("32", failing(32), ThrottledError),
    row("613", failing(613), ThrottledError),
    row("613 with Retry-After", reply(THROTTLED, 400, Retry_After="30"), ThrottledError, 30),
    row("613 with usage", reply(THROTTLED, 400, **usage(5)), ThrottledError, 300),
    row("613 with a week", reply(THROTTLED, 400, **usage(10080)), ThrottledError, 3600),
    row("613 with odd usage", reply(THROTTLED, 400, X_Business_Use_Case_Usage='{"1":[7],"2":8}'), ThrottledError, 60),
    row("613/2534040", failing(613, 2534040), ThrottledError),
    row("613/2018338 abuse", failing(613, 2018338), ThrottledError, 900),
    row("613/1893016", failing(613, 1893016), RejectedError),
    row("80006", failing(80006), ThrottledError),
    row("7777 on 429", failing(7777, status=429), ThrottledError),
    row("4/2018022", failing(4, 2018022), ThrottledError),
    row("4/2018354", failing(4, 2018354), RejectedError),
    row("9/2018352", failing(9, 2018352), RejectedError),
    row("10/2018278", failing(10, 2018278), WindowClosedError),
    row("10/2534022", failing(10, 2534022), WindowClosedError),
    row("10/2018065", failing(10, 2018065), WindowClosedError),
    row("10/2018108", failing(10, 2018108), UnreachableError),
    row("10/1404170", failing(10, 1404170), RejectedError),
    row("10/1893015", failing(10, 1893015), RejectedError),
    row("10/1893063", failing(10, 1893063), AccountError),
    row("10", failing(10, status=403), AccountError),
    row("100/2018001", failing(100, 2018001), UnreachableError),
    row("100/2534014", failing(100, 2534014), UnreachableError),
    row("100/33", failing(100, 33), UnreachableError),
    row("100", failing(100), ContentError),
    row("100/2018008", failing(100, 2018008), ContentError),
    row("100/2018074", failing(100, 2018074), ContentError),
    row("100/1893029", failing(100, 1893029), ContentError),
    row("100/2534037", failing(100, 2534037), TemporaryError),
    row("190/463", failing(190, 463, 401), AccountError),
    row("190 as text", failing("190"), AccountError),
    row("200", failing(200), AccountError),
    row("200/2018028", failing(200, 2018028), AccountError),
    row("230", failing(230), AccountError),
    row("200/1545041", failing(200, 1545041), UnreachableError),
    row("551", failing(551), UnreachableError),
    row("551/1545041", failing(551, 1545041), UnreachableError),
    row("368", failing(368), AccountError),
    row("2022", failing(2022), AccountError),
    row("2018300", failing(2018300), TemporaryError),
    row("10/2018300", failing(10, 2018300), TemporaryError),
    row("2018321", failing(2018321), TemporaryError),
    row("9000001", failing(9000001), RejectedError),
    row("0 for odd codes", failing([1], True), RejectedError),
    row("190 inside a 200", failing(190, status=200), AccountError),
    row("200 without a message", reply({"recipient_id": PSID}), InDoubtError),
    row("401", Reply(401, b"<html>"), AccountError),
    row("404", Reply(404, b"<html>"), AccountError),
    row("413", Reply(413, b"<html>"), ContentError),
    row("400", Reply(400, b"<html>"), RejectedError),
    row("408", Reply(408, b""), InDoubtError),
    row("302", Reply(302, b"", (("Location", "/login"),)), AccountError),
    row("503", Reply(503, b""), InDoubtError),
)

CASE = ChannelCase(
    type=TYPE,
    config=CONFIG,
    sign=sign,
    secret=SECRET,
    secret_field="app_secret",
    signature_header="X-Hub-Signature-256",
    handshake=handshake,
    handshake_secret=VERIFY,
    handshake_answer=b"0011580120",
    vectors=VECTORS,
    required=("page_id", "app_secret", "verify_token", "page_access_token"),
    fixtures=FIXTURES,
    batch=batch,
    message=outbound(Text("Order 1009 packed")),
    accepted=ACCEPTED,
    sends=SENDS,
    unfit=UNFIT,
    errors=ERRORS,
    on_500=InDoubtError,
)


def again(message: OutboundMessage, **changes: Any) -> OutboundMessage:
    """The message with changes."""
    return msgspec.structs.replace(message, **changes)
