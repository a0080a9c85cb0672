"""WeChat: the provider's published vectors, our own, and every push it sends."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from bot.errors import (
    AccountError,
    ConfigError,
    ContentError,
    InDoubtError,
    PayloadError,
    ProviderDownError,
    RejectedError,
    SendError,
    SignatureError,
    TemporaryError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)
from bot.events import (
    AccountAlert,
    Followed,
    MessageReceived,
    Scanned,
    StaffReleased,
    StaffTook,
    StatusReported,
    Tapped,
    Unfollowed,
)
from bot.messages import Button, Card, Choice, Notice, OutboundMessage, Picture, Text
from bot.ports import HttpResponse, RawRequest, Token, Toolkit, Verified
from channels.wechat.adapter import TYPE, WeChat
from channels.wechat.config import WeChatConfig, decode_key
from channels.wechat.crypto import Crypto, matches, signature
from channels.wechat.notices import fit

TOKEN, KEY, APPID, TS, NONCE = (
    "tok3n_Shop01",
    "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE",
    "wx00aa11bb22cc33dd",
    "1760000000",
    "839201744",
)
RANDOM16 = b"R4nd0mSixteenBy!"
V3_XML = (
    "<xml><ToUserName><![CDATA[gh_fakeshop0001]]></ToUserName><FromUserName><![CDATA[oFAKEbuyer0001]]></FromUserName>"
    "<CreateTime>1760000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[会员卡 hi]]></Content>"
    "<MsgId>24000000000000001</MsgId></xml>"
)
VECTORS = [
    (
        "hi",
        "aGmuggls+XNS0Mezp6VmL0AtVS7ZLRvd6wG/IaQ9AAWFF5wiKveIUV6HfiEnMzwoWlZeDPp62vBihnD1UkojOg==",
        "f7b2cee4b476a33bff0f8de8080d5ae0fcfcdeff",
    ),
    (
        "a" * 26,
        "aGmuggls+XNS0Mezp6VmL0EdNx/+7vuwfxXntdgOX4UdUUfaXEGIgkcPRHJHT8j7VRFSwwZfAiXbHweXTiPo8EZHB2Dqk4nA6uuvuuV5udcCoBTPAdZRPoH+796rLC9m",
        "94666d0438c40d8344a1ffe0e9886dfff8c614ac",
    ),
    (
        V3_XML,
        "aGmuggls+XNS0Mezp6VmL7ctttquXk1Z7nVnj9ZMU/k1h9IgvhJn8AwMBa4eOIHiHKkr3HYqmo0EfctDIIjgZrc4Ww75sJXDLnXvcfzcaW7XlKPUjyeIcZNgWaVBCjgvGOiUSwPFyC45ht+keBek14AKWFwWzhv/pwIdZ5JU6P9UBj8wqaxv7qmb/OQUGFmjorN2EInykIOdxc9Nxv0qdSHpYKu028wYyLb/KvfY6MCHE3KdI25fvNCeJl4e/Qw+vQu7NXClIsT4isgzJFD1VXVNq6L3WPr5lULxVAELGY4SSz7S42u87h0KTm6Xrd1A6iqZjWImXw+2Q5gHt/ZUOXMJQ6rTcLuf0z5iqDepg869+Sfuv2/lcj3dRXMOhM4p31xsHcxIkuY4aDtQEf1WQxo0l5JJcTYONd3s5g8/QZc=",
        "9b2ea0057c6cc00830904f890957092104880914",
    ),
]


V4_XML = (
    "<xml><ToUserName><![CDATA[oFAKEbuyer0001]]></ToUserName><FromUserName><![CDATA[gh_fakeshop0001]]></FromUserName>"
    "<CreateTime>1760000001</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[ok]]></Content></xml>"
)
V4 = (
    "aGmuggls+XNS0Mezp6VmL2k3qVAVcgtpfbOWSiKc4iSPjKYu/OLuOl+6DnGtlJiy1JcZKkkA897PJHobNqZ2jHOrZz6RltSLg8rt"
    "LViOIYxDAkveTaQB+2ki4U3tjPnT4cKxm7OHXFQQ7MlbjZzurR9Z/wtskD81yyjMllEN5Y6e0o6RVQrvEo9RvP22sH1XT9JXVlg1"
    "MHSaN8BFOp/6u3ZPNCErU1zPWBIRp7+B/aMA5tepLDtEKfzO6bOR9P1Ays/1vwgYqvPJud8CBTc+haA4srHuynGzW+p3nRhhWTz4"
    "X7tc8UsxmJvUk38HzCnmLNfJFw41OIO323wE2FTvHUWSytGiCpx4rh5hVUddNxAfnV0q1OOzjCcvYNNX/ppb"
)
V5 = "aGmuggls+XNS0Mezp6VmL8qWvp0tgRpnWEjg5qno82dcWH9TEHAtlkVMLtuuh/T2l6kh7a1rgVhsyhGFw6WFNw=="


class Clock:
    def now(self):
        return 1_760_000_000_000

    real = now

    async def sleep(self, seconds):
        return None


class Http:
    """Answers from a list; keeps what was asked."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    async def request(self, method, url, *, headers=None, body=b"", timeout_s=8.0):
        self.calls.append((method, url, body))
        answer = self.answers.pop(0) if self.answers else {"errcode": 0, "errmsg": "ok"}
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return HttpResponse(answer[0], {}, answer[1])
        return HttpResponse(200, {}, json.dumps(answer).encode())


