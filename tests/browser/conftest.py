"""A running sandbox and a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import async_playwright

from tests.browser.visitor import ARGS, chromium
from tests.sandbox.running import running


@pytest.fixture
async def sandbox(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as found:
        yield found


@pytest.fixture
async def browser():
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGS))
        yield started
        await started.close()
