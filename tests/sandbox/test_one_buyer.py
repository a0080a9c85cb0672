"""One buyer with three phones of the sandbox: WeChat, Messenger and SMS lead to one record and one card."""

from __future__ import annotations

import re

import pytest

from bot import subjects
from tests.sandbox.running import IDS

CARD = re.compile(r"\d{4} \d{4} \d{4}")
CHATS = ("wechat-main", "messenger-main")


async def answer(sandbox, account: str, words: str, told: str) -> str:
    """Says something and waits for the bubble that holds the expected words."""
    before = [bubble["text"] for bubble in await sandbox.messages(account) if told in str(bubble.get("text", ""))]
    await sandbox.say(account, text=words)
    for _ in range(160):
        found = [b["text"] for b in await sandbox.messages(account) if told in str(b.get("text", ""))]
        if len(found) > len(before):
            await sandbox.idle()
            return found[-1]
        await sandbox.idle()
    raise AssertionError([b.get("text") for b in await sandbox.messages(account)])


async def by_text(sandbox) -> str:
    """The card by SMS, where the number proves itself."""
    await answer(sandbox, "sms-main", "会员", "用这个号码办会员卡")
    return CARD.search(await answer(sandbox, "sms-main", "1", "会员卡已开通"))[0]


async def by_chat(sandbox, account: str, told: str) -> str:
    """The card in a chat: the number, and the code that came by SMS."""
    await answer(sandbox, account, "会员", "请发手机号")
    await answer(sandbox, account, IDS["sms-main"], "6 位数字")
    texts = [b["text"] for b in await sandbox.messages("sms-main") if "验证码" in str(b.get("text", ""))]
    code = re.search(r"\d{6}", texts[-1])[0]
    return CARD.search(await answer(sandbox, account, code, told))[0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", ["sms-main", *CHATS])
async def test_three_channels_one_card(sandbox, first):
    """Whichever comes first: the others show the same card, and the record has all addresses once."""
    seen = []
    for account in (first, *(a for a in ("sms-main", *CHATS) if a != first)):
        told = "会员卡号" if seen else "会员卡已开通"
        if account != "sms-main":
            seen.append(await by_chat(sandbox, account, told))
        elif seen:
            seen.append(CARD.search(await answer(sandbox, account, "会员", told))[0])
        else:
            seen.append(await by_text(sandbox))
    assert len(set(seen)) == 1
    await sandbox.idle()
    store = sandbox.gateway.store
    homes = [
        await store.resolve(subjects.home(subjects.address(account, IDS[account]))) for account in ("sms-main", *CHATS)
    ]
    assert len({record.id for record in homes}) == 1
    buyer = homes[0]
    assert buyer.phones == [IDS["sms-main"]]
    held = sorted((a.account, a.id) for a in buyer.addresses)
    assert held == sorted((account, IDS[account]) for account in (*CHATS, "sms-main", "sms-cn"))
    assert [coupon.campaign for coupon in buyer.coupons] == ["WELCOME"]
