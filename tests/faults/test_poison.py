"""Poison: what breaks its turn, its batch or its process is tried a few times, then buried with its error; the lanes move."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import structlog

from bot import keys, log, subjects, worker
from bot.bootstrap import Extras
from bot.coupons import Campaign
from bot.effects import ClaimCoupon, Say
from bot.errors import StoreError
from bot.events import AccountAlert, Event
from bot.handling import Handler, Trigger
from bot.sender import Sender
from bot.store import Store
from tests.faults.world import running_world
from tests.gateway import running

ROOT = Path(__file__).resolve().parents[2]
TRIES = 5
broken = True


def boom(turn):
    """Breaks, with a buyer's words in its error, until it is mended."""
    if broken:
        raise ValueError(turn.raw_text)
    return [Say("fallback")]


def claim(turn):
    return [ClaimCoupon("BROKEN", then="boom.claimed")]


BOOM = Extras(
    handlers=(
        Handler(
            "boom",
            {Trigger("intent", "boom"): boom, Trigger("intent", "claimit"): claim},
            continuations={"boom.claimed": lambda turn, result: [Say("fallback")]},
        ),
    ),
    prefixes={"boom ": "boom", "claimit ": "claimit"},
)


@pytest.fixture
async def gw(valkey, redis_client, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "BACK_OFF_S", (0.05,) * TRIES)
    monkeypatch.setattr(sys.modules[__name__], "broken", True)
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    log.configure()
    async with running(valkey, tmp_path, extras=BOOM) as harness:
        yield harness
    logging.getLogger().handlers = handlers
    structlog.configure(**before)


async def dead_letters(gw, count: int, seconds: float = 8) -> list[tuple[str, dict]]:
    """(id, fields) of the dead letters, once there are that many."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = []
        for p in range(64):
            rows = await gw.gateway.store.command("XRANGE", keys.dead(p), "-", "+")
            found += [(f"{p}/{entry.decode()}", fields) for entry, fields in rows]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(found)} dead letters")


async def test_a_handler_that_raises_is_buried_with_its_error_and_can_be_replayed(gw, tmp_path, capfdbinary):
    """Others are answered at once, later messages of the buyer after it; `touchpoint replay` brings it back."""
    await gw.say("p1", "boom secret words")
    await gw.say("p1", "你好")
    for number in range(5):
        await gw.say(f"q{number}", "你好")
    for number in range(5):
        await gw.said(f"q{number}", 1)
    [(letter, fields)] = await dead_letters(gw, 1)
    assert fields[b"k"] == b"event"
    assert int(fields[b"n"]) == TRIES + 1
    assert b"ValueError at test_poison.py:" in fields[b"e"]
    assert b"secret" not in fields[b"e"]
    assert b"secret words" not in capfdbinary.readouterr().out
    assert len(await gw.said("p1", 1)) == 1
    await gw.idle()

    sys.modules[__name__].broken = False
    command = [sys.executable, "-m", "bot", "replay", letter, "--config", str(tmp_path / "config.toml")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(await gw.said("p1", 2)) == 2
    assert await gw.gateway.store.command("XLEN", keys.dead(int(letter.partition("/")[0]))) == 0


async def test_what_breaks_a_whole_batch_is_found_and_buried_alone(gw, redis_client):
    """A claim on a key of the wrong type breaks the step that a batch takes together: its companions are answered."""
    campaigns = gw.gateway.campaigns
    await campaigns.create(Campaign("BROKEN", "20 元", "amount_off", 5, "20.00", "CNY", "99.00", created_at=1))
    await campaigns.refresh()
    await redis_client.set("claims:{c:BROKEN}", "not a hash")
    items = [gw.item("p1", text="claimit now"), *(gw.item(f"q{n}", text="你好") for n in range(8))]
    await gw.post_messenger(*items)
    for number in range(8):
        await gw.said(f"q{number}", 1)
    [(_, fields)] = await dead_letters(gw, 1)
    assert b"ResponseError" in fields[b"e"]
    await gw.say("p1", "你好")
    await gw.said("p1", 1)


async def test_damaged_values_hold_up_nobody_else(gw, redis_client):
    """A record and a message that cannot be read: the event is buried, the message failed; all others go on."""
    store = gw.gateway.store
    await redis_client.set(
        keys.record(store.partition("address:messenger-main:p1"), "address:messenger-main:p1"), b"\xff?"
    )
    await gw.say("p1", "你好")
    gw.graph.delay = 0.5
    await gw.say("p2", "你好")
    await gw.say("p2", "菜单")
    await asyncio.sleep(0.3)  # the second waits behind the first
    p = store.partition("address:messenger-main:p2")
    for id in await redis_client.zrange(keys.messages(p), 0, -1):
        if await redis_client.hget(keys.message(p, id.decode()), "s") == b"queued":
            await redis_client.hset(keys.message(p, id.decode()), "b", b"\xff?")
    await gw.said("p2", 1)
    await gw.say("p2", "你好")
    await gw.say("p3", "你好")
    assert await gw.said("p3", 1)
    assert len(await gw.said("p2", 2)) == 2
    [(_, fields)] = await dead_letters(gw, 1)
    assert b"CodecError" in fields[b"e"]


@pytest.mark.timeout(150)
async def test_what_kills_its_process_is_buried_too(tmp_path):
    """A message and a timer that end the process: after two deaths each they are buried, and everybody is answered."""
    tries = 1
    async with running_world(tmp_path, processes=0) as world:
        world.env = {"FAULTS_TRIES": str(tries)}
        for index in (0, 1):
            world.start(index)
        await world.ready()
        deaths = 0
        load = asyncio.create_task(world.load(6, 10, pause=1.0))
        async with aiohttp.ClientSession() as session:
            for buyer, text in (("8001", "kill me"), ("8002", "later me")):
                await world.post(session, buyer, f"m_{buyer}", text)
            end = time.monotonic() + 90
            while time.monotonic() < end and await world.dead() < 2:
                for index, process in list(world.processes.items()):
                    if process.poll() is not None:
                        assert process.returncode == -signal.SIGKILL
                        deaths += 1
                        world.start(index)
                await asyncio.sleep(0.05)
            assert await world.dead() == 2
            await load
            await world.settle()
            world.check()
            # One may die of the other while it had this one in hand, too, before it was counted.
            assert deaths in range(2 * (tries + 1), 2 * (tries + 1) + 3)
            await world.send(session, "8001", "t8001000")
            await world.send(session, "8002", "t8002000")
            await world.settle()


async def test_a_slow_store_buries_nothing(gw):
    """Leases that run out and commits that Redis does not answer are no sign of poison, however often they come."""
    store, leases = gw.gateway.store, gw.gateway.leases
    commit, left = store.commit, 2 * TRIES

    async def unanswered(changes, **more):
        nonlocal left
        if not left or not changes[0].subject.endswith(":p1"):
            return await commit(changes, **more)
        left -= 1
        partition = changes[0].partition
        leases.suspects[partition] = ("9999999999999-0", "0")  # as if its owner had died while it held the entry
        leases.fresh.add(partition)
        raise StoreError("no answer")

    store.commit = unanswered
    await gw.say("p1", "你好")
    await gw.said("p1", 1, timeout=20)
    partition = store.partition("address:messenger-main:p1")
    assert left == 0
    assert await store.command("XLEN", keys.dead(partition)) == 0
    end = time.monotonic() + 20  # the answer goes out before it is noted that the entry ended no process
    while await store.command("HLEN", keys.tries(partition)):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_an_owner_that_was_slow_is_not_suspected(redis_client):
    """Who takes back its own lease after it ran out has not died; another process's marks are taken over."""
    slow, other = Store(redis_client, 64, "slow"), Store(redis_client, 64, "other")
    first, *marks = (await slow.lease({7: "k"}, 5000))[7]
    assert marks == ["0", "0"]
    await redis_client.hset(keys.lease(7), mapping={"u": "0", "i": "5-0"})
    second, *marks = (await slow.lease({7: "k"}, 5000))[7]
    assert marks == ["", ""]
    await redis_client.hset(keys.lease(7), "u", "0")
    third, *marks = (await other.lease({7: "k"}, 5000))[7]
    assert marks == ["5-0", "0"]
    assert 0 < first < second < third


