"""What the supervisor asks of the store: its check at the start, and the partitions of a process known to be dead."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from bot import storecheck
from bot.errors import ConfigError, StoreError, StoreRefusesError
from bot.leases import release_owner
from bot.opening import open_store

if TYPE_CHECKING:
    from bot.settings import Settings


def check_store(settings: Settings) -> None:
    """Refuses a server that is unsafe or does not let us in, before any process starts. Raises ConfigError; one that is away is waited for."""
    section = settings.redis

    async def run() -> list[storecheck.Fault]:
        store = await open_store(settings, "supervisor")
        try:
            return await storecheck.inspect(store, replicas=section.replicas_to_wait_for, url=section.url)
        finally:
            await store.client.aclose()

    try:
        found = asyncio.run(run())
    except StoreError as error:
        if isinstance(error, StoreRefusesError) and error.sure:
            raise ConfigError([f"redis.url: {error}"]) from error
        sys.stderr.write(f"redis.url: {error}; trying again until it answers\n")
        return
    for line in storecheck.refuse(found, allow_unsafe=section.allow_unsafe):
        sys.stderr.write(f"{line}\n")


def free_owner(settings: Settings, owner: str) -> None:
    """Ends the leases of `owner` now. Raises StoreError."""

    async def run() -> None:
        store = await open_store(settings, "supervisor")
        try:
            await release_owner(store, owner)
        finally:
            await store.client.aclose()

    asyncio.run(run())
