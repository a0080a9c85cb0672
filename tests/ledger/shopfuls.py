"""Ledgers full of invented buyers, on either database, for tests that ask many questions of one ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.shops import NOW, Shop, into_postgres, into_sqlite
from ledger import schema
from ledger.database import database_url, open_engine

T = TypeVar("T")
ZONE = ZoneInfo("Asia/Shanghai")


class Shopful:
    """One ledger of `count` buyers, and a loop to ask it from tests that are no coroutines."""

    def __init__(self, url: str, folder: Path, count: int, seed: int = 1) -> None:
        self.now, self.zone = NOW, ZONE
        self.runner = asyncio.Runner()
        self.url = database_url(url, folder)
        self.engine: AsyncEngine = self.run(self._made(Shop(count, seed=seed)))

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(what)

    async def _made(self, shop: Shop) -> AsyncEngine:
        engine = open_engine(self.url, writer=True)
        await schema.migrate(engine)
        if self.url.get_backend_name() == "sqlite":
            into_sqlite(str(self.url.database), shop)
        else:
            connection = await asyncpg.connect(str(self.url.render_as_string(False)).replace("+asyncpg", ""))
            await into_postgres(connection, shop)
            await connection.close()
        return engine

    def close(self) -> None:
        self.run(self.engine.dispose())
        self.runner.close()
