"""The whole journey of a buyer on each phone and in both languages, as a visitor of the phone page goes it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.visitor import MESSENGER, SMS, WECHAT, until, visit

PHONES = {"text": SMS, "messenger": MESSENGER, "wechat": WECHAT}


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
@pytest.mark.parametrize("name", list(PHONES))
async def test_from_the_card_to_the_parcel(browser, sandbox, lang, name):
    """Join, claim, order, reminder after two hours, pay by its link, thanks, parcel notices, refund; nothing complains.

    All on the phone that the buyer joined on. WeChat takes five messages after each of the buyer's, so the last notices
    come by text there.
    """
    visitor, phone = await visit(browser, sandbox, lang), PHONES[name]
    speech = visitor.speech
    await visitor.join(phone)
    await visitor.ticked(1)
    await visitor.say(phone, speech["claim"])
    await visitor.reads(phone, speech["claimed"])
    await visitor.ticked(2)
    await visitor.press(speech["place"])
    await visitor.ticked(3)
    await visitor.press(speech["two hours"])
    await visitor.ticked(4)
    await visitor.reads(phone, speech["unpaid"])
    await visitor.shoot(f"journey-{name}-{lang}-reminder")
    await visitor.page.locator(f"{phone} .bubble button.link").last.click()
    await visitor.reads(phone, speech["paid"])
    await visitor.ticked(5)
    for deed, notice in (("ship", "shipped"), ("arrive", "in city"), ("send out", "out"), ("deliver", "delivered")):
        await visitor.press(speech[deed])
        if deed == "arrive":  # told after half an hour, if the courier is not on the way by then
            await expect(visitor.page.locator("#orders .order-state").first).to_have_text(speech["at the city"])
            await visitor.press(speech["one hour"])
        await visitor.reads(phone if deed == "ship" or phone != WECHAT else ".phone", speech[notice])
    await visitor.ticked(6)
    await visitor.press(speech["one day"])
    await visitor.press(speech["ask refund"])
    await visitor.reads(".phone", speech["refund"])
    await visitor.shoot(f"journey-{name}-{lang}-end")
    assert visitor.complaints == []


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
async def test_a_cart_speaks_only_to_those_who_agreed(browser, sandbox, lang):
    """Without consent the refusal is told; with it the first note comes, the next a day later, and the week's cap holds."""
    english = lang == "en"
    visitor = await visit(browser, sandbox, lang)
    speech = visitor.speech
    await visitor.join(SMS)
    await visitor.press(speech["abandon"])
    await expect(visitor.page.locator("#toast")).to_contain_text("45")
    await visitor.press(speech["one hour"])
    await visitor.decides("never agreed to offers" if english else "没有同意营销")
    await visitor.decides("Cart note 1" if english else "购物车提醒 1")
    await visitor.shoot(f"cart-{lang}-refused")
    await visitor.say(MESSENGER, speech["member"])
    await visitor.reads(MESSENGER, speech["ask for the number"])
    await visitor.prove(MESSENGER)
    await visitor.reads(MESSENGER, "your member card is no." if english else "您的会员卡号")  # the two records are one
    await visitor.say(MESSENGER, "START" if english else "恢复")
    await visitor.reads(MESSENGER, "Welcome back" if english else "已恢复")
    await visitor.press(speech["abandon"])
    await visitor.press(speech["one hour"])
    await visitor.reads(".phone", "still in your cart" if english else "还在购物车")
    await visitor.ticked(2)  # the card and the cart
    await visitor.press(speech["one day"])
    await visitor.decides("Cart note 2" if english else "购物车提醒 2")
    await visitor.shoot(f"cart-{lang}-ladder")
    assert visitor.complaints == []


ASKED = {
    "zh-CN": [
        ("帮助", "订单物流"),
        ("退换", "退换已登记"),
        ("没收到", "已登记"),
        ("急", "值班同事"),
        ("人工", "客服"),
        ("订单", "订单"),
        ("退订", "已停发营销消息"),
        ("恢复", "已恢复"),
        ("我的信息", "我们这里有您的"),
        ("注销会员", "确定吗"),
        ("1", "会员已注销"),
    ],
    "en": [
        ("help", "Reply 1 card"),
        ("return", "is noted"),
        ("missing", "missing parcel"),
        ("urgent", "on duty"),
        ("agent", "colleague will take over"),
        ("order", "order"),
        ("unsubscribe", "no more marketing"),
        ("start", "Welcome back"),
        ("my data", "What we hold of you"),
        ("leave", "Sure?"),
        ("1", "You have left the club"),
    ],
}


@pytest.mark.parametrize("lang", list(ASKED))
async def test_every_question_gets_its_answer(browser, sandbox, lang):
    """Help, return, missing, urgent, a person, orders, opt out and in, own data, leaving: each answered in the chat."""
    visitor = await visit(browser, sandbox, lang)
    await visitor.join(MESSENGER)
    await visitor.reads(
        MESSENGER, "What may we call you" if lang == "en" else "怎么称呼您"
    )  # the last of what joining says
    for said, answer in ASKED[lang]:
        mine = visitor.page.locator(f"{MESSENGER} .line.shop")
        before = await mine.count()
        await visitor.say(MESSENGER, said)
        await expect(mine.nth(before)).to_be_visible(timeout=15_000)
        await expect(mine.nth(before).or_(mine.last)).to_contain_text(answer, timeout=15_000)
    await visitor.shoot(f"questions-{lang}")
    assert visitor.complaints == []


@pytest.mark.parametrize("lang", ["zh-CN", "en"])
async def test_the_keyboard_alone_walks_the_tour(browser, sandbox, lang):
    """Tab to the tour's button, then Enter until every step is ticked; the focus is never lost."""
    visitor = await visit(browser, sandbox, lang)
    page = visitor.page
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "move":
            break
    deeds = 0
    while await page.locator("#move").is_visible():
        label = await page.locator("#move").inner_text()
        assert await page.evaluate("document.activeElement.id") == "move", label
        await page.keyboard.press("Enter")
        deeds += 1
        assert deeds < 20
        await until(page, "label => move.hidden || (move.textContent !== label && !move.disabled)", label)
    await visitor.ticked(8)
    assert visitor.complaints == []
