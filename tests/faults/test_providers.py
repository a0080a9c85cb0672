"""Providers that throttle, hang, fail and lie: each account alone bears it, and what is in doubt is settled or shown."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time

import pytest
from aiohttp import web

from bot import accounts, keys, sender
from tests.gateway import APP_SECRET, running

HANGING = 5
ACCOUNT = """
[channels.messenger-{number}]
type = "messenger"
page_id = "{page}"
app_id = "777"
app_secret = "{secret}"
verify_token = "verify-me"
page_access_token = "page-token"
api_base = "{base}"
rate_per_second = 2000
"""


class Trouble:
    """The provider of the troubled accounts."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.calls: list[tuple[float, str]] = []
        self.over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append((time.monotonic(), body["recipient"]["id"]))
        if self.mode == "hang":
            await self.over.wait()
        if self.mode == "429":
            return web.json_response({"error": {"code": 613}}, status=429, headers={"Retry-After": "30"})
        if self.mode == "500":
            return web.json_response({"error": {"code": 2}}, status=500)
        if self.mode == "drop":
            request.transport.close()
        return web.json_response({"recipient_id": body["recipient"]["id"], "message_id": f"m_x{len(self.calls)}"})


@pytest.fixture
async def trouble():
    it = Trouble()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", it.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield it
    it.over.set()
    await runner.cleanup()


@pytest.fixture
async def gw(valkey, redis_client, tmp_path, trouble):
    """A healthy account and five in trouble."""
    extra = "".join(
        ACCOUNT.format(number=n, page=f"900{n}", secret=APP_SECRET, base=trouble.base) for n in range(HANGING)
    )
    async with running(valkey, tmp_path, extra=extra) as harness:
        yield harness
        trouble.over.set()


async def write_to(gw, number: int, psids: list[str], text: str = "你好") -> None:
    """Buyers write to a troubled page, all in one webhook."""
    page = f"900{number}"
    items = [{**gw.item(psid, text=text), "recipient": {"id": page}} for psid in psids]
    body = json.dumps({"object": "page", "entry": [{"id": page, "time": 1, "messaging": items}]}).encode()
    signature = "sha256=" + hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    url = f"{gw.base}/channels/messenger-{number}/webhook"
    async with gw.session.post(url, data=body, headers={"X-Hub-Signature-256": signature}) as answer:
        assert answer.status == 200


async def reply_times(gw, prefix: str, buyers: int = 25) -> list[float]:
    """How long each buyer of the healthy account waits for an answer, seconds, sorted."""

    async def one(psid: str) -> float:
        began = time.monotonic()
        await gw.say(psid, "你好")
        await gw.said(psid, 1, timeout=20)
        return time.monotonic() - began

    return sorted([await one(f"{prefix}{n}") for n in range(buyers)])


@pytest.mark.parametrize("mode", ["hang", "429", "500"])
async def test_an_account_in_trouble_delays_no_other(gw, trouble, mode):
    """Five accounts with 70 buyers each in a storm: the healthy account answers as it did before."""
    trouble.mode = mode
    before = await reply_times(gw, "before")
    for number in range(HANGING):
        await write_to(gw, number, [f"s{number}x{n}" for n in range(70)])
    end = time.monotonic() + 5  # before the first call gives up
    while len(trouble.calls) < (HANGING * 60 if mode == "hang" else HANGING) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    assert len(trouble.calls) >= (HANGING * 60 if mode == "hang" else HANGING)
    during = await reply_times(gw, "during")
    assert during[len(during) // 2] < max(3 * before[len(before) // 2], 0.3)
    assert during[-1] < 1.5
    if mode == "429":  # a pause asked for is a pause kept, for every message of the account
        told = len(trouble.calls)
        await asyncio.sleep(1)
        assert len(trouble.calls) == told


async def test_the_breaker_opens_by_halves(gw, trouble, monkeypatch):
    """Five failures shut the account; then one call tries: bad, and it is shut again; good, and all go."""
    monkeypatch.setattr(accounts, "HALF_OPEN_S", 1.0)
    line = gw.gateway.lines["messenger-0"]
    trouble.mode = "drop"
    for n in range(accounts.BREAK_AFTER):
        await write_to(gw, 0, [f"b{n}"])
        await asyncio.sleep(0.1)
    assert len(trouble.calls) == accounts.BREAK_AFTER
    await write_to(gw, 0, [f"late{n}" for n in range(8)])
    await asyncio.sleep(0.5)
    assert len(trouble.calls) == accounts.BREAK_AFTER
    assert line.wait_s() > 0
    await asyncio.sleep(1.0)
    assert len(trouble.calls) == accounts.BREAK_AFTER + 1  # one tries
    trouble.mode = "ok"
    end = time.monotonic() + 10
    while sum(psid.startswith("late") for _, psid in trouble.calls) < 8 and time.monotonic() < end:
        await asyncio.sleep(0.05)
    assert {psid for _, psid in trouble.calls if psid.startswith("late")} == {f"late{n}" for n in range(8)}


async def state_of(gw, psid: str) -> tuple[bytes, bytes]:
    """State and history of the first message to a buyer."""
    store = gw.gateway.store
    p = store.partition(f"address:messenger-main:{psid}")
    for id in await store.command("ZRANGE", keys.messages(p), 0, -1):
        row = await store.command("HMGET", keys.message(p, id.decode()), "s", "h", "to")
        if row[2] == psid.encode():
            return row[0], row[1]
    return b"", b""


async def until_state(gw, psid: str, state: bytes) -> bytes:
    """Its history, once it is in this state."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        found, history = await state_of(gw, psid)
        if found == state:
            return history
        await asyncio.sleep(0.02)
    raise AssertionError((await state_of(gw, psid), state))


async def test_an_echo_settles_a_doubt_and_its_absence_sends_once_more(gw, monkeypatch):
    """The answer of a call is lost. With the echo the message is sent, once; without it, it goes once more, and no third time."""
    monkeypatch.setattr(sender, "REPLY_DOUBT_MS", 1500)
    gw.graph.script = ["drop"]
    await gw.say("p1", "你好")
    await until_state(gw, "p1", b"in_doubt")
    [sent] = gw.graph.sent
    echo = {
        "sender": {"id": "1234567890"},
        "recipient": {"id": "p1"},
        "timestamp": int(time.time() * 1000),
        "message": {"is_echo": True, "app_id": 777, "mid": "m_echo1", **sent["message"]},
    }
    assert (await gw.post_messenger(echo))[0] == 200
    await until_state(gw, "p1", b"sent")

    gw.graph.script = ["drop", "drop"]
    await gw.say("p2", "你好")
    history = await until_state(gw, "p2", b"in_doubt")
    await gw.said("p2", 2)
    await asyncio.sleep(2.5)
    state, history = await state_of(gw, "p2")
    assert state == b"in_doubt"
    assert history.count(b"sending ") == 2
    assert len(gw.graph.texts("p1")) == 1
    assert len(gw.graph.texts("p2")) == 2
