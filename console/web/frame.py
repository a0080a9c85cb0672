"""How a console page is made: one frame, one stylesheet, scripts of our own only; and the headers under which it goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bot.access import COOKIE, Session, session_of
from bot.clock import SystemClock
from bot.locales import LOCALES, negotiate
from bot.store import Store
from console.desk import Desk
from console.web.words import NAMES, WORDS

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "console" / "static"
LANGUAGE = "touchpoint_lang"
YEAR_S = 31_536_000
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class ConsoleDeps:
    """What the console takes. `secure`: it is reached by https, so that its cookies go by nothing else."""

    store: Store
    clock: SystemClock
    desk: Desk
    brand: str
    locale: str
    timezone: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """One look at a page: the language, and who is signed in."""

    deps: ConsoleDeps
    request: web.Request
    lang: str
    session: Session | None

    @property
    def words(self) -> Mapping[str, Any]:
        """The page's words."""
        return WORDS[self.lang]


async def visit_of(deps: ConsoleDeps, request: web.Request) -> Visit:
    """Who looks, and in which language: asked for, kept, the browser's, the shop's."""
    asked = request.query.get("lang") or request.cookies.get(LANGUAGE, "")
    lang = asked if asked in LOCALES else _accepted(request.headers.get("Accept-Language", "")) or deps.locale
    cookie = request.cookies.get(COOKIE, "")
    session = await session_of(deps.store, cookie) if cookie else None
    return Visit(deps, request, lang if lang in LOCALES else "zh-CN", session)


def page(visit: Visit, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """A page of templates/console."""
    session, words = visit.session, visit.words
    text = (
        _environment()
        .get_template(template)
        .render(
            w=words,
            lang=visit.lang,
            languages=NAMES,
            path=visit.request.path,
            place="segments" if visit.request.path.startswith("/console/segments") else "broadcasts",
            brand=visit.deps.brand,
            caller=session.caller if session else None,
            csrf=session.csrf if session else "",
            release=release(),
            **values,
        )
    )
    answer = web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)
    if visit.request.query.get("lang") == visit.lang:
        answer.set_cookie(
            LANGUAGE, visit.lang, max_age=YEAR_S, path="/console", samesite="Lax", secure=visit.deps.secure
        )
    return answer


def data(value: Any) -> Markup:
    """A value for a script of type application/json: it cannot end its element."""
    text = json.dumps(value, ensure_ascii=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704  # escaped


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(ROOT / "templates" / "console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["data"] = data
    return made


@cache
def release() -> str:
    """A mark in the addresses of static files: it changes with the files, so that a browser never shows an old script."""
    newest = max(path.stat().st_mtime_ns for path in STATIC.iterdir())
    return f"{newest:x}"


def _accepted(header: str) -> str:
    for part in header.split(",")[:10]:
        if found := negotiate(part.partition(";")[0].strip()):
            return found
    return ""
