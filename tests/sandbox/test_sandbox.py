"""The sandbox through its own gateway: phones, shop, clock, faults, ledgers and access."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import pytest

from sandbox.state import Phones
from tests.sandbox.running import running

WX = "/sandbox/providers/wechat"
PAGE = "/sandbox/providers/messenger/v26.0/900100200300400"
SID = "AC00112233445566778899aabbccddeeff"
TEXTS = f"/sandbox/providers/twilio/2010-04-01/Accounts/{SID}/Messages.json"
OPENID, PSID, NUMBER = "oSandboxLinXiaoman01", "7001002003004005", "+8613900001234"
BEARER = {"Authorization": "Bearer sandbox-page-token"}
LOGIN = {"Authorization": "Basic " + base64.b64encode(f"{SID}:a1b2c3d4e5f60718293a4b5c6d7e8f90".encode()).decode()}


async def token(sandbox) -> str:
    body = {"grant_type": "client_credential", "appid": "wx00aa11bb22cc33dd", "secret": "sandbox-wechat-app-secret"}
    return (await sandbox.post(WX + "/cgi-bin/stable_token", body))[1]["access_token"]


async def wx_send(sandbox, given: str, openid: str = OPENID, **body) -> int:
    body = body or {"msgtype": "text", "text": {"content": "hello"}}
    _, answer = await _raw(sandbox, given, {"touser": openid, **body})
    return answer["errcode"]


async def _raw(sandbox, given: str, body: dict, *, ascii_only: bool = False):
    url = f"{sandbox.base}{WX}/cgi-bin/message/custom/send?access_token={given}"
    async with sandbox.session.post(url, data=json.dumps(body, ensure_ascii=ascii_only).encode()) as answer:
        return answer.status, await answer.json()


async def page_send(sandbox, message: dict, psid: str = PSID, **more):
    body = {"recipient": {"id": psid}, "messaging_type": "RESPONSE", "message": message, **more}
    status, answer = await sandbox.post(PAGE + "/messages", body, headers=BEARER)
    error = answer.get("error", {})
    return status, (error.get("code"), error.get("error_subcode"))


async def text_send(sandbox, **fields: str):
    form = {"To": NUMBER, "From": "+15005550006", "Body": "hello", **fields}
    async with sandbox.session.post(sandbox.base + TEXTS, data=form, headers=LOGIN) as answer:
        return answer.status, (await answer.json()).get("code")


# --- WeChat -----------------------------------------------------------------------------------------------------------


async def test_bubbles_that_come_at_once_stand_in_the_order_of_their_numbers(sandbox):
    """Two processes show some on the same phone: who pages by number misses none."""
    phones = Phones(sandbox.gateway.store.client, sandbox.gateway.clock)
    shown = await asyncio.gather(
        *(phones.show("messenger-main", PSID, **{"from": "shop"}, kind="text", text=f"{i}") for i in range(40))
    )
    assert sorted(one["n"] for one in shown) == list(range(1, 41))
    found = await phones.messages("messenger-main", PSID)
    assert [one["n"] for one in found] == list(range(1, 41))
    texts = {one["n"]: one["text"] for one in shown}
    assert all(one["text"] == texts[one["n"]] for one in found)


async def test_wechat_gives_one_token_and_a_forced_one_ends_it(sandbox):
    """The same token while it is valid; forcing ends it, and again within 30 s is refused; a wrong secret gets none."""
    first = await token(sandbox)
    assert await token(sandbox) == first
    body = {"grant_type": "client_credential", "appid": "wx00aa11bb22cc33dd", "secret": "sandbox-wechat-app-secret"}
    forced = (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "force_refresh": True}))[1]["access_token"]
    assert forced != first
    assert await wx_send(sandbox, first) == 40001
    assert await token(sandbox) == forced
    assert (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "force_refresh": True}))[1]["errcode"] == 45009
    assert (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "secret": "x"}))[1]["errcode"] == 40125
    assert (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "appid": "x"}))[1]["errcode"] == 40013
    assert await wx_send(sandbox, "no-token") == 40001


async def test_wechat_keeps_window_and_quota(sandbox):
    """Five messages after the buyer's, then 45047; after 48 hours 45015; an unknown openid 40003."""
    given = await token(sandbox)
    assert await wx_send(sandbox, given) == 40003
    await sandbox.say("wechat-main", text="会员")
    await sandbox.told("wechat-main", "手机号")
    await sandbox.idle()
    codes = [await wx_send(sandbox, given) for _ in range(9)]
    assert codes[-1] == 45047
    assert 0 in codes
    told = [m for m in await sandbox.messages("wechat-main") if m["from"] == "shop"]
    assert len(told) == 5 + 3  # the message allows five, the follow before it three
    await sandbox.advance(48 * 3600 + 1)
    assert await wx_send(sandbox, given) == 45015


