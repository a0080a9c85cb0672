"""Buyer pages through a running gateway: who gets in, what each page changes, and what a leaked link shows."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from bot.access import create_token
from bot.coupons import Campaign
from pages.show import web_link
from tests.console.test_api import Api
from tests.pages.visitor import (
    LINK,
    PHONE,
    Visitor,
    ask,
    at_phone,
    buyer,
    join,
    link_of,
    newest_code,
    shop_with_pages,
)
from tests.shops.events import PAID, SHIPMENT


@pytest.fixture
async def chat(valkey, redis_client, tmp_path):
    async with shop_with_pages(valkey, tmp_path) as found:
        yield found


@pytest.fixture
async def member(chat):
    """A member of Messenger with a proved number, and the path of a fresh link."""
    await join(chat, "p1")
    return await link_of(chat, "p1")


@pytest.fixture
async def inside(chat, member):
    """A browser that was let in, on the card."""
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(member)
        await visitor.send("/open")
        assert visitor.status == 200
        assert "积分" in visitor.text
        yield visitor


# --- getting in -------------------------------------------------------------------------------------------------------


async def test_the_first_browser_is_let_in_and_no_other(chat, member):
    """Previews and robots look as often as they like; one tap binds the link; a second browser sees four digits of the card."""
    number = (await at_phone(chat)).member.number
    async with (
        Visitor(chat.harness.base) as robot,
        Visitor(chat.harness.base) as phone,
        Visitor(chat.harness.base) as other,
    ):
        for path in (member, member + "/wallet", member + "/my-data.json", member + "/stop", member + "/open"):
            await robot.get(path)
            assert number not in robot.text.replace(" ", "")
        await phone.get(member + "/wallet")
        await phone.send("/open")
        assert (phone.status, phone.path) == (200, member)
        assert number in phone.text.replace(" ", "")
        assert (await phone.get(member + "/settings")).status == 200
        await other.get(member)
        assert "/open" not in other.text
        assert number[-4:] in other.text
        assert number not in other.text.replace(" ", "")
        assert "小满" not in other.text.replace("小满衣橱", "")


async def test_a_link_binds_within_the_hour_only(chat, member):
    """Later it takes a code."""
    await chat.harness.advance(3601)
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(member)
        assert "/open" not in visitor.text
        before = len(chat.twilio.forms)
        await visitor.send("/code")
        assert "已发到尾号 1234" in visitor.text
        await visitor.send("/prove", code=await newest_code(chat, before))
        assert "积分" in visitor.text


async def test_two_taps_at_once_let_one_in(chat, member):
    """Of many browsers that tap together one gets in."""
    async with (
        Visitor(chat.harness.base) as one,
        Visitor(chat.harness.base) as two,
        Visitor(chat.harness.base) as three,
    ):
        all_of_them = (one, two, three)
        for visitor in all_of_them:
            await visitor.get(member)
        await asyncio.gather(*(visitor.send("/open") for visitor in all_of_them))
        assert sorted(visitor.status for visitor in all_of_them) == [200, 400, 400]


async def test_by_text_a_code_is_needed(chat, member):
    """我的信息 by SMS: a link within the text; it shows little; five wrong codes end the code, another one opens."""
    before = len(chat.twilio.forms)
    await chat.say("我的信息")
    text = (await chat.said(before + 1))[before]
    path = LINK.search(text)[1]
    assert len(path) == 39
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(path)
        assert "/open" not in visitor.text
        before += 1
        await visitor.send("/code")
        digits = await newest_code(chat, before)
        assert "会员页面" in chat.twilio.forms[before]["Body"]
        for _ in range(5):
            await visitor.send("/prove", code="000000" if digits != "000000" else "111111")
            assert visitor.status == 400
        await visitor.get(path)
        await visitor.send("/code")
        await visitor.send("/prove", code=digits)
        assert visitor.status == 400
        second = await newest_code(chat, before + 1)
        await visitor.send("/prove", code=f" {second[:3]} {second[3:]}")
        assert "积分" in visitor.text
        await visitor.get(path + "/settings")
        await visitor.send("/sign-out")
        await visitor._take("POST", path + "/prove", data={"csrf": csrf(visitor), "code": second})
        assert visitor.status == 400
    assert (await at_phone(chat)).proved_at[PHONE]
    before = len(chat.twilio.forms)
    await chat.say("会员")
    assert "/b/" not in (await chat.said(before + 1))[before]


async def test_codes_have_limits(chat, member):
    """Three in ten minutes for one number, whoever asks."""
    await chat.harness.advance(3601)
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(member)
        for _ in range(3):
            await visitor.send("/code")
            assert visitor.status == 200
        await visitor.send("/code")
        assert visitor.status == 400
        assert "有点多" in visitor.text


async def test_a_number_that_may_have_changed_hands_needs_the_birthday(chat, inside):
    """Half a year of silence: the code alone opens nothing; two wrong birthdays send to a clerk."""
    await inside.get(inside.path + "/profile")
    await inside.send("/profile", month="1", day="2")
    await chat.harness.advance(181 * 86400)
    link = chat.harness.gateway.links
    found = await at_phone(chat)
    path = "/b/" + link.token("text", found.id, found.revoked, chat.harness.gateway.clock.now())
    for days, works in (((("3", "4")), False), ((("1", "2")), True)):
        async with Visitor(chat.harness.base) as visitor:
            await visitor.get(path)
            before = len(chat.twilio.forms)
            await visitor.send("/code")
            digits = await newest_code(chat, before)
            await visitor.send("/prove", code=digits)
            assert visitor.status == 400
            assert "登记的生日" in visitor.text
            await visitor.send("/prove", code=digits, month=days[0], day=days[1])
            assert ("积分" in visitor.text) == works


# --- links that end ---------------------------------------------------------------------------------------------------


async def test_what_is_no_link_gets_a_page_that_helps(chat, member):
    """Changed, cut, made up; with a way to a new one, and no word of the person."""
    async with Visitor(chat.harness.base) as visitor:
        for bad in (
            member[:-1],
            member + "0",
            member[:-1] + ("A" if member[-1] != "A" else "B"),
            "/b/x",
            "/b/" + "0" * 36,
        ):
            await visitor.get(bad)
            assert visitor.status == 404
            assert "我的信息" in visitor.text
            assert "text/html" in visitor.headers["Content-Type"]
        assert "no-store" in visitor.headers["Cache-Control"]


async def test_guessing_is_slowed_and_good_links_still_open(chat, member):
    """Twenty bad links from one place, then 429; a good one from the same place is served."""
    async with Visitor(chat.harness.base) as visitor:
        found = [(await visitor.get("/b/" + f"{n:036d}")).status for n in range(25)]
        assert found == [404] * 20 + [429] * 5
        assert visitor.headers["Retry-After"] == "600"
        assert (await visitor.get(member)).status == 200


async def test_a_link_ends_after_a_week(chat, member, inside):
    """For whoever was not let in; the browser that was goes on for its fourteen days."""
    await chat.harness.advance(7 * 86400 + 1)
    async with Visitor(chat.harness.base) as visitor:
        assert (await visitor.get(member)).status == 410
        assert "过期" in visitor.text
    assert (await inside.get(member)).status == 200


async def test_signing_out_everywhere_ends_links_and_browsers(chat, member, inside):
    """The old link says so; a new one works."""
    await chat.harness.advance(1)  # within one second it would be the same link
    async with Visitor(chat.harness.base) as second:
        new = await link_of(chat, "p1")
        await second.get(new)
        await second.send("/open")
        await inside.get(member + "/settings")
        await inside.send("/revoke")
        for visitor, path in ((inside, member), (second, new), (second, member)):
            assert (await visitor.get(path)).status == 410
            assert "停用" in visitor.text
        newest = await link_of(chat, "p1")
        await second.get(newest)
        await second.send("/open")
        assert second.status == 200


async def test_signing_out_ends_this_browser_alone(chat, member, inside):
    """The other goes on."""
    await chat.harness.advance(1)
    async with Visitor(chat.harness.base) as second:
        await second.get(new := await link_of(chat, "p1"))
        await second.send("/open")
        await inside.get(member + "/settings")
        await inside.send("/sign-out")
        assert "/code" in inside.text
        assert "积分" not in inside.text
        assert "积分" in (await second.get(new)).text


async def test_a_merge_and_a_changed_number_end_links(chat, member, inside):
    """Who could open one of the two must not open the other's pages."""
    await ask(chat, "p2", "你好")
    stranger = await link_of(chat, "p2", "我的信息")
    await ask(chat, "p2", "会员")
    before = len(chat.twilio.forms)
    await ask(chat, "p2", "13900001234")
    await ask(chat, "p2", await newest_code(chat, before))
    await chat.harness.idle()
    assert (await buyer(chat, "p1")).id == (await buyer(chat, "p2")).id
    for path in (member, stranger):
        assert (await inside.get(path)).status == 410
    newest = await link_of(chat, "p1")
    assert "/open" in (await inside.get(newest)).text  # who was let in before knocks again
    await inside.send("/open")
    assert inside.status == 200
    await ask(chat, "p1", "换手机号")
    before = len(chat.twilio.forms)
    await ask(chat, "p1", "13900005678")
    await ask(chat, "p1", await newest_code(chat, before))
    assert (await inside.get(newest)).status == 410


