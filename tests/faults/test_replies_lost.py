"""What happens when the store's answers do not arrive: lost, late, cut. Every step is whole and has its effect once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from types import SimpleNamespace

import msgspec
import pytest
import redis.asyncio as aioredis
from aiohttp import ClientError, ClientSession, ClientTimeout

from bot import sender
from bot.redis_client import connect
from tests.faults.proxy import Proxy
from tests.gateway import APP_SECRET, rfc, running

BUYERS = 6


@pytest.fixture
async def proxy(valkey, redis_client):
    async with Proxy(valkey.path) as between:
        yield between


@pytest.fixture
async def gw(proxy, tmp_path, monkeypatch):
    """A gateway whose Redis is behind the proxy; doubts are short."""
    monkeypatch.setattr(sender, "REPLY_DOUBT_MS", 300)
    monkeypatch.setattr(sender, "SERVICE_DOUBT_MS", 600)
    async with running(SimpleNamespace(url=proxy.url), tmp_path) as harness:
        harness.gateway.lease_ttl_s = harness.gateway.provider_timeout_s = 0.5
        yield harness


def order(number: int) -> dict:
    return {
        "order": {
            "id": f"8{number}",
            "number": f"#8{number}",
            "pay_state": "paid",
            "placed_at": rfc(time.time()),
            "paid_at": rfc(time.time()),
            "total": {"amount": "188.00", "currency": "CNY"},
            "items": [{"title": "亚麻衬衫", "qty": 1}],
        },
        "buyer": {"address": f"messenger-main:p{number}", "name": "林小满"},
    }


async def acknowledged(post) -> None:
    """Repeats a webhook until it is acknowledged, as providers do."""
    for _ in range(50):
        status, _ = await post()
        if status == 200:
            return
        assert status == 503
        await asyncio.sleep(0.1)
    raise AssertionError("never acknowledged")


async def write(gw) -> None:
    """Every buyer writes three messages and pays an order."""

    async def buyer(number: int) -> None:
        for turn in range(3):
            item = gw.item(f"p{number}", mid=f"m_{number}_{turn}", text="你好")
            await acknowledged(lambda item=item: gw.post_messenger(item))
        await acknowledged(lambda: gw.shop("order.paid", f"e{number}", order(number)))

    await asyncio.gather(*(buyer(n) for n in range(BUYERS)))


async def quiet(gw) -> None:
    """Until nothing is left to do."""
    await gw.idle(20)
    # What a lost claim left in doubt is found again, and goes once more.
    end = time.monotonic() + 10
    while time.monotonic() < end and any(len(gw.graph.texts(f"p{n}")) < 4 for n in range(BUYERS)):
        await asyncio.sleep(0.05)
    await gw.idle(20)


@pytest.mark.parametrize("step", ["append", "take", "commit", "deliver", "XDEL", "pull", "settle", "pump", "lease"])
async def test_a_lost_reply_of_any_step_neither_loses_nor_repeats(gw, proxy, step):
    """The server did it, the answer is gone: what comes next makes it whole, and no buyer notices."""
    proxy.lose(step, times=3)
    await write(gw)
    await quiet(gw)
    assert step in proxy.lost
    for number in range(BUYERS):
        told = gw.graph.texts(f"p{number}")
        assert len(told) == 4, (number, told)
        assert sum("谢谢您第一次选择我们" in text for text in told) == 1
    told_of = [(e["id"], e["attempt"], e["state"]) for e in await sends(gw)]
    assert len(set(told_of)) == len(told_of)


async def sends(gw) -> list[dict]:
    """Every outcome that the journal tells."""
    found = []
    for p in range(64):
        for _, fields in await gw.gateway.store.command("XRANGE", f"journal:{{p{p:02d}}}", "-", "+"):
            if fields[b"k"] == b"send":
                found.append(msgspec.msgpack.decode(fields[b"b"]))
    return found


async def test_a_commit_that_is_answered_late_claimed_too_long_ago(gw, proxy, redis_client):
    """It was taken for a dead sender's meanwhile, and its message sent once more: late, it is not begun any more."""
    await gw.say("p0", "你好")
    await gw.said("p0", 1)
    await gw.idle()
    proxy.hold("commit")
    await gw.say("p0", "帮助")
    await asyncio.wait_for(proxy.held.wait(), 10)
    await asyncio.sleep(1.8)  # a lease of 2 s holds for certain for 1.6 s; here a claim is taken for dead after 1 s
    proxy.release()
    await gw.said("p0", 2)
    await gw.idle(20)
    assert len(gw.graph.texts("p0")) == 2