async def test_wechat_refuses_what_the_real_one_refuses(sandbox):
    """Escaped characters, empty and over-long text, unknown media, unknown kinds, more than one article."""
    given = await token(sandbox)
    await sandbox.say("wechat-main", text="你好")
    await sandbox.idle()
    escaped = {"touser": OPENID, "msgtype": "text", "text": {"content": "会员"}}
    assert (await _raw(sandbox, given, escaped, ascii_only=True))[1]["errcode"] == 40033
    assert await wx_send(sandbox, given, msgtype="text", text={"content": ""}) == 44004
    assert await wx_send(sandbox, given, msgtype="text", text={"content": "字" * 700}) == 45002
    assert await wx_send(sandbox, given, msgtype="image", image={"media_id": "none"}) == 40007
    assert await wx_send(sandbox, given, msgtype="hologram", hologram={}) == 40008
    assert await wx_send(sandbox, given, msgtype="news", news={"articles": []}) == 45008


async def test_a_buyer_who_unfollows_is_out_of_reach(sandbox):
    """After unfollowing, sends fail with 45015 and the gateway knows; a scan follows again."""
    given = await token(sandbox)
    await sandbox.say("wechat-main", text="你好")
    await sandbox.idle()
    assert (await sandbox.post(sandbox.phone("wechat-main") + "/leave"))[0] == 200
    assert await wx_send(sandbox, given) == 45015
    assert (await sandbox.post(sandbox.phone("wechat-main") + "/start", {"scene": "card"}))[0] == 200
    assert await wx_send(sandbox, given) == 0


# --- Messenger --------------------------------------------------------------------------------------------------------


async def test_messenger_keeps_its_window_and_knows_its_buyers(sandbox):
    """An unknown PSID is 100/2018001; a day after the last message 10/2018278; a wrong token 190."""
    assert await page_send(sandbox, {"text": "hi"}, psid="1") == (400, (100, 2018001))
    await sandbox.say("messenger-main", text="你好")
    assert (await page_send(sandbox, {"text": "hi"}))[0] == 200
    await sandbox.advance(24 * 3600 + 1)
    assert await page_send(sandbox, {"text": "hi"}) == (400, (10, 2018278))
    status, _ = await sandbox.post(PAGE + "/messages", {}, headers={"Authorization": "Bearer other"})
    assert status == 400


@pytest.mark.parametrize(
    "message",
    [
        {"text": "a" * 2000},
        {},
        {"text": "a", "metadata": "m" * 1000},
        {"text": "a", "quick_replies": [{"content_type": "text", "title": "t", "payload": "p"}] * 14},
        {"text": "a", "quick_replies": [{"content_type": "text", "title": "t" * 21, "payload": "p"}]},
        {"attachment": {"type": "template", "payload": {"template_type": "button", "text": "a", "buttons": []}}},
        {
            "attachment": {
                "type": "template",
                "payload": {"template_type": "generic", "elements": [{"title": "t" * 81, "subtitle": "s"}]},
            }
        },
        {"attachment": {"type": "template", "payload": {"template_type": "receipt", "elements": []}}},
    ],
)
async def test_messenger_refuses_what_breaks_its_limits(sandbox, message):
    """Text, metadata, quick replies and templates beyond the documented limits are code 100."""
    await sandbox.say("messenger-main", text="你好")
    assert await page_send(sandbox, message) == (400, (100, 2018014))


