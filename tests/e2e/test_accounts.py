"""What is told of an account, from the provider's answer or webhook to the landing page, the API and the command line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from bot.access import create_token
from console.api.answers import Account, Page
from tests.gateway import Harness, running

ROOT = Path(__file__).resolve().parents[2]


async def accounts(harness: Harness, query: str = "", role: str = "read-only") -> dict:
    token = await create_token(harness.gateway.store, "tests", role)
    headers = {"Authorization": f"Bearer {token}"}
    async with harness.session.get(f"{harness.base}/api/v1/accounts{query}", headers=headers) as answer:
        assert answer.status == 200
        found = await answer.json()
    Page[Account].model_validate(found)
    return found


async def stands(harness: Harness, state: str) -> dict:
    end = time.monotonic() + 5
    while (found := (await accounts(harness))["items"][0])["state"] != state:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
    return found


async def page(harness: Harness, lang: str) -> str:
    async with harness.session.get(f"{harness.base}/?lang={lang}") as answer:
        assert answer.status == 200
        return await answer.text()


async def check(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bot", "check", "--config", str(tmp_path / "config.toml")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=40, check=False
    )


async def test_a_refused_token_is_told_until_it_is_old(valkey, redis_client, tmp_path):
    """A send is refused: the page says so in both languages without Meta's words, the API and `check` with them."""
    async with running(valkey, tmp_path) as harness:
        assert (await accounts(harness))["items"] == [
            {"name": "messenger-main", "type": "messenger", "state": "ok", "alerts": []}
        ]
        harness.graph.script = ["token"]
        await harness.say("7001", "帮助")
        found = await stands(harness, "paused")
        await harness.idle()
        found = await stands(harness, "paused")
        assert [alert["kind"] for alert in found["alerts"]] == ["send"]
        assert found["alerts"][0]["detail"].startswith("account 190: ")
        for lang, words in (("zh", "平台不认这条线路的密钥或权限"), ("en", "refuses this account&#x27;s secret")):
            text = await page(harness, lang)
            assert words in text or words.replace("&#x27;", "'") in text
            assert "190" not in text
        harness.gateway.lines["messenger-main"]._shut_until = 0.0  # the pause is over, what was told is not
        assert (await stands(harness, "trouble"))["alerts"] == found["alerts"]
        told = await check(tmp_path)
        assert "messenger-main: since 20" in told.stdout, told
        assert "account 190: " in told.stdout
        await harness.advance(86_400)
        assert (await stands(harness, "ok"))["alerts"] == found["alerts"]
        assert "平台不认" not in await page(harness, "zh")


async def test_a_blocked_page_is_told_until_it_is_unblocked(valkey, redis_client, tmp_path):
    """Meta's policy enforcement: `check` fails on it; no word of Meta's stands on the page."""
    async with running(valkey, tmp_path) as harness:
        item = {"recipient": {"id": "1234567890"}, "timestamp": int(time.time() * 1000)}
        await harness.post_messenger({**item, "policy_enforcement": {"action": "block", "reason": "spam 4711"}})
        found = await stands(harness, "blocked")
        assert (found["alerts"][0]["kind"], found["alerts"][0]["detail"]) == ("block", "spam 4711")
        text = await page(harness, "en")
        assert "blocked by its provider" in text
        assert "lifts that" in text
        assert "4711" not in text
        told = await check(tmp_path)
        assert told.returncode == 1
        assert "spam 4711. The provider has blocked this account" in told.stdout, told
        item["timestamp"] += 1000
        await harness.post_messenger({**item, "policy_enforcement": {"action": "unblock"}})
        await asyncio.sleep(0.2)
        end = time.monotonic() + 5
        while (found := (await accounts(harness))["items"][0])["state"] == "blocked":
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)
        assert "lifts that" not in await page(harness, "en")


async def test_pages_and_the_store_away(valkey, redis_client, tmp_path):
    """A cursor goes on by name, a made-up one is a 400; with the store away the page still opens, the API says 503."""
    async with running(valkey, tmp_path) as harness:
        token = await create_token(harness.gateway.store, "tests", "read-only")
        url, headers = f"{harness.base}/api/v1/accounts", {"Authorization": f"Bearer {token}"}
        async with harness.session.get(f"{url}?cursor=nobody", headers=headers) as answer:
            assert answer.status == 400
        assert (await accounts(harness, "?cursor=messenger-main"))["items"] == []
        valkey.kill()
        assert "messenger-main" in await page(harness, "en")
        async with harness.session.get(url, headers=headers) as answer:
            assert answer.status == 503
        valkey.start()
