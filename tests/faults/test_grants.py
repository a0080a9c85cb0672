"""Leave for single notices under kill -9: no tap is used twice and none gets lost, whatever is told again and whoever dies on the way."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from bot.codec import load_message
from bot.records import Buyer
from bot.redis_client import connect
from bot.store import Store
from tests.channels.lend import provider
from tests.channels.wechat.peer import WeChatPeer, account
from tests.e2e.test_subscriptions import NOTICES, SHIPPED, Leaves
from tests.gateway import SHOP_KEY, Harness
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
TAPS, PARCELS = 3, 5
PATIENCE_S = 90.0
TAKEN = Counter[str]()
CONFIG = f"""
[brand]
name = "小满衣橱"
[server]
port = {{port}}
processes = 2
[redis]
url = "{{redis}}"
lease_seconds = 1
[policy]
service_hours = "always"
service_per_day = 50
[shops.main]
type = "standard"
secret = "whsec_{SHOP_KEY}"
"""


class Processes:
    """Two real ones, killed at random."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder, self.config = folder, config
        self.running: list[subprocess.Popen[bytes]] = [self.start(index) for index in range(2)]

    def start(self, index: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bot", "worker", "--config", str(self.config), "--owner", f"p{index}"]
        with (self.folder / f"{index}.log").open("ab") as out:
            return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=out, stderr=out)

    async def kill(self, index: int) -> None:
        self.running[index].kill()
        await asyncio.to_thread(self.running[index].wait)
        self.running[index] = self.start(index)

    def stop(self) -> None:
        for one in self.running:
            one.kill()
            one.wait()


async def told(push, *args: object, **more: object) -> None:
    """As providers and shops do: again until it is taken. Processes that are killed take long to come back on a busy machine."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            await push(*args, **more)
        except (AssertionError, aiohttp.ClientError):
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        else:
            TAKEN["pushes"] += 1
            return


async def ship(wechat: Leaves, openid: str, number: str) -> None:
    """A parcel is on its way: a notice is due outside the window."""
    data = {
        "order": {
            "id": number,
            "number": f"#{number}",
            "pay_state": "paid",
            "items": [{"title": "亚麻衬衫", "qty": 1}],
        },
        "buyer": {"address": f"wechat-main:{openid}"},
        "shipment": {"id": number, "carrier": "sf", "tracking_no": f"SF{number}", "state": "in_transit"},
    }
    status, answer = await wechat.harness.shop("shipment.created", f"e-{number}", data)
    assert status < 300, answer


async def live(wechat: Leaves, openid: str, number: int) -> None:
    """Taps, each told to the gateway twice; parcels between and after them."""
    now = int(time.time()) - 100
    for place in range(max(TAPS, PARCELS)):
        if place < TAPS:
            for _ in range(2):
                await told(wechat.answer, openid, SHIPPED, "accept", at=now + place)
        if place < PARCELS:
            await told(ship, wechat, openid, f"{number}{place}")
        await asyncio.sleep(random.random() / 4)


async def taken(count: int) -> None:
    """Until so many pushes were taken."""
    while TAKEN["pushes"] < count:
        await asyncio.sleep(0.02)


async def ended(store: Store, count: int) -> dict[str, list[tuple[str, str, int]]]:
    """The shipping notices by buyer's address, (account, state, leave) each, once all are planned and ended."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, list[tuple[str, str, int]]] = {}
        async for name in store.client.scan_iter("msg:*"):
            body, state = await store.client.hmget(name, "b", "s")
            message = load_message(body)
            if message.key == "order_shipped":
                found.setdefault(message.home, []).append((message.account, state.decode(), message.grant))
        states = [state for rows in found.values() for _, state, _ in rows]
        if len(states) == count and not {"queued", "sending"} & set(states):
            return found
        assert time.monotonic() < end, Counter(states)
        await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_no_tap_is_used_twice_and_none_is_lost(valkey, redis_client, tmp_path):
    """WeChat would let more through; some of its answers are lost. Each tap went out once, or is in doubt, or is left."""
    TAKEN.clear()
    peer, port = WeChatPeer(), free_port()
    buyers = [f"oBuyer{number:02}" for number in range(5)]
    async with provider(peer) as (base, _), aiohttp.ClientSession() as session:
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.format(port=port, redis=valkey.url) + account(base) + NOTICES)
        processes = Processes(tmp_path, path)
        try:
            harness = Harness(SimpleNamespace(), f"http://127.0.0.1:{port}", None, session)  # type: ignore[arg-type]
            wechat = Leaves(harness, peer, None)
            for openid in buyers:
                peer.leave[openid, SHIPPED] = 100
            peer.answers = [random.choice([0, 0, 0, "drop", -1]) for _ in range(30)]
            lives = [asyncio.create_task(live(wechat, one, 10 + n)) for n, one in enumerate(buyers)]
            for count, index in ((6, 0), (30, 1)):
                await taken(count)
                await processes.kill(index)
            await asyncio.gather(*lives)
            store = Store(connect(valkey.url), 64, "look")
            found = await ended(store, len(buyers) * PARCELS)
            for openid in buyers:
                record = await store.resolve(f"address:wechat-main:{openid}")
                assert isinstance(record, Buyer)
                grant = record.addresses[0].grants[SHIPPED]
                rows = found[f"address:wechat-main:{openid}"]
                used = [leave for _, state, leave in rows if leave and state in ("sent", "in_doubt")]
                assert len(set(used)) == len(used), "a tap was used by two notices"
                assert sorted([*used, *grant.given]) == sorted({*used, *grant.given})
                assert len(used) + len(grant.given) == TAPS, (rows, grant)
                gone = wechat.noticed(openid)
                assert len(gone) == len(set(gone)) <= len(used), "a notice went out twice"
            await store.client.aclose()
        finally:
            processes.stop()
    assert 43101 not in peer.refused