class Tokens:
    def __init__(self):
        self.value, self.failed = "AT1", []

    async def get(self, key, fetch, *, failed=""):
        if failed:
            self.failed.append(failed)
            self.value = "AT2"
        return self.value


def adapter(http=None, tokens=None, **changes) -> WeChat:
    values = {
        "type": "wechat",
        "app_id": APPID,
        "app_secret": "s3cret-app",
        "token": TOKEN,
        "encoding_aes_key": KEY,
        **changes,
    }
    config = WeChatConfig(**{k: v for k, v in values.items() if v is not None})
    return TYPE.build(
        "wechat-main", config, Toolkit(http or Http(), tokens or Tokens(), Clock(), "https://gw.example", {})
    )


def request(body: bytes = b"", **query) -> RawRequest:
    return RawRequest(
        "POST",
        "/x",
        "https://gw.example/x",
        CIMultiDictProxy(CIMultiDict()),
        tuple(query.items()),
        body,
        "127.0.0.1",
        1_760_000_000_000,
    )


@pytest.mark.parametrize(
    ("timestamp", "nonce", "expected"),
    [
        ("1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"),
        ("1715943329", "1590219412", "cc0c594499c1634947d5b502f158ee518947db27"),
    ],
)
def test_published_signatures(timestamp, nonce, expected):
    """The provider's own examples."""
    assert expected == signature("AAAAA", timestamp, nonce)


def test_plain_signature_vector():
    """V0."""
    assert signature(TOKEN, TS, NONCE) == "f5b81df62b07136fb933309c2c7eb94e705c9628"


@pytest.mark.parametrize(("message", "encrypted", "expected"), VECTORS)
def test_encryption_vectors_both_ways(message, encrypted, expected):
    """V1 to V3: decrypted, signed and encrypted byte for byte."""
    crypto = Crypto([decode_key(KEY)], APPID)
    assert crypto.decrypt(encrypted) == message.encode()
    assert crypto.encrypt(message.encode(), RANDOM16) == encrypted
    assert matches(expected, TOKEN, TS, NONCE, encrypted)
    flipped = ("0" if expected[0] != "0" else "1") + expected[1:]
    assert not matches(flipped, TOKEN, TS, NONCE, encrypted)


def test_an_encrypted_reply_is_the_known_one():
    """V4: what a passive reply would be, byte for byte, and its signature."""
    encrypted = Crypto([decode_key(KEY)], APPID).encrypt(V4_XML.encode(), RANDOM16)
    assert encrypted == V4
    assert signature(TOKEN, "1760000001", NONCE, encrypted) == "daacf59a959c2a40979cefaf0f3307b2f2173c12"
    assert Crypto([decode_key(KEY)], APPID).decrypt(V4) == V4_XML.encode()


def test_another_receiver_than_an_app_id():
    """V5: the same envelope with a company's id at its end."""
    company = Crypto([decode_key(KEY)], "ww0fakecorp")
    assert company.decrypt(V5) == b"echo-123"
    assert company.encrypt(b"echo-123", RANDOM16) == V5
    assert matches("b48168fc59b1362de190e321e10dafafd299c4a3", TOKEN, TS, NONCE, V5)
    with pytest.raises(SignatureError):
        Crypto([decode_key(KEY)], APPID).decrypt(V5)


def _sealed(plain: bytes, pad: bytes) -> str:
    """Encrypted with any padding at all."""
    key = decode_key(KEY)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + pad) + encryptor.finalize()).decode()


