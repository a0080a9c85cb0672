"""X-Twilio-Signature against known answers of Twilio's own library."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SignatureError
from channels.twilio.signature import MAX_FIELDS, prove, read_form, sign, string_to_sign, urls
from tests.channels.lend import raw
from tests.channels.twilio.peer import TOKEN

URL = "https://gw.example.com/hooks/twilio/in?shop=7"
FORM = [
    ("MessageSid", "SM0123456789abcdef0123456789abcdef"),
    ("AccountSid", "AC00112233445566778899aabbccddeeff"),
    ("Body", "Hi, 订单? +1 & done"),
    ("From", "+15005550006"),
    ("FromCity", ""),
    ("NumMedia", "0"),
    ("To", "+15005550001"),
    ("ToCountry", "US"),
]
BODY = urlencode(FORM).encode()
FORM_HEADER = ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
GOOD = "uFjKgX2UQsLI+tajfERyvLGBWp8="
WITH_PORT = "tEvBpnvkbt9s6XimCyE8haRI0fI="
SHARED = "SRxmybDj/9rLsryP+OZ2uZ/72miqSiltmjwME8lcdqU="
JSON_URL = (
    "https://gw.example.com/hooks/twilio/ev?bodySHA256=509a119d9f2fb330abbd86bb8249798fccda3d5666eb3a2ab5f4649342ba9582"
)
JSON_BODY = '{"id":"EV1","text":"你好"}'.encode()


def proved(url=URL, body=BODY, signature=GOOD, headers=(FORM_HEADER,), tokens=(TOKEN,), shared=None, method="POST"):
    signed = [("X-Twilio-Signature", signature)] if signature is not None else []
    return prove(raw(url, body, [*headers, *signed], method=method), tokens, shared or {})


def refused(**changes) -> str:
    with pytest.raises(SignatureError) as caught:
        proved(**changes)
    return caught.value.detail


def test_a_genuine_form_is_proved_and_comes_back_decoded():
    """The known answer holds over odd characters and blank values, and gives the pairs in their order."""
    assert tuple(FORM) == proved()


def test_blank_names_are_signed():
    """A parser that drops blank fields computes another signature."""
    assert sign(TOKEN, string_to_sign(URL, tuple(FORM))) == GOOD
    without = tuple(pair for pair in FORM if pair[1])
    assert sign(TOKEN, string_to_sign(URL, without)) == "JksJPG0muIGuQvCkmSrhTPOL3Io="


def test_the_default_port_may_be_there_or_not():
    """Twilio signs the URL with and without :443; another port, or another scheme, must match."""
    assert proved(signature=WITH_PORT)
    assert proved(url=URL.replace(".com/", ".com:443/"))
    assert proved(url=URL.replace(".com/", ".com:443/"), signature=WITH_PORT)
    elsewhere = "uS7j864jJcghIUViaOT+8oExFLI="
    assert proved(url=URL.replace(".com/", ".com:8443/"), signature=elsewhere)
    refused(signature=elsewhere)
    refused(url=URL.replace(".com/", ".com:8443/"))
    refused(url=URL.replace("https", "http"))
    refused(url=URL.replace("https", "http").replace(".com/", ".com:443/"), signature=WITH_PORT)


def test_the_urls_of_odd_hosts():
    """IPv6 hosts and hosts without a path get their default port too."""
    assert list(urls("https://[::1]/x?y")) == ["https://[::1]/x?y", "https://[::1]:443/x?y"]
    assert list(urls("http://a:80?x")) == ["http://a:80?x", "http://a?x"]
    assert list(urls("ftp://a/")) == ["ftp://a/"]


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": "tEvBpnvkbt9s6XimCyE8haRI0fI"},
        {"signature": "\udcff"},
        {"body": BODY.replace(b"done", b"gone")},
        {"body": BODY.replace(b"shop", b"shop") + b"&Extra=1"},
        {"url": URL + "&x=1"},
        {"url": URL.replace("shop=7", "shop=8")},
        {"tokens": ("another",)},
        {"tokens": ()},
        {"headers": ()},
        {"headers": (("Content-Type", "text/plain"),)},
        {"headers": (FORM_HEADER, ("X-Twilio-Signature", GOOD))},
        {"headers": (FORM_HEADER, FORM_HEADER)},
    ],
)
def test_anything_else_is_refused(changes):
    """A changed byte, a missing or repeated header, another account's token: all are refused."""
    refused(**changes)


