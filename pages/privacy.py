"""The privacy notice `/b/privacy`: who keeps what of a buyer, what for, how long. From `[privacy]` of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from pages.sheet import Shop, locale_of, page

Handler = Callable[[web.Request], Awaitable[web.Response]]
CARRIERS = ("wechat", "messenger", "twilio", "alibaba")
"""Channels whose providers the notice can name; `privacy.by_<type>` are their words."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the shop configured. Without `responsible` there is no notice of ours: `elsewhere` is the shop's own."""

    responsible: str = ""
    questions_to: str = ""
    keep_months: int = 0
    evidence_months: int = 0
    address: str = ""
    shared_with: Sequence[str] = ()
    since: str = ""
    also: Mapping[str, str] = field(default_factory=dict)
    channels: Sequence[str] = ()  # types of the configured channels
    elsewhere: str = ""


def add_routes(app: web.Application, shop: Shop, notice: Notice) -> None:
    """Mounts the page."""

    async def show(request: web.Request) -> web.Response:
        locale = locale_of(request, shop)
        if notice.responsible:
            carriers = [one for one in CARRIERS if one in notice.channels]
            return page(request, shop, "privacy", locale, notice=notice, carriers=carriers)
        if notice.elsewhere:
            return web.Response(status=302, headers={"Location": notice.elsewhere, "Referrer-Policy": "no-referrer"})
        return page(request, shop, "stop", locale, status=404, why="no_notice")

    app.router.add_get("/b/privacy", show)


def add_files(app: web.Application, served: Mapping[str, str]) -> None:
    """Mounts the files that providers ask for at the root, such as `MP_verify_….txt`."""

    def handler(content: str) -> Handler:
        async def show(_: web.Request) -> web.Response:
            return web.Response(text=content, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})

        return show

    for name, content in served.items():
        app.router.add_get(f"/{name}", handler(content))
