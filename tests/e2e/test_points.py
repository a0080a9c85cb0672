"""Points and levels through a running gateway: shop events in, notices, cards and coupons out."""

from __future__ import annotations

import itertools
import time
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.access import create_token
from bot.codec import dump_entry
from bot.events import Event, StaffAsked
from bot.records import Buyer
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.console.test_api import Api
from tests.e2e.test_chat import ask, buyer, join
from tests.e2e.test_club import campaign
from tests.e2e.test_imports import imports, row
from tests.e2e.texting import BUYER, Sms
from tests.gateway import rfc, running
from tests.shops.events import PAID

CLUB = """
[club]
points_per = "1"
within_months = 12
[[club.levels]]
key = "silver"
spend = 300
names = { zh-CN = "银卡会员", en = "Silver" }
rights = { zh-CN = "生日月双倍积分" }
gift = "SILVER"
[[club.levels]]
key = "gold"
spend = 1000
names = { zh-CN = "金卡会员", en = "Gold" }
"""
DAY = 86400
_serial = itertools.count(1)
person = {"phones": [BUYER]}


def order(id: str, total: str = "188.00", currency: str = "CNY", **more) -> dict:
    money = {"amount": total, "currency": currency}
    facts = {**PAID, "id": id, "number": f"#{id}", "total": money, "placed_at": rfc(time.time())}
    return {"order": {**facts, "paid_at": rfc(time.time()), **more}, "buyer": person}


def refund(id: str, amount: str, case: str = "r1", **more) -> dict:
    money = {"amount": amount, "currency": "CNY"}
    return {"order": {"id": id}, "refund": {"id": case, "amount": money, "kind": "refund_only", **more}}


async def tell(gw, kind: str, data: dict, *, at: float | None = None, id: str = "") -> None:
    status, body = await gw.shop(kind, id or f"evt{next(_serial)}", data, at=at)
    assert status == 200, body


async def bought(gw, id: str, total: str = "188.00", **more) -> None:
    """Paid and completed."""
    await tell(gw, "order.paid", order(id, total, **more))
    await tell(gw, "order.completed", order(id, total, **more))
    await gw.idle()


@pytest.fixture
async def chat(valkey, redis_client, tmp_path):
    """A club that counts, a member of Messenger whose number is proved, long enough ago."""
    twilio = TwilioPeer()
    async with (
        provider(twilio) as (base, _),
        running(valkey, tmp_path, extra=account(base) + CLUB, ledger=True) as harness,
    ):
        found = Sms(harness, twilio, None)
        await join(found, "p1")
        await harness.advance(2)
        found.api = Api(harness, await create_token(harness.gateway.store, "till", "owner"))
        yield found


async def card(chat) -> Buyer:
    found = await buyer(chat, "p1")
    assert found.member is not None
    return found


async def lines(chat, kind: str) -> list[str]:
    """What the timeline says, oldest first."""
    await chat.harness.projected()
    _, found = await chat.api("GET", f"/buyers/{(await card(chat)).id}/timeline?limit=200")
    return [one["summary"] for one in reversed(found["items"]) if one["kind"] == kind]


async def skipped(chat) -> list[dict]:
    """The decisions that nothing was to be said."""
    found = (await chat.api("GET", f"/decisions?buyer={(await card(chat)).id}&outcome=skip"))[1]["items"]
    return [one for one in found if "order_completed" in one["source"]]


def told(chat, words: str = "积分已到账") -> list[str]:
    everything = [*chat.harness.graph.texts("p1"), *(form["Body"] for form in chat.twilio.forms)]
    return [text for text in everything if words in text]


