"""The buyer pages in a real browser, as on a phone: without scripts, in three languages, light and dark; axe finds nothing."""

from __future__ import annotations

import pytest
from aiohttp import web
from playwright.async_api import expect

from bot.coupons import Campaign
from tests.browser.test_accessibility import audit
from tests.browser.visitor import Visitor
from tests.channels.lend import provider
from tests.pages.visitor import PHONE, at_phone, join, link_of, newest_code, shop_with_pages
from tests.shops.events import ORDER, PAID, SHIPMENT

PAGES = ("", "/wallet", "/orders", "/settings", "/profile", "/sample", "/data", "/leave", "/erase", "/stop")
NOTICE = """
[privacy]
responsible = "小满服饰有限公司"
questions_to = "privacy@shop.example"
keep_months = 36
address = "广州市天河区示例路 1 号"
shared_with = ["顺丰速运：派送包裹"]
"""

CLUB = """
[club]
points_per = "1"
within_months = 12
[[club.levels]]
key = "silver"
spend = 100
names = { zh-CN = "银卡会员", zh-TW = "銀卡會員", en = "Silver" }
rights = { zh-CN = "每单包邮，生日月多送一份小礼", zh-TW = "每筆訂單免運，生日當月多一份小禮", en = "Free shipping, one more birthday treat" }
[[club.levels]]
key = "gold"
spend = 1000
names = { zh-CN = "金卡会员", zh-TW = "金卡會員", en = "Gold" }
rights = { zh-CN = "新品先看，退换上门取件", zh-TW = "新品優先看，退換到府收件", en = "New arrivals first, returns fetched at your door" }
"""


@pytest.fixture
async def chat(valkey, redis_client, tmp_path):
    async with shop_with_pages(valkey, tmp_path, NOTICE + CLUB) as found:
        yield found


async def open_page(browser, chat, locale: str, scheme: str = "light", *, scripts: bool = False):
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, locale=locale, color_scheme=scheme, java_script_enabled=scripts
    )
    return await context.new_page()


async def fill_shop(chat) -> None:
    """Coupons of every state, orders with parcels, a long name."""
    gateway = chat.harness.gateway
    for key, title, stock in (
        ("MAY", "五月会员券", 5),
        ("LONG", "老会员专享春夏上新全场通用满三百减五十", 9),
        ("OPEN", "周三会员日", 50),
    ):
        await gateway.campaigns.create(
            Campaign(key, title, "amount_off", stock, "50.00", "CNY", "300.00", valid_days=30)
        )
    await gateway.campaigns.create(Campaign("SHIP", "包邮券", "free_shipping", 3, "", "CNY", "", valid_days=1))
    for key in ("SHIP", "MAY", "LONG"):
        await chat.harness.say("p1", f"领 {key}")
    await chat.harness.idle()
    await chat.harness.advance(2 * 86400)
    who = {"phones": [PHONE], "name": "欧阳小满·示例长名·买家甲"}
    for number, order in (
        ("1", PAID),
        ("2", {**ORDER, "items": [{**ORDER["items"][0], "title": "亚麻宽松衬衫 米白 加大加长款 春夏新品 透气不闷"}]}),
    ):
        kind = "order.paid" if order["pay_state"] == "paid" else "order.created"
        told = {"order": {**order, "id": number, "number": f"#202611{number}"}, "buyer": who}
        status, answer = await chat.harness.shop(kind, f"e{number}", told)
        assert status == 200, answer
    shipped = {"order": {**PAID, "id": "1", "number": "#2026111"}, "buyer": who, "shipment": SHIPMENT}
    assert (await chat.harness.shop("shipment.created", "e9", shipped))[0] == 200
    now = chat.harness.gateway.clock.now() / 1000
    assert (await chat.harness.shop("order.completed", "e10", {"order": {"id": "1"}}, at=now))[0] == 200
    await chat.harness.idle()


async def narrow(page) -> bool:
    """Nothing runs out of the page sideways."""
    return await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


async def walk(page, base: str, link: str, shots: Visitor, name: str, paths=PAGES) -> None:
    """Every page: styled, within the width, sound, and with a picture of it."""
    for path in paths:
        await page.goto(base + link + path)
        where = f"{name}{path.replace('/', '-') or '-card'}"
        assert await page.evaluate("getComputedStyle(document.querySelector('main')).display") == "grid", where
        assert await narrow(page), where
        assert await audit(shots) == [], where
        await shots.shoot(f"pages-{where}", whole=True)


