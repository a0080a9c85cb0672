"""One WeChat account served by two real processes: they share its access token, and one of them fetches it."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from tests.channels.lend import provider
from tests.channels.wechat.peer import WeChatPeer, account
from tests.e2e.wechat import WeChat
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
BUYERS = [f"oBuyer{number:03}" for number in range(48)]
CONFIG = """
[brand]
name = "小满衣橱"
[server]
port = {port}
processes = 2
[redis]
url = "{redis}"
lease_seconds = 2
[policy]
service_hours = "always"
"""


class Pair:
    """The two processes, and what each of them has sent by its own log."""

    def __init__(self, folder: Path) -> None:
        self.logs = [folder / f"{owner}.log" for owner in ("one", "two")]
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, config: Path) -> None:
        for log in self.logs:
            with log.open("wb") as out:
                command = [sys.executable, "-m", "bot", "worker", "--config", str(config), "--owner", log.stem]
                self.running.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=out, stderr=out))

    def stop(self) -> None:
        for one in self.running:
            one.terminate()
        for one in self.running:
            one.wait(15)

    def sent(self) -> list[int]:
        return [log.read_text().count('"event":"message"') for log in self.logs]


@pytest.fixture
async def pair(valkey, redis_client, tmp_path):
    peer, port, both = WeChatPeer(), free_port(), Pair(tmp_path)
    async with provider(peer) as (base, _), aiohttp.ClientSession() as session:
        path = tmp_path / "config.toml"
        path.write_text(CONFIG.format(port=port, redis=valkey.url) + account(base))
        both.start(path)
        try:
            wechat = WeChat(SimpleNamespace(base=f"http://127.0.0.1:{port}", session=session), peer, None)
            await _shared(redis_client, both)
            yield wechat, both
        finally:
            both.stop()


async def _shared(client, both: Pair, timeout: float = 30.0) -> None:
    """Until each process owns partitions."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        owners = collections.Counter([await client.hget(f"lease:{{p{p:02d}}}", "o") for p in range(64)])
        if len(owners) == 2 and None not in owners and min(owners.values()) > 16:
            return
        assert all(one.poll() is None for one in both.running), [log.read_text()[-500:] for log in both.logs]
        await asyncio.sleep(0.1)
    raise AssertionError(owners)


async def _everybody(wechat: WeChat, rounds: int) -> None:
    """Each buyer asks at the same time, and each is answered once more."""
    await asyncio.gather(*(wechat.say(openid, "帮助") for openid in BUYERS))
    end = time.monotonic() + 15
    while len(wechat.peer.sent) < rounds * len(BUYERS) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    assert {len(wechat.peer.texts(openid)) for openid in BUYERS} == {rounds}


@pytest.mark.timeout(90)
async def test_two_processes_share_one_token(pair):
    """Fetched once for both; superseded, asked for once; refused although given out, forced once: nothing lost or doubled."""
    wechat, both = pair
    await _everybody(wechat, 1)
    assert wechat.peer.asked == [False]
    wechat.peer.supersede()
    await _everybody(wechat, 2)
    assert wechat.peer.asked == [False, False]
    wechat.peer.gives, wechat.peer.token = wechat.peer.token, "AT-other"
    await _everybody(wechat, 3)
    assert wechat.peer.asked == [False, False, False, True]
    assert min(both.sent()) > len(BUYERS)
    logged = "".join(log.read_text() for log in both.logs)
    assert all(json.loads(line)["level"] for line in logged.splitlines() if line.startswith("{"))
    assert not [word for word in ("AT-1", "AT-2", "s3cret-app-9", "oBuyer001") if word in logged]
