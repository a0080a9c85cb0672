"""The page of single notices in a real browser, as on a phone: WeChat's button (the sandbox's script draws it), its dialog, and pages without it."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from tests.browser.test_accessibility import audit
from tests.browser.test_buyer_pages import narrow
from tests.browser.visitor import Visitor
from tests.sandbox.running import IDS, running
from tests.sandbox.test_notices import left, until
from tests.sandbox.test_one_buyer import by_chat

ACCOUNT = "wechat-main"
LINK = re.compile(r"https?://[^/\s]+(/b/[0-9A-Za-z]{36})")
SAYS = {
    "zh-CN": {
        "allow": "允许一条", "yes": "允许", "no": "不允许", "thanks": "谢谢您", "just": "刚刚允许了一条", "none": "还没有允许", "one": "已允许 1 条",
        "refused": "就不会发", "outside": "手机微信里打开", "away": "暂时没有加载出来", "link": "允许微信通知",
    },
    "en": {
        "allow": "Allow one", "yes": "Allow", "no": "Don't allow", "thanks": "Thank you", "just": "One more allowed just now", "none": "None allowed yet", "one": "Allowed: 1",
        "refused": "Nothing was allowed", "outside": "inside WeChat on your phone", "away": "could not be loaded", "link": "Allow notices",
    },
}  # fmt: skip


async def link_of(sandbox) -> str:
    """The path of the link in a member's WeChat chat."""
    await by_chat(sandbox, ACCOUNT, "会员卡已开通")
    await sandbox.say(ACCOUNT, text="会员")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for bubble in reversed(await sandbox.messages(ACCOUNT)):
            if found := LINK.search(str(bubble.get("text", ""))):
                return found[1]
        await asyncio.sleep(0.05)
    raise AssertionError("no link was given")


async def open_page(browser, sandbox, link: str, locale: str, *, phone: str = ACCOUNT):
    """A phone's browser that was let in, on the page of settings."""
    context = await browser.new_context(viewport={"width": 390, "height": 844}, locale=locale)
    page = await context.new_page()
    to = quote(f"{link}?lang={locale}", safe="")
    await page.goto(f"{sandbox.base}/sandbox/phones/{phone}/{quote(IDS[phone])}/open?to={to}")
    await page.locator("form[action$='/open'] button").click()
    await page.goto(f"{sandbox.base}{link}/settings")
    return page


@pytest.mark.timeout(120)
@pytest.mark.parametrize("locale", ["zh-CN", "en"])
async def test_a_buyer_taps_allows_and_refuses(browser, sandbox, locale):
    """The button stands there once the page's signature is good; each tap counts once WeChat has told of it; a no ends it."""
    says = SAYS[locale]
    link = await link_of(sandbox)
    page = await open_page(browser, sandbox, link, locale)
    shots = Visitor(page, locale)
    await page.get_by_role("link", name=says["link"]).click()
    buttons = page.get_by_role("button", name=says["allow"])
    await expect(buttons).to_have_count(2, timeout=15_000)
    await expect(page.locator("#wait")).to_be_hidden()
    await expect(page.get_by_text(says["none"])).to_have_count(2)
    assert await narrow(page)
    assert await audit(shots) == []
    await shots.shoot(f"notices-{locale}-buttons", whole=True)
    await buttons.first.click()
    await shots.shoot(f"notices-{locale}-dialog")
    await page.get_by_role("button", name=says["yes"], exact=True).click()
    await expect(page.get_by_text(says["thanks"])).to_be_visible()
    await expect(page.get_by_text(says["just"])).to_be_visible()
    await shots.shoot(f"notices-{locale}-thanks", whole=True)
    await until(lambda: left(sandbox), 1)
    await page.reload()
    await expect(page.get_by_text(says["one"])).to_be_visible()
    await expect(buttons).to_have_count(2, timeout=15_000)
    await page.wait_for_timeout(1100)  # WeChat's events carry seconds
    await buttons.first.click()
    await page.get_by_role("button", name=says["no"], exact=True).click()
    await expect(page.get_by_text(says["refused"])).to_be_visible()
    await until(lambda: left(sandbox), 0)
    assert shots.complaints == []  # nor does a browser object to its policy


@pytest.mark.timeout(120)
async def test_without_the_app_or_its_script_the_page_is_whole(browser, valkey, redis_client, tmp_path):
    """In another browser it says where it works; where WeChat's script is not reached, or the page is not signed, it says so: no dead button."""
    nowhere = "http://127.0.0.1:9/open/js/jweixin.js"

    def change(text: str) -> str:
        return re.sub(r'js_sdk = "[^"]+"', f'js_sdk = "{nowhere}"', text)

    says = SAYS["zh-CN"]
    async with running(valkey, tmp_path, change=change) as sandbox:
        link = await link_of(sandbox)
        page = await open_page(browser, sandbox, link, "zh-CN")
        shots = Visitor(page)
        await page.goto(f"{sandbox.base}{link}/notices")
        await expect(page.get_by_text(says["away"])).to_be_visible(timeout=20_000)
        await expect(page.get_by_role("button", name=says["allow"])).to_have_count(0)
        assert await narrow(page)
        await shots.shoot("notices-zh-CN-away", whole=True)
        await page.context.clear_cookies(name="touchpoint_phone")
        await page.reload()
        await expect(page.get_by_text(says["outside"])).to_be_visible()
        assert await page.locator("script, wx-open-subscribe").count() == 0
        await shots.shoot("notices-zh-CN-outside", whole=True)
