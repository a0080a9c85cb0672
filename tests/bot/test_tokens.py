"""Access tokens over several processes, on a real server: one refresher, no storms, forced ones counted for all."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import AccountError, ProviderDownError, TemporaryError, ThrottledError
from bot.ports import Token
from bot.redis_client import Scripts, connect
from bot.tokens import RedisTokens

START = 1_790_000_000_000
KEY = "wechat:wx1"


class Clock:
    """Real time as the test sets it; sleeping lets others run."""

    def __init__(self) -> None:
        self.at = START

    def real(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


class Endpoint:
    """stable_token: the same token until it is forced, or replaced by somebody else."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.number, self.asked, self.fails = clock, 1, [], 0

    async def __call__(self, force: bool) -> Token:
        self.asked.append(force)
        await asyncio.sleep(0.02)
        if self.fails:
            self.fails -= 1
            raise ProviderDownError("away")
        self.number += force
        return Token(f"T{self.number}", self.clock.real() + 7_200_000)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def two(redis_client, clock):
    """Two processes: nothing in common but the server."""
    return [RedisTokens(Scripts(redis_client), clock) for _ in range(2)]


async def everybody(two, fetch, failed="") -> set[str]:
    return set(await asyncio.gather(*(tokens.get(KEY, fetch, failed=failed) for tokens in two for _ in range(20))))


async def test_one_asks_for_all(two, clock):
    """Forty calls in two processes at once: one call of the provider, and none while the token lasts."""
    fetch = Endpoint(clock)
    assert await everybody(two, fetch) == {"T1"}
    assert await everybody(two, fetch) == {"T1"}
    clock.at += 6_800_000
    assert await everybody(two, fetch) == {"T1"}
    assert fetch.asked == [False]
    clock.at += 200_000  # within five minutes of its end
    await everybody(two, fetch)
    assert fetch.asked == [False, False]


async def test_a_burst_with_the_old_token_asks_once_and_forces_nothing(two, clock):
    """Somebody else replaced the token: asked un-forced the provider names the new one, and all get that."""
    fetch = Endpoint(clock)
    await everybody(two, fetch)
    fetch.number = 2
    assert await everybody(two, fetch, failed="T1") == {"T2"}
    assert fetch.asked == [False, False]


async def test_a_token_that_the_provider_itself_still_gives_is_forced_once(two, clock):
    """The same one again: a single forced refresh for both processes."""
    fetch = Endpoint(clock)
    await everybody(two, fetch)
    assert await everybody(two, fetch, failed="T1") == {"T2"}
    assert fetch.asked == [False, False, True]


async def test_forced_refreshes_are_counted_over_all_processes(two, clock):
    """At most every 30 seconds and 20 a day: until then a pause, then the account's fault."""
    one, other = two
    fetch = Endpoint(clock)
    await one.get(KEY, fetch)
    await one.get(KEY, fetch, failed="T1")
    with pytest.raises(ThrottledError) as caught:
        await other.get(KEY, fetch, failed="T2")
    assert 0 < caught.value.retry_after_s <= 30
    for number in range(2, 21):
        clock.at += 31_000
        assert await one.get(KEY, fetch, failed=f"T{number}") == f"T{number + 1}"
    clock.at += 31_000
    with pytest.raises(AccountError, match="today"):
        await other.get(KEY, fetch, failed="T21")
    assert fetch.asked.count(True) == 20
    clock.at += 86_400_000
    assert await other.get(KEY, fetch, failed="T21") == "T22"


async def test_a_failed_refresh_lets_the_next_one_try(two, clock):
    """Whoever asks next asks the provider; nobody waits for the lock of one that gave up."""
    fetch = Endpoint(clock)
    fetch.fails = 1
    with pytest.raises(ProviderDownError):
        await two[0].get(KEY, fetch)
    assert await two[1].get(KEY, fetch) == "T1"


async def test_a_refresher_that_died_is_succeeded(two, clock):
    """Its lock ends by itself, and what it comes back with later is not put over the newer one."""
    fetch, gate = Endpoint(clock), asyncio.Event()

    async def stuck(force: bool) -> Token:
        await gate.wait()
        return Token("T0", clock.real() + 7_200_000)

    held = asyncio.create_task(two[0].get(KEY, stuck))
    await asyncio.sleep(0.05)
    clock.at += 12_001
    assert await two[1].get(KEY, fetch) == "T1"
    gate.set()
    await held
    third = RedisTokens(two[1]._scripts, clock)
    assert await third.get(KEY, fetch) == "T1"


async def test_without_the_store_nothing_is_in_doubt(clock):
    """A message that waits for its token has not been sent."""
    client = connect("redis://127.0.0.1:1")
    with pytest.raises(TemporaryError):
        await RedisTokens(Scripts(client), clock).get(KEY, Endpoint(clock))
    await client.aclose()
