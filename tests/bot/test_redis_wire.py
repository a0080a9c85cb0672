"""Connections that are kept for scripts: whoever else uses the pool still gets one."""

from __future__ import annotations

import asyncio

import pytest

from bot.redis_wire import Wire, connect_one


@pytest.mark.parametrize("connections", [1, 4, 32])
async def test_a_small_pool_serves_more_than_it_holds(valkey, connections):
    client = connect_one(valkey.url, connections=connections, timeout_s=0.5)
    wire = Wire(client)
    assert await asyncio.gather(*(wire.call(("ECHO", n)) for n in range(64))) == [str(n).encode() for n in range(64)]
    answers = await asyncio.gather(*(wire.calls([("ECHO", n), ("PING",)]) for n in range(64)))
    assert answers == [[str(n).encode(), b"PONG"] for n in range(64)]
    assert await client.ping()
    await client.aclose()
