"""The privacy notice and WeChat's domain files, from a running gateway; live mode without a notice."""

from __future__ import annotations

import pytest

from bot.bootstrap import read_settings
from bot.errors import ConfigError
from tests.bot.test_cli import SHIPPED, config, touchpoint
from tests.gateway import running
from tests.servers import free_port

__all__ = ["config"]  # the fixture
NOTICE = """
[privacy]
responsible = "小满<服饰>有限公司"
questions_to = "privacy@shop.example"
keep_months = 18
since = "2026-11-01"
shared_with = ["顺丰速运：派送包裹"]
also = { en = "One more thing." }
[channels.wechat-main]
type = "wechat"
app_id = "wx0011223344556677"
app_secret = "secret"
token = "token01"
domain_check = ["MP_verify_AbCdEf0123456789.txt", "Zz99Zz99Zz99Zz99"]
"""


async def get(harness, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    async with harness.session.get(harness.base + path, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


@pytest.fixture
async def shop(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, extra=NOTICE) as harness:
        yield harness


@pytest.mark.parametrize(
    ("query", "speaks", "words"),
    [
        ("", "", ["小满&lt;服饰&gt;有限公司", "保存 18 个月", "顺丰速运：派送包裹", "Meta", "微信（腾讯）"]),
        ("?lang=zh-TW", "", ["隱私權說明", "保存 18 個月", "騰訊"]),
        (
            "?lang=en",
            "zh-CN",
            ["for 18 months", "In force from 2026-11-01", "One more thing.", "keep servers in other"],
        ),
        ("", "zh-Hant-HK,en;q=0.5", ["隱私權說明"]),
        ("?lang=xx", "en-GB", ["Privacy notice"]),
    ],
)
async def test_the_notice_says_who_what_and_how_long(shop, query, speaks, words):
    """In the language that is asked for, or the browser's, else the shop's; what is configured is escaped."""
    status, text, headers = await get(shop, f"/b/privacy{query}", **({"Accept-Language": speaks} if speaks else {}))
    assert status == 200
    assert [word for word in words if word not in text] == []
    assert "<服饰>" not in text
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in headers["Cache-Control"]
    assert "noindex" in headers["X-Robots-Tag"]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in text


async def test_a_chosen_language_stays(shop):
    """The switch is remembered by the browser alone."""
    _, _, headers = await get(shop, "/b/privacy?lang=en")
    assert headers["Set-Cookie"].startswith("tp_lang=en;")
    _, text, _ = await get(shop, "/b/privacy", Cookie="tp_lang=en")
    assert "Privacy notice" in text


async def test_wechat_finds_its_files(shop):
    """Exactly the configured ones, each with its own code."""
    assert (await get(shop, "/MP_verify_AbCdEf0123456789.txt"))[:2] == (200, "AbCdEf0123456789")
    assert (await get(shop, "/MP_verify_Zz99Zz99Zz99Zz99.txt"))[:2] == (200, "Zz99Zz99Zz99Zz99")
    assert (await get(shop, "/MP_verify_Other.txt"))[0] == 404


async def test_without_a_notice_of_ours_the_shops_own_is_shown(valkey, redis_client, tmp_path):
    """`brand.privacy_url` alone: whoever comes here is sent there."""
    async with running(valkey, tmp_path) as harness:
        status, _, headers = await get(harness, "/b/privacy")
    assert (status, headers["Location"]) == (302, "https://shop.example/privacy")


LIVE = SHIPPED.replace("enabled = true ", "enabled = false ")
CUT = LIVE.replace('questions_to = "privacy@shop.example"', "")


@pytest.mark.parametrize("command", ["serve", "check"])
def test_live_mode_is_refused_without_a_notice(config, command):
    """The line names the key; with the sandbox on it is no fault."""
    config.write_text(CUT.replace("8080", str(free_port())), encoding="utf-8")
    done = touchpoint(command, "--config", str(config))
    assert done.returncode != 0
    assert "privacy.questions_to: live mode needs your privacy notice" in done.stderr


@pytest.mark.parametrize(
    ("text", "faults", "link"),
    [
        (LIVE, 0, "http://127.0.0.1:8080/b/privacy"),
        (CUT, 1, ""),
        (CUT.replace("[brand]", '[brand]\nprivacy_url = "https://shop.example/p"'), 0, "https://shop.example/p"),
        (LIVE.replace('public_url = "http://127.0.0.1:8080"', ""), 1, ""),
        (SHIPPED.replace("keep_months = 36", ""), 0, ""),
    ],
)
def test_what_live_mode_needs(tmp_path, text, faults, link):
    """A complete notice that buyers can open, or the address of the shop's own; that is what the chat's words lead to."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    found = read_settings(path)
    assert len(found.live_faults) == faults, found.live_faults
    assert found.privacy_url == link


@pytest.mark.parametrize("bad", ['"../x"', '["ok12", "a b"]', "7.5", '""'])
def test_a_domain_file_is_letters_and_digits(tmp_path, bad):
    """Anything else would be a path."""
    path = tmp_path / "config.toml"
    path.write_text(SHIPPED.replace("# domain_check", f"domain_check = {bad}\n#"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"domain_check.*must be what the file MP_verify_….txt holds"):
        read_settings(path)
