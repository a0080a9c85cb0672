"""Who stands at the door of a buyer's pages: what the link says, and whether this browser was let in before.

A link alone shows little. What opens more is a browser that was let in: by the first tap within an hour on a link that was
given in a chat, or by a code that went to the buyer's phone. A GET lets nobody in: previews and prefetches change nothing.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot import bodies
from bot.asking import until_done
from bot.codec import dump_entry
from bot.errors import GatewayError, RequestError
from bot.events import Event, StaffAsked
from bot.links import OPENS_MS, REVOKED_MASK, Link, LinkError
from bot.proxies import sender_of
from bot.records import Address, Buyer
from bot.visits import STAYS_MS, digest, new_secret
from pages.deps import PageDeps
from pages.sheet import NOTHING_ELSE, locale_of, page

COOKIE = "tp_visit"
MOST_BODY = 16_384
GUESSES, GUESSES_WITHIN_S, MOST_GUESSERS = 20, 600.0, 10_000
STATUS = {
    "unknown": 404,
    "nothing": 404,
    "expired": 410,
    "revoked": 410,
    "erased": 410,
    "too_many": 429,
    "busy": 503,
    "cookies": 400,
    "stale": 400,
}


class StopError(GatewayError):
    """The visit ends with a page that says what to do: a key of `STATUS`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class Visit:
    """One request at a buyer's pages. `known`: this browser was let in. `secret` is its cookie's, `fresh` if just drawn."""

    deps: PageDeps
    request: web.Request
    token: str
    link: Link
    buyer: Buyer
    secret: str
    fresh: bool
    known: bool
    form: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def locale(self) -> str:
        """The language of the answer. Who types a number to join does not learn what its owner reads."""
        own = self.buyer.locale if self.link.kind != "join" else ""
        return locale_of(self.request, self.deps.shop, own)

    @property
    def base(self) -> str:
        """Where this buyer's pages begin."""
        return f"/b/{self.token}"

    @property
    def asked_at(self) -> Address | None:
        """The buyer's address that there are notices to allow at: the one used last."""
        able = [one for one in self.buyer.addresses if one.account in self.deps.asking]
        return max(able, key=lambda one: one.last_in, default=None)

    def one(self, name: str, most: int = 200) -> str:
        """A field of the form, trimmed and cut; "" where it is missing."""
        return next(iter(self.form.get(name, ())), "").strip()[:most]

    def show(
        self, template: str, *, status: int = 200, sources: Mapping[str, str] = NOTHING_ELSE, **values: object
    ) -> web.Response:
        """One of the buyer's pages. `sources`: what it loads besides."""
        shown = page(
            self.request,
            self.deps.shop,
            template,
            self.locale,
            status=status,
            base=self.base,
            sources=sources,
            csrf=csrf_of(self.secret),
            known=self.known,
            words=self.words,
            allows=self.asked_at is not None,
            **values,
        )
        if self.fresh:
            remember(shown, self.deps, self.secret)
        return shown

    async def ask(self, action: str, data: dict[str, Any]) -> None:
        """Asks something of the buyer's record, and waits for it. Raises StopError, StoreError."""
        await ask(self.deps, self.buyer.home, action, data)

    async def let_in(self, where: str = "") -> web.Response:
        """This browser is let in, under a new secret, and goes on to a page."""
        secret = await self.deps.visits.let_in(self.buyer, self.deps.clock.real())
        answer = self.go(where)
        remember(answer, self.deps, secret)
        return answer

    def words(self, topic: str) -> str:
        """What stands beside a tick: a wording of `templates/`, since it is the evidence of what was agreed to."""
        brand = self.deps.shop.named(self.locale)
        return self.deps.wordings.render(f"page_{topic}", self.locale, {"brand": brand}).text

    def go(self, where: str = "") -> web.Response:
        """On to a page, by GET: a reload repeats nothing."""
        return see(f"{self.base}{where}")


