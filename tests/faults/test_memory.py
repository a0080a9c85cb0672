"""Redis at its memory limit: new work is refused in time, what was taken in is finished, the door opens again by itself."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from bot import bootstrap, housekeeping, keys
from bot.bootstrap import read_settings
from bot.codes import Codes
from bot.costs import Tariff
from bot.coupons import Campaign, Coupons
from bot.errors import StoreFullError
from bot.spend import Limits, Outlay, Spend
from bot.store import Store
from tests.gateway import projecting, running
from tests.servers import Valkey

LIMIT = 20 << 20
LONG = "好" * 1900


@pytest.fixture
def small():
    """A server of 20 MB."""
    server = Valkey("--maxmemory", str(LIMIT)).start()
    yield server
    server.stop()


async def flood(gw, seconds: float) -> tuple[set[str], int, bool]:
    """New buyers write long messages as fast as they can: who was acknowledged, how many were refused, whether readyz told."""
    acked: set[str] = set()
    refused = 0
    told = False
    number = 0
    end = time.monotonic() + seconds

    async def writer() -> None:
        nonlocal number, refused, told
        while time.monotonic() < end and refused < 200:
            number += 1
            psid = f"f{number}"
            status, _ = await gw.post_messenger(gw.item(psid, text=LONG))
            assert status in (200, 503)
            if status == 200:
                acked.add(psid)
            else:
                refused += 1
                told = told or not await is_ready(gw)
                await asyncio.sleep(0.05)

    await asyncio.gather(*(writer() for _ in range(16)))
    return acked, refused, told


async def refusals(gw) -> bool:
    """Whether the server itself ever had to refuse a write."""
    return "errorstat_OOM" in str(await gw.gateway.store.command("INFO", "errorstats"))


async def is_ready(gw) -> bool:
    async with gw.session.get(f"{gw.base}/readyz") as answer:
        return answer.status == 200


async def until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(150)
async def test_a_flood_shuts_the_door_before_memory_is_gone_and_it_opens_by_itself(small, tmp_path, monkeypatch):
    """503 with Retry-After at three quarters, readyz red; each acknowledged message is answered; then it takes in again."""
    async with running(small, tmp_path) as gw:
        acked, refused, told = await flood(gw, 40)
        assert refused > 0
        assert told  # at that moment: on a busy machine buffers are a part of what is full, and go by themselves
        async with gw.session.post(f"{gw.base}/channels/messenger-main/webhook", data=b"{}") as answer:
            assert answer.status == 401  # what is not the provider's is told so, door shut or not
        assert not await refusals(gw)
        await gw.idle(30)
        assert {body["recipient"]["id"] for body in gw.graph.sent} == acked
        # Only what the ledger holds makes room: until now there was none.
        monkeypatch.setattr(housekeeping, "LEAST_MS", 500)
        async with projecting(gw.gateway):
            await until(lambda: is_ready(gw), 40)
            await gw.say("f1", "你好")
            await gw.said("f1", 2, timeout=10)


@pytest.mark.timeout(90)
async def test_the_door_is_what_keeps_memory_from_running_out(small, tmp_path, monkeypatch):
    """The control: without the door the server's own limit is hit. Even then nothing acknowledged is lost."""
    monkeypatch.setattr(bootstrap, "DOOR_SHUT", 2.0)
    async with running(small, tmp_path) as gw:
        acked, refused, _ = await flood(gw, 40)
        assert refused > 0
        assert await refusals(gw)
        await gw.idle(30)
        assert {body["recipient"]["id"] for body in gw.graph.sent} == acked


async def test_at_the_limit_processes_keep_their_partitions_and_finish_their_work(valkey, redis_client, tmp_path):
    """Heartbeats, leases, claims of coupons and cards, attempts and metrics go on; a process can even start."""
    async with running(valkey, tmp_path) as gw:
        await gw.say("p1", "你好")
        await gw.said("p1", 1)
        store = gw.gateway.store
        coupons = Coupons(store)
        await coupons.create(Campaign("FULL", "20 元", "amount_off", 5, "20.00", "CNY", "99.00", created_at=1))
        await coupons.refresh()
        await redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreFullError):
                await store.append([("address:messenger-main:p1", b"", b"x" * 1000)])
            await asyncio.sleep(3)  # longer than a lease
            assert gw.gateway.leases.sure
            assert len(store.fences) == 64
            assert (await coupons.claim("FULL", "b_1", 2, {})).outcome == "won"
            assert await store.count("cardno:{p01}") == 1
            assert (await Codes(store, ["CN"]).request("+8613900001234", 1)).outcome == "sent"
            assert b"touchpoint_turns" in await redis_client.hget("metrics", store.owner)
            starting = await bootstrap.build(read_settings(tmp_path / "config.toml"), "late")
            await starting.leases.renew()
            await starting.close()
            status, _ = await gw.post_messenger(gw.item("p1", text="你好"))
            assert status == 503
            assert not await is_ready(gw)
        finally:
            await redis_client.config_set("maxmemory", 0)
        await until(lambda: is_ready(gw), 10)
        await gw.say("p1", "你好")
        await gw.said("p1", 2)


