"""What the benchmark runs on: a Valkey that syncs every write, processes pinned to cores, and what they cost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from bench.contestants import PORTS

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


def threads_s(pid: int, name: str) -> float:
    """CPU of a process's threads of one name."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            head, _, rest = Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")
        except OSError:
            continue
        if name in head:
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])
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
        "--auto-aof-rewrite-percentage",
        "0",  # a rewrite in the middle of a run would count for whoever is being measured
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
    with socket.create_connection(("127.0.0.1", PORTS["redis"]), 60) as connection:
        connection.sendall(" ".join(words).encode() + b"\r\n")
        time.sleep(0.05)
        return connection.recv(1_000_000)


def redis_info(section: str, name: str) -> int:
    text = redis("INFO", section).decode("utf-8", "replace")
    line = next((row for row in text.splitlines() if row.startswith(f"{name}:")), "")
    return int(line.partition(":")[2] or 0)


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
