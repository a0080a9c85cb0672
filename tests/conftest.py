"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as aioredis

from bot.redis_client import connect
from tests.postgresql import Postgresql
from tests.servers import Valkey


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A real Valkey for the session."""
    server = Valkey().start()
    yield server
    server.stop()


@pytest.fixture
async def redis_client(valkey: Valkey) -> AsyncIterator[aioredis.Redis]:
    """An empty database, by the product's own client."""
    client = connect(valkey.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A real PostgreSQL for the session, started when the first test asks for it."""
    server = Postgresql().start()
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(postgresql: Postgresql) -> Iterator[str]:
    """An empty database of the test's own, as `[ledger] url` names it."""
    url = postgresql.database()
    yield url
    postgresql.drop(url)
