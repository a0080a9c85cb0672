"""Buyer pages through a running gateway: forms, coupons, orders, own data."""

from __future__ import annotations

import asyncio
import json

from bot.access import create_token
from bot.coupons import Campaign
from pages.show import web_link
from tests.console.test_api import Api
from tests.pages.visitor import PHONE, Visitor, at_phone, csrf, join, link_of, mark, shop_with_pages
from tests.shops.events import PAID, SHIPMENT

# --- forms ------------------------------------------------------------------------------------------------------------


DEEDS = ("settings", "profile", "sample", "claim", "leave", "erase", "revoke", "sign-out")


async def test_no_form_of_others_does_anything(chat, member, inside):
    """A page elsewhere cannot act for the buyer: every deed, with a token missing or wrong, sent across sites, as JSON, without the cookie."""
    before = await at_phone(chat)
    fields = {"sure": "yes", "name": "x", "item": "x", "campaign": "MAY"}
    right = {**fields, "csrf": csrf(inside)}
    ways = [
        {"data": fields},
        {"data": {**fields, "csrf": "0" * 32}},
        {"data": {**fields, "csrf": "\u9f8d"}},
        {"data": right, "headers": {"Sec-Fetch-Site": "cross-site"}},
        {"json": right},
        {"data": {**right, "note": "x" * 20_000}},
    ]
    for deed in DEEDS:
        for way in ways:
            await inside._take("POST", f"{member}/{deed}", **way)
            assert inside.status == 400, (deed, way)
    async with Visitor(chat.harness.base) as other:
        for deed in DEEDS:
            assert (await other._take("POST", f"{member}/{deed}", data=right)).status == 400
    assert await at_phone(chat) == before
    assert "积分" in (await inside.get(member)).text


async def test_who_holds_the_link_alone_does_nothing(chat, member, inside):
    """A browser that was not let in, with a form token of its own: every deed ends at the door."""
    before = await at_phone(chat)
    fields = {"sure": "yes", "name": "x", "item": "x", "campaign": "MAY"}
    async with Visitor(chat.harness.base) as stranger:
        await stranger.get(member)
        for deed in DEEDS:
            await stranger._take("POST", f"{member}/{deed}", data={**fields, "csrf": csrf(stranger)})
            assert "/code" in stranger.text, deed
            assert "积分" not in stranger.text
    assert await at_phone(chat) == before
    assert "积分" in (await inside.get(member)).text


async def test_the_profile(chat, inside, member):
    """Kept; faults beside their fields with what was typed; emptied again."""
    await inside.get(member + "/profile")
    await inside.send("/profile", name="林小满", month="2", day="29", gender="unsaid", top="M")
    found = await at_phone(chat)
    assert (found.name, found.birthday, found.gender, found.sizes) == ("林小满", "02-29", "unsaid", {"top": "M"})
    await inside.get(member + "/profile")
    await inside.send("/profile", name="x" * 31, month="2", day="30", gender="king")
    assert inside.status == 400
    assert "x" * 31 in inside.text
    assert "要有这一天" in inside.text
    assert (await at_phone(chat)).name == "林小满"
    await inside.send("/profile", name="<b>&\"'", month="", day="", gender="", top="")
    found = await at_phone(chat)
    assert (found.name, found.birthday, found.sizes) == ("<b>&\"'", "", {})
    assert '<b>&"' not in (await inside.get(member)).text
    assert "&lt;b&gt;&amp;" in inside.text


async def test_a_sample_is_work_for_staff(chat, inside, member):
    """One task for one item, however often it is asked for."""
    await inside.get(member + "/sample")
    for _ in range(2):
        await inside.get(member + "/sample")
        await inside.send("/sample", item="亚麻衬衫", size="M", note="周末穿")
        assert "已收到申请" in inside.text
    await inside.send("/sample", item="  ")
    assert inside.status == 400
    tasks = (await at_phone(chat)).tasks.values()
    assert [(task.kind, task.brief, task.state) for task in tasks] == [
        ("sample", "asks to try: 亚麻衬衫; M; 周末穿", "open")
    ]


