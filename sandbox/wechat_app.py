"""What WeChat's own app does on a page of the gateway: the simulated JS-SDK, and what it asks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot.errors import RequestError
from sandbox.access import PHONE
from sandbox.providers.wechat import WeChatProvider

if TYPE_CHECKING:
    from sandbox.app import Sandbox

FOLDER = "/sandbox/providers/wechat"
SDK = Path(__file__).parent / "static" / "jweixin.js"
MOST_TEMPLATES = 5
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WeChatApp:
    """Served where the script comes from, since a page lets it speak to that folder alone."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def add_routes(self, app: web.Application, guarded: Callable[[Handle], Any]) -> None:
        """Mounts the script and what it posts to."""
        app.router.add_get(f"{FOLDER}/jweixin.js", self.script)
        app.router.add_post(f"{FOLDER}/jssdk/config", guarded(self.config))
        app.router.add_post(f"{FOLDER}/jssdk/answer", guarded(self.answer))

    @property
    def _provider(self) -> WeChatProvider:
        found = self._sandbox.providers["wechat"]
        assert isinstance(found, WeChatProvider)
        return found

    async def script(self, _: web.Request) -> web.StreamResponse:
        """The simulated JS-SDK."""
        return web.Response(body=SDK.read_bytes(), content_type="text/javascript", charset="utf-8")

    async def config(self, request: web.Request) -> web.StreamResponse:
        """Whether a page may use the JS-SDK: signed for the URL at which it is shown, by the account's ticket."""
        said = await self._provider.pages.configured(await self._sandbox.body(request))
        return web.json_response({"errMsg": said})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The buyer's answer in the dialog, {"templates": ["…"], "status": "accept" | "reject"}, of the phone that opened the page."""
        name, _, openid = request.cookies.get(PHONE, "").partition(":")
        config = self._sandbox.deps.channels.get(name)
        if config is None or config.type != "wechat" or not re.fullmatch(r"[\w-]{1,64}", openid):
            raise RequestError(
                "open the page from a WeChat phone of the sandbox: GET /sandbox/phones/{account}/{id}/open"
            )
        body = await self._sandbox.body(request)
        templates, status = body.get("templates"), body.get("status")
        if (
            not isinstance(templates, list)
            or not 0 < len(templates) <= MOST_TEMPLATES
            or not all(isinstance(one, str) and re.fullmatch(r"[\w-]{1,100}", one) for one in templates)
        ):
            raise RequestError(f"templates must be a list of 1 to {MOST_TEMPLATES} template ids", field="templates")
        if status not in ("accept", "reject"):
            raise RequestError('status must be "accept" or "reject"', field="status")
        await self._provider.pages.answer(name, openid, templates, status)
        return web.json_response({"errMsg": "subscribe:ok"})
