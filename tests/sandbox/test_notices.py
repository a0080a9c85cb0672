"""The simulated WeChat's subscription notices: what it refuses, and the whole way from a tap to a notice."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot import subjects
from sandbox.access import PHONE
from tests.sandbox.running import IDS
from tests.sandbox.test_one_buyer import by_chat

ACCOUNT, OPENID, TEMPLATE = "wechat-main", IDS["wechat-main"], "sandbox-shipped"
BASE = "/sandbox/providers/wechat"
COOKIE = {"Cookie": f"{PHONE}={ACCOUNT}:{OPENID}"}
FIELDS = {"thing1": {"value": "Linen shirt"}, "character_string2": {"value": "SF1"}}


async def token(sandbox) -> str:
    body = {
        "grant_type": "client_credential",
        "appid": "wx00aa11bb22cc33dd",
        "secret": "sandbox-wechat-app-secret",
        "force_refresh": False,
    }
    return (await sandbox.post(f"{BASE}/cgi-bin/stable_token", body))[1]["access_token"]


async def answer(sandbox, status: str, **more):
    return await sandbox.post(
        f"{BASE}/jssdk/answer", {"templates": [TEMPLATE], "status": status}, headers=COOKIE, **more
    )


async def left(sandbox) -> int | None:
    """What the gateway counts as allowed, None while it knows of no answer."""
    record = await sandbox.gateway.store.resolve(subjects.address(ACCOUNT, OPENID))
    address = record.address(ACCOUNT, OPENID) if record is not None else None
    grant = address.grants.get(TEMPLATE) if address is not None else None
    return len(grant.given) if grant is not None else None


async def until(look, wanted) -> None:
    end = time.monotonic() + 10
    while (found := await look()) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_what_the_interface_refuses(sandbox):
    """No token, no ticket; a wrong field, a missing template, no leave: WeChat's own codes."""
    good = await token(sandbox)
    for query, code in (("", 41001), ("?access_token=nonsense&type=jsapi", 40001), (f"?access_token={good}", 40035)):
        assert (await sandbox.get(f"{BASE}/cgi-bin/ticket/getticket{query}"))[1]["errcode"] == code
    ticket = f"{BASE}/cgi-bin/ticket/getticket?access_token={good}&type=jsapi"
    first, again = (await sandbox.get(ticket))[1], (await sandbox.get(ticket))[1]
    assert first["ticket"] == again["ticket"]
    assert 0 < first["expires_in"] <= 7200
    send = f"{BASE}/cgi-bin/message/subscribe/bizsend"
    body = {"touser": OPENID, "template_id": TEMPLATE, "data": FIELDS}
    for given, code in (
        (body, 43101),
        ({**body, "template_id": ""}, 40037),
        ({**body, "touser": ""}, 40003),
        ({**body, "data": {"thing1": {"value": "x" * 21}}}, 47003),
    ):
        found = (await sandbox.post(f"{send}?access_token={good}", given))[1]
        assert found["errcode"] == code
    assert "data.thing1.value" in found["errmsg"]
    assert (await sandbox.post(send, body))[1]["errcode"] == 41001


async def test_a_page_is_signed_well_or_not(sandbox):
    """The simulated script says what WeChat's says: the URL is part of the signature."""
    channel = sandbox.gateway.lines[ACCOUNT].channel
    url = "https://shop.example/b/x/notices"
    signed = (await channel.sign(url)).config
    for at, said in ((url, "config:ok"), (url + "?lang=en", "config:invalid signature")):
        assert (await sandbox.post(f"{BASE}/jssdk/config", {**signed, "url": at}))[1] == {"errMsg": said}
    assert (await sandbox.post(f"{BASE}/jssdk/config", {**signed, "appId": "wx1", "url": url}))[1] != {
        "errMsg": "config:ok"
    }


@pytest.mark.timeout(90)
async def test_from_a_tap_to_a_notice(sandbox):
    """Allowed, refused, allowed again: counted as WeChat tells it. Days later a parcel's news takes it and is delivered; the next goes by text."""
    await by_chat(sandbox, ACCOUNT, "会员卡已开通")
    for status, count in (("accept", 1), ("reject", 0), ("accept", 1)):
        assert (await answer(sandbox, status))[0] == 200
        await until(lambda: left(sandbox), count)
        await asyncio.sleep(1.1)  # WeChat's events carry seconds: what a person taps is not of one second
    await sandbox.advance(3 * 86400)
    for _ in range(2):
        placed = (await sandbox.shop("place"))[1]
        for verb in ("pay", "ship"):
            await sandbox.shop(verb, {"order": placed["order"]})
        await sandbox.idle()

    async def noticed() -> list[str]:
        bubbles = await sandbox.messages(ACCOUNT)
        return [bubble["state"] for bubble in bubbles if "\u00b7 SF" in str(bubble.get("text", ""))]

    await until(noticed, ["delivered"])
    await sandbox.told("sms-main", "已发出")
    assert await left(sandbox) == 0
    record = await sandbox.gateway.store.resolve(subjects.address(ACCOUNT, OPENID))
    assert record.address(ACCOUNT, OPENID).grants[TEMPLATE].out == []


async def test_a_wrong_answer_is_a_clear_400(sandbox):
    """By its field; and a browser that no phone opened is nobody's."""
    for body, field in (
        ({"templates": [], "status": "accept"}, "templates"),
        ({"templates": ["a b"], "status": "accept"}, "templates"),
        ({"templates": ["t"], "status": "perhaps"}, "status"),
    ):
        status, found = await sandbox.post(f"{BASE}/jssdk/answer", body, headers=COOKIE)
        assert (status, found["errors"][0]["field"]) == (400, field)
    status, found = await sandbox.post(f"{BASE}/jssdk/answer", {"templates": ["t"], "status": "accept"})
    assert (status, "open the page from a WeChat phone" in found["detail"]) == (400, True)


async def test_a_phone_opens_buyer_pages_alone(sandbox):
    """The cookie names the phone; nothing leads elsewhere."""
    path = sandbox.phone(ACCOUNT) + "/open"
    async with sandbox.session.get(f"{sandbox.base}{path}?to=/b/x/notices", allow_redirects=False) as found:
        assert (found.status, found.headers["Location"]) == (302, "/b/x/notices")
        assert found.cookies[PHONE].value == f"{ACCOUNT}:{OPENID}"
    for to in ("", "https://evil.example", "//evil.example", "/b/../console", "/console"):
        status, _ = await sandbox.get(f"{path}?to={to}")
        assert status == 400, to
