"""The phone page in a real browser: a newcomer's first five minutes, on each phone and in both languages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.sandbox.running import running

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "test-artefacts"
ARGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
SMS, MESSENGER, WECHAT = "#phone-sms-main", "#phone-messenger-main", "#phone-wechat-main"
MEMBER = "13900001234"
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


def chromium() -> str:
    unpacked = ROOT / "var" / "tools" / "chromium" / "run"
    found = shutil.which("chromium") or (str(unpacked) if unpacked.exists() else "")
    assert found, "Chromium is missing: make test installs it"
    return found


@pytest.fixture
async def sandbox(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as found:
        yield found


@pytest.fixture
async def browser():
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=ARGS.split())
        yield started
        await started.close()


class Visitor:
    """A person before the phone page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    async def say(self, phone: str, text: str) -> None:
        await self.page.fill(f"{phone} form input", text)
        await self.page.press(f"{phone} form input", "Enter")

    async def reads(self, phone: str, words: str) -> None:
        await expect(self.page.locator(f"{phone} .line.shop .bubble", has_text=words).last).to_be_visible(
            timeout=15_000
        )

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def ticked(self, steps: int) -> None:
        await expect(self.page.locator("#guide li.done")).to_have_count(steps, timeout=10_000)

    async def shoot(self, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png")


async def visit(browser, sandbox, lang: str, width: int = 1440, height: int = 900, scheme: str = "light") -> Visitor:
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    visitor = Visitor(page)
    await page.goto(f"{sandbox.base}/sandbox/?lang={lang}")
    await expect(page.locator(".phone")).to_have_count(3)
    return visitor


async def walk(visitor: Visitor, phone: str, *, join, english: bool = False) -> None:
    """Join, claim, order, two hours later the reminder, pay, thanks."""
    await visitor.say(phone, "member" if english else "会员")
    await join()
    await visitor.reads(phone, "member card is ready" if english else "会员卡已开通")
    await visitor.ticked(1)
    await visitor.say(phone, "claim RACE50" if english else "领 RACE50")
    await visitor.reads(phone, "It's yours" if english else "领到了")
    await visitor.ticked(2)
    await visitor.press("Place order" if english else "下单")
    await visitor.ticked(3)
    await visitor.press("+2 hours" if english else "+2 小时")
    await visitor.ticked(4)
    await visitor.reads(phone, "awaits payment" if english else "待付款")
    await visitor.page.locator(f"{phone} .bubble button.link").last.click()
    await visitor.reads(phone, "Payment received" if english else "已收到付款")
    await visitor.ticked(5)


async def test_first_minutes_by_text(browser, sandbox):
    """Join, claim, order, reminder, pay and thanks on the SMS phone; the strip ticks itself off; nothing complains."""
    visitor = await visit(browser, sandbox, "zh-CN")
    await visitor.shoot("phones-zh-1440-empty")

    async def join() -> None:
        await visitor.reads(SMS, "回1同意")
        await visitor.say(SMS, "1")

    await walk(visitor, SMS, join=join)
    await expect(visitor.page.locator("#decisions")).to_contain_text("催付")
    await visitor.shoot("phones-zh-1440-sms")
    assert visitor.complaints == []


async def test_first_minutes_by_messenger(browser, sandbox):
    """The same on Messenger in English: the number is proved by the code that arrives on the SMS phone."""
    visitor = await visit(browser, sandbox, "en")
    await walk(visitor, MESSENGER, join=lambda: prove(visitor, sandbox, MESSENGER, "code"), english=True)
    await visitor.shoot("phones-en-1440-messenger")
    assert visitor.complaints == []


async def test_first_minutes_by_wechat(browser, sandbox):
    """The same in WeChat: within its window and quota, later notices come by text."""
    visitor = await visit(browser, sandbox, "zh-CN")
    await visitor.page.locator(f"{WECHAT} .menu button").first.click()
    await visitor.reads(WECHAT, "手机号")
    await visitor.shoot("phones-zh-1440-wechat")
    await prove(visitor, sandbox, WECHAT, "验证码")
    await visitor.reads(WECHAT, "会员卡已开通")
    await visitor.ticked(1)
    assert visitor.complaints == []


async def prove(visitor: Visitor, sandbox, phone: str, word: str) -> None:
    """Gives the number and then the code that came by text."""
    await visitor.say(phone, MEMBER)
    await visitor.reads(SMS, word)
    texts = [m["text"] for m in await sandbox.messages("sms-main") if word in m["text"]]
    await visitor.say(phone, re.search(r"\d{6}", texts[-1])[0])


async def test_a_decision_that_waits_says_until_when(browser, sandbox):
    """An order at night: the reminder is held until the service hours, and the page says so."""
    visitor = await visit(browser, sandbox, "zh-CN")
    await visitor.say(SMS, "会员")
    await visitor.reads(SMS, "回1同意")
    await visitor.say(SMS, "1")
    await visitor.reads(SMS, "会员卡已开通")
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
    visitor = await visit(browser, sandbox, lang, width, 844, scheme)
    await visitor.page.wait_for_timeout(600)
    await visitor.shoot(f"phones-{lang}-{width}-{scheme}")
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


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_landing_page_leads_on(browser, sandbox, lang):
    """`/` names every account with its state and leads to the sandbox."""
    visitor = Visitor(await browser.new_page(viewport={"width": 390, "height": 844}))
    await visitor.page.goto(f"{sandbox.base}/?lang={lang}")
    await expect(visitor.page.locator("tr")).to_have_count(4)
    await visitor.shoot(f"landing-{lang}-390")
    await visitor.page.locator("a.main").click()
    await expect(visitor.page.locator(".phone")).to_have_count(3)
    assert visitor.complaints == []
