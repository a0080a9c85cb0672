"""What became of a broadcast, as a table for a spreadsheet: one line per buyer, in the page's language, written piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from aiohttp import web

from bot.costs import cost
from bot.hours import local
from bot.queries import StoredMessage, message_place
from console.api.http import begun
from console.api.past import projected
from console.csvs import lines
from console.web.frame import HEADERS, Visit

PAGE = 1000
COLUMNS = ("at", "buyer", "name", "account", "to", "state", "reason", "code", "code_says", "parts", "cost", "text")


async def download(visit: Visit) -> web.StreamResponse:
    """GET /console/broadcasts/{id}/results.csv: begins with a mark by which spreadsheets know UTF-8."""
    desk = visit.deps.desk
    kept = await desk.get(visit.request.match_info["id"])
    await projected(desk.clock, desk.crowd.positions, await desk.queries.ends())
    page = await desk.crowd.results(kept.id, None, PAGE)
    named = f'attachment; filename="{kept.id}.csv"'
    answer = web.StreamResponse(
        headers={**HEADERS, "Content-Type": "text/csv; charset=utf-8", "Content-Disposition": named}
    )
    if not await begun(answer, visit.request):
        return answer
    await answer.write(b"\xef\xbb\xbf" + lines([[visit.words["csv"][name] for name in COLUMNS]]))
    while page:
        await answer.write(lines(_line(visit, message, name) for message, name in page))
        if len(page) < PAGE:
            break
        page = await desk.crowd.results(kept.id, message_place(page[-1][0]), PAGE)
    await answer.write_eof()
    return answer


def _line(visit: Visit, found: StoredMessage, name: str) -> Sequence[str]:
    w, m = visit.words, found.message
    why, _, code = found.reason.partition(":")
    spent = cost(m.price, found.parts) if found.state in ("sent", "delivered", "read") else None
    at = local(found.updated_at or m.created_at, ZoneInfo(visit.deps.timezone))
    text = getattr(m.content, "text", "") or getattr(m.content, "alt", "")
    return (
        f"{at:%Y-%m-%d %H:%M:%S}", m.buyer, name, m.account, m.to, w["message_state"].get(found.state, found.state),
        w["reason"].get(why, why), code, w["code"].get(code, ""), str(found.parts or ""),
        f"{spent.amount} {spent.currency}" if spent else "", text,
    )  # fmt: skip