async def test_a_completed_order_brings_points_and_they_are_told_once(chat):
    """Paid and completed, each told three times: 188 points, one notice; the card in chat, the API and the timeline say so."""
    for again in range(3):
        await tell(chat.harness, "order.paid", order("8801"), id=f"p{again}")
        await tell(chat.harness, "order.completed", order("8801"), id=f"c{again}")
        await tell(chat.harness, "order.completed", order("8801"), id="c0")
    await chat.harness.idle()
    assert (await card(chat)).member.points == 188
    assert told(chat) == ["亚麻衬衫的订单已完成，188 积分已到账，现有 188 积分。"]
    shown = (await ask(chat, "p1", "会员"))[0]
    assert "普通会员，188 积分" in shown
    assert "积分 188" in (await ask(chat, "p1", "我的信息"))[0]
    assert await lines(chat, "points") == ["+188 points, order #8801"]
    _, found = await chat.api("GET", f"/buyers/{(await card(chat)).id}")
    assert (found["member"]["level"], found["member"]["points"]) == ("basic", 188)
    segment = {"where": {"all": [{"field": "member.points", "op": ">=", "value": 188}]}}
    assert (await chat.api("POST", "/segments/preview", segment))[1]["count"] == 1


async def test_outside_the_chat_window_no_text_message_says_so(chat):
    """The points are there; a text would cost more than the news is worth, though the number is known."""
    await chat.harness.advance(2 * DAY)
    await tell(chat.harness, "order.paid", order("8801"))
    await tell(chat.harness, "order.completed", order("8801"))
    await chat.harness.idle()
    assert (await card(chat)).member.points == 188
    assert told(chat) == []
    assert told(chat, "付款")  # that one was worth a text
    await chat.harness.projected()
    _, found = await chat.api("GET", f"/decisions?buyer={(await card(chat)).id}&limit=200")
    assert "window_closed" in {one["reason"] for one in found["items"]}


async def test_what_counts_is_paid_completed_kept_and_since_the_card(chat):
    """Each alone brings nothing; nor what went back before, a cancelled order, another currency, or one of before the card."""
    gw = chat.harness
    await tell(gw, "order.paid", order("1"))
    await tell(gw, "order.completed", order("2", pay_state="unpaid"))
    await gw.idle()
    assert (await card(chat)).member.points == 0
    await tell(gw, "order.completed", {"order": {"id": "1"}})
    await tell(gw, "order.paid", order("2"))
    await gw.idle()
    assert (await card(chat)).member.points == 376
    await tell(gw, "order.cancelled", order("1"))
    await gw.idle()
    assert (await card(chat)).member.points == 188
    for id, amount in (("3", "88.00"), ("4", "188.00")):
        await tell(gw, "order.paid", order(id))
        await tell(gw, "refund.succeeded", refund(id, amount))
        await tell(gw, "order.completed", order(id))
    await bought(gw, "5", currency="USD")
    await tell(gw, "order.paid", order("6"))
    await tell(gw, "order.completed", order("6"), at=time.time() - DAY)
    await gw.idle()
    assert (await card(chat)).member.points == 288
    await tell(gw, "order.paid", order("7", placed_at=rfc(time.time() - 9 * DAY)), at=time.time() - DAY)
    await tell(gw, "order.completed", order("7"))
    await gw.idle()
    assert (await card(chat)).member.points == 476
    assert len(told(chat, "订单已完成")) == 4  # 1, 2, 3 and 7
    await tell(gw, "refund.requested", refund("7", "9.00"))
    await bought(gw, "8")  # while a refund is open nobody is congratulated; the points are in all the same
    assert (await card(chat)).member.points == 664
    assert len(told(chat, "订单已完成")) == 4
    assert [m["reason"] for m in await skipped(chat)] == ["case_open"]
    assert [line for line in await lines(chat, "points") if line.startswith("none")] == [
        "none for order #5: it was paid in USD, the club counts CNY", "none for order #6: completed before the card",
    ]  # fmt: skip


