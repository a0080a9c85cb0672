"""ACS3-HMAC-SHA256 against known answers of Alibaba Cloud's own library and documentation."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from channels.alibaba.signature import canonical, encode, signed_headers

PARAMS = {
    "TemplateParam": '{"order":"A-7","name":"王 五~*"}',
    "PhoneNumbers": "13900001234",
    "SignName": "某某商城",
    "TemplateCode": "SMS_123456789",
    "OutId": "ord-7",
}
EMPTY = hashlib.sha256(b"").hexdigest()


def ms(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def send_sms(**changes):
    return signed_headers(
        key_id="testAkId",
        secret="testAkSecret",
        host="dysmsapi.aliyuncs.com",
        action="SendSms",
        version="2017-05-25",
        at_ms=ms("2026-11-22T08:00:00Z") + 999,
        nonce="0123456789abcdef0123456789abcdef",
        **changes,
    )


def test_the_documentation_s_own_answer():
    """The example of Alibaba Cloud's page on signatures, its canonical request included."""
    query = encode({"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"})
    headers = signed_headers(
        key_id="YourAccessKeyId",
        secret="YourAccessKeySecret",
        host="ecs.cn-shanghai.aliyuncs.com",
        action="RunInstances",
        version="2014-05-26",
        at_ms=ms("2023-10-26T10:22:32Z"),
        nonce="3156853299f313e23d1673dc12e1703d",
        query=query,
    )
    signed = {k: v for k, v in headers.items() if k != "Authorization"} | {"host": "ecs.cn-shanghai.aliyuncs.com"}
    whole = canonical("POST", query, signed, EMPTY)
    assert hashlib.sha256(whole.encode()).hexdigest() == (
        "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
    )
    assert headers["Authorization"].endswith("06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")


def test_a_send_by_query():
    """The library's answer for Chinese, blanks, tilde and asterisk in the query."""
    headers = send_sms(query=encode(PARAMS))
    assert headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=testAkId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        "x-acs-signature-nonce;x-acs-version,Signature=26319cbb82d1f132893b5d5f99542e24268628bce51391c674a325730c91dd08"
    )
    assert headers["x-acs-date"] == "2026-11-22T08:00:00Z"
    assert "host" not in headers


def test_a_send_by_form():
    """The library's answer for the same parameters as a form, whose type is signed too."""
    body = (
        b"OutId=ord-7&PhoneNumbers=13900001234&SignName=%E6%9F%90%E6%9F%90%E5%95%86%E5%9F%8E&TemplateCode=SMS_123456789"
        b"&TemplateParam=%7B%22order%22%3A%22A-7%22%2C%22name%22%3A%22%E7%8E%8B+%E4%BA%94~%2A%22%7D"
    )
    headers = send_sms(body=body)
    assert headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=testAkId,SignedHeaders=content-type;host;x-acs-action;x-acs-content-sha256;"
        "x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=596230d4e40fb68f0810f0992bdaeec9ace733a2c751591efaff0163c377da12"
    )
    assert headers["content-type"] == "application/x-www-form-urlencoded"


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), min_size=1, max_size=6))
def test_parameters_are_read_back_as_they_were(params):
    """What is signed is what the server decodes, whatever the text."""
    params = {k: v for k, v in params.items() if not any(0xD800 <= ord(c) < 0xE000 for c in k + v)}
    assert dict(parse_qsl(encode(params), keep_blank_values=True)) == params
