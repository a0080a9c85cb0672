"""Buyer pages through a running gateway: who gets in, and which links end."""

from __future__ import annotations

import asyncio

from pages import joining
from tests.pages.visitor import LINK, PHONE, Visitor, ask, at_phone, buyer, csrf, link_of, newest_code

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
        await visitor._take("POST", member + "/open", data={"csrf": csrf(visitor)})  # though nobody offered it
        assert (visitor.status, "积分" in visitor.text) == (400, False)
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
        await visitor._take("POST", path + "/open", data={"csrf": csrf(visitor)})
        assert (visitor.status, "积分" in visitor.text) == (400, False)
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


async def test_no_page_of_others_has_codes_sent(chat):
    """The form for joining is answered in this browser alone: from elsewhere no number gets a text."""
    before = len(chat.twilio.forms)
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get("/b/join")
        number = {"number": "13900005678"}
        right = {**number, "csrf": csrf(visitor)}
        for way in (
            {"data": number},
            {"data": {**number, "csrf": "0" * 32}},
            {"data": right, "headers": {"Sec-Fetch-Site": "cross-site"}},
            {"json": right},
        ):
            assert (await visitor._take("POST", "/b/join", **way)).status == 400, way
        async with Visitor(chat.harness.base) as other:
            assert (await other._take("POST", "/b/join", data=right)).status == 400
    await chat.harness.idle()
    assert len(chat.twilio.forms) == before


async def test_one_visitor_has_a_share_of_codes_to_have_sent(chat, monkeypatch):
    """Twenty numbers in ten minutes from one address of the public net; what a proxy sends for all visitors has no such share."""
    monkeypatch.setattr(joining, "is_public", lambda _: True)
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get("/b/join")
        form = {"csrf": csrf(visitor), "number": "+12025550123"}  # a country to which no code goes: none is sent
        found = [(await visitor._take("POST", "/b/join", data=form)).status for _ in range(22)]
    assert found == [400] * 20 + [429] * 2


def test_whose_address_is_a_visitors_own():
    """Addresses of the public net; not loopback, a private net, a socket's name or nothing."""
    public = ("8.8.8.8", "2001:4860:4860::8888")
    assert all(joining.is_public(one) for one in public)
    assert not any(joining.is_public(one) for one in ("127.0.0.1", "10.1.2.3", "192.168.1.1", "fd00::1", "", "unix:"))


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
