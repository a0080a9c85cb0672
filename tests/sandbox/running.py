"""The shipped sandbox configuration as a running gateway: every provider call and webhook goes over a real socket."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from bot import bootstrap, process
from bot.settings import load
from tests.servers import Valkey, free_port

SHIPPED = Path(__file__).parents[2] / "config.toml"
IDS = {
    "wechat-main": "oSandboxLinXiaoman01",
    "messenger-main": "7001002003004005",
    "sms-main": "+8613900001234",
    "sms-cn": "+8613900001234",
}


class Sandbox:
    """What a visitor of the sandbox can do."""

    def __init__(self, gateway: bootstrap.Gateway, base: str, session: aiohttp.ClientSession) -> None:
        self.gateway, self.base, self.session = gateway, base, session

    async def get(self, path: str, **more):
        async with self.session.get(self.base + path, **more) as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, body=None, **more):
        async with self.session.post(self.base + path, json=body or {}, **more) as answer:
            return answer.status, await answer.json()

    def phone(self, account: str, id: str = "") -> str:
        return f"/sandbox/phones/{account}/{quote(id or IDS[account], safe='')}"

    async def say(self, account: str, id: str = "", **what: str):
        return await self.post(self.phone(account, id) + "/say", what)

    async def messages(self, account: str, id: str = "") -> list[dict]:
        return (await self.get(self.phone(account, id) + "/messages"))[1]["items"]

    async def told(self, account: str, words: str, timeout: float = 8.0) -> dict:
        """The bubble of the shop that holds these words, once it is there."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = await self.messages(account)
            for bubble in found:
                if bubble["from"] == "shop" and words in str(bubble.get("text", "")):
                    return bubble
            await asyncio.sleep(0.05)
        raise AssertionError([(m["from"], m.get("text", "")) for m in found])

    async def ledger(self, account: str) -> list[dict]:
        return (await self.get(f"/sandbox/ledger/{account}"))[1]["items"]

    async def shop(self, verb: str, body=None):
        return await self.post(f"/sandbox/shops/main/{verb}", body)

    async def fault(self, account: str, *faults: str):
        return await self.post(f"/sandbox/faults/{account}", {"next": list(faults)})

    async def advance(self, seconds: float):
        return await self.post("/sandbox/clock", {"advance_s": seconds})

    async def idle(self, timeout: float = 8.0) -> None:
        """Until every lane is empty and nothing is being sent."""
        store = self.gateway.store
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            pipe = store.client.pipeline(transaction=False)
            for p in range(store.partitions):
                for lane in ("inbox", "bulk", "mail"):
                    pipe.xlen(f"{lane}:{{p{p:02d}}}")
                pipe.hlen(f"busy:{{p{p:02d}}}")
            if not any(await pipe.execute()):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the gateway did not become idle")


@asynccontextmanager
async def running(valkey: Valkey, tmp_path: Path, *, change=lambda text: text):
    """The gateway of the shipped config.toml on a free port; torn down in order."""
    port = free_port()
    text = SHIPPED.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("port = 8080", f"port = {port}")
    text = text.replace("embedded:var/valkey", valkey.url)
    path = tmp_path / "config.toml"
    path.write_text(change(text))
    settings = load(path, bootstrap.channels.ALL, bootstrap.shops.ALL, env={})
    gateway = await bootstrap.build(settings, "sandbox-test")
    runner = web.AppRunner(gateway.app, access_log=None)
    await runner.setup()
    await gateway.leases.renew()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    loops = process.start_loops(gateway)
    session = aiohttp.ClientSession()
    try:
        yield Sandbox(gateway, f"http://127.0.0.1:{port}", session)
    finally:
        await session.close()
        await process._drain(gateway, runner, loops)
