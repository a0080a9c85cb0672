"""Frees the partitions of a process that is known to be dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.bootstrap import open_store
from bot.leases import release_owner

if TYPE_CHECKING:
    from bot.settings import Settings


def free_owner(settings: Settings, owner: str) -> None:
    """Ends the leases of `owner` now. Raises StoreError."""

    async def run() -> None:
        store = await open_store(settings, "supervisor")
        try:
            await release_owner(store, owner)
        finally:
            await store.client.aclose()

    asyncio.run(run())
