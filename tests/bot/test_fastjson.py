"""The fast reader of JSON says what the standard library says, of anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import fastjson
from channels.messenger import wire

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ODD = [
    b"", b"{", b"[1]x", b'"\\ud800"', b'"\x01"', b"\xff", b"NaN", b"1e400", b"-0", b'{"a":1,"a":2}', b"\xef\xbb\xbf{}",
    b"9" * 30, b"9" * 5000, b"[" * 100_000, '{"a":"会员"}'.encode("utf-16"), b" {} ", b"1.0", b"{'a':1}", b'{"a":1,}',
]  # fmt: skip


def outcome(read, body: bytes) -> str:
    """The value as text (NaN and -0.0 tell themselves apart), or that it is none."""
    try:
        return repr(read(body))
    except (ValueError, RecursionError):
        return "refused"


@given(VALUES, st.booleans())
def test_what_was_written_is_read_alike(value, plain):
    """Any value, with and without escapes."""
    body = json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    assert outcome(fastjson.loads, body) == outcome(json.loads, body)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_alike(body):
    """Bytes that are JSON by chance only."""
    assert outcome(fastjson.loads, body) == outcome(json.loads, body)


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:12]))
def test_odd_bodies_are_read_alike(body):
    """What parsers differ in."""
    assert outcome(fastjson.loads, body) == outcome(json.loads, body)


def test_a_number_too_long_costs_no_webhook():
    """Meta's reader takes it for 0, wherever it stands; UTF-16 is no webhook."""
    assert wire.decode(b'{"a":%b,"b":1}' % (b"9" * 5000)) == {"a": 0, "b": 1}
    assert wire.decode(b'{"a":%b}' % (b"9" * 21)) == {"a": 0}
    assert wire.decode(b'{"a":%b}' % (b"9" * 20)) == {"a": int("9" * 20)}
    with pytest.raises(wire.PayloadError):
        wire.decode('{"a":1}'.encode("utf-16"))
