"""`touchpoint serve` as operators run it: the supervisor, its processes, its embedded server; a provider beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from bot.embedded import EmbeddedServer
from tests.faults.world import ROOT
from tests.gateway import APP_SECRET, CONFIG, SHOP_KEY, FakeGraph, Harness
from tests.servers import free_port


class Served(Harness):
    """A supervisor and what a test does to it."""

    process: subprocess.Popen[bytes]
    out: Path
    port: int

    def said_by_supervisor(self) -> str:
        """Everything that it and its processes printed."""
        return self.out.read_text("utf-8", "replace")

    async def is_ready(self) -> bool:
        """Whether /readyz is green."""
        try:
            async with self.session.get(f"{self.base}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def ready(self, seconds: float = 40) -> None:
        """Until /readyz is green."""
        end = time.monotonic() + seconds
        while not await self.is_ready():
            assert time.monotonic() < end, self.said_by_supervisor()[-2000:]
            await asyncio.sleep(0.1)

    async def end(self) -> int:
        """SIGTERM to the supervisor; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 20)


@asynccontextmanager
async def serving(
    folder: Path, *, env: dict[str, str] | None = None, processes: int = 1, name: str = "serve", port: int = 0
) -> AsyncIterator[Served]:
    """Starts `serve` with its data under `folder`; a second one with another name shares them. `port` 0: any that is free."""
    graph = FakeGraph()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", graph.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    port = port or free_port()
    values = {"port": port, "redis": "embedded:var/valkey", "secret": APP_SECRET, "graph": provider, "shop": SHOP_KEY}
    text = CONFIG.format_map({"extra": "", "policy": "", "server": "", "marketing_hours": "always", **values})
    config = folder / f"{name}.toml"
    config.write_text(text.replace("processes = 1", f"processes = {processes}"))
    out = folder / f"{name}.out"
    command = [sys.executable, "-m", "bot", "serve", "--config", str(config)]
    with out.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, stdout=log, stderr=log
        )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        served = Served(None, f"http://127.0.0.1:{port}", graph, session)
        served.process, served.out, served.port = process, out, port
        try:
            await served.ready()
            yield served
        finally:
            await served.end()
            await runner.cleanup()


def server_pid(folder: Path) -> int:
    """The embedded server that answers on this data."""
    server = EmbeddedServer(folder / "var" / "valkey")
    text = server._ask(b"INFO server\r\n")
    return int(text.split(b"process_id:")[1].split(b"\r\n")[0]) if b"process_id:" in text else 0