# --- coupons, orders --------------------------------------------------------------------------------------------------


async def test_coupons_are_claimed_and_shown(chat, inside, member):
    """What can be claimed has a button; the code is there afterwards; the last one gone is told."""
    coupons = chat.harness.gateway.campaigns
    await coupons.create(Campaign("MAY", "五月券", "amount_off", 1, "20.00", "CNY", "99.00", valid_days=30))
    await coupons.create(Campaign("GONE", "没了", "gift", 1, valid_days=30))
    await inside.get(member + "/wallet")
    assert "满99元减20元" in inside.text
    await coupons.claim("GONE", "b_somebody", 0)
    await inside._take("POST", member + "/claim", data={"csrf": csrf(inside), "campaign": "GONE"})
    assert "没能领到" in inside.text
    await inside.get(member + "/wallet")
    await inside.send("/claim", campaign="MAY")
    held = (await at_phone(chat)).coupons
    assert [coupon.campaign for coupon in held] == ["MAY"]
    assert held[0].code in inside.text
    assert "领到了" in inside.text
    await chat.harness.advance(31 * 86400)


CLUB = """
[club]
points_per = "1"
within_months = 6
[[club.levels]]
key = "silver"
spend = 100
names = { zh-CN = "银卡会员", en = "Silver" }
rights = { zh-CN = "每单包邮。" }
gift = "SILVER"
[[club.levels]]
key = "gold"
spend = 500
names = { zh-CN = "金卡会员", en = "Gold" }
"""


async def test_the_card_shows_level_points_and_what_is_next(valkey, redis_client, tmp_path):
    """Basic with the way to silver; then silver with its rights and the way to gold; its gift is not there for claiming."""
    async with shop_with_pages(valkey, tmp_path, CLUB) as chat:
        await chat.harness.gateway.campaigns.create(Campaign("SILVER", "银卡礼", "gift", 9, valid_days=30))
        await join(chat, "p1")
        link = await link_of(chat, "p1")
        async with Visitor(chat.harness.base) as visitor:
            await visitor.get(link)
            await visitor.send("/open")
            assert "普通会员 · " in visitor.text
            assert "再消费 100元升到银卡会员。按最近 6 个自然月已完成的订单计算。" in visitor.text
            assert "到时还有：每单包邮<" in visitor.text
            await visitor.get(link + "/wallet")
            assert "银卡礼" not in visitor.text
            for kind in ("order.paid", "order.completed"):
                told = {"order": PAID, "buyer": {"phones": [PHONE]}}
                assert (await chat.harness.shop(kind, kind, told))[0] == 200
            await chat.harness.idle()
            await visitor.get(link)
            assert "银卡会员 · " in visitor.text
            assert "积分 188" in visitor.text
            assert "<li>每单包邮</li>" in visitor.text
            assert "再消费 312元升到金卡会员。" in visitor.text
            assert '<progress max="100" value="37"' in visitor.text
            await visitor.get(link + "/data")
            assert "<dd>银卡会员</dd>" in visitor.text
            await visitor.get(link + "?lang=en")
            assert "Silver · " in visitor.text
            assert "CNY 312 more to Gold. Completed orders" in visitor.text


async def test_orders_with_their_parcels(chat, inside, member):
    """State, sum, carrier, number; links only to web pages."""
    paid, who = PAID, {"phones": [PHONE]}
    status, answer = await chat.harness.shop("order.paid", "e1", {"order": paid, "buyer": who})
    assert status == 200, answer
    parcel = {**SHIPMENT, "state": "in_transit"}
    status, answer = await chat.harness.shop(
        "shipment.created", "e2", {"order": paid, "buyer": who, "shipment": parcel}
    )
    assert status == 200, answer
    await chat.harness.idle()
    await inside.get(member + "/orders")
    for words in ("#5001", "亚麻宽松衬衫", "188元", "运输中", "顺丰", "SF0001", "https://t.example/SF0001"):
        assert words in inside.text
    assert [web_link(url) for url in ("https://x.example/", "javascript:alert(1)", "data:x")] == [
        "https://x.example/",
        "",
        "",
    ]


