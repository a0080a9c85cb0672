"""`make bench`: contestants side by side on two cores, one process each, and a table.

The contestant runs alone on core 0; Valkey (appendfsync always), load and provider stand-in share core 1. Rounds
interleave the contestants, so that a noisy machine falls on all alike. Compare CPU per message before messages a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import loadgen
from bench.contestants import PORTS, Contestant, contestants, write_config

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "var" / "bench"


def processes_of(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for thread in os.listdir(f"/proc/{one}/task"):
                found += [int(x) for x in Path(f"/proc/{one}/task/{thread}/children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_s(pid: int) -> float:
    total = 0
    for one in processes_of(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    total = 0
    for one in processes_of(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def start_valkey(core: str) -> subprocess.Popen[bytes]:
    from bot.embedded import binary

    folder = WORK / "valkey"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    options = [
        "--port",
        str(PORTS["redis"]),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]
    process = subprocess.Popen(
        ["taskset", "-c", core, str(binary()), *options], stdout=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", PORTS["redis"]), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process
    raise SystemExit("valkey did not start")


def redis(*words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", PORTS["redis"])) as connection:
        connection.sendall(" ".join(words).encode() + b"\r\n")
        time.sleep(0.05)
        return connection.recv(1_000_000)


def script_calls() -> int:
    text = redis("INFO", "commandstats").decode("utf-8", "replace")
    line = next((row for row in text.splitlines() if row.startswith("cmdstat_evalsha:")), "")
    return int(line.partition("calls=")[2].partition(",")[0] or 0)


def stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        else:
            return


async def measure(one: Contestant, args: argparse.Namespace, valkey: subprocess.Popen[bytes]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    cell = [loadgen.Hub(one, PORTS["app"])]

    class Front(loadgen.Provider):
        def __init__(self) -> None:
            super().__init__(cell[0])

        def data_received(self, data: bytes) -> None:
            self.hub = cell[0]
            super().data_received(data)

    server = await loop.create_server(Front, "127.0.0.1", PORTS["provider"])
    redis("FLUSHALL")
    env = {
        **os.environ,
        "PORT": str(PORTS["app"]),
        "PROV_PORT": str(PORTS["provider"]),
        "REDIS_PORT": str(PORTS["redis"]),
        **one.env,
    }
    started = time.perf_counter()
    with (WORK / f"{one.name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", args.cpu, *one.command],
            cwd=one.cwd,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        cold = await first_reply(one, cell[0], process, started)
        result: dict[str, Any] = {"cold_s": cold, "rss0": rss_mb(process.pid)}
        seq = cell[0].seq
        cell[0] = hub = loadgen.Hub(one, PORTS["app"])
        hub.seq, hub.users = seq, args.buyers
        cpu, valkey_cpu, calls = cpu_s(process.pid), cpu_s(valkey.pid), script_calls()
        closed = await hub.closed_loop(args.inflight, 1.5, args.seconds)
        count = max(len(hub.rep), 1)
        result |= {
            "rate": closed["rate"],
            "cpu_us": (cpu_s(process.pid) - cpu) / count * 1e6,
            "redis_us": (cpu_s(valkey.pid) - valkey_cpu) / count * 1e6,
            "scripts": (script_calls() - calls) / count,
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
        stop(process)
        server.close()


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


def rivals_venv() -> Path:
    """The rivals' packages live apart from ours."""
    venv = WORK / "venv"
    if not (venv / ".made").exists():
        print("installing the rivals under var/bench/venv", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        requirements = str(ROOT / "bench" / "requirements.txt")
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(venv / "bin" / "python"),
            "install",
            "-q",
            "--require-hashes",
            "-r",
            requirements,
        ]
        subprocess.run(command, check=True)
        (venv / ".made").touch()
    return venv


def table(rows: dict[str, list[dict[str, Any]]], all_of: list[Contestant]) -> None:
    def median(name: str, key: str) -> float:
        values = [run[key] for run in rows[name] if run.get(key) is not None]
        return statistics.median(values) if values else float("nan")

    print(
        "| contestant | msgs/s (min-max) | CPU µs/msg | ack p50/p99 ms | reply p50/p99 ms | PSS MB | cold s | lost+bad | Redis µs/msg | scripts/msg | what |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for one in all_of:
        runs = rows[one.name]
        if not runs:
            print(f"| {one.name} | failed |")
            continue
        rates = [run["rate"] for run in runs]
        cells = [
            one.name,
            f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})",
            f"{median(one.name, 'cpu_us'):.0f}",
            f"{median(one.name, 'ack50'):.1f} / {median(one.name, 'ack99'):.1f}",
            f"{median(one.name, 'rep50'):.1f} / {median(one.name, 'rep99'):.1f}",
            f"{median(one.name, 'rss0'):.0f} / {median(one.name, 'rss'):.0f}",
            f"{median(one.name, 'cold_s'):.2f}",
            str(sum(run["bad"] + run.get("lost", 0) for run in runs)),
            f"{median(one.name, 'redis_us'):.0f}",
            f"{median(one.name, 'scripts'):.2f}",
            one.what,
        ]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--inflight", type=int, default=32)
    parser.add_argument("--buyers", type=int, default=1000)
    parser.add_argument("--cpu", default="0")
    parser.add_argument("--aux-cpu", default="1")
    parser.add_argument("--beside", type=Path, help="another checkout whose gateway runs too, in the same minutes")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    write_config()
    all_of = [
        c for c in contestants(rivals_venv(), args.beside) if not args.names or c.name.partition("@")[0] in args.names
    ]
    os.sched_setaffinity(0, {int(core) for core in args.aux_cpu.split(",")})
    valkey = start_valkey(args.aux_cpu)
    rows: dict[str, list[dict[str, Any]]] = {c.name: [] for c in all_of}
    try:
        for turn in range(args.rounds):
            for one in all_of:
                try:
                    result = uvloop.run(measure(one, args, valkey))
                except (RuntimeError, OSError) as error:
                    print(f"# {turn + 1} {one.name}: {error}", file=sys.stderr)
                    continue
                rows[one.name].append(result)
                print(
                    f"# {turn + 1} {one.name}: {result['rate']:.0f}/s {result['cpu_us']:.0f} µs",
                    file=sys.stderr,
                    flush=True,
                )
    finally:
        stop(valkey)
    (WORK / "results.json").write_text(json.dumps(rows, indent=1))
    table(rows, all_of)


if __name__ == "__main__":
    main()
