"""What providers report and senders settle, in whatever order it comes: each message ends once, and its address is freed once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bot import keys
from bot.change import Change, Claimed, QueuedMessage, Settlement, StatusChange
from bot.clock import DAY_MS
from bot.store import Hint, Store
from tests.bot.test_store import NOW, owned

pytestmark = pytest.mark.every_store
P, ACCOUNT, DAY = 9, "wechat-main", 86_400_000


@pytest.fixture
async def store(redis_client) -> Store:
    return await owned(redis_client)


async def queue(store: Store, *ids: str, to: str = "one", lane: str = "hi") -> None:
    change = Change(P, "address:wechat-main:one")
    change.messages += [QueuedMessage(id, ACCOUNT, to, lane, "queued", "", NOW, "reply", b"b") for id in ids]
    await store.commit([change], now=NOW)


async def pull(store: Store, lane: str = "hi") -> list[str]:
    return [one.id for one in await pulled(store, lane)]


async def pulled(store: Store, lane: str = "hi") -> list[Claimed]:
    return await store.pull([(P, ACCOUNT, lane, 10)], now=NOW)


async def report(store: Store, *changes: StatusChange, now: int = NOW) -> None:
    change = Change(P, "address:wechat-main:one")
    change.statuses += changes
    await store.commit([change], now=now)


async def settle(store: Store, id: str, attempt: int, state: str, **fields: Any) -> set[Hint]:
    return await store.settle([Settlement(P, id, attempt, state, **fields)], today=NOW)


async def field(store: Store, id: str, name: str = "s") -> str:
    found = await store.command("HGET", keys.message(P, id), name)
    return found.decode() if found else ""


async def told(store: Store, kind: bytes = b"status") -> list[Any]:
    """What the journal says of messages that moved, or of sends."""
    rows = await store.command("XRANGE", keys.journal(P), "-", "+")
    bodies = [fields[b"b"] for _, fields in rows if fields[b"k"] == kind]
    return [msgspec.msgpack.decode(body)[:3] for body in bodies] if kind == b"status" else bodies


# --- a callback is faster than our own settlement -----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "in_doubt"])
@pytest.mark.parametrize("known", ["sent", "delivered", "read"])
async def test_a_callback_before_our_own_settlement_is_never_taken_back(store, state, known):
    """The answer was lost, the echo came: it is not tried again, and does not hold its address."""
    await queue(store, "m1", "m2")
    assert await pull(store) == ["m1"]
    await report(store, StatusChange("ref", "m1", known, NOW, ""))
    await settle(store, "m1", 1, state, reason="no_answer", again_at=NOW + 50, hold_until=NOW + 50)
    assert await field(store, "m1") == known
    assert await pull(store) == ["m2"]
    await settle(store, "m2", 1, "sent")
    assert (await store.pump(now=NOW, real=NOW + 99, left_behind=0))[1] == set()
    assert await store.command("ZCARD", keys.later(P)) == 0


async def test_our_own_settlement_after_a_failure_that_was_reported(store):
    """Failed by a callback, accepted by the answer to the call: what was told last of the two is older."""
    await queue(store, "m1")
    await pull(store)
    await report(store, StatusChange("ref", "m1", "failed", NOW, "rejected"))
    await settle(store, "m1", 1, "sent", provider=b"p1", parts=2)
    assert (await field(store, "m1"), await field(store, "m1", "r")) == ("failed", "rejected")
    await report(store, StatusChange("provider", b"p1", "delivered", NOW, ""))
    assert await field(store, "m1") == "delivered"


async def test_a_receipts_count_of_parts_stays(store):
    """It is the provider's last word; the answer to the call is an estimate."""
    await queue(store, "m1", "m2", to="one")
    await pull(store)
    await report(store, StatusChange("ref", "m1", "delivered", NOW, "", parts=3))
    await settle(store, "m1", 1, "sent", parts=2)
    assert await field(store, "m1", "p") == "3"
    await pull(store)
    await settle(store, "m2", 1, "sent", parts=2)
    assert await field(store, "m2", "p") == "2"
    await report(store, StatusChange("ref", "m2", "delivered", NOW, "", parts=4))
    assert await field(store, "m2", "p") == "4"