BARE = RANDOM16 + (2).to_bytes(4, "big") + b"hi" + APPID.encode()  # 40 bytes: 24 of padding are right


@pytest.mark.parametrize(
    ("plain", "pad"),
    [
        (BARE, bytes([23]) * 24),
        (BARE, b"\x00" * 24),
        (BARE, bytes([33]) * 24),
        (BARE, b"\x01" + bytes([24]) * 23),
        (BARE, bytes([40]) * 40),
        (BARE[:16] + (60).to_bytes(4, "big") + BARE[20:], bytes([24]) * 24),
        (BARE[:16] + (2**32 - 1).to_bytes(4, "big") + BARE[20:], bytes([24]) * 24),
        (b"", bytes([32]) * 32),
        (BARE + b"x", bytes([23]) * 23),
    ],
)
def test_padding_length_and_receiver_are_checked_strictly(plain, pad):
    """Every byte of the padding, 1 to 32 of them, a length within the message, the AppID to its last letter."""
    with pytest.raises(SignatureError, match=r"^the message cannot be decrypted$"):
        Crypto([decode_key(KEY)], APPID).decrypt(_sealed(plain, pad))


def test_every_amount_of_padding_is_read():
    """1 to 32 bytes, the full block of an aligned message among them."""
    crypto = Crypto([decode_key(KEY)], APPID)
    for size in range(70):
        assert crypto.decrypt(crypto.encrypt(b"m" * size, RANDOM16)) == b"m" * size


def test_another_app_id_is_refused_with_the_one_error():
    """A message for another account, a bad padding and bad base64 read the same: no oracle."""
    other = Crypto([decode_key(KEY)], "wx00aa11bb22cc33de")
    said = set()
    for broken in (VECTORS[0][1], VECTORS[0][1][:-8] + "AAAAAAA=", "%%%", ""):
        with pytest.raises(SignatureError) as caught:
            other.decrypt(broken)
        said.add(str(caught.value))
    assert said == {"the message cannot be decrypted"}


def test_a_previous_key_still_decrypts():
    """Rotation: current first, the previous one still reads."""
    channel = adapter(encoding_aes_key=["c2FuZGJveC1vbmx5LW5vdC1hLXJlYWwta2V5LTAwMDE", KEY])
    body = (
        f"<xml><ToUserName><![CDATA[gh_x]]></ToUserName><Encrypt><![CDATA[{VECTORS[2][1]}]]></Encrypt></xml>".encode()
    )
    verified = channel.verify(request(body, msg_signature=VECTORS[2][2], timestamp=TS, nonce=NONCE, encrypt_type="aes"))
    assert verified.body == V3_XML.encode()


def test_with_a_key_a_plain_body_is_refused():
    """The plain signature does not cover the body: whoever saw one URL could forge any message."""
    with pytest.raises(SignatureError):
        adapter().verify(request(V3_XML.encode(), signature=signature(TOKEN, TS, NONCE), timestamp=TS, nonce=NONCE))


def test_in_compatible_mode_only_the_encrypted_part_is_believed():
    """A forged plain part beside a good encrypted one changes nothing."""
    forged = V3_XML.replace("会员卡 hi", "退订").replace(
        "</xml>", f"<Encrypt><![CDATA[{VECTORS[2][1]}]]></Encrypt></xml>"
    )
    channel = adapter(mode="compatible")
    verified = channel.verify(request(forged.encode(), msg_signature=VECTORS[2][2], timestamp=TS, nonce=NONCE))
    [event] = channel.parse(verified).events
    assert event.body.text == "会员卡 hi"


def test_without_a_key_the_plain_signature_counts():
    """Plain mode works without a key, and only then."""
    channel = adapter(encoding_aes_key=None)
    good = request(V3_XML.encode(), signature=signature(TOKEN, TS, NONCE), timestamp=TS, nonce=NONCE)
    [event] = channel.parse(channel.verify(good)).events
    assert event.subject == "address:wechat-main:oFAKEbuyer0001"
    with pytest.raises(SignatureError):
        channel.verify(request(V3_XML.encode(), signature="0" * 40, timestamp=TS, nonce=NONCE))
    whole = f"<xml><Encrypt><![CDATA[{VECTORS[2][1]}]]></Encrypt></xml>".encode()
    sealed = request(whole, signature=signature(TOKEN, TS, NONCE), timestamp=TS, nonce=NONCE, encrypt_type="aes")
    with pytest.raises(SignatureError, match="no encoding_aes_key"):
        channel.verify(sealed)


