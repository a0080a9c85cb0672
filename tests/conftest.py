"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as aioredis
from hypothesis import HealthCheck, settings

from bot.redis_client import connect
from tests import stores
from tests.postgresql import Postgresql
from tests.servers import Valkey

# How long a machine takes for an example says nothing about the rule that is tried.
# The same examples each time, so that what passed passes again; `--hypothesis-profile wide` looks at others.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("wide", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store redis` runs what asks for a store on that kind, not on a Valkey such as the embedded one."""
    parser.addoption("--store", default="embedded", choices=stores.KINDS, help="the kind of store to run on")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `every_store` that ask for a client run on each kind, in the one session; end to end is scripts/on_stores.sh."""
    if "store_kind" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_store"):
        metafunc.parametrize("store_kind", stores.KINDS, indirect=True)


@pytest.fixture(scope="session")
def running_stores() -> Iterator[dict[str, stores.Store]]:
    """The stores of this session by kind, started when they are first asked for."""
    running: dict[str, stores.Store] = {}
    yield running
    for store in running.values():
        store.stop()


def store_of(running: dict[str, stores.Store], kind: str) -> stores.Store:
    """A running store of a kind."""
    if kind not in running:
        running[kind] = stores.start(kind)
    return running[kind]


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kind that a test runs on: what it is parametrised with, or `--store`."""
    return str(getattr(request, "param", request.config.getoption("--store")))


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest, running_stores: dict[str, stores.Store]) -> Valkey:
    """A real Valkey for the session, or the store that `--store` asks for."""
    return store_of(running_stores, request.config.getoption("--store"))  # type: ignore[return-value]


@pytest.fixture
async def redis_client(running_stores: dict[str, stores.Store], store_kind: str) -> AsyncIterator[aioredis.Redis]:
    """An empty store, by the product's own client."""
    client = connect(store_of(running_stores, store_kind).url)
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
