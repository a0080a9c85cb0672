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
    OptedOutError,
    RejectedError,
    SendError,
    ThrottledError,
    UnreachableError,
)
from bot.http import PyreqwestHttp
from bot.messages import Button, Card, Choice, Notice, OrderReceipt, Picture, Receipt, Text
from channels.twilio.adapter import TEXT_LIMIT, TYPE, status_url
from tests.channels.lend import NOW, OUR_ID, PUBLIC, outbound, provider, toolkit
from tests.channels.twilio.peer import MESSAGES, SID, TOKEN, TwilioPeer, refusal

CONFIG = {"type": "twilio", "account_sid": SID, "auth_token": TOKEN, "from_number": "+15005550001"}
CALLBACK = f"{PUBLIC}/channels/sms-main/status?ref={OUR_ID}"


def line(http=None, base="https://api.twilio.com", public=PUBLIC, **config):
    values = {k: v for k, v in {**CONFIG, "api_base": base, **config}.items() if v is not None}
    return TYPE.build("sms-main", TYPE.config(**values), toolkit(http, public))


async def send(peer, message, **config):
    async with provider(peer) as (base, http):
        return await line(http, base, **config).send(message)


# --- what goes out ----------------------------------------------------------------------------------------------------


async def test_a_text_goes_out():
    """The form Twilio wants, signed in with the account's token; the receipt has its id and parts."""
    peer = TwilioPeer()
    receipt = await send(peer, outbound("您的订单 & 已发货 +1"))
    assert receipt == Receipt(provider_id=f"SM{1:032x}", parts=2)
    assert peer.targets == [f"POST {MESSAGES}"]
    assert peer.forms == [
        {"To": "+8613900001234", "Body": "您的订单 & 已发货 +1", "From": "+15005550001", "StatusCallback": CALLBACK}
    ]


async def test_a_messaging_service_chooses_the_sender():
    """With a service there is no From, and the parts are not known yet."""
    peer = TwilioPeer()
    receipt = await send(peer, outbound("hi"), from_number=None, messaging_service_sid="MG01")
    assert receipt.parts == 0
    assert "From" not in peer.forms[0]
    assert peer.forms[0]["MessagingServiceSid"] == "MG01"


async def test_an_api_key_signs_in():
    """With a key pair the account's token is not used for calls."""
    peer = TwilioPeer("SK01", "key-secret")
    assert (await send(peer, outbound("hi"), api_key_sid="SK01", api_key_secret="key-secret")).provider_id


async def test_the_first_of_several_tokens_signs_in():
    """After a rotation calls use the current token."""
    peer = TwilioPeer(password="newer")
    assert (await send(peer, outbound("hi"), auth_token=["newer", TOKEN])).provider_id


@pytest.mark.parametrize(
    ("left_ms", "expected"),
    [(0, None), (600_000, "600"), (1_000, "10"), (-5_000, "10"), (35_999_999, "35999"), (36_000_000, None)],
)
async def test_a_deadline_becomes_a_validity_period(left_ms, expected):
    """Twilio drops what it could not deliver in time; the deadline is in virtual time."""
    peer = TwilioPeer()
    not_after = NOW + 3_600_000 + left_ms if left_ms else 0
    await send(peer, outbound("hi", not_after=not_after))
    assert peer.forms[0].get("ValidityPeriod") == expected


async def test_a_text_over_the_limit_goes_out_in_pieces():
    """No grapheme is cut, the receipt names every piece and sums the parts."""
    peer = TwilioPeer()
    text = "👨‍👩‍👧" * 300
    receipt = await send(peer, outbound(text))
    assert "".join(form["Body"] for form in peer.forms) == text
    assert all(len(form["Body"].encode("utf-16-le")) <= 2 * TEXT_LIMIT for form in peer.forms)
    assert len(peer.forms) == 2
    assert receipt == Receipt(provider_id=f"SM{2:032x}", parts=4, extra_ids=(f"SM{1:032x}",))


async def test_choices_and_links_become_lines():
    """What the wording has not spelled out is listed; numbered texts are left alone."""
    peer = TwilioPeer()
    choices = (Choice("join", "办会员卡"), Choice("coupons", "领券"))
    async with provider(peer) as (base, http):
        channel = line(http, base)
        await channel.send(outbound(Text("好的", choices, buttons=(Button("看订单", "https://s.example/o"),))))
        await channel.send(outbound(Text("1 办卡 2 领券", choices, numbered=True)))
    assert peer.forms[0]["Body"] == "好的\n1 办会员卡\n2 领券\n看订单 https://s.example/o"
    assert peer.forms[1]["Body"] == "1 办卡 2 领券"


@pytest.mark.parametrize(
    "content",
    [
        Picture("qr", "alt"),
        Card("title"),
        OrderReceipt("1", "b", "CNY", "1", (), "t"),
        Notice("T1", {}),
        Text(""),
        Text(" \n "),
        Text("\ud83d"),
    ],
)
async def test_other_contents_are_refused_before_any_call(content):
    """Only a text with words in it is sent."""
    with pytest.raises(ContentError):
        await line().send(outbound(content))


