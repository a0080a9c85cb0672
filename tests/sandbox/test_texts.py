"""The simulated SMS providers refuse what the real ones refuse: shares of a number, stale calls, numbers that take no texts."""

from __future__ import annotations

import secrets
import time

import pytest

from channels.alibaba.signature import encode, signed_headers
from sandbox.providers.common import World
from tests.sandbox.test_sandbox import LOGIN, TEXTS

URL = "/sandbox/providers/alibaba/"


async def send_sms(
    sandbox, *, to="13900001234", at=None, nonce="", template="SMS_1", param='{"code":"123456"}', **more
):
    """A signed SendSms of the shipped account; (status, code, message)."""
    params = {
        "PhoneNumbers": to, "SignName": "小满衣橱", "TemplateCode": template, "TemplateParam": param, "OutId": "o1", **more,
    }  # fmt: skip
    body = encode(params).encode()
    headers = signed_headers(
        key_id="sandboxAccessKeyId",
        secret="sandboxAccessKeySecret",
        host=sandbox.base.removeprefix("http://"),
        action="SendSms",
        version="2017-05-25",
        at_ms=int((time.time() if at is None else at) * 1000),
        nonce=nonce or secrets.token_hex(16),
        body=body,
    )
    async with sandbox.session.post(sandbox.base + URL, data=body, headers=headers) as answer:
        found = await answer.json()
        return answer.status, found["Code"], found["Message"]


async def test_codes_have_a_share_a_minute_an_hour_and_a_day(sandbox, monkeypatch):
    """1 a minute, 5 an hour, 10 a day per number and signature; another number has its own; notices are not counted with them.

    The provider counts by the minutes and hours of its own clock, so the test moves that one, from the start of an hour.
    """
    clock = time.time() // 3600 * 3600
    monkeypatch.setattr(World, "now_s", property(lambda _: int(clock)))

    async def told(**more) -> str:
        return (await send_sms(sandbox, at=clock, **more))[2]

    assert await told() == "OK"
    assert await told() == "触发分钟级流控Permits:1"
    assert await told(to="13900005678") == "OK"
    assert await told(param='{"order":"A-7"}') == "OK"
    clock += 59
    assert await told() == "触发分钟级流控Permits:1"
    clock += 1
    for _ in range(4):
        assert await told() == "OK"
        clock += 60
    assert await told() == "触发小时级流控Permits:5"
    clock += 3599 - clock % 3600
    assert await told() == "触发小时级流控Permits:5"
    clock += 1
    for _ in range(5):
        assert await told() == "OK"
        clock += 60
    assert await told() == "触发小时级流控Permits:5"
    clock += 3600
    assert await told() == "触发天级流控Permits:10"
    clock += 86_400 - 2 * 3600
    assert await told() == "OK"  # the first hour's are a day old


async def test_notices_have_fifty_a_day(sandbox):
    """Per number, signature and template."""
    found = [(await send_sms(sandbox, param='{"order":"A-7"}'))[1] for _ in range(51)]
    assert found.count("OK") == 50
    assert found[-1] == "isv.BUSINESS_LIMIT_CONTROL"
    assert (await send_sms(sandbox, template="SMS_2", param='{"order":"A-7"}'))[1] == "OK"


async def test_stale_and_repeated_calls_are_refused(sandbox):
    """A clock a quarter of an hour off, and a nonce used twice."""
    assert (await send_sms(sandbox, at=time.time() - 1000))[:2] == (400, "InvalidTimeStamp.Expired")
    assert (await send_sms(sandbox, nonce="n" * 32))[1] == "OK"
    assert (await send_sms(sandbox, to="13900005678", nonce="n" * 32))[:2] == (400, "SignatureNonceUsed")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": "02012345678"}, "isv.MOBILE_NUMBER_ILLEGAL"),
        ({"param": '{"code":5}'}, "isv.INVALID_JSON_PARAM"),
        ({"param": "x"}, "isv.INVALID_JSON_PARAM"),
        ({"param": '{"text":"' + "字" * 500 + '"}'}, "isv.PARAM_LENGTH_LIMIT"),
        ({"template": "1"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ({"SignName": "别家"}, "isv.SMS_SIGNATURE_ILLEGAL"),
        ({"OutId": "x" * 256}, "isv.PARAM_LENGTH_LIMIT"),
    ],
)
async def test_alibaba_refuses_what_the_real_one_refuses(sandbox, changes, code):
    """Numbers, parameters, lengths, template and signature."""
    assert (await send_sms(sandbox, **changes))[1] == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": "+861062345678"}, 21614),
        ({"To": "+86139"}, 21211),
        ({"To": "13900001234"}, 21211),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"StatusCallback": "https://my_gw.example.com/x"}, 21609),
        ({"Body": ""}, 21602),
        ({"From": "+15005550009"}, 21606),
    ],
)
async def test_twilio_refuses_what_the_real_one_refuses(sandbox, fields, code):
    """Numbers, periods, callbacks, texts and senders."""
    form = {"To": "+8613900001234", "From": "+15005550006", "Body": "hello", **fields}
    async with sandbox.session.post(sandbox.base + TEXTS, data=form, headers=LOGIN) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, code)


async def test_a_yes_joins_by_text(sandbox):
    """YES is a way back at Twilio only for who had stopped: everybody else's YES is an answer."""
    await sandbox.say("sms-main", text="会员")
    await sandbox.told("sms-main", "回1")
    await sandbox.say("sms-main", text="YES")
    await sandbox.told("sms-main", "8")
    assert not [m for m in await sandbox.messages("sms-main") if m["from"] == "carrier"]
