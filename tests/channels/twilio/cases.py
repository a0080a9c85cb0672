"""Twilio's table for the suite that every channel passes."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from urllib.parse import parse_qsl, urlencode

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    OptedOutError,
    RejectedError,
    SignatureError,
    ThrottledError,
    UnreachableError,
)
from bot.events import Event, Media, MessageReceived, OptChanged, StatusReported
from bot.messages import Card, Notice, Picture, Receipt, Text
from bot.ports import RawRequest
from channels.twilio import TYPE
from channels.twilio.signature import FORM_TYPE, read_form, sign, string_to_sign
from tests.channels.lend import OUR_ID, outbound, raw
from tests.channels.twilio.peer import MESSAGES, SID, TOKEN
from tests.channels.twilio.test_inbound import BUYER, MESSAGE, STATUS
from tests.channels.twilio.test_signature import BODY as VECTOR_BODY
from tests.channels.twilio.test_signature import FORM_HEADER, GOOD, WITH_PORT
from tests.channels.twilio.test_signature import URL as VECTOR_URL
from tests.contracts.channel import NAME, NOW, PUBLIC_URL, ChannelCase, ErrorCase, Fixture, SendCase, request
from tests.contracts.fake import Got, Reply, reply
from tests.contracts.mutations import form_mutations

HOOK = f"/channels/{NAME}/webhook"
STATUS_PATH = f"/channels/{NAME}/status"
SUBJECT = f"address:{NAME}:{BUYER}"
ACCEPTED = reply({"sid": "SM01", "status": "queued", "num_segments": "1", "error_code": None}, 201)
TEXT = "您的订单 A-7 已发货"


def signed(body: bytes, secret: str, target: str = HOOK) -> RawRequest:
    """A post as Twilio signs it: a form where the body is one, else by the body's hash."""
    try:
        form, kind = read_form(body), FORM_TYPE
    except SignatureError:
        form, kind = (), "application/json"
        target += f"?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = sign(secret, string_to_sign(PUBLIC_URL + target, form))
    query = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    headers = {"Content-Type": kind, "X-Twilio-Signature": signature}
    return request(body, headers=headers, query=query, target=target, purpose=target.split("/")[3].partition("?")[0])


def received(name: str, id: str, body: object, **fields: str) -> Fixture:
    """An inbound message with its own SID."""
    form = {**MESSAGE, "MessageSid": id, "SmsSid": id, "SmsMessageSid": id, **fields}
    return Fixture(name, urlencode(form).encode(), (Event(id, SUBJECT, NAME, NOW, NOW, body),))  # type: ignore[arg-type]


def status(name: str, state: str, expected: StatusReported, **fields: str) -> Fixture:
    """A status callback with our id in the URL."""
    body = urlencode({**STATUS, "MessageStatus": state, "SmsStatus": state, **fields}).encode()
    named = StatusReported(
        expected.state, ref=OUR_ID, provider_id=STATUS["MessageSid"], code=expected.code, reason=expected.reason
    )
    return Fixture(
        name,
        body,
        (Event("", SUBJECT, NAME, NOW, NOW, named),),
        request=signed(body, TOKEN, f"{STATUS_PATH}?ref={OUR_ID}"),
    )


def refusal(status_code: int, code: int) -> Reply:
    return reply({"code": code, "message": "refused", "more_info": "", "status": status_code}, status_code)


def _sent(got: list[Got]) -> None:
    assert [one.method for one in got] == ["POST"]
    assert got[0].target == MESSAGES
    assert got[0].headers["authorization"] == "Basic " + b64encode(f"{SID}:{TOKEN}".encode()).decode()
    assert got[0].headers["content-type"] == FORM_TYPE
    assert got[0].form == {
        "To": BUYER,
        "From": "+15005550001",
        "Body": TEXT,
        "StatusCallback": f"{PUBLIC_URL}{STATUS_PATH}?ref={OUR_ID}",
    }


def _sent_in_two(got: list[Got]) -> None:
    assert "".join(one.form["Body"] for one in got) == "👍🏽" * 500
    assert [len(one.form["Body"]) for one in got] == [800, 200]


def vector(url: str, signature: str) -> RawRequest:
    """A published example."""
    return raw(url, VECTOR_BODY, [FORM_HEADER, ("X-Twilio-Signature", signature)])


