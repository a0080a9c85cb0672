"""A simulated WeChat official account: tokens, media, customer-service sends, pushes in the account's mode."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sandbox.outward import Built
from sandbox.providers.common import World, before, drop, secret
from sandbox.state import Window, text_of

MINUTE = 60_000
WINDOWS = {
    "message": Window(48 * 60 * MINUTE, 5),
    "click": Window(MINUTE, 3),
    "follow": Window(MINUTE, 3),
    "scan": Window(MINUTE, 3),
}
RETRIES = (5.0, 5.0, 5.0)
TOKEN_S = 7200
MENU = (("member_card", "会员卡"), ("coupons", "领券"), ("orders", "我的订单"))


def _error(code: int, message: str = "error") -> web.Response:
    return web.json_response({"errcode": code, "errmsg": f"{message} rid: {secrets.token_hex(4)}"})


class WeChatProvider:
    """All configured accounts: found by app id at the token, by token afterwards."""

    name = "wechat"

    def __init__(self, world: World, accounts: Mapping[str, Any]) -> None:
        self._world = world
        self._accounts = accounts

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the API."""
        app.router.add_post(prefix + "/cgi-bin/stable_token", self.token)
        app.router.add_post(prefix + "/cgi-bin/media/upload", self.upload)
        app.router.add_post(prefix + "/cgi-bin/message/custom/send", self.send)
        app.router.add_post(prefix + "/cgi-bin/message/template/send", self.template)

    # --- tokens and media -----------------------------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.Response:
        """The same token while it is valid, unless forced."""
        body = await request.json()
        name = next((n for n, c in self._accounts.items() if c.app_id == body.get("appid")), None)
        if name is None:
            return _error(40013, "invalid appid")
        if secret(self._accounts[name].app_secret) != body.get("secret"):
            return _error(40125, "invalid appsecret")
        redis, now = self._world.phones.redis, self._world.now_s
        held = await redis.hgetall(f"sandbox:wxtoken:{name}")
        if held and int(held[b"until"]) > now and not body.get("force_refresh"):
            return web.json_response({"access_token": text_of(held[b"token"]), "expires_in": int(held[b"until"]) - now})
        token = secrets.token_urlsafe(60)
        await redis.hset(f"sandbox:wxtoken:{name}", mapping={"token": token, "until": now + TOKEN_S})
        await redis.set(f"sandbox:wxtoken:by:{token}", name, ex=TOKEN_S)
        return web.json_response({"access_token": token, "expires_in": TOKEN_S})

    async def _account(self, request: web.Request) -> str:
        found = await self._world.phones.redis.get(f"sandbox:wxtoken:by:{request.query.get('access_token', '')}")
        name = text_of(found)
        held = await self._world.phones.redis.hget(f"sandbox:wxtoken:{name}", "token") if name else None
        return name if held and text_of(held) == request.query.get("access_token") else ""

    async def upload(self, request: web.Request) -> web.Response:
        """A temporary picture."""
        if not await self._account(request):
            return _error(40001, "invalid credential")
        form = await request.post()
        media = form.get("media")
        if not isinstance(media, web.FileField):
            return _error(41005, "media data missing")
        id = secrets.token_urlsafe(24)
        await self._world.phones.redis.set(f"sandbox:wxmedia:{id}", media.file.read(), ex=3 * 86400)
        return web.json_response({"type": "image", "media_id": id, "created_at": self._world.now_s})

    # --- sends ----------------------------------------------------------------------------------------------------

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A customer-service message: follower, window, quota and content are checked."""
        name = await self._account(request)
        if not name:
            return _error(40001, "invalid credential, access_token is invalid or not latest")
        fault, answer = await before(self._world, name, request)
        if answer is not None:
            return answer
        if fault == "429":
            return _error(45011, "api minute-quota reach limit")
        if fault.startswith("errcode:"):
            return _error(int(fault.partition(":")[2]))
        body = json.loads(await request.read())
        openid = str(body.get("touser", ""))
        bubble = await self._bubble(body)
        if bubble is None:
            return _error(40008, "invalid message type")
        if len(bubble.get("text", "").encode()) > 2048:
            return _error(45002, "content size out of limit")
        if not await self._world.phones.exists(name, openid):
            return _error(40003, "invalid openid")
        state = await self._world.phones.use_window(name, openid)
        if state != "ok":
            return _error(
                45015 if state == "closed" else 45047, "response out of time limit or subscription is canceled"
            )
        await self._world.phones.accepted(name, openid, bubble.get("text", "")[:40])
        id = secrets.token_hex(8)
        for _ in range(2 if fault == "duplicate" else 1):
            await self._world.phones.show(name, openid, **{"from": "shop"}, provider_id=id, state="sent", **bubble)
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def template(self, request: web.Request) -> web.Response:
        """A template message; its result comes as an event."""
        name = await self._account(request)
        if not name:
            return _error(40001, "invalid credential")
        body = json.loads(await request.read())
        openid = str(body.get("touser", ""))
        if not await self._world.phones.exists(name, openid):
            return _error(43004, "require subscribe")
        id = secrets.randbelow(10**15)
        fields = " · ".join(str(value.get("value", "")) for value in body.get("data", {}).values())
        await self._world.phones.accepted(name, openid, str(body.get("client_msg_id", "")))
        await self._world.phones.show(
            name, openid, **{"from": "shop"}, kind="text", text=fields, provider_id=str(id), state="sent"
        )
        inner = f"<MsgID>{id}</MsgID><Status><![CDATA[success]]></Status>"
        self._later(name, openid, _event("TEMPLATESENDJOBFINISH", inner), 0.3)
        return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": id})

    async def _bubble(self, body: dict[str, Any]) -> dict[str, Any] | None:
        kind = body.get("msgtype")
        if kind == "text":
            return {"kind": "text", "text": str(body.get("text", {}).get("content", ""))}
        if kind == "msgmenu":
            menu = body["msgmenu"]
            choices = [{"label": o["content"], "payload": o["id"]} for o in menu.get("list", [])]
            return {"kind": "text", "text": menu.get("head_content", ""), "choices": choices}
        if kind == "image":
            data = await self._world.phones.redis.get(f"sandbox:wxmedia:{body['image'].get('media_id')}")
            if not isinstance(data, bytes):
                return None
            return {"kind": "image", "image": "data:image/png;base64," + base64.b64encode(data).decode()}
        if kind == "news":
            article = body["news"]["articles"][0]
            return {"kind": "card", "title": article["title"], "text": article.get("description", "")}
        return None

    # --- pushes ---------------------------------------------------------------------------------------------------

    def push(self, name: str, openid: str, inner: str) -> Built:
        """One push, encrypted and signed as the account's mode asks."""
        config = self._accounts[name]
        token, now, nonce = secret(config.token), str(self._world.now_s), str(secrets.randbelow(10**9))
        head = (
            f"<ToUserName><![CDATA[gh_sandbox]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>"
            f"<CreateTime>{now}</CreateTime>"
        )
        body = f"<xml>{head}{inner}</xml>"
        query = f"signature={_sign(token, now, nonce)}&timestamp={now}&nonce={nonce}&openid={openid}"
        if config.encoding_aes_key:
            encrypted = _encrypt(secret(config.encoding_aes_key), config.app_id, body)
            query += f"&encrypt_type=aes&msg_signature={_sign(token, now, nonce, encrypted)}"
            plain = (
                f"{head}{inner}" if config.mode == "compatible" else "<ToUserName><![CDATA[gh_sandbox]]></ToUserName>"
            )
            body = f"<xml>{plain}<Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        return f"{self._world.base}/channels/{name}/webhook?{query}", body.encode(), {"Content-Type": "text/xml"}

    def _later(self, name: str, openid: str, inner: str, delay: float) -> None:
        self._world.outward.later(lambda: self.push(name, openid, inner), retries=RETRIES, delay_s=delay)

    async def say(self, name: str, openid: str, *, text: str = "", payload: str = "") -> int:
        """The buyer writes, or taps a menu option or key. A new buyer follows first."""
        if not await self._world.phones.exists(name, openid):
            await self.start(name, openid)
        if payload and not text:
            await self._world.phones.open(name, openid, "click", WINDOWS["click"])
            inner = _event("CLICK", f"<EventKey><![CDATA[{payload}]]></EventKey>")
        else:
            # A tapped menu option is a text that counts as a click.
            opener = "click" if payload else "message"
            await self._world.phones.open(name, openid, opener, WINDOWS[opener])
            option = f"<bizmsgmenuid><![CDATA[{payload}]]></bizmsgmenuid>" if payload else ""
            safe = escape(text)
            inner = (
                f"<MsgType>text</MsgType><Content>{safe}</Content>{option}<MsgId>{secrets.randbelow(10**17)}</MsgId>"
            )
        return await self._world.outward.post(lambda: self.push(name, openid, inner), retries=RETRIES)

    async def start(self, name: str, openid: str, scene: str = "") -> int:
        """The buyer follows the account, by a QR code's scene or plainly."""
        await self._world.phones.meet(name, openid)
        await self._world.phones.open(name, openid, "follow", WINDOWS["follow"])
        key = f"qrscene_{scene}" if scene else ""
        inner = _event("subscribe", f"<EventKey><![CDATA[{key}]]></EventKey>")
        return await self._world.outward.post(lambda: self.push(name, openid, inner), retries=RETRIES)


def _event(event: str, inner: str) -> str:
    return f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{event}]]></Event>{inner}"


def _sign(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def _encrypt(key43: str, app_id: str, message: str) -> str:
    key = base64.b64decode(key43 + "=")
    data = message.encode()
    plain = os.urandom(16) + struct.pack(">I", len(data)) + data + app_id.encode()
    pad = 32 - len(plain) % 32
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()
