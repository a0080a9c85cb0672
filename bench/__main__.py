"""`make bench`: contestants side by side on two cores, one process each, and a table.

The contestant runs alone on core 0; Valkey (appendfsync always), load and provider stand-in share core 1. Rounds
interleave the contestants, so that a noisy machine falls on all alike. Compare CPU per message before messages a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import uvloop

from bench import figures
from bench.contestants import Contestant, contestants, write_config
from bench.machine import ROOT, WORK, start_valkey, stop
from bench.rounds import measure


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
    parser.add_argument(
        "--growth", metavar="N,N", help="CPU and memory per buyer with so many buyers at rest, e.g. 10000,100000"
    )
    parser.add_argument(
        "--processes", metavar="N,N", help="CPU per message with so many processes on the core, e.g. 1,2"
    )
    parser.add_argument("--stages", action="store_true", help="where a message's CPU goes")
    parser.add_argument("--start", action="store_true", help="cold start of `serve` with its embedded server")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    write_config()
    if args.start:
        figures.cold_start(args)
        return
    if args.growth or args.processes or args.stages:
        figures.run(args, contestants(WORK / "venv")[0])
        return
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
