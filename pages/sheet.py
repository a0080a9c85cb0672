"""How a buyer page is made: one frame, one stylesheet, no script but on one page; and the headers under which it goes out.

Nothing of a page is kept by caches, shown in frames, found by search engines, or told to where its links lead.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cache, partial
from types import MappingProxyType

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bot import wording
from bot.locales import LOCALES
from pages.style import BASE
from pages.words import FOLDER, NAMES, accepted, known, say

LANGUAGE = "tp_lang"
STYLE = BASE + (FOLDER / "page.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = {
    "default-src": "'none'",
    "style-src": f"'sha256-{_HASH}'",
    "img-src": "data:",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


NOTHING_ELSE: Mapping[str, str] = MappingProxyType({})


def policy(sources: Mapping[str, str]) -> str:
    """What a page may load: our stylesheet and pictures in the page itself, and what else this one names, by directive."""
    return "; ".join(f"{directive} {allowed}" for directive, allowed in {**_POLICY, **sources}.items())


HEADERS = {
    "Content-Security-Policy": policy({}),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Shop:
    """What every page says of the shop."""

    brand: str
    brands: Mapping[str, str]  # by locale, where it has another name there
    locale: str
    timezone: tzinfo
    privacy_url: str = ""
    phone: str = ""
    hours: str = ""
    secure: bool = False  # the pages are reached by https
    values: Mapping[str, object] = field(default_factory=dict)

    def named(self, locale: str) -> str:
        """What the shop is called in a language."""
        return self.brands.get(locale, self.brand)


@cache
def _environment(locale: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["money"] = partial(wording.money, locale)
    made.filters["day"] = partial(wording.day, locale)
    made.filters["clock"] = wording.clock
    made.globals["t"] = partial(say, locale)
    made.globals["locale"] = locale
    return made


def locale_of(request: web.Request, shop: Shop, buyer: str = "") -> str:
    """The language of a page: what was switched to, else the buyer's own, the browser's, the shop's."""
    wanted = (request.query.get("lang", ""), request.cookies.get(LANGUAGE, ""), buyer)
    chosen = next((locale for locale in map(known, wanted) if locale), "")
    return chosen or accepted(request.headers.get("Accept-Language", "")) or shop.locale


def page(
    request: web.Request,
    shop: Shop,
    template: str,
    locale: str,
    *,
    status: int = 200,
    base: str = "/b",
    sources: Mapping[str, str] = NOTHING_ELSE,
    **values: object,
) -> web.Response:
    """A page by its template's name, e.g. `privacy`. `sources`: what it loads besides."""
    sheet = _environment(locale).get_template(f"{template}.html")
    # The same page in another language, without what else the query carried.
    languages = [(one, NAMES[one], f"{request.path}?lang={one}") for one in LOCALES if request.method == "GET"]
    body = sheet.render(
        shop=shop,
        brand=shop.named(locale),
        tz=shop.timezone,
        base=base,
        languages=languages,
        style=Markup(STYLE),  # noqa: S704  # a file of ours
        **values,
    )
    headers = {**HEADERS, "Content-Security-Policy": policy(sources)}
    answer = web.Response(status=status, text=body, content_type="text/html", headers=headers)
    if known(request.query.get("lang", "")):
        answer.set_cookie(
            LANGUAGE, locale, path="/b", max_age=31_536_000, httponly=True, samesite="Lax", secure=shop.secure
        )
    return answer