def test_a_request_that_somebody_kept_is_refused():
    """Over five minutes from this machine's clock, either way, or with no time at all; 0 takes any."""
    whole = f"<xml><Encrypt><![CDATA[{VECTORS[2][1]}]]></Encrypt></xml>".encode()
    for stamp, good in ((TS, True), ("1759999700", True), ("1759999699", False), ("1760000301", False), ("", False)):
        sent = request(whole, msg_signature=signature(TOKEN, stamp, NONCE, VECTORS[2][1]), timestamp=stamp, nonce=NONCE)
        if good:
            assert adapter().verify(sent).body == V3_XML.encode()
        else:
            with pytest.raises(SignatureError, match="clock"):
                adapter().verify(sent)
        assert adapter(timestamp_tolerance_s=0).verify(sent).body == V3_XML.encode()
    plain = request(
        V3_XML.encode(), signature=signature(TOKEN, "1759990000", NONCE), timestamp="1759990000", nonce=NONCE
    )
    with pytest.raises(SignatureError, match="clock"):
        adapter(encoding_aes_key=None).verify(plain)


def test_handshake():
    """echostr comes back verbatim for the right signature only."""
    good = request(signature=signature(TOKEN, TS, NONCE), timestamp=TS, nonce=NONCE, echostr="4375120948345356249")
    assert adapter().challenge(good).body == b"4375120948345356249"
    with pytest.raises(SignatureError):
        adapter().challenge(request(signature="x", timestamp=TS, nonce=NONCE, echostr="1"))


def test_configuration_that_could_be_forged_is_refused():
    """Plain mode beside a key, safe mode without one, passive replies: faults that say what would be right."""
    for changes in (
        {"mode": "plain"},
        {"mode": "safe", "encoding_aes_key": None},
        {"reply": "passive"},
        {"encoding_aes_key": "short"},
    ):
        with pytest.raises((ValueError, ConfigError)):
            adapter(**changes)


# --- pushes -----------------------------------------------------------------------------------------------------------

HEAD = "<ToUserName><![CDATA[gh_fakeshop0001]]></ToUserName><FromUserName><![CDATA[oFAKEbuyer0001]]></FromUserName><CreateTime>1760000000</CreateTime>"


def push(inner: str):
    return adapter().parse(Verified(request(), f"<xml>{HEAD}{inner}</xml>".encode()))


def message(kind: str, inner: str = "") -> str:
    return f"<MsgType><![CDATA[{kind}]]></MsgType>{inner}<MsgId>24000000000000002</MsgId>"


def event(name: str, inner: str = "") -> str:
    return f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{name}]]></Event>{inner}"