async def test_an_outcome_that_is_told_again_counts_once(store):
    """The answer of the script was lost: one doubt, one word in the journal."""
    await queue(store, "m1", lane="lo")
    await pull(store, "lo")
    for _ in range(2):
        await settle(store, "m1", 1, "in_doubt", again_at=NOW + 50, journal=b"said")
    assert (await field(store, "m1", "doubts"), await told(store, b"send")) == ("1", [b"said"])
    _, hints, _ = await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    assert hints == {(P, ACCOUNT, "lo")}
    [again] = await pulled(store, "lo")
    assert (again.attempt, again.doubts) == (2, 1)


async def test_what_ended_while_it_stood_in_its_queue_is_not_claimed(store):
    """It was to go again, and the echo of the first call came; the next one takes its place."""
    await queue(store, "m1", "m2")
    await pull(store)
    await settle(store, "m1", 1, "in_doubt", again_at=NOW + 50, hold_until=NOW + 50)
    await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    assert await field(store, "m1") == "queued"
    await report(store, StatusChange("ref", "m1", "sent", NOW, ""))
    assert await pull(store) == ["m2"]
    assert await field(store, "m1") == "sent"


async def test_a_late_sender_frees_nobody_elses_turn(store):
    """Given up as lost, it answers after all, while the next message to the address is on its way."""
    await queue(store, "m1", "m2", "m3")
    assert await pull(store) == ["m1"]
    await settle(store, "m1", 1, "in_doubt")  # left behind
    assert await pull(store) == ["m2"]
    assert await settle(store, "m1", 1, "sent") == set()
    assert await field(store, "m1") == "sent"
    assert await pull(store) == []
    await settle(store, "m2", 1, "sent")
    assert await pull(store) == ["m3"]


async def test_bulk_that_is_tried_again_lets_others_go_first(store):
    """An answer tried again keeps the head of its queue and holds its address; a notice waits beside it."""
    await queue(store, "b1", "b2", lane="lo")
    assert await pull(store, "lo") == ["b1"]
    await settle(store, "b1", 1, "queued", reason="no_connection", again_at=NOW + 50)
    assert await pull(store, "lo") == ["b2"]
    _, hints, _ = await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    assert hints == set()  # the address is busy with b2: nothing is ready yet
    assert await pull(store, "lo") == []
    assert await settle(store, "b2", 1, "sent") == {(P, ACCOUNT, "lo")}
    assert await pull(store, "lo") == ["b1"]


async def test_an_answer_in_doubt_keeps_those_behind_it_waiting(store):
    """Until its time is over; one that comes meanwhile, too."""
    await queue(store, "m1", "m2")
    assert await pull(store) == ["m1"]
    await settle(store, "m1", 1, "in_doubt", hold_until=NOW + 50)
    await queue(store, "m3")
    await queue(store, "m4", to="two")
    assert await pull(store) == ["m4"]
    assert (await store.pump(now=NOW, real=NOW + 49, left_behind=0))[1] == set()
    assert (await store.pump(now=NOW, real=NOW + 50, left_behind=0))[1] == {(P, ACCOUNT, "hi")}
    assert await pull(store) == ["m2"]


async def test_a_wait_that_is_left_over_moves_nothing(store):
    """Neither an address that is busy since, nor a message that stands in its queue or was sent."""
    await queue(store, "m1", "m2")
    assert await pull(store) == ["m1"]
    names = ("A\0" + ACCOUNT + "\0one", "M\0m1", "M\0m2", "M\0gone")
    await store.command("ZADD", keys.later(P), *[part for name in names for part in (NOW, name)])
    assert (await store.pump(now=NOW, real=NOW, left_behind=0))[1] == set()
    assert await pull(store) == []
    assert await store.command("LLEN", keys.queue(P, ACCOUNT, "hi", "one")) == 1
    await settle(store, "m1", 1, "sent")
    await store.command("HSET", keys.message(P, "m1"), "again", "1")
    await store.command("ZADD", keys.later(P), NOW, "M\0m1")
    await store.pump(now=NOW, real=NOW, left_behind=0)
    assert (await field(store, "m1"), await pull(store)) == ("sent", ["m2"])


