"""Timelines: newest first by the time that each line tells, whole, whatever the size of the pages."""

from __future__ import annotations

from datetime import datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import ids, journal, keys
from bot.journal import NoteRecord, SendEntry, TurnEntry
from bot.queries import Queries
from bot.records import Buyer
from bot.store import Store
from bot.timeline import mark_of, timeline

HOME, MERGED, OTHER = (ids.new("b", partition) for partition in (3, 9, 3))
BASE = 1_796_090_400_000
ENTRY = st.tuples(
    st.sampled_from([HOME, MERGED, OTHER]),
    st.integers(0, 2000),  # written before what it overtook by so many ms at most
    st.sampled_from(["turn", "notes", "send", "status"]),
)


def entry(buyer: str, at: int, kind: str, number: int) -> tuple[str, bytes]:
    if kind == "send":
        return "send", journal.dump(SendEntry(f"m{number}", "sent", at, 1, "sms-main", buyer, "reply"))
    if kind == "status":
        return "status", journal.pack([f"m{number}", "delivered", at, ""])
    notes = [NoteRecord("note", f"{number} {n}") for n in range(3 if kind == "notes" else 0)]
    return "turn", journal.dump(
        TurnEntry(at, "address:sms-main:x", b"", handler=f"h{number}", buyer=buyer, notes=notes)
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENTRY, max_size=25), st.integers(1, 7))
async def test_pages_of_any_size_join_to_the_whole_sorted(redis_client, entries, size) -> None:
    """Processes write overlapping turns and sends: entries stand a little out of the order of their times."""
    await redis_client.flushall()
    wanted = []
    for number, (buyer, late, kind) in enumerate(entries):
        ms = BASE + number * 400
        name, body = entry(buyer, ms - late, kind, number)
        partition = ids.partition_in(buyer)
        assert partition is not None
        await redis_client.xadd(keys.journal(partition), {"k": name, "b": body}, id=f"{ms}-{number}")
        if buyer != OTHER and kind != "status":
            words = [f"{number} {n}" for n in range(3 if kind == "notes" else 0)]
            wanted += [f"m{number}"] if kind == "send" else [f"h{number}", *words]
    queries, buyer = Queries(Store(redis_client, 64, "test")), Buyer(id=HOME, home="", created_at=0, merged=[MERGED])
    whole, end = await timeline(queries, buyer, limit=500)
    assert end == ""
    assert sorted(line["ref"] or line["summary"] for line in whole) == sorted(wanted)
    times = [datetime.fromisoformat(line["at"]) for line in whole]
    assert times == sorted(times, reverse=True)
    paged, cursor = await timeline(queries, buyer, limit=size)
    while cursor:
        before = mark_of(cursor)
        assert before is not None
        page, cursor = await timeline(queries, buyer, before=before, limit=size)
        assert len(page) <= size
        paged += page
    assert paged == whole
