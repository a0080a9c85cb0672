"""SIGKILL at each boundary of a send and of a turn: what each purpose owes its buyer is exactly what it gets.

killed                                  reply, code   service     marketing
after the claim, before the call        sent once     sent once   in doubt, never sent
after the call, before its outcome      sent twice    sent twice  sent once, in doubt
after the outcome                       sent once     sent once   sent once

of a turn, anywhere                     its effects once, in order
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot import ids, keys, sender
from bot.change import Change, Commit, QueuedMessage
from bot.codec import dump_message, dump_record
from bot.messages import OutboundMessage, Text, lane_of
from bot.records import Address, Buyer, Consent
from bot.redis_client import connect
from bot.store import Store
from tests.faults.test_replies_lost import order
from tests.gateway import APP_SECRET, CONFIG, SHOP_KEY, FakeGraph, Harness, running
from tests.servers import Valkey, free_port

ROOT = Path(__file__).resolve().parents[2]
PURPOSES = ("reply", "code", "service", "marketing")
ONCE = dict.fromkeys(PURPOSES, 1)


@pytest.fixture
def server():
    """A Valkey of its own: the killed process's leases must not meet another test."""
    one = Valkey().start()
    yield one
    one.stop()


@asynccontextmanager
async def doomed(server: Valkey, folder: Path, point: str):
    """A process that will end itself at `point`: yields it as a harness, with the provider that it calls."""
    graph = FakeGraph()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", graph.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    port = free_port()
    values = {"port": port, "redis": server.url, "secret": APP_SECRET, "graph": base, "shop": SHOP_KEY}
    text = CONFIG.format_map(
        {**dict.fromkeys(("extra", "policy", "server"), ""), "marketing_hours": "always", **values}
    )
    (folder / "doomed.toml").write_text(text.replace("lease_seconds = 2", "lease_seconds = 0.5"))
    command = [sys.executable, str(Path(__file__).with_name("echo_process.py")), str(folder / "doomed.toml"), "first"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FAULTS_CRASH": point}
    with (folder / "doomed.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        async with aiohttp.ClientSession() as session:
            harness = Harness(None, f"http://127.0.0.1:{port}", graph, session)
            harness.process = process
            yield harness
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        await runner.cleanup()


async def until(true, seconds: float = 30) -> None:
    """Until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def died(harness) -> None:
    """Until it has ended itself."""
    assert await asyncio.to_thread(harness.process.wait, 30) == -9


@asynccontextmanager
async def successor(server: Valkey, folder: Path, monkeypatch):
    """The gateway that takes over; doubts are short, and so is the time after which a claim counts as left behind."""
    monkeypatch.setattr(sender, "REPLY_DOUBT_MS", 300)
    monkeypatch.setattr(sender, "SERVICE_DOUBT_MS", 600)
    async with running(server, folder, owner="second") as harness:
        harness.gateway.lease_ttl_s = harness.gateway.provider_timeout_s = 0.5
        yield harness


# --- sends --------------------------------------------------------------------------------------------------------------


async def plan(store: Store) -> dict[str, str]:
    """One message of each purpose, each to its own buyer, as committed turns leave them. Answers their ids."""
    found = {}
    now = int(time.time() * 1000)
    for p in range(len(PURPOSES)):
        store.fences[p] = (await store.lease({p: "k"}, 5000))[p][0]
    for p, purpose in enumerate(PURPOSES):
        home = next(s for n in range(999) if store.partition(s := f"address:messenger-main:{purpose}{n}") == p)
        to = home.rpartition(":")[2]
        id = ids.new("m", p)
        out = OutboundMessage(
            id=id,
            buyer="b",
            home=home,
            account="messenger-main",
            to=to,
            purpose=purpose,
            content=Text(to),
            created_at=now,
        )
        address = Address("messenger-main", to, consent=Consent(marketing="granted"))
        buyer = Buyer(id="b", home=home, created_at=now, addresses=[address])
        row = QueuedMessage(id, out.account, to, lane_of(purpose), "queued", "", now, purpose, dump_message(out))
        change = Change(p, home, record=dump_record(buyer), messages=[row])
        [(outcome, _)], _ = await store.commit([change], now=now)
        assert outcome is Commit.DONE
        found[purpose] = id
    await store.lease(dict.fromkeys(range(len(PURPOSES)), "x"), 5000)
    return found


async def states(store: Store, planned: dict[str, str]) -> dict[str, bytes]:
    """The state of each purpose's message."""
    return {
        purpose: await store.command("HGET", keys.message(ids.partition_in(id), id), "s")
        for purpose, id in planned.items()
    }


@pytest.mark.parametrize(
    ("point", "left", "copies", "doubtful"),
    [
        ("pull+4", b"sending", {**ONCE, "marketing": 0}, {"marketing"}),
        ("settle-", b"sending", {**dict.fromkeys(PURPOSES, 2), "marketing": 1}, {"marketing"}),
        ("settle+4", b"sent", ONCE, set()),
    ],
)
async def test_killed_while_sending(server, tmp_path, monkeypatch, point, left, copies, doubtful):
    """Claimed and not sent, sent and not written, written: by purpose."""
    store = Store(connect(server.url), 64, "plan")
    planned = await plan(store)
    async with doomed(server, tmp_path, point) as first:
        first.graph.delay = 0.3  # every call is on its way before the first is answered
        await died(first)
        assert set((await states(store, planned)).values()) == {left}
        async with successor(server, tmp_path, monkeypatch) as second:
            end = time.monotonic() + 8
            expected = {p: b"in_doubt" if p in doubtful else b"sent" for p in PURPOSES}
            while await states(store, planned) != expected and time.monotonic() < end:
                await asyncio.sleep(0.1)
            assert await states(store, planned) == expected
            await asyncio.sleep(1)  # and nothing goes after that
            told = [body["recipient"]["id"].rstrip("0123456789") for body in first.graph.sent + second.graph.sent]
    assert {purpose: told.count(purpose) for purpose in PURPOSES} == copies
    await store.client.aclose()


async def test_killed_after_a_receipt_and_before_the_outcome(server, tmp_path, monkeypatch):
    """The provider's echo was faster than its answer: the message is sent, and what follows to this address goes out all the same."""
    store = Store(connect(server.url), 64, "look")
    partition = store.partition("address:messenger-main:p1")
    async with doomed(server, tmp_path, "settle-") as first:
        first.graph.delay = 2.0
        await until(lambda: b'"serving"' in (tmp_path / "doomed.log").read_bytes())
        await first.say("p1", "你好")
        await until(lambda: first.graph.under_way["p1"])
        [id] = await store.command("ZRANGE", keys.messages(partition), 0, -1)
        echo = {"is_echo": True, "app_id": 777, "mid": "m_echo1", "metadata": id.decode(), "text": ""}
        head = {"sender": {"id": "1234567890"}, "recipient": {"id": "p1"}, "timestamp": int(time.time() * 1000)}
        assert (await first.post_messenger({**head, "message": echo}))[0] == 200
        await died(first)
    assert await store.command("HGET", keys.message(partition, id.decode()), "s") == b"sent"
    assert await store.command("HVALS", keys.busy(partition)) == [id]
    async with successor(server, tmp_path, monkeypatch) as second:
        await second.say("p1", "帮助")
        await second.said("p1", 1)
        await second.idle()
    history = await store.command("HGET", keys.message(partition, id.decode()), "h")
    assert b"in_doubt" not in history
    await store.client.aclose()


# --- turns --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["take+", "commit-", "commit+", "deliver-", "forget_mail-"])
async def test_killed_in_a_turn(server, tmp_path, monkeypatch, point):
    """Taken, decided, committed, its mail relayed but not forgotten: one thanks and one answer, whatever was repeated."""

    async def write(harness, times: int) -> bool:
        """The same webhooks again and again, until each is acknowledged or nobody is there."""
        try:
            for _ in range(times):
                status, _ = await harness.post_messenger(harness.item("p1", mid="m_hello", text="你好"))
                assert status in (200, 503)
                status, _ = await harness.shop("order.paid", "evt_paid", order(1))
                assert status in (200, 503)
        except aiohttp.ClientError:
            return False
        return True

    async with doomed(server, tmp_path, point) as first:
        end = time.monotonic() + 30
        while first.process.poll() is None and time.monotonic() < end:
            await write(first, 1)
            await asyncio.sleep(0.05)
        await died(first)
        async with successor(server, tmp_path, monkeypatch) as second:
            assert await write(second, 2)
            await second.said("p1", 2 - len(first.graph.texts("p1")), timeout=10)
            await asyncio.sleep(1)
            await second.idle(10)
            told = first.graph.texts("p1") + second.graph.texts("p1")
            planned = sum([await second.gateway.store.command("ZCARD", keys.messages(p)) for p in range(64)])
    assert planned == 2  # the effects, once
    assert len(told) in (2, 3), told  # the greeting may have been on its way: a reply goes once more
    assert sum("谢谢您第一次选择我们" in text for text in told) == 1