async def test_a_dead_senders_message_that_cannot_be_read_ends(gw, redis_client):
    """It is found and fails like any other that cannot be read; what was left behind with it is settled too."""
    now = gw.gateway.clock.real()
    held = [f"m_00{'a' * 16}", f"m_00{'b' * 16}"]
    for id in held:
        await redis_client.hset(
            keys.message(0, id), mapping={"s": "sending", "t": 1, "b": b"\xff?", "a": "x", "to": "y", "l": "hi"}
        )
        await redis_client.zadd(keys.sending(0), {id: now - 60_000})
    while await redis_client.zcard(keys.sending(0)):
        await asyncio.sleep(0.05)
    assert [await redis_client.hget(keys.message(0, id), "s") for id in held] == [b"failed", b"failed"]


async def test_news_of_a_send_is_kept_until_it_is_written(gw, monkeypatch):
    """A refusal that tells of the address, while the process stops and Redis is away for a moment: written all the same."""
    gateway, now = gw.gateway, gw.gateway.clock.now()
    sender = Sender(
        store=gateway.store, lines={}, leases=gateway.leases, clock=gateway.clock, wake=asyncio.Event(), hints=set(),
        spend=gateway.spend, broadcasts={},
    )  # fmt: skip
    append, failures = gateway.store.append, [StoreError("away")]

    async def once_away(entries, **more):
        if failures:
            raise failures.pop()
        await append(entries, **more)

    monkeypatch.setattr(gateway.store, "append", once_away)
    subject = subjects.account("messenger-main")
    sender._events.append(Event("", subject, "messenger-main", now, now, AccountAlert("send", "told at the end")))
    sender.stopping = True
    await sender.run()
    await gw.idle()
    found = (await gateway.store.records([subject]))[subject]
    assert "told at the end" in found.alerts[0]
