"""The sandbox's routes: simulated providers, phones, shop, clock, faults, and the page that shows them all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import redis.asyncio as aioredis
from aiohttp import web

from bot.bodies import body_of
from bot.clock import rfc3339
from bot.errors import RequestError
from bot.problems import problem
from sandbox.access import COOKIE, PHONE, holds, refusal
from sandbox.outward import Outward
from sandbox.providers.alibaba import AlibabaProvider
from sandbox.providers.common import World
from sandbox.providers.messenger import MessengerProvider
from sandbox.providers.twilio import TwilioProvider
from sandbox.providers.wechat import WeChatProvider
from sandbox.shop import VERBS, ShopProvider
from sandbox.state import Phones, SandboxClock
from sandbox.wechat_app import WeChatApp

STATIC = Path(__file__).parent / "static"
ASSETS = frozenset(path.name for path in STATIC.glob("*.*") if path.suffix in (".css", ".js"))
BUYER_NAME = "林小满"
BUYER_PHONE = "+8613900001234"
IDS = {"wechat": "oSandboxLinXiaoman01", "messenger": "7001002003004005", "twilio": BUYER_PHONE, "alibaba": BUYER_PHONE}
FAULTS = ("429", "500", "hang", "html", "reset", "drop_after_accept", "duplicate")
WECHAT_FAULTS = ("token_superseded", "token_expired")
MOST_ADVANCE_S = 400 * 86400
TOUR_ADVANCE_S = 7200  # the tour's step "two hours later"
FIRST_LOOK_S = 0.4  # a buyer who has just followed reads the greeting before writing
MOST_SAID, MOST_FAULTS, MOST_BODY = 4000, 1000, 1024 * 1024
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_ID = {
    "wechat": re.compile(r"[\w-]{1,64}"),
    "messenger": re.compile(r"\d{1,32}"),
    "twilio": _NUMBER,
    "alibaba": _NUMBER,
}
_ERRCODE = re.compile(r"errcode:[\w./-]{1,60}")


class Clock(SandboxClock, Protocol):
    """The clock, and how it is moved."""

    async def advance(self, seconds: float) -> int:
        """Moves the virtual clock of all processes; answers the new time, ms."""
        ...

    async def next_due(self) -> int:
        """When the next timer is due, ms; 0 for none."""
        ...


class Provider(Protocol):
    """A simulated provider, as the phones use it."""

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the provider's API."""
        ...

    async def say(self, name: str, id: str, *, text: str = "", payload: str = "") -> int:
        """The buyer writes or taps."""
        ...

    async def start(self, name: str, id: str, scene: str = "") -> int:
        """The buyer makes first contact, or scans a code with this scene."""
        ...

    async def leave(self, name: str, id: str) -> int:
        """The buyer unfollows."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxDeps:
    """What the gateway lends the sandbox. `base` is its own address, `token` "" where loopback is enough."""

    redis: aioredis.Redis
    clock: Clock
    channels: Mapping[str, Any]
    shops: Mapping[str, Any]
    base: str
    public_url: str
    token: str
    brand: str
    timezone: str
    decisions: Callable[[int], Awaitable[list[dict[str, Any]]]]


class Sandbox:
    """All simulated parts of one gateway process."""

    def __init__(self, deps: SandboxDeps, session: aiohttp.ClientSession) -> None:
        self.deps = deps
        self.phones = Phones(deps.redis, deps.clock)
        self.outward = Outward(session)
        self.world = World(self.phones, self.outward, deps.base, deps.public_url)
        kinds: Mapping[str, type[Any]] = {
            "wechat": WeChatProvider,
            "messenger": MessengerProvider,
            "twilio": TwilioProvider,
            "alibaba": AlibabaProvider,
        }
        self.providers: dict[str, Provider] = {}
        for kind, make in kinds.items():
            configs = {name: config for name, config in deps.channels.items() if config.type == kind}
            if configs:
                self.providers[kind] = make(self.world, configs, *((BUYER_PHONE,) if kind == "messenger" else ()))
        buyer = {"ref": "c701", "name": BUYER_NAME, "phones": [BUYER_PHONE], "locale": "zh-CN"}
        self.shops = {name: ShopProvider(self.world, name, config, buyer) for name, config in deps.shops.items()}

    def add_routes(self, app: web.Application) -> None:
        """Mounts everything under /sandbox."""
        for kind, provider in self.providers.items():
            provider.add_routes(app, f"/sandbox/providers/{kind}")
        route = app.router
        route.add_get("/sandbox", self._guarded(self.page))
        route.add_get("/sandbox/", self._guarded(self.page))
        route.add_get("/sandbox/static/{name}", self.static)
        route.add_get("/sandbox/{page:pay|order|cart}/{id}", self._guarded(self.back))
        route.add_get("/sandbox/state.json", self._guarded(self.state))
        route.add_get("/sandbox/clock", self._guarded(self.clock))
        route.add_post("/sandbox/clock", self._guarded(self.advance))
        route.add_get("/sandbox/phones/{account}/{id}/messages", self._guarded(self.messages))
        route.add_post("/sandbox/phones/{account}/{id}/say", self._guarded(self.say))
        route.add_post("/sandbox/phones/{account}/{id}/start", self._guarded(self.start))
        route.add_post("/sandbox/phones/{account}/{id}/leave", self._guarded(self.leave))
        route.add_post("/sandbox/phones/{account}/{id}/staff", self._guarded(self.staff))
        route.add_get("/sandbox/phones/{account}/{id}/open", self._guarded(self.open))
        if "wechat" in self.providers:
            WeChatApp(self).add_routes(app, self._guarded)
        route.add_post("/sandbox/shops/{shop}/{verb}", self._guarded(self.shop))
        route.add_post("/sandbox/faults/{account}", self._guarded(self.faults))
        route.add_get("/sandbox/ledger/{account}", self._guarded(self.ledger))

    # --- access ---------------------------------------------------------------------------------------------------

    def _guarded(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            by_token = holds(request, self.deps.token)
            if (refused := refusal(request, by_token=by_token)) is not None:
                return refused
            try:
                response = await handler(request)
            except RequestError as error:
                return problem(error.status, error.kind, error.detail, field=error.field)
            if by_token and "token" in request.query:
                response.set_cookie(COOKIE, self.deps.token, httponly=True, samesite="Strict")
            return response

        return guarded

    async def body(self, request: web.Request) -> dict[str, Any]:
        """The JSON object that a request carries. Raises RequestError."""
        raw = await body_of(request, MOST_BODY)
        try:
            value = json.loads(raw) if raw else {}
            _ = json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise RequestError("the body must be JSON") from error
        if not isinstance(value, dict):
            raise RequestError("the body must be a JSON object")
        return value

    def _account(self, request: web.Request) -> tuple[str, Provider, str]:
        name, id = request.match_info["account"], request.match_info.get("id", "")
        config = self.deps.channels.get(name)
        if config is None or config.type not in self.providers:
            names = ", ".join(self.deps.channels)
            raise _not_found("unknown-account", f"there is no simulated account of this name; there are: {names}")
        if "id" in request.match_info and not _ID[config.type].fullmatch(id):
            raise _not_found(
                "unknown-phone", f"no phone on {name} can have this id; the shown one is {IDS[config.type]}"
            )
        return name, self.providers[config.type], id

    # --- pages ----------------------------------------------------------------------------------------------------

    async def page(self, _: web.Request) -> web.StreamResponse:
        """The phone page."""
        return web.Response(body=(STATIC / "index.html").read_bytes(), content_type="text/html", charset="utf-8")

    async def back(self, _: web.Request) -> web.StreamResponse:
        """Where the links in the invented shop's messages lead."""
        return web.Response(status=302, headers={"Location": "/sandbox/"})

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Its style and script."""
        name = request.match_info["name"]
        if name not in ASSETS:
            return problem(404, "not-found", "no such file")
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return web.Response(body=(STATIC / name).read_bytes(), content_type=kind, charset="utf-8")

    async def state(self, request: web.Request) -> web.StreamResponse:
        """All that the page shows, in one answer; with ?have=VERSION only the time where nothing else is new."""
        phones = []
        for name, config in self.deps.channels.items():
            if config.type in self.providers:
                id = IDS[config.type]
                phones.append(
                    {"account": name, "type": config.type, "id": id, "messages": await self.phones.messages(name, id)}
                )
        decisions = [{**one, "what": _what(one)} for one in await self.deps.decisions(0)]
        body = {
            "next_due": await self.deps.clock.next_due(),
            "brand": self.deps.brand,
            "buyer": BUYER_NAME,
            "timezone": self.deps.timezone,
            "phones": phones,
            "shops": {name: await shop.orders() for name, shop in self.shops.items()},
            "decisions": decisions,
            "seen": await self.phones.saw(_final_keys(decisions)),
        }
        version = hashlib.blake2b(json.dumps(body, ensure_ascii=False).encode(), digest_size=8).hexdigest()
        now = self.deps.clock.now()
        if request.query.get("have") == version:
            return _json({"now": now, "version": version})
        return _json({"now": now, "version": version, **body})

    # --- clock ----------------------------------------------------------------------------------------------------

    async def clock(self, _: web.Request) -> web.StreamResponse:
        """The virtual time."""
        return _json({"now": rfc3339(self.deps.clock.now())})

    async def advance(self, request: web.Request) -> web.StreamResponse:
        """Moves the virtual clock forward; answers when every process has it."""
        body = await self.body(request)
        seconds = body.get("advance_s")
        if body.get("to") == "next":
            due = await self.deps.clock.next_due()
            seconds = max(1, (due - self.deps.clock.now()) / 1000 + 1) if due else 0
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_ADVANCE_S:
            raise RequestError(
                "advance_s must be a number of seconds, 0 or more: the clock runs forward only", field="advance_s"
            )
        if seconds >= TOUR_ADVANCE_S:
            await self.phones.saw({"clock"})
        return _json({"now": rfc3339(await self.deps.clock.advance(seconds))})

    # --- phones ---------------------------------------------------------------------------------------------------

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """What a simulated phone shows."""
        name, _, id = self._account(request)
        after, limit = _page_of(request)
        found = await self.phones.messages(name, id, after)
        goes_on = str(found[limit - 1]["n"]) if len(found) > limit else None
        return _json({"items": found[:limit], "next_cursor": goes_on})

    async def say(self, request: web.Request) -> web.StreamResponse:
        """The buyer writes `text`, or takes the choice `tap` (its payload or label)."""
        name, provider, id = self._account(request)
        body = await self.body(request)
        text, tap = body.get("text") or "", body.get("tap") or ""
        if not isinstance(text, str) or not isinstance(tap, str) or bool(text) == bool(tap):
            raise RequestError('write {"text": "…"} or {"tap": "…"}', field="text")
        if len(text) + len(tap) > MOST_SAID:
            raise RequestError(f"a buyer's message has at most {MOST_SAID} characters", field="text")
        payload, shown, kind = "", text, "text"
        if tap:
            text, payload, shown = await self._tapped(name, id, tap)
            kind = "text" if text or shown != payload else "menu"
        if isinstance(provider, WeChatProvider) and not await self.phones.exists(name, id):
            _ = await provider.start(name, id)
            await asyncio.sleep(FIRST_LOOK_S)
        await self.phones.show(name, id, **{"from": "buyer"}, kind=kind, text=shown)
        return _answered(await provider.say(name, id, text=text, payload=payload))

    async def _tapped(self, name: str, id: str, tap: str) -> tuple[str, str, str]:
        """The text, payload and label of a shown choice; a menu key or a template's button has no text."""
        for bubble in reversed(await self.phones.messages(name, id)):
            for choice in bubble.get("choices") or ():
                if tap in (choice["payload"], choice["label"]):
                    return "" if choice.get("postback") else choice["label"], choice["payload"], choice["label"]
        return "", tap, tap

    async def start(self, request: web.Request) -> web.StreamResponse:
        """The buyer follows the account or opens the chat; with {"scene": "…"} by a QR code or a link."""
        name, provider, id = self._account(request)
        scene = (await self.body(request)).get("scene", "")
        if not isinstance(scene, str) or len(scene) > 64:
            raise RequestError("scene must be a text of at most 64 characters", field="scene")
        return _answered(await provider.start(name, id, scene))

    async def leave(self, request: web.Request) -> web.StreamResponse:
        """The buyer unfollows the account."""
        name, provider, id = self._account(request)
        return _answered(await provider.leave(name, id))

    async def open(self, request: web.Request) -> web.StreamResponse:
        """A page of the gateway's, ?to=/b/…, as this phone's own browser shows it."""
        name, _, id = self._account(request)
        to = request.query.get("to", "")
        if not re.fullmatch(r"/b/[0-9A-Za-z]+(/[\w-]*)?(\?[\w=&%-]*)?", to):
            raise RequestError("to must be the path of a buyer page, such as /b/…", field="to")
        answer = web.Response(status=302, headers={"Location": to})
        answer.set_cookie(PHONE, f"{name}:{id}", httponly=True, samesite="Lax")
        return answer

    async def staff(self, request: web.Request) -> web.StreamResponse:
        """Staff in the provider's own screen: {"do": "open" | "switch" | "say" | "close", "by": "…", "text": "…"}."""
        name, provider, id = self._account(request)
        if not isinstance(provider, WeChatProvider):
            raise _not_found("no-sessions", "only WeChat has customer-service sessions")
        body = await self.body(request)
        do, by, text = body.get("do"), body.get("by", "kf2001@sandbox"), body.get("text", "")
        if do not in ("open", "switch", "say", "close"):
            raise RequestError('do must be "open", "switch", "say" or "close"', field="do")
        if not isinstance(by, str) or not re.fullmatch(r"[\w@.-]{1,40}", by):
            raise RequestError("by must be an account of the staff such as kf2001@sandbox", field="by")
        if not isinstance(text, str) or len(text) > MOST_SAID or (do == "say") != bool(text):
            raise RequestError('text goes with "say", and only with it', field="text")
        status = await provider.staff(name, id, do, by, text)
        if status == 409:
            return problem(409, "no-session", "there is no session" if do != "open" else "there is one already")
        return _answered(status)

    # --- shop, faults ---------------------------------------------------------------------------------------------

    async def shop(self, request: web.Request) -> web.StreamResponse:
        """The shop system does something."""
        name, verb = request.match_info["shop"], request.match_info["verb"]
        if name not in self.shops:
            return problem(404, "unknown-account", f"there is no shop {name!r}")
        if verb not in VERBS:
            return problem(404, "unknown-verb", f"a shop can {', '.join(VERBS)}")
        done = await self.shops[name].act(verb, await self.body(request))
        if verb == "abandon":
            await self.phones.saw({"abandoned"})
        if "detail" in done:
            return problem(404, "unknown-order", str(done["detail"]))
        return _json(done) if 200 <= int(done["status"]) < 300 else _answered(int(done["status"]))

    async def faults(self, request: web.Request) -> web.StreamResponse:
        """The next calls to this account's provider fail as told."""
        name, provider, _ = self._account(request)
        known = (*FAULTS, *(WECHAT_FAULTS if isinstance(provider, WeChatProvider) else ()))
        wanted = (await self.body(request)).get("next")
        if (
            not isinstance(wanted, list)
            or not all(isinstance(w, str) and (w in known or _ERRCODE.fullmatch(w)) for w in wanted)
            or not 0 < len(wanted) <= MOST_FAULTS
        ):
            raise RequestError(f'write {{"next": [...]}} with {", ".join(known)} or "errcode:45015"', field="next")
        await self.phones.plan_faults(name, wanted)
        return _json({"planned": len(wanted)})

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        """Everything that this simulated provider accepted."""
        name, _, _ = self._account(request)
        after, limit = _page_of(request)
        found = (await self.phones.ledger(name))[after:]
        return _json({"items": found[:limit], "next_cursor": str(after + limit) if len(found) > limit else None})


