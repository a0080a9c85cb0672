"""How the simulated providers call the gateway: anew until it is taken, with the same identity and a fresh signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from sandbox import shop
from sandbox.outward import Outward
from sandbox.providers.messenger import MessengerProvider

KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@asynccontextmanager
async def gateway(*statuses: int):
    """A receiver that answers these statuses in turn, then 200; keeps what it got."""
    got: list[tuple[dict[str, str], bytes]] = []
    left = list(statuses)

    async def take(request: web.Request) -> web.StreamResponse:
        got.append((dict(request.headers), await request.read()))
        status = left.pop(0) if left else 200
        if status == 0:
            request.transport.abort()
        return web.Response(status=status or 200)

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        async with aiohttp.ClientSession() as session:
            outward = Outward(session)
            yield base, outward, got
            await outward.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("answers", "tries", "last"),
    [((), 1, 200), ((503, 503), 3, 200), ((0, 500), 3, 200), ((503, 503, 503, 503), 4, 503)],
)
async def test_a_webhook_is_posted_until_it_is_taken(answers, tries, last):
    """Refusals and cut connections are followed by the next try, and the last status is told."""
    async with gateway(*answers) as (base, outward, got):
        status = await outward.post(lambda: (base + "/x", b"{}", {}), retries=(0.01, 0.01, 0.01))
    assert (len(got), status) == (tries, last)


async def test_a_shop_webhook_keeps_its_id_and_is_signed_anew(monkeypatch):
    """After a 503 the same webhook-id comes again with a signature over that try's timestamp."""
    monkeypatch.setattr(shop, "RETRIES", (0.05, 0.05))
    times = iter((1_760_000_000, 1_760_000_001, 1_760_000_002, 1_760_000_003))
    async with gateway(503) as (base, outward, got):

        class World:
            phones = None
            public_url = base

            @property
            def now_s(self) -> int:
                return next(times)

        world = World()
        world.base, world.outward = base, outward
        config = SimpleNamespace(secret=SecretStr(f"whsec_{KEY}"))
        assert await shop.ShopProvider(world, "main", config, {})._post("order.paid", {}) == 503
        for task in list(outward.tasks):
            await task
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in got}) == 2
    for headers, body in got:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        want = base64.b64encode(hmac.new(base64.b64decode(KEY), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{want}"


async def test_a_refusal_that_would_not_change_is_not_repeated(monkeypatch):
    """A 401 or 400 to the shop is final."""
    monkeypatch.setattr(shop, "RETRIES", (0.01, 0.01))
    async with gateway(401) as (base, outward, got):
        world = SimpleNamespace(now_s=1, base=base, outward=outward, phones=None, public_url=base)
        config = SimpleNamespace(secret=SecretStr(f"whsec_{KEY}"))
        assert await shop.ShopProvider(world, "main", config, {})._post("order.paid", {}) == 401
        assert not outward.tasks
    assert len(got) == 1


async def test_messenger_reports_echo_delivery_and_read():
    """A message taken is followed by its echo with our metadata, then delivery with its mid, then a read watermark."""
    marks: list[str] = []
    clock = SimpleNamespace(real=lambda: 1_760_000_000_000, now=lambda: 1_760_000_000_000)
    async with gateway() as (base, outward, got):
        world = SimpleNamespace(
            now_s=1_760_000_000,
            base=base,
            outward=outward,
            phones=SimpleNamespace(clock=clock),
            mark_later=lambda *told: marks.append(told[3]),
        )
        config = SimpleNamespace(page_id="900", app_id="33", app_secret=SecretStr("s" * 20))
        provider = MessengerProvider(world, {"page": config})
        provider._report("page", "7", "m_1", {"text": "hi", "metadata": "m_ours"})
        for task in list(outward.tasks):
            await task
    items = [json.loads(body)["entry"][0]["messaging"][0] for _, body in got]
    assert items[0]["message"] | {"text": ""} == {
        "mid": "m_1", "is_echo": True, "app_id": 33, "metadata": "m_ours", "text": "",
    }  # fmt: skip
    assert items[1]["delivery"] == {"watermark": 1_760_000_000_000, "mids": ["m_1"]}
    assert items[2]["read"] == {"watermark": 1_760_000_000_000}
    assert marks == ["delivered", "read"]
    for headers, body in got:
        want = hmac.new(b"s" * 20, body, hashlib.sha256).hexdigest()
        assert headers["X-Hub-Signature-256"] == f"sha256={want}"
