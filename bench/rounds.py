"""One contestant's run: started alone on its core, fed, answered, measured, stopped."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import subprocess
import time
from dataclasses import replace
from typing import Any

from bench import loadgen
from bench.contestants import PORTS, Contestant
from bench.machine import WORK, cpu_s, redis, rss_mb, script_calls, stop, threads_s

_runs = itertools.count()


async def measure(
    one: Contestant,
    args: argparse.Namespace,
    valkey: subprocess.Popen[bytes],
    *,
    processes: int = 1,
    keep: bool = False,
) -> dict[str, Any]:
    """A contestant's figures. `processes` share its port and its core; `keep` leaves what Redis holds."""
    loop = asyncio.get_running_loop()
    cell = [loadgen.Hub(one, PORTS["app"])]

    class Front(loadgen.Provider):
        def __init__(self) -> None:
            super().__init__(cell[0])

        def data_received(self, data: bytes) -> None:
            self.hub = cell[0]
            super().data_received(data)

    server = await loop.create_server(Front, "127.0.0.1", PORTS["provider"])
    if not keep:
        redis("FLUSHALL")
    env = {
        **os.environ,
        "PORT": str(PORTS["app"]),
        "PROV_PORT": str(PORTS["provider"]),
        "REDIS_PORT": str(PORTS["redis"]),
        **one.env,
    }
    started = time.perf_counter()
    command = ["taskset", "-c", args.cpu, *one.command]
    with (WORK / f"{one.name}.log").open("wb") as log:
        running = [
            subprocess.Popen(command, cwd=one.cwd, env=env, stdout=log, stderr=log, start_new_session=True)
            for _ in range(processes)
        ]
    process = running[0]

    def spent() -> float:
        return sum(cpu_s(each.pid) for each in running)

    try:
        first = replace(one, webhook=one.prime) if one.prime else one
        cell[0] = loadgen.Hub(first, PORTS["app"])
        cell[0].seq = next(_runs) * 1_000_000  # what is kept knows the messages of earlier runs
        cold = await first_reply(first, cell[0], process, started)
        if processes > 1:
            await asyncio.sleep(3)  # until the partitions are shared out
        if one.prime:
            seq = cell[0].seq
            cell[0] = loadgen.Hub(first, PORTS["app"])
            await prime(cell[0], seq, args)
        result: dict[str, Any] = {"cold_s": cold, "rss0": rss_mb(process.pid)}
        seq = cell[0].seq
        cell[0] = hub = loadgen.Hub(one, PORTS["app"])
        hub.seq, hub.users = seq, args.buyers
        cpu, valkey_cpu, calls = spent(), cpu_s(valkey.pid), script_calls()
        threads = sum(threads_s(each.pid, "pyreqwest") for each in running)
        closed = await hub.closed_loop(args.inflight * processes, 1.5, args.seconds)
        count = max(len(hub.rep), 1)
        threads = sum(threads_s(each.pid, "pyreqwest") for each in running) - threads
        result |= {
            "rate": closed["rate"],
            "cpu_us": (spent() - cpu) / count * 1e6,
            "redis_us": (cpu_s(valkey.pid) - valkey_cpu) / count * 1e6,
            "scripts": (script_calls() - calls) / count,
            "threads_us": threads / count * 1e6,
            "bad": closed["lost"] + closed["bad"],
            "rss": rss_mb(process.pid),
        }
        await asyncio.sleep(0.3)
        seq = hub.seq
        cell[0] = hub = loadgen.Hub(one, PORTS["app"])
        hub.seq, hub.users = seq, args.buyers
        result |= {
            k: v for k, v in (await hub.open_loop(max(5, closed["rate"] / 2), args.seconds)).items() if k != "bad"
        }
        return result
    finally:
        for each in running:
            stop(each)
        server.close()


async def prime(hub: loadgen.Hub, seq: int, args: argparse.Namespace) -> None:
    """Every buyer has written once: the window for notices is open."""
    hub.seq, hub.users = seq, args.buyers
    end = time.perf_counter() + 60
    await hub.open(args.inflight)
    while len(hub.sent) < args.buyers and time.perf_counter() < end:
        if len(hub.sent) - len(hub.rep) < args.inflight:
            hub.fire()
        else:
            await asyncio.sleep(0.001)
    await asyncio.sleep(1)


async def first_reply(one: Contestant, hub: loadgen.Hub, process: subprocess.Popen[bytes], started: float) -> float:
    loop = asyncio.get_running_loop()
    while time.perf_counter() - started < 60:
        if process.poll() is not None:
            raise RuntimeError(f"{one.name} ended with {process.returncode}; see var/bench/{one.name}.log")
        try:
            _, connection = await loop.create_connection(lambda: loadgen.Conn(hub), "127.0.0.1", PORTS["app"])
        except OSError:
            await asyncio.sleep(0.01)
            continue
        done: asyncio.Future[bool] = loop.create_future()
        hub.on_done = lambda _, good, done=done: done.done() or done.set_result(good)
        hub.free.append(connection)
        hub.fire()
        try:
            if await asyncio.wait_for(done, 5):
                return time.perf_counter() - started
        except TimeoutError:
            continue
    raise RuntimeError(f"{one.name} gave no reply; {hub.err_sample}")