def _page_of(request: web.Request) -> tuple[int, int]:
    """Where a list goes on and how long its page is: all of it, unless a limit is given. Raises RequestError."""
    found = []
    for name, least, otherwise in (("cursor", 0, 0), ("limit", 1, sys.maxsize)):
        text = request.query.get(name, "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
            words = "a number of 1 or more" if least else "one that this list gave"
            raise RequestError(f"{name} must be {words}", field=name)
        found.append(int(text) if text else otherwise)
    return found[0], found[1]


def _final_keys(decisions: list[dict[str, Any]]) -> set[str]:
    """The wordings that were sent or refused: what the page's tour ticks off by."""
    return {one["what"] for one in decisions if one["outcome"] != "defer" and one["what"]}


def _what(decision: dict[str, Any]) -> str:
    """The wording that was decided on; a notice refused before it had one is named by its message key, `shop|notice|…`."""
    key = str(decision["key"])
    return key.split("|")[1] if "|" in key else key


def _not_found(kind: str, detail: str) -> RequestError:
    error = RequestError(detail)
    error.status, error.kind = 404, kind
    return error


def _answered(status: int) -> web.Response:
    """What the gateway said to a webhook: anything but 2xx is a fault worth showing."""
    if 200 <= status < 300:
        return _json({"status": status})
    why = f"answered {status}" if status else "did not answer"
    return problem(502, "not-taken", f"the gateway {why} to the provider's webhook")


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body, ensure_ascii=False).encode(), content_type="application/json"
    )


def add_routes(app: web.Application, deps: SandboxDeps) -> None:
    """Mounts the sandbox; its HTTP session lives as long as the app."""

    async def session(application: web.Application) -> Any:
        del application
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            sandbox.outward.session = client
            yield
            await sandbox.outward.close()

    sandbox = Sandbox(deps, None)  # type: ignore[arg-type]  # set before the first request
    sandbox.add_routes(app)
    app.cleanup_ctx.append(session)
