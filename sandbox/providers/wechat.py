"""A simulated WeChat official account: tokens, media, customer-service sends, pushes in the account's mode."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import struct
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sandbox.outward import Built
from sandbox.providers import wechat_limits as limits
from sandbox.providers.common import World, before, drop, secret
from sandbox.providers.wechat_notices import Notices
from sandbox.providers.wechat_pages import Pages
from sandbox.providers.wechat_wire import REFUSED_CALL, object_of, refused
from sandbox.state import Window, text_of

MINUTE = 60_000
WINDOWS = {
    "message": Window(48 * 60 * MINUTE, 5),
    "click": Window(MINUTE, 3),
    "follow": Window(MINUTE, 3),
    "scan": Window(MINUTE, 3),
}
RETRIES = (5.0, 5.0, 5.0)
"""After a try that was not answered well: three more, five seconds after one another."""
TOKEN_S = 7200
FORCED_PAUSE_S, FORCED_PER_DAY = 30, 20
SESSION_MS = 30 * MINUTE
"""A customer-service session in which nobody writes ends by itself."""
BROKEN = "该服务号提供的服务出现故障，请稍后再试"


def _taken(status: int, body: bytes) -> bool:
    """Whether WeChat is content: "success", nothing, or XML."""
    text = body.strip()
    return status == 200 and (text in (b"", b"success") or text.startswith(b"<xml"))


OUT_OF_TIME = "response out of time limit or subscription is canceled"


class WeChatProvider:
    """All configured accounts: found by app id at the token, by token afterwards."""

    name = "wechat"

    def __init__(self, world: World, accounts: Mapping[str, Any]) -> None:
        self.world = world
        self._accounts = accounts
        self.pages, self.notices = Pages(self), Notices(self)

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the API."""
        app.router.add_get(prefix + "/cgi-bin/ticket/getticket", self.pages.ticket)
        app.router.add_post(prefix + "/cgi-bin/message/subscribe/bizsend", self.notices.send)
        app.router.add_post(prefix + "/cgi-bin/stable_token", self.token)
        app.router.add_post(prefix + "/cgi-bin/media/upload", self.upload)
        app.router.add_post(prefix + "/cgi-bin/message/custom/send", self.send)
        app.router.add_post(prefix + "/cgi-bin/message/template/send", self.template)

    # --- tokens and media -----------------------------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.Response:
        """The same token while it is valid, unless forced."""
        body = object_of(await request.read())
        if body.get("grant_type") != "client_credential":
            return refused(40002, "invalid grant_type")
        name = self.named(body.get("appid"))
        if name is None:
            return refused(40013, "invalid appid")
        if secret(self._accounts[name].app_secret) != body.get("secret"):
            return refused(40125, "invalid appsecret")
        redis, now = self.world.phones.redis, self.world.now_s
        held = await redis.hgetall(f"sandbox:wxtoken:{name}")
        if held and int(held[b"until"]) > now and not body.get("force_refresh"):
            return web.json_response({"access_token": text_of(held[b"token"]), "expires_in": int(held[b"until"]) - now})
        if body.get("force_refresh"):
            day = f"sandbox:wxforced:{name}:{now // 86400}"
            if now < int(held.get(b"forced", b"0")) + FORCED_PAUSE_S or await redis.incr(day) > FORCED_PER_DAY:
                return refused(45009, "reach max api daily quota limit")
            await redis.hset(f"sandbox:wxtoken:{name}", "forced", now)
        return web.json_response({"access_token": await self._issue(name), "expires_in": TOKEN_S})

    def named(self, app_id: object) -> str | None:
        """The account of an AppID."""
        return next((name for name, config in self._accounts.items() if config.app_id == app_id), None)

    async def _issue(self, name: str) -> str:
        """Another token; the one before is no longer good."""
        redis, token = self.world.phones.redis, secrets.token_urlsafe(60)
        await redis.hset(f"sandbox:wxtoken:{name}", mapping={"token": token, "until": self.world.now_s + TOKEN_S})
        await redis.set(f"sandbox:wxtoken:by:{token}", name, ex=2 * 86400)
        return token

    async def account(self, request: web.Request) -> tuple[str, int]:
        """The account that a call's token names, and the errcode of a token that is not good."""
        given = request.query.get("access_token", "")
        if not given:
            return "", 41001
        name = text_of(await self.world.phones.redis.get(f"sandbox:wxtoken:by:{given}"))
        held = await self.world.phones.redis.hgetall(f"sandbox:wxtoken:{name}") if name else {}
        if not held or text_of(held[b"token"]) != given:
            return "", 40001
        return name, 0 if int(held[b"until"]) > self.world.now_s else 42001

    async def upload(self, request: web.Request) -> web.Response:
        """A temporary picture."""
        _, code = await self.account(request)
        if code:
            return refused(code, REFUSED_CALL)
        media = (await request.post()).get("media")
        data = media.file.read() if isinstance(media, web.FileField) else None
        if (code := limits.picture(request.query.get("type", ""), data)) or data is None:
            return refused(code)
        id = secrets.token_urlsafe(24)
        await self.world.phones.redis.set(f"sandbox:wxmedia:{id}", data, ex=3 * 86400)
        return web.json_response({"type": "image", "media_id": id, "created_at": self.world.now_s})

    # --- sends ----------------------------------------------------------------------------------------------------

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A customer-service message: follower, window, quota and content are checked."""
        name, code = await self.account(request)
        if code:
            return refused(code, REFUSED_CALL)
        fault, answer = await before(self.world, name, request)
        answer = answer if answer is not None else await self.planned(name, fault)
        if answer is not None:
            return answer
        raw = await request.read()
        body = object_of(raw)
        openid = str(body.get("touser", ""))
        bubble, no = await self._checked(name, openid, raw, body)
        if no is not None:
            return no
        # WeChat answers a customer-service message without any id; the ledger's own stands in for one.
        id = str(secrets.randbelow(10**16))
        await self.world.phones.accepted(name, openid, id)
        for _ in range(2 if fault == "duplicate" else 1):
            await self.world.phones.show(name, openid, **{"from": "shop"}, provider_id=id, ref=id, **bubble)
        self.world.mark_later(name, openid, id, "delivered", 0.2)
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def planned(self, name: str, fault: str) -> web.Response | None:
        """The answer of a planned fault that is WeChat's own."""
        if fault == "429":
            return refused(45011, "api minute-quota reach limit")
        if fault == "token_superseded":
            await self._issue(name)
            return refused(40001, REFUSED_CALL)
        if fault == "token_expired":
            await self.world.phones.redis.hset(f"sandbox:wxtoken:{name}", "until", 0)
            return refused(42001, "access_token expired")
        return refused(int(fault.partition(":")[2])) if fault.startswith("errcode:") else None

    async def _checked(
        self, name: str, openid: str, raw: bytes, body: dict[str, Any]
    ) -> tuple[dict[str, Any], web.Response | None]:
        """What the phone shows, or the refusal: shape, content, follower, window and quota, in this order."""
        phones = self.world.phones
        code = 47001 if not body else 40033 if limits.escaped(raw) else limits.refusal(body)
        bubble = {} if code else await self._bubble(body)
        if code or not bubble:
            return {}, refused(code or 40007)
        if not await phones.exists(name, openid):
            left = await phones.seen(name, openid)
            return {}, refused(45015, OUT_OF_TIME) if left else refused(40003, "invalid openid")
        state = await phones.use_window(name, openid)
        if state != "ok":
            return {}, refused(45015 if state == "closed" else 45047, OUT_OF_TIME)
        return bubble, None

    async def template(self, request: web.Request) -> web.Response:
        """A template message; its result comes as an event. The same client_msg_id within ten minutes is shown once."""
        name, code = await self.account(request)
        if code:
            return refused(code, REFUSED_CALL)
        raw = await request.read()
        body, phones = object_of(raw), self.world.phones
        openid, ref = str(body.get("touser", "")), str(body.get("client_msg_id", ""))
        if not body.get("template_id") or not isinstance(body["template_id"], str):
            return refused(40037)
        if limits.escaped(raw):
            return refused(40033)
        if field := limits.field_refused(body.get("data")):
            return refused(47003, f"argument invalid! data.{field}.value invalid")
        if not await phones.exists(name, openid):
            return refused(43004, "require subscribe")
        id = secrets.randbelow(10**15)
        if ref and not await phones.redis.set(f"sandbox:wxref:{name}:{openid}:{ref}", id, nx=True, ex=600):
            before_id = await phones.redis.get(f"sandbox:wxref:{name}:{openid}:{ref}")
            return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": int(before_id or id)})
        fields = " · ".join(str(value["value"]) for value in body["data"].values())
        await phones.accepted(name, openid, ref)
        await phones.show(name, openid, **{"from": "shop"}, kind="text", text=fields, provider_id=str(id), ref=ref)
        self.world.mark_later(name, openid, str(id), "delivered", 0.3)
        inner = f"<MsgID>{id}</MsgID><Status><![CDATA[success]]></Status>"
        self._later(name, openid, _event("TEMPLATESENDJOBFINISH", inner), 0.3)
        return web.json_response({"errcode": 0, "errmsg": "ok", "msgid": id})

    async def _bubble(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the phone shows of a body whose shape is good; nothing for a picture that was not uploaded."""
        part = body[body["msgtype"]]
        match body["msgtype"]:
            case "text":
                return {"kind": "text", "text": part["content"]}
            case "msgmenu":
                choices = [{"label": o["content"], "payload": o["id"]} for o in part["list"]]
                text = "\n".join(filter(None, (part["head_content"], part.get("tail_content", ""))))
                return {"kind": "text", "text": text, "choices": choices}
            case "news":
                article = part["articles"][0]
                links = [{"label": article["url"], "url": article["url"]}] if article.get("url") else []
                return {
                    "kind": "card",
                    "title": article["title"],
                    "text": article.get("description", ""),
                    "links": links,
                }
            case _:
                data = await self.world.phones.redis.get(f"sandbox:wxmedia:{part['media_id']}")
                if not isinstance(data, bytes):
                    return {}
                return {"kind": "image", "image": "data:image/png;base64," + base64.b64encode(data).decode()}

    # --- pushes ---------------------------------------------------------------------------------------------------

    def push(self, name: str, openid: str, inner: str, made: str = "") -> Built:
        """One push, encrypted and signed as the account's mode asks. `made` (CreateTime, s) stays over the tries."""
        config = self._accounts[name]
        token, now, nonce = secret(config.token), str(self.world.now_s), str(secrets.randbelow(10**9))
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
        return f"{self.world.base}/channels/{name}/webhook?{query}", body.encode(), {"Content-Type": "text/xml"}

    async def pushed(self, name: str, openid: str, event: str, inner: str) -> int:
        """Pushes an event that the buyer waits for; the gateway's answer."""
        return await self._post(name, openid, _event(event, inner))

    def pushed_later(self, name: str, openid: str, event: str, inner: str, delay: float) -> None:
        """Pushes an event after a while."""
        self._later(name, openid, _event(event, inner), delay)

    def _later(self, name: str, openid: str, inner: str, delay: float) -> None:
        made = str(self.world.now_s)
        self.world.outward.later(lambda: self.push(name, openid, inner, made), retries=RETRIES, delay_s=delay)

    async def _post(self, name: str, openid: str, inner: str) -> int:
        """A push that the buyer waits for: three more tries, then WeChat itself tells the buyer that it is broken."""
        made = str(self.world.now_s)
        build = lambda: self.push(name, openid, inner, made)  # noqa: E731
        status, taken = await self.world.outward.ask(build, retries=RETRIES, taken=_taken, paced=True)
        if not taken:
            await self.world.phones.show(name, openid, **{"from": "platform"}, kind="text", text=BROKEN)
        return status

    async def say(self, name: str, openid: str, *, text: str = "", payload: str = "") -> int:
        """The buyer, a follower, writes, or taps a menu option or key."""
        if not payload and await self._with_staff(name, openid):
            return 200  # the staff's screen shows it; the shop's address does not hear of it
        if payload and not text:
            await self.world.phones.open(name, openid, "click", WINDOWS["click"])
            inner = _event("CLICK", _key(payload))
        else:
            # A tapped menu option is a text that counts as a click.
            opener = "click" if payload else "message"
            await self.world.phones.open(name, openid, opener, WINDOWS[opener])
            option = f"<bizmsgmenuid><![CDATA[{payload}]]></bizmsgmenuid>" if payload else ""
            safe = escape(text)
            inner = (
                f"<MsgType>text</MsgType><Content>{safe}</Content>{option}<MsgId>{secrets.randbelow(10**17)}</MsgId>"
            )
        return await self._post(name, openid, inner)

    async def start(self, name: str, openid: str, scene: str = "") -> int:
        """The buyer follows the account, by a QR code's scene or plainly; a follower's scan is a scan."""
        if scene and await self.world.phones.exists(name, openid):
            await self.world.phones.open(name, openid, "scan", WINDOWS["scan"])
            return await self._post(name, openid, _event("SCAN", _key(scene) + TICKET))
        await self.world.phones.meet(name, openid)
        await self.world.phones.show(name, openid, **{"from": "buyer"}, kind="follow", text="")
        await self.world.phones.open(name, openid, "follow", WINDOWS["follow"])
        inner = _key(f"qrscene_{scene}") + TICKET if scene else _key("")
        return await self._post(name, openid, _event("subscribe", inner))

    async def leave(self, name: str, openid: str) -> int:
        """The buyer unfollows: nothing can be sent any more."""
        await self.world.phones.leave(name, openid)
        await self.world.phones.redis.delete(_session(name, openid))
        return await self._post(name, openid, _event("unsubscribe", _key("")))

    # --- people ---------------------------------------------------------------------------------------------------

    async def staff(self, name: str, openid: str, do: str, by: str, text: str = "") -> int:
        """Staff open a session with the buyer, pass it on, write in it, or close it. Answers 409 where there is none."""
        redis, key = self.world.phones.redis, _session(name, openid)
        holder = text_of(await redis.hget(key, "by"))
        if (do == "open") == bool(holder):
            return 409
        if do == "close":
            await redis.delete(key)
            return await self._post(name, openid, _event("kf_close_session", _tag("KfAccount", holder)))
        await redis.hset(key, mapping={"by": holder if do == "say" else by, "at": self.world.phones.clock.now()})
        if do == "say":
            await self.world.phones.show(name, openid, **{"from": "staff"}, kind="text", text=text)
            return 200
        if do == "open":
            return await self._post(name, openid, _event("kf_create_session", _tag("KfAccount", by)))
        inner = _tag("FromKfAccount", holder) + _tag("ToKfAccount", by)
        return await self._post(name, openid, _event("kf_switch_session", inner))

    async def _with_staff(self, name: str, openid: str) -> bool:
        """Whether staff hold the buyer's session, so that texts go to them; one that fell silent is closed."""
        redis, now = self.world.phones.redis, self.world.phones.clock.now()
        held = await redis.hgetall(_session(name, openid))
        if not held:
            return False
        if now - int(held[b"at"]) > SESSION_MS:
            await self.staff(name, openid, "close", "")
            return False
        await redis.hset(_session(name, openid), "at", now)
        return True


TICKET = "<Ticket><![CDATA[gQSANDBOX]]></Ticket>"


def _session(name: str, openid: str) -> str:
    return f"sandbox:wxkf:{name}:{openid}"


def _tag(name: str, value: str) -> str:
    return f"<{name}><![CDATA[{value}]]></{name}>"


def _event(event: str, inner: str) -> str:
    return f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{event}]]></Event>{inner}"


def _key(value: str) -> str:
    return _tag("EventKey", value.replace("]]>", ""))


def _sign(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def _encrypt(key43: str, app_id: str, message: str) -> str:
    key = base64.b64decode(key43 + "=")
    data = message.encode()
    plain = os.urandom(16) + struct.pack(">I", len(data)) + data + app_id.encode()
    pad = 32 - len(plain) % 32
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()).decode()
