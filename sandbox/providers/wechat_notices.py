"""The simulated WeChat's subscription notices: each takes one leave that the buyer gave."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.providers import wechat_limits as limits
from sandbox.providers.common import before, drop
from sandbox.providers.wechat_wire import REFUSED_CALL, leaves, object_of, refused

if TYPE_CHECKING:
    from sandbox.providers.wechat import WeChatProvider


class Notices:
    """Part of a `WeChatProvider`, whose accounts, tokens and pushes it uses."""

    def __init__(self, provider: WeChatProvider) -> None:
        self._of = provider
        self._world = provider.world

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A notice that takes one leave; without one 43101. Its answer names no id, its result comes as an event."""
        name, code = await self._of.account(request)
        if code:
            return refused(code, REFUSED_CALL)
        fault, answer = await before(self._world, name, request)
        answer = answer if answer is not None else await self._of.planned(name, fault)
        if answer is not None:
            return answer
        body, code, field = await self._read(request)
        if code:
            return refused(code, f"argument invalid! data.{field}.value invalid" if field else "")
        openid, template, phones = str(body.get("touser", "")), str(body["template_id"]), self._world.phones
        if await phones.redis.hincrby(leaves(name, openid), template, -1) < 0:
            await phones.redis.hincrby(leaves(name, openid), template, 1)
            return refused(43101)
        id = str(secrets.randbelow(10**18))
        fields = " · ".join(str(value["value"]) for value in body["data"].values())
        await phones.accepted(name, openid, id)
        await phones.show(name, openid, **{"from": "shop"}, kind="text", text=fields, provider_id=id, ref=id)
        self._world.mark_later(name, openid, id, "delivered", 0.3)
        inner = (
            f"<SubscribeMsgSentEvent><List><TemplateId><![CDATA[{template}]]></TemplateId><MsgID>{id}</MsgID><ErrorCode>0"
            "</ErrorCode><ErrorStatus><![CDATA[success]]></ErrorStatus></List></SubscribeMsgSentEvent>"
        )
        for _ in range(2 if fault == "duplicate" else 1):
            self._of.pushed_later(name, openid, "subscribe_msg_sent_event", inner, 0.3)
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    async def _read(self, request: web.Request) -> tuple[dict[str, Any], int, str]:
        """The body, the errcode of one that is not good, and the field at fault."""
        raw = await request.read()
        body = object_of(raw)
        if not body:
            return {}, 47001, ""
        if limits.escaped(raw):
            return {}, 40033, ""
        if not isinstance(body.get("template_id"), str) or not body["template_id"]:
            return {}, 40037, ""
        if not isinstance(body.get("touser"), str) or not body["touser"]:
            return {}, 40003, ""
        if field := limits.field_refused(body.get("data")):
            return {}, 47003, field
        return body, 0, ""