FIXTURES = {
    "text": (message("text", "<Content><![CDATA[你好]]></Content>"), MessageReceived(text="你好")),
    "menu tap": (
        message("text", "<Content>满意</Content><bizmsgmenuid>claim:RACE50</bizmsgmenuid>"),
        MessageReceived(text="满意", payload="claim:RACE50", opener="click"),
    ),
    "voice": (message("voice", "<MediaId>m1</MediaId><Recognition>我要退货</Recognition>"), None),
    "image": (message("image", "<PicUrl>http://mmbiz.example/p</PicUrl><MediaId>m1</MediaId>"), None),
    "location": (
        message("location", "<Location_X>23.1</Location_X><Location_Y>113.3</Location_Y><Label>广州</Label>"),
        MessageReceived(text="广州", kind="location"),
    ),
    "link": (message("link", "<Title>t</Title><Url>https://x.example</Url>"), None),
    "unknown": (message("hologram"), MessageReceived(kind="other")),
    "subscribe": (event("subscribe", "<EventKey><![CDATA[qrscene_card:42]]></EventKey>"), Followed(scene="card:42")),
    "plain subscribe": (event("subscribe", "<EventKey></EventKey>"), Followed()),
    "unsubscribe": (event("unsubscribe"), Unfollowed()),
    "scan": (event("SCAN", "<EventKey>card</EventKey>"), Scanned(scene="card")),
    "click": (event("CLICK", "<EventKey>member_card</EventKey>"), Tapped(payload="member_card", opener="click")),
    "staff took": (event("kf_create_session", "<KfAccount>a1@shopwx</KfAccount>"), StaffTook(by="a1@shopwx")),
    "staff switched": (
        event("kf_switch_session", "<FromKfAccount>a1@shopwx</FromKfAccount><ToKfAccount>a2@shopwx</ToKfAccount>"),
        StaffTook(by="a2@shopwx"),
    ),
    "staff left": (event("kf_close_session", "<KfAccount>a1@shopwx</KfAccount>"), StaffReleased(by="a1@shopwx")),
    "template sent": (
        event("TEMPLATESENDJOBFINISH", "<MsgID>33</MsgID><Status>success</Status>"),
        StatusReported(state="delivered", provider_id="33"),
    ),
    "template refused": (
        event("TEMPLATESENDJOBFINISH", "<MsgID>33</MsgID><Status>failed: user block</Status>"),
        StatusReported(state="failed", provider_id="33", reason="rejected"),
    ),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_every_push_becomes_its_event(name):
    """Each push gives exactly its event, twice the same, with aware times in milliseconds."""
    inner, expected = FIXTURES[name]
    [found] = push(inner).events
    assert found == push(inner).events[0]
    assert found.at == 1_760_000_000_000
    if expected is not None:
        assert expected == found.body


def test_events_of_one_second_are_told_apart():
    """subscribe and SCAN in one second must not swallow each other."""
    ids = {push(event(name, "<EventKey>a</EventKey>")).events[0].id for name in ("subscribe", "SCAN", "CLICK")}
    assert len(ids) == 3


def test_useless_events_are_counted():
    """VIEW, LOCATION and the like are known and of no use."""
    for name in (
        "VIEW", "view_miniprogram", "LOCATION", "pic_sysphoto", "location_select", "MASSSENDJOBFINISH",
        "subscribe_msg_popup_event", "subscribe_msg_change_event", "FREEPUBLISHJOBFINISH", "user_info_modified",
        "user_get_card", "card_pass_check", "user_authorization_revoke", "nonsense",
    ):  # fmt: skip
        assert push(event(name)).ignored == (name,)
        assert push(event(name)).events == ()


def test_a_buyer_who_closed_the_whole_account_is_gone():
    """The push comes from a platform account: whom it is about stands in OpenID."""
    inner = "<OpenID>oFAKEbuyer0009</OpenID><AppID>wx00aa11bb22cc33dd</AppID><RevokeInfo></RevokeInfo>"
    [found] = push(event("user_authorization_cancellation", inner)).events
    assert (found.subject, found.body) == ("address:wechat-main:oFAKEbuyer0009", Unfollowed())
    assert push(event("user_authorization_cancellation")).ignored == ("user_authorization_cancellation",)


def test_news_of_the_account_itself_is_an_alert_with_its_date_or_reason():
    """Certification that runs out takes the interfaces with it."""
    for name, inner, detail in (
        ("verify_expired", "<ExpiredTime>1800000000</ExpiredTime>", "expires 2027-01-15"),
        ("naming_verify_fail", "<FailTime>1</FailTime><FailReason>no licence</FailReason>", "no licence"),
        ("annual_renew", "<ExpiredTime>soon</ExpiredTime>", ""),
    ):
        [found] = push(event(name, inner)).events
        assert found.subject == "account:wechat-main"
        assert found.body == AccountAlert(name, detail)


def test_results_of_notices_name_the_message():
    """One or several entries, as siblings or in a JSON list; ids beyond 2^53 stay exact."""
    entry = "<List><TemplateId>t</TemplateId><MsgID>{}</MsgID><ErrorCode>{}</ErrorCode></List>"
    inner = entry.format(1800000000000000001, 0) + entry.format(1800000000000000002, 43101)
    found = push(event("subscribe_msg_sent_event", f"<SubscribeMsgSentEvent>{inner}</SubscribeMsgSentEvent>")).events
    results = [e.body for e in found if isinstance(e.body, StatusReported)]
    assert [(one.provider_id, one.state) for one in results] == [
        ("1800000000000000001", "delivered"),
        ("1800000000000000002", "failed"),
    ]
    for status, state in (
        ("success", "delivered"),
        ("failed: system failed", "failed"),
        ("failed:freq limit", "failed"),
    ):
        [one] = push(
            event("TEMPLATESENDJOBFINISH", f"<MsgID>3300000000000000001</MsgID><Status>{status}</Status>")
        ).events
        assert (one.body.provider_id, one.body.state) == ("3300000000000000001", state)


def test_a_json_push_is_the_same_push():
    """The console's other data format: the same keys, numbers as numbers or as text."""
    for created in (1760000000, "1760000000"):
        fields = {
            "ToUserName": "gh_x", "FromUserName": "oFAKEbuyer0001", "CreateTime": created, "MsgType": "text",
            "Content": "你好", "MsgID": 24000000000000002,
        }  # fmt: skip
        [found] = adapter().parse(Verified(request(), json.dumps(fields).encode())).events
        assert (found.id, found.at) == ("wechat-main|24000000000000002", 1_760_000_000_000)
        assert found.body == MessageReceived(text="你好")


BOMB = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><xml><FromUserName>&b;</FromUserName></xml>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml>",
        b"not xml",
        BOMB,
        b"<a>" * 500,
        b"<xml>" + b"<i>x</i>" * 200 + b"</xml>",
        b"<a>" * 21 + b"</a>" * 21,
        b"\xff\xfe\x00",
        b'{"a":',
        b"[]",
        b"<xml></xml>",
    ],
)
def test_damaged_bodies_are_refused_by_their_error(body):
    """Only PayloadError, whatever comes."""
    with pytest.raises(PayloadError):
        adapter().parse(Verified(request(), body))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FIXTURES)), st.data())
