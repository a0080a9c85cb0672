"""Subscription notices through a running gateway: the buyer allows single ones, WeChat tells of it, notices take them."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot import ids, keys
from bot.journal import load_turn
from pages.show import plain
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer
from tests.channels.twilio.peer import account as twilio_account
from tests.channels.wechat.peer import WeChatPeer, account
from tests.e2e.wechat import WeChat
from tests.gateway import rfc, running

ONE, TWO = "oFAKEbuyer0001", "oFAKEbuyer0002"
PHONE = "+8613900001234"
SHIPPED, REVIEW = "tplSHIPPED", "tplREVIEW"
NOTICES = f"""
[notices.order_shipped.wechat-main]
kind = "subscription"
template_id = "{SHIPPED}"
fields = {{ thing1 = "{{{{ item|short(others) }}}}", character_string2 = "{{{{ tracking }}}}" }}

[notices.review_invite.wechat-main]
kind = "subscription"
template_id = "{REVIEW}"
fields = {{ thing1 = "{{{{ item|short(others) }}}}" }}
"""


class Leaves(WeChat):
    """WeChat, where buyers tap."""

    async def answer(self, openid: str, template: str, said: str, *, at: int = 0, event: str = "popup") -> None:
        """The buyer's yes or no as WeChat pushes it; a yes is good for one at WeChat, too."""
        inner = (
            f"<SubscribeMsgPopupEvent><List><TemplateId>{template}</TemplateId><SubscribeStatusString>{said}"
            "</SubscribeStatusString><PopupScene>1</PopupScene></List></SubscribeMsgPopupEvent>"
        )
        await self.event(openid, f"subscribe_msg_{event}_event", created=at, inner=inner)

    async def allow(self, openid: str, template: str = SHIPPED, *, times: int = 1) -> None:
        """Taps, a second after one another as people do."""
        now = int(time.time()) - 100
        for number in range(times):
            self.peer.leave[openid, template] += 1
            await self.answer(openid, template, "accept", at=now + number)
        await self.quiet()

    async def result(self, openid: str, id: int, *, code: int = 0, template: str = SHIPPED) -> None:
        inner = (
            f"<SubscribeMsgSentEvent><List><TemplateId>{template}</TemplateId><MsgID>{id}</MsgID>"
            f"<ErrorCode>{code}</ErrorCode><ErrorStatus>x</ErrorStatus></List></SubscribeMsgSentEvent>"
        )
        await self.event(openid, "subscribe_msg_sent_event", inner=inner)
        await self.quiet()

    async def left(self, openid: str, template: str = SHIPPED) -> int:
        grant = (await self.address(openid)).grants.get(template)
        return len(grant.given) if grant is not None else 0

    def noticed(self, openid: str = ONE) -> list[str]:
        """Tracking numbers of the notices that WeChat took."""
        return [
            body["data"]["character_string2"]["value"]
            for body in self.peer.sent
            if body.get("template_id") == SHIPPED and body["touser"] == openid
        ]

    def texted(self, words: str) -> int:
        return sum(words in form["Body"] for form in self.twilio.forms)


@pytest.fixture
async def wechat(valkey, redis_client, tmp_path):
    peer, twilio = WeChatPeer(), TwilioPeer()
    async with provider(peer) as (base, _), provider(twilio) as (twilio_base, _):
        extra = account(base) + twilio_account(twilio_base) + NOTICES
        async with running(valkey, tmp_path, extra=extra) as harness:
            yield Leaves(harness, peer, twilio)


async def test_each_tap_is_good_for_one_notice_then_it_goes_by_text(wechat):
    """Two taps, told twice by WeChat: two notices of three; the third by SMS, since its number is known."""
    now = int(time.time()) - 50
    wechat.peer.leave[ONE, SHIPPED] = 5  # what WeChat would let through: here no more is used than was told
    for at in (now, now, now + 1, now + 1):
        await wechat.answer(ONE, SHIPPED, "accept", at=at)
    await wechat.quiet()
    assert await wechat.left(ONE) == 2
    for number in ("11", "12", "13"):
        await wechat.shipped(number, ONE, phone=PHONE)
    assert wechat.noticed() == ["SF11", "SF12"]
    assert await wechat.left(ONE) == 0
    assert wechat.texted("SF13") == 1
    await wechat.ended(
        "order_shipped",
        ("wechat-main", "sent", ""), ("wechat-main", "sent", ""), ("sms-main", "sent", ""),
    )  # fmt: skip