# --- settings ---------------------------------------------------------------------------------------------------------


def consents(found) -> dict[tuple[str, str], str]:
    return {
        (a.account, topic): getattr(a.consent, topic)
        for a in found.addresses
        for topic in ("marketing", "service", "calls")
    }


def mark(visitor: Visitor, account: str, topic: str) -> str:
    """The tick of a topic at the chat or the number."""
    boxes = re.findall(r'<fieldset class="box">(.*?)</fieldset>', visitor.text, re.DOTALL)
    box = next(one for one in boxes if account in one)
    return re.search(rf'name="tick" value="([^"]+\.{topic})"', box)[1]


async def test_nothing_is_ticked_before_the_buyer_ticks_it(chat, inside, member):
    """But order notices; a tick is consent at that address, with the wording that stood beside it."""
    await inside.get(member + "/settings?lang=en")
    ticked = [line for line in inside.text.splitlines() if 'type="checkbox"' in line and "checked" in line]
    assert ticked
    assert all(".service" in line for line in ticked)
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing"), mark(inside, "1234", "calls")])
    assert "Saved." in inside.text
    found = await at_phone(chat)
    assert consents(found) == {
        ("messenger-main", "marketing"): "granted",
        ("messenger-main", "service"): "granted",
        ("messenger-main", "calls"): "unknown",
        ("sms-main", "marketing"): "unknown",
        ("sms-main", "service"): "granted",
        ("sms-main", "calls"): "granted",
    }
    proof = found.address("messenger-main", "p1").consent
    assert proof.wording.startswith("page_marketing/en@")
    assert proof.source == "page:settings"
    assert proof.at > 0