@pytest.mark.parametrize("to", ["", "13900001234", "MYSHOP", "+0123456789"])
async def test_what_is_no_number_is_refused_before_any_call(to):
    """An address that is no number cannot be reached."""
    with pytest.raises(UnreachableError):
        await line().send(outbound("hi", to=to))


@pytest.mark.parametrize(
    ("public", "api", "expected"),
    [
        ("https://gw.example.com/", "https://api.twilio.com", "https://gw.example.com/channels/sms-main/status"),
        ("https://my_gw.example.com", "https://api.twilio.com", ""),
        ("http://127.0.0.1:8080", "https://api.twilio.com", ""),
        ("http://localhost:8080", "https://api.twilio.com", ""),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/sandbox", "http://127.0.0.1:8080/channels/sms-main/status"),
        ("", "https://api.twilio.com", ""),
    ],
)
def test_where_statuses_are_asked_for(public, api, expected):
    """An address that Twilio would refuse is left out, so that the text itself goes out."""
    assert status_url(public, "sms-main", api) == expected


async def test_a_host_with_an_underscore_gets_no_callback():
    """The send itself goes through."""
    peer = TwilioPeer()
    await send(peer, outbound("hi"), public="https://my_gw.example.com")
    assert "StatusCallback" not in peer.forms[0]


# --- what comes back --------------------------------------------------------------------------------------------------

OK_BUT = {"sid": "SM1", "status": "queued", "error_code": None}


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "code"),
    [
        (refusal(401, 20003), AccountError, "account", "20003"),
        (refusal(403, 20005), AccountError, "account", "20005"),
        (refusal(404, 20404), AccountError, "account", "20404"),
        (refusal(429, 20429), ThrottledError, "throttled", "20429"),
        (refusal(400, 21211), UnreachableError, "unreachable", "21211"),
        (refusal(400, 21614), UnreachableError, "unreachable", "21614"),
        (refusal(400, 21635), UnreachableError, "unreachable", "21635"),
        (refusal(400, 21408), RejectedError, "account", "21408"),
        (refusal(400, 21608), RejectedError, "account", "21608"),
        (refusal(400, 21612), RejectedError, "rejected", "21612"),
        (refusal(400, 21610), OptedOutError, "opted_out", "21610"),
        (refusal(400, 30004), OptedOutError, "opted_out", "30004"),
        (refusal(400, 21602), ContentError, "content", "21602"),
        (refusal(400, 21617), ContentError, "content", "21617"),
        (refusal(400, 21606), AccountError, "account", "21606"),
        (refusal(400, 21659), AccountError, "account", "21659"),
        (refusal(400, 21704), AccountError, "account", "21704"),
        (refusal(400, 30034), AccountError, "account", "30034"),
        (refusal(400, 21611), ThrottledError, "throttled", "21611"),
        (refusal(429, 63038), ThrottledError, "throttled", "63038"),
        (refusal(400, 30007), RejectedError, "filtered", "30007"),
        (refusal(400, 99999), RejectedError, "rejected", "99999"),
        (refusal(500, 20500), InDoubtError, "no_answer", "20500"),
        (refusal(503, 20503), InDoubtError, "no_answer", "20503"),
        ((500, "<html>down</html>", {}), InDoubtError, "no_answer", "500"),
        ((200, "<html>proxy</html>", {}), InDoubtError, "no_answer", "200"),
        ((201, "[]", {}), InDoubtError, "no_answer", "201"),
        ((201, "{}", {}), InDoubtError, "no_answer", ""),
        ((201, "[" * 100_000, {}), InDoubtError, "no_answer", "201"),
        ((204, "", {}), InDoubtError, "no_answer", "204"),
        ((408, "", {}), InDoubtError, "no_answer", "408"),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), AccountError, "account", "302"),
        ((429, "slow down", {}), ThrottledError, "throttled", "429"),
        ((401, "no", {}), AccountError, "account", "401"),
        ((400, "no", {}), RejectedError, "rejected", "400"),
        ((201, json.dumps({**OK_BUT, "error_code": 21610}), {}), OptedOutError, "opted_out", "21610"),
        ((201, json.dumps({**OK_BUT, "status": "failed"}), {}), RejectedError, "rejected", ""),
        ((201, json.dumps({**OK_BUT, "error_code": "30007"}), {}), RejectedError, "filtered", "30007"),
        ("drop", InDoubtError, "no_answer", ""),
    ],
)
async def test_a_refusal_becomes_the_right_error(answer, kind, reason, code):
    """Each answer is one member of the closed tree, with Twilio's code for staff and no number or text in it."""
    peer = TwilioPeer()
    peer.answers = [answer]
    with pytest.raises(SendError) as caught:
        await send(peer, outbound("geheim"))
    error = caught.value
    assert (type(error), str(error.reason), error.code) == (kind, reason, code)
    assert not any(secret in str(error) for secret in ("geheim", "13900001234", TOKEN, "http://"))
    assert len(peer.targets) == 1


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (refusal(429, 20429), 1.0),
        (refusal(429, 20429, **{"Retry-After": "7"}), 7.0),
        (refusal(429, 20429, **{"Retry-After": "soon"}), 1.0),
        ((429, "", {"Retry-After": "3"}), 3.0),
        (refusal(400, 21611), 300.0),
        (refusal(429, 63038), 3600.0),
    ],
)
async def test_how_long_a_pause_lasts(answer, seconds):
    """Twilio's own number if it gives one, else what the code means."""
    peer = TwilioPeer()
    peer.answers = [answer]
    with pytest.raises(ThrottledError) as caught:
        await send(peer, outbound("hi"))
    assert caught.value.retry_after_s == seconds