# --- own data ---------------------------------------------------------------------------------------------------------


async def test_own_data_as_a_file(chat, inside, member):
    """Without the ledger what the record holds, and it says so; never kept by a cache."""
    await inside.get(member + "/my-data.json")
    found = json.loads(inside.text)
    assert "later" in found["history"]
    assert found["buyer"]["phones"] == [PHONE]
    assert {a["account"] for a in found["buyer"]["addresses"]} == {"messenger-main", "sms-main"}
    assert "attachment" in inside.headers["Content-Disposition"]
    assert "no-store" in inside.headers["Cache-Control"]


async def test_the_whole_history_as_a_file(valkey, redis_client, tmp_path):
    """With the ledger: messages, answers about consent with their proof, everything that staff get by the API."""
    async with shop_with_pages(valkey, tmp_path, ledger=True) as chat:
        await join(chat, "p1")
        path = await link_of(chat, "p1")
        async with Visitor(chat.harness.base) as visitor:
            await visitor.get(path)
            await visitor.send("/open")
            await visitor.get(path + "/settings")
            await visitor.send("/settings", tick=[mark(visitor, "Messenger", "marketing")])
            await visitor.get(path + "/my-data.json")
            found = json.loads(visitor.text)
            assert "attachment" in visitor.headers["Content-Disposition"]
            assert "no-store" in visitor.headers["Cache-Control"]
    assert found["buyer"]["phones"] == [PHONE]
    assert any("会员卡已开通" in message["text"] for message in found["messages"])
    proofs = [(one["topic"], one["verdict"], one["wording"].partition("@")[0]) for one in found["consent_evidence"]]
    assert ("marketing", "granted", "page_marketing/zh-CN") in proofs


async def test_the_card_is_given_back(chat, inside, member):
    """Asked first; then gone, and the page offers a new one."""
    await inside.get(member + "/leave")
    await inside.send("/leave")
    assert "已注销" in inside.text
    found = await at_phone(chat)
    assert found.member is None
    assert all(address.consent.marketing == "refused" for address in found.addresses)


async def test_what_staff_erase_leaves_no_visit(chat, inside, member):
    """Erased by the API: browsers, links and codes of the person go with the rest."""
    gateway = chat.harness.gateway
    assert [name async for name in gateway.store.client.scan_iter("visits:*")]
    api = Api(chat.harness, await create_token(gateway.store, "shop", "owner"))
    assert (await api("DELETE", f"/buyers/{(await at_phone(chat)).id}"))[0] == 202
    for _ in range(200):
        await gateway.erasure.advance()
        if not [name async for name in gateway.store.client.scan_iter("visits:*")]:
            break
        await asyncio.sleep(0.05)
    assert [name async for name in gateway.store.client.scan_iter("visits:*")] == []
    assert (await inside.get(member)).status == 410


async def test_everything_is_erased(chat, inside, member):
    """Not without the tick; then links, browsers and keys of the person are gone."""
    gateway = chat.harness.gateway
    id = (await at_phone(chat)).id
    await inside.get(member + "/erase")
    await inside.send("/erase")
    assert inside.status == 400
    assert (await at_phone(chat)) is not None
    await inside.send("/erase", sure="yes")
    assert "已经没有您的信息" in inside.text
    for _ in range(200):
        await gateway.erasure.advance()
        if not await gateway.store.command("HLEN", "erasing"):
            break
            await asyncio.sleep(0.05)
    assert (await inside.get(member)).status == 410
    names = [name async for name in gateway.store.client.scan_iter("visits:*")]
    assert names == []
    assert (await gateway.queries.buyer(id)).erased