def test_mutated_pushes_give_events_or_the_one_error(name, data):
    """Dropped, doubled, emptied, cut and garbled: events or PayloadError, nothing else."""
    body = f"<xml>{HEAD}{FIXTURES[name][0]}</xml>"
    tags = re.findall(r"<(\w+)>.*?</\1>", body[5:-6], flags=re.DOTALL)
    tag = data.draw(st.sampled_from(tags))
    how = data.draw(st.sampled_from(["drop", "double", "empty", "nest", "cut", "bytes"]))
    element = re.search(rf"<{tag}>.*?</{tag}>", body, flags=re.DOTALL)[0]
    changed = {
        "drop": body.replace(element, ""),
        "double": body.replace(element, element * 2),
        "empty": body.replace(element, f"<{tag}></{tag}>"),
        "nest": body.replace(element, f"<{tag}><x><y>1</y></x></{tag}>"),
        "cut": body[: data.draw(st.integers(0, len(body)))],
        "bytes": body,
    }[how].encode()
    if how == "bytes":
        at = data.draw(st.integers(0, len(changed) - 1))
        changed = changed[:at] + data.draw(st.binary(max_size=4)) + changed[at + 1 :]
    try:
        adapter().parse(Verified(request(), changed))
    except PayloadError:
        pass


# --- sends ------------------------------------------------------------------------------------------------------------


def out(content, **changes) -> OutboundMessage:
    return OutboundMessage("m_1", "b_1", "h", "wechat-main", "oBuyer", "reply", content, 1, **changes)


async def test_a_text_is_sent_unescaped():
    """UTF-8 as it is: WeChat may refuse \\u escapes."""
    http = Http()
    await adapter(http).send(out(Text("您的优惠券")))
    [(_, url, body)] = http.calls
    assert url.endswith("/cgi-bin/message/custom/send?access_token=AT1")
    assert body.decode() == '{"touser":"oBuyer","msgtype":"text","text":{"content":"您的优惠券"}}'


async def test_choices_become_a_menu_and_numbered_texts_stay_texts():
    """A menu of options with their payloads; a text that already numbers them is sent as it is."""
    http = Http()
    choices = (Choice("claim:A", "领 A"), Choice("claim:B", "领 B"))
    await adapter(http).send(out(Text("选一张", choices)))
    await adapter(http).send(out(Text("1 领 A 2 领 B", choices, numbered=True)))
    menu, plain = (json.loads(call[2]) for call in http.calls)
    assert menu["msgmenu"]["list"] == [{"id": "claim:A", "content": "领 A"}, {"id": "claim:B", "content": "领 B"}]
    assert plain["msgtype"] == "text"


async def test_long_texts_are_cut_between_characters():
    """At most 2048 bytes a piece, nothing lost."""
    http = Http()
    await adapter(http).send(out(Text("好👨‍👩‍👧" * 400)))
    texts = [json.loads(call[2])["text"]["content"] for call in http.calls]
    assert "".join(texts) == "好👨‍👩‍👧" * 400
    assert all(len(text.encode()) <= 2048 for text in texts)