async def test_a_level_is_reached_with_its_words_and_its_gift(chat):
    """188 and 188 make silver: told in the notice of the second, named on the card with its rights; its coupon comes once."""
    await chat.harness.gateway.campaigns.create(campaign("SILVER", valid_days=365))
    # It comes with the level, and no other way: neither offered nor claimed, in chat or on the page.
    await ask(chat, "p1", "优惠券")
    assert "SILVER" not in str(chat.harness.graph.sent[-1])
    assert "没有找到" in (await ask(chat, "p1", "领 SILVER"))[0]
    now = chat.harness.gateway.clock.now()
    claimed = StaffAsked("page_claim", "page", b'{"campaign": "SILVER"}')
    home = (await card(chat)).home
    await chat.harness.gateway.appender.append([dump_entry(Event("", home, "page", now, now, claimed))])
    await chat.harness.idle()
    assert (await card(chat)).coupons == []
    await ask(chat, "p1", "恢复")
    await bought(chat.harness, "1")
    await bought(chat.harness, "2")
    found = await card(chat)
    assert (found.member.level, found.member.points) == ("silver", 376)
    assert told(chat)[-1].endswith("现有 376 积分。您现在是银卡会员，回复“会员”看权益。")
    assert [one.campaign for one in found.coupons] == ["SILVER"]
    gift = told(chat, "银卡会员的礼物")
    assert len(gift) == 1
    assert found.coupons[0].code in gift[0]
    shown = (await ask(chat, "p1", "会员"))[0]
    assert "银卡会员，376 积分" in shown
    assert "您的权益：生日月双倍积分。" in shown
    assert await lines(chat, "level") == ["basic to silver", "gift SILVER for silver"]
    assert told(chat, "订单已完成")[0].endswith("188 积分。")
    # It falls with a refund, and is reached again: nothing is given twice.
    await tell(chat.harness, "refund.succeeded", refund("2", "188.00"))
    await chat.harness.idle()
    assert (await card(chat)).member.level == "basic"
    await bought(chat.harness, "3")
    assert (await card(chat)).member.level == "silver"
    assert len(told(chat, "银卡会员的礼物")) == len((await card(chat)).coupons) == 1
    # Nor long after, when what was said is forgotten and the coupon still works.
    await tell(chat.harness, "refund.succeeded", refund("3", "188.00"))
    await chat.harness.advance(61 * DAY)
    await tell(chat.harness, "order.paid", order("4"))
    await tell(chat.harness, "order.completed", order("4"))
    await chat.harness.idle()
    assert (await card(chat)).member.level == "silver"
    decided = (await chat.api("GET", f"/decisions?buyer={(await card(chat)).id}&limit=200"))[1]["items"]
    assert sum("level_gift" in one["source"] for one in decided) == 1
    # Who did not agree has the coupon all the same, and hears nothing of it: gold at once passes by silver.
    other = "+8613900005555"
    await imports(chat.harness, row(other, joined_at=int((time.time() - DAY) * 1000)))
    data = order("9", "1000.00") | {"buyer": {"phones": [other]}}
    await tell(chat.harness, "order.paid", data)
    await tell(chat.harness, "order.completed", data)
    await chat.harness.idle()
    found = await chat.harness.gateway.queries.buyer_by_phone(other)
    assert (found.member.level, [one.campaign for one in found.coupons]) == ("gold", ["SILVER"])
    assert len(told(chat, "礼物")) == 1


async def test_refunds_take_back_their_share_and_no_more(chat):
    """Parts of one order, each told twice; one that is rejected; an exchange; the rest at last: never below nothing."""
    await bought(chat.harness, "1", "188.00")
    for case, amount, state, points in (
        ("a", "50.50", "succeeded", 137),  # 137.50 is kept
        ("a", "50.50", "succeeded", 137),
        ("b", "60.00", "requested", 137),
        ("b", "60.00", "rejected", 137),
        ("c", "30.00", "succeeded", 107),
        ("d", "188.00", "succeeded", 0),
    ):
        await tell(chat.harness, f"refund.{state}", refund("1", amount, case))
        await chat.harness.idle()
        assert (await card(chat)).member.points == points, case
    await bought(chat.harness, "2", "100.00")
    await tell(chat.harness, "refund.succeeded", refund("2", "100.00", kind="exchange"))
    await chat.harness.idle()
    assert (await card(chat)).member.points == 100
    assert await lines(chat, "points") == [
        "+188 points, order #1", "-51 points, order #1", "-30 points, order #1", "-107 points, order #1", "+100 points, order #2",
    ]  # fmt: skip