async def test_a_tick_taken_back_is_a_refusal(chat, inside, member):
    """Of that topic at that address alone."""
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing")])
    await inside.send("/settings", without=(mark(inside, "Messenger", "marketing"),))
    # the hidden mark of what was shown goes with it above: sent as a browser does, it stays
    await inside.get(member + "/settings")
    shown = mark(inside, "Messenger", "marketing")
    await inside._take("POST", member + "/settings", data={"csrf": csrf(inside), "was": shown})
    found = await at_phone(chat)
    assert consents(found)["messenger-main", "marketing"] == "refused"
    assert consents(found)["sms-main", "marketing"] == "unknown"


def csrf(visitor: Visitor) -> str:
    return visitor.text.partition('name="csrf" value="')[2].partition('"')[0]


async def test_an_old_page_brings_no_consent_back(chat, inside, member):
    """Ticked and shown; then R in the chat; then the old page is sent unchanged: marketing stays off."""
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing")])
    assert consents(await at_phone(chat))["messenger-main", "marketing"] == "granted"
    await ask(chat, "p1", "R")
    await inside.send("/settings")
    found = await at_phone(chat)
    assert all(address.opted_out and address.consent.marketing == "refused" for address in found.addresses)


async def test_a_new_tick_after_an_opt_out_is_a_new_yes(chat, inside, member):
    """As 恢复 in the chat: the opt-out is lifted, consent is there alone where it was ticked."""
    await ask(chat, "p1", "R")
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "1234", "marketing")])
    found = await at_phone(chat)
    assert consents(found)["sms-main", "marketing"] == "granted"
    assert consents(found)["messenger-main", "marketing"] == "refused"
    assert not found.address("sms-main", PHONE).opted_out


