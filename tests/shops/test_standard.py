"""Standard Webhooks: the published vector, every damage of it, and the envelope's faults by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.errors import MediaTypeError, PayloadError, RepeatedHeaderError, SignatureError
from bot.phones import parse as parse_phone
from bot.strictjson import decode
from shops import standard
from shops.standard.config import StandardConfig
from shops.standard.envelope import to_event
from shops.standard.sections import Reading
from tests.channels.lend import NOW, raw, toolkit
from tests.shops import events

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER = "whsec_" + base64.b64encode(b"another secret of thirty-two byt").decode()
STAMP = str(NOW // 1000)
KNOWN_BODY = b'{"type":"order.paid","timestamp":"2026-10-01T12:00:00Z","data":{"order_id":"A1"}}'
READING = Reading("main", ZoneInfo("Asia/Shanghai"), parse_phone, "CN")


def shop(*secrets: str):
    return standard.TYPE.build("main", StandardConfig(type="standard", secret=list(secrets or (SECRET,))), toolkit())


def sign(body: bytes, id: str = "msg_1", stamp: str = STAMP, secret: str = SECRET) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)).decode()


def request(
    body: bytes, signature: str, id: str = "msg_1", stamp: str = STAMP, *, prefix="webhook", kind="application/json"
):
    headers = [(f"{prefix}-id", id), (f"{prefix}-timestamp", stamp), (f"{prefix}-signature", signature)]
    return raw("https://gw.example.com/shops/main/webhook", body, [*headers, ("Content-Type", kind)])


ORDER = {"id": "5001", "number": "#1", "pay_state": "unpaid", "placed_at": "2026-09-21T22:00:00",
         "total": {"amount": "88.00", "currency": "CNY"}, "pay_url": "https://shop.example/pay/5001"}  # fmt: skip


def envelope(kind="order.created", **data):
    return {
        "type": kind,
        "id": "e1",
        "occurred_at": "2026-09-21T14:00:00Z",
        "data": {"order": ORDER, "buyer": None, **data},
    }


BODY = json.dumps(envelope()).encode()


def test_the_published_vector():
    """The known answer of the scheme's own libraries."""
    assert sign(KNOWN_BODY, "msg_0001", "1760000000") == "v1,jLoW/K+ohmze/8wiKK2mM1QpnliyFw8VniEYUwWUluY="


@pytest.mark.parametrize("prefix", ["webhook", "svix", "Webhook"])
def test_a_genuine_event_is_parsed(prefix):
    """Both sets of header names; the path's shop; naive times in the shop's zone; exact money."""
    account = shop()
    parsed = account.parse(account.verify(request(BODY, sign(BODY), prefix=prefix)))
    (event,) = parsed.events
    assert (event.id, event.subject) == ("main|e1", "order:main:5001")
    assert event.body.order.placed_at == event.body.occurred_at
    assert str(event.body.order.total.amount) == "88.00"


def test_rotation_and_lists():
    """Any of the secrets, any of up to five signatures."""
    shop(OTHER, SECRET).verify(request(BODY, sign(BODY)))
    shop(OTHER, SECRET).verify(request(BODY, sign(BODY, secret=OTHER)))
    bad = "v1," + "A" * 43 + "="
    shop().verify(request(BODY, " ".join([bad, "v1a,xyz", "v2,abc", bad, sign(BODY)])))
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, " ".join([bad] * 5 + [sign(BODY)])))


@pytest.mark.parametrize(("off", "good"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_three_hundred_seconds_of_real_time(off, good):
    """Five minutes each way, by the wall clock even where virtual time is ahead."""
    stamp = str(NOW // 1000 + off)
    sent = request(BODY, sign(BODY, stamp=stamp), stamp=stamp)
    if good:
        shop().verify(sent)
    else:
        with pytest.raises(SignatureError):
            shop().verify(sent)


GOOD = sign(BODY)


@pytest.mark.parametrize(
    "signature",
    ["", "v1", "v1,", "v1,,", GOOD[:-1], GOOD[:-2] + "=", GOOD[3:], GOOD.lower(), "v2" + GOOD[2:], GOOD + "\n",
     "v1, " + GOOD[3:], GOOD[:10] + "!" + GOOD[10:], "v1,签名", "v1,\udc80", GOOD.replace("v1,", "v1,=")],
)  # fmt: skip
def test_malformed_signatures_are_refused(signature):
    """Each is a 401 and none an internal error."""
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, signature))


@pytest.mark.parametrize("place", range(3, len(GOOD)))
def test_every_character_of_a_signature_counts(place):
    """One that is nearly right is wrong."""
    other = "A" if GOOD[place] != "A" else "B"
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, GOOD[:place] + other + GOOD[place + 1 :]))