@pytest.mark.parametrize(("locale", "scheme"), [("zh-CN", "light"), ("zh-TW", "dark"), ("en", "light")])
async def test_every_page_at_390_px(browser, chat, locale, scheme):
    """Empty, then full: nothing cut, nothing that axe finds, no word of another language's file missing."""
    await join(chat, "p1")
    link, base = await link_of(chat, "p1"), chat.harness.base
    page = await open_page(browser, chat, locale, scheme, scripts=True)
    shots = Visitor(page)
    await page.goto(f"{base}{link}?lang={locale}")
    assert await audit(shots) == []
    await shots.shoot(f"pages-{locale}-door", whole=True)
    await page.locator("form[action$='/open'] button").click()
    await walk(page, base, link, shots, f"{locale}-empty", ("/wallet", "/orders", "/settings"))
    await fill_shop(chat)
    await walk(page, base, link, shots, f"{locale}-full")
    for path in ("/b/privacy", "/b/join", "/b/" + "0" * 36):
        await page.goto(base + path)
        assert await audit(shots) == [], path
        assert await narrow(page), path
        await shots.shoot(f"pages-{locale}{path[2:11].replace('/', '-')}", whole=True)
    assert [line for line in shots.complaints if "404" not in line] == []  # nor does a browser object to its policy


async def test_a_buyer_without_scripts(browser, chat):
    """Joins at the checkout, says yes to one channel, fills in the birthday with a slip, claims a coupon, stops it all, signs out."""
    await chat.harness.gateway.campaigns.create(
        Campaign("MAY", "五月券", "amount_off", 5, "20.00", "CNY", "99.00", valid_days=30)
    )
    base = chat.harness.base
    page = await open_page(browser, chat, "zh-CN")
    await page.goto(base + "/b/join")
    await page.fill("#number", "139000")
    await page.click("button")
    await expect(page.get_by_role("alert")).to_contain_text("看着不对")
    await page.fill("#number", "139 0000 1234")
    await page.click("button")
    await expect(page.locator("#code")).to_be_visible()
    await page.fill("#code", await newest_code(chat, 0))
    await page.click("form[action$='/prove'] button")
    await expect(page.get_by_role("status")).to_contain_text("会员卡已开通")
    member = await at_phone(chat)
    assert member.member.source == "page:join"
    await expect(page.locator(".number")).to_contain_text(member.member.number[-4:])
    tick = page.get_by_label("每周会员日和上新消息")
    assert not await tick.is_checked()
    await tick.check()
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_role("status")).to_contain_text("已保存")
    assert (await at_phone(chat)).address("sms-main", PHONE).consent.marketing == "granted"
    await page.get_by_role("link", name="称呼、生日、尺码").click()
    await page.select_option("#month", "2")
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_role("alert")).to_contain_text("月和日请一起选")
    assert await page.input_value("#month") == "2"
    await page.select_option("#day", "29")
    await page.get_by_role("button", name="保存").click()
    await expect(page.get_by_role("status")).to_contain_text("资料已保存")
    await page.get_by_role("link", name="券包").click()
    await page.get_by_role("button", name="领取 五月券").click()
    await expect(page.locator("code")).to_have_count(1)
    await page.get_by_role("link", name="设置").click()
    await page.get_by_role("button", name="停发全部营销消息").click()
    await expect(page.get_by_role("status")).to_contain_text("已停发")
    assert all(address.opted_out for address in (await at_phone(chat)).addresses)
    await page.get_by_role("button", name="退出这个浏览器").click()
    await expect(page.get_by_role("button", name="发验证码")).to_be_visible()


async def test_other_sites_are_not_told_where_the_buyer_comes_from(browser, chat):
    """A tap on the parcel's tracking page: no Referer, and no way back by window.opener."""
    heard: list[dict[str, str]] = []

    async def tracker(request: web.Request) -> web.Response:
        if request.path == "/SF0001":  # not the icon, which that page itself asks for
            heard.append(dict(request.headers))
        return web.Response(text="<title>parcel</title><h1>parcel</h1>", content_type="text/html")

    async with provider(tracker) as (there, _):
        await join(chat, "p1")
        who = {"phones": [PHONE]}
        parcel = {**SHIPMENT, "tracking_url": f"{there}/SF0001"}
        await chat.harness.shop("order.paid", "e1", {"order": PAID, "buyer": who})
        await chat.harness.shop("shipment.created", "e2", {"order": PAID, "buyer": who, "shipment": parcel})
        await chat.harness.idle()
        page = await open_page(browser, chat, "zh-CN")
        link = await link_of(chat, "p1")
        await page.goto(chat.harness.base + link)
        await page.locator("form[action$='/open'] button").click()
        await page.get_by_role("link", name="订单").click()
        await page.get_by_role("link", name="看物流").click()
        await expect(page.get_by_role("heading")).to_have_text("parcel")
    assert heard
    assert [headers for headers in heard if "Referer" in headers or link in str(headers)] == []
