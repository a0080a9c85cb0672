"""A ledger of this release for each test, on a file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger import schema
from ledger.database import database_url, open_engine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """An engine that writes, its tables made."""
    found = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await schema.migrate(found)
    yield found
    await found.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `[ledger] url` says, once for each database: for tests that must hold on both."""
    return (
        request.getfixturevalue("postgresql_url") if request.param == "postgresql" else f"sqlite:{tmp_path}/ledger.db"
    )


@pytest.fixture
async def both(ledger_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine that writes, its tables made, once on each database."""
    found = open_engine(database_url(ledger_url, Path("/")), writer=True)
    await schema.migrate(found)
    yield found
    await found.dispose()