@pytest.mark.parametrize("stamp", ["", "123.9", "٠" * 10, STAMP + " ", "+" + STAMP[1:], "1e9", "9" * 11])
def test_malformed_times_are_refused(stamp):
    """Ten ASCII digits or nothing, even if signed."""
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, sign(BODY, stamp=stamp), stamp=stamp))


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_refused(place, change):
    """No byte of the body may differ."""
    damaged = bytearray(BODY)
    damaged[place] ^= change
    with pytest.raises(SignatureError):
        shop().verify(request(bytes(damaged), GOOD))


@pytest.mark.parametrize("prefix", ["webhook", "svix"])
@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
@pytest.mark.parametrize("first", ["x", ""])
def test_a_repeated_header_is_named(prefix, name, first):
    """Id, timestamp and signature stand once: which of two counts would be a guess, so it is a 400 that says which."""
    good = {"id": "msg_1", "timestamp": STAMP, "signature": GOOD}
    headers = [(f"{prefix}-{key}", value) for key, value in good.items()]
    twice = [(f"{prefix}-{name}", first), *headers]
    with pytest.raises(RepeatedHeaderError) as caught:
        shop().verify(raw("https://gw.example.com/shops/main/webhook", BODY, twice))
    assert (caught.value.status, f"{prefix}-{name}" in caught.value.detail) == (400, True)


def test_another_id_and_another_type():
    """The id is signed, the body is JSON."""
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, GOOD, id="msg_2"))
    with pytest.raises(MediaTypeError):
        shop().verify(request(BODY, GOOD, kind="text/plain"))
    with pytest.raises(SignatureError):
        shop().verify(request(BODY, "v1,", kind="text/plain"))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "whsec_" + "QUFB" * 30])
def test_weak_secrets_are_refused(secret):
    """No secret, a short one, no base64: the start names it."""
    with pytest.raises(ValidationError):
        StandardConfig(type="standard", secret=[secret])


def test_an_unknown_type_is_counted():
    """Answered 2xx and counted: an error would make the sender give up."""
    body = json.dumps(envelope("order.teleported")).encode()
    account = shop()
    parsed = account.parse(account.verify(request(body, sign(body))))
    assert (len(parsed.events), len(parsed.ignored)) == (0, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\\ud800"}',
     b'{"\\udfff":1}', b'{"a":' + b"9" * 31 + b"}", b'{"a":1e99999999999999999999}', b'{"a":' * 30 + b"1" + b"}" * 30],
)  # fmt: skip
def test_bodies_that_are_not_clean_json_are_refused(body):
    """Each is a 400 and none an internal error."""
    with pytest.raises(PayloadError):
        decode(body)