async def test_messenger_shows_buttons_cards_and_the_own_number(sandbox):
    """Links, postback buttons and the number reply appear on the phone and can be tapped."""
    await sandbox.say("messenger-main", text="你好")
    buttons = [
        {"type": "web_url", "title": "Pay", "url": "https://shop.example"},
        {"type": "postback", "title": "Later", "payload": "LATER"},
    ]
    payload = {"template_type": "button", "text": "Order", "buttons": buttons}
    assert (await page_send(sandbox, {"attachment": {"type": "template", "payload": payload}}))[0] == 200
    assert (await page_send(sandbox, {"text": "?", "quick_replies": [{"content_type": "user_phone_number"}]}))[0] == 200
    bubble, number = (await sandbox.messages("messenger-main"))[-2:]
    assert bubble["links"] == [{"label": "Pay", "url": "https://shop.example"}]
    assert bubble["choices"][0]["postback"]
    assert number["choices"] == [{"label": NUMBER, "payload": NUMBER}]
    assert (await sandbox.say("messenger-main", tap="Later"))[0] == 200


async def test_every_account_passes_its_check(sandbox):
    """`touchpoint check` finds nothing wrong with the four simulated accounts."""
    lines = [await line.channel.check() for line in sandbox.gateway.lines.values()]
    assert len(lines) == 4
    assert any("webhooks are subscribed" in line for line in lines)
    assert any("is approved" in line for line in lines)


# --- texts ------------------------------------------------------------------------------------------------------------


async def test_twilio_refuses_what_the_real_one_refuses(sandbox):
    """Wrong login 20003, bad number 21211, empty or long body, foreign sender, opted-out number 21610 until START."""
    async with sandbox.session.post(sandbox.base + TEXTS, data={}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, 20003)
    assert await text_send(sandbox, To="123") == (400, 21211)
    assert await text_send(sandbox, Body="") == (400, 21602)
    assert await text_send(sandbox, Body="a" * 1601) == (400, 21617)
    assert await text_send(sandbox, From="") == (400, 21603)
    assert await text_send(sandbox, From="+15005550009") == (400, 21606)
    assert await text_send(sandbox) == (201, None)
    await sandbox.say("sms-main", text="STOP")
    assert await text_send(sandbox) == (400, 21610)
    await sandbox.say("sms-main", text="START")
    assert await text_send(sandbox) == (201, None)


async def test_alibaba_refuses_an_unsigned_call(sandbox):
    """A call without a right V3 signature never reaches the account."""
    headers = {
        "Authorization": "ACS3-HMAC-SHA256 Credential=sandboxAccessKeyId,SignedHeaders=host,Signature=" + "0" * 64
    }
    status, body = await sandbox.post("/sandbox/providers/alibaba/", {}, headers=headers)
    assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")


# --- receipts, faults, ledgers ----------------------------------------------------------------------------------------


async def test_receipts_come_back_signed(sandbox):
    """A text and a chat message reach delivered and read at the gateway by the providers' own webhooks."""
    await sandbox.say("messenger-main", text="会员")
    await sandbox.say("sms-main", text="会员")
    await sandbox.told("messenger-main", "手机号")
    await sandbox.told("sms-main", "回1")
    client, states = sandbox.gateway.store.client, set()
    for _ in range(60):
        states = {await client.hget(key, "s") async for key in client.scan_iter("msg:*")}
        if states == {b"read", b"delivered"}:
            break
        await asyncio.sleep(0.05)
    assert states == {b"read", b"delivered"}
    assert (await sandbox.messages("messenger-main"))[-1]["state"] == "read"
    assert (await sandbox.messages("sms-main"))[-1]["state"] == "delivered"


