"""Processes that come and go under load: an upgrade one after the other, SIGTERM with calls open, Redis away at the end."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from bot import keys
from bot.clock import SystemClock
from bot.leases import Leases
from bot.store import Store
from bot.subjects import partition_of
from tests.faults.proxy import Proxy
from tests.faults.test_broadcasts import Sent, sent_in
from tests.faults.test_replies_lost import order
from tests.faults.world import ROOT, World, running_world
from tests.gateway import running

BUYERS = 80  # of each broadcast


def history() -> list[str]:
    """The commits that this copy has, newest first; a shallow clone has few, a copy without .git none."""
    listed = subprocess.run(
        ["git", "rev-list", "--first-parent", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def release_before(folder: Path, back: int) -> Path:
    """The tree of the commit `back` before this one, or of the oldest that there is.

    Where there is none before this one, the same code plays both releases, and the test says so.
    """
    commits = history()
    if len(commits) < 2:
        print(f"rolling upgrade: {len(commits)} commits in this copy, so the same code plays both releases")
        return ROOT
    folder.mkdir()
    revision = commits[min(back, len(commits) - 1)]
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def told_once(world: World) -> None:
    """Nobody was told anything twice."""
    assert {token: counts for token, counts in world.answers.items() if len(counts) > 1} == {}


def knows_broadcasts(tree: Path) -> bool:
    """Whether a release plans broadcasts, and its tree has the audience for it."""
    planner = tree / "bot/planner.py"
    return planner.exists() and "BroadcastDue" in planner.read_text() and (tree / "tests/audiences.py").exists()


async def broadcasts(sent: Sent, over: asyncio.Event) -> int:
    """One after the other until it is over: each reaches everybody once, whichever release began, planned and ended it."""
    count = 0
    while not over.is_set():
        await sent.submit(BUYERS, first=70_000 + count * BUYERS, rate=20)
        await asyncio.wait_for(sent.watch(0.4), 120)
        counts = await sent.check()
        # A provider that is slow on a busy machine leaves doubts behind: they are listed, and never sent again.
        assert (counts.planned, counts.sent + counts.in_doubt) == (BUYERS, BUYERS), counts
        assert counts.in_doubt <= BUYERS / 10, counts
        count += 1
    return count


async def replace(world: World, old: tuple[int, int], new: tuple[int, int], tree: Path) -> None:
    """Two processes of a release give way to two of another, one after the other, side by side for a moment."""
    for before, after in zip(old, new, strict=True):
        world.start(after, tree)
        await world.serving(after)
        await asyncio.sleep(1)
        await asyncio.to_thread(world.end, before)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("back", [1, 20])  # commits: what "the release before" is while there are no tags
async def test_a_rolling_upgrade_loses_and_repeats_nothing(tmp_path, back):
    """An earlier commit gives way to this one, and this one to it again, under load: all once and in order.

    Each buyer's count is in a record that either release has written and the other reads. A broadcast is under way all the
    time, one after the other, if the earlier commit knows what that is.
    """
    earlier = release_before(tmp_path / "before", back)
    async with running_world(tmp_path, processes=0) as world, sent_in(world) as sent:
        for index in (0, 1):
            world.start(index, earlier)
        await world.ready()
        world.slow_s = 0.2
        load = asyncio.create_task(world.load(24, 16, pause=1.6))
        over = asyncio.Event()
        staff = asyncio.create_task(broadcasts(sent, over) if knows_broadcasts(earlier) else asyncio.sleep(0, 2))
        await replace(world, (0, 1), (2, 3), ROOT)
        await load
        back_again = asyncio.create_task(world.load(24, 6, pause=1.6, first=16))
        await replace(world, (2, 3), (4, 5), earlier)
        await back_again
        over.set()
        assert await staff >= 2
        await world.settle()
        world.check()
        told_once(world)
        assert len(world.acked) == 24 * 22


@pytest.mark.timeout(90)
async def test_sigterm_with_calls_open_finishes_them(tmp_path):
    """A slow provider: the process waits for the calls under way, writes their outcomes, and nobody is told twice."""
    async with running_world(tmp_path) as world:
        world.slow_s = 2.0
        load = asyncio.create_task(world.load(24, 2))
        await asyncio.sleep(0.7)
        took = await asyncio.to_thread(world.end, 0)
        await load
        await world.settle()
        world.check()
        told_once(world)
        assert took < 6


@pytest.mark.timeout(90)
async def test_sigterm_with_a_call_that_hangs_keeps_nobody_waiting(tmp_path):
    """The provider never answers one call: out within 10 s, meanwhile the other process serves all partitions."""
    async with running_world(tmp_path) as world:
        first = await world.owned_by(0)
        buyers = [n for n in range(200) if partition_of(f"address:messenger-main:{7000 + n}", 64) in first][:4]
        world.hangs = {f"t{n}" for n in buyers}
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(world.send(session, str(7000 + n), f"t{n}") for n in buyers))
            await world.settle()  # the provider has seen each; none is answered
            ending = asyncio.create_task(asyncio.to_thread(world.end, 0))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            others = [(str(8000 + n), f"t{100_000 + n}") for n in range(24)]
            await asyncio.gather(*(world.send(session, buyer, token) for buyer, token in others))
            await world.settle()
            assert {token for _, token in others} <= world.answers.keys()
            assert time.monotonic() - began < 5
            assert not ending.done()
            assert await ending < 10.5
        await asyncio.sleep(6)  # a reply in doubt goes once more after 5 s
        world.check()
        assert {token for token, counts in world.answers.items() if len(counts) == 2} == {f"t{n}" for n in buyers}


@pytest.mark.timeout(90)
async def test_sigterm_with_redis_away(tmp_path):
    """Nothing can be written any more: the process still ends within 10 s, and nothing is lost."""
    async with running_world(tmp_path) as world:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(world.send(session, str(7000 + n), f"t{n}") for n in range(10)))
            await world.settle()
            world.slow_s = 1.0
            await asyncio.gather(*(world.send(session, str(7000 + n), f"t{100_000 + n}") for n in range(10)))
            world.valkey.pause()
            took = await asyncio.gather(*(asyncio.to_thread(world.end, index) for index in (0, 1)))
            assert max(took) < 10.5
            world.valkey.resume()
            world.start(2)
            await world.settle(60)
        world.check()


# --- shares -------------------------------------------------------------------------------------------------------------


async def test_processes_share_the_partitions(redis_client):
    """One alone has all; a second and a third take their share; what one leaves or loses, the others take."""
    every = [Leases(Store(redis_client, 64, name), SystemClock(), ttl_s=0.6) for name in ("a", "b", "c")]
    a, b, c = every

    async def rounds(*alive: Leases, times: int = 4) -> list[int]:
        for _ in range(times):
            for one in alive:
                await one.renew()
            await asyncio.sleep(0.15)
        return [len(one._store.fences) for one in alive]

    assert await rounds(a, times=1) == [64]
    assert await rounds(a, b) == [32, 32]
    third = await rounds(a, b, c)
    assert sum(third) == 64
    assert max(third) <= 22
    await b.release()
    assert await rounds(a, c) == [32, 32]
    assert await rounds(a, times=8) == [64]  # c is gone without a word
    owners = [await redis_client.hget(f"lease:{{p{p:02d}}}", "o") for p in range(64)]
    assert set(owners) == {b"a"}


# --- the moment of the stop ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("step", ["limit", "commit", "MGET", "pull"])
async def test_what_is_claimed_while_the_process_stops_has_its_outcome_written(valkey, redis_client, tmp_path, step):
    """SIGTERM while a commit waits for its room or its answer, the last check for a record, the sender for its messages.

    What goes out then is known to have gone: unwritten it would look like the claim of a sender that died, and go twice.
    """
    partition = partition_of("address:messenger-main:p1", 64)
    async with Proxy(valkey.path) as proxy:
        async with running(SimpleNamespace(url=proxy.url), tmp_path) as gw:
            await gw.say("p1", "你好")
            await gw.said("p1", 1)
            await gw.idle()
            gw.graph.delay = 1.0
            if step == "pull":  # one that waits behind another
                await gw.say("p1", "帮助")
                await gw.say("p1", "帮助")
                queue = f"q:{keys.tag(partition)}:messenger-main:hi:p1"
                while not await redis_client.llen(queue) or gw.gateway.hints:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.06)  # the room that an answer before had asked for is good for 50 ms
            proxy.hold(step)
            if step == "MGET":  # a notice, whose order is read once more
                assert (await gw.shop("order.paid", "evt_1", order(1)))[0] == 200
            elif step != "pull":
                await gw.say("p1", "帮助")
            await asyncio.wait_for(proxy.held.wait(), 10)
            asyncio.get_running_loop().call_later(0.8, proxy.release)  # the outcomes' loop looks up each 0.5 s
        told = len(gw.graph.texts("p1"))
    assert await redis_client.zcard(keys.sending(partition)) == 0
    ids = await redis_client.zrange(keys.messages(partition), 0, -1)
    states = [await redis_client.hget(keys.message(partition, id.decode()), "s") for id in ids]
    # On a busy machine the lease may have run out meanwhile: then it was given back unsent, which is written, too.
    assert len(states) == (3 if step == "pull" else 2)
    assert (states.count(b"sent"), states.count(b"queued")) == (told, len(states) - told)
