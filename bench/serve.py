"""One gateway process for the benchmark: as shipped, plus a handler that echoes with a counter in the conversation."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from aiohttp import web

from bot import log, process
from bot.bootstrap import Extras, build, read_settings
from bot.effects import Effect, Remember, Say
from bot.handling import Handler, Trigger, Turn

HERE = Path(__file__).parent


def echo(turn: Turn) -> Sequence[Effect]:
    """Says back what was said, with how often this buyer was answered."""
    count = turn.buyer.tallies.get("echo", 0) + 1
    return [Remember("echo"), Say("echo", {"count": count, "text": turn.raw_text})]


ECHO = Extras(
    handlers=(Handler("echo", {Trigger("intent", "echo"): echo}),),
    prefixes={"echo ": "echo"},
    templates=(HERE / "templates",),
)


async def main() -> None:
    """Serves until it is killed."""
    settings = read_settings(Path(sys.argv[1]))
    gateway = await build(settings, f"bench-{os.getpid()}", ECHO)
    runner = web.AppRunner(gateway.app, access_log=None)
    await runner.setup()
    await gateway.leases.renew()
    await web.TCPSite(runner, "127.0.0.1", settings.server.port, backlog=1024, reuse_port=True).start()
    process.start_loops(gateway)
    profile = os.environ.get("PROFILE")
    if profile:
        await _profiled(profile)
    await asyncio.Event().wait()


async def _profiled(path: str) -> None:
    import cProfile  # only on demand

    await asyncio.sleep(4)
    profiler = cProfile.Profile(time.thread_time)  # CPU of this thread: what others take of the core does not count
    profiler.enable()
    await asyncio.sleep(5)
    profiler.disable()
    profiler.dump_stats(path)


if __name__ == "__main__":
    log.configure()
    uvloop.run(main())
