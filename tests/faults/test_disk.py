"""Power loss and slow disks: what was acknowledged is on the disk."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

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
    from bot.redis_client import connect
    from bot.store import Store

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
