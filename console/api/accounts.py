"""The channel accounts and how they stand."""

from __future__ import annotations

from typing import Any

from console.api import shapes
from console.api.http import Call
from console.api.shared import bad_cursor, page


async def list_accounts(call: Call) -> tuple[int, Any]:
    """GET /accounts: by name; a cursor is the name to go on after."""
    after = call.query("cursor")
    found = sorted(await call.deps.standings(), key=lambda one: one.name)
    if after and after not in call.deps.accounts:
        raise bad_cursor()
    later = [one for one in found if one.name > after]
    return 200, page(later, call.limit, lambda one: one.name, shapes.account)
