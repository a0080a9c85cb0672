"""`/b/join`: become a member from the checkout or a shop's page. A number, a code, and the card is there."""

from __future__ import annotations

from aiohttp import web

from bot import subjects
from bot.links import Link
from bot.phones import takes_texts
from bot.proxies import sender_of
from bot.records import Buyer
from bot.visits import new_secret
from pages.deeds import draw_code
from pages.deps import PageDeps
from pages.sender import is_public
from pages.sheet import locale_of, page
from pages.visit import COOKIE, Guesses, StopError, Visit, ask, check_form, csrf_of, form_of, remember, see


class Joining:
    """The page and its form."""

    def __init__(self, deps: PageDeps, guesses: Guesses) -> None:
        self._deps = deps
        self._guesses = guesses

    async def show(self, request: web.Request) -> web.Response:
        """GET: the question for a number, with what it is for."""
        return self._page(request, "", "")

    def _page(self, request: web.Request, number: str, fault: str) -> web.Response:
        secret = request.cookies.get(COOKIE, "") or new_secret()
        locale = locale_of(request, self._deps.shop)
        answer = page(
            request, self._deps.shop, "join", locale, status=400 if fault else 200, csrf=csrf_of(secret), number=number,
            fault=fault,
        )  # fmt: skip
        if COOKIE not in request.cookies:
            remember(answer, self._deps, secret)
        return answer

    async def take(self, request: web.Request) -> web.Response:
        """POST: a code goes to the number; whoever has it goes on at a link of its own. Raises StopError."""
        deps, form = self._deps, await form_of(request)
        check_form(request, form)
        given = "".join(form.get("number", ()))[:40].strip()
        number = deps.parse_phone(given)
        if not number or not takes_texts(number):
            return self._page(request, given, "number")
        if is_public(who := sender_of(request)):
            sender = f"join|{who}"
            if self._guesses.over(sender):
                raise StopError("too_many")
            self._guesses.missed(sender)
        if not deps.lane_to(number):
            return self._page(request, given, "no_lane")
        buyer = await self._buyer(number)
        token = deps.links.token("join", buyer.id, buyer.revoked, deps.clock.now())
        visit = Visit(
            deps, request, token, Link("join", buyer.id, buyer.revoked, 0), buyer, "", fresh=False, known=False
        )
        if fault := await draw_code(visit, number):
            return self._page(request, given, fault)
        return see(f"/b/{token}")

    async def _buyer(self, number: str) -> Buyer:
        """Whose number it is; a record is made for one that nobody has."""
        found = await self._deps.queries.buyer_by_phone(number)
        if found is None or found.erased:
            await ask(self._deps, subjects.phone(number), "page_begin", {})
            found = await self._deps.queries.buyer_by_phone(number)
        if found is None or found.erased:
            raise StopError("busy")
        return found