CASE = ChannelCase(
    type=TYPE,
    config={"account_sid": SID, "auth_token": TOKEN, "from_number": "+15005550001"},
    sign=signed,
    secret=TOKEN,
    secret_field="auth_token",
    signature_header="X-Twilio-Signature",
    required=("account_sid", "auth_token", "from_number"),
    mutate=form_mutations,
    vectors=(
        (vector(VECTOR_URL, GOOD), True),
        (vector(VECTOR_URL, WITH_PORT), True),
        (vector(VECTOR_URL, "uS7j864jJcghIUViaOT+8oExFLI="), False),
        (vector(VECTOR_URL.replace("https", "http"), GOOD), False),
        (vector(VECTOR_URL, "JksJPG0muIGuQvCkmSrhTPOL3Io="), False),
    ),
    message=outbound(TEXT, account=NAME),
    accepted=ACCEPTED,
    fixtures=(
        received("text", "SM" + "1" * 32, MessageReceived(text="你好 ")),
        received("odd text", "SM" + "2" * 32, MessageReceived(text="😀 a+b & c=d %41"), Body="😀 a+b & c=d %41"),
        received(
            "picture",
            "MM" + "3" * 32,
            MessageReceived(kind="image", media=(Media("image", "https://api.twilio.com/m/0"),)),
            Body="",
            NumMedia="1",
            MediaUrl0="https://api.twilio.com/m/0",
            MediaContentType0="image/jpeg",
        ),
        received("stop", "SM" + "4" * 32, OptChanged("out", blocks_all=True), Body="STOP", OptOutType="STOP"),
        received("start", "SM" + "5" * 32, OptChanged("in"), Body="START", OptOutType="START"),
        received("plain stop", "SM" + "6" * 32, MessageReceived(text="STOP"), Body="STOP"),
        Fixture(
            "whatsapp",
            urlencode({**MESSAGE, "From": "whatsapp:+8613900001234"}).encode(),
            ignored=("message from no phone number",),
        ),
        Fixture("unknown state", urlencode({**STATUS, "MessageStatus": "new"}).encode(), ignored=("status new",)),
        status("sent", "sent", StatusReported("sent")),
        status("delivered", "delivered", StatusReported("delivered")),
        status("opted out", "failed", StatusReported("failed", code="21610", reason="opted_out"), ErrorCode="21610"),
        status("filtered", "undelivered", StatusReported("failed", code="30007", reason="filtered"), ErrorCode="30007"),
    ),
    sends=(
        SendCase("text", outbound(TEXT, account=NAME), _sent, Receipt("SM01", 1)),
        SendCase("long text", outbound("👍🏽" * 500), _sent_in_two, Receipt("SM01", 2, extra_ids=("SM01",))),
    ),
    unfit=(
        outbound(Picture("qr", "alt")),
        outbound(Card("title")),
        outbound(Notice("T1", {})),
        outbound(Text("")),
    ),
    errors=(
        ErrorCase("token", refusal(401, 20003), AccountError, "20003"),
        ErrorCase("number", refusal(400, 21211), UnreachableError, "21211"),
        ErrorCase("landline", refusal(400, 21614), UnreachableError, "21614"),
        ErrorCase("country", refusal(400, 21408), RejectedError, "21408"),
        ErrorCase("stopped", refusal(400, 21610), OptedOutError, "21610"),
        ErrorCase("too long", refusal(400, 21617), ContentError, "21617"),
        ErrorCase("sender", refusal(400, 21606), AccountError, "21606"),
        ErrorCase("unknown", refusal(400, 29999), RejectedError, "29999"),
        ErrorCase("busy", refusal(429, 20429), ThrottledError, "20429", 1.0),
        ErrorCase("queue full", refusal(400, 21611), ThrottledError, "21611", 300.0),
        ErrorCase("daily limit", refusal(429, 63038), ThrottledError, "63038", 3600.0),
        ErrorCase("down", refusal(503, 20503), InDoubtError, "20503"),
        ErrorCase(
            "refused inside a 201", Reply(201, json.dumps({"sid": "SM1", "error_code": 21610}).encode()), OptedOutError
        ),
    ),
    on_500=InDoubtError,
)