async def test_the_wish_for_coupons_and_equal_offers(chat, inside, member):
    """The wish for the next coupons is known to the index; equal offers are a tag that segments can ask for."""
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "coupons")], same="1")
    found = await at_phone(chat)
    assert found.address("messenger-main", "p1").consent.coupons == "granted"
    assert found.tags == ["same-offers"]
    index = await chat.harness.gateway.store.client.hgetall(
        f"idx:{{p{chat.harness.gateway.store.partition(found.home):02d}}}"
    )
    assert f"w:coupons:{found.id}".encode() in index
    await inside._take("POST", member + "/settings", data={"csrf": csrf(inside), "was_same": "1"})
    assert (await at_phone(chat)).tags == []


async def test_an_answer_for_an_address_of_others_is_none(chat, inside, member):
    """A mark that was made up changes nothing."""
    await inside.get(member + "/settings")
    before = await at_phone(chat)
    await inside.send(
        "/settings", tick=["0" * 12 + ".marketing", "x", mark(inside, "Messenger", "marketing")[:12] + ".owner"]
    )
    assert inside.status == 200
    assert (await at_phone(chat)).addresses == before.addresses


async def test_one_tap_stops_all_marketing(chat, inside, member):
    """From the settings."""
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing")])
    await inside.send("/stop")
    assert "已停发" in inside.text
    assert all(address.opted_out for address in (await at_phone(chat)).addresses)


# --- the way out ------------------------------------------------------------------------------------------------------


async def test_the_way_out_is_one_button(chat, member):
    """Looking changes nothing; one POST does, without cookie, form token or a body that anybody would know (RFC 8058)."""
    gateway = chat.harness.gateway
    found = await at_phone(chat)
    path = "/b/" + gateway.links.token("out", found.id, found.revoked, gateway.clock.now())
    async with Visitor(chat.harness.base) as visitor:
        for tail in ("", "/", "/stop", "/wallet", "/settings"):
            await visitor.get(path + tail)
            assert visitor.text.count("<button") == 1
            assert found.member.number[-4:] not in visitor.text
        assert not any(address.opted_out for address in (await at_phone(chat)).addresses)
    async with Visitor(chat.harness.base) as mailer:
        await mailer._take(
            "POST", path, data={"List-Unsubscribe": "One-Click"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert mailer.status == 200
    found = await at_phone(chat)
    assert all(address.opted_out and address.consent.marketing == "refused" for address in found.addresses)
    assert found.addresses[0].consent.source == "page:unsubscribe"


async def test_the_way_out_outlives_a_revocation(chat, member, inside):
    """It shows nothing, so it may always work: also after signing out everywhere."""
    gateway = chat.harness.gateway
    found = await at_phone(chat)
    path = "/b/" + gateway.links.token("out", found.id, found.revoked, gateway.clock.now())
    await inside.get(member + "/settings")
    await inside.send("/revoke")
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(path)
        await visitor.send("/stop")
        assert "已停发" in visitor.text


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