async def test_an_alert_that_cannot_be_stored_now_is_told_later(redis_client):
    """A spend limit that is reached while memory is full: the texts stop at once, the account's record hears of it after that."""
    store = Store(redis_client, 4, "one")
    limits = Limits(Tariff("CNY", {"CN": Decimal("0.045")}), daily=Decimal("0.045"))
    spend = Spend(store, {"sms": limits}, ZoneInfo("Asia/Shanghai"))
    now = 1_790_000_000_000
    await redis_client.config_set("maxmemory", 1)
    try:
        assert await spend.reserve("sms", [Outlay("m1", 1, "+8613900001234", 1)], now) == set()
        assert set(spend.used_up) == {"sms"}
    finally:
        await redis_client.config_set("maxmemory", 0)
    inbox = keys.inbox(store.partition("account:sms"))
    assert await redis_client.xlen(inbox) == 0
    for _ in range(2):
        await spend.refresh(now)
    [(_, fields)] = await redis_client.xrange(inbox)
    assert b"100 % of daily_spend_limit" in fields[b"b"]


async def test_one_reason_to_be_shut_does_not_end_another():
    """Memory that is free again does not open a door that is shut because the store is unsafe."""
    door = bootstrap.Door()
    assert door.shut("store", "the store is not safe")
    assert door.shut("memory", "memory is 80% full")
    assert not door.shut("memory", "memory is 81% full")
    assert door.open("memory")
    assert door.shut_because == "the store is not safe"
    assert door.open("store")
    assert not door.open("store")
    assert door.shut_because == ""


async def test_history_goes_oldest_first_while_memory_is_short(redis_client):
    """Each round keeps half as long; what is not settled stays; with memory free again 48 hours count."""
    hour = 3_600_000
    now = int(time.time() * 1000)
    store = Store(redis_client, 4, "me")
    for p, (fence, _, _) in (await store.lease(dict.fromkeys(range(4), "k"), 5000)).items():
        store.fences[p] = fence
    for hours in (60, 40, 20, 5):
        await redis_client.xadd("journal:{p01}", {"k": "turn"}, id=f"{now - hours * hour}-0")
        await redis_client.zadd("msgs:{p01}", {f"m{hours}": now - hours * hour})
        await redis_client.hset(f"msg:{{p01}}:m{hours}", "s", "sent" if hours != 20 else "queued")
    await redis_client.hset("ledger:marks", "1", f"{now - 5 * hour}-0")
    keeper = housekeeping.Housekeeping(store)

    async def left() -> tuple[int, list[bytes]]:
        return await redis_client.xlen("journal:{p01}"), await redis_client.zrange("msgs:{p01}", 0, -1)

    await keeper.sweep(now)
    assert await left() == (3, [b"m40", b"m20", b"m5"])
    await keeper.make_room(now)
    assert await left() == (2, [b"m20", b"m5"])
    await keeper.make_room(now)
    assert await left() == (1, [b"m20", b"m5"])
    for _ in range(12):
        await keeper.make_room(now)
    assert await left() == (1, [b"m20"])  # the last that is projected stays: it proves the pair of stores
    await redis_client.xadd("journal:{p02}", {"k": "turn"}, id=f"{now - 30 * hour}-0")
    await redis_client.hset("ledger:marks", "2", f"{now}-0")
    keeper.has_room()
    await keeper.sweep(now)
    assert await redis_client.xlen("journal:{p02}") == 1


async def test_what_the_ledger_does_not_hold_stays(redis_client):
    """However old it is, and however short memory: journals wait for the ledger, and the messages that they tell of."""
    hour = 3_600_000
    now = int(time.time() * 1000)
    store = Store(redis_client, 4, "me")
    for p, (fence, _, _) in (await store.lease(dict.fromkeys(range(4), "k"), 5000)).items():
        store.fences[p] = fence
    for p, hours in ((1, 90), (1, 80), (1, 70), (2, 90)):
        await redis_client.xadd(f"journal:{{p{p:02d}}}", {"k": "turn"}, id=f"{now - hours * hour}-0")
    await redis_client.zadd("msgs:{p01}", {"m80": now - 80 * hour})
    await redis_client.hset("msg:{p01}:m80", "s", "sent")
    await redis_client.hset("ledger:marks", "1", f"{now - 80 * hour}-0")
    keeper = housekeeping.Housekeeping(store)

    for _ in range(12):
        await keeper.make_room(now)

    entries = [id for id, _ in await redis_client.xrange("journal:{p01}", "-", "+")]
    assert entries == [f"{now - hours * hour}-0".encode() for hours in (80, 70)]
    assert await redis_client.exists("msg:{p01}:m80")
    assert await redis_client.xlen("journal:{p02}") == 1