@pytest.mark.parametrize("fault", ["429", "reset", "500", "drop_after_accept"])
async def test_a_fault_neither_loses_nor_doubles_an_answer(sandbox, fault):
    """Whatever the first call meets, the buyer sees one answer, and the ledger holds it once."""
    await sandbox.fault("messenger-main", fault)
    await sandbox.say("messenger-main", text="会员")
    await sandbox.told("messenger-main", "手机号", timeout=20.0)
    await asyncio.sleep(1.0)
    told = [m for m in await sandbox.messages("messenger-main") if m["from"] == "shop"]
    assert len(told) == len(await sandbox.ledger("messenger-main")) == 1
    assert told[0]["ref"].rpartition(":")[2].startswith("m_")


async def test_a_hang_is_a_fault_for_one_call_only(sandbox):
    """Faults are taken in order and end; an unknown one is refused with the list of those that exist."""
    status, body = await sandbox.fault("messenger-main", "tornado")
    assert (status, body["errors"][0]["field"]) == (400, "next")
    assert (await sandbox.fault("messenger-main", "errcode:10/2018278", "500"))[1] == {"planned": 2}
    await sandbox.gateway.store.client.set(f"sandbox:phone:messenger-main:{PSID}:known", "1")
    assert await page_send(sandbox, {"text": "a"}) == (400, (10, 2018278))


# --- shop and clock ---------------------------------------------------------------------------------------------------


async def test_an_order_is_reminded_and_thanked_on_the_phone(sandbox):
    """Joined by text, ordered, two hours later reminded, paid, thanked; paid again by the shop, thanked once; complete, it brings points."""
    await sandbox.say("sms-main", text="会员")
    await sandbox.told("sms-main", "回1")
    await sandbox.say("sms-main", text="1")
    await sandbox.told("sms-main", "会员卡")
    status, placed = await sandbox.shop("place")
    assert (status, placed["status"]) == (200, 200)
    assert re.fullmatch(r"5\d{3}", placed["order"])
    await sandbox.idle()
    await sandbox.advance(2 * 3600 + 5)
    await sandbox.told("sms-main", "付款")
    assert (await sandbox.shop("pay"))[0] == 200
    await sandbox.told("sms-main", "已收到付款")
    await sandbox.shop("pay", {"order": placed["order"]})
    await sandbox.idle()
    thanks = [m for m in await sandbox.messages("sms-main") if "已收到付款" in m.get("text", "")]
    assert len(thanks) == 1
    await sandbox.shop("complete")
    await sandbox.idle()
    await sandbox.say("sms-main", text="会员")
    await sandbox.told("sms-main", "188 积分")


async def test_every_verb_of_the_shop_is_taken(sandbox):
    """Each verb posts a signed webhook that the gateway takes with 200."""
    assert (await sandbox.shop("pay"))[0] == 404
    for verb in ("place", "pay", "ship", "arrive", "out", "deliver", "complete", "refund", "cancel", "abandon"):
        status, body = await sandbox.shop(verb)
        assert (status, body["status"]) == (200, 200), verb
    assert (await sandbox.shop("juggle"))[0] == 404
    assert (await sandbox.shop("place", {"expires_in_s": "soon"}))[0] == 400
    assert (await sandbox.shop("pay", {"order": "none"}))[0] == 404


async def test_the_clock_runs_forward_only(sandbox):
    """It starts on a Tuesday at 10:00 of the shop, moves as told, and refuses the past and nonsense."""
    _, body = await sandbox.get("/sandbox/clock")
    assert body["now"][11:16] == "02:00"
    _, moved = await sandbox.advance(3600)
    assert moved["now"][11:16] == "03:00"
    for wrong in (-1, "1", True, 1e12, None):
        assert (await sandbox.post("/sandbox/clock", {"advance_s": wrong}))[0] == 400


