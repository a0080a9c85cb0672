"""Promises under kill -9 and SIGSTOP: real processes, a real Valkey, a provider stand-in that keeps a ledger."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.faults.world import running_world


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
