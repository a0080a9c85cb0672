"""Who runs in the benchmark: how each is started, fed and answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlencode

from bench.loadgen import http_answer

HERE = Path(__file__).parent
SECRET = b"s3cret-s3cret-s3cret"
PAGE = "1234567890"
AES_KEY = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE"
APP_ID = "wx00aa11bb22cc33dd"
SHOP_KEY = b"0123456789abcdef0123456789abcdef"
TWILIO_TOKEN = "a1b2c3d4e5f60718293a4b5c6d7e8f90"  # noqa: S105  # invented


def _free_ports(*names: str) -> dict[str, int]:
    """Ports that the system chose, so that two benchmarks can run side by side."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    for one in sockets:
        one.close()
    return ports


PORTS = _free_ports("provider", "redis", "app")
Webhook = Callable[[str, str, int], bytes]


@dataclass
class Contestant:
    """`command` gets PORT, REDIS_PORT and PROV_PORT in its environment; replies go to the provider's port."""

    name: str
    what: str
    command: list[str]
    webhook: Webhook
    answer: Callable[[bytes, bytes], bytes] = staticmethod(lambda url, body: http_answer(b'{"ok":true}'))
    env: dict[str, str] = field(default_factory=dict)
    passive: bool = False
    rival: bool = False
    cwd: Path | None = None
    prime: Webhook | None = None  # what each buyer says before the measurement


def request(path: str, body: bytes, headers: list[tuple[str, str]], kind: str = "application/json") -> bytes:
    """A raw HTTP request."""
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers)
    head = f"POST {path} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: provider/1.0\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def messenger(path: str, secret: bytes = SECRET, words: str = "echo") -> Webhook:
    """A signed Messenger webhook."""

    def build(buyer: str, token: str, seq: int) -> bytes:
        now = int(time.time() * 1000)
        item = {
            "sender": {"id": str(7_000_000_000 + int(buyer[1:]))},
            "recipient": {"id": PAGE},
            "timestamp": now,
            "message": {"mid": f"m_{seq:012d}x", "text": f"{words} where is my order {token}?"},
        }
        body = json.dumps({"object": "page", "entry": [{"id": PAGE, "time": now, "messaging": [item]}]}).encode()
        return request(path, body, [("X-Hub-Signature-256", "sha256=" + hmac.new(secret, body, "sha256").hexdigest())])

    return build


def _xml(buyer: str, token: str, seq: int) -> str:
    return (
        f"<xml><ToUserName><![CDATA[gh_bench]]></ToUserName><FromUserName><![CDATA[oBench{buyer}]]></FromUserName>"
        f"<CreateTime>{int(time.time())}</CreateTime><MsgType><![CDATA[text]]></MsgType>"
        f"<Content><![CDATA[echo where is my order {token}?]]></Content><MsgId>{6046114466000000000 + seq}</MsgId></xml>"
    )


def _sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def wechat_plain(path: str) -> Webhook:
    """A plain WeChat push, for rivals."""

    def build(buyer: str, token: str, seq: int) -> bytes:
        now, nonce = str(int(time.time())), str(seq)
        query = f"signature={_sha1('token123', now, nonce)}&timestamp={now}&nonce={nonce}&openid={buyer}"
        return request(f"{path}?{query}", _xml(buyer, token, seq).encode(), [], "text/xml")

    return build


