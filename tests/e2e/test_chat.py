"""Conversations through a running gateway: Messenger on one side, texts on the other."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from bot import subjects
from bot.records import Buyer, Link
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.e2e.texting import BUYER, Sms
from tests.gateway import running


@pytest.fixture
async def chat(valkey, redis_client, tmp_path):
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as harness:
        yield Sms(harness, twilio, None)


async def ask(chat, psid: str, text: str, payload: str = "") -> list[str]:
    """What is said in answer to one message."""
    graph = chat.harness.graph
    before = len(graph.texts(psid))
    await chat.harness.say(psid, text, payload=payload)
    await chat.harness.said(psid, before + 1)
    await chat.harness.idle()
    return graph.texts(psid)[before:]


async def buyer(chat, psid: str) -> Buyer:
    """The record where the conversation lives, through its link."""
    subject = subjects.address("messenger-main", psid)
    await chat.harness.idle()
    store = chat.harness.gateway.store
    for _ in range(4):
        record = (await store.records({subject}))[subject]
        if not isinstance(record, Link):
            break
        subject = record.home
    assert isinstance(record, Buyer)
    return record


async def code(chat) -> str:
    """The digits of the newest code text."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for form in reversed(chat.twilio.forms):
            if found := re.search(r"\d{6}", form["Body"]):
                return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("no code was sent")


async def join(chat, psid: str) -> list[str]:
    """From 会员 to the card."""
    await ask(chat, psid, "会员")
    await ask(chat, psid, "13900001234")
    return await ask(chat, psid, await code(chat))


async def test_a_card_is_opened_with_the_phones_proof(chat):
    """会员, a bad number, the number, a wrong code, the code: the card at once, its picture, then the first question."""
    assert "手机号" in (await ask(chat, "p1", "会员"))[0]
    assert "看着不对" in (await ask(chat, "p1", "一二三"))[0]
    assert "1234" in (await ask(chat, "p1", "13900001234"))[0]
    wrong = "000000" if await code(chat) != "000000" else "111111"
    assert "数字不对" in (await ask(chat, "p1", wrong))[0]
    said = await ask(chat, "p1", await code(chat))
    found = await buyer(chat, "p1")
    assert found.member is not None
    assert found.phones == [BUYER]
    assert "会员卡已开通" in said[0]
    said = await ask(chat, "p1", "会员")
    assert any("会员卡号" in text for text in said)


async def test_chat_and_texts_become_one_buyer(chat):
    """Who wrote by SMS first and joins in Messenger is one record with both addresses and one card."""
    await chat.say("你好")
    await chat.said(1)
    await ask(chat, "p1", "会员")
    await ask(chat, "p1", "13900001234")
    await ask(chat, "p1", await code(chat))
    found = await buyer(chat, "p1")
    assert {address.account for address in found.addresses} == {"messenger-main", "sms-main"}
    assert found.member is not None
    assert (await chat.harness.gateway.store.records({f"phone:{BUYER}"})) != {}


async def test_a_keyword_interrupts_and_the_question_still_stands(chat):
    """Orders are answered in the middle of the questions, and the next text is the answer that was asked for."""
    await join(chat, "p1")
    assert "订单" in (await ask(chat, "p1", "订单"))[0]
    await ask(chat, "p1", "小满")
    assert (await buyer(chat, "p1")).name == "小满"


async def test_an_interrupting_dialog_gives_way_again(chat):
    """Leaving the club is asked in the middle of the name, declined, and the name is asked again and taken."""
    await join(chat, "p1")
    assert "确定" in (await ask(chat, "p1", "注销会员"))[0]
    said = await ask(chat, "p1", "不注销", ".stay")
    assert "会员卡还在" in said[0]
    await chat.harness.said("p1", len(chat.harness.graph.texts("p1")))
    found = await buyer(chat, "p1")
    address = found.address("messenger-main", "p1")
    assert address is not None
    assert address.dialog.state == "profile.name"
    await ask(chat, "p1", "小满")
    assert (await buyer(chat, "p1")).name == "小满"


