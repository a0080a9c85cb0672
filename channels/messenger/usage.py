"""How much of its allowance Meta says is used, with every answer: X-App-Usage and X-Business-Use-Case-Usage, in percent.

Source: Graph API rate limits, read September 2026. Calls slow down from 75 % and stop at 95 %: at 100 % Meta refuses the whole
app for up to an hour, its other pages too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bot.ports import HttpResponse

SLOW_FROM, STOP_AT = 75.0, 95.0
SLOWEST = 0.05
COUNTED = ("call_count", "total_cputime", "total_time")


def rows(response: HttpResponse) -> Iterator[Mapping[str, Any]]:
    """The tables of both headers; whatever is malformed is left out."""
    app = _json(response, "x-app-usage")
    if isinstance(app, dict):
        yield app
    business = _json(response, "x-business-use-case-usage")
    if isinstance(business, dict):
        for found in business.values():
            yield from (row for row in (found if isinstance(found, list) else ()) if isinstance(row, dict))


def share_of_rate(response: HttpResponse) -> float:
    """What of the usual rate may be used from here on: 1 up to 75 %, falling to 0.05; 0 from 95 % on."""
    values = [row.get(name) for row in rows(response) for name in COUNTED]
    used = max((float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)), default=0.0)
    if used >= STOP_AT:
        return 0.0
    return min(1.0, max(SLOWEST, (STOP_AT - used) / (STOP_AT - SLOW_FROM)))


def _json(response: HttpResponse, name: str) -> Any:
    try:
        return json.loads(response.headers.get(name, ""))
    except (ValueError, RecursionError):
        return None
