"""Counters of old broadcasts go into the broadcast's own sums: exact at every look, wherever it breaks off, whatever comes late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot import keys
from bot.broadcast_counts import Look
from bot.broadcast_life import Rules
from bot.broadcasting import Broadcasts
from bot.broadcasts import Broadcast
from bot.change import Change, QueuedMessage, Settlement, StatusChange
from bot.clock import DAY_MS, SystemClock
from bot.errors import GatewayError, StoreError
from bot.folding import AGAIN_MS, OVER_MS, Folding
from bot.hours import zone
from bot.replay import replay
from bot.store import Store
from tests.bot.test_store import NOW, owned

pytestmark = pytest.mark.every_store
BC, ACCOUNT = "bc_1", "sms-main"
PARTITIONS = (0, 5, 9, 40)
STEPS = ("broadcast_seal", "broadcast_put", "broadcast_unseal")


class Killed(Exception):
    """The process is gone."""


class Thrown:
    """The ledger's side: which audiences were thrown away."""

    def __init__(self) -> None:
        self.thrown: list[str] = []

    async def forget(self, broadcast: str) -> None:
        self.thrown.append(broadcast)


class Old:
    """A broadcast that was cancelled long ago: five were sent in four partitions, nine of its twenty were never planned."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = SystemClock()
        self.audiences = Thrown()
        self.broadcasts = Broadcasts(store, self.clock, Rules(zone("Asia/Shanghai", None)))
        self.sent = 0

    async def live(self) -> None:
        for p in PARTITIONS:
            await self.plan(p, f"m{p}", variant="sizes")
            page = [("address:sms-main:x", b"event")]
            assert await self.store.plan(p, BC, "", "b", page, last=True) == 1
            change = Change(p, "address:sms-main:x", "b", "", b"")
            change.statuses += [
                StatusChange("tally", BC, "events", -1, ""),
                StatusChange("tally", BC, "planned", 1, ""),
            ]
            row = QueuedMessage(f"s{p}", "", "", "lo", "skipped", "no_consent", NOW, "marketing", b"b", bc=f"{BC}\0")
            change.messages.append(row)
            await self.store.commit([change], now=NOW)
            names = [keys.broadcast(p, BC)]
            await self.store.scripts.run("broadcast_state", names, ["cancelled", 3])
        ended = Broadcast(
            BC, "会员日", "marketing", (ACCOUNT,), {}, 0, "lin", state="cancelled", frozen=20, started_at=1,
            done_at=self.clock.now() - OVER_MS - 1000, changed_by="lin",
        )  # fmt: skip
        await self.broadcasts.add(ended, "lin")

    async def plan(self, p: int, id: str, variant: str = "") -> None:
        change = Change(p, "address:sms-main:x", "b", "", b"")
        row = {"state": "queued", "reason": "", "lane": "lo", "created_at": NOW, "purpose": "marketing", "body": b"b"}
        change.messages.append(QueuedMessage(id, ACCOUNT, f"to {id}", bc=f"{BC}\0{variant}", **row))
        await self.store.commit([change], now=NOW)
        await self.store.pull([(p, ACCOUNT, "lo", 1)], now=NOW)
        await self.store.settle([Settlement(p, id, 1, "sent", provider=f"{p}".encode().ljust(8))], today=NOW)
        self.sent += 1

    async def receipt(self, p: int, state: str = "delivered") -> None:
        """Word of a provider, a month late."""
        change = Change(p, "address:sms-main:x", "b", "", b"")
        change.statuses.append(StatusChange("provider", f"{p}".encode().ljust(8), state, NOW, ""))
        await self.store.commit([change], now=NOW)

    async def look(self) -> Look:
        look = await self.broadcasts.look(await self.broadcasts.get(BC))
        c = look.counts
        assert c.planned == c.pending + c.sent + c.failed + c.skipped + c.in_doubt == 20
        return look

    def folding(self, store: Store | None = None) -> Folding:
        broadcasts = Broadcasts(store or self.store, self.clock, self.broadcasts.rules)
        return Folding(
            store=store or self.store, broadcasts=broadcasts, audiences=self.audiences, clock=self.clock, first_s=0
        )

    async def steps(self, count: int = 8) -> None:
        for _ in range(count):
            await self.folding().fold(await self.broadcasts.get(BC))

    async def left(self) -> list[int]:
        """Partitions that hold anything of it."""
        return [p for p in range(64) if await self.store.command("EXISTS", keys.broadcast(p, BC))]

    async def sealed(self) -> list[int]:
        """Partitions where its counters are sealed."""
        return [p for p in range(64) if await self.store.command("HEXISTS", keys.broadcast(p, BC), "sealed")]


@pytest.fixture
async def old(redis_client) -> Old:
    found = Old(await owned(redis_client))
    await found.live()
    return found


def stumbling(store: Store, before: Callable[[str], Awaitable[None]]) -> Store:
    """The same store, which tells before each single call of a script."""
    other = Store(store.client, 64, "one")
    other.fences = store.fences
    run = store.scripts.run

    async def told(name: str, names: Any, args: Any, **options: Any) -> Any:
        await before(name)
        return await run(name, names, args, **options)

    async def each(name: str, calls: Any, **_: Any) -> list[Any]:
        return [await told(name, *call) for call in calls]

    other.scripts.run, other.scripts.each = told, each  # type: ignore[method-assign,assignment]
    return other


async def test_nothing_is_left_and_nothing_changes(old):
    """Sums, reasons, channels, versions, planned or not: the same before, in between at every call, and after."""
    before = await old.look()
    assert (before.counts.sent, before.counts.skipped_by_reason) == (4, {"no_consent": 4, "cancelled": 12})
    assert before.counts.by_variant == {"sizes": {"sent": 4}}
    seen: list[str] = []

    async def look(name: str) -> None:
        seen.append(name)
        assert await old.look() == before

    folding = old.folding(stumbling(old.store, look))
    for _ in range(8):
        await folding.fold(await old.broadcasts.get(BC))
        assert await old.look() == before
    assert [seen.count(step) for step in STEPS] == [4, 2, 4]
    assert await old.left() == []
    kept = await old.broadcasts.get(BC)
    assert (kept.taken_in, kept.changed_by, kept.folded["sent"]) == ({}, "lin", 4)
    assert old.audiences.thrown == [BC]  # had a process died before it was
    rows = await old.store.command("XRANGE", keys.journal(0), "-", "+")
    assert sum(fields[b"k"] == b"broadcast" for _, fields in rows) == 1  # nobody's change


@pytest.mark.parametrize("after", [False, True])
async def test_killed_at_any_call(old, after):
    """Before or after each call of each step; another process goes on, and the counts are right throughout."""
    before = await old.look()
    for step, calls in zip(STEPS, (4, 2, 4), strict=True):
        for doomed in range(calls):
            await old.store.client.flushall()
            old.store = old.broadcasts._store = await owned(old.store.client)
            await old.live()
            left = [doomed]

            async def die(name: str, step: str = step, left: list[int] = left) -> None:
                if left[0] < 0:
                    raise Killed
                if name == step:
                    left[0] -= 1
                    if left[0] < 0 and not after:
                        raise Killed

            folding = old.folding(stumbling(old.store, die))
            with contextlib.suppress(Killed):  # after the very last call nothing follows
                for _ in range(9):
                    await folding.fold(await old.broadcasts.get(BC))
            assert left[0] < 0
            assert await old.look() == before
            for _ in range(6):
                await old.steps(1)
                assert await old.look() == before
            assert await old.left() == []


async def test_what_was_never_sent_leaves_nothing(old):
    """A draft that was cancelled: every partition was told, none counted."""
    await old.store.client.flushall()
    draft = Broadcast(BC, "会员日", "marketing", (ACCOUNT,), {}, 0, "lin", state="cancelled", done_at=1, version=1)
    assert await old.broadcasts.add(draft, "lin")
    await old.broadcasts.tell(draft)
    assert len(await old.left()) == 64
    await old.steps(1)
    assert (await old.left(), (await old.broadcasts.get(BC)).folded) == ([], {})


async def test_only_what_was_named_is_taken_away(old):
    """It was sealed anew while who takes it away was on the way."""
    await old.steps(1)
    names = [keys.broadcast(5, BC)]
    assert await old.store.scripts.run("broadcast_unseal", names, ["another"]) == 0
    assert 5 in await old.sealed()


async def test_two_at_once(old):
    """A process that lost its lease goes on for a while beside the next owner: everything is counted once."""
    before = await old.look()

    async def fold() -> None:
        for _ in range(12):
            await old.steps(1)
            assert await old.look() == before

    await asyncio.gather(fold(), fold(), fold())
    await old.steps()
    assert (await old.look(), await old.left()) == (before, [])


async def test_one_that_read_long_ago_changes_nothing(old):
    """It wakes up with what it had read before others did all of it, at each of their steps."""
    before, stale = await old.look(), []
    for _ in range(5):
        stale.append(await old.broadcasts.get(BC))
        await old.steps(1)
    for read in stale:
        await old.folding().fold(read)
        assert await old.look() == before
    await old.receipt(5)
    for read in stale:
        await old.folding().fold(read)
        found = (await old.look()).counts
        assert (found.sent, found.delivered) == (4, 1)


@pytest.mark.parametrize("when", [0, 1, 2, 3, 5])
async def test_what_is_told_late_counts(old, when):
    """Before, between and after the steps: a receipt, a failure that is told of later; the sums follow at once."""
    await old.steps(when)
    await old.receipt(9)
    found = (await old.look()).counts
    assert (found.sent, found.delivered, found.by_account[ACCOUNT]) == (4, 1, {"sent": 3, "delivered": 1})
    await old.steps(1)
    await old.receipt(9, "read")
    await old.receipt(40, "failed")
    for _ in range(10):
        found = (await old.look()).counts
        assert (found.sent, found.read, found.delivered, found.failed) == (3, 1, 1, 1)
        await old.steps(1)
    assert await old.left() == []


async def test_a_look_in_the_middle_reads_again(old):
    """Half of the partitions are read before a step and half after it: the sums are those of one moment."""
    before = await old.look()
    held = await old.broadcasts.get(BC)

    class Slow(Broadcasts):
        async def counters(self, id: str) -> list[dict[bytes, bytes]]:
            first = await super().counters(id)
            await old.steps(1)
            return first[:9] + (await super().counters(id))[9:]

    slow = Slow(old.store, old.clock, old.broadcasts.rules)
    for _ in range(6):
        assert await slow.look(held) == before


async def test_a_replayed_letter_counts_after_all(old):
    """A turn that broke, buried, and replayed when all was folded: pending again, and what becomes of it counts."""
    page = [("address:sms-main:x", b"event")]
    await old.store.command("HDEL", keys.broadcast(5, BC), "end")
    await old.store.command("HDEL", keys.broadcast(5, BC), "st")
    assert await old.store.plan(5, BC, "b", "c", page, last=True) == 1
    [*_, (entry, _)] = await old.store.command("XRANGE", keys.bulk(5), "-", "+")
    names = [keys.bulk(5), keys.dead(5), keys.tries(5)]
    await old.store.scripts.run("bury", names, [entry, "broken", 3, NOW, keys.tag(5), "", ""])
    await old.steps()
    assert ((await old.look()).counts.failed_by_reason, await old.left()) == ({"bug": 1}, [])
    [(letter, _)] = await old.store.command("XRANGE", keys.dead(5), "-", "+")
    asked = [replay(old.store, f"5/{letter.decode()}") for _ in range(3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(one) for one in found if isinstance(one, GatewayError)] == [
        f"there is no dead letter 5/{letter.decode()}"
    ] * 2
    found = (await old.look()).counts
    assert (found.pending, found.failed, found.failed_by_reason) == (1, 0, {})
    await old.steps()
    assert (await old.look()).counts == found


async def test_the_round_takes_what_has_long_been_over(old):
    """A step a round, some hours apart; not what ended lately, and not at once after a start."""
    lately = Broadcast(
        "bc_2", "上新", "marketing", (ACCOUNT,), {}, 0, "lin", state="done", done_at=old.clock.now() - OVER_MS + DAY_MS
    )
    await old.broadcasts.add(lately, "lin")
    await old.broadcasts.add(Broadcast("bc_3", "上新", "marketing", (ACCOUNT,), {}, 0, "lin", state="sending"), "lin")
    for other in ("bc_2", "bc_3"):
        await old.store.command("HSET", keys.broadcast(3, other), "end", 1, "sent", 2)

    async def rounds(folding: Folding, count: int) -> None:
        folding.rounds.done = 0
        for turn in range(count):
            for _ in range(6):
                await folding.advance()
            assert folding.rounds.done == turn + 1
            old.clock.set_offset(old.clock.offset() + AGAIN_MS + 1)

    patient = Folding(store=old.store, broadcasts=old.broadcasts, audiences=old.audiences, clock=old.clock)
    for _ in range(6):
        await patient.advance()
    assert len(await old.left()) == 4
    assert not await old.sealed()
    folding = old.folding()
    await rounds(folding, 3)
    assert (await old.left(), (await old.broadcasts.get(BC)).taken_in.keys()) == ([], set(PARTITIONS))
    await rounds(folding, 1)
    assert not (await old.broadcasts.get(BC)).taken_in
    assert await old.store.command("HGET", keys.broadcast(3, "bc_2"), "sent") == b"2"
    await rounds(folding, 9)
    assert not await old.store.command("EXISTS", keys.broadcast(3, "bc_2"))
    assert await old.store.command("HGET", keys.broadcast(3, "bc_3"), "sent") == b"2"  # under way, however long
    del old.store.fences[0]  # another process has it
    await old.receipt(5)
    for _ in range(6):
        old.clock.set_offset(old.clock.offset() + AGAIN_MS + 1)
        await folding.advance()
    assert await old.store.command("HGET", keys.broadcast(5, BC), "sent") == b"-1"


async def test_a_store_that_is_away_is_waited_for(old):
    """The round begins again a minute later, not after hours."""
    away = [True]

    async def fail(_: str) -> None:
        if away[0]:
            raise StoreError("Redis: away")

    folding = old.folding(stumbling(old.store, fail))
    with pytest.raises(StoreError):
        await folding.advance()
    away[0] = False
    await folding.advance()
    assert not await old.sealed()
    old.clock.set_offset(61_000)
    await folding.advance()
    assert await old.sealed() == list(PARTITIONS)
