"""Phone numbers that change, and numbers that change hands: whose card it is."""

from __future__ import annotations

import re

import pytest

from bot.access import create_token
from bot.buyers import RECYCLED_DAYS
from tests.console.test_api import Api
from tests.e2e.test_chat import ask, buyer, chat, code, join
from tests.e2e.test_club import texts
from tests.e2e.texting import BUYER
from tests.gateway import rfc
from tests.shops.events import PAID

__all__ = ["chat"]  # the fixture
NEW = "+8613900005678"
LONG = (RECYCLED_DAYS + 1) * 86400


async def change(chat, psid: str, number: str = "13900005678") -> list[str]:
    """换手机号 to the end."""
    assert "新的手机号" in (await ask(chat, psid, "换手机号"))[0]
    seen = len(chat.twilio.forms)
    await ask(chat, psid, number)
    assert chat.twilio.forms[seen]["To"] == f"+86{number}"
    return await ask(chat, psid, await code(chat))


async def card(chat, psid: str) -> str:
    """The number of the card that is shown."""
    told = await ask(chat, psid, "会员")
    found = re.search(r"\d{4} \d{4} \d{4}", told[0])
    return found[0] if found else ""


async def named(chat, psid: str, birthday: str = "1月2日") -> None:
    """Opens a card, and gives name and birthday."""
    await join(chat, psid)
    await ask(chat, psid, "小满")
    await ask(chat, psid, birthday)


async def test_another_number_takes_the_place_of_the_old_one(chat):
    """Proved by a code; notices go to the new one only, and the card stays the same."""
    await named(chat, "p1")
    number = await card(chat, "p1")
    assert "已核对" in (await change(chat, "p1"))[0]
    found = await buyer(chat, "p1")
    assert found.phones == [NEW]
    assert [a.id for a in found.addresses if a.account == "sms-main"] == [NEW]
    assert await card(chat, "p1") == number
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    await api(
        "POST", "/messages", {"buyer": found.id, "purpose": "service", "text": "到货了", "accounts": ["sms-main"]}
    )
    await chat.harness.idle()
    assert chat.twilio.forms[-1]["To"] == NEW
    assert (await api("GET", f"/buyers?phone=%2B{NEW[1:]}"))[1]["items"][0]["id"] == found.id


async def test_the_old_number_starts_anew(chat):
    """Who writes from it is somebody new: asked whether to open a card, told nothing of the old one."""
    await named(chat, "p1")
    await change(chat, "p1")
    told = await texts(chat, "会员")
    assert "办会员卡" in told[0]
    told = await texts(chat, "我的信息")
    assert "小满，" not in told[0]
    assert (await buyer(chat, "p1")).phones == [NEW]


async def test_a_number_that_is_the_records_home_is_doubted_after_the_change(chat):
    """Who began by SMS keeps the record there: the old number gets neither card nor notices any more."""
    await texts(chat, "你好")
    await named(chat, "p1")
    number = await card(chat, "p1")
    await change(chat, "p1")
    told = await texts(chat, "会员")
    assert number not in told[0]
    assert "登记的生日" in told[0]
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    found = await buyer(chat, "p1")
    await api(
        "POST", "/messages", {"buyer": found.id, "purpose": "service", "text": "到货了", "accounts": ["sms-main"]}
    )
    await chat.harness.idle()
    assert chat.twilio.forms[-1]["To"] == NEW


async def test_a_change_that_is_broken_off_changes_nothing(chat):
    """Too many bad numbers, or 0: the number stays, and the interrupted question is asked again."""
    await join(chat, "p1")
    await ask(chat, "p1", "换手机号")
    for _ in range(3):
        said = await ask(chat, "p1", "一二三")
    assert "号码没有改动" in said[0]
    assert "怎么称呼" in said[-1]
    assert (await buyer(chat, "p1")).phones == [BUYER]