async def test_long_texts_end_with_a_line_and_links_stay_whole():
    """A cut falls after a line where there is one; a link that does not fit begins the next piece."""
    http = Http()
    text = "".join(f"第{number}行：{'字' * 40}\n" for number in range(30))
    button = Button('去"付款" <这里>', 'https://x.example/?a=1&b="2"')
    await adapter(http).send(out(Text(text + "尾" * 500, buttons=(button,))))
    texts = [json.loads(call[2])["text"]["content"] for call in http.calls]
    assert all(piece.endswith("\n") for piece in texts[:2])
    assert all(len(piece.encode()) <= 2048 for piece in texts)
    assert "".join(texts).count('<a href="https://x.example/?a=1&b=%222%22">去"付款" ＜这里></a>') == 1
    http = Http()
    await adapter(http).send(out(Text("满" * 660, buttons=(button,))))
    assert json.loads(http.calls[1][2])["text"]["content"].startswith("<a href=")


@pytest.mark.parametrize("refusal", [{"errcode": 45047}, {"errcode": 45009}, {"errcode": -1}, (502, b"bad")])
async def test_a_later_piece_that_is_refused_is_in_doubt(refusal):
    """Half of it was read already: trying again would repeat it. Where the first is refused, nothing was, and the rest waits."""
    http = Http({"errcode": 0}, refusal)
    with pytest.raises(InDoubtError):
        await adapter(http).send(out(Text("好" * 1500)))
    assert len(http.calls) == 2
    http = Http({"errcode": 45047})
    with pytest.raises(WindowClosedError):
        await adapter(http).send(out(Text("好" * 1500)))
    assert len(http.calls) == 1


async def test_a_media_id_that_is_gone_is_made_once_more():
    """40007: uploaded again, sent again, once; the second 40007 is final."""
    http = Http({"media_id": "M1"}, {"errcode": 40007}, {"media_id": "M2"}, {"errcode": 0})
    await adapter(http).send(out(Picture("801234567890", "卡号")))
    assert [json.loads(http.calls[n][2])["image"]["media_id"] for n in (1, 3)] == ["M1", "M2"]
    http = Http({"media_id": "M1"}, {"errcode": 40007}, {"media_id": "M2"}, {"errcode": 40007})
    with pytest.raises(ContentError):
        await adapter(http).send(out(Picture("801234567890", "卡号")))
    assert len(http.calls) == 4
    http = Http({"media_id": "M1"}, {"errcode": 45001})  # whatever else is wrong with it stays wrong
    with pytest.raises(ContentError):
        await adapter(http).send(out(Picture("801234567890", "卡号")))
    assert len(http.calls) == 2


@pytest.mark.parametrize(
    "answer", [InDoubtError("cut"), (502, b"bad"), (200, b"<html>"), {"errcode": 0}, {"media_id": ""}]
)
async def test_an_upload_or_a_token_without_answer_leaves_no_doubt(answer):
    """Neither reaches the buyer, so both are simply done again: nothing was accepted."""
    with pytest.raises(ProviderDownError):
        await adapter(Http(answer)).send(out(Picture("801234567890", "卡号")))
    if answer != {"errcode": 0} and answer != {"media_id": ""}:
        with pytest.raises(ProviderDownError):
            await adapter(Http(answer)).check()


async def test_notices_are_made_to_fit_their_fields():
    """Prose is cut and cleaned, nothing is empty; half a number or amount is refused by its field's name."""
    http = Http({"errcode": 0, "msgid": 3300000000000000001})
    fields = {
        "thing1": "亚麻衬衫😀\n白色 加大码 两件 送礼袋一只和手写卡",
        "thing2": " ",
        "character_string3": "",
        "name4": "欧阳娜娜司马相如诸葛",
        "phrase5": "已经发货了",
        "amount6": "¥25.80",
        "const7": "顺丰℃",
    }
    receipt = await adapter(http).send(out(Notice("tpl", fields)))
    data = {name: one["value"] for name, one in json.loads(http.calls[0][2])["data"].items()}
    assert data == {
        "thing1": "亚麻衬衫 白色 加大码 两件 送礼袋一…",
        "thing2": "无",
        "character_string3": "-",
        "name4": "欧阳娜娜司马相如诸葛",
        "phrase5": "已经发货了",
        "amount6": "¥25.80",
        "const7": "顺丰℃",
    }
    assert receipt.provider_id == "3300000000000000001"
    with pytest.raises(ContentError, match="character_string1"):
        await adapter().send(out(Notice("tpl", {"character_string1": "9" * 33})))


