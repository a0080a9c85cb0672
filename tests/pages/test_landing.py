"""The landing page, asked over HTTP."""

from __future__ import annotations

import aiohttp
import pytest

from bot.accounts import Line
from tests.sandbox.running import running


async def page(base: str, lang: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/?lang={lang}") as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize(("lang", "live"), [("zh", "沙盒关着"), ("en", "The sandbox is off")])
async def test_without_a_sandbox(valkey, redis_client, tmp_path, lang, live):
    """It says that the accounts are real ones, and leads to no sandbox."""

    def off(text: str) -> str:
        return text.replace("enabled = true ", "enabled = false ").replace(
            "/sandbox/providers/twilio", "/providers/twilio"
        )

    async with running(valkey, tmp_path, change=off) as gateway:
        text = await page(gateway.base, lang)
        assert live in text
        assert 'href="/sandbox/' not in text
        assert "/channels/sms-main/webhook" in text
        assert (await gateway.get("/sandbox/clock", raise_for_status=False))[0] == 404


async def test_an_account_in_trouble_is_told(valkey, redis_client, tmp_path):
    """An account whose provider fails rests: the page says so beside its name, in a sign and in words."""
    async with running(valkey, tmp_path) as gateway:
        assert "▲" not in await page(gateway.base, "en")
        line: Line = gateway.gateway.lines["sms-main"]
        for _ in range(5):
            line.failed()
        text = await page(gateway.base, "en")
        assert text.count("▲") == 1
        assert "sending is paused" in text
        assert text.count("simulated") == 4
