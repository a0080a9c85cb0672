"""The pages of `docs/` that an answer of the gateway leads to: `/docs/problems` and `/docs/api`, as HTML."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise
from pathlib import Path

from aiohttp import web
from markdown_it import MarkdownIt

FOLDER = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("problems", "api")
STYLE = (
    ":root{color-scheme:light dark;--a:#1f6f5c;--l:#d9dee3}@media(prefers-color-scheme:dark){:root{--a:#6fcdb4;--l:#353d45}}"
    "body{font:16px/1.6 system-ui,sans-serif;max-width:760px;margin:5vh auto;padding:0 20px}a{color:var(--a)}"
    "pre{overflow-x:auto;border:1px solid var(--l);border-radius:8px;padding:12px}code{font-family:ui-monospace,monospace;font-size:14px}"
    "table{border-collapse:collapse}td,th{border-top:1px solid var(--l);padding:4px 8px;text-align:left}:target{background:color-mix(in srgb,var(--a) 15%,transparent)}"
)
_NAMED = re.compile(r"`([a-z-]+)`")


def add_routes(app: web.Application) -> None:
    """Mounts the pages."""

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.Response(text=html(name), content_type="text/html")

    app.router.add_get(f"/docs/{{name:{'|'.join(PAGES)}}}", page)


def html(name: str) -> str:
    """One page. A heading that begins with a `name` can be linked to by it."""
    source = (FOLDER / f"{name}.md").read_text("utf-8")
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(source)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and (found := _NAMED.match(inline.content)):
            opening.attrSet("id", found[1])
    body = renderer.renderer.render(tokens, renderer.options, {})
    title = escape(source.partition("\n")[0].removeprefix("# "))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Touchpoint · {title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>'
    )
