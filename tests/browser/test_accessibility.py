"""axe-core on every page and state, in both languages, light and dark, wide and narrow: no violation at all."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from pages.docs import PAGES
from tests.browser.visitor import MESSENGER, SMS, WECHAT, Visitor, until, visit


async def audit(visitor: Visitor) -> list[str]:
    """What axe finds: rule, impact, and the node. Nothing fades in meanwhile: half a colour has no contrast."""
    await visitor.page.emulate_media(reduced_motion="reduce")
    await until(
        visitor.page,
        "document.getAnimations().every(a => a.playState === 'finished' || a.effect.getTiming().iterations === Infinity)",
    )
    found = await Axe().run(visitor.page)
    await visitor.page.emulate_media(reduced_motion="no-preference")
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:120]} {node['failureSummary'][:200]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(
    ("lang", "scheme", "width"),
    [("zh-CN", "light", 1440), ("en", "dark", 1440), ("zh-CN", "dark", 390), ("en", "light", 390)],
)
async def test_the_phone_page(browser, sandbox, lang, scheme, width):
    """Empty; then chats with links, choices and a picture, an order, decisions of each kind, a fault told, a lost connection."""
    visitor = await visit(browser, sandbox, lang, width, color_scheme=scheme)
    assert await audit(visitor) == []
    await visitor.shoot(f"axe-empty-{lang}-{scheme}-{width}", whole=True)
    speech = visitor.speech
    await visitor.press("Pay" if lang == "en" else "付款")
    await expect(visitor.page.locator("#toast.bad")).to_be_visible()
    assert await audit(visitor) == []
    await visitor.join(MESSENGER)
    await visitor.say(WECHAT, speech["member"])
    await visitor.reads(WECHAT, speech["ask for the number"])
    await visitor.say(SMS, "?")
    await visitor.press(speech["place"])
    await visitor.press(speech["abandon"])
    await sandbox.idle()
    await visitor.press(speech["two hours"])
    await expect(visitor.page.locator("#decisions .tag.skip").first).to_be_visible(timeout=15_000)
    assert await audit(visitor) == []
    await visitor.shoot(f"axe-full-{lang}-{scheme}-{width}", whole=True)
    await visitor.page.context.set_offline(True)
    await expect(visitor.page.locator("#offline")).to_be_visible(timeout=10_000)
    assert await audit(visitor) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_landing_page(browser, sandbox, lang, scheme):
    """The front page with its accounts."""
    page = await browser.new_page(viewport={"width": 1024, "height": 768}, color_scheme=scheme)
    await page.goto(f"{sandbox.base}/?lang={lang}")
    visitor = Visitor(page, "en" if lang == "en" else "zh-CN")
    assert await audit(visitor) == []
    await visitor.shoot(f"landing-{lang}-1024-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
async def test_the_pages_of_documents(browser, sandbox, name, scheme):
    """What an answer of the gateway leads to."""
    page = await browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    await page.goto(f"{sandbox.base}/docs/{name}")
    visitor = Visitor(page, "en")
    assert await audit(visitor) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    await visitor.shoot(f"docs-{name}-390-{scheme}")


async def test_the_audit_sees_faults(browser, sandbox):
    """A control: a button without a name and a pale text are found."""
    visitor = await visit(browser, sandbox, "en")
    await visitor.page.evaluate(
        "() => document.body.insertAdjacentHTML('beforeend', '<button></button><p style=\"color:#bbb;background:#fff\">pale</p>')"
    )
    found = " ".join(await audit(visitor))
    assert "button-name" in found
    assert "color-contrast" in found