# --- which message a report is about ------------------------------------------------------------------------------------


async def test_a_receipt_finds_its_message_for_nine_days(store):
    """By the provider's id, noted on the day of the send."""
    for number, days in enumerate((0, 8, 9)):
        await queue(store, f"m{number}", to=f"to{number}")
        await pull(store)
        await settle(store, f"m{number}", 1, "sent", provider=b"p%d" % number)
        await report(store, StatusChange("provider", b"p%d" % number, "delivered", NOW, ""), now=NOW + days * DAY)
    assert [await field(store, f"m{n}") for n in range(3)] == ["delivered", "delivered", "sent"]


async def test_an_echo_tells_the_providers_id_of_a_message_whose_answer_was_lost(store):
    """Later receipts name that id, or a time after its claim."""
    for id in ("m1", "m2"):
        await queue(store, id, to=id)
        await pull(store)
        await settle(store, id, 1, "in_doubt", again_at=NOW + 50)
        await report(store, StatusChange("ref", id, "sent", NOW, "", provider=b"p" + id.encode()))
    await report(store, StatusChange("provider", b"pm1", "delivered", NOW, ""))
    await report(store, StatusChange(f"{ACCOUNT}:m2", str(NOW + 1), "read", NOW, ""))
    assert [await field(store, id) for id in ("m1", "m2")] == ["delivered", "read"]


async def test_all_up_to_a_time_are_told_of_once(store):
    """Delivered is reported again and again and says nothing new; read takes them off the list; what is younger stays."""
    for id in ("m1", "m2"):
        await queue(store, id)
        await pull(store)
        await settle(store, id, 1, "sent", unread=True, at=NOW)
    for _ in range(3):
        await report(store, StatusChange(f"{ACCOUNT}:one", str(NOW), "delivered", NOW, ""))
    assert [row[:2] for row in await told(store)] == [["m1", "delivered"], ["m2", "delivered"]]
    await report(store, StatusChange(f"{ACCOUNT}:one", str(NOW - 1), "read", NOW, ""))
    assert len(await told(store)) == 2
    await report(store, StatusChange(f"{ACCOUNT}:one", str(NOW), "read", NOW, ""))
    assert [await field(store, id) for id in ("m1", "m2")] == ["read", "read"]
    assert await store.command("ZCARD", keys.unread(P, ACCOUNT, "one")) == 0


async def test_who_reads_nothing_is_not_remembered_for_ever(store):
    """Nine days after the last message to an address no receipt comes any more; an echo tells of one like an answer."""
    await queue(store, "m1")
    await pull(store)
    await settle(store, "m1", 1, "sent", unread=True, at=NOW)
    waits = keys.unread(P, ACCOUNT, "one")
    assert 8 * DAY_MS < await store.command("PTTL", waits) <= 9 * DAY_MS
    await store.command("DEL", waits)
    await queue(store, "m2")
    await pull(store)
    await report(store, StatusChange("ref", "m2", "sent", NOW, "", b"digest"))
    assert 8 * DAY_MS < await store.command("PTTL", waits) <= 9 * DAY_MS


async def test_what_says_nothing_new_is_not_told(store):
    """But a message whose row has gone by now still moves in the ledger, and so does a count of parts."""
    await queue(store, "m1")
    await pull(store)
    await settle(store, "m1", 1, "sent")
    for state in ("delivered", "delivered", "sent", "failed"):
        await report(store, StatusChange("ref", "m1", state, NOW, ""))
    assert [row[:2] for row in await told(store)] == [["m1", "delivered"]]
    await report(store, StatusChange("ref", "m1", "delivered", NOW, "", parts=2))
    await report(store, StatusChange("ref", "gone", "delivered", NOW, ""))
    assert [row[:2] for row in await told(store)][1:] == [["m1", "delivered"], ["gone", "delivered"]]
    assert await field(store, "gone") == ""
