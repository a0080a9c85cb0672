"""Buyer pages through a running gateway: consent by topic and channel, and the way out."""

from __future__ import annotations

from tests.pages.visitor import PHONE, Visitor, ask, at_phone, csrf, mark

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
