"""The simulated WeChat is as strict as the real one, and its people, retries and tokens behave alike."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from sandbox.providers.wechat import BROKEN, WeChatProvider, _taken
from sandbox.providers.wechat_limits import escaped, field_refused, picture, refusal
from tests.sandbox.test_outward import gateway
from tests.sandbox.test_sandbox import OPENID, WX, token, wx_send

TEXT = {"msgtype": "text", "text": {"content": "字" * 682}}
OPTION = {"id": "a", "content": "甲"}


def menu(**changes):
    return {"msgtype": "msgmenu", "msgmenu": {"head_content": "选", "list": [OPTION], "tail_content": "", **changes}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (TEXT, 0),
        ({"msgtype": "text", "text": {"content": "字" * 683}}, 45002),
        ({"msgtype": "text", "text": {"content": " \n"}}, 44004),
        ({"msgtype": "text", "text": {"content": 5}}, 40035),
        ({"msgtype": "text"}, 40008),
        ({"msgtype": ["text"]}, 40008),
        ({"msgtype": "hologram", "hologram": {}}, 40008),
        (menu(), 0),
        (menu(list=[OPTION] * 8), 0),
        (menu(list=[OPTION] * 9), 40035),
        (menu(list=[]), 40035),
        (menu(list=[{"id": "", "content": "x"}]), 40035),
        (menu(list=[{"id": "a"}]), 40035),
        (menu(list="x"), 40035),
        (menu(head_content=None), 40035),
        (menu(head_content="字" * 683), 45002),
        ({"msgtype": "news", "news": {"articles": [{"title": "t"}]}}, 0),
        ({"msgtype": "news", "news": {"articles": [{"title": "t"}] * 2}}, 45008),
        ({"msgtype": "news", "news": {"articles": [{"title": ""}]}}, 40035),
        ({"msgtype": "image", "image": {"media_id": 5}}, 40007),
    ],
)
def test_shapes_and_limits_of_messages(body, code):
    """Each limit at its last good value and one beyond."""
    assert refusal(body) == code


def test_limits_of_uploads_and_escapes():
    """Type, data, kind of file, size; characters as they are."""
    png = b"\x89PNG\r\n\x1a\n"
    assert picture("image", png) == 0
    assert [picture("film", png), picture("image", None), picture("image", b""), picture("image", b"<html>")] == [
        40004,
        41005,
        44001,
        40005,
    ]
    assert picture("image", png + b"x" * 10 * 1024 * 1024) == 40009
    assert escaped(json.dumps("会员").encode())
    assert not escaped(json.dumps("会员", ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({"thing1": "字" * 20, "character_string2": "A-1001", "amount3": "¥25.80", "phrase4": "已发货"}, ""),
        ({"thing1": "字" * 21}, "thing1"),
        ({"thing1": ""}, "thing1"),
        ({"thing1": "a\nb"}, "thing1"),
        ({"character_string2": "订单"}, "character_string2"),
        ({"amount3": "廿五"}, "amount3"),
        ({"phrase4": "已经发货了呀"}, "phrase4"),
        ({"name5": "欧阳娜娜"}, ""),
        ({"date6": "2026年8月20日"}, ""),
        ({"time7": "soon"}, "time7"),
    ],
)
def test_fields_of_templates_keep_their_types(fields, bad):
    """The field that breaks its type is named."""
    assert field_refused({name: {"value": value} for name, value in fields.items()}) == bad


async def test_tokens_missing_old_and_expired(sandbox):
    """41001, 40001, 42001; forced twice within 30 seconds is refused, the first time it is not."""
    given = await token(sandbox)
    assert await wx_send(sandbox, "") == 41001
    body = {"grant_type": "client_credential", "appid": "wx00aa11bb22cc33dd", "secret": "sandbox-wechat-app-secret"}
    forced = (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "force_refresh": True}))[1]
    assert await wx_send(sandbox, given) == 40001
    assert await wx_send(sandbox, forced["access_token"]) == 40003
    assert (await sandbox.post(WX + "/cgi-bin/stable_token", {**body, "force_refresh": True}))[1]["errcode"] == 45009
    client = sandbox.gateway.store.client
    await client.hset("sandbox:wxtoken:wechat-main", "until", int(time.time()) - 1)
    assert await wx_send(sandbox, forced["access_token"]) == 42001


@pytest.mark.parametrize("fault", ["token_superseded", "token_expired", "errcode:40001"])
async def test_the_gateway_gets_over_a_lost_token(sandbox, fault):
    """Whatever became of it, the buyer sees one answer."""
    assert (await sandbox.fault("wechat-main", fault))[0] == 200
    await sandbox.say("wechat-main", text="会员")
    await sandbox.told("wechat-main", "手机号")
    told = [m for m in await sandbox.messages("wechat-main") if m["from"] == "shop"]
    assert len(told) == len(await sandbox.ledger("wechat-main")) == 2
    assert (await sandbox.fault("messenger-main", fault))[0] == (200 if fault.startswith("errcode") else 400)


async def test_every_bubble_has_its_own_reference(sandbox):
    """The ledger and the phone name a message alike."""
    await sandbox.say("wechat-main", text="会员")
    await sandbox.told("wechat-main", "手机号")
    refs = [m["ref"] for m in await sandbox.messages("wechat-main") if m["from"] == "shop"]
    assert refs == [line["ref"] for line in await sandbox.ledger("wechat-main")]
    assert len(set(refs)) == 2
    assert all(refs)


async def test_staff_hold_the_conversation(sandbox):
    """While a session is open texts go to staff only; closed, or silent for half an hour, the gateway hears them again."""
    path = sandbox.phone("wechat-main") + "/staff"
    await sandbox.say("wechat-main", text="你好")
    await sandbox.told("wechat-main", "您可以回复")
    await sandbox.idle()
    before = len(await sandbox.messages("wechat-main"))
    assert (await sandbox.post(path, {"do": "close"}))[0] == 409
    assert (await sandbox.post(path, {"do": "open"}))[0] == 200
    assert (await sandbox.post(path, {"do": "open"}))[0] == 409
    assert (await sandbox.post(path, {"do": "say", "text": "我来看看"}))[0] == 200
    assert (await sandbox.post(path, {"do": "switch", "by": "kf2002@sandbox"}))[0] == 200
    await sandbox.say("wechat-main", text="会员")
    await sandbox.idle()
    await asyncio.sleep(0.3)
    assert [m["from"] for m in (await sandbox.messages("wechat-main"))[before:]] == ["staff", "buyer"]
    assert (await sandbox.post(path, {"do": "close"}))[0] == 200
    await sandbox.say("wechat-main", text="会员")
    await sandbox.told("wechat-main", "手机号")
    assert (await sandbox.post(path, {"do": "open"}))[0] == 200
    await sandbox.advance(31 * 60)
    await sandbox.say("wechat-main", text="优惠券")
    await sandbox.told("wechat-main", "券")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "do"),
        ({"do": "dance"}, "do"),
        ({"do": "say"}, "text"),
        ({"do": "open", "text": "x"}, "text"),
        ({"do": "open", "by": "<b>"}, "by"),
        ({"do": "open", "by": 5}, "by"),
    ],
)
async def test_a_wrong_staff_call_is_a_clear_400(sandbox, body, field):
    """The field at fault is named; other channels have no sessions."""
    status, problem = await sandbox.post(sandbox.phone("wechat-main") + "/staff", body)
    assert (status, problem["errors"][0]["field"]) == (400, field)
    assert (await sandbox.post(sandbox.phone("messenger-main") + "/staff", {"do": "open"}))[0] == 404


async def test_a_template_is_shown_once_per_reference(sandbox):
    """The same client_msg_id again answers the same msgid; a field that breaks its type is named."""
    await sandbox.say("wechat-main", text="你好")
    await sandbox.idle()
    url = f"{WX}/cgi-bin/message/template/send?access_token={await token(sandbox)}"
    body = {"touser": OPENID, "template_id": "t", "client_msg_id": "m_1", "data": {"thing1": {"value": "茶"}}}

    async def send(**changes):
        raw = json.dumps({**body, **changes}, ensure_ascii=False).encode()
        async with sandbox.session.post(sandbox.base + url, data=raw) as answer:
            return await answer.json()

    first = await send()
    assert first["errcode"] == 0
    assert (await send())["msgid"] == first["msgid"]
    assert [m["text"] for m in await sandbox.messages("wechat-main")].count("茶") == 1
    refused = await send(data={"thing1": {"value": "x" * 21}})
    assert refused["errcode"] == 47003
    assert "data.thing1.value" in refused["errmsg"]
    assert (await send(template_id=""))["errcode"] == 40037
    assert (await send(touser="oNobody"))["errcode"] == 43004


def test_wechat_is_content_with_success_nothing_or_xml():
    """A problem document, a page or another status makes it try again."""
    assert all(_taken(200, body) for body in (b"success", b"", b" <xml></xml>"))
    assert not any(_taken(*answer) for answer in ((200, b'{"ok":true}'), (200, b"<html>"), (503, b""), (0, b"")))


async def test_a_push_is_tried_four_times_five_seconds_apart(monkeypatch):
    """After that the buyer reads that the service is broken, as in the app."""
    pauses = []

    async def quick(seconds: float) -> None:
        pauses.append(round(seconds))

    shown = []

    class Phones:
        async def show(self, *where, **what):
            shown.append(what)

    async with gateway(503, 500, 503, 503) as (base, outward, got):
        monkeypatch.setattr(asyncio, "sleep", quick)
        world = type("W", (), {"outward": outward, "phones": Phones(), "now_s": 1_760_000_000})()
        provider = WeChatProvider(world, {})
        monkeypatch.setattr(provider, "push", lambda *_: (base + "/x", b"<xml/>", {}))
        assert await provider._post("wechat-main", OPENID, "") == 503
        monkeypatch.undo()
    assert len(got) == 4
    assert [pause for pause in pauses if pause] == [5, 5, 5]
    assert [one["text"] for one in shown] == [BROKEN]
    assert isinstance(outward.session, aiohttp.ClientSession)
