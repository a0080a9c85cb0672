"""A simulated WeChat official account: tokens, media, customer-service sends, pushes in the account's mode."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
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
FORCED_PAUSE_S, FORCED_PER_DAY = 30, 20
_ESCAPED = re.compile(rb"\\u[0-9a-fA-F]{4}")


REFUSED = {
    40007: "invalid media_id",
    40008: "invalid message type",
    40035: "invalid parameter",
    44004: "text content is empty",
    45008: "article count out of limit",
}


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
        body = _object(await request.read())
        if body.get("grant_type") != "client_credential":
            return _error(40002, "invalid grant_type")
        name = next((n for n, c in self._accounts.items() if c.app_id == body.get("appid")), None)
        if name is None:
            return _error(40013, "invalid appid")
        if secret(self._accounts[name].app_secret) != body.get("secret"):
            return _error(40125, "invalid appsecret")
        redis, now = self._world.phones.redis, self._world.now_s
        held = await redis.hgetall(f"sandbox:wxtoken:{name}")
        if held and int(held[b"until"]) > now and not body.get("force_refresh"):
            return web.json_response({"access_token": text_of(held[b"token"]), "expires_in": int(held[b"until"]) - now})
        if held and body.get("force_refresh"):
            day = f"sandbox:wxforced:{name}:{now // 86400}"
            if now < int(held[b"until"]) - TOKEN_S + FORCED_PAUSE_S or await redis.incr(day) > FORCED_PER_DAY:
                return _error(45009, "reach max api daily quota limit")
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
        raw = await request.read()
        body, bubble = _object(raw), None
        if not body:
            return _error(47001, "data format error")
        if _ESCAPED.search(raw):
            return _error(40033, "invalid charset. please check your request, if include \\uxxxx will create fail!")
        openid = str(body.get("touser", ""))
        bubble = await self._bubble(body)
        if isinstance(bubble, int):
            return _error(bubble, REFUSED[bubble])
        if len(bubble.get("text", "").encode()) > 2048:
            return _error(45002, "content size out of limit")
        if not await self._world.phones.exists(name, openid):
            left = await self._world.phones.seen(name, openid)
            return _error(*((45015, "subscription is canceled") if left else (40003, "invalid openid")))
        state = await self._world.phones.use_window(name, openid)
        if state != "ok":
            return _error(
                45015 if state == "closed" else 45047, "response out of time limit or subscription is canceled"
            )
        await self._world.phones.accepted(name, openid, "")
        id = secrets.token_hex(8)
        for _ in range(2 if fault == "duplicate" else 1):
            await self._world.phones.show(name, openid, **{"from": "shop"}, provider_id=id, **bubble)
        self._world.mark_later(name, openid, id, "delivered", 0.2)
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def template(self, request: web.Request) -> web.Response:
        """A template message; its result comes as an event."""
        name = await self._account(request)
        if not name:
            return _error(40001, "invalid credential")
        body = _object(await request.read())
        openid = str(body.get("touser", ""))
        if not str(body.get("template_id", "")):
            return _error(40037, "invalid template_id")
        if not await self._world.phones.exists(name, openid):
            return _error(43004, "require subscribe")
        id = secrets.randbelow(10**15)
        fields = " · ".join(str(value.get("value", "")) for value in body.get("data", {}).values())
        ref = str(body.get("client_msg_id", ""))
        await self._world.phones.accepted(name, openid, ref)
        await self._world.phones.show(
            name, openid, **{"from": "shop"}, kind="text", text=fields, provider_id=str(id), ref=ref
        )
        self._world.mark_later(name, openid, str(id), "delivered", 0.3)
        inner = f"<MsgID>{id}</MsgID><Status><![CDATA[success]]></Status>"
        self._later(name, openid, _event("TEMPLATESENDJOBFINISH", inner), 0.3)
        return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": id})

    async def _bubble(self, body: dict[str, Any]) -> dict[str, Any] | int:
        """What the phone shows, or the errcode of a body that is not taken."""
        kind = str(body.get("msgtype", ""))
        part = body.get(kind)
        if not isinstance(part, dict) or kind not in ("text", "msgmenu", "image", "news"):
            return 40008
        if kind == "text":
            content = str(part.get("content", ""))
            return {"kind": "text", "text": content} if content else 44004
        if kind == "msgmenu":
            choices = [{"label": str(o["content"]), "payload": str(o["id"])} for o in part.get("list", [])]
            text = "\n".join(filter(None, (part.get("head_content", ""), part.get("tail_content", ""))))
            return {"kind": "text", "text": text, "choices": choices} if choices else 40035
        if kind == "image":
            data = await self._world.phones.redis.get(f"sandbox:wxmedia:{part.get('media_id')}")
            if not isinstance(data, bytes):
                return 40007
            return {"kind": "image", "image": "data:image/png;base64," + base64.b64encode(data).decode()}
        articles = part.get("articles") or []
        if len(articles) != 1:
            return 45008
        links = [{"label": articles[0]["url"], "url": articles[0]["url"]}] if articles[0].get("url") else []
        title, text = str(articles[0].get("title", "")), str(articles[0].get("description", ""))
        return {"kind": "card", "title": title, "text": text, "links": links}

    # --- pushes ---------------------------------------------------------------------------------------------------

    def push(self, name: str, openid: str, inner: str, made: str = "") -> Built:
        """One push, encrypted and signed as the account's mode asks. `made` (CreateTime, s) stays over the tries."""
        config = self._accounts[name]
        token, now, nonce = secret(config.token), str(self._world.now_s), str(secrets.randbelow(10**9))
        head = (
            f"<ToUserName><![CDATA[gh_sandbox]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>"
            f"<CreateTime>{made or now}</CreateTime>"
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
        made = str(self._world.now_s)
        self._world.outward.later(lambda: self.push(name, openid, inner, made), retries=RETRIES, delay_s=delay)

    async def _post(self, name: str, openid: str, inner: str) -> int:
        made = str(self._world.now_s)
        return await self._world.outward.post(lambda: self.push(name, openid, inner, made), retries=RETRIES)

    async def say(self, name: str, openid: str, *, text: str = "", payload: str = "") -> int:
        """The buyer, a follower, writes, or taps a menu option or key."""
        if payload and not text:
            await self._world.phones.open(name, openid, "click", WINDOWS["click"])
            inner = _event("CLICK", _key(payload))
        else:
            # A tapped menu option is a text that counts as a click.
            opener = "click" if payload else "message"
            await self._world.phones.open(name, openid, opener, WINDOWS[opener])
            option = f"<bizmsgmenuid><![CDATA[{payload}]]></bizmsgmenuid>" if payload else ""
            safe = escape(text)
            inner = (
                f"<MsgType>text</MsgType><Content>{safe}</Content>{option}<MsgId>{secrets.randbelow(10**17)}</MsgId>"
            )
        return await self._post(name, openid, inner)

    async def start(self, name: str, openid: str, scene: str = "") -> int:
        """The buyer follows the account, by a QR code's scene or plainly; a follower's scan is a scan."""
        if scene and await self._world.phones.exists(name, openid):
            await self._world.phones.open(name, openid, "scan", WINDOWS["scan"])
            return await self._post(name, openid, _event("SCAN", _key(scene)))
        await self._world.phones.meet(name, openid)
        await self._world.phones.show(name, openid, **{"from": "buyer"}, kind="follow", text="")
        await self._world.phones.open(name, openid, "follow", WINDOWS["follow"])
        return await self._post(name, openid, _event("subscribe", _key(f"qrscene_{scene}" if scene else "")))

    async def leave(self, name: str, openid: str) -> int:
        """The buyer unfollows: nothing can be sent any more."""
        await self._world.phones.leave(name, openid)
        return await self._post(name, openid, _event("unsubscribe", _key("")))


def _event(event: str, inner: str) -> str:
    return f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{event}]]></Event>{inner}"


def _key(value: str) -> str:
    return f"<EventKey><![CDATA[{value.replace(']]>', '')}]]></EventKey>"


def _object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body, {} for anything else."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sign(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def _encrypt(key43: str, app_id: str, message: str) -> str:
    key = base64.b64decode(key43 + "=")
    data = message.encode()
    plain = os.urandom(16) + struct.pack(">I", len(data)) + data + app_id.encode()
    pad = 32 - len(plain) % 32
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()
