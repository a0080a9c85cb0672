"""Power loss, slow disks, full disks: what was acknowledged is on the disk."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bot.redis_client import connect
from bot.store import Store
from tests.faults.serving import serving
from tests.gateway import running
from tests.servers import Valkey


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """A library that keeps what is written to the append-only file in memory until fsync, as a disk's cache does."""
    folder = tmp_path_factory.mktemp("shim")
    source = Path(__file__).with_name("power_loss.c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed for the power-loss test"
    library = folder / "power_loss.so"
    subprocess.run(
        [compiler, "-O2", "-fPIC", "-shared", "-o", str(library), str(source), "-ldl", "-lpthread"], check=True
    )
    return str(library)


async def lost_after_power_cut(shim: str, policy: str) -> int:
    """Acknowledged appends that are gone after the power went: through the product's own store."""
    valkey = Valkey("--appendfsync", policy, env={"LD_PRELOAD": shim}).start()
    store = Store(connect(valkey.url), 64, "power")
    acked: list[int] = []

    async def writer(number: int) -> None:
        for turn in range(100_000):
            id = number * 1_000_000 + turn
            try:
                await store.append([(f"address:a:{id}", b"", str(id).encode())])
            except Exception:
                return
            acked.append(id)

    writers = [asyncio.create_task(writer(n)) for n in range(8)]
    await asyncio.sleep(1.7)
    valkey.kill()
    await asyncio.gather(*writers)
    await store.client.aclose()
    valkey.env.pop("LD_PRELOAD")
    valkey.start()
    client = connect(valkey.url)
    kept = set()
    for p in range(64):
        kept |= {int(fields[b"b"]) for _, fields in await client.xrange(f"inbox:{{p{p:02d}}}")}
    await client.aclose()
    valkey.stop()
    assert len(acked) > 500
    return len(set(acked) - kept)


@pytest.mark.timeout(60)
async def test_power_loss_loses_nothing_that_was_acknowledged(shim):
    """appendfsync always: what was acknowledged is there after the power came back."""
    assert await lost_after_power_cut(shim, "always") == 0


@pytest.mark.timeout(60)
async def test_the_power_loss_test_can_see_loss(shim):
    """The control: with everysec the same cut loses acknowledged writes. If this passes, the test above sees."""
    assert await lost_after_power_cut(shim, "everysec") > 0


# --- slow ---------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(90)
async def test_a_slow_disk_makes_it_slow_not_wrong(shim, tmp_path):
    """Each sync takes 200 ms: webhooks are answered within a second, and every message has one answer."""
    server = Valkey(env={"LD_PRELOAD": shim, "HOLD": "0", "FSYNC_MS": "200"}).start()
    try:
        async with running(server, tmp_path) as gw:
            gw.gateway.lease_ttl_s = 12.0  # as shipped: a lease is made for slow disks too
            gw.gateway.leases._ttl_ms = 12_000
            longest = 0.0

            async def buyer(number: int) -> None:
                nonlocal longest
                for turn in range(2):
                    item = gw.item(f"p{number}", mid=f"m_slow_{number}_{turn}", text="你好")
                    status = 503
                    while status == 503:
                        began = time.monotonic()
                        status, _ = await gw.post_messenger(item)
                        longest = max(longest, time.monotonic() - began)
                    assert status == 200

            await asyncio.gather(*(buyer(n) for n in range(8)))
            for number in range(8):
                await gw.said(f"p{number}", 2, timeout=30)
            await gw.idle(30)
            assert longest < 1.3
            assert len(gw.graph.sent) == 16
    finally:
        server.stop()


# --- full ---------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_a_full_disk_ends_the_server_and_space_brings_it_back(shim, tmp_path):
    """503 within a second, no loop of restarts, red readiness; with space again it goes on by itself, nothing lost."""
    full = tmp_path / "full"
    env = {"LD_PRELOAD": shim, "HOLD": "0", "FULL_WHEN": str(full)}
    async with serving(tmp_path, env=env) as gw:
        await gw.say("p1", "你好")
        await gw.said("p1", 1)
        full.touch()
        items = [gw.item(f"q{n}", mid=f"m_full_{n}", text="你好") for n in range(10)]
        acked = set()
        began = time.monotonic()
        while time.monotonic() - began < 5:
            asked = time.monotonic()
            answers = await asyncio.gather(*(gw.post_messenger(item) for item in items))
            assert time.monotonic() - asked < 1.5
            acked |= {item["sender"]["id"] for item, (status, _) in zip(items, answers, strict=True) if status == 200}
            assert {status for status, _ in answers} <= {200, 503}
            await asyncio.sleep(0.2)
        assert acked == set()
        assert gw.said_by_supervisor().count("the embedded server ended (") in range(2, 7)
        assert "the disk is full" in gw.said_by_supervisor()
        assert not await gw.is_ready()

        full.unlink()
        end = time.monotonic() + 20
        while not await gw.is_ready():
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        for item in items:
            while (await gw.post_messenger(item))[0] != 200:
                await asyncio.sleep(0.1)
            await gw.said(item["sender"]["id"], 1, timeout=10)
        await asyncio.sleep(1)
        assert len(gw.graph.sent) == 11
