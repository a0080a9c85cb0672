"""The phone page in a real browser: its states, sizes and what it says when something is wrong."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import expect

from sandbox.state import MOST_KEPT, Phones
from tests.browser.visitor import MESSENGER, SMS, WECHAT, Visitor, visit
from tests.sandbox.running import IDS, running

# Texts whose contrast with the ground below them is under 4.5, by the formula of WCAG 2.
FAINT = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), alpha: n[3] ?? 1 }; };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled || node.closest("script")) continue;
    let ground = node;
    while (ground && parse(getComputedStyle(ground).backgroundColor).alpha < 1) ground = ground.parentElement;
    const [a, b] = [parse(getComputedStyle(node).color).rgb, parse(getComputedStyle(ground || document.body).backgroundColor).rgb]
      .map(light).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(`${node.className} ${node.textContent.slice(0, 20)}`);
  }
  return faint;
}"""
# Bubbles, notes and choices that reach beyond their chat, by their boxes.
SPILLED = """() => [...document.querySelectorAll(".chat")].flatMap((chat) => {
  const box = chat.getBoundingClientRect();
  return [...chat.querySelectorAll(".bubble, .note, .choices button, .face")].filter((node) => node.checkVisibility())
    .filter((node) => { const b = node.getBoundingClientRect(); return b.left < box.left - 0.5 || b.right > box.right + 0.5; })
    .map((node) => node.className + " " + node.textContent.slice(0, 30));
})"""


async def test_a_decision_that_waits_says_until_when(browser, sandbox):
    """An order at night: the reminder is held until the service hours, and the page says so."""
    visitor = await visit(browser, sandbox, "zh-CN")
    await visitor.join(SMS)
    await sandbox.idle()
    await sandbox.advance(11 * 3600)
    await visitor.press("下单")
    await expect(visitor.page.locator("#orders")).to_contain_text("待付款")
    await visitor.press("+2 小时")
    await expect(visitor.page.locator("#decisions")).to_contain_text("等到", timeout=15_000)
    await visitor.shoot("phones-zh-1440-held")


@pytest.mark.parametrize(
    ("lang", "width", "scheme"), [("zh-CN", 390, "light"), ("en", 390, "dark"), ("en", 1024, "dark")]
)
async def test_nothing_is_cut_on_narrow_screens(browser, sandbox, lang, width, scheme):
    """The page itself never scrolls sideways, and every control keeps its name, and every text can be read."""
    await sandbox.say("sms-main", text="会员")
    await sandbox.say("wechat-main", text="你好")
    visitor = await visit(browser, sandbox, lang, width, 844, color_scheme=scheme)
    await visitor.page.wait_for_timeout(600)
    await visitor.shoot(f"phones-{lang}-{width}-{scheme}", whole=True)
    wide = await visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    unnamed = await visitor.page.evaluate(
        "[...document.querySelectorAll('button, input')].filter(n => !(n.textContent.trim() || n.getAttribute('aria-label'))).length"
    )
    assert unnamed == 0
    assert await visitor.page.evaluate(FAINT) == []
    await visitor.page.add_style_tag(content=".meta { color: #808080; background: #808080; }")
    assert await visitor.page.evaluate(FAINT) != []  # the measure sees what nobody can


async def test_the_keyboard_is_enough(browser, sandbox):
    """Tab reaches a phone's field, Enter sends, and the field keeps the focus after the answer."""
    visitor = await visit(browser, sandbox, "en")
    await visitor.page.focus(f"{SMS} form input")
    await visitor.page.keyboard.type("help")
    await visitor.page.keyboard.press("Enter")
    await expect(visitor.page.locator(f"{SMS} .line.shop")).to_have_count(1, timeout=10_000)
    assert await visitor.page.evaluate("document.activeElement.name") == "sms-main"


async def test_a_fault_is_told_with_its_cause(browser, sandbox):
    """What the gateway refuses shows as a toast with the reason."""
    visitor = await visit(browser, sandbox, "en")
    await visitor.press("Pay")
    await expect(visitor.page.locator("#toast")).to_contain_text("place one first")
    await visitor.shoot("phones-en-1440-toast")