# --- access and faults of callers -------------------------------------------------------------------------------------


async def test_what_does_not_exist_is_a_clear_404(sandbox):
    """Unknown accounts, phones and shops answer problem documents that name what there is."""
    status, body = await sandbox.post("/sandbox/phones/nobody/1/say", {"text": "a"})
    assert status == 404
    assert "wechat-main" in body["detail"]
    assert (await sandbox.get("/sandbox/phones/sms-main/12/messages"))[0] == 404
    assert (await sandbox.post("/sandbox/shops/none/place"))[0] == 404
    assert (await sandbox.post("/sandbox/faults/none", {"next": ["500"]}))[0] == 404


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": 5}, {"text": "a", "tap": "b"}, {"text": "a" * 4001}])
async def test_a_wrong_say_is_a_clear_400(sandbox, body):
    """Neither, both, not a text, too long: 400 with the field."""
    status, answer = await sandbox.say("messenger-main", **body)
    assert (status, answer["errors"][0]["field"]) == (400, "text")


async def test_another_sites_page_may_not_move_the_sandbox(sandbox):
    """A POST from a foreign origin, and any call passed on by a proxy, is refused without the token."""
    status, _ = await sandbox.post("/sandbox/clock", {"advance_s": 1}, headers={"Origin": "https://evil.example"})
    assert status == 403
    for claimed in ("203.0.113.9", "127.0.0.1"):
        status, _ = await sandbox.get("/sandbox/clock", headers={"X-Forwarded-For": claimed})
        assert status == 403
    status, _ = await sandbox.post("/sandbox/clock", {"advance_s": 1}, headers={"Origin": sandbox.base})
    assert status == 200


def with_proxies(text: str) -> str:
    return text.replace("[server]\n", '[server]\ntrusted_proxies = ["127.0.0.0/8", "::1"]\n')


async def test_this_machine_through_a_trusted_proxy(valkey, redis_client, tmp_path):
    """Only a proxy that the configuration trusts may say that somebody is here; what the sender wrote before it does not count."""
    async with running(valkey, tmp_path, change=with_proxies) as sandbox:
        for headers, status in (
            ({"X-Forwarded-For": "127.0.0.1"}, 200),
            ({"X-Forwarded-For": "203.0.113.9"}, 403),
            ({"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, 403),
            ({"Forwarded": "for=127.0.0.1"}, 403),
            ({"X-Real-IP": "127.0.0.1"}, 403),
            ({"X-Forwarded-For": "unknown"}, 403),
        ):
            assert (await sandbox.get("/sandbox/clock", headers=headers))[0] == status, headers


async def test_a_gateway_that_refuses_is_shown(sandbox):
    """When the gateway does not take a webhook, the caller reads why instead of a silent 200."""
    sandbox.gateway.door.shut("test", "test")
    status, body = await sandbox.shop("place")
    sandbox.gateway.door.open("test")
    assert status == 502
    assert "503" in body["detail"]


async def test_the_one_time_token_opens_the_sandbox_from_elsewhere(valkey, redis_client, tmp_path, monkeypatch):
    """With the token in the query the page opens and sets a cookie, which is enough from then on; a wrong one is not."""
    monkeypatch.setenv("TOUCHPOINT_SANDBOX_TOKEN", "one-time-token")
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}
    async with running(valkey, tmp_path) as sandbox:
        assert (await sandbox.get("/sandbox/clock?token=wrong", headers=elsewhere))[0] == 403
        async with sandbox.session.get(sandbox.base + "/sandbox/?token=one-time-token", headers=elsewhere) as answer:
            cookie = answer.cookies["touchpoint_sandbox"]
        assert cookie["httponly"]
        carried = {**elsewhere, "Cookie": f"touchpoint_sandbox={cookie.value}"}
        assert (await sandbox.get("/sandbox/clock", headers=carried))[0] == 200
        assert (await sandbox.get("/sandbox/clock", headers=elsewhere))[0] == 403
