"""The landing page `/`: what this is, how each account stands, and the way to everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

from aiohttp import web

WORDS = {
    "zh": {
        "lead": "一个网关，接住微信、Messenger 和短信里的买家，把订单、物流和会员的每一声招呼说对、说准时。",
        "accounts": "线路",
        "sandbox": "打开沙盒：三部手机试一遍",
        "api": "接口说明（OpenAPI）",
        "health": "健康状况",
        "ok": "正常",
        "paused": "需要处理：暂停发送，原因见日志",
        "wechat": "微信公众号",
        "messenger": "Messenger",
        "twilio": "短信（Twilio）",
        "alibaba": "短信（阿里云）",
        "other": '<a href="/?lang=en">English</a>',
    },
    "en": {
        "lead": "One gateway for buyers in WeChat, Messenger and SMS: every word about orders, parcels and membership, right and on time.",
        "accounts": "Accounts",
        "sandbox": "Open the sandbox: try it on three phones",
        "api": "API description (OpenAPI)",
        "health": "Health",
        "ok": "working",
        "paused": "needs attention: sending is paused, the log says why",
        "wechat": "WeChat Official Account",
        "messenger": "Messenger",
        "twilio": "Text messages (Twilio)",
        "alibaba": "Text messages (Alibaba Cloud)",
        "other": '<a href="/?lang=zh">中文</a>',
    },
}
STYLE = (
    ":root{color-scheme:light dark;--a:#1f6f5c;--l:#d9dee3;--s:#5c6670}"
    "@media(prefers-color-scheme:dark){:root{--a:#6fcdb4;--l:#353d45;--s:#a3adb7}}"
    "body{font:16px/1.6 system-ui,'PingFang SC','Noto Sans SC','Noto Sans CJK SC','Microsoft YaHei',sans-serif;max-width:720px;margin:8vh auto;padding:0 20px}"
    "h1{margin:0}a{color:var(--a)}p.lead{font-size:18px;color:var(--s)}table{border-collapse:collapse;width:100%}"
    "td{border-top:1px solid var(--l);padding:8px 4px}td+td{color:var(--s)}td.ok{color:var(--a)}td.bad{color:#b3261e}@media(prefers-color-scheme:dark){td.bad{color:#ff8f87}}"
    "a.main{display:inline-block;background:var(--a);color:Canvas;padding:8px 16px;border-radius:8px;text-decoration:none;margin:12px 0}"
)


@dataclass(frozen=True, slots=True)
class LandingDeps:
    """What the page tells. `waits` gives the seconds for which each account is paused."""

    brand: str
    locale: str
    sandbox: bool
    waits: Callable[[], Mapping[str, tuple[str, float]]]


def add_routes(app: web.Application, deps: LandingDeps) -> None:
    """Mounts `/`."""

    async def landing(request: web.Request) -> web.Response:
        wanted = request.query.get("lang") or ("zh" if deps.locale.startswith("zh") else "en")
        return web.Response(text=_page(deps, "en" if wanted == "en" else "zh"), content_type="text/html")

    app.router.add_get("/", landing)


def _state(w: Mapping[str, str], wait_s: float) -> str:
    return f'<td class="ok">● {w["ok"]}' if wait_s <= 0 else f'<td class="bad">▲ {w["paused"]}'


def _page(deps: LandingDeps, lang: str) -> str:
    w = WORDS[lang]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(w.get(kind, kind))}</td>{_state(w, wait)}</td></tr>"
        for name, (kind, wait) in deps.waits().items()
    )
    sandbox = (
        f'<p><a class="main" href="/sandbox/?lang={"en" if lang == "en" else "zh-CN"}">{w["sandbox"]}</a></p>'
        if deps.sandbox
        else ""
    )
    return (
        f'<!doctype html><html lang="{"en" if lang == "en" else "zh-CN"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,"><title>Touchpoint · {escape(deps.brand)}</title>'
        f"<style>{STYLE}</style></head><body><main><h1>Touchpoint</h1><p>{escape(deps.brand)} · {w['other']}</p>"
        f'<p class="lead">{w["lead"]}</p>{sandbox}<h2>{w["accounts"]}</h2><table>{rows}</table>'
        f'<p><a href="/api/v1/openapi.json">{w["api"]}</a> · <a href="/readyz">{w["health"]}</a></p></main></body></html>'
    )
