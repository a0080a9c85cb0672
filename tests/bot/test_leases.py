"""Leases of partitions on a real store: who owns, with which fence, and what a new owner learns of the one before."""

from __future__ import annotations

import time

import pytest

from bot import keys
from bot.clock import SystemClock
from bot.leases import Leases, release_owner
from bot.store import Store

pytestmark = pytest.mark.every_store
P, TTL = 3, 60_000


def of(client, owner: str) -> Store:
    return Store(client, 64, owner)


async def take(store: Store, letter: str = "k", *, room: int = 1) -> tuple[int, str, str]:
    found = (await store.lease({P: letter}, TTL, room)).get(P, (0, "", ""))
    if found[0]:
        store.fences[P] = found[0]
    return found


async def run_out(store: Store) -> None:
    await store.command("HSET", keys.lease(P), "u", 1)


async def test_a_lease_that_holds_is_kept_under_its_fence(redis_client):
    """However often it is renewed; nobody else gets it meanwhile."""
    one, two = of(redis_client, "one"), of(redis_client, "two")
    fence, *marks = await take(one)
    assert fence > 0
    assert marks == ["0", "0"]
    assert await take(two) == (0, "", "")
    assert await take(one, room=0) == (fence, "", "")
    assert int(await one.command("HGET", keys.lease(P), "u")) > time.time() * 1000 + TTL / 2


async def test_one_that_ran_out_has_another_fence_for_whoever_takes_it(redis_client):
    """Its former owner as well: somebody else may have had it in between. What it took itself is not suspect."""
    one, two = of(redis_client, "one"), of(redis_client, "two")
    first, *_ = await take(one)
    await one.command("HSET", keys.lease(P), "i", "5-1", "b", "7-2")
    await run_out(one)
    second, *marks = await take(one)
    assert (second > first, marks) == (True, ["", ""])
    await run_out(one)
    assert await take(two, room=0) == (0, "", "")
    third, *marks = await take(two)
    assert (third > second, marks) == (True, ["5-1", "7-2"])
    assert await take(one) == (0, "", "")


@pytest.mark.parametrize("known", [0, 10**15])
async def test_a_fence_is_new_whatever_the_store_remembers(redis_client, known):
    """It forgot the last one in a fail-over: the time is in it. Its clock went back: it counts on."""
    one = of(redis_client, "one")
    if known:
        await one.command("HSET", keys.lease(P), "f", known, "u", 1, "o", "somebody")
    before = time.time() * 1000
    fence, *_ = await take(one)
    assert fence > known
    assert fence >= before - 5000


async def test_only_its_owner_gives_it_back(redis_client):
    """Then it is free at once, and nothing of what was taken is suspect."""
    one, two = of(redis_client, "one"), of(redis_client, "two")
    fence, *_ = await take(one)
    await one.command("HSET", keys.lease(P), "i", "5-1", "b", "7-2")
    await take(two, "x")
    assert await take(one, room=0) == (fence, "", "")
    await take(one, "x")
    taken, *marks = await take(two)
    assert (taken > fence, marks) == (True, ["0", "0"])


async def test_the_partitions_of_a_dead_process_are_free_at_once(redis_client):
    """Of that one alone; what it had taken is suspect to who comes next."""
    one, two, three = (of(redis_client, name) for name in ("one", "two", "three"))
    await take(one)
    await one.command("HSET", keys.lease(P), "i", "5-1")
    await release_owner(two, "two")
    assert await take(three) == (0, "", "")
    await release_owner(two, "one")
    fence, *marks = await take(three)
    assert (fence > 0, marks) == (True, ["5-1", "0"])


async def test_a_clock_that_was_put_back_leaves_no_partition_to_the_dead(redis_client):
    """An hour: who died before counts as one that lives no longer, and what it had is free one lease later, not an hour."""
    alone, ahead = Leases(of(redis_client, "one"), SystemClock(), ttl_s=0.5), int((time.time() + 3600) * 1000)
    store = alone._store
    await store.command("ZADD", keys.PROCESSES, ahead, "dead")
    for p in range(64):
        await store.command("HSET", keys.lease(p), "o", "dead", "u", ahead, "f", 1)
    await alone.renew()
    assert await store.command("ZRANGE", keys.PROCESSES, 0, -1) == [b"one"]
    assert store.fences == {}
    end = time.monotonic() + 20
    while len(store.fences) < 64:
        assert time.monotonic() < end
        await alone.renew()


async def test_whoever_lives_keeps_its_partitions_when_the_clock_was_put_back(redis_client):
    """Its next renewal is by the new time; nobody took them meanwhile."""
    one, two = of(redis_client, "one"), of(redis_client, "two")
    fence, *_ = await take(one)
    await one.command("HSET", keys.lease(P), "u", int((time.time() + 3600) * 1000))
    assert await take(two) == (0, "", "")
    assert await take(one) == (fence, "", "")
    assert int(await one.command("HGET", keys.lease(P), "u")) < (time.time() + 120) * 1000


async def test_a_process_is_sure_of_what_it_renewed_in_time(redis_client):
    """For less than the lease's own time, counted from before it asked; not of what it never had."""
    store, clock = of(redis_client, "one"), SystemClock()
    leases = Leases(store, clock, ttl_s=10)
    assert not leases.sure
    before = clock.monotonic()
    await leases.renew()
    assert len(store.fences) == 64
    assert leases.sure_of(P)
    assert before + 7 < leases._sure_until <= clock.monotonic() + 8
    leases._sure_until = clock.monotonic()
    assert not leases.sure_of(P)
    await leases.renew()
    assert leases.sure
    await leases.release()
    assert (leases.sure, store.fences) == (False, {})


async def test_a_lost_lease_is_given_up_with_the_next_renewal(redis_client):
    """Somebody else has it: no work of it is done here any more, whatever was known of it."""
    one, two = of(redis_client, "one"), of(redis_client, "two")
    leases = Leases(one, SystemClock(), ttl_s=60)
    await leases.renew()
    leases.suspects[P] = ("1-1", "1-1")
    await run_out(one)
    await take(two)
    await leases.renew()
    assert P not in one.fences
    assert P not in one.cursors
    assert P not in leases.suspects
    assert len(one.fences) == 63
