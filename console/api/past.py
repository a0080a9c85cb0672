"""Questions about the past: answered by the ledger, once it knows what had happened when the question came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.clock import SystemClock, rfc3339
from bot.errors import NotYetError
from bot.queries import StoredMessage
from console.api.http import Call
from ledger import lookups
from ledger.places import after, place

PROJECTED_WITHIN_S = 2.0
UNTIL = "X-History-Until"


@asynccontextmanager
async def past(call: Call, partitions: Sequence[int] | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection to the ledger for one answer about these partitions (None: all). Raises LedgerError.

    What the caller has just done is told: the projection is waited for, two seconds at most. Where it is further behind,
    the answer says up to when it is whole, in the header X-History-Until.
    """
    deps = call.deps
    if behind := await projected(deps.clock, deps.history.positions, await deps.queries.ends(partitions)):
        # The journal's own time is real; callers see the sandbox's.
        oldest = min(map(place, behind))[0]
        call.headers[UNTIL] = rfc3339(oldest + deps.clock.offset() if oldest else 0)
    async with call.deps.history.connection() as connection:
        yield connection


async def projected(
    clock: SystemClock, positions: Callable[[], Awaitable[Mapping[int, str]]], wanted: Mapping[int, str]
) -> list[str]:
    """Waits until the ledger has come as far as `wanted`, two seconds at most; up to where it is in partitions that are behind."""
    pause = 0.01
    end = clock.monotonic() + PROJECTED_WITHIN_S
    while True:
        late = clock.monotonic() > end
        try:
            known = await positions()
        except NotYetError:
            if late:
                raise
        else:
            behind = [known.get(p, "") for p, head in wanted.items() if after(head, known.get(p, ""))]
            if late or not behind:
                return behind
        await asyncio.sleep(pause)  # a ledger that is only just being prepared is waited for as well
        pause = min(pause * 1.5, 0.1)


async def as_now(call: Call, rows: Sequence[tuple[StoredMessage, str]]) -> list[tuple[StoredMessage, str]]:
    """Messages that the ledger found as Redis knows them; those no longer kept there with their history from the ledger."""
    here = await call.deps.queries.messages_by_id([m.message.id for m, _ in rows])
    gone = [id for m, _ in rows if (id := m.message.id) not in here]
    steps = {}
    if gone:
        async with call.deps.history.connection() as connection:
            steps = await lookups.histories(connection, gone)
    found = []
    for old, owner in rows:
        id = old.message.id
        found.append((here[id] if id in here else replace(old, history=steps.get(id, ())), owner))
    return found
