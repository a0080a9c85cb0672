"""What Alibaba Cloud posts, as events, and who may post."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PayloadError, SignatureError
from bot.events import Event, OptChanged, StatusReported
from bot.ports import Answer, Verified
from channels.alibaba.adapter import TYPE, Alibaba
from channels.alibaba.inbound import OPT_OUT_WORDS, fold, mainland, read
from tests.channels.alibaba.peer import KEY_ID, SECRET
from tests.channels.lend import NOW, OUR_ID, PUBLIC, raw, toolkit

KEY = "0f8b1c2d3e4a59687786a5b4c3d2e1f0"
URL = f"{PUBLIC}/channels/sms-cn/webhook?key={KEY}"
SUBJECT = "address:sms-cn:+8613900001234"
REPORTED = 1_789_970_403_000  # 2026-09-21 14:00:03 in UTC+8
REPORT = {
    "phone_number": "13900001234",
    "send_time": "2026-09-21 14:00:00",
    "report_time": "2026-09-21 14:00:03",
    "success": True,
    "err_code": "DELIVERED",
    "err_msg": "用户接收成功",
    "sms_size": "2",
    "biz_id": "900601^0",
    "out_id": OUR_ID,
}
REPLY = {
    "phone_number": "13900001234",
    "content": "R",
    "send_time": "2026-09-21 14:00:03",
    "dest_code": "1234",
    "sequence_id": "1234567890",
}
CONFIG = {
    "type": "alibaba",
    "access_key_id": KEY_ID,
    "access_key_secret": SECRET,
    "sign_name": "某某商城",
    "callback_key": KEY,
}


def line(**config) -> Alibaba:
    built = TYPE.build("sms-cn", TYPE.config(**{**CONFIG, **config}), toolkit())
    assert isinstance(built, Alibaba)
    return built


def parsed(*items):
    return read("sms-cn", json.dumps(items, ensure_ascii=False).encode(), NOW)


def only(item) -> object:
    found = parsed(item)
    assert (len(found.events), len(found.ignored)) in ((1, 0), (0, 1))
    return found.events[0] if found.events else found.ignored[0]


# --- who may post -----------------------------------------------------------------------------------------------------


def test_the_key_in_the_address_lets_in():
    """The configured key passes, also the previous one of a rotation, on either path."""
    body = json.dumps([REPORT]).encode()
    channel = line(callback_key=["A" * 8 + "bcdefgh0123456789-_", KEY])
    for url in (URL, URL.replace("webhook", "status"), URL + "&x=1"):
        assert channel.parse(channel.verify(raw(url, body))).events


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?key=",
        f"?key={KEY[:-1]}",
        f"?key={KEY}0",
        f"?key={KEY.upper()}",
        f"?KEY={KEY}",
        f"?key={KEY}&key={KEY}",
        "?key=%ff",
    ],
)
def test_any_other_key_does_not(query):
    """A missing, wrong, differently written or repeated key is refused."""
    with pytest.raises(SignatureError):
        line().verify(raw(URL.partition("?")[0] + query, b"[]"))


def test_senders_may_be_limited_by_address():
    """Only listed networks get in; a mapped IPv4 address is the IPv4 address."""
    channel = line(allow_ips=["192.0.2.0/24", "2001:db8::/32"])
    for remote in ("192.0.2.10", "2001:db8::1", "::ffff:192.0.2.10"):
        assert channel.verify(raw(URL, b"[]", remote=remote))
    for remote in ("198.51.100.1", "2001:db9::1", "::ffff:198.51.100.1", "", "unix"):
        with pytest.raises(SignatureError):
            channel.verify(raw(URL, b"[]", remote=remote))


def test_there_is_no_handshake():
    """A GET proves nothing and opens nothing."""
    with pytest.raises(SignatureError):
        line().challenge(raw(URL, method="GET"))


def test_the_answer_is_what_alibaba_cloud_reads():
    """A number as code, as the console's test asks for."""
    assert line().accepted == Answer(200, '{"code":0,"msg":"接收成功"}'.encode(), "application/json")
    assert line().unsigned


# --- receipts ---------------------------------------------------------------------------------------------------------


def test_a_receipt_reports_a_status():
    """Our id, theirs, the billed parts, and the carrier's time in UTC+8."""
    status = StatusReported("delivered", ref=OUR_ID, provider_id="900601^0", parts=2)
    assert parsed(REPORT).events == [Event("", SUBJECT, "sms-cn", REPORTED, NOW, status)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("UNDELIV", "rejected"),
        ("MK:0012", "rejected"),
        ("IS_CLOSED", "rejected"),
        ("PORT_NOT_REGISTERED", "account"),
        ("", "rejected"),
    ],
)
def test_a_failed_receipt_says_why(code, reason):
    """Carrier codes are kept for staff; unknown ones are final refusals."""
    item = REPORT | {"success": False, "err_code": code}
    expected = StatusReported("failed", ref=OUR_ID, provider_id="900601^0", parts=2, code=code, reason=reason)
    assert parsed(item).events[0].body == expected


