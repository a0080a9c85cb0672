"""Who gets in: tokens, one-time codes, sessions and lock-outs, on a real store. What is stored opens nothing."""

from __future__ import annotations

import json

import pytest

from bot import access, keys
from bot.access import LOCKED_MS, MOST_GUESSES, SESSION_MS, SIGN_IN_MS, digest
from bot.store import Store


@pytest.fixture
def store(redis_client) -> Store:
    return Store(redis_client, 64, "one")


async def left(store: Store, name: str) -> int:
    return int(await store.command("PTTL", name))


async def test_a_token_is_known_by_its_digest_alone(store):
    """Its role is what it was given; a made-up one, or what is stored of it, is nobody's."""
    token = await access.create_token(store, "shop", "marketing")
    assert await access.caller_of(store, token) == access.Caller("shop", "marketing")
    for other in ("", "tp_", token[:-1], token + "x", digest(token)):
        assert await access.caller_of(store, other) is None
        assert await access.open_session(store, other) == ""
    assert token not in str(await store.command("HGETALL", keys.TOKENS))


async def test_a_code_signs_in_once_within_a_day(store):
    """Whoever opens the address later, or again, is nobody."""
    code = await access.add_staff(store, "小林", "service")
    assert 0 < await left(store, keys.sign_in(digest(code))) <= SIGN_IN_MS
    assert await access.open_session(store, code) == ""  # it is no token
    assert await access.open_session(store, "x" + code[1:], code=True) == ""
    cookie = await access.open_session(store, code, code=True)
    found = await access.session_of(store, cookie)
    assert found is not None
    assert (found.caller.name, found.caller.role) == ("小林", "service")
    assert await access.open_session(store, code, code=True) == ""


async def test_a_session_ends_half_a_day_after_its_last_use(store):
    """Each use begins the half day anew; signed out it ends at once; its key holds no cookie."""
    cookie = await access.open_session(store, await access.create_token(store, "shop", "owner"))
    name = keys.session(digest(cookie))
    assert 0 < await left(store, name) <= SESSION_MS
    await store.command("PEXPIRE", name, 5000)
    first = await access.session_of(store, cookie)
    assert SESSION_MS - 60_000 < await left(store, name) <= SESSION_MS
    again = await access.session_of(store, cookie)
    assert first == again is not None
    assert cookie not in str(await store.command("GET", name))
    other = await access.open_session(store, await access.create_token(store, "shop", "owner"))
    assert (await access.session_of(store, other)).csrf != first.csrf
    await access.close_session(store, cookie)
    assert await access.session_of(store, cookie) is None
    assert await access.session_of(store, other) is not None


async def test_a_session_has_the_role_that_its_owner_has_now(store):
    """Another role holds from the next click on; who is staff no longer has none."""
    cookie = await access.open_session(store, await access.add_staff(store, "小林", "owner"), code=True)
    await access.add_staff(store, "小林", "read-only")
    assert (await access.session_of(store, cookie)).caller.role == "read-only"
    await store.command("HDEL", keys.STAFF, "小林")
    assert await access.session_of(store, cookie) is None
    token = await access.create_token(store, "shop", "owner")
    cookie = await access.open_session(store, token)
    await store.command("HDEL", keys.TOKENS, digest(token))
    assert await access.session_of(store, cookie) is None


async def test_the_code_of_somebody_who_is_staff_no_longer_opens_nothing(store):
    """Added, and taken away before they came."""
    code = await access.add_staff(store, "小林", "owner")
    await store.command("HDEL", keys.STAFF, "小林")
    assert await access.open_session(store, code, code=True) == ""


async def test_ten_wrong_guesses_lock_out_for_a_quarter_of_an_hour(store):
    """From the first of them on; other addresses are not concerned."""
    for _ in range(MOST_GUESSES - 1):
        await access.guessed(store, "10.0.0.1")
    assert not await access.locked_out(store, "10.0.0.1")
    await store.command("PEXPIRE", keys.guesses("10.0.0.1"), 5000)
    await access.guessed(store, "10.0.0.1")
    assert await access.locked_out(store, "10.0.0.1")
    assert not await access.locked_out(store, "10.0.0.2")
    assert 0 < await left(store, keys.guesses("10.0.0.1")) <= 5000  # a guess more does not make it longer
    await access.guessed(store, "10.0.0.2")
    assert LOCKED_MS - 60_000 < await left(store, keys.guesses("10.0.0.2")) <= LOCKED_MS


async def test_who_could_approve(store):
    """Tokens and staff of a role that may, each name once; a role that nobody knows may nothing."""
    for name, role in (("shop", "owner"), ("lin", "marketing"), ("desk", "service"), ("eyes", "read-only")):
        await access.create_token(store, name, role)
    await access.add_staff(store, "lin", "marketing")
    await access.add_staff(store, "wang", "owner")
    await store.command("HSET", keys.TOKENS, "x", json.dumps({"name": "boss", "role": "boss"}))
    assert await access.able(store, "marketing") == {"shop", "lin", "wang"}
    assert await access.able(store, "owner") == {"shop", "wang"}
    assert "boss" not in await access.able(store, "read")