async def test_by_text_a_number_is_not_changed(chat):
    """The new one proves itself: write from it."""
    await texts(chat, "会员")
    await texts(chat, "1", 2)
    assert "用新号码" in (await texts(chat, "换手机号"))[0]


async def test_a_card_of_long_ago_asks_for_a_second_fact(chat):
    """Half a year without an order: the code alone does not hand over the card; the birthday on it does."""
    await named(chat, "p1")
    number = await card(chat, "p1")
    await chat.harness.advance(LONG)
    await ask(chat, "p2", "会员")
    await ask(chat, "p2", "13900001234")
    told = await ask(chat, "p2", await code(chat))
    assert "登记的生日" in told[0]
    assert number not in "".join(told)
    assert "不一样" in (await ask(chat, "p2", "3月4日"))[0]
    assert (await buyer(chat, "p2")).member is None
    told = await ask(chat, "p2", "1月2日")
    assert number in told[0]
    assert {a.id for a in (await buyer(chat, "p2")).addresses} >= {"p1", "p2"}


async def test_who_does_not_know_the_fact_gets_a_clerk(chat):
    """Two wrong birthdays: a task, and no card of somebody else."""
    await named(chat, "p1")
    await chat.harness.advance(LONG)
    await ask(chat, "p2", "会员")
    await ask(chat, "p2", "13900001234")
    await ask(chat, "p2", await code(chat))
    await ask(chat, "p2", "3月4日")
    assert "客服核对" in (await ask(chat, "p2", "5月6日"))[0]
    found = await buyer(chat, "p2")
    assert list(found.tasks) == ["number"]
    assert found.member is None
    assert (await buyer(chat, "p1")).member is not None


async def test_without_a_birthday_on_the_card_a_clerk_decides_at_once(chat):
    """There is nothing to ask for."""
    await join(chat, "p1")
    await chat.harness.advance(LONG)
    await ask(chat, "p2", "会员")
    await ask(chat, "p2", "13900001234")
    assert "客服核对" in (await ask(chat, "p2", await code(chat)))[0]


async def test_an_order_of_late_keeps_a_number_beyond_doubt(chat):
    """Bought within the half year: the code is enough."""
    await named(chat, "p1")
    await chat.harness.advance(LONG)
    store = chat.harness.gateway.store
    api = Api(chat.harness, await create_token(store, "shop", "owner"))
    now = chat.harness.gateway.clock.now() / 1000
    order = {**PAID, "placed_at": rfc(now), "paid_at": rfc(now)}
    envelope = {"type": "order.paid", "id": "o1", "shop": "main", "occurred_at": rfc(now)}
    data = {"order": order, "buyer": {"phones": [BUYER]}}
    assert (await api("POST", "/events", {**envelope, "data": data}))[0] == 202
    await chat.harness.idle()
    assert (await buyer(chat, "p1")).last_order_at > 0
    await ask(chat, "p2", "会员")
    await ask(chat, "p2", "13900001234")
    assert "会员卡号" in (await ask(chat, "p2", await code(chat)))[0]


@pytest.mark.parametrize("words", ["会员", "我的信息", "注销会员"])
async def test_by_text_too_a_number_of_long_ago_shows_no_card(chat, words):
    """Whoever has the number now texts: the fact first, then the card."""
    await named(chat, "p1")
    number = await card(chat, "p1")
    await texts(chat, "你好")
    await chat.harness.advance(LONG)
    told = await texts(chat, words)
    assert "登记的生日" in told[0]
    assert number not in told[0]
    assert number in (await texts(chat, "1月2日"))[0]
    assert number in (await texts(chat, "会员"))[0]


async def test_who_texts_now_and_then_is_not_doubted(chat):
    """A text within the half year shows that the number is still theirs."""
    await named(chat, "p1")
    for _ in range(3):
        await chat.harness.advance(100 * 86400)
        assert "会员卡号" in (await texts(chat, "会员"))[0]
