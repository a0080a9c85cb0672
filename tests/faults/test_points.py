"""Points under kill -9: real processes, a real Valkey; each amount of money counts once, whatever ends in the middle of it."""

from __future__ import annotations

import asyncio
import json
import random
import time

import aiohttp
import pytest

from bot import bulk, subjects
from bot.events import Event, StaffAsked
from bot.redis_client import connect
from bot.store import Store
from tests.e2e.test_imports import row
from tests.faults.world import running_world
from tests.gateway import SHOP_KEY, Harness, rfc

CLUB = f"""
[shops.main]
type = "standard"
secret = "whsec_{SHOP_KEY}"
[club]
points_per = "1"
[[club.levels]]
key = "silver"
spend = 500
names = {{ zh-CN = "银卡会员" }}
"""
MEMBERS, ORDERS = 5, 5
PHONES = [f"+86139000070{n:02d}" for n in range(MEMBERS)]


def events_of(id: str, phone: str) -> tuple[list[tuple[str, str, dict]], int]:
    """One order's events in any order, some of them again; and the points of what is kept."""
    total, back = random.randint(100, 300), [random.randint(0, 90) for _ in range(random.randint(0, 3))]
    money = {"amount": f"{total}.50", "currency": "CNY"}
    order = {"id": id, "number": f"#{id}", "total": money, "placed_at": rfc(time.time()), "paid_at": rfc(time.time())}
    data = {"order": order, "buyer": {"phones": [phone]}}
    found = [(f"order.{what}", f"{id}-{what}", data) for what in ("paid", "completed")]
    for n, amount in enumerate(back):
        refund = {"id": f"r{n}", "amount": {"amount": f"{amount}.00", "currency": "CNY"}, "kind": "refund_only"}
        found.append(("refund.succeeded", f"{id}-r{n}", {"order": {"id": id}, "refund": refund}))
    found += random.choices(found, k=3)
    random.shuffle(found)
    return found, max(0, total - sum(back))


async def members(store: Store) -> None:
    """Who has a card since yesterday."""
    now = int(time.time() * 1000)
    asked = [StaffAsked("import_member", "t", json.dumps(row(p, joined_at=now - 86_400_000)).encode()) for p in PHONES]
    events = [Event("", subjects.phone(p), "", now, now, body) for p, body in zip(PHONES, asked, strict=True)]
    await bulk.put_in(store, events, lambda _: None)


async def cards(store: Store) -> dict[str, object]:
    records = await store.records(subjects.phone(p) for p in PHONES)
    return {p: getattr(records.get(subjects.phone(p)), "member", None) for p in PHONES}


async def points(store: Store) -> dict[str, int]:
    return {phone: card.points for phone, card in (await cards(store)).items() if card is not None}


async def post(gw: Harness, events: list[tuple[str, str, dict]]) -> None:
    """Each until it is acknowledged, as shops do."""
    for kind, id, data in events:
        end = time.monotonic() + 90
        while True:
            assert time.monotonic() < end, "never acknowledged"
            try:
                async with asyncio.timeout(5):
                    status, body = await gw.shop(kind, id, data)
                    assert status in (200, 503), body
                    if status == 200:
                        break
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
        await asyncio.sleep(random.random() * 0.3)


@pytest.mark.timeout(200)
async def test_points_are_those_of_the_money_kept_whatever_is_killed(tmp_path):
    """kill -9 of processes and of the store while orders are paid, completed and refunded: nothing counts twice or is missed."""
    async with running_world(tmp_path, settings=CLUB) as world, aiohttp.ClientSession() as session:
        client = connect(world.valkey.url)
        store = Store(client, 64, "test")
        await members(store)
        while len(await points(store)) < MEMBERS:
            await asyncio.sleep(0.05)
        gw = Harness(None, f"http://127.0.0.1:{world.port}", None, session)
        expected = dict.fromkeys(PHONES, 0)
        lives = []
        for n in range(MEMBERS * ORDERS):
            events, kept = events_of(f"9{n:03d}", PHONES[n % MEMBERS])
            expected[PHONES[n % MEMBERS]] += kept
            lives.append(events)
        load = asyncio.gather(*(post(gw, events) for events in lives))
        for number in range(4):
            await asyncio.sleep(0.6)
            if number == 2:
                world.valkey.kill()
                await asyncio.sleep(0.3)
                world.valkey.start()
            else:
                world.kill(number % 2)
                await asyncio.sleep(0.2)
                world.start(number % 2)
        await load
        end = time.monotonic() + 60
        while await points(store) != expected:
            assert time.monotonic() < end, (expected, await points(store))
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)  # nor does anything come after it
        found = await cards(store)
        assert await points(store) == expected
        assert all((card.level == "silver") == (sum(map(float, card.spend.values())) >= 500) for card in found.values())
        assert await world.dead() == 0
        await client.aclose()