async def test_a_lost_connection_is_told_and_nothing_typed_is_lost(browser, sandbox):
    """A banner while the gateway is away; the words go back into the field; all catches up when it is back."""
    visitor = await visit(browser, sandbox, "en")
    page = visitor.page
    await page.context.set_offline(True)
    await expect(page.locator("#offline")).to_be_visible(timeout=10_000)
    await visitor.say(SMS, "member")
    await expect(page.locator(f"{SMS} form input")).to_have_value("member")
    await expect(page.locator(f"{SMS} .line")).to_have_count(0)
    await visitor.shoot("phones-en-1440-offline")
    await page.context.set_offline(False)
    await expect(page.locator("#offline")).to_be_hidden(timeout=10_000)
    await page.press(f"{SMS} form input", "Enter")
    await visitor.reads(SMS, "Reply 1 yes")


async def test_a_page_that_gets_no_answer_yet(browser, sandbox):
    """The place of the phones is kept, the banner tells why they are not there, and the page catches up by itself."""
    visitor = Visitor(await browser.new_page(viewport={"width": 1440, "height": 900}), "zh-CN")
    await visitor.page.route("**/state.json*", lambda route: route.abort())
    await visitor.page.goto(f"{sandbox.base}/sandbox/?lang=zh-CN")
    await expect(visitor.page.locator("#offline")).to_contain_text("连不上网关")
    await expect(visitor.page.locator("#phones:empty")).to_be_visible()
    await visitor.shoot("phones-zh-1440-no-answer-yet")
    await visitor.page.unroute("**/state.json*")
    await expect(visitor.page.locator(".phone")).to_have_count(3, timeout=10_000)
    await expect(visitor.page.locator("#offline")).to_be_hidden()


LONG = "退货说明" * 500
STRANGE = [
    "👩🏽‍🚀" * 60,
    "مرحبا، أين طلبي؟ شكرا جزيلا",
    "שלום, איפה ההזמנה?",
    "Donaudampfschifffahrt" * 20,
    "<b>not bold</b> & ]]>",
]


@pytest.mark.parametrize(("lang", "width"), [("zh-CN", 1440), ("en", 390)])
async def test_full_phones_stay_quick_and_whole(browser, sandbox, lang, width):
    """500 bubbles a phone, 2,000 characters, emoji, right to left: nothing spills, the newest is in sight, the page is quick."""
    phones = Phones(sandbox.gateway.store.client, sandbox.gateway.clock)
    for account in ("wechat-main", "messenger-main", "sms-main"):
        for i in range(MOST_KEPT - len(STRANGE) - 1):
            who = "buyer" if i % 3 == 0 else "shop"
            await phones.show(account, IDS[account], **{"from": who}, kind="text", text=f"{i} 您好，订单到哪了？")
        for text in (LONG, *STRANGE):
            await phones.show(account, IDS[account], **{"from": "shop"}, kind="text", text=text)
    began = time.monotonic()
    visitor = await visit(browser, sandbox, lang, width)
    await expect(visitor.page.locator(f"{WECHAT} .line")).to_have_count(MOST_KEPT, timeout=10_000)
    assert time.monotonic() - began < 10
    assert await visitor.page.evaluate(SPILLED) == []
    for phone in (WECHAT, MESSENGER, SMS):
        assert await visitor.page.eval_on_selector(
            f"{phone} .chat", "n => n.scrollHeight - n.scrollTop - n.clientHeight < 2"
        )
    await visitor.page.eval_on_selector(f"{SMS} .chat", "n => { n.scrollTop = 100; }")
    await visitor.shoot(f"phones-{lang}-{width}-full")
    await visitor.say(MESSENGER, "help" if lang == "en" else "帮助")
    await expect(visitor.page.locator(f"{MESSENGER} .line.shop").last).to_contain_text("1", timeout=10_000)
    assert await visitor.page.eval_on_selector(f"{SMS} .chat", "n => n.scrollTop") == 100  # who reads is left alone
    assert visitor.complaints == []


