"""The console's routes: signing in and out, the pages of broadcasts, the static files."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from bot.access import COOKIE, LOCKED_MS, ROLES, close_session, guessed, locked_out, open_session
from bot.bodies import form_of
from bot.errors import LedgerError, RequestError, StoreError
from bot.proxies import sender_of
from console.api.refusals import Refusal
from console.web import pages, results, segments
from console.web.frame import HEADERS, STATIC, ConsoleDeps, Visit, page, release, visit_of

HOME = "/console/broadcasts"
SIGN_IN = "/console/sign-in"
MOST_FORM = 16_384
FILES = {"css": "text/css", "js": "text/javascript"}
_OURS = re.compile(r"/console/[\w/-]+", re.ASCII)
Show = Callable[[Visit], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, deps: ConsoleDeps) -> None:
    """Mounts /console."""
    router = app.router
    router.add_get("/console", _moved)
    router.add_get("/console/", _moved)
    router.add_get(SIGN_IN, _served(deps, _ask, signed_in=False))
    router.add_post(SIGN_IN, _served(deps, _sign_in, signed_in=False))
    router.add_post("/console/sign-out", _served(deps, _sign_out, signed_in=False))
    router.add_get(HOME, _served(deps, pages.overview))
    router.add_get(f"{HOME}/new", _served(deps, pages.compose, may="marketing"))
    router.add_get(f"{HOME}/{{id}}", _served(deps, pages.detail))
    router.add_get(f"{HOME}/{{id}}/edit", _served(deps, pages.compose, may="marketing"))
    router.add_get(f"{HOME}/{{id}}/results.csv", _served(deps, results.download))
    router.add_get(f"{HOME}/{{id}}/messages", _served(deps, pages.messages))
    router.add_get(segments.HOME, _served(deps, segments.overview))
    router.add_get(f"{segments.HOME}/new", _served(deps, segments.one, may="marketing"))
    router.add_get(f"{segments.HOME}/{{id}}", _served(deps, segments.one))
    router.add_get("/console/static/{name:[a-z]+\\.(css|js)}", _file)


async def _moved(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": HOME})


async def _file(request: web.Request) -> web.StreamResponse:
    path = STATIC / request.match_info["name"]
    if not path.is_file():
        raise web.HTTPNotFound
    # An address with the mark that changes with the files is kept for good; what a script imports carries none, and is asked for again.
    marked = request.query_string == release()
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if marked else "no-cache",
        "ETag": f'"{release()}"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    text = path.read_text("utf-8")  # a few KiB, from the page cache
    return web.Response(text=text, content_type=FILES[path.suffix[1:]], charset="utf-8", headers=headers)


def _served(deps: ConsoleDeps, show: Show, *, may: str = "read", signed_in: bool = True) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            visit = await visit_of(deps, request)
        except StoreError:
            visit = Visit(deps, request, deps.locale, None)
            return page(visit, "trouble.html", status=503, what="away")
        try:
            if signed_in and visit.session is None:
                return _to_sign_in(request)
            if signed_in and visit.session and may not in ROLES.get(visit.session.caller.role, frozenset()):
                return page(visit, "trouble.html", status=403, what="not_allowed")
            return await show(visit)
        except (Refusal, RequestError) as error:
            return page(
                visit, "trouble.html", status=error.status, what="not_found" if error.status == 404 else "wrong"
            )
        except (LedgerError, StoreError):
            return page(visit, "trouble.html", status=503, what="away")

    return handler


def _to_sign_in(request: web.Request) -> web.Response:
    return web.Response(status=303, headers={**HEADERS, "Location": f"{SIGN_IN}?next={request.rel_url.raw_path}"})


# --- signing in -------------------------------------------------------------------------------------------------------


async def _ask(visit: Visit) -> web.StreamResponse:
    query = visit.request.query
    return page(visit, "sign_in.html", code=query.get("code", ""), next=query.get("next", ""), fault="")


async def _sign_in(visit: Visit) -> web.StreamResponse:
    request, deps = visit.request, visit.deps
    if not _from_here(request):
        return page(visit, "trouble.html", status=403, what="not_from_here")
    form = await form_of(request, MOST_FORM)
    code, token, onward = ("".join(form.get(name, ())).strip() for name in ("code", "token", "next"))
    who = sender_of(request)
    if await locked_out(deps.store, who):
        answer = page(visit, "sign_in.html", status=429, code="", next=onward, fault="locked_out")
        answer.headers["Retry-After"] = str(LOCKED_MS // 1000)
        return answer
    cookie = await open_session(deps.store, code or token, code=bool(code)) if code or token else ""
    if not cookie:
        await guessed(deps.store, who)
        return page(visit, "sign_in.html", status=401, code="", next=onward, fault="bad_code" if code else "bad_token")
    there = onward if _OURS.fullmatch(onward) else HOME
    done = web.Response(status=303, headers={**HEADERS, "Location": there})
    done.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="Strict", secure=deps.secure)
    return done


async def _sign_out(visit: Visit) -> web.StreamResponse:
    if not _from_here(visit.request):
        return page(visit, "trouble.html", status=403, what="not_from_here")
    if cookie := visit.request.cookies.get(COOKIE, ""):
        await close_session(visit.deps.store, cookie)
    done = web.Response(status=303, headers={**HEADERS, "Location": SIGN_IN})
    done.del_cookie(COOKIE, path="/")
    return done


def _from_here(request: web.Request) -> bool:
    """Whether a form was sent by one of our own pages: browsers say so, and nothing else signs in by a form."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("Host", "")
