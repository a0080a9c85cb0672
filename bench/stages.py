"""Where a message's CPU goes, by stage: the profiler's shares, scaled to what the process costs without a profiler."""

from __future__ import annotations

import argparse
import os
import pstats
import subprocess
from functools import cache
from typing import Any

import uvloop

from bench.contestants import Contestant
from bench.machine import WORK
from bench.rounds import measure

Function = tuple[str, int, str]

STAGES: dict[str, tuple[str, ...]] = {
    "HTTP front (aiohttp)": ("/aiohttp/", "/multidict/", "/yarl/", "bot/problems.py", "bot/web.py"),
    "verify, parse": ("/inbound.py", "/wire.py", "/signature.py", "/xml.py", "/crypto.py", "bot/fastjson.py", "hmac.py"),
    "intake": ("bot/intake.py", "bot/ports.py"),
    "Redis client": ("/redis/", "bot/redis_client.py"),
    "script arguments and answers": ("bot/store.py", "bot/storeargs.py", "bot/keys.py", "bot/subjects.py", "bot/change.py"),
    "turn: route, handler, effects": (
        "bot/worker.py", "turns.py", "bot/calls.py", "bot/touching.py", "bot/routing.py", "bot/apply.py", "bot/buyers.py", "bot/run.py", "bot/resolver.py",
        "bot/locales.py", "bot/ids.py", "handlers/", "bench/serve.py", "bot/handling.py", "bot/identity.py",
    ),
    "policy, wording": ("bot/policy.py", "bot/speaking.py", "bot/wording.py", "/jinja2/", "bot/hours.py", "bot/sms.py"),
    "codec (record, event, message, journal)": ("bot/codec.py", "bot/journal.py"),
    "send: adapter, client": ("bot/http.py", "/outbound.py", "/adapter.py", "/errors.py", "/pyreqwest/", "channels/"),
    "sender: claims, outcomes": ("bot/sender.py", "bot/accounts.py", "bot/leases.py", "bot/lastcheck.py", "bot/outlays.py"),
    "log, metrics": ("bot/log.py", "bot/metrics.py", "/prometheus_client/", "/structlog/"),
    "slow loops": ("bot/process.py", "bot/housekeeping.py"),
}  # fmt: skip
REST = "event loop, everything else"


def run(args: argparse.Namespace, one: Contestant, valkey: subprocess.Popen[bytes]) -> None:
    """Measures, then profiles the same contestant, and prints the table."""
    plain: dict[str, Any] = uvloop.run(measure(one, args, valkey))
    path = WORK / "stages.prof"
    path.unlink(missing_ok=True)
    os.environ["PROFILE"] = str(path)
    args.seconds = max(args.seconds, 9)
    uvloop.run(measure(one, args, valkey))
    del os.environ["PROFILE"]
    shares = stages(pstats.Stats(str(path)))
    threads = plain["threads_us"]
    print(f"{one.name}: {plain['cpu_us']:.0f} µs a message\n")
    print("| stage | µs | share |")
    print("|---|---|---|")
    for name, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"| {name} | {share * (plain['cpu_us'] - threads):.0f} | {share:.0%} |")
    print(f"| pyreqwest's own thread | {threads:.0f} | |")


def stages(found: pstats.Stats) -> dict[str, float]:
    """The share of each stage. Time in built-ins and the standard library counts for whoever called."""
    table: dict[Function, Any] = found.stats  # type: ignore[attr-defined]

    @cache
    def split(function: Function, depth: int) -> tuple[tuple[str, float], ...]:
        stage = stage_of(function[0])
        callers = table[function][4] if function in table else {}
        whole = sum(row[2] for row in callers.values())
        if stage or not callers or not whole or depth == 0:
            return ((stage or REST, 1.0),)
        sums: dict[str, float] = {}
        for caller, row in callers.items():
            for name, share in split(caller, depth - 1):
                sums[name] = sums.get(name, 0.0) + share * row[2] / whole
        return tuple(sums.items())

    total: dict[str, float] = {}
    for function, (_, _, own, _, _) in table.items():
        for name, share in split(function, 6):
            total[name] = total.get(name, 0.0) + share * own
    whole = sum(total.values())
    return {name: value / whole for name, value in total.items()}


def stage_of(path: str) -> str:
    """The stage that a file belongs to, "" for a built-in or the standard library."""
    for name, places in STAGES.items():
        if any(place in path for place in places):
            return name
    return ""