def read(value):
    return to_event(decode(json.dumps(value).encode()), READING, delivery_id="msg_1", received=NOW)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], ""),
        ({**envelope(), "type": ""}, "type"),
        ({**envelope(), "data": []}, "data"),
        ({**envelope(), "occurred_at": "yesterday"}, "occurred_at"),
        ({**envelope(), "occurred_at": None}, "occurred_at"),
        (envelope(order={**ORDER, "id": ""}), "data.order.id"),
        (envelope(order={**ORDER, "id": "  "}), "data.order.id"),
        (envelope(order={**ORDER, "id": []}), "data.order.id"),
        ({**envelope(), "id": "x" * 501}, "id"),
        (envelope(order={**ORDER, "id": "x" * 201}), "data.order.id"),
        (envelope(buyer={"phones": ["13900001234"], "ref": "x" * 201}), "data.buyer.ref"),
        (
            envelope("shipment.created", shipment={**events.SHIPMENT, "tracking_no": "x" * 61}),
            "data.shipment.tracking_no",
        ),
        (envelope(order={**ORDER, "placed_at": None}), "data.order.placed_at"),
        (envelope(order={**ORDER, "total": {"amount": 1.5, "currency": "CNY"}}), "data.order.total.amount"),
        (envelope(order={**ORDER, "total": {"amount": "٣", "currency": "CNY"}}), "data.order.total.amount"),
        (envelope(order={**ORDER, "total": {"amount": "1", "currency": "cny"}}), "data.order.total.currency"),
        (envelope(order={**ORDER, "pay_url": "javascript:alert(1)"}), "data.order.pay_url"),
        (envelope("shipment.created", shipment={"carrier": "SF"}), "data.shipment.id"),
        (envelope("shipment.updated", shipment={**events.SHIPMENT, "state": "lost"}), "data.shipment.state"),
        (envelope("refund.requested"), "data.refund.id"),
        (envelope("checkout.updated"), "data.checkout.token"),
        (envelope(buyer={"phones": "139"}), "data.buyer.phones"),
    ],
)
def test_faults_are_named(value, field):
    """A 400 that says which field."""
    with pytest.raises(PayloadError) as caught:
        read(value)
    assert caught.value.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
    | st.sampled_from(["2026-09-21T14:00:00Z", "order.paid", "https://s.example", "yes", "0001-01-01T00:00:00+14:00"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("id amount currency items phones consent ship_to country version total".split()), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_no_damage_is_an_internal_error(data):
    """Any value in any place: an event, or a PayloadError."""
    value = envelope("shipment.updated", buyer={**events.BUYER}, shipment={**events.SHIPMENT})
    place = data.draw(
        st.sampled_from([value, value["data"], dict(ORDER), value["data"]["buyer"], value["data"]["shipment"]])
    )
    name = data.draw(st.sampled_from([*place, "version", "review", "items", "checkout", "refund", "ship_to", "eta"]))
    place[name] = data.draw(JSON)
    if "placed_at" in place:
        value["data"]["order"] = place
    try:
        read(value)
    except PayloadError:
        return


@pytest.mark.parametrize(
    ("kind", "data", "subject"),
    [
        ("refund.requested", {"refund": events.REFUND}, "order:main:5001"),
        ("shipment.updated", {"shipment": events.SHIPMENT}, "order:main:5001"),
        ("shipment.updated", {"order": None, "shipment": events.SHIPMENT}, "parcel:main:s1"),
        ("checkout.updated", {"order": None, "checkout": events.CHECKOUT}, "cart:main:t1"),
        ("cart.abandoned", {"checkout": events.CHECKOUT}, "cart:main:t1"),
        ("buyer.updated", {"order": None, "buyer": {**events.BUYER, "ref": 701}}, "shopper:main:701"),
        ("member.joined", {"order": None, "buyer": events.BUYER, "member": {"tier": "gold"}}, "shopper:main:701"),
        ("review.created", {"rating": 2}, "order:main:5001"),
        ("shop.disconnected", {"order": None}, "account:main"),
    ],
)
def test_where_events_go(kind, data, subject):
    """Each kind to the record that it is about."""
    assert read(envelope(kind, **data)).subject == subject


def test_phones_by_the_country_of_the_parcel():
    """A national number is read by ship_to's two letters, else the brand's; masked ones are dropped."""

    def phones(country, number):
        return read(
            envelope(order={**ORDER, "ship_to": {"country": country}}, buyer={"phones": [number]})
        ).body.buyer.phones

    assert phones("TW", "0912345678") == ("+886912345678",)
    assert phones("China", "13900001234") == ("+8613900001234",)
    assert phones(None, "139****1234") == ()


@pytest.mark.parametrize(
    ("tag", "locale"), [("zh-HK", "zh-TW"), ("zh_Hant_TW", "zh-TW"), ("zh-CN", "zh-CN"), ("en-US", "en"), ("fr", "")]
)
def test_a_language_tag_is_one_of_ours(tag, locale):
    """Platforms write tags in their own ways; what is none of our languages is left to the brand's."""
    assert read(envelope(buyer={**events.BUYER, "locale": tag})).body.buyer.locale == locale


def test_an_id_may_come_by_header():
    """An envelope without an id takes the delivery's."""
    value = envelope()
    del value["id"]
    assert read(value).id == "main|msg_1"


@pytest.mark.parametrize(
    ("consent", "answer", "at"),
    [
        ({"sms": "yes", "updated_at": "2026-09-01T00:00:00Z"}, "yes", 1788220800000),
        ({"sms": "no", "updated_at": "2026-09-01T00:00:00Z"}, "no", 1788220800000),
        ({"sms": "no", "updated_at": None}, "no", 1789999200000),
        ({"sms": "yes"}, "yes", 0),
        ({"sms": "unknown"}, "unknown", 0),
        ({"sms": "maybe"}, "unknown", 0),
        (None, "unknown", 0),
    ],
)
def test_what_consent_says(consent, answer, at):
    """A yes counts from its date only; a refusal without one from the event's."""
    buyer = read(envelope(buyer={**events.BUYER, "consent": consent})).body.buyer
    assert (buyer.sms_consent, buyer.consent_at) == (answer, at)


@pytest.mark.parametrize(
    "text", ["2026-09-21T14:00:00.123456789Z", "2026-09-21T14:00:00.123Z", "2026-09-21T22:00:00.123+08:00"]
)
def test_fractions_of_a_second(text):
    """Up to nine digits, as some platforms send; milliseconds are kept."""
    assert read({**envelope(), "occurred_at": text}).at == 1789999200123
