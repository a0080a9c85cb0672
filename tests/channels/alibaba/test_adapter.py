"""Sends over a real socket, the table of refusals, configuration and check."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from bot.errors import (
    AccountError,
    ConnectError,
    ContentError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    SendError,
    ThrottledError,
    UnreachableError,
)
from bot.http import PyreqwestHttp
from bot.messages import Card, Notice, OrderReceipt, Picture, Receipt, Text
from channels.alibaba.adapter import CAPABILITIES, TYPE
from channels.alibaba.config import bits_of
from tests.channels.alibaba.peer import SECRET, AlibabaPeer, refusal
from tests.channels.alibaba.test_inbound import CONFIG, KEY
from tests.channels.lend import NOW, OUR_ID, outbound, provider, toolkit

NOTICE = Notice("SMS_123456789", {"order": "A-7", "name": "王 五~*"}, text="【某某商城】…")


def line(http=None, base="https://dysmsapi.aliyuncs.com", **config):
    return TYPE.build("sms-cn", TYPE.config(**{**CONFIG, "api_base": base, **config}), toolkit(http))


async def send(peer, message, **config):
    async with provider(peer) as (base, http):
        return await line(http, base, **config).send(message)


# --- what goes out ----------------------------------------------------------------------------------------------------


async def test_a_notice_goes_out():
    """Template, fields as strings, our id, the number in mainland form; nothing of it in the URL."""
    peer = AlibabaPeer()
    assert await send(peer, outbound(NOTICE)) == Receipt(provider_id="90061^0")
    assert peer.targets == ["/"]
    assert peer.calls == [
        (
            "SendSms",
            {
                "PhoneNumbers": "13900001234",
                "SignName": "某某商城",
                "TemplateCode": "SMS_123456789",
                "TemplateParam": '{"order":"A-7","name":"王 五~*"}',
                "OutId": OUR_ID,
            },
        )
    ]


async def test_what_is_optional():
    """A template without variables has no parameters; an extension code goes with every text."""
    peer = AlibabaPeer()
    await send(peer, outbound(Notice("SMS_1", {})), up_extend_code="88")
    assert "TemplateParam" not in peer.calls[0][1]
    assert peer.calls[0][1]["SmsUpExtendCode"] == "88"


async def test_an_endpoint_behind_a_path():
    """A proxy's path comes before the action's own, which is signed as "/"."""
    peer = AlibabaPeer()
    async with provider(peer) as (base, http):
        assert (await line(http, base + "/sms/").send(outbound(NOTICE))).provider_id
    assert peer.targets == ["/sms/"]


async def test_each_call_has_its_own_nonce():
    """A repeated nonce would be refused as a replay."""
    peer = AlibabaPeer()
    async with provider(peer) as (base, http):
        channel = line(http, base)
        for _ in range(5):
            await channel.send(outbound(NOTICE))
    assert len(peer.nonces) == 5


@pytest.mark.parametrize(
    "content", [Text("您的订单已发货"), Picture("qr", "alt"), Card("t"), OrderReceipt("1", "b", "CNY", "1", (), "t")]
)
async def test_free_text_is_refused_before_any_call(content):
    """The reason says what to configure."""
    with pytest.raises(ContentError, match=r"approved templates only; add \[notices"):
        await line().send(outbound(content))
    assert not CAPABILITIES.free_text
    assert CAPABILITIES.contents == {"notice"}


@pytest.mark.parametrize("to", ["+14155552671", "+85261234567", "13900001234", "+8612900001234", ""])
async def test_numbers_abroad_are_refused_before_any_call(to):
    """The line's templates are for the mainland."""
    with pytest.raises(UnreachableError):
        await line().send(outbound(NOTICE, to=to))