async def test_an_order_that_nobody_calls_complete_counts_after_its_days(chat):
    """Delivered, and 15 days later: then, and by the shop's word afterwards not again. Cash at the door is money, too."""
    gw = chat.harness
    parcel = {"id": "s1", "carrier": "SF", "tracking_no": "SF1", "state": "delivered", "scan_at": rfc(time.time())}
    await tell(gw, "order.created", order("1", pay_state="unpaid", cod=True))
    await tell(gw, "shipment.updated", {"order": {"id": "1"}, "shipment": parcel})
    await gw.advance(15 * DAY - 60)
    assert (await card(chat)).member.points == 0
    await gw.advance(120)
    assert (await card(chat)).member.points == 188
    await tell(gw, "order.completed", order("1"))
    await gw.idle()
    assert (await card(chat)).member.points == 188


async def test_where_the_shops_own_club_speaks_nothing_is_counted_here(chat):
    """From its first word on: what it says stands, whatever is completed or goes back."""
    await bought(chat.harness, "1")
    person_ = {"ref": "701", "phones": [BUYER]}
    await tell(chat.harness, "member.points_changed", {"buyer": person_, "member": {"tier": "vip", "points": 5}})
    await chat.harness.idle()
    await bought(chat.harness, "2", "1000.00")
    await tell(chat.harness, "refund.succeeded", refund("1", "188.00"))
    await chat.harness.idle()
    found = await card(chat)
    assert (found.member.level, found.member.points) == ("vip", 5)
    assert len(told(chat, "订单已完成")) == 1


async def test_an_imported_level_is_the_least_and_spending_goes_on_from_it(valkey, redis_client, tmp_path):
    """Gold stays gold with little spent; a name of a level is as good as its key; an unknown one stays as it was told."""
    async with running(valkey, tmp_path, extra=CLUB) as gw:
        long_ago = int((time.time() - 400 * DAY) * 1000)
        levels = {"+8613900000001": "金卡会员", "+8613900000002": "VIP8", "+8613900000003": "basic"}
        await imports(gw, *(row(phone, level=level, points=70, joined_at=long_ago) for phone, level in levels.items()))
        for n, phone in enumerate(levels):
            data = order(str(n), "300.00")
            await tell(gw, "order.paid", data | {"buyer": {"phones": [phone]}})
            await tell(gw, "order.completed", data | {"buyer": {"phones": [phone]}})
        await gw.idle()
        found = [await gw.gateway.queries.buyer_by_phone(phone) for phone in levels]
        assert [one.member.level for one in found] == ["gold", "VIP8", "silver"]
        assert {one.member.points for one in found} == {370}
        # A later import wins as it stands, and what is bought after it adds to it.
        last = "+8613900000003"
        await imports(gw, row(last, level="gold", points=5, joined_at=long_ago))
        data = order("9", "10.00") | {"buyer": {"phones": [last]}}
        await tell(gw, "order.paid", data)
        await tell(gw, "order.completed", data)
        await gw.idle()
        card_ = (await gw.gateway.queries.buyer_by_phone(last)).member
        assert (card_.level, card_.points) == ("gold", 15)


async def test_a_level_falls_when_its_months_are_over(chat):
    """Silver by spending in one month: in the month after the twelfth it is gone by itself, the points are not."""
    await bought(chat.harness, "1", "300.00")
    assert (await card(chat)).member.level == "silver"
    assert told(chat, "礼物") == []
    await chat.harness.advance(330 * DAY)
    assert (await card(chat)).member.level == "silver"
    await chat.harness.advance(66 * DAY)
    found = await card(chat)
    assert (found.member.level, found.member.points) == ("basic", 300)
    assert await lines(chat, "level") == ["basic to silver", "no gift SILVER for silver: unknown", "silver to basic"]


