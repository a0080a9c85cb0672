"""Links to buyer pages: what they say comes back, nothing else does, and nothing of it can be read from outside."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import ids, keys
from bot.links import DIGITS, EPOCH_S, KEEP_MS, KINDS, LIFE_MS, ROTATE_MS, Link, LinkError, Links, seal, unseal
from bot.log import redact
from bot.store import Store

pytestmark = pytest.mark.every_store

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
LINKS = st.builds(
    Link,
    kind=st.sampled_from(KINDS),
    buyer=st.builds(ids.derived, st.just("b"), st.integers(0, 998), st.text(max_size=4)),
    revoked=st.integers(0, 4095),
    ends_at=st.integers(EPOCH_S, EPOCH_S + (1 << 30) - 1).map(lambda seconds: seconds * 1000),
)
NOW = (EPOCH_S + 1_000_000) * 1000


@given(LINKS)
def test_what_a_link_says_comes_back(link):
    """Every field, in 36 letters and digits."""
    token = seal(link, "0", KEY)
    assert re.fullmatch(r"[0-9A-Za-z]{36}", token)
    assert unseal(token, KEY) == link


@settings(max_examples=300)
@given(LINKS, st.integers(1, 35), st.sampled_from(DIGITS))
def test_no_changed_digit_is_taken(link, place, digit):
    """Whatever digit is put in whatever place: it is the same link or none."""
    token = seal(link, "0", KEY)
    changed = token[:place] + digit + token[place + 1 :]
    if changed == token:
        return
    with pytest.raises(LinkError):
        unseal(changed, KEY)


def test_a_kind_of_a_newer_release_is_no_link_yet(monkeypatch):
    """Two releases side by side: what this one does not know opens nothing, and fails at nothing."""
    with monkeypatch.context() as newer:
        newer.setattr("bot.links.KINDS", (*KINDS, "parcel"))
        token = seal(Link("parcel", ids.derived("b", 7, "x"), 3, NOW), "0", KEY)
    with pytest.raises(LinkError, match="does not know"):
        unseal(token, KEY)


async def test_two_that_draw_the_next_key_at_once_draw_one(redis_client):
    """Neither's links are lost: what was sealed with the first stays readable."""
    store = Store(redis_client, 4, "one")
    one, two, three = Links(store), Links(store), Links(store)
    await one.start(NOW)
    await two.start(NOW)
    await one.rotate(NOW + ROTATE_MS)
    token = one.token("chat", ids.derived("b", 7, "x"), 0, NOW)
    await two.rotate(NOW + ROTATE_MS)
    await three.start(NOW + ROTATE_MS)
    assert (await three.read(token)).kind == "chat"
    assert (await two.read(token)) == (await three.read(token))


async def test_letters_of_other_scripts_are_no_link(redis_client):
    """Also behind a digit that names a key."""
    links = Links(Store(redis_client, 4, "one"))
    await links.start(NOW)
    token = links.token("chat", ids.derived("b", 7, "x"), 0, NOW)
    for wrong in (token[0] + "é" * 35, token[:-1] + "٣", token + "0", token[:-1], token[0], ""):
        with pytest.raises(LinkError):
            await links.read(wrong)


def test_every_digit_of_one_link_counts():
    """All 35 places with all 62 digits, and two digits changed places: no other spelling of the same bytes either."""
    token = seal(Link("chat", ids.derived("b", 7, "x"), 3, NOW), "0", KEY)
    for place in range(1, 36):
        for digit in DIGITS:
            changed = token[:place] + digit + token[place + 1 :]
            if changed != token:
                with pytest.raises(LinkError):
                    unseal(changed, KEY)


@given(st.text(st.sampled_from(DIGITS), min_size=35, max_size=35))
def test_made_up_links_are_none(digits):
    """Random ones, those over 208 bits among them."""
    with pytest.raises(LinkError):
        unseal("0" + digits, KEY)


@given(LINKS)
def test_another_key_reads_nothing(link):
    """A rotated key does not open what the one before sealed."""
    with pytest.raises(LinkError):
        unseal(seal(link, "0", KEY), OTHER)