async def test_half_a_character_is_refused_before_any_call():
    """Text that is no Unicode cannot be signed."""
    with pytest.raises(ContentError):
        await line().send(outbound(Notice("SMS_1", {"name": "\ud83d"})))


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "code"),
    [
        (refusal("isv.BUSINESS_LIMIT_CONTROL", message="触发分钟级流控Permits:1"), ThrottledError, "throttled", ""),
        (refusal("isv.BUSINESS_LIMIT_CONTROL", message="触发小时级流控Permits:5"), ThrottledError, "throttled", ""),
        (refusal("isv.BUSINESS_LIMIT_CONTROL", message="触发天级流控Permits:10"), RejectedError, "throttled", ""),
        (refusal("isv.DAY_LIMIT_CONTROL"), AccountError, "account", ""),
        (refusal("isv.MOBILE_NUMBER_ILLEGAL"), UnreachableError, "unreachable", ""),
        (refusal("isv.AMOUNT_NOT_ENOUGH"), AccountError, "account", ""),
        (refusal("isp.RAM_PERMISSION_DENY"), AccountError, "account", ""),
        (refusal("isv.SMS_SIGNATURE_ILLEGAL"), AccountError, "account", ""),
        (refusal("isv.SMS_TEMPLATE_ILLEGAL"), ContentError, "content", ""),
        (refusal("isv.INVALID_JSON_PARAM"), ContentError, "content", ""),
        (refusal("isv.DOMESTIC_NUMBER_NOT_SUPPORTED"), ContentError, "content", ""),
        (refusal("isv.DENY_IP_RANGE"), AccountError, "account", ""),
        (refusal("isv.SOMETHING_NEW"), RejectedError, "rejected", ""),
        (refusal("isp.SYSTEM_ERROR"), ProviderDownError, "provider_down", ""),
        (refusal("isp.GATEWAY_ERROR"), ProviderDownError, "provider_down", ""),
        (refusal("Throttling.User", 400), ThrottledError, "throttled", ""),
        (refusal("Throttling", 503), ThrottledError, "throttled", ""),
        (refusal("ServiceUnavailable", 503), ProviderDownError, "provider_down", ""),
        (refusal("InternalError", 500), InDoubtError, "no_answer", ""),
        (refusal("SignatureDoesNotMatch", 400), AccountError, "account", ""),
        (refusal("InvalidAccessKeyId.NotFound", 404), AccountError, "account", ""),
        (refusal("SignatureNonceUsed", 400), InDoubtError, "no_answer", ""),
        (refusal("OK", 500), InDoubtError, "no_answer", "500"),
        ((500, "<html>down</html>"), InDoubtError, "no_answer", "500"),
        ((200, "<html>proxy</html>"), InDoubtError, "no_answer", "200"),
        ((200, "[]"), InDoubtError, "no_answer", "200"),
        ((200, '{"Code":5}'), InDoubtError, "no_answer", "200"),
        ((200, "[" * 100_000), InDoubtError, "no_answer", "200"),
        ((429, ""), ThrottledError, "throttled", "429"),
        ((403, "no"), AccountError, "account", "403"),
        ((302, ""), AccountError, "account", "302"),
        ((400, "no"), RejectedError, "rejected", "400"),
        ("drop", InDoubtError, "no_answer", ""),
    ],
)
async def test_a_refusal_becomes_the_right_error(answer, kind, reason, code):
    """Each answer is one member of the closed tree, with the provider's code and no number, field or secret in it."""
    peer = AlibabaPeer()
    peer.answers = [answer]
    with pytest.raises(SendError) as caught:
        await send(peer, outbound(NOTICE))
    error = caught.value
    expected = code or (json.loads(answer[1])["Code"] if isinstance(answer, tuple) else "")
    assert (type(error), str(error.reason), error.code) == (kind, reason, expected)
    assert not any(secret in str(error) for secret in ("王", "13900001234", SECRET, KEY, "http://"))
    assert len(peer.targets) == 1


async def test_a_wrong_secret_is_refused_by_the_provider():
    """The peer checks the signature itself."""
    with pytest.raises(AccountError) as caught:
        await send(AlibabaPeer(), outbound(NOTICE), access_key_secret="another")
    assert caught.value.code == "SignatureDoesNotMatch"


async def test_an_acceptance_without_an_id_is_one():
    """The receipt will name our id."""
    peer = AlibabaPeer()
    peer.answers = [refusal("OK")]
    assert await send(peer, outbound(NOTICE)) == Receipt()


