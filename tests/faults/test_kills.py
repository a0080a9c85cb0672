"""Promises under kill -9 and SIGSTOP: real processes, a real Valkey, a provider stand-in that keeps a ledger."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from bot.change import Change, Commit
from bot.store import Store
from tests.faults.world import World, running_world


@pytest.fixture
async def world(tmp_path):
    async with running_world(tmp_path) as it:
        yield it


@pytest.mark.timeout(150)
async def test_processes_killed_at_random(world):
    """kill -9 of either process, again and again, under load."""
    load = asyncio.create_task(world.load(30, 12, pause=0.4))
    for _ in range(5):
        await asyncio.sleep(1.2)
        index = random.randrange(2)
        world.kill(index)
        await asyncio.sleep(0.2)
        world.start(index)
    await load
    await world.settle()
    world.check()
    assert len(world.acked) == 360


@pytest.mark.timeout(150)
async def test_a_stopped_owner_that_wakes_up_late_harms_nothing(world):
    """SIGSTOP past the lease, then SIGCONT: the late owner's work is refused, nothing is doubled."""
    load = asyncio.create_task(world.load(30, 10, pause=0.5))
    await asyncio.sleep(2.5)
    for index in (0, 1):
        world.processes[index].send_signal(signal.SIGSTOP)
        await asyncio.sleep(3)
        world.processes[index].send_signal(signal.SIGCONT)
        await asyncio.sleep(1)
    await load
    await world.settle()
    world.check()


@pytest.mark.timeout(150)
async def test_valkey_killed_under_load(world):
    """kill -9 of the store: 503 meanwhile, then everything acknowledged is there."""
    load = asyncio.create_task(world.load(30, 10, pause=0.5))
    for _ in range(3):
        await asyncio.sleep(1.5)
        world.valkey.kill()
        await asyncio.sleep(0.8)
        world.valkey.start()
    await load
    await world.settle()
    world.check()
    assert world.refused > 0


# --- controls: what these tests would see -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["none", "lost", "doubled", "swapped"])
def test_the_ledger_sees_what_it_is_for(tmp_path, fault):
    """A message without an answer, one that was counted twice, two in the wrong order: each is found."""
    world = World(None, tmp_path)
    told = [(1, "t1"), (2, "t2"), (3, "t3")]
    world.acked = {"t1", "t2", "t3"}
    if fault == "lost":
        told.pop()
    if fault == "doubled":
        told.append((4, "t3"))
    if fault == "swapped":
        told = [(1, "t2"), (2, "t1"), (3, "t3")]
    for count, token in told:
        world.answers[token].append(count)
        world.by_buyer["7000"].append((count, token))
    if fault == "none":
        world.check()
    else:
        with pytest.raises(AssertionError):
            world.check()


async def test_the_fence_is_what_refuses_a_late_owner(redis_client):
    """With the new owner's fence in its hands, a late owner's turn would be written: nothing else stands in its way."""
    home, now = "address:messenger-main:p1", 1_790_000_000_000
    first, second = Store(redis_client, 64, "first"), Store(redis_client, 64, "second")
    p = first.partition(home)
    first.fences[p] = (await first.lease({p: "k"}, 5000))[p][0]
    await first.append([(home, b"", b"x")])
    first.cursors[p] = ["0", "0"]
    [late], _ = await first.take([p], inbox=1, bulk=1)
    change = Change(p, home, late.lane, late.entry, record=b"late")
    await redis_client.hset(f"lease:{{p{p:02d}}}", "u", 0)  # its time is over
    second.fences[p] = (await second.lease({p: "k"}, 5000))[p][0]
    assert [outcome for outcome, _ in (await first.commit([change], now=now))[0]] == [Commit.NOT_OWNER]
    first.fences[p] = second.fences[p]
    assert [outcome for outcome, _ in (await first.commit([change], now=now))[0]] == [Commit.DONE]