def test_nothing_shows_through():
    """Links of one buyer, of one second, share nothing that can be told apart: half of the digits' bits differ."""
    buyer = ids.derived("b", 7, "x")
    tokens = [seal(Link("chat", buyer, 0, NOW + second * 1000), "0", KEY) for second in range(64)]
    assert len(set(tokens)) == 64
    for place in range(2, 36):  # the first of 35 digits holds little more than one bit
        assert len({token[place] for token in tokens}) > 20


def test_an_id_of_no_buyer_gets_no_link():
    """Ids of tests and of other systems."""
    for id in ("b_x", "", "b_0000000000000000!!", "b_" + "i" * 18):
        with pytest.raises(LinkError):
            seal(Link("chat", id, 0, NOW), "0", KEY)


@given(st.integers(0, (1 << 90) - 1))
def test_an_id_and_its_bits(bits):
    """There and back."""
    assert ids.as_bits(ids.from_bits("b", bits)) == bits
    assert ids.draw(ids.from_bits("b", bits)) == bits % (1 << 30)


@given(st.text(max_size=24))
def test_what_is_no_id_draws_nothing(text):
    """Ids of other systems and of tests; in no alphabet a surprise."""
    assert ids.draw(text) == (0 if (bits := ids.as_bits(text)) is None or len(text) != 20 else bits % (1 << 30))


def test_a_log_keeps_no_link():
    """Whatever is logged beside it."""
    token = seal(Link("chat", ids.derived("b", 7, "x"), 3, NOW), "0", KEY)
    for text in (f"/b/{token}", f"GET https://shop.example/b/{token}/wallet 200", f"x=/b/{token}?lang=en"):
        assert token not in redact(text)
        assert token[1:] not in redact(text)


# --- keys that all processes share ------------------------------------------------------------------------------------


@pytest.fixture
def store(redis_client):
    return Store(redis_client, 8, "test")


BUYER = ids.derived("b", 3, "y")


async def test_processes_read_each_others_links(store):
    """Two that start at once use one key; a third that knows an older state reads what a newer key sealed."""
    one, other = Links(store, "https://shop.example"), Links(store)
    await one.start(NOW)
    await other.start(NOW)
    token = one.token("text", BUYER, 2, NOW)
    assert (await other.read(token)) == Link("text", BUYER, 2, NOW + LIFE_MS["text"])
    await one.rotate(NOW + 1)
    newer = one.token("text", BUYER, 2, NOW)
    assert newer[0] != token[0]
    assert (await other.read(newer)).buyer == BUYER
    assert (await other.read(token)).buyer == BUYER


async def test_keys_rotate_by_themselves_and_old_ones_go(store):
    """A new key each 30 days; a link works as long as it lives, and its key goes after that."""
    links, now = Links(store, "https://shop.example"), NOW
    await links.start(now)
    first = links.token("out", BUYER, 0, now)
    while now < NOW + LIFE_MS["out"]:
        assert (await links.read(first)).ends_at == NOW + LIFE_MS["out"]
        now += ROTATE_MS
        await links.start(now)
    kept = await store.command("HLEN", keys.LINK_KEYS)
    while now <= NOW + KEEP_MS + ROTATE_MS:
        now += ROTATE_MS
        await links.start(now)
    with pytest.raises(LinkError):
        await links.read(first)
    assert await store.command("HLEN", keys.LINK_KEYS) <= kept + 2
    again = Links(store)
    await again.start(now)  # not due: no further key
    assert again.token("out", BUYER, 0, now)[0] == links.token("out", BUYER, 0, now)[0]


async def test_all_links_can_be_ended_at_once(store):
    """After a leak of the store: a new key, and none of the old ones."""
    links = Links(store, "https://shop.example")
    await links.start(NOW)
    token = links.token("chat", BUYER, 0, NOW)
    await links.rotate(NOW, forget=True)
    with pytest.raises(LinkError):
        await links.read(token)
    assert links.url("chat", BUYER, 0, NOW).startswith("https://shop.example/b/")


async def test_without_a_public_address_there_is_no_link(store):
    """Nobody could open it."""
    links = Links(store)
    await links.start(NOW)
    assert links.url("chat", BUYER, 0, NOW) == ""