def test_tokens_rotate():
    """Any configured token proves; a retired one does not."""
    assert proved(tokens=("new", TOKEN))
    refused(tokens=("new", "newer"))


def test_a_shared_key_signs_with_sha256():
    """Twilio's settings header names key and algorithm; an unknown one of either is refused, not guessed."""
    name = "X-Twilio-Webhooks-Signature-Settings"
    settings = (name, "key=webhooks_sharedkey_01,algorithm=HMAC_SHA256")
    keys = {"webhooks_sharedkey_01": TOKEN}
    assert proved(signature=SHARED, headers=(FORM_HEADER, settings), shared=keys)
    refused(signature=SHARED, headers=(FORM_HEADER, settings))
    refused(signature=SHARED, headers=(FORM_HEADER,), shared=keys)
    refused(signature=GOOD, headers=(FORM_HEADER, settings), shared=keys)
    refused(signature=SHARED, headers=(FORM_HEADER, settings), shared={"webhooks_sharedkey_01": "another"})
    for value in ("key=webhooks_sharedkey_01,algorithm=HMAC_MD5", "algorithm=HMAC_SHA256", "nonsense", ","):
        assert "algorithm" in refused(signature=SHARED, headers=(FORM_HEADER, (name, value)), shared=keys)
    unknown = (name, "key=webhooks_sharedkey_02,algorithm=HMAC_SHA256")
    for nobodys in ("", TOKEN):  # a key that nobody configured is no key, not an empty one
        forged = sign(nobodys, string_to_sign(URL, read_form(BODY)), "HMAC_SHA256")
        assert "shared_keys" in refused(signature=forged, headers=(FORM_HEADER, unknown), shared=keys)


def test_a_json_body_is_proved_by_its_hash():
    """The signed URL carries the body's hash: another body, or none, is refused."""
    header = (("Content-Type", "application/json"),)
    good = "xdHTCRnBWihgt1e+7tqnbUdXSFk="
    assert proved(url=JSON_URL, body=JSON_BODY, signature=good, headers=header) == ()
    refused(url=JSON_URL, body=JSON_BODY + b" ", signature=good, headers=header)
    refused(url=JSON_URL, body=b"", signature=good, headers=header)
    plain = JSON_URL.partition("?")[0]
    refused(url=plain, body=JSON_BODY, signature=sign(TOKEN, plain), headers=header)


def test_a_get_is_signed_by_its_url():
    """A GET has no form: URL and query are all."""
    url = "https://gw.example.com/h?From=%2B15005550006&Body=Hi"
    assert proved(url=url, body=b"", signature="/AcHfEZWN/dKEKP41NXdoIQs8ec=", headers=(), method="GET") == ()
    refused(url=url + "!", body=b"", signature="/AcHfEZWN/dKEKP41NXdoIQs8ec=", headers=(), method="GET")


def test_a_repeated_name_counts_once_per_distinct_value():
    """Values of a repeated name are signed sorted and without repeats."""
    form = read_form(b"MediaUrl=b&A=1&MediaUrl=a&MediaUrl=a")
    assert form == (("MediaUrl", "b"), ("A", "1"), ("MediaUrl", "a"), ("MediaUrl", "a"))
    assert sign(TOKEN, string_to_sign("https://x.test/", form)) == "O8d9NJvCgb+A6eeQNdFtXdhyhMA="


@pytest.mark.parametrize("body", [b"A=%zz", b"A=%4", b"A=%ff", b"%C3=1", b"A=\xff", b"&" * MAX_FIELDS, b"A=1&" * 600])
def test_what_is_no_proper_form(body):
    """Broken escapes, other encodings and endless forms are refused before anything is signed."""
    with pytest.raises(SignatureError):
        read_form(body)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), st.text(max_size=30)), min_size=1, max_size=20))
def test_any_form_is_read_as_it_was_written(pairs):
    """What a proper encoder writes is read back, order, blanks and repeats kept."""
    pairs = [(n, v) for n, v in pairs if all(not 0xD800 <= ord(c) < 0xE000 for c in n + v)]
    assert tuple(pairs) == read_form(urlencode(pairs).encode())


@given(st.binary(max_size=80))
def test_reading_a_form_is_total(body):
    """Any bytes give pairs or SignatureError."""
    with suppress(SignatureError):
        assert all(isinstance(value, str) for pair in read_form(body) for value in pair)