async def test_a_later_piece_that_is_refused_is_in_doubt():
    """Half of it was read already: trying again would repeat it."""
    peer = TwilioPeer()
    peer.answers = [(201, json.dumps(OK_BUT), {}), refusal(429, 20429)]
    with pytest.raises(InDoubtError) as caught:
        await send(peer, outbound("a" * 2000))
    assert caught.value.code == "20429"


async def test_no_connection_is_safe_to_repeat():
    """Nothing was written: the error says so."""
    http = PyreqwestHttp(timeout_s=1)
    try:
        with pytest.raises(ConnectError):
            await line(http, "http://127.0.0.1:1").send(outbound("hi"))
    finally:
        await http.close()


# --- check and configuration ------------------------------------------------------------------------------------------


async def test_check_says_what_works():
    """The account is read, and what it means is said in words."""
    async with provider(TwilioPeer()) as (base, http):
        assert await line(http, base).check() == "the Twilio account answers; texts go out from +15005550001"
        said = await line(http, base, public="https://my_gw.example.com").check()
        assert "delivery statuses are off" in said
    async with provider(TwilioPeer("SK01", "s")) as (base, http):
        assert (
            "MG01"
            in await line(
                http, base, from_number=None, messaging_service_sid="MG01", api_key_sid="SK01", api_key_secret="s"
            ).check()
        )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(401, 20003), AccountError),
        ((200, json.dumps({"status": "suspended"}), {}), AccountError),
        ((200, "<html>", {}), InDoubtError),
        ((201, json.dumps(OK_BUT), {}), InDoubtError),
        ((503, "", {}), InDoubtError),
    ],
)
async def test_check_says_what_is_wrong(answer, kind):
    """Wrong secrets, a suspended account and an outage are told apart."""
    peer = TwilioPeer()
    peer.answers = [answer]
    async with provider(peer) as (base, http):
        with pytest.raises(kind):
            await line(http, base).check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"from_number": None}, "exactly one"),
        ({"messaging_service_sid": "MG01"}, "exactly one"),
        ({"auth_token": None}, "required"),
        ({"auth_token": ""}, "at least 1"),
        ({"auth_token": []}, "at least 1"),
        ({"account_sid": "SM01"}, "pattern"),
        ({"from_number": "0044-123"}, "pattern"),
        ({"api_key_sid": "SK01"}, "both or neither"),
        ({"shared_keys": {"webhooks_sharedkey_1": ""}}, "empty"),
        ({"api_base": "api.twilio.com"}, "pattern"),
        ({"colour": "red"}, "extra"),
    ],
)
def test_impossible_configurations_are_refused(changes, said):
    """A line without a secret or a sender cannot be configured; what is wrong is said."""
    values = {k: v for k, v in {**CONFIG, **changes}.items() if v is not None}
    with pytest.raises(ValidationError, match=f"(?i){said}"):
        TYPE.config(**values)


@pytest.mark.parametrize(
    ("config", "code", "whole"),
    [
        ({}, 14107, True),
        ({}, 21611, True),
        ({"from_number": None, "messaging_service_sid": "MG01"}, 14107, False),
        ({"from_number": None, "messaging_service_sid": "MG01"}, 21611, False),
        ({"from_number": None, "messaging_service_sid": "MG01"}, 20429, True),
        ({"from_number": None, "messaging_service_sid": "MG01"}, 63038, True),
    ],
)
async def test_one_sender_of_a_service_does_not_stop_the_others(config, code, whole):
    """A limit of one sender pauses a line with one sender; with a Messaging Service only that text waits."""
    peer = TwilioPeer()
    peer.answers = [refusal(429, code)]
    with pytest.raises(ThrottledError) as caught:
        await send(peer, outbound("hi"), **config)
    assert caught.value.whole_line is whole
    assert caught.value.alert is (code in (21611, 63038))


async def test_a_carriers_block_stops_marketing_alone():
    """30004 may be a list for advertising: service notices go on; 21610 stops the number altogether."""
    for code, only in ((30004, True), (21610, False)):
        peer = TwilioPeer()
        peer.answers = [refusal(400, code)]
        with pytest.raises(OptedOutError) as caught:
            await send(peer, outbound("hi"))
        assert caught.value.marketing_only is only


async def test_look_alikes_are_replaced_only_if_the_shop_wants_it():
    """SmartEncoded goes along where it is set, and never by itself."""
    for wanted in (True, False):
        peer = TwilioPeer()
        await send(peer, outbound("“hi”"), smart_encoded=wanted)
        assert peer.forms[0].get("SmartEncoded") == ("true" if wanted else None)
