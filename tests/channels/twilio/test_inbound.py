"""What Twilio posts, as events."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PayloadError, SignatureError
from bot.events import Event, Media, MessageReceived, OptChanged, StatusReported
from bot.ports import Answer, Verified
from channels.twilio.adapter import TYPE, Twilio
from channels.twilio.signature import sign, string_to_sign
from tests.channels.lend import NOW, OUR_ID, PUBLIC, raw, toolkit
from tests.channels.twilio.peer import SID, TOKEN

BUYER = "+8613900001234"
MESSAGE = {
    "ToCountry": "US",
    "ToCity": "",
    "SmsMessageSid": "SM0123456789abcdef0123456789abcdef",
    "NumMedia": "0",
    "SmsSid": "SM0123456789abcdef0123456789abcdef",
    "SmsStatus": "received",
    "Body": "你好 ",
    "FromCountry": "CN",
    "To": "+15005550001",
    "NumSegments": "1",
    "MessageSid": "SM0123456789abcdef0123456789abcdef",
    "AccountSid": SID,
    "From": BUYER,
    "ApiVersion": "2010-04-01",
}
STATUS = {
    "ApiVersion": "2010-04-01",
    "MessageStatus": "delivered",
    "SmsSid": "SMaaaabbbbccccddddeeeeffff00001111",
    "SmsStatus": "delivered",
    "To": BUYER,
    "From": "+15005550001",
    "MessageSid": "SMaaaabbbbccccddddeeeeffff00001111",
    "AccountSid": SID,
    "RawDlrDoneDate": "2611220801",
}
SUBJECT = f"address:sms-main:{BUYER}"


def line(**config) -> Twilio:
    values = {"type": "twilio", "account_sid": SID, "auth_token": TOKEN, "from_number": "+15005550001", **config}
    built = TYPE.build("sms-main", TYPE.config(**values), toolkit())
    assert isinstance(built, Twilio)
    return built


def post(fields, url=f"{PUBLIC}/channels/sms-main/webhook"):
    """Signed as Twilio does, verified, parsed."""
    pairs = tuple(fields.items() if isinstance(fields, dict) else fields)
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", sign(TOKEN, string_to_sign(url, pairs))),
    ]
    channel = line()
    return channel.parse(channel.verify(raw(url, urlencode(pairs).encode(), headers)))


def test_a_text_is_a_message():
    """One event at the sender's address, with the provider's id and the text unchanged."""
    expected = Event(MESSAGE["MessageSid"], SUBJECT, "sms-main", NOW, NOW, MessageReceived(text="你好 "))
    assert post(MESSAGE).events == [expected]
    assert post(MESSAGE) == post(MESSAGE)


def test_pictures_come_with_their_addresses():
    """Media keep kind and URL; a message without words is of the first one's kind."""
    media = {
        "NumMedia": "2",
        "MediaUrl0": "https://api.twilio.com/m/0",
        "MediaContentType0": "image/jpeg",
        "MediaUrl1": "https://api.twilio.com/m/1",
        "MediaContentType1": "application/pdf",
    }
    found = (Media("image", "https://api.twilio.com/m/0"), Media("file", "https://api.twilio.com/m/1"))
    without_body = {k: v for k, v in MESSAGE.items() if k != "Body"} | media
    assert post(MESSAGE | media).events[0].body == MessageReceived(text="你好 ", media=found)
    assert post(without_body).events[0].body == MessageReceived(text="", kind="image", media=found)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("STOP", OptChanged(change="out", answered=True, blocks_all=True)),
        ("START", OptChanged(change="in", answered=True)),
        ("HELP", OptChanged(change="help", answered=True)),
    ],
)
def test_what_twilio_answered_itself_is_an_opt_change(kind, expected):
    """With OptOutType Twilio has confirmed already; after STOP it blocks the number altogether."""
    assert [e.body for e in post(MESSAGE | {"Body": kind, "OptOutType": kind}).events] == [expected]


def test_a_plain_stop_word_is_a_message():
    """Without OptOutType the words are the gateway's to understand."""
    assert post(MESSAGE | {"Body": "STOP"}).events[0].body == MessageReceived(text="STOP")
    assert post(MESSAGE | {"Body": "STOP", "OptOutType": ""}).events[0].body == MessageReceived(text="STOP")


