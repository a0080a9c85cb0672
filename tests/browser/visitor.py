"""A person before the phone page, and what there is to read on it."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "test-artefacts"
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SMS, MESSENGER, WECHAT = "#phone-sms-main", "#phone-messenger-main", "#phone-wechat-main"
MEMBER = "13900001234"
SIX_DIGITS = re.compile(r"(?<!\d)\d{6}(?!\d)")
ZH = {
    "member": "会员",
    "yes": "1",
    "ask to join by text": "回1同意",
    "ask for the number": "手机号",
    "card": "会员卡已开通",
    "claim": "领 RACE50",
    "claimed": "领到了",
    "unpaid": "待付款",
    "paid": "已收到付款",
    "shipped": "已发出",
    "in city": "到广州了",
    "out": "正在派送",
    "delivered": "包裹已签收",
    "refund": "退款申请已收到",
    "place": "下单",
    "two hours": "+2 小时",
    "one hour": "+1 小时",
    "one day": "+1 天",
    "ship": "发货",
    "arrive": "到达城市",
    "at the city": "到达城市",
    "send out": "派送",
    "deliver": "签收",
    "ask refund": "申请退款",
    "abandon": "留下购物车",
}
EN = {
    "member": "member",
    "yes": "1",
    "ask to join by text": "Reply 1 yes",
    "ask for the number": "mobile number",
    "card": "member card is ready",
    "claim": "claim RACE50",
    "claimed": "It's yours",
    "unpaid": "awaits payment",
    "paid": "Payment received",
    "shipped": "is on its way",
    "in city": "has reached",
    "out": "out for delivery today",
    "delivered": "Delivered.",
    "refund": "refund request",
    "place": "Place order",
    "two hours": "+2 hours",
    "one hour": "+1 hour",
    "one day": "+1 day",
    "ship": "Ship",
    "arrive": "Reach city",
    "at the city": "in the city",
    "send out": "Out for delivery",
    "deliver": "Deliver",
    "ask refund": "Ask for refund",
    "abandon": "Leave a cart",
}
SPEECH = {"zh-CN": ZH, "en": EN}


def chromium() -> str:
    """The browser: installed, or unpacked by scripts/chromium.sh. Missing is a failure, never a skip."""
    unpacked = ROOT / "var" / "tools" / "chromium" / "run"
    found = shutil.which("chromium") or (str(unpacked) if unpacked.exists() else "")
    assert found, "Chromium is missing: make test installs it"
    return found


async def until(page: Page, expression: str, arg: Any = None, seconds: float = 30) -> None:
    """Asks the page until it says yes. `wait_for_function` asks from inside, where a page that allows no `eval` refuses it."""
    end = time.monotonic() + seconds
    while not await page.evaluate(expression, arg):
        assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
        await asyncio.sleep(0.05)


class Visitor:
    """Writes, taps and reads on one page."""

    def __init__(self, page: Page, lang: str = "zh-CN") -> None:
        self.page = page
        self.lang = lang
        self.speech = SPEECH[lang]
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

    async def decides(self, words: str) -> None:
        await expect(self.page.locator("#decisions")).to_contain_text(words, timeout=15_000)

    async def shoot(self, name: str, *, whole: bool = False) -> None:
        SHOTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)

    async def join(self, phone: str) -> None:
        """Opens the member card on a phone: by yes in a text, else by the number and the code that comes by text."""
        speech = self.speech
        await self.say(phone, speech["member"])
        if phone == SMS:
            await self.reads(SMS, speech["ask to join by text"])
            await self.say(SMS, speech["yes"])
        else:
            await self.reads(phone, speech["ask for the number"])
            await self.prove(phone)
        await self.reads(phone, speech["card"])

    async def prove(self, phone: str) -> None:
        """Gives the number and then the code that came by text."""
        await self.say(phone, MEMBER)
        code = self.page.locator(f"{SMS} .line.shop .bubble", has_text=SIX_DIGITS).last
        await expect(code).to_be_visible(timeout=15_000)
        await self.say(phone, SIX_DIGITS.findall(await code.inner_text())[-1])


async def visit(browser, sandbox, lang: str, width: int = 1440, height: int = 900, **context) -> Visitor:
    """The phone page at a size; `context` as for a browser context: color_scheme, reduced_motion …"""
    page = await browser.new_page(viewport={"width": width, "height": height}, **context)
    visitor = Visitor(page, lang)
    await page.goto(f"{sandbox.base}/sandbox/?lang={lang}")
    await expect(page.locator(".phone")).to_have_count(3)
    return visitor
