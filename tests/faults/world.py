"""Real gateway processes on a real Valkey, buyers who write until they are acknowledged, a provider that keeps a ledger.

The processes echo with a counter kept in the conversation. Whatever happens to them: every acknowledged message is
answered (0 lost), the counter of a buyer has no gap and no double (effects once), and answers of one message carry one
count (order kept).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from bot.redis_client import connect
from tests.servers import Valkey, free_port
from tests.stores import Store

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"s3cret-s3cret-s3cret"
PAGE = "1234567890"
CONFIG = """
[brand]
name = "Faults"
[server]
port = {port}
processes = 2
[redis]
url = "{redis}"
lease_seconds = 1.5
{store}
[channels.messenger-main]
type = "messenger"
page_id = "1234567890"
app_id = "1"
app_secret = "s3cret-s3cret-s3cret"
verify_token = "v"
page_access_token = "t"
api_base = "{provider}"
rate_per_second = 100000
"""


_serial = itertools.count()


class World:
    """Processes, provider and the ledger of what was acknowledged and answered."""

    def __init__(self, valkey: Store, tmp_path: Path) -> None:
        self.valkey, self.tmp = valkey, tmp_path
        self.env: dict[str, str] = {}
        self.slow_s = 0.01  # at most, per call of the provider
        self.hangs: set[str] = set()  # tokens whose first call never ends
        self.port = free_port()
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.acked: set[str] = set()
        self.answers: dict[str, list[int]] = collections.defaultdict(list)
        self.by_buyer: dict[str, list[tuple[int, str]]] = collections.defaultdict(list)
        self.refused = 0
        self.told: list[str] = []  # whom anything else than an echo was sent to
        self.faults = 0.0  # share of the calls that the provider throttles, fails, or hangs up on after it took them

    async def provider(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        found = re.match(r"echo (\d+): echo (t\d+)", body["message"]["text"])
        if found:
            count, token = int(found[1]), found[2]
            self.answers[token].append(count)
            self.by_buyer[body["recipient"]["id"]].append((count, token))
            if token in self.hangs:
                self.hangs.discard(token)
                await asyncio.sleep(20)
        elif random.random() < self.faults:
            return self._fail(request, body["recipient"]["id"])
        else:
            self.told.append(body["recipient"]["id"])
        await asyncio.sleep(random.random() * self.slow_s)
        return web.json_response({"recipient_id": body["recipient"]["id"], "message_id": f"m_{random.random()}"})

    def _fail(self, request: web.Request, to: str) -> web.Response:
        match random.choice(("429", "500", "cut")):
            case "429":
                return web.json_response({"error": {"code": 613}}, status=400, headers={"Retry-After": "1"})
            case "500":
                return web.Response(status=500)
        self.told.append(to)
        request.transport.close()
        return web.Response()

    def start(self, index: int, root: Path = ROOT) -> None:
        """A process of the release whose tree is at `root`."""
        env = {**os.environ, **self.env, "PYTHONPATH": str(root)}
        log = (self.tmp / f"process-{index}.log").open("ab")
        program = str(Path(__file__).with_name("echo_process.py"))
        command = [sys.executable, program, str(self.tmp / "config.toml"), f"owner-{index}-{next(_serial)}"]
        self.processes[index] = subprocess.Popen(command, cwd=root, env=env, stdout=log, stderr=log)
        log.close()

    async def serving(self, index: int) -> None:
        """Until this process takes requests."""
        end = time.monotonic() + 90  # compiling an earlier release beside a busy test run takes its time
        while b'"serving"' not in (self.tmp / f"process-{index}.log").read_bytes():
            assert time.monotonic() < end, "it does not start"
            assert self.processes[index].poll() is None, "it ended"
            await asyncio.sleep(0.05)

    def end(self, index: int) -> float:
        """SIGTERM; answers how many seconds it took to end well."""
        began = time.monotonic()
        self.processes[index].terminate()
        assert self.processes[index].wait(15) == 0
        return time.monotonic() - began

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()

    async def send(self, session: aiohttp.ClientSession, buyer: str, token: str) -> None:
        """One message that is to be echoed, acknowledged when this returns."""
        await self.post(session, buyer, f"m_{token}", f"echo {token}")
        self.acked.add(token)

    def _request(self, buyer: str, mid: str, text: str) -> dict:
        item = {
            "sender": {"id": buyer},
            "recipient": {"id": PAGE},
            "timestamp": int(time.time() * 1000),
            "message": {"mid": mid, "text": text},
        }
        body = json.dumps({"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": [item]}]}).encode()
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        url = f"http://127.0.0.1:{self.port}/channels/messenger-main/webhook"
        return {"url": url, "data": body, "headers": {"X-Hub-Signature-256": signature}}

    async def knock(self, session: aiohttp.ClientSession, buyer: str) -> tuple[int, float, str]:
        """One message that nobody answers: its status, how many seconds that took, and Retry-After."""
        began = time.monotonic()
        async with session.post(**self._request(buyer, f"m_k{next(_serial)}", "knock")) as answer:
            return answer.status, time.monotonic() - began, answer.headers.get("Retry-After", "")

    async def post(self, session: aiohttp.ClientSession, buyer: str, mid: str, text: str) -> None:
        """Posts until it is acknowledged, as a provider does."""
        request = self._request(buyer, mid, text)
        for _ in range(200):
            try:
                timeout = aiohttp.ClientTimeout(total=3)
                async with session.post(**request, timeout=timeout) as answer:
                    if answer.status == 200:
                        return
                    self.refused += 1
            except (aiohttp.ClientError, TimeoutError):
                self.refused += 1
            await asyncio.sleep(0.1)
        raise AssertionError("never acknowledged")

    async def owned_by(self, index: int) -> set[int]:
        """The partitions of a process."""
        client = connect(self.valkey.url)
        owners = [await client.hget(f"lease:{{p{p:02d}}}", "o") or b"" for p in range(64)]
        await client.aclose()
        return {p for p, owner in enumerate(owners) if owner.startswith(f"owner-{index}-".encode())}

    async def dead(self) -> int:
        """How many dead letters there are."""
        client = connect(self.valkey.url)
        count = sum([await client.xlen(f"dead:{{p{p:02d}}}") for p in range(64)])
        await client.aclose()
        return count

    async def load(self, buyers: int, per_buyer: int, pause: float = 0.0, *, first: int = 0) -> None:
        """Every buyer writes one message after the other, from number `first` on; each is repeated at times, as webhooks are."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

            async def buyer(number: int) -> None:
                for turn in range(first, first + per_buyer):
                    token = f"t{number * 1000 + turn}"
                    await self.send(session, str(7000 + number), token)
                    if random.random() < 0.15:
                        await self.send(session, str(7000 + number), token)
                    await asyncio.sleep(pause * random.random())

            await asyncio.gather(*(buyer(n) for n in range(buyers)))

    async def settle(self, seconds: float = 40) -> None:
        """Until every acknowledged message has an answer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.acked <= self.answers.keys():
            await asyncio.sleep(0.1)
        if not self.acked <= self.answers.keys():
            print(self.acked - self.answers.keys(), await self.what_is_left(), sep="\n")

    async def ready(self) -> None:
        """Until every partition has an owner."""
        async with aiohttp.ClientSession() as session:
            for _ in range(600):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            await asyncio.sleep(1)
                            return
                await asyncio.sleep(0.1)
        raise AssertionError("never ready")

    async def what_is_left(self) -> str:
        """For a failing run: where the unanswered messages are."""
        client = connect(self.valkey.url)
        lines = []
        for p in range(64):
            tag = f"{{p{p:02d}}}"
            for lane in ("inbox", "bulk", "mail"):
                for entry, fields in await client.xrange(f"{lane}:{tag}"):
                    lines.append(f"{lane}:{tag} {entry} {fields.get(b's')} {await client.hgetall(f'lease:{tag}')}")
            lines += [f"busy:{tag} {k} {v}" for k, v in (await client.hgetall(f"busy:{tag}")).items()]
            lines += [f"later:{tag} {row}" for row in await client.zrange(f"later:{tag}", 0, -1, withscores=True)]
            for id in await client.zrange(f"msgs:{tag}", 0, -1):
                row = await client.hgetall(f"msg:{tag}:{id.decode()}")
                if row[b"s"] not in (b"sent", b"delivered"):
                    lines.append(f"{id} {row[b's']} {row[b'h']} {row[b'b'][-60:]}")
        await client.aclose()
        return "\n".join(lines)

    def check(self) -> None:
        """0 lost, 0 double effects, order kept."""
        assert self.acked - self.answers.keys() == set()
        for token, counts in self.answers.items():
            assert len(set(counts)) == 1, f"{token} was handled {len(set(counts))} times"
        for lines in self.by_buyer.values():
            tokens = {}
            for count, token in lines:
                assert tokens.setdefault(count, token) == token
            ordered = [tokens[count] for count in sorted(tokens)]
            assert sorted(tokens) == list(range(1, len(tokens) + 1))
            assert ordered == sorted(ordered, key=lambda t: int(t[1:]))


@asynccontextmanager
async def running_world(
    tmp_path: Path, *, processes: int = 2, store: Store | None = None, settings: str = ""
) -> AsyncIterator[World]:
    """A world with so many processes, ready, on a running store (a Valkey of its own); `settings` are lines of `[redis]`."""
    valkey = store or Valkey().start()
    it = World(valkey, tmp_path)
    app = web.Application()
    app.router.add_post("/{tail:.*}", it.provider)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    (tmp_path / "config.toml").write_text(
        CONFIG.format(port=it.port, redis=valkey.url, provider=provider, store=settings)
    )
    try:
        for index in range(processes):
            it.start(index)
        if processes:
            await it.ready()
        yield it
    finally:
        for process in it.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        await runner.cleanup()
        valkey.stop()
