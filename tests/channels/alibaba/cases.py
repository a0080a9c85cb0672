"""Alibaba Cloud's table for the suite that every channel passes."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qsl

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from bot.events import Event, OptChanged, StatusReported
from bot.messages import Card, Notice, Picture, Receipt, Text
from bot.ports import RawRequest
from channels.alibaba import TYPE
from tests.channels.alibaba.peer import KEY_ID, SECRET
from tests.channels.alibaba.test_inbound import KEY, REPLY, REPORT
from tests.channels.lend import OUR_ID, outbound
from tests.contracts.channel import NAME, NOW, ChannelCase, ErrorCase, Fixture, SendCase, request
from tests.contracts.fake import Got, Reply, reply

SUBJECT = f"address:{NAME}:+8613900001234"
WHEN = {"send_time": "2025-12-31 23:59:00", "report_time": "2025-12-31 23:59:03"}
SENT = NOW - 8 * 3_600_000 - 60_000  # 23:59:00 in UTC+8
NOTICE = Notice("SMS_123456789", {"order": "A-7"}, text="您的订单 A-7 已发货")


def keyed(body: bytes, secret: str) -> RawRequest:
    """A post to the address with the key in it."""
    target = f"/channels/{NAME}/webhook?key={secret}"
    headers = {"Content-Type": "application/json"}
    return request(body, headers=headers, target=target, query=parse_qsl(target.partition("?")[2]))


def keyless(raw: RawRequest) -> RawRequest:
    return replace(raw, query=(), target=raw.target.partition("?")[0])


def batch(count: int) -> tuple[bytes, int]:
    """Refusing replies, each with its own id."""
    return json.dumps([{**REPLY, **WHEN, "sequence_id": n} for n in range(count)]).encode(), count


def item(
    name: str, value: dict[str, object], body: object = None, at: int = SENT, id: str = "", **more: str
) -> Fixture:
    events = (Event(id, SUBJECT, NAME, at, NOW, body),) if body is not None else ()  # type: ignore[arg-type]
    ignored = (more["ignored"],) if more else ()
    return Fixture(name, json.dumps([value], ensure_ascii=False).encode(), events, ignored)


def refusal(code: str, status: int = 200, message: str = "refused") -> Reply:
    return reply({"Code": code, "Message": message, "RequestId": "R1"}, status)


def _sent(got: list[Got]) -> None:
    assert [(one.method, one.target) for one in got] == [("POST", "/")]
    assert got[0].headers["x-acs-action"] == "SendSms"
    assert got[0].headers["x-acs-version"] == "2017-05-25"
    assert got[0].headers["x-acs-date"] == "2026-01-01T00:00:00Z"
    assert (
        got[0].headers["authorization"].startswith(f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders=content-type;")
    )
    assert got[0].form == {
        "PhoneNumbers": "13900001234",
        "SignName": "某某商城",
        "TemplateCode": "SMS_123456789",
        "TemplateParam": '{"order":"A-7"}',
        "OutId": OUR_ID,
    }


REPORTED = {**REPORT, **WHEN}
REPLIED = {**REPLY, **WHEN}
DELIVERED = StatusReported("delivered", ref=OUR_ID, provider_id="900601^0", parts=2)
FAILED = StatusReported("failed", ref=OUR_ID, provider_id="900601^0", parts=2, code="MK:0012", reason="rejected")

CASE = ChannelCase(
    type=TYPE,
    config={"access_key_id": KEY_ID, "access_key_secret": SECRET, "sign_name": "某某商城", "callback_key": KEY},
    sign=keyed,
    secret=KEY,
    secret_field="callback_key",
    unsigned=keyless,
    signs_body=False,
    required=("access_key_id", "access_key_secret", "sign_name", "callback_key"),
    batch=batch,
    message=outbound(NOTICE, account=NAME),
    accepted=reply({"Code": "OK", "Message": "OK", "BizId": "9006^0", "RequestId": "R1"}),
    fixtures=(
        item("delivered", REPORTED, DELIVERED, SENT + 3000),
        item("failed", {**REPORTED, "success": False, "err_code": "MK:0012"}, FAILED, SENT + 3000),
        item("refusal", REPLIED, OptChanged("out", answered=False), id="up|1234567890"),
        item(
            "refusal in words",
            {**REPLIED, "content": "退订", "sequence_id": 77},
            OptChanged("out", answered=False),
            id="up|77",
        ),
        item("chat", {**REPLIED, "content": "在吗"}, ignored="reply that is no opt-out"),
        item("review", {"sign_name": "某某商城", "sign_status": "approved"}, ignored="item without phone_number"),
    ),
    sends=(SendCase("notice", outbound(NOTICE, account=NAME), _sent, Receipt("9006^0")),),
    unfit=(outbound(Text("您好")), outbound(Picture("qr", "alt")), outbound(Card("t"))),
    errors=(
        ErrorCase("minute", refusal("isv.BUSINESS_LIMIT_CONTROL", message="触发分钟级流控Permits:1"), ThrottledError),
        ErrorCase("hour", refusal("isv.BUSINESS_LIMIT_CONTROL", message="触发小时级流控Permits:5"), ThrottledError),
        ErrorCase("number", refusal("isv.MOBILE_NUMBER_ILLEGAL"), UnreachableError, "isv.MOBILE_NUMBER_ILLEGAL"),
        ErrorCase("balance", refusal("isv.AMOUNT_NOT_ENOUGH"), AccountError, "isv.AMOUNT_NOT_ENOUGH"),
        ErrorCase("signature", refusal("isv.SMS_SIGNATURE_ILLEGAL"), AccountError),
        ErrorCase("template", refusal("isv.SMS_TEMPLATE_ILLEGAL"), ContentError),
        ErrorCase("gateway", refusal("isp.GATEWAY_ERROR"), ProviderDownError),
        ErrorCase("throttled", refusal("Throttling.User", 400), ThrottledError, "Throttling.User", 1.0),
        ErrorCase("key", refusal("SignatureDoesNotMatch", 400), AccountError),
        ErrorCase("replayed", refusal("SignatureNonceUsed", 400), InDoubtError),
        ErrorCase("unknown", refusal("isv.NEW"), RejectedError, "isv.NEW"),
        ErrorCase("request timed out", Reply(408, b""), InDoubtError, "408"),
    ),
)