async def test_the_librarys_own_retries_apply_a_write_twice(proxy):
    """The control: with redis-py's default retries one lost reply doubles an append. Ours gives an error instead."""
    careless = aioredis.Redis(unix_socket_path=proxy.path)
    proxy.lose("XADD")
    await careless.xadd("inbox:{p00}", {"s": "x"})
    assert await careless.xlen("inbox:{p00}") == 2
    await careless.aclose()

    ours = connect(proxy.url)
    proxy.lose("XADD")
    with pytest.raises(aioredis.ConnectionError):
        await ours.xadd("inbox:{p01}", {"s": "x"})
    assert await ours.xlen("inbox:{p01}") == 1
    await ours.aclose()


# --- stalls, cuts, clients that leave -----------------------------------------------------------------------------------


async def test_a_redis_that_hangs_gives_503_within_a_second_and_all_is_well_after(gw, valkey):
    """SIGSTOP: refused fast, with Retry-After; the pending append is left to finish; with the retry it has one effect."""
    await gw.say("p0", "你好")
    await gw.said("p0", 1)
    waiting = [gw.item(f"p{n}", mid=f"m_stall_{n}", text="你好") for n in range(1, 20)]
    valkey.pause()
    try:
        for _ in range(2):
            started = time.monotonic()
            answers = await asyncio.gather(*(gw.post_messenger(item) for item in waiting))
            assert {status for status, _ in answers} == {503}
            assert time.monotonic() - started < 1.2
        async with gw.session.get(f"{gw.base}/healthz") as alive:
            assert alive.status == 200
        async with gw.session.post(f"{gw.base}/channels/messenger-main/webhook", **signed(waiting[0])) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        await asyncio.sleep(2.2)  # longer than the time-out of a connection: they are dropped and made anew
    finally:
        valkey.resume()
    await asyncio.gather(*(acknowledged(lambda item=item: gw.post_messenger(item)) for item in waiting))
    for item in waiting:
        await gw.said(item["sender"]["id"], 1, timeout=10)
    await gw.idle(20)
    assert all(len(gw.graph.texts(item["sender"]["id"])) == 1 for item in waiting)
    async with gw.session.get(f"{gw.base}/readyz") as ready:
        assert ready.status == 200


def signed(item: dict) -> dict:
    """The arguments of a signed webhook request."""
    body = json.dumps({"object": "page", "entry": [{"id": "1234567890", "time": 1, "messaging": [item]}]}).encode()
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"data": body, "headers": {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}}


async def test_clients_that_leave_never_cross_answers(gw, proxy):
    """Hundreds of webhooks whose clients hang up at once, over a slow Redis: no connection gives another's answer."""
    proxy.delay_s = 0.003
    store = gw.gateway.store
    names = [f"cross:{n}" for n in range(20)]  # fewer than the pool has connections: the gateway needs some too
    await asyncio.gather(*(store.command("SET", name, name) for name in names))
    wrong: list[tuple[str, bytes]] = []
    leaving = True

    async def look(name: str) -> None:
        while leaving:
            if (found := await store.command("GET", name)) != name.encode():
                wrong.append((name, found))

    async def leave(number: int) -> None:
        patience = 0.001 + number % 25 / 1000 if number else 10.0  # one stays
        async with ClientSession(timeout=ClientTimeout(total=patience)) as client:
            for turn in range(6):
                item = gw.item(f"q{number}", mid=f"m_leave_{number}_{turn}", text="你好")
                with contextlib.suppress(ClientError, TimeoutError):
                    async with client.post(f"{gw.base}/channels/messenger-main/webhook", **signed(item)) as answer:
                        await answer.read()

    looks = [asyncio.create_task(look(name)) for name in names]
    await asyncio.gather(*(leave(n) for n in range(50)))
    leaving = False
    await asyncio.gather(*looks)
    assert wrong == []
    await gw.idle(30)
    assert len(await gw.said("q0", 6, timeout=10)) == 6


async def test_cut_connections_under_load(gw, proxy):
    """Every connection to Redis is cut, again and again: nothing acknowledged is lost, nobody is told twice."""
    load = asyncio.create_task(write(gw))
    for _ in range(8):
        await asyncio.sleep(0.1)
        proxy.cut()
    await load
    await asyncio.sleep(0.3)  # the test's own reads begin on whole connections
    await quiet(gw)
    for number in range(BUYERS):
        told = gw.graph.texts(f"p{number}")
        assert len(told) == 4, (number, told)
