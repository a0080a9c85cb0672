"""Buyer pages through a running gateway: consent by topic and channel, and the way out."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import select

from bot.proxies import PROXIES, Proxies
from ledger import tables as t
from pages.sender import address_of
from tests.e2e.test_numbers import change
from tests.pages.visitor import PHONE, Visitor, ask, at_phone, buyer, csrf, join, link_of, mark, shop_with_pages

# --- settings ---------------------------------------------------------------------------------------------------------


def consents(found) -> dict[tuple[str, str], str]:
    return {
        (a.account, topic): getattr(a.consent, topic)
        for a in found.addresses
        for topic in ("marketing", "service", "calls")
    }


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
    await inside.get(member + "/settings")
    await inside.send("/settings", same="1")
    await inside._take(
        "POST", member + "/settings", data={"csrf": csrf(inside)}
    )  # a page from before: unticked then, and untouched
    assert (await at_phone(chat)).tags == ["same-offers"]


async def test_an_answer_for_an_address_of_others_is_none(chat, inside, member):
    """A mark that was made up changes nothing."""
    await inside.get(member + "/settings")
    before = await at_phone(chat)
    await inside.send(
        "/settings",
        tick=[
            "0" * 12 + ".marketing",
            "x",
            *(mark(inside, "Messenger", "marketing")[:12] + f".{one}" for one in ("owner", "calls")),
        ],
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


async def test_a_number_that_was_given_up_is_not_shown(chat):
    """Who began by SMS keeps the record at the old number, from which another may write by now: no tick of it stands on the page."""
    await chat.say("你好")
    await chat.said(1)
    await join(chat, "p1")
    await change(chat, "p1")
    before = len(chat.twilio.forms)
    await chat.say("你好")  # whoever has the old number now
    await chat.said(before + 1)
    found = await buyer(chat, "p1")
    assert {one.id for one in found.addresses} == {"p1", PHONE, "+8613900005678"}
    path = await link_of(chat, "p1")
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(path)
        await visitor.send("/open")
        await visitor.get(path + "/settings")
        assert "5678" in visitor.text
        assert "1234" not in visitor.text


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


# --- evidence ---------------------------------------------------------------------------------------------------------


async def test_an_answer_on_a_page_keeps_where_it_came_from(valkey, redis_client, tmp_path):
    """Address and browser lie with the evidence, of a tick and of the one-tap stop; an answer in the chat has neither."""
    browser = "Mozilla/5.0 (Linux; Android 14) Test\x01/1"
    seen = {"X-Forwarded-For": "1.1.1.1, 203.0.114.7, 10.0.0.5", "User-Agent": browser.replace("\x01", "")}
    async with shop_with_pages(valkey, tmp_path, ledger=True) as chat:
        await ask(chat, "p1", "你好")
        found = await chat.harness.gateway.queries.buyer_by_address("messenger-main", "p1")
        links = chat.harness.gateway.links
        token = links.token("out", found.id, found.revoked, chat.harness.gateway.clock.now())
        async with chat.harness.session.post(f"{chat.harness.base}/b/{token}/stop", headers=seen) as answer:
            assert answer.status == 200
        await chat.harness.idle()
        await ask(chat, "p1", "恢复")
        await chat.harness.projected()
        async with chat.harness.gateway.history.connection() as connection:
            rows = list(await connection.execute(select(t.consents).order_by(t.consents.c.ms, t.consents.c.line)))
    told = [(row.verdict, row.source, row.ip, row.browser) for row in rows if row.topic == "marketing"]
    assert told[0] == ("refused", "page:unsubscribe", "203.0.114.7", "Mozilla/5.0 (Linux; Android 14) Test/1")
    assert {(ip, browser) for _, source, ip, browser in told[1:] if not source.startswith("page")} == {("", "")}
    assert len(told) > 1


@pytest.mark.parametrize(
    ("remote", "passed_on", "found"),
    [
        ("203.0.114.9", "1.1.1.1", "203.0.114.9"),  # nobody stands between: the header is the sender's own word
        ("10.0.0.2", "9.9.9.9, 203.0.114.7", "203.0.114.7"),
        ("127.0.0.1", "203.0.114.7, 10.1.1.1", "203.0.114.7"),
        ("::1", "2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("10.0.0.2", "", ""),
        ("10.0.0.2", "unknown, <script>", ""),
        ("", "203.0.114.7", "203.0.114.7"),
    ],
)
def test_whose_address_counts(remote, passed_on, found):
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": passed_on})
    assert address_of(request.clone(remote=remote)) == found


@pytest.mark.parametrize(
    ("remote", "passed_on", "found"),
    [
        ("10.0.0.2", "9.9.9.9, 203.0.114.7", "203.0.114.7"),
        ("10.0.0.2", "203.0.114.7, 104.16.0.9", "203.0.114.7"),  # the CDN is trusted: not its address, but whom it saw
        ("104.16.0.9", "9.9.9.9, 203.0.114.7", "203.0.114.7"),
        ("192.168.0.2", "203.0.114.7", ""),  # on a private address, but not named: not believed
        ("203.0.114.9", "1.1.1.1", "203.0.114.9"),
        ("10.0.0.2", "203.0.114.7, unknown", ""),
        ("10.0.0.2", "192.168.1.5", ""),  # a visitor of the house: nobody's proof
    ],
)
def test_whose_address_counts_behind_named_proxies(remote, passed_on, found):
    app = web.Application()
    app[PROXIES] = Proxies((ip_network("10.0.0.0/8"), ip_network("104.16.0.0/13")))
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": passed_on}, app=app)
    assert address_of(request.clone(remote=remote)) == found