async def test_an_old_yes_neither_leaves_the_club_nor_consents(chat):
    """A tap on another question's button is not an answer to this one."""
    await join(chat, "p1")
    await ask(chat, "p1", "注销会员")
    await ask(chat, "p1", "同意", ".yes")
    assert (await buyer(chat, "p1")).member is not None


async def test_leaving_the_club_takes_the_card_and_what_it_held(chat):
    """After a clear yes there is no card, no birthday and no marketing."""
    await join(chat, "p1")
    await ask(chat, "p1", "注销会员")
    assert "已注销" in (await ask(chat, "p1", "1"))[0]
    found = await buyer(chat, "p1")
    assert found.member is None
    assert all(address.consent.marketing != "granted" for address in found.addresses)


async def test_the_second_miss_opens_one_task(chat):
    """Not understood twice in a row: people are told, once; a understood word in between starts anew."""
    await ask(chat, "p1", "呜啦啦")
    await ask(chat, "p1", "帮助")
    await ask(chat, "p1", "呜啦啦")
    assert (await buyer(chat, "p1")).tasks == {}
    await ask(chat, "p1", "哈啦啦")
    await ask(chat, "p1", "嘿啦啦")
    assert list((await buyer(chat, "p1")).tasks) == ["handover"]


async def test_an_opt_out_counts_everywhere_and_is_confirmed_once(chat):
    """退订 in the chat stops marketing on the phone too."""
    await chat.say("你好")
    await chat.said(1)
    await join(chat, "p1")
    assert "已停发" in (await ask(chat, "p1", "退订"))[0]
    found = await buyer(chat, "p1")
    assert len(found.addresses) == 2
    assert all(address.opted_out for address in found.addresses)
    before = len(chat.harness.graph.texts("p1"))
    await chat.harness.say("p1", "退订")
    await chat.harness.idle()
    assert len(chat.harness.graph.texts("p1")) == before


async def test_the_locale_follows_the_buyer(chat):
    """Traditional characters, then English, then simplified; a Latin name in a dialog changes nothing."""
    assert "會員" in (await ask(chat, "p1", "幫助"))[0] or "卡" in chat.harness.graph.texts("p1")[0]
    assert (await buyer(chat, "p1")).locale == "zh-TW"
    assert "Reply 1" in (await ask(chat, "p1", "help"))[0]
    assert "回复" in (await ask(chat, "p1", "帮助"))[0]
    await join(chat, "p2")
    await ask(chat, "p2", "Amy")
    found = await buyer(chat, "p2")
    assert (found.name, found.locale) == ("Amy", "zh-CN")


async def test_own_data_are_told_with_the_number_masked(chat):
    """我的信息 names what is held; the phone is never shown whole."""
    await join(chat, "p1")
    told = (await ask(chat, "p1", "我的信息"))[0]
    assert "1234" in told
    assert "13900001234" not in told


async def test_staff_who_write_are_not_talked_over(chat):
    """After an echo of staff the bot is silent for 15 minutes, but a stop word is heard."""
    await ask(chat, "p1", "你好")
    echo = {
        "sender": {"id": "1234567890"},
        "recipient": {"id": "p1"},
        "timestamp": int(time.time() * 1000),
        "message": {"mid": "m_staff1", "is_echo": True, "text": "我来看看", "app_id": 263902037430900},
    }
    assert (await chat.harness.post_messenger(echo))[0] == 200
    await chat.harness.idle()
    before = len(chat.harness.graph.texts("p1"))
    await chat.harness.say("p1", "帮助")
    await chat.harness.idle()
    assert len(chat.harness.graph.texts("p1")) == before
    assert "已停发" in (await ask(chat, "p1", "退订"))[0]
    await chat.harness.advance(15 * 60 + 5)
    assert "回复 1" in (await ask(chat, "p1", "帮助"))[0]