async def test_no_connection_is_safe_to_repeat():
    """Nothing was written: the error says so."""
    http = PyreqwestHttp(timeout_s=1)
    try:
        with pytest.raises(ConnectError):
            await line(http, "http://127.0.0.1:1").send(outbound(NOTICE))
    finally:
        await http.close()


# --- check and configuration ------------------------------------------------------------------------------------------


async def test_check_says_what_works():
    """The signature's state is read; a key that may only send is told from a wrong one."""
    peer = AlibabaPeer()
    async with provider(peer) as (base, http):
        assert await line(http, base).check() == "Alibaba Cloud answers; the signature 某某商城 is approved"
        peer.answers = [refusal("isp.RAM_PERMISSION_DENY")]
        assert "does not tell" in await line(http, base).check()
    assert peer.calls == [("GetSmsSign", {"SignName": "某某商城"})]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, '{"Code":"OK","SignStatus":0}'), "under review"),
        ((200, '{"Code":"OK","SignStatus":2}'), "refused"),
        (refusal("SignatureDoesNotMatch", 400), "access_key"),
        (refusal("isv.OUT_OF_SERVICE"), "balance"),
    ],
)
async def test_check_says_what_is_wrong(answer, said):
    """An unapproved signature and a wrong key are said in words."""
    peer = AlibabaPeer()
    peer.answers = [answer]
    async with provider(peer) as (base, http):
        with pytest.raises(AccountError, match=said):
            await line(http, base).check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"callback_key": None}, "required"),
        ({"callback_key": "short"}, "openssl rand -hex 16"),
        ({"callback_key": "0" * 64}, "openssl rand -hex 16"),
        ({"callback_key": KEY[:-1]}, "openssl rand -hex 16"),
        ({"callback_key": [KEY, "password1234"]}, "openssl rand -hex 16"),
        ({"callback_key": KEY + " &"}, "openssl rand -hex 16"),
        ({"callback_key": []}, "at least 1"),
        ({"access_key_secret": ""}, "at least 1"),
        ({"sign_name": ""}, "at least 1"),
        ({"sign_name": "【某某商城】"}, "without 【"),
        ({"allow_ips": ["192.0.2.300"]}, "IP"),
        ({"up_extend_code": "x"}, "pattern"),
        ({"region": "cn-hangzhou"}, "extra"),
    ],
)
def test_impossible_configurations_are_refused(changes, said):
    """No callback without a key that is hard to guess; what is wrong is said without the key itself."""
    values = {k: v for k, v in {**CONFIG, **changes}.items() if v is not None}
    with pytest.raises(ValidationError, match=f"(?i){said}"):
        TYPE.config(**values)


def test_how_hard_a_key_is_to_guess():
    """Bits by the alphabet that the key keeps to."""
    assert bits_of(KEY) == 128
    assert bits_of("A1b2C3d4E5f6G7h8I9j0K-") == 132
    assert bits_of("0123456789" * 3) < 128
    assert bits_of("01234567" + "ä" * 40) == 0


@pytest.mark.parametrize(
    ("message", "life_s", "waits"),
    [
        ("触发分钟级流控Permits:1", 600, 41.0),  # 14:13:20 in the tests
        ("触发分钟级流控Permits:1", 30, None),
        ("触发小时级流控Permits:5", 0, 2801.0),
        ("触发小时级流控Permits:5", 600, None),
        ("触发天级流控Permits:10", 0, None),
    ],
)
async def test_a_number_s_share_is_waited_for_if_the_text_lives_that_long(message, life_s, waits):
    """Minute and hour are those of the clock; only this number waits, the line goes on; a code that would expire fails."""
    peer = AlibabaPeer()
    peer.answers = [refusal("isv.BUSINESS_LIMIT_CONTROL", message=message)]
    not_after = NOW + 3_600_000 + life_s * 1000 if life_s else 0
    with pytest.raises(SendError) as caught:
        await send(peer, outbound(NOTICE, not_after=not_after))
    error = caught.value
    if waits is None:
        assert isinstance(error, RejectedError)
        assert error.reason == "throttled"
    else:
        assert isinstance(error, ThrottledError)
        assert (error.retry_after_s, error.whole_line) == (waits, False)