async def test_a_long_message_can_be_said(browser, sandbox):
    """2,000 characters go through, and the bubble holds all of them."""
    visitor = await visit(browser, sandbox, "zh-CN")
    await visitor.say(MESSENGER, LONG)
    await expect(visitor.page.locator(f"{MESSENGER} .line.buyer .bubble")).to_have_text(LONG)
    await visitor.reads(MESSENGER, "没看懂")


async def test_a_very_long_brand_is_cut_with_an_ellipsis(browser, valkey, redis_client, tmp_path):
    """The longest brand that the configuration takes fits every phone's head."""
    brand = "WWWWWWWWWWWWWWWWWWWW"
    async with running(valkey, tmp_path, change=lambda text: text.replace('"小满衣橱"  ', f'"{brand}"  ', 1)) as long:
        visitor = await visit(browser, long, "en", 1024)
        wide = await visitor.page.evaluate(
            "[...document.querySelectorAll('.top')].filter(n => n.scrollWidth > n.clientWidth).length"
        )
        assert wide == 0
        await expect(visitor.page.locator(f"{WECHAT} .top b")).to_have_text(brand)


async def test_links_lead_somewhere(browser, sandbox):
    """The privacy link opens the gateway's own notice."""
    visitor = await visit(browser, sandbox, "en")
    await visitor.say(MESSENGER, "member")
    async with visitor.page.context.expect_page() as opened:
        await visitor.page.locator(f"{MESSENGER} .bubble button.link").click()
    notice = await opened.value
    await expect(notice.locator("h1")).to_have_text("Privacy notice")


async def test_only_what_waits_or_was_not_sent(browser, sandbox):
    """The list of decisions can be cut down to what waits or was refused, and says so when there is none."""
    visitor = await visit(browser, sandbox, "en")
    await visitor.join(SMS)
    await expect(visitor.page.locator("#decisions li .tag.send").first).to_be_visible()
    await visitor.press("not sent")
    await expect(visitor.page.locator("#decisions")).to_have_text("No such decision.")
    assert await visitor.page.evaluate("document.activeElement.textContent") == "not sent"


async def test_who_wants_no_motion_gets_none(browser, sandbox):
    """With reduced motion nothing is animated, typing dots included."""
    visitor = await visit(browser, sandbox, "en", reduced_motion="reduce")
    await visitor.say(WECHAT, "hi")
    await expect(visitor.page.locator(f"{WECHAT} .line").first).to_be_visible()
    assert await visitor.page.evaluate("document.getAnimations().length") == 0
    await visitor.reads(WECHAT, "自动助手")
    assert await visitor.page.evaluate("document.getAnimations().length") == 0


async def test_the_page_twice_as_large(browser, sandbox):
    """At 200 % the page still never scrolls sideways and the tour's button is in sight."""
    visitor = await visit(browser, sandbox, "en", 720, 450, device_scale_factor=2)
    assert await visitor.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    await expect(visitor.page.locator("#move")).to_be_in_viewport()
    await visitor.shoot("phones-en-200-percent")


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
async def test_the_page_answers_in_the_other_language_at_once(browser, sandbox, lang):
    """The switch turns every word of the page, its address and its lang; the messages keep their own."""
    visitor = await visit(browser, sandbox, lang)
    await visitor.join(SMS)
    await visitor.page.click("#lang")
    other = "en" if lang == "zh-CN" else "zh-CN"
    assert await visitor.page.get_attribute("html", "lang") == other
    assert visitor.page.url.endswith(f"?lang={other}")
    await expect(visitor.page.locator("#shop-h")).to_have_text("Shop system" if other == "en" else "店铺系统")
    await visitor.reads(SMS, visitor.speech["card"])


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_landing_page_leads_on(browser, sandbox, lang):
    """`/` names every account with its state and leads to the sandbox."""
    visitor = Visitor(await browser.new_page(viewport={"width": 390, "height": 844}))
    await visitor.page.goto(f"{sandbox.base}/?lang={lang}")
    await expect(visitor.page.locator("tr")).to_have_count(5)  # four accounts, one shop
    await visitor.shoot(f"landing-{lang}-390")
    await visitor.page.locator("a.main").click()
    await expect(visitor.page.locator(".phone")).to_have_count(3)
    assert visitor.complaints == []