def wechat_safe(path: str) -> Webhook:
    """An encrypted WeChat push (safe mode)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # only here

    key = base64.b64decode(AES_KEY + "=")

    def build(buyer: str, token: str, seq: int) -> bytes:
        data = _xml(buyer, token, seq).encode()
        plain = b"0123456789abcdef" + struct.pack(">I", len(data)) + data + APP_ID.encode()
        pad = 32 - len(plain) % 32
        encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        encrypted = base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()
        now, nonce = str(int(time.time())), str(seq)
        query = f"timestamp={now}&nonce={nonce}&openid={buyer}&encrypt_type=aes&msg_signature={_sha1('token123', now, nonce, encrypted)}"
        body = f"<xml><ToUserName><![CDATA[gh_bench]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        return request(f"{path}?{query}", body.encode(), [], "text/xml")

    return build


def twilio(path: str, public: str) -> Webhook:
    """A signed Twilio form."""

    def build(buyer: str, token: str, seq: int) -> bytes:
        fields = {
            "AccountSid": "AC00112233445566778899aabbccddeeff",
            "Body": f"echo where is my order {token}?",
            "From": f"+8613{900000000 + int(buyer[1:])}",
            "MessageSid": f"SM{seq:032x}",
            "NumMedia": "0",
            "To": "+15005550006",
        }
        text = public + path + "".join(f"{k}{fields[k]}" for k in sorted(fields))
        signature = base64.b64encode(hmac.new(TWILIO_TOKEN.encode(), text.encode(), "sha1").digest()).decode()
        body = urlencode(fields).encode()
        return request(path, body, [("X-Twilio-Signature", signature)], "application/x-www-form-urlencoded")

    return build


def notice(path: str) -> Webhook:
    """A shop event, signed by Standard Webhooks: an order's parcel is on its way, which its buyer is told."""

    def build(buyer: str, token: str, seq: int) -> bytes:
        now, id = str(int(time.time())), f"evt_{seq}"
        order = {"id": f"o{seq}", "number": f"#{seq}", "items": [{"title": "Linen shirt", "qty": 1}]}
        data = {
            "order": order,
            "shipment": {"id": f"s{seq}", "carrier": "SF", "tracking_no": token},
            "buyer": {"address": f"messenger-main:{7_000_000_000 + int(buyer[1:])}"},
        }
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = json.dumps({"type": "shipment.created", "id": id, "occurred_at": when, "data": data}).encode()
        digest = hmac.new(SHOP_KEY, f"{id}.{now}.".encode() + body, "sha256").digest()
        signature = "v1," + base64.b64encode(digest).decode()
        headers = [("webhook-id", id), ("webhook-timestamp", now), ("webhook-signature", signature)]
        return request(path, body, headers)

    return build


def _wechat_answer(url: bytes, _: bytes) -> bytes:
    if b"stable_token" in url:
        return http_answer(b'{"access_token":"AT","expires_in":7200}')
    return http_answer(b'{"errcode":0,"errmsg":"ok"}')


def _messenger_answer(_: bytes, __: bytes) -> bytes:
    return http_answer(b'{"recipient_id":"u","message_id":"m_x"}')


def _twilio_answer(_: bytes, __: bytes) -> bytes:
    return http_answer(b'{"sid":"SM0","status":"queued","num_segments":"1"}', b"201 Created")


def contestants(venv: Path, beside: Path | None = None) -> list[Contestant]:
    """Ours on three channels, the reference pipelines, and the rivals (from their own virtual environment).

    `beside`: another checkout, whose gateway runs too, to compare a change in the same minutes.
    """
    rivals = str(venv / "bin" / "python")
    gateway = [sys.executable, "-m", "bench.serve", str(HERE.parent / "var" / "bench" / "config.toml")]
    public = f"http://127.0.0.1:{PORTS['app']}"
    peers = HERE / "peers"
    ref = {"FRONT": "aiohttp", "SENDER": "aiohttp", "REDIS": "tick"}
    ours = [
        Contestant("touchpoint", "Messenger, everything on, durable", gateway, messenger("/channels/messenger-main/webhook"), staticmethod(_messenger_answer)),
        Contestant("touchpoint-wechat", "WeChat safe mode", gateway, wechat_safe("/channels/wechat-main/webhook"), staticmethod(_wechat_answer)),
        Contestant("touchpoint-twilio", "Twilio form", gateway, twilio("/channels/sms-main/webhook", public), staticmethod(_twilio_answer)),
        Contestant(
            "touchpoint-notice", "shop event to its notice on Messenger", gateway, notice("/shops/main/webhook"), staticmethod(_messenger_answer),
            prime=messenger("/channels/messenger-main/webhook"),
        ),
    ]  # fmt: skip
    for one in ours:
        one.cwd = HERE.parent
    if beside is not None:
        ours = [
            two for one in ours for two in (one, replace(one, name=f"{one.name}@{beside.name}", cwd=beside.resolve()))
        ]
    return [
        *ours,
        Contestant(
            "ref-durable", "durable pipeline without policy, wording, journal", [rivals, str(peers / "ref_durable.py")],
            messenger("/hook", b"s3cret"), staticmethod(_messenger_answer), ref,
        ),
        Contestant(
            "wechatpy-aiohttp-send", "WeChat, not durable, no dedup", [rivals, str(peers / "wechatpy_aiohttp.py")],
            wechat_plain("/wechat"), staticmethod(_wechat_answer), {"MODE": "send"}, rival=True,
        ),
        Contestant(
            "slack-bolt", "Slack events, not durable, no dedup", [rivals, str(peers / "slack_bot.py")], slack("/slack/events"),
            staticmethod(lambda url, body: http_answer(
                b'{"ok":true,"url":"https://x","team":"t","user":"bot","team_id":"T1","user_id":"UBOT","bot_id":"B1",'
                b'"channel":"D1","ts":"1.1","message":{"text":"x"}}'
            )), rival=True,
        ),
    ]  # fmt: skip


