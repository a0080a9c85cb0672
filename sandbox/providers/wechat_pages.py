"""The simulated WeChat on pages of the gateway: the ticket that signs them, and what buyers answer in its dialog."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.providers.wechat_wire import REFUSED_CALL, leaves, refused
from sandbox.state import text_of

if TYPE_CHECKING:
    from sandbox.providers.wechat import WeChatProvider

TICKET_S = 7200
SCENE_PAGE = 1


class Pages:
    """Part of a `WeChatProvider`, whose accounts, tokens and pushes it uses."""

    def __init__(self, provider: WeChatProvider) -> None:
        self._of = provider
        self._world = provider.world

    async def ticket(self, request: web.Request) -> web.Response:
        """The same ticket while it is valid."""
        name, code = await self._of.account(request)
        if code:
            return refused(code, REFUSED_CALL)
        if request.query.get("type") != "jsapi":
            return refused(40035)
        redis, now, key = self._world.phones.redis, self._world.now_s, f"sandbox:wxticket:{name}"
        held = await redis.hgetall(key)
        if not held or int(held[b"until"]) <= now:
            await redis.hset(key, mapping={"ticket": secrets.token_urlsafe(64), "until": now + TICKET_S})
            held = await redis.hgetall(key)
        left = int(held[b"until"]) - now
        return web.json_response({"errcode": 0, "errmsg": "ok", "ticket": text_of(held[b"ticket"]), "expires_in": left})

    async def configured(self, body: dict[str, Any]) -> str:
        """What the JS-SDK says of a page's settings: whether the signature is of this very URL, by the account's ticket."""
        name = self._of.named(str(body.get("appId", "")))
        if name is None:
            return "config:invalid appid"
        held = await self._world.phones.redis.hgetall(f"sandbox:wxticket:{name}")
        text = (
            f"jsapi_ticket={text_of(held.get(b'ticket'))}&noncestr={body.get('nonceStr')}"
            f"&timestamp={body.get('timestamp')}&url={body.get('url')}"
        )
        good = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  # the provider's scheme
        return (
            "config:ok"
            if held and hmac.compare_digest(good, str(body.get("signature")))
            else "config:invalid signature"
        )

    async def answer(self, name: str, openid: str, templates: list[str], status: str) -> int:
        """The buyer's yes or no in WeChat's dialog: each yes is good for one notice; the account is told by a push."""
        for template in templates:
            if status == "accept":
                await self._world.phones.redis.hincrby(leaves(name, openid), template, 1)
        listed = "".join(
            f"<List><TemplateId><![CDATA[{one}]]></TemplateId><SubscribeStatusString><![CDATA[{status}]]>"
            f"</SubscribeStatusString><PopupScene>{SCENE_PAGE}</PopupScene></List>"
            for one in templates
        )
        inner = f"<SubscribeMsgPopupEvent>{listed}</SubscribeMsgPopupEvent>"
        return await self._of.pushed(name, openid, "subscribe_msg_popup_event", inner)