async def test_two_buyers_who_are_one_add_up(chat):
    """Two cards: points and spend together, which make a level. What came before the card of whom it was counts then, too."""
    gw = chat.harness
    other, third = "+8613900009999", "+8613900008888"
    long_ago = int((time.time() - DAY) * 1000)
    await imports(gw, row(other, joined_at=long_ago))
    await bought(gw, "1")
    for phone, id in ((other, "2"), (third, "3")):
        data = order(id) | {"buyer": {"phones": [phone]}}
        await tell(gw, "order.paid", data)
        await tell(gw, "order.completed", data)
    await gw.idle()
    first = await card(chat)
    assert first.member.points == 188
    for number, phone in enumerate((other, third), 2):
        await gw.idle()
        loser, into = await gw.gateway.queries.buyer_by_phone(phone), await card(chat)
        pair = sorted((loser, into), key=lambda one: (one.created_at, one.id))
        assert (await chat.api("POST", f"/buyers/{pair[1].id}/merge", {"into": pair[0].id}))[0] < 300
        await gw.advance(70)
        found = await card(chat)
        assert (found.member.points, found.member.level) == (188 * number, "silver")
    await tell(gw, "refund.succeeded", refund("2", "188.00"))
    await gw.idle()
    assert (await card(chat)).member.points == 188 * 2


async def test_leaving_and_coming_back_starts_anew(chat):
    """The points go with the card; a refund of what the old card counted takes nothing from the new one."""
    await bought(chat.harness, "1")
    await ask(chat, "p1", "注销会员")
    await ask(chat, "p1", "1")
    await join(chat, "p1")
    await chat.harness.advance(2)
    await bought(chat.harness, "2", "50.00")
    await tell(chat.harness, "refund.succeeded", refund("1", "188.00"))
    await chat.harness.idle()
    assert (await card(chat)).member.points == 50


async def test_an_erased_buyer_leaves_no_card_in_the_order(chat):
    """The order forgets whom it credited; what happens to it later reaches nobody."""
    gw = chat.harness
    await bought(gw, "1")
    found = await card(chat)
    order_subject = "order:main:1"
    assert (await gw.gateway.store.records({order_subject}))[order_subject].credit.card == found.member.number
    assert (await chat.api("DELETE", f"/buyers/{found.id}"))[0] == 202
    end = time.monotonic() + 20
    while (credit := (await gw.gateway.store.records({order_subject}))[order_subject].credit).home:
        assert time.monotonic() < end
        await gw.gateway.erasure.advance()
        await gw.idle()
    assert (credit.home, credit.card, credit.closed) == ("", "", "erased")


# --- any order, any repetition ----------------------------------------------------------------------------------------

AMOUNTS = st.integers(0, 30_000).map(lambda cents: Decimal(cents) / 100)
STATES = st.sampled_from(["requested", "succeeded", "succeeded", "rejected"])


@st.composite
def lives(draw):
    """One order's events in any order, some of them twice: (total, what is told, what is kept of it at the end)."""
    total = draw(st.integers(100, 50_000).map(lambda cents: Decimal(cents) / 100))
    refunds = draw(st.lists(st.tuples(AMOUNTS, STATES), max_size=4))
    paid, completed = draw(st.booleans()) or draw(st.booleans()), draw(st.booleans()) or draw(st.booleans())
    events = [("paid", -1)] * paid + [("completed", -1)] * completed
    events += [(state, n) for n, (_, state) in enumerate(refunds)]
    told = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=4)) if events else []))
    back = sum((amount for amount, state in refunds if state == "succeeded"), Decimal(0))
    kept = max(total - back, Decimal(0)) if paid and completed else Decimal(0)
    return total, refunds, told, kept


@pytest.mark.timeout(300)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(orders=st.lists(lives(), min_size=1, max_size=3))
async def test_points_are_those_of_the_money_kept(chat, orders):
    """Whatever comes in whatever order, and however often: each order's points are those of what was kept of it."""
    before = (await card(chat)).member.points
    expected = 0
    for total, refunds, events, kept in orders:
        id = f"h{next(_serial)}"
        expected += int(kept.to_integral_value(ROUND_DOWN))
        for what, n in events:
            if what in ("paid", "completed"):
                data = order(id, str(total), pay_state="paid" if what == "paid" else "")
                await tell(chat.harness, f"order.{what}", data, id=f"{id}{what}{next(_serial) % 2}")
            else:
                await tell(
                    chat.harness,
                    f"refund.{what}",
                    refund(id, str(refunds[n][0]), f"r{n}"),
                    id=f"{id}{what}{n}{next(_serial) % 2}",
                )
    await chat.harness.idle()
    found = (await card(chat)).member
    assert found.points - before == expected
    assert sum(map(Decimal, found.spend.values())) >= 0