@pytest.mark.parametrize("sender", ["whatsapp:+8613900001234", "729725", "MYSHOP", "+0123456789", "messenger:1"])
def test_what_comes_from_no_phone_number_is_counted(sender):
    """WhatsApp, short codes and names are no addresses of this line."""
    found = post(MESSAGE | {"From": sender})
    assert (list(found.events), list(found.ignored)) == ([], ["message from no phone number"])


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("accepted", "", StatusReported("sent")),
        ("queued", "", StatusReported("sent")),
        ("sending", "", StatusReported("sent")),
        ("sent", "", StatusReported("sent")),
        ("delivered", "", StatusReported("delivered")),
        ("partially_delivered", "", StatusReported("delivered")),
        ("read", "", StatusReported("read")),
        (
            "undelivered",
            "30003",
            StatusReported("failed", code="30003", reason="expired", again_after_s=(3600, 21600, 86400)),
        ),
        ("undelivered", "30004", StatusReported("failed", code="30004", reason="opted_out", marketing_only=True)),
        ("undelivered", "30005", StatusReported("failed", code="30005", reason="unreachable")),
        ("undelivered", "30007", StatusReported("failed", code="30007", reason="filtered")),
        ("undelivered", "30008", StatusReported("failed", code="30008", reason="provider_error", again_after_s=(300,))),
        ("failed", "21610", StatusReported("failed", code="21610", reason="opted_out")),
        ("failed", "30034", StatusReported("failed", code="30034", reason="account")),
        ("failed", "30036", StatusReported("failed", code="30036", reason="expired")),
        ("failed", "99999", StatusReported("failed", code="99999", reason="rejected")),
        ("failed", "", StatusReported("failed", reason="rejected")),
        ("failed", "³0003", StatusReported("failed", reason="rejected")),
        ("canceled", "", StatusReported("failed", reason="rejected")),
    ],
)
def test_a_callback_reports_a_status(state, code, expected):
    """Each of Twilio's states, on the status URL with our id in the signed query."""
    fields = STATUS | {"MessageStatus": state, "SmsStatus": state} | ({"ErrorCode": code} if code else {})
    url = f"{PUBLIC}/channels/sms-main/status?ref={OUR_ID}"
    status = StatusReported(
        expected.state, ref=OUR_ID, provider_id=STATUS["MessageSid"], code=expected.code, reason=expected.reason,
        marketing_only=expected.marketing_only, again_after_s=expected.again_after_s,
    )  # fmt: skip
    assert post(fields, url).events == [Event("", SUBJECT, "sms-main", NOW, NOW, status)]


def test_a_callback_without_our_id_names_the_provider_s():
    """A Messaging Service may report to the webhook itself; a foreign ref is not taken for ours."""
    expected = StatusReported("delivered", provider_id=STATUS["MessageSid"])
    assert post(STATUS).events[0].body == expected
    for ref in ("ord-7", "m_short", "m_07k3d5n8p2q4r6s9t%0A", "b_07k3d5n8p2q4r6s9tv"):
        assert post(STATUS, f"{PUBLIC}/channels/sms-main/status?ref={ref}").events[0].body == expected


def test_unknown_states_are_counted():
    """A state that Twilio invents later is counted, not guessed."""
    found = post(STATUS | {"MessageStatus": "teleported"})
    assert (list(found.events), list(found.ignored)) == ([], ["status teleported"])
    assert list(post(STATUS | {"To": "whatsapp:+8613900001234"}).ignored) == ["status of no phone number"]


def test_what_cannot_be_understood_is_an_error():
    """No id, no number, or a field with two meanings: kept for staff, never guessed."""
    broken = [
        {k: v for k, v in MESSAGE.items() if k != "From"},
        {k: v for k, v in MESSAGE.items() if "Sid" not in k},
        MESSAGE | {"MessageSid": "S" * 65},
        {k: v for k, v in STATUS.items() if k != "To"},
        [*MESSAGE.items(), ("From", "+15005550009")],
    ]
    for fields in broken:
        with pytest.raises(PayloadError):
            post(fields)


def test_a_json_post_is_counted():
    """A signed body that is no form has no events for us."""
    channel = line()
    found = channel.parse(Verified(raw(PUBLIC + "/x", b"{}"), b"{}"))
    assert (list(found.events), list(found.ignored)) == ([], ["post without form fields"])


def test_unsigned_posts_and_handshakes_are_refused():
    """Nothing gets in without Twilio's signature, and a GET proves nothing."""
    channel = line()
    with pytest.raises(SignatureError):
        channel.verify(raw(PUBLIC + "/x", b"A=1", [("Content-Type", "application/x-www-form-urlencoded")]))
    with pytest.raises(SignatureError, match="POST"):
        channel.challenge(raw(PUBLIC + "/x", method="GET"))


def test_the_answer_is_an_empty_response_element():
    """Twilio gets TwiML that says nothing."""
    expected = Answer(200, b'<?xml version="1.0" encoding="UTF-8"?><Response />', "text/xml")
    assert line().accepted == expected


keys = st.sampled_from(sorted({*MESSAGE, *STATUS, "OptOutType", "ErrorCode", "MediaUrl0", "MediaContentType0"}))
values = st.one_of(st.text(max_size=20), st.sampled_from(["", "0", "+8613900001234", "STOP", "failed", "x" * 9000]))


@given(st.sampled_from([MESSAGE, STATUS]), st.dictionaries(keys, values, max_size=4), st.sets(keys, max_size=4), values)
def test_parsing_is_total(base, changed, dropped, ref):
    """However the fields are changed or dropped, the result is events or PayloadError."""
    fields = {k: v for k, v in (base | changed).items() if k not in dropped}
    request = raw(PUBLIC + "/channels/sms-main/status?" + urlencode({"ref": ref.encode("utf-8", "replace")}))
    try:
        found = line().parse(Verified(request, b"", tuple(fields.items())))
    except PayloadError:
        return
    assert len(found.events) + len(found.ignored) == 1
    assert json.dumps([e.subject for e in found.events])


@pytest.mark.parametrize("body", ["YES", " yes "])
def test_a_yes_is_an_answer_and_no_consent(body):
    """Twilio counts YES among its ways back; here it answers a question, and must not grant marketing by itself."""
    event = post({**MESSAGE, "Body": body, "OptOutType": "START"}).events[0]
    assert isinstance(event.body, MessageReceived)
    event = post({**MESSAGE, "Body": "START", "OptOutType": "START"}).events[0]
    assert event.body == OptChanged(change="in", answered=True)
