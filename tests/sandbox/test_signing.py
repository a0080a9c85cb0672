"""What the simulated providers sign, against published vectors: a fault there would hide one in the adapters."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import SecretStr

from sandbox.providers import twilio, wechat
from sandbox.providers.alibaba import _signature
from sandbox.providers.messenger import MessengerProvider
from sandbox.providers.twilio import TwilioProvider
from sandbox.providers.wechat import WeChatProvider
from sandbox.shop import ShopProvider

KEY43 = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE"
APP_ID = "wx00aa11bb22cc33dd"


def world(now: int):
    clock = SimpleNamespace(real=lambda: now * 1000, now=lambda: now * 1000)
    return SimpleNamespace(
        now_s=now, phones=SimpleNamespace(clock=clock), base="http://gw", public_url="https://gw.example.com"
    )


def test_wechat_plain_signatures_are_the_published_ones():
    """The three vectors that the provider publishes, and the query signature of the encrypted ones."""
    assert wechat._sign("AAAAA", "1714036504", "1514711492") == "f464b24fc39322e44b38aa78f5edd27bd1441696"
    assert wechat._sign("AAAAA", "1714037059", "486452656") == "899cf89e464efb63f54ddac96b0a0a235f53aa78"
    assert wechat._sign("AAAAA", "1715943329", "1590219412") == "cc0c594499c1634947d5b502f158ee518947db27"


def test_wechat_encryption_is_the_known_one(monkeypatch):
    """With the random bytes pinned, ciphertext and message signature match, also where the text fills its block."""
    monkeypatch.setattr(wechat.os, "urandom", lambda size: b"R4nd0mSixteenBy!"[:size])
    short = wechat._encrypt(KEY43, APP_ID, "hi")
    full = wechat._encrypt(KEY43, APP_ID, "a" * 26)
    assert short == "aGmuggls+XNS0Mezp6VmL0AtVS7ZLRvd6wG/IaQ9AAWFF5wiKveIUV6HfiEnMzwoWlZeDPp62vBihnD1UkojOg=="
    assert full == (
        "aGmuggls+XNS0Mezp6VmL0EdNx/+7vuwfxXntdgOX4UdUUfaXEGIgkcPRHJHT8j7VRFSwwZfAiXbHweXTiPo8EZHB2Dqk4nA6uuvuuV5"
        "udcCoBTPAdZRPoH+796rLC9m"
    )
    parts = ("tok3n_Shop01", "1760000000", "839201744")
    assert wechat._sign(*parts, short) == "f7b2cee4b476a33bff0f8de8080d5ae0fcfcdeff"
    assert wechat._sign(*parts, full) == "94666d0438c40d8344a1ffe0e9886dfff8c614ac"


def _open(key43: str, encrypted: str) -> tuple[bytes, bytes]:
    key = base64.b64decode(key43 + "=")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = decryptor.update(base64.b64decode(encrypted)) + decryptor.finalize()
    plain = plain[: -plain[-1]]
    size = int.from_bytes(plain[16:20], "big")
    return plain[20 : 20 + size], plain[20 + size :]


def _sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def _wechat(mode: str, key: str = KEY43):
    config = SimpleNamespace(
        token=SecretStr("tok3n_Shop01"), app_id=APP_ID, mode=mode, encoding_aes_key=SecretStr(key) if key else None
    )
    return WeChatProvider(world(1_760_000_000), {"wx": config})


def test_a_wechat_push_in_safe_mode_hides_its_fields():
    """Safe mode shows ToUserName and Encrypt only; both signatures hold; inside is the message with our app id."""
    url, body, _ = _wechat("safe").push("wx", "oBuyer1", "<MsgType>text</MsgType>")
    query = dict(parse_qsl(urlsplit(url).query))
    text = body.decode()
    encrypted = text.partition("<Encrypt><![CDATA[")[2].partition("]]>")[0]
    assert "oBuyer1" not in text
    parts = ["tok3n_Shop01", query["timestamp"], query["nonce"]]
    assert query["signature"] == _sha1(*parts)
    assert query["msg_signature"] == _sha1(*parts, encrypted)
    inside, tail = _open(KEY43, encrypted)
    assert b"<FromUserName><![CDATA[oBuyer1]]></FromUserName>" in inside
    assert tail == APP_ID.encode()


def test_a_wechat_push_in_compatible_mode_shows_both():
    """Compatible mode carries the plain fields beside the encrypted ones; plain mode has neither key nor Encrypt."""
    _, body, _ = _wechat("compatible").push("wx", "oBuyer1", "<MsgType>text</MsgType>")
    assert b"oBuyer1" in body
    assert b"<Encrypt>" in body
    url, body, _ = _wechat("plain", key="").push("wx", "oBuyer1", "<MsgType>text</MsgType>")
    assert b"<Encrypt>" not in body
    assert "msg_signature" not in url


def test_a_repeated_wechat_push_keeps_its_creation_time():
    """CreateTime is part of an event's identity, so a further try must not change it."""
    _, body, _ = _wechat("plain", key="").push("wx", "oBuyer1", "", "1759999999")
    assert b"<CreateTime>1759999999</CreateTime>" in body