@given(st.sampled_from(["thing1", "name2", "phrase3", "date4", "x"]), st.text(max_size=60))
def test_whatever_is_filled_in_fits(name, value):
    """Never empty, never a line break, a control or half a character, never over the type's length."""
    fitted = fit(name, value)
    most = {"thing1": 20, "name2": 20, "phrase3": 5}.get(name, 200)
    assert 0 < len(fitted) <= most
    assert fitted.encode().decode().isprintable()


async def test_a_notice_that_may_not_be_sent_does_not_stop_the_chat():
    """Rights and day quota of the template interface are its own: staff are told, the account goes on."""
    for code, error in ((48001, RejectedError), (43106, RejectedError), (45009, TemporaryError)):
        with pytest.raises(error) as caught:
            await adapter(Http({"errcode": code})).send(out(Notice("tpl", {"thing1": "a"})))
        assert type(caught.value) is error
        assert caught.value.alert
    with pytest.raises(AccountError):  # a token that stays wrong is the account's, whatever is sent
        await adapter(Http({"errcode": 40001}, {"errcode": 40001})).send(out(Notice("tpl", {"thing1": "a"})))


async def test_an_error_says_what_support_asks_for():
    """The request id, the refused field and the address for the whitelist; nothing else of the answer."""
    for answer, words in (
        ({"errcode": 45015, "errmsg": "out of time rid: 66f0aa11-0bb22cc3-1dd44ee5"}, "rid 66f0aa11-0bb22cc3-1dd44ee5"),
        ({"errcode": 47003, "errmsg": "argument invalid! data.thing2.value invalid rid: x"}, "thing2"),
        (
            {"errcode": 40164, "errmsg": "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist"},
            "203.0.113.7",
        ),
    ):
        with pytest.raises(SendError) as caught:
            await adapter(Http(answer)).send(out(Text("秘密的话")))
        assert words in str(caught.value)
    assert caught.value.pause_s == 300


async def test_pictures_are_uploaded_and_notices_use_the_template_api():
    """The card's QR code as an image; a notice with its fields and our id."""
    http = Http({"media_id": "M1"}, {"errcode": 0}, {"errcode": 0, "msgid": 33})
    channel = adapter(http)
    await channel.send(out(Picture("801234567890", "卡号")))
    receipt = await channel.send(out(Notice("tpl", {"thing1": "衬衫"})))
    assert b"\x89PNG" in http.calls[0][2]
    assert json.loads(http.calls[1][2])["image"] == {"media_id": "M1"}
    assert json.loads(http.calls[2][2])["client_msg_id"] == "m_1"
    assert receipt.provider_id == "33"
    await channel.send(out(Card("标题", "说明", url="https://x.example")))


async def test_a_refused_token_is_replaced_once_and_the_call_repeated_once():
    """40001: another token, one repeat; refused again it is the account's fault."""
    tokens, http = Tokens(), Http({"errcode": 40001}, {"errcode": 0})
    await adapter(http, tokens).send(out(Text("a")))
    assert tokens.failed == ["AT1"]
    assert http.calls[1][1].endswith("AT2")
    with pytest.raises(AccountError):
        await adapter(Http({"errcode": 40001}, {"errcode": 40001})).send(out(Text("a")))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"errcode": 45015}, WindowClosedError),
        ({"errcode": 45047}, WindowClosedError),
        ({"errcode": 43004}, UnreachableError),
        ({"errcode": 45009}, ThrottledError),
        ({"errcode": 45002}, ContentError),
        ({"errcode": 48001}, AccountError),
        ((200, b"<html>"), InDoubtError),
        ((502, b"bad gateway"), InDoubtError),
    ],
)
async def test_errors_inside_a_200_become_the_closed_tree(answer, error):
    """HTTP says 200; the code decides. Neither token nor secret is in the error."""
    with pytest.raises(error) as caught:
        await adapter(Http(answer)).send(out(Text("秘密的话")))
    for leak in ("AT1", "s3cret-app", "秘密的话", "oBuyer"):
        assert leak not in str(caught.value)


async def test_check_names_the_address_to_whitelist():
    """40164: the console's IP whitelist lacks this machine."""
    http = Http({"errcode": 40164, "errmsg": "invalid ip 203.0.113.7, not in whitelist rid: x"})
    with pytest.raises(AccountError, match=r"203\.0\.113\.7"):
        await adapter(http).check()
    good = Http({"access_token": "T", "expires_in": 7200})
    assert APPID in await adapter(good).check()
    assert Token("T", 1).value == "T"
