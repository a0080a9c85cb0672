"""The pages of `docs/` that the gateway itself leads to, as HTML: `/docs/problems`, `/docs/api`, `/docs/broadcasts`."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise
from pathlib import Path

from aiohttp import web

from pages.style import BASE

FOLDER = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("problems", "api", "broadcasts")
STYLE = (
    BASE
    + """
body{font-size:16px;line-height:26px}main{max-width:800px;margin:0 auto;padding:24px 20px 64px;overflow-wrap:anywhere}
h1{font-size:24px;line-height:32px}h2{font-size:18px;line-height:26px;margin-top:32px}h1,h2,h3{text-wrap:balance}
pre{overflow-x:auto;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 16px;overflow-wrap:normal}
code{font:14px/20px ui-monospace,Menlo,Consolas,monospace}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border-top:1px solid var(--line);padding:6px 12px 6px 0;text-align:left;vertical-align:top}
:target{background:var(--panel);box-shadow:0 0 0 8px var(--panel);border-radius:1px}
"""
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
    from markdown_it import MarkdownIt  # noqa: PLC0415  # a tenth of a second that no start needs

    source = (FOLDER / f"{name}.md").read_text("utf-8")
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(source)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and (found := _NAMED.match(inline.content)):
            opening.attrSet("id", found[1])
    body = renderer.renderer.render(tokens, renderer.options, {})
    body = re.sub("<(pre|table)>", r'<\1 tabindex="0">', body)  # what scrolls sideways can be scrolled by keys
    title = escape(source.partition("\n")[0].removeprefix("# "))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Touchpoint · {title}</title><style>{STYLE}</style></head><body>'
        f'<header><b><a href="/">Touchpoint</a></b><span>{title}</span></header><main>{body}</main></body></html>'
    )
