"""`/b/…`: the routes of the buyer pages, and what every request of theirs goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web

from bot.errors import StoreError
from pages import deeds, leave, show
from pages.deps import PageDeps
from pages.joining import Joining
from pages.visit import Door, StopError, Visit, check_form, form_of, stop

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
Show = Callable[[Visit], Awaitable[web.StreamResponse]]
Do = Callable[[Visit, Door], Awaitable[web.Response]]
SHOWS: Mapping[str, Show] = {
    "": show.card,
    "wallet": show.wallet,
    "orders": show.orders,
    "settings": show.settings,
    "notices": leave.notices,
    "profile": show.profile,
    "sample": show.sample,
    "data": show.data,
    "my-data.json": show.export,
    "erase": show.erase,
    "leave": show.leave,
}
DOES: Mapping[str, Do] = {
    "settings": deeds.save_settings,
    "profile": deeds.save_profile,
    "sample": deeds.ask_sample,
    "claim": deeds.claim,
    "leave": deeds.leave_club,
    "erase": deeds.erase,
    "sign-out": deeds.sign_out,
    "revoke": deeds.revoke,
}
AT_THE_DOOR: Mapping[str, Do] = {"open": deeds.open_first, "code": deeds.send_code, "prove": deeds.prove}
"""What a link allows to who was not let in yet."""

log = structlog.get_logger()


class BuyerPages:
    """The pages behind links."""

    def __init__(self, deps: PageDeps) -> None:
        self._deps = deps
        self._door = Door(deps)
        self._joining = Joining(deps, self._door.guesses)

    def add_routes(self, app: web.Application) -> None:
        """Mounts the routes; `/b/privacy` is mounted before."""
        app.router.add_get("/b/join", self._safely(self._joining.show))
        app.router.add_post("/b/join", self._safely(self._joining.take))
        for path in ("/b/{token}", "/b/{token}/{page:.*}"):
            app.router.add_get(path, self._safely(self._get))
            app.router.add_post(path, self._safely(self._post))

    def _safely(self, handle: Handle) -> Handle:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                return await handle(request)
            except StopError as end:
                return stop(request, self._deps, end.why)
            except StoreError:
                return stop(request, self._deps, "busy")

        return handler

    async def _get(self, request: web.Request) -> web.StreamResponse:
        """Shows; changes nothing, whoever asks: previews, prefetches, robots."""
        visit, name = await self._door.visit(request), request.match_info.get("page", "").strip("/")
        if _leads_out(visit, name):
            return await show.way_out(visit)
        if name not in SHOWS:
            raise StopError("nothing")
        if not visit.known:
            return await show.doorstep(visit, opens=await self._door.opens(visit))
        return await SHOWS[name](visit)

    async def _post(self, request: web.Request) -> web.Response:
        visit, name = await self._door.visit(request), request.match_info.get("page", "").strip("/")
        if _leads_out(visit, name):
            return await deeds.end_marketing(visit, self._door)
        if name not in DOES and name not in AT_THE_DOOR:
            raise StopError("nothing")
        visit.form = await form_of(request)
        check_form(request, visit.form)
        if name in AT_THE_DOOR:
            return visit.go() if visit.known else await AT_THE_DOOR[name](visit, self._door)
        if not visit.known:
            return await show.doorstep(visit, opens=await self._door.opens(visit))
        return await DOES[name](visit, self._door)


def _leads_out(visit: Visit, name: str) -> bool:
    """Whether this ends marketing. A link for joining does not: anybody gets one by typing a number."""
    return visit.link.kind == "out" or (name == "stop" and visit.link.kind != "join")
