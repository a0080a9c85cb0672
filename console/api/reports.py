"""Reports: tables for other programs, as CSV, written piece by piece."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from aiohttp import web

from bot.clock import rfc3339
from console.api.http import Call
from console.api.past import past
from console.api.shared import whereabouts
from ledger import lookups

PAGE = 1000
COLUMNS = ("at", "buyer", "account", "id", "topic", "verdict", "wording", "source")
_NUMBER = re.compile(r"\+\d{1,20}", re.ASCII)


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
    await answer.prepare(call.request)
    await answer.write(_lines([COLUMNS]))
    while page:
        rows = [(rfc3339(r.at), r.buyer, r.account, r.address, r.topic, r.verdict, r.wording, r.source) for r in page]
        await answer.write(_lines(rows))
        if len(page) < PAGE:
            break
        last = page[-1]
        async with call.deps.history.connection() as connection:
            page = await lookups.consents(
                connection, buyers_wanted=known, after=(last.partition, last.ms, last.seq, last.line), limit=PAGE
            )
    await answer.write_eof()
    return answer


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _safe(cell: str) -> str:
    """What a spreadsheet would take for a formula is marked as text; a phone number is none."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(cell) else cell
