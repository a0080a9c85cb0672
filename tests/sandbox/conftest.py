"""A running sandbox for every test of this folder."""

from __future__ import annotations

import pytest

from tests.sandbox.running import running


@pytest.fixture
async def sandbox(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as found:
        yield found
