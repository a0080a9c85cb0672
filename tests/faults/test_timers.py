"""Timers: never early, within a second, over a restart; thousands due at once keep no buyer waiting."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot import worker
from bot.bootstrap import Extras
from bot.effects import Say, Schedule
from bot.handling import Handler, Trigger
from tests.gateway import running

DELAY_MS = 2500


def later(turn):
    """Sets a timer."""
    return [Schedule("tick", turn.now + DELAY_MS, {"account": turn.address.account, "to": turn.address.id})]


def tick(turn):
    """It is due."""
    return [Say("fallback", account="messenger-main", to=turn.data["to"])]


TICK = Extras(
    handlers=(Handler("tick", {Trigger("intent", "tick"): later, Trigger("timer", "tick"): tick}),),
    prefixes={"tick ": "tick"},
)
DUE = 10_000
ASKED = 10  # samples, at least, of how long a buyer waits


async def arrivals(gw, count: int, seconds: float) -> tuple[dict[str, float], float]:
    """When each buyer was first told something, by real time; how long the machine kept us from looking, at most."""
    found: dict[str, float] = {}
    looked = time.monotonic()
    end, stall = looked + seconds, 0.0
    while len(found) < count and looked < end:
        for body in gw.graph.sent:
            found.setdefault(body["recipient"]["id"], time.time())
        await asyncio.sleep(0.005)
        stall, looked = max(stall, time.monotonic() - looked), time.monotonic()
    return found, stall


async def test_never_early_and_within_a_second(valkey, redis_client, tmp_path):
    """Thirty buyers set a timer each: every answer comes after its time, and at most a second after."""
    async with running(valkey, tmp_path, extras=TICK) as gw:
        asked = {}
        for number in range(30):
            await gw.say(f"p{number}", "tick now")
            asked[f"p{number}"] = time.time()
        found, stall = await arrivals(gw, 30, 20)
        assert found.keys() == asked.keys()
        await gw.idle()
        late = [found[psid] - at - DELAY_MS / 1000 for psid, at in asked.items()]
        assert min(late) > -0.1  # the clock of the turn starts a little before the webhook is answered
        assert max(late) < 1.0 + stall
        assert len(gw.graph.sent) == 30


async def test_a_timer_survives_a_restart(valkey, redis_client, tmp_path):
    """The process stops before the time and another starts after it: told once, at once."""
    async with running(valkey, tmp_path, extras=TICK) as gw:
        await gw.say("p1", "tick now")
        await gw.idle()
        assert gw.graph.sent == []
    await asyncio.sleep(DELAY_MS / 1000)
    async with running(valkey, tmp_path, extras=TICK, owner="other") as gw:
        assert (await arrivals(gw, 1, 20))[0].keys() == {"p1"}
        await asyncio.sleep(0.5)
        assert len(gw.graph.sent) == 1


async def all_due(gw, client, prefix: str) -> None:
    """Sets the timers of ten thousand buyers to a second ago."""
    store, at = gw.gateway.store, gw.gateway.clock.now() - 1000
    due: dict[int, dict[str, int]] = {}
    for number in range(DUE):
        subject = f"address:messenger-main:{prefix}{number}"
        due.setdefault(store.partition(subject), {})[f"{subject}\0tick"] = at
    await asyncio.gather(*(client.zadd(f"timers:{{p{p:02d}}}", rows) for p, rows in due.items()))


async def left(client) -> int:
    """How many timers and bulk events there are still."""
    pipe = client.pipeline(transaction=True)
    for p in range(64):
        pipe.xlen(f"bulk:{{p{p:02d}}}")
        pipe.zcard(f"timers:{{p{p:02d}}}")
    return sum(await pipe.execute())


@pytest.mark.timeout(120)
async def test_ten_thousand_due_at_once_keep_no_buyer_waiting(valkey, redis_client, tmp_path, monkeypatch):
    """While they are worked off buyers who write are answered as ever: bulk has a quarter of a round at most."""
    shares: list[tuple[int, int]] = []
    batch = worker.Worker._batch

    async def watched(self, taken, raw):
        lanes = [one.lane for one in taken]
        shares.append((lanes.count("i"), lanes.count("b")))
        await batch(self, taken, raw)

    monkeypatch.setattr(worker.Worker, "_batch", watched)
    async with running(valkey, tmp_path, extras=TICK) as gw:
        crowd = [gw.item(f"c{n}", text="你好") for n in range(300)]
        waits: list[float] = []
        total = 0
        end = time.monotonic() + 90
        while len(waits) < ASKED:  # a fast machine is through before enough buyers have written: it gets more to do
            await all_due(gw, redis_client, f"r{total}-")
            total += DUE
            if total == DUE:
                assert (await gw.post_messenger(*crowd))[0] == 200
            while await left(redis_client):
                assert time.monotonic() < end, "not worked off"
                asked = time.monotonic()
                await gw.say(f"p{len(waits)}", "你好")
                await gw.said(f"p{len(waits)}", 1, timeout=20)
                waits.append(time.monotonic() - asked)
        assert sorted(waits)[len(waits) // 2] < 1.0
        assert max(waits) < 3.0
        assert sum(bulk for _, bulk in shares) == total
        # A round that found the inbox empty looks again before it fills up with bulk: what came meanwhile rides along.
        crowded = sorted(bulk for inbox, bulk in shares if inbox >= worker.BATCH // 2)
        assert crowded
        assert crowded[max(0, len(crowded) - 2)] <= worker.BATCH // 4