async def test_in_the_window_the_chat_is_used_and_nothing_is_taken(wechat):
    """What the chat can carry costs no leave; without leave, window and number it is skipped, and staff read why."""
    await wechat.allow(ONE)
    await wechat.ask(ONE, "你好")
    await wechat.shipped("1", ONE)
    assert "已发出" in wechat.peer.texts(ONE)[-1]
    assert (await wechat.left(ONE), wechat.noticed()) == (1, [])
    await wechat.event(TWO, "subscribe", created=int(time.time()) - 120)
    await wechat.shipped("2", TWO)
    await wechat.ended("order_shipped", ("wechat-main", "sent", ""), ("", "skipped", "window_closed"))
    found = await wechat.harness.gateway.queries.decisions(lambda one: one.outcome == "skip", after=0, limit=5)
    assert "grant" in {rule.rule for one in found for rule in one.rules if rule.verdict == "deny"}


async def test_a_no_ends_what_was_allowed(wechat):
    """In the dialog or in WeChat's settings, in either wrapper; also for a notice that is already on its way."""
    await wechat.allow(ONE, times=2)
    await wechat.answer(ONE, SHIPPED, "reject", event="change")
    await wechat.quiet()
    await wechat.shipped("1", ONE)
    assert (await wechat.left(ONE), wechat.noticed()) == (0, [])
    assert (await wechat.address(ONE)).grants[SHIPPED].verdict == "refused"
    await wechat.allow(TWO)
    line = wechat.harness.gateway.lines["wechat-main"]
    line.pause(1.5)  # the notice is planned and waits; the no overtakes it
    order = asyncio.create_task(wechat.shipped("2", TWO))
    await wechat.harness.waiting("wechat-main")
    await wechat.answer(TWO, SHIPPED, "reject")
    await order
    await wechat.ended(
        "order_shipped", ("", "skipped", "window_closed"), ("wechat-main", "skipped", "window_closed"),
    )  # fmt: skip
    assert (await wechat.left(TWO), wechat.noticed(TWO)) == (0, [])


async def test_results_find_their_messages(wechat):
    """The answer names no id: results belong to the notices in their order; a repeated result moves no second one."""
    await wechat.allow(ONE, times=3)
    for number in ("1", "2", "3"):
        await wechat.shipped(number, ONE)
    await wechat.result(ONE, 1800000000000000001)
    await wechat.result(ONE, 1800000000000000001)
    await wechat.result(ONE, 1800000000000000002, code=43116)
    assert await wechat.rows("order_shipped") == [
        ("wechat-main", "delivered", ""), ("wechat-main", "failed", "rejected:43116"), ("wechat-main", "sent", ""),
    ]  # fmt: skip
    assert len((await wechat.address(ONE)).grants[SHIPPED].out) == 1


async def test_a_result_is_never_that_of_a_notice_that_waits(wechat):
    """The first one was given back to the queue: the result is the second's, which was handed over."""
    await wechat.allow(ONE, times=2)
    for number in ("1", "2"):
        await wechat.shipped(number, ONE)
    first, second = (await wechat.address(ONE)).grants[SHIPPED].out
    client, partition = wechat.harness.gateway.store.client, ids.partition_in(first)
    await client.hset(keys.message(partition, first), "s", "queued")
    await wechat.result(ONE, 1800000000000000001)
    states = [await client.hget(keys.message(partition, one), "s") for one in (first, second)]
    assert states == [b"queued", b"delivered"]


async def test_where_answers_name_an_id_results_may_come_in_any_order(wechat):
    """The id counts before the order."""
    wechat.peer.names_notices = True
    await wechat.allow(ONE, times=2)
    for number in ("1", "2"):
        await wechat.shipped(number, ONE)
    sent = [place for place, body in enumerate(wechat.peer.sent, 1) if body.get("template_id") == SHIPPED]
    await wechat.result(ONE, 3_300_000_000_000_000_000 + sent[1], code=43116)
    await wechat.result(ONE, 3_300_000_000_000_000_000 + sent[0])
    assert await wechat.rows("order_shipped") == [
        ("wechat-main", "delivered", ""), ("wechat-main", "failed", "rejected:43116"),
    ]  # fmt: skip
    assert (await wechat.address(ONE)).grants[SHIPPED].out == []