def see(where: str) -> web.Response:
    """A redirect after a change."""
    return web.Response(
        status=303, headers={"Location": where, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    )


def csrf_of(secret: str) -> str:
    """What a form carries: nobody can know it who has not this browser's cookie."""
    return digest(f"form|{secret}")


def remember(answer: web.Response, deps: PageDeps, secret: str) -> None:
    """Sets the browser's cookie."""
    answer.set_cookie(
        COOKIE, secret, path="/b", max_age=STAYS_MS // 1000, httponly=True, samesite="Lax", secure=deps.shop.secure
    )


def stop(request: web.Request, deps: PageDeps, why: str, locale: str = "") -> web.Response:
    """A page that says why it ends here and what to do."""
    answer = page(request, deps.shop, "stop", locale or locale_of(request, deps.shop), status=STATUS[why], why=why)
    if why in ("too_many", "busy"):
        answer.headers["Retry-After"] = "600" if why == "too_many" else "30"
    return answer


async def ask(deps: PageDeps, home: str, action: str, data: dict[str, Any]) -> None:
    """Asks something of a record, and waits until its turn is done. Raises StopError while nothing is taken in, StoreError."""
    if deps.shut_because():
        raise StopError("busy")
    now = deps.clock.now()
    body = StaffAsked(action, "page", json.dumps(data).encode())
    event = Event(f"page|{secrets.token_hex(12)}|{action}", home, "page", now, now, body)
    await deps.appender.append([dump_entry(event)])
    await until_done(deps.store, deps.clock, event)


async def form_of(request: web.Request) -> dict[str, list[str]]:
    """The fields of a form. Raises StopError for one that is too large or no form of ours."""
    try:
        return await bodies.form_of(request, MOST_BODY)
    except RequestError:
        raise StopError("stale") from None


def check_form(request: web.Request, form: Mapping[str, list[str]]) -> None:
    """A form that was sent from a page of ours in this browser. Raises StopError."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise StopError("stale")
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        raise StopError("cookies")
    if not hmac.compare_digest(csrf_of(secret).encode(), "".join(form.get("csrf", ())).encode()):
        raise StopError("stale")


class Guesses:
    """How many bad links each sender tried lately. By process, in memory: a guess hits once in 10²¹ anyway."""

    def __init__(self, deps: PageDeps) -> None:
        self._deps = deps
        self._tried: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def over(self, sender: str) -> bool:
        """Whether a sender has had its share."""
        since, count = self._tried.get(sender, (0.0, 0))
        return count >= GUESSES and self._deps.clock.monotonic() - since < GUESSES_WITHIN_S

    def missed(self, sender: str) -> None:
        """Counts a bad link."""
        now = self._deps.clock.monotonic()
        since, count = self._tried.pop(sender, (now, 0))
        self._tried[sender] = (since, count + 1) if now - since < GUESSES_WITHIN_S else (now, 1)
        while len(self._tried) > MOST_GUESSERS:
            self._tried.popitem(last=False)


class Door:
    """Reads links and cookies."""

    def __init__(self, deps: PageDeps) -> None:
        self._deps = deps
        self.guesses = Guesses(deps)

    async def visit(self, request: web.Request) -> Visit:
        """Who comes. Raises StopError where the link opens nothing, StoreError."""
        deps, token, sender = self._deps, request.match_info["token"], sender_of(request)
        try:
            link = await deps.links.read(token)
        except LinkError:
            if self.guesses.over(sender):
                raise StopError("too_many") from None
            self.guesses.missed(sender)
            raise StopError("unknown") from None
        buyer = await deps.queries.buyer(link.buyer)
        if buyer is None or buyer.erased:
            raise StopError("erased")
        merged = buyer.id != link.buyer
        if link.kind != "out" and (merged or link.revoked != buyer.revoked & REVOKED_MASK):
            raise StopError("revoked")
        secret = request.cookies.get(COOKIE, "")
        fresh = not secret
        known = link.kind != "out" and await deps.visits.knows(buyer, secret, deps.clock.real())
        if not known and link.ends_at <= deps.clock.now():
            raise StopError("expired")
        return Visit(deps, request, token, link, buyer, secret or new_secret(), fresh, known)

    async def opens(self, visit: Visit) -> bool:
        """Whether one tap lets this browser in: a fresh link of a chat that nobody has opened yet."""
        if visit.link.kind != "chat" or self._deps.clock.now() - visit.link.made_at > OPENS_MS:
            return False
        return not await self._deps.visits.is_opened(visit.buyer.id, visit.token)