def test_variants_of_a_receipt():
    """Strings for booleans, numbers for strings, foreign or missing ids."""
    assert only(REPORT | {"success": "true", "sms_size": 2}).body == parsed(REPORT).events[0].body
    assert only(REPORT | {"success": "false"}).body.state == "failed"
    assert only(REPORT | {"out_id": "ord-7"}).body == StatusReported("delivered", provider_id="900601^0", parts=2)
    assert only(REPORT | {"out_id": "", "biz_id": ""}) == "receipt that names no message"
    assert only(REPORT | {"success": None}) == "receipt without success"
    assert only(REPORT | {"report_time": "yesterday"}).at == NOW
    assert only(REPORT | {"report_time": "2026-13-41 14:00:03"}).at == NOW
    assert only(REPORT | {"report_time": "2036-09-21 14:00:03"}).at == NOW


def test_a_batch_gives_an_event_each():
    """Several receipts and replies in one post; what is of no use is counted."""
    found = parsed(
        REPORT, REPLY, REPORT | {"phone_number": "13900005678"}, {"sign_name": "某某商城", "sign_status": "x"}
    )
    assert [type(e.body) for e in found.events] == [StatusReported, OptChanged, StatusReported]
    assert list(found.ignored) == ["item without phone_number"]
    assert parsed(REPORT, REPLY) == parsed(REPORT, REPLY)


# --- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "R",
        "r",
        "Ｒ",
        " R ",
        "R。",
        "“R”",
        "T",
        "TD",
        "td",
        "N",
        "退订",
        "退訂",
        "退定",
        "拒收",
        "拒收！",
        "取消订阅",
        "STOP",
        "Stop.",
        "QUIT",
    ],
)
def test_a_refusal_opts_out(text):
    """Each word, however it is written, opts out and leaves the confirmation to us."""
    expected = OptChanged(change="out", answered=False)
    assert parsed(REPLY | {"content": text}).events == [
        Event("up|1234567890", SUBJECT, "sms-cn", REPORTED, NOW, expected)
    ]


@pytest.mark.parametrize(
    "text", ["", "你好", "START", "恢复", "订阅", "YES", "退订吗", "RR", "order 5", "领 RACE50", None, 5, ["R"]]
)
def test_any_other_reply_is_counted(text):
    """An unsigned post can neither opt a buyer in nor say anything in the buyer's name."""
    assert only(REPLY | {"content": text}) == "reply that is no opt-out"


def test_ids_of_replies():
    """Numbers are ids too; without one, the content and time make it, so that a repeat is recognised."""
    assert only(REPLY | {"sequence_id": 1234567890}).id == "up|1234567890"
    nameless = {k: v for k, v in REPLY.items() if k != "sequence_id"}
    assert only(nameless).id == only(nameless).id
    assert only(nameless).id != only(nameless | {"send_time": "2026-09-21 14:00:04"}).id


def test_the_words_are_folded_already():
    """A word with a capital or full-width letter in the list would never match."""
    assert {fold(word) for word in OPT_OUT_WORDS} == OPT_OUT_WORDS


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("13900001234", "+8613900001234"),
        ("8613900001234", "+8613900001234"),
        ("+8613900001234", "+8613900001234"),
        ("008613900001234", "+8613900001234"),
        ("12900001234", ""),
        ("85261234567", ""),
        ("139****1234", ""),
        ("13９00001234", ""),
        ("", ""),
    ],
)
def test_numbers_as_alibaba_cloud_writes_them(written, expected):
    """Mainland mobile numbers in each of their forms; others are no addresses of this line."""
    assert mainland(written) == expected


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b'["a"]',
        b"[[]]",
        b"\xff",
        b"[" * 100_000,
        b"[" + b"{}," * 2000 + b"{}]",
        b"\xef\xbb\xbf[]",
    ],
)
def test_what_is_no_array_of_objects_is_an_error(body):
    """Anything but a JSON array of objects, of bounded length, is refused."""
    with pytest.raises(PayloadError):
        read("sms-cn", body, NOW)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["R", "13900001234", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(sorted({*REPORT, *REPLY}))


@given(st.sampled_from([REPORT, REPLY]), st.dictionaries(names, json_values, max_size=4), st.sets(names, max_size=4))
def test_parsing_is_total(base, changed, dropped):
    """However an item is changed, it becomes one event or one count, and no event but a status or an opt-out."""
    item = {k: v for k, v in (base | changed).items() if k not in dropped}
    channel = line()
    found = channel.parse(Verified(raw(URL), json.dumps([item]).encode()))
    assert len(found.events) + len(found.ignored) == 1
    for event in found.events:
        assert event.subject.startswith("address:sms-cn:+861")
        assert event.at <= NOW
        assert isinstance(event.body, StatusReported) or event.body == OptChanged(change="out", answered=False)
        event.subject.encode(), event.id.encode(), repr(event.body).encode()


@given(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_body_is_read_or_refused(body):
    """Any bytes give events, counts or PayloadError."""
    with suppress(PayloadError):
        read("sms-cn", body, NOW)
