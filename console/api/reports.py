"""Reports: tables for other programs, as CSV, written piece by piece."""

from __future__ import annotations

from aiohttp import web

from bot.clock import rfc3339
from console.api.http import Call, begun
from console.api.past import past
from console.api.shared import whereabouts
from console.csvs import lines
from ledger import lookups

PAGE = 1000
COLUMNS = ("at", "buyer", "account", "id", "topic", "verdict", "wording", "source", "ip", "browser")


async def consents(call: Call) -> web.StreamResponse:
    """GET /reports/consents: one line per answer, oldest first within a partition."""
    known: set[str] = set()
    partitions = None
    if buyer := call.query("buyer"):
        known, partitions = await whereabouts(call, buyer)
    async with past(call, partitions) as connection:
        page = await lookups.consents(connection, buyers_wanted=known, limit=PAGE)
    headers = {"Content-Disposition": 'attachment; filename="consents.csv"', **call.headers}
    answer = web.StreamResponse(headers={"Content-Type": "text/csv; charset=utf-8", **headers})
    if not await begun(answer, call.request):
        return answer
    await answer.write(lines([COLUMNS]))
    while page:
        rows = [
            (rfc3339(r.at), r.buyer, r.account, r.address, r.topic, r.verdict, r.wording, r.source, r.ip, r.browser)
            for r in page
        ]
        await answer.write(lines(rows))
        if len(page) < PAGE:
            break
        last = page[-1]
        async with call.deps.history.connection() as connection:
            page = await lookups.consents(
                connection, buyers_wanted=known, after=(last.partition, last.ms, last.seq, last.line), limit=PAGE
            )
    await answer.write_eof()
    return answer