def test_messenger_signs_the_escaped_text():
    """The body on the wire has no byte beyond ASCII, escapes slashes, and is what the signature covers."""
    config = SimpleNamespace(page_id="900", app_secret=SecretStr("shop-app-secret-0123456789abcdef"))
    provider = MessengerProvider(world(1_760_000_000), {"page": config})
    _, body, headers = provider.webhook("page", {"message": {"text": "会员 https://shop.example/d"}})
    assert body.isascii()
    assert b"https:\\/\\/shop.example" in body
    want = hmac.new(b"shop-app-secret-0123456789abcdef", body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={want}"
    assert json.loads(body)["entry"][0]["messaging"][0]["message"]["text"] == "会员 https://shop.example/d"


def test_twilio_signs_the_known_form():
    """The published form and token give the published signature, blank values included."""
    provider = TwilioProvider(world(1_760_000_000), {})
    config = SimpleNamespace(auth_token=SecretStr("a1b2c3d4e5f60718293a4b5c6d7e8f90"))
    fields = {
        "AccountSid": "AC00112233445566778899aabbccddeeff", "Body": "Hi, 订单? +1 & done", "From": "+15005550006",
        "FromCity": "", "MessageSid": "SM0123456789abcdef0123456789abcdef", "NumMedia": "0", "To": "+15005550001",
        "ToCountry": "US",
    }  # fmt: skip
    _, body, headers = provider._signed(config, "https://gw.example.com/hooks/twilio/in?shop=7", "http://gw", fields)
    assert headers["X-Twilio-Signature"] == "uFjKgX2UQsLI+tajfERyvLGBWp8="
    assert dict(parse_qsl(body.decode(), keep_blank_values=True)) == fields


def test_twilio_counts_parts_as_carriers_do():
    """160/153 septets, 70/67 UTF-16 units, brackets count twice."""
    sizes = {"a" * 160: 1, "a" * 161: 2, "a" * 306: 2, "a" * 307: 3, "[" * 80: 1, "[" * 81: 2, "短" * 70: 1}
    sizes |= {"短" * 71: 2, "短" * 134: 2, "😀" * 35: 1, "😀" * 36: 2, "a" * 159 + "’": 3}
    assert {text: twilio._parts(text) for text in sizes} == sizes


def test_the_shop_signs_the_known_envelope():
    """The published secret, id, time and body give the published signature of Standard Webhooks."""
    config = SimpleNamespace(secret=SecretStr("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
    shop = ShopProvider(world(1_760_000_000), "main", config, {})
    body = b'{"type":"order.paid","timestamp":"2026-10-01T12:00:00Z","data":{"order_id":"A1"}}'
    _, _, headers = shop._signed("msg_0001", body)
    assert headers["webhook-signature"] == "v1,jLoW/K+ohmze/8wiKK2mM1QpnliyFw8VniEYUwWUluY="


def test_alibaba_checks_the_signature_over_query_headers_and_body():
    """Another key, header or body is another signature."""
    request = SimpleNamespace(method="POST", query={}, headers={"host": "dysmsapi.aliyuncs.com", "x-acs-date": "1"})
    signed = ["host", "x-acs-date"]
    right = _signature(request, b"A=1", signed, "key")
    canonical = (
        "POST\n/\n\nhost:dysmsapi.aliyuncs.com\nx-acs-date:1\n\nhost;x-acs-date\n" + hashlib.sha256(b"A=1").hexdigest()
    )
    text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    assert right == hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest()
    assert right != _signature(request, b"A=2", signed, "key")
    assert right != _signature(request, b"A=1", signed, "other")


def test_messenger_signs_the_published_body():
    """Escapes in lower case, slashes escaped: byte by byte the published body, and its signature."""
    config = SimpleNamespace(page_id="900100200300400", app_secret=SecretStr("shop-app-secret-0123456789abcdef"))
    item = {
        "sender": {"id": "7001002003004005"}, "recipient": {"id": "900100200300400"}, "timestamp": 1767225600900,
        "message": {"mid": "m_TEST0002", "text": "café 会员日 🎁 https://shop.example/d?c=1"},
    }  # fmt: skip
    _, body, headers = MessengerProvider(world(1_767_225_601), {"m": config}).webhook("m", item)
    assert len(body) == 299
    assert headers["X-Hub-Signature-256"] == ("sha256=c59cf7546bd7c4a109440b8b6468bed306e0cdf7098f7afd3042d072c2f9e52a")


def test_alibaba_computes_the_published_signatures():
    """The library's own answers for a send by query and by form."""
    headers = {
        "host": "dysmsapi.aliyuncs.com", "x-acs-action": "SendSms", "x-acs-version": "2017-05-25",
        "x-acs-date": "2026-11-22T08:00:00Z", "x-acs-signature-nonce": "0123456789abcdef0123456789abcdef",
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
    }  # fmt: skip
    query = {
        "OutId": "ord-7", "PhoneNumbers": "13900001234", "SignName": "某某商城", "TemplateCode": "SMS_123456789",
        "TemplateParam": '{"order":"A-7","name":"王 五~*"}',
    }  # fmt: skip
    request = SimpleNamespace(method="POST", query=query, headers=headers)
    signed = sorted(headers)
    by_query = "26319cbb82d1f132893b5d5f99542e24268628bce51391c674a325730c91dd08"
    assert _signature(request, b"", signed, "testAkSecret") == by_query
    body = (
        b"OutId=ord-7&PhoneNumbers=13900001234&SignName=%E6%9F%90%E6%9F%90%E5%95%86%E5%9F%8E&TemplateCode=SMS_123456789"
        b"&TemplateParam=%7B%22order%22%3A%22A-7%22%2C%22name%22%3A%22%E7%8E%8B+%E4%BA%94~%2A%22%7D"
    )
    more = {
        "content-type": "application/x-www-form-urlencoded",
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    request = SimpleNamespace(method="POST", query={}, headers=headers | more)
    by_form = "596230d4e40fb68f0810f0992bdaeec9ace733a2c751591efaff0163c377da12"
    assert _signature(request, body, sorted(headers | more), "testAkSecret") == by_form
