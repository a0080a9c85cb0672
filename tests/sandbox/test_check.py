"""`touchpoint check` against the simulated providers: each account with right and with wrong secrets, told in plain words."""

from __future__ import annotations

import asyncio
import re

import pytest
from typer.testing import CliRunner

from bot.__main__ import app
from tests.sandbox.running import running

WELL = {
    "wechat-main": "account wx00aa11bb22cc33dd gives a token",
    "messenger-main": "page Sandbox page answers; webhooks are subscribed",
    "sms-main": "the Twilio account answers; texts go out from +15005550006",
    "sms-cn": "Alibaba Cloud answers; the signature 小满衣橱 is approved",
}
WRONG = [
    ("wechat-main", 'app_secret = "sandbox-wechat-app-secret"', 'app_secret = "other"', "app_secret is wrong"),
    ("wechat-main", 'app_id = "wx00aa11bb22cc33dd"', 'app_id = "wx00aa11bb22cc33de"', "app_id is wrong"),
    ("wechat-main", "/sandbox/providers/wechat", "/nothing", "api_base"),
    ("messenger-main", "sandbox-page-token", "other", "page_access_token is refused"),
    ("messenger-main", "900100200300400", "900100200300401", "page_id is no page that page_access_token may see"),
    ("messenger-main", "sandbox-messenger-app-secret", "other", "app_secret is not the secret of the token's app"),
    ("sms-main", "a1b2c3d4e5f60718293a4b5c6d7e8f90", "other", "Twilio refuses account_sid, auth_token or the API key"),
    ("sms-main", "AC00112233445566778899aabbccddeeff", "AC00", "Twilio refuses account_sid, auth_token or the API key"),
    ("sms-main", "+15005550006", "+15005550007", "from_number is no number of this account"),
    ("sms-main", "/sandbox/providers/twilio", "/nothing", "api_base"),
    ("sms-cn", "sandboxAccessKeyId", "otherKeyId", "access_key_id or access_key_secret is wrong"),
    ("sms-cn", "sandboxAccessKeySecret", "other", "access_key_id or access_key_secret is wrong"),
    ("sms-cn", 'sign_name = "小满衣橱"', 'sign_name = "别的店"', "sign_name is not approved"),
]


async def checked(path) -> tuple[int, dict[str, str]]:
    """The exit code, and what is said of each account."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["check", "--config", str(path)])
    return done.exit_code, dict(re.findall(r"^([a-z-]+): (.*)$", done.output, re.MULTILINE))


@pytest.mark.timeout(120)
async def test_each_account_with_right_and_wrong_secrets(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path):
        code, said = await checked(tmp_path / "config.toml")
        assert (code, {name: said[name] for name in WELL}) == (0, WELL)
        text = (tmp_path / "config.toml").read_text()
        for account, right, wrong, words in WRONG:
            assert right in text
            (tmp_path / "other.toml").write_text(text.replace(right, wrong))
            code, said = await checked(tmp_path / "other.toml")
            assert code == 1, (right, said)
            assert words in said[account], (right, said)
            assert all(said[name] == WELL[name] for name in WELL if name != account), (right, said)
            assert not re.search("sandbox-|sandboxAccess|a1b2c3", str(said))


async def test_where_buyers_allow_notices_is_told(valkey, redis_client, tmp_path):
    """The page and the domain that the console must know; without a public address, that it is missing."""
    async with running(valkey, tmp_path) as sandbox:
        path = tmp_path / "config.toml"
        for text, words in (
            (
                path.read_text(),
                f"allowed one by one at {sandbox.base}/b/…/notices; {sandbox.base[7:]} must be a JS-safe domain",
            ),
            (
                re.sub(r"\npublic_url = .*", "", path.read_text()),
                "set server.public_url, so that buyers can allow them",
            ),
        ):
            (tmp_path / "other.toml").write_text(text)
            done = await asyncio.to_thread(CliRunner().invoke, app, ["check", "--config", str(tmp_path / "other.toml")])
            [line] = [one for one in done.output.splitlines() if one.startswith("wechat-main notices: ")]
            assert "order_shipped, review_invite" in line
            assert words in line