async def test_what_certainly_did_not_go_gives_its_leave_back(wechat):
    """Refused for its content: good for the next one. WeChat knows of none: nothing is left, and the next goes another way."""
    await wechat.allow(ONE)
    wechat.peer.answers = [(47003, "argument invalid! data.thing1.value invalid rid: 1-2-3")]
    await wechat.shipped("1", ONE)
    assert await wechat.left(ONE) == 1
    await wechat.shipped("2", ONE)
    assert wechat.noticed() == ["SF2"]
    await wechat.allow(TWO, times=2)
    wechat.peer.leave[TWO, SHIPPED] = 0
    await wechat.shipped("3", TWO, phone=PHONE)
    assert await wechat.left(TWO) == 0
    await wechat.shipped("4", TWO, phone=PHONE)
    assert (wechat.texted("SF3"), wechat.texted("SF4")) == (0, 1)
    assert ("wechat-main", "failed", "rejected:43101") in await wechat.rows("order_shipped")


async def test_one_in_doubt_is_never_sent_again(wechat):
    """No answer: a second call would take the leave that was given for another notice. The result settles it."""
    await wechat.allow(ONE, times=2)
    wechat.peer.answers = ["drop"]
    await wechat.shipped("1", ONE)
    await wechat.ended("order_shipped", ("wechat-main", "in_doubt", "no_answer"))
    client = wechat.harness.gateway.store.client
    assert [name async for name in client.scan_iter("later:*")] == []
    await wechat.harness.advance(120)
    assert (wechat.noticed(), await wechat.left(ONE)) == (["SF1"], 1)
    await wechat.result(ONE, 1800000000000000009)
    await wechat.ended("order_shipped", ("wechat-main", "delivered", ""))


async def test_a_busy_wechat_costs_no_second_leave(wechat):
    """Tried again with the one that it has; nothing was accepted before."""
    await wechat.allow(ONE)
    wechat.peer.answers = [-1]
    await wechat.shipped("1", ONE)
    end = time.monotonic() + 10
    while not wechat.noticed() and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await wechat.ended("order_shipped", ("wechat-main", "sent", ""))
    assert (wechat.noticed(), await wechat.left(ONE)) == (["SF1"], 0)


async def test_leave_is_kept_as_evidence(wechat):
    """When, where and for what is in the buyer's record, in what they may download, and in the journal as answers of their own."""
    await wechat.allow(ONE)
    await wechat.answer(ONE, REVIEW, "reject")
    await wechat.quiet()
    found = await wechat.buyer(ONE)
    grant = found.addresses[0].grants[SHIPPED]
    assert (grant.verdict, grant.source, grant.given) == ("granted", "page", [grant.at])
    assert plain(found)["addresses"][0]["grants"][SHIPPED]["given"] == [grant.at]
    client, told = wechat.harness.gateway.store.client, []
    async for name in client.scan_iter("journal:*"):
        for _, fields in await client.xrange(name):
            if fields[b"k"] == b"turn":
                told += load_turn(fields[b"b"]).consents
    assert [(one.topic, one.verdict, one.source) for one in sorted(told, key=lambda one: one.at)] == [
        (f"notice:{SHIPPED}", "granted", "wechat-main:page"),
        (f"notice:{REVIEW}", "refused", "wechat-main:page"),
    ]


async def test_a_review_invitation_needs_marketing_consent_besides(wechat):
    """Three days after delivery the window is shut: who agreed to marketing and allowed one is asked; who only allowed one is not."""
    for openid, number, words in ((ONE, "1", "恢复"), (TWO, "2", "你好")):
        await wechat.ask(openid, words)
        await wechat.allow(openid, REVIEW)
        parcel = {"id": f"s{number}", "carrier": "sf", "tracking_no": f"SF{number}", "state": "delivered"}
        parcel["scan_at"] = rfc(time.time())
        await wechat.order("shipment.updated", number, openid, shipment=parcel)
    await wechat.harness.advance(3 * 86400 + 60)
    await wechat.ended("review_invite", ("wechat-main", "sent", ""), ("", "skipped", "no_consent"))
    assert [body["touser"] for body in wechat.peer.sent if body.get("template_id") == REVIEW] == [ONE]
    assert (await wechat.left(ONE, REVIEW), await wechat.left(TWO, REVIEW)) == (0, 1)


async def test_somebody_unknown_who_allows_one_is_reached_without_following(wechat):
    """A reader of an article: their yes makes the record; a no of nobody makes none."""
    await wechat.answer("oStranger", SHIPPED, "reject")
    await wechat.quiet()
    subject = "address:wechat-main:oStranger"
    assert subject not in await wechat.harness.gateway.store.records({subject})
    await wechat.allow("oStranger")
    await wechat.shipped("1", "oStranger")
    assert wechat.noticed("oStranger") == ["SF1"]
