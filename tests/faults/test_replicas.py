"""Replicas that the operator asks for: acknowledged means that they have it too."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.errors import StoreError
from bot.redis_client import connect
from bot.store import Store
from tests.servers import Valkey, free_port

ENTRY = [("address:messenger-main:p1", b"", b"body")]


async def test_an_append_waits_for_its_replica():
    """With the replica there it is acknowledged and on both; with the replica stopped it is refused within its second."""
    port = free_port()
    primary = Valkey("--port", str(port)).start()
    replica = Valkey("--replicaof", "127.0.0.1", str(port)).start()
    client, other = connect(primary.url), connect(replica.url)
    store = Store(client, 64, "me")
    name = f"inbox:{{p{store.partition(ENTRY[0][0]):02d}}}"
    try:
        with pytest.raises(StoreError, match="of 2 replicas"):
            await store.append(ENTRY, replicas=2)
        end = time.monotonic() + 10
        while True:
            try:
                await store.append(ENTRY, replicas=1)
                break
            except StoreError:
                assert time.monotonic() < end, "the replica never came"
                await asyncio.sleep(0.2)
        assert await other.xlen(name) == await client.xlen(name)
        replica.pause()
        began = time.monotonic()
        with pytest.raises(StoreError, match="only 0 of 1"):
            await store.append(ENTRY, replicas=1)
        assert time.monotonic() - began < 1.5
        await store.append(ENTRY)  # the control: who asks for none is not kept waiting
    finally:
        replica.resume()
        await client.aclose()
        await other.aclose()
        replica.stop()
        primary.stop()
