"""What is kept of visits to buyer pages: browsers, links, codes, and how it ends."""

from __future__ import annotations

import pytest

from bot import ids, keys
from bot.records import Buyer
from bot.store import Store
from bot.visits import CODE_TRIES, KEPT_S, MOST_BROWSERS, STAYS_MS, Asked, Visits

pytestmark = pytest.mark.every_store

NOW = 1_790_000_000_000
ID = ids.derived("b", 3, "y")


def buyer(revoked: int = 0) -> Buyer:
    return Buyer(id=ID, home="phone:+8613900001234", created_at=NOW, revoked=revoked)


@pytest.fixture
def visits(redis_client):
    return Visits(Store(redis_client, 8, "test"))


async def test_a_browser_stays_for_fourteen_days(visits):
    """By its secret alone; a made-up, empty or short one is none; not after a revocation."""
    secret = await visits.let_in(buyer(), NOW)
    assert await visits.knows(buyer(), secret, NOW + STAYS_MS - 1)
    assert not await visits.knows(buyer(), secret, NOW + STAYS_MS)
    assert not await visits.knows(buyer(1), secret, NOW)
    for other in ("", "x", secret[:-1], secret + "x", "x" * 22):
        assert not await visits.knows(buyer(), other, NOW)
    await visits.leave(buyer(), secret)
    assert not await visits.knows(buyer(), secret, NOW)


async def test_the_oldest_of_ten_browsers_gives_way(visits):
    """And those whose time is over are not kept."""
    over = await visits.let_in(buyer(), NOW - STAYS_MS)
    secrets = [await visits.let_in(buyer(), NOW + n) for n in range(MOST_BROWSERS + 1)]
    known = [await visits.knows(buyer(), secret, NOW + 20) for secret in secrets]
    assert known == [False] + [True] * MOST_BROWSERS
    assert not await visits.knows(buyer(), over, NOW - 1)


async def test_the_key_ends_and_holds_no_secret(visits, redis_client):
    """Thirty days after the last change; what stands in it opens nothing."""
    secret = await visits.let_in(buyer(), NOW)
    await visits.open_first(ID, "0" + "A" * 35, NOW)
    await visits.ask_code(ID, Asked("+8613900001234", "d" * 32, NOW + 1))
    name = keys.visits(3, ID)
    assert 0 < await redis_client.ttl(name) <= KEPT_S
    held = str(await redis_client.hgetall(name))
    assert secret not in held
    assert "A" * 35 not in held
    await visits.forget(ID)
    assert not await redis_client.exists(name)


async def test_a_code_is_tried_five_times_and_used_once(visits):
    """A new one begins anew; a used one is none."""
    asked = Asked("+8613900001234", "d" * 32, NOW + 600_000)
    await visits.ask_code(ID, asked)
    tried = [(await visits.try_code(ID, NOW)).asked for _ in range(CODE_TRIES + 1)]
    assert tried == [asked] * CODE_TRIES + [None]
    assert await visits.asked(ID, NOW) is None
    await visits.ask_code(ID, asked)
    assert await visits.asked(ID, NOW) == asked
    assert (await visits.try_code(ID, NOW + 600_000)).asked is None
    await visits.used(ID)
    assert (await visits.try_code(ID, NOW)).asked is None


async def test_the_second_fact_is_tried_twice(visits):
    """Whatever codes come between; the right one clears the count."""
    found = []
    for _ in range(3):
        await visits.ask_code(ID, Asked("+8613900001234", "d" * 32, NOW + 1))
        found.append(await visits.try_fact(ID))
    assert found == [True, True, False]
    assert await visits.wrong_facts(ID) == 3
    await visits.used(ID)
    assert await visits.wrong_facts(ID) == 0