def slack(path: str) -> Webhook:
    """A signed Slack event."""

    def build(buyer: str, token: str, seq: int) -> bytes:
        now = str(int(time.time()))
        event = {
            "type": "message", "user": "U" + buyer[1:], "text": f"echo where is my order {token}?",
            "ts": f"{now}.{seq % 1000000:06d}", "channel": "D" + buyer[1:], "channel_type": "im", "event_ts": now + ".1", "team": "T1",
        }  # fmt: skip
        body = json.dumps(
            {
                "token": "x", "team_id": "T1", "api_app_id": "A1", "type": "event_callback", "event_id": f"Ev{seq}",
                "event_time": int(now), "event": event,
                "authorizations": [{"enterprise_id": None, "team_id": "T1", "user_id": "UBOT", "is_bot": True, "is_enterprise_install": False}],
            }
        ).encode()  # fmt: skip
        signature = "v0=" + hmac.new(b"s3cret", b"v0:" + now.encode() + b":" + body, "sha256").hexdigest()
        return request(path, body, [("X-Slack-Request-Timestamp", now), ("X-Slack-Signature", signature)])

    return build


CONFIG = """
[brand]
name = "Bench"
[server]
port = {app}
processes = 1
public_url = "http://127.0.0.1:{app}"
[redis]
url = "redis://127.0.0.1:{redis}"
[policy]
service_hours = "always"
service_per_day = 100000
[shops.main]
type = "standard"
secret = "whsec_{shop}"
[channels.messenger-main]
type = "messenger"
page_id = "{page}"
app_id = "1"
app_secret = "{secret}"
verify_token = "v"
page_access_token = "t"
api_base = "http://127.0.0.1:{provider}"
rate_per_second = 100000
[channels.wechat-main]
type = "wechat"
app_id = "{app_id}"
app_secret = "s"
token = "token123"
encoding_aes_key = "{aes}"
api_base = "http://127.0.0.1:{provider}"
rate_per_second = 100000
[channels.sms-main]
type = "twilio"
account_sid = "AC00112233445566778899aabbccddeeff"
auth_token = "{twilio}"
from_number = "+15005550006"
api_base = "http://127.0.0.1:{provider}"
rate_per_second = 100000
"""


def write_config() -> None:
    """The gateway's configuration for the benchmark."""
    folder = HERE.parent / "var" / "bench"
    os.makedirs(folder, exist_ok=True)
    text = CONFIG.format(
        **PORTS,
        page=PAGE,
        secret=SECRET.decode(),
        app_id=APP_ID,
        aes=AES_KEY,
        twilio=TWILIO_TOKEN,
        shop=base64.b64encode(SHOP_KEY).decode(),
    )
    (folder / "config.toml").write_text(text)
