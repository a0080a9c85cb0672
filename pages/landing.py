"""The landing page `/`: what this is, how each account stands, and the way to everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from aiohttp import web

from bot.clock import rfc3339
from bot.standing import Standing
from pages.landing_words import WORDS
from pages.style import BASE

STYLE = (
    BASE
    + """
main{max-width:760px;margin:0 auto;padding:48px 20px;display:grid;gap:20px}main>*{min-width:0}
h1{font-size:24px;line-height:34px;margin:0;text-wrap:balance;word-break:keep-all;overflow-wrap:anywhere}h2{font-size:14px;line-height:20px;margin:0 0 8px;font-weight:600}p{margin:0}.soft{color:var(--soft)}
.go{display:flex;flex-wrap:wrap;align-items:center;gap:12px 16px}
a.main{background:var(--accent);color:var(--accent-ink);padding:10px 20px;border-radius:8px;text-decoration:none;font-weight:600}
section{background:var(--panel);border:1px solid var(--line);border-radius:12px;padding:16px 20px}
table{border-collapse:collapse;width:100%}td{border-top:1px solid var(--line);padding:8px 12px 8px 0;vertical-align:top}td:last-child{padding-right:0;text-align:right}
tr:first-child td{border-top:0}td b{font-weight:600;overflow-wrap:anywhere}code{font:12px/16px ui-monospace,Menlo,Consolas,monospace;color:var(--soft);overflow-wrap:anywhere}
.ok{color:var(--accent)}.bad{color:var(--fail)}.note{display:block;color:var(--soft);font-size:12px;line-height:16px}
ul{list-style:none;margin:0;padding:0;display:grid;gap:8px}
@media(max-width:560px){main{padding:28px 12px}section{padding:12px 16px}h1{font-size:20px;line-height:28px}}
"""
)


@dataclass(frozen=True, slots=True)
class AccountState:
    """One configured line: how it stands, and whether its provider is simulated."""

    standing: Standing
    simulated: bool


@dataclass(frozen=True, slots=True)
class LandingDeps:
    """What the page tells. `accounts` gives the state of each line at this moment."""

    brand: str
    locale: str
    sandbox: bool
    accounts: Callable[[], Awaitable[Sequence[AccountState]]]
    shops: Sequence[str]


def add_routes(app: web.Application, deps: LandingDeps) -> None:
    """Mounts `/`."""

    async def landing(request: web.Request) -> web.Response:
        wanted = request.query.get("lang") or ("zh" if deps.locale.startswith("zh") else "en")
        page = _page(deps, "en" if wanted == "en" else "zh", await deps.accounts())
        return web.Response(text=page, content_type="text/html")

    app.router.add_get("/", landing)


def _account(w: Mapping[str, str], account: AccountState) -> str:
    """State, and what was told of the account in words of ours: who opens this page may be anybody."""
    one = account.standing
    sign = '<span class="ok">● ' if one.state == "ok" else '<span class="bad">▲ '
    note = f'<span class="note">{w["simulated"]}</span>' if account.simulated else ""
    troubles = "".join(
        f'<span class="note">{w["alert_" + alert.word]} <time datetime="{rfc3339(alert.at)}">{rfc3339(alert.at)[:16].replace("T", " ")} UTC</time></span>'
        for alert in one.troubles
    )
    where = f"<code>/channels/{escape(one.name)}/webhook</code>"
    return (
        f"<tr><td><b>{escape(w.get(one.type, one.type))}</b><br>{where}{troubles}</td>"
        f"<td>{sign}{w[one.state]}</span>{note}</td></tr>"
    )


def _shop(w: Mapping[str, str], name: str) -> str:
    where = f"<b>{escape(name)}</b><br><code>/shops/{escape(name)}/webhook</code>"
    return f'<tr><td>{where}</td><td class="soft">{w["listens"]}</td></tr>'


def _page(deps: LandingDeps, lang: str, standing: Sequence[AccountState]) -> str:
    w, tag = WORDS[lang], "en" if lang == "en" else "zh-CN"
    accounts = "".join(_account(w, account) for account in standing)
    shops = "".join(_shop(w, name) for name in deps.shops)
    sandbox = (
        f'<p class="go"><a class="main" href="/sandbox/?lang={tag}">{w["sandbox"]}</a><span class="soft">{w["sandbox_note"]}</span></p>'
        if deps.sandbox
        else f'<p class="soft">{w["live"]}</p>'
    )
    links = "".join(f"<li>{w[key]}</li>" for key in ("api", "health", "metrics", "docs", "console"))
    return (
        f'<!doctype html><html lang="{tag}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,"><title>Touchpoint · {escape(deps.brand)}</title>'
        f"<style>{STYLE}</style></head><body><header><b>Touchpoint</b><span>{escape(deps.brand)}</span>{w['other']}</header>"
        f"<main><h1>{w['lead']}</h1>{sandbox}"
        f"<section><h2>{w['accounts']}</h2><table>{accounts}</table></section>"
        + (f"<section><h2>{w['shops']}</h2><table>{shops}</table></section>" if shops else "")
        + f"<section><h2>{w['more']}</h2><ul>{links}</ul></section></main></body></html>"
    )
