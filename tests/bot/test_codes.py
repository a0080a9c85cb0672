"""Phone codes against a real Valkey: their limits hold in parallel and across the borders of any hour; guessing stays hopeless."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import keys
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.codes import PER_NUMBER_A_DAY, Codes
from bot.store import Store
from handlers.member_card import CODE_TRIES

pytestmark = pytest.mark.every_store

NOW = 1_790_000_000_000
PHONE = "+8613900001234"


async def codes(client, *, per_day: int = 2000, countries=("CN", "US")) -> Codes:
    found = Codes(Store(client, 4, "one"), countries, per_day=per_day)
    await found.start()
    return found


async def outcomes(*calls) -> list[str]:
    return [one.outcome for one in await asyncio.gather(*calls)]


async def test_sixty_at_once_get_three(redis_client):
    """Three processes, sixty requests for one number in one moment: three codes, each of its own, all good for themselves."""
    processes = [await codes(redis_client) for _ in range(3)]
    found = await asyncio.gather(*(processes[i % 3].request(PHONE, NOW) for i in range(60)))
    sent = [one for one in found if one.outcome == "sent"]
    assert len(sent) == 3
    assert {one.outcome for one in found} == {"sent", "too_many"}
    assert all(one.retry_at == NOW + 10 * MINUTE_MS for one in found if one.outcome == "too_many")
    for one in sent:
        assert len(one.code) == 6
        assert one.code.isdigit()
        assert one.expires_at == NOW + 10 * MINUTE_MS
        assert processes[0].check(PHONE, one.code, one.digest)
        assert not processes[0].check("+8613900001235", one.code, one.digest)
        assert one.code not in one.digest


async def test_windows_slide(redis_client):
    """Just before and after any full ten minutes or midnight no second share is given; the time told is the time it works."""
    one = await codes(redis_client)
    border = NOW - NOW % DAY_MS + DAY_MS
    for offset in (-2, -1, 0):
        assert (await one.request(PHONE, border + offset)).outcome == "sent"
    refused = await one.request(PHONE, border + 1)
    assert (refused.outcome, refused.retry_at) == ("too_many", border - 2 + 10 * MINUTE_MS)
    assert (await one.request(PHONE, refused.retry_at - 1)).outcome == "too_many"
    assert (await one.request(PHONE, refused.retry_at)).outcome == "sent"


async def test_a_number_gets_ten_a_day(redis_client):
    """However they are spread; the eleventh comes a day after the first."""
    one = await codes(redis_client)
    for n in range(PER_NUMBER_A_DAY):
        assert (await one.request(PHONE, NOW + n * HOUR_MS)).outcome == "sent"
    refused = await one.request(PHONE, NOW + 11 * HOUR_MS)
    assert (refused.outcome, refused.retry_at) == ("too_many", NOW + DAY_MS)
    assert (await one.request(PHONE, NOW + DAY_MS)).outcome == "sent"


async def test_five_hundred_numbers_of_one_block_get_six(redis_client):
    """Sequential numbers of one prefix, as pumping buys them; another prefix is not touched."""
    one = await codes(redis_client)
    found = [await one.request(f"+861390000{n:04d}", NOW + n * 1000) for n in range(500)]
    assert [f.outcome for f in found].count("sent") == 6
    assert (await one.request("+8613911110001", NOW)).outcome == "sent"


async def test_one_asker_gets_five_an_hour_for_all_numbers(redis_client):
    """A chat address cannot walk through the numbers of a country: five an hour, ten a day."""
    one = await codes(redis_client)
    hour = [await one.request(f"+86139{n:04d}5678", NOW, asker="address:a:1") for n in range(8)]
    assert [f.outcome for f in hour].count("sent") == 5
    later = [await one.request(f"+86138{n:04d}5678", NOW + HOUR_MS * (1 + n), asker="address:a:1") for n in range(12)]
    assert [f.outcome for f in later].count("sent") == 5
    assert (await one.request("+8613712345678", NOW, asker="address:a:2")).outcome == "sent"


async def test_countries_are_a_list(redis_client):
    """Another country, a landline and a service number get none, and nothing is counted for them."""
    one = await codes(redis_client, countries=("CN",))
    assert (await one.request("+14155552671", NOW)).outcome == "not_allowed"
    assert (await one.request("+861062345678", NOW)).outcome == "no_texts"
    assert await redis_client.hlen(keys.CODE_COUNTS) == 0


async def test_a_country_and_a_day_have_their_sums(redis_client):
    """70 an hour for a country and 700 a day for all of them, also across midnight: then nothing goes for now."""
    one = await codes(redis_client, per_day=700)
    for _ in range(40):
        await one.proved(PHONE, NOW)
    found = [await one.request(f"+86139{n:04d}5678", NOW) for n in range(90)]
    assert [f.outcome for f in found].count("sent") == 70
    assert {f.outcome for f in found} == {"sent", "stopped"}
    small = await codes(redis_client, per_day=75)
    others = [await small.request(f"+1415{300 + n}2671", NOW + n) for n in range(30)]
    assert [f.outcome for f in others].count("sent") == 5


async def test_a_countrys_hour_slides(redis_client):
    """What went out at the end of one hour counts in the next, and less and less of it: half of it after half an hour."""
    one = await codes(redis_client, per_day=700)
    border = NOW - NOW % HOUR_MS + HOUR_MS
    for _ in range(80):
        await one.proved(PHONE, border - 1)
        await one.proved(PHONE, border)

    async def sent(at: int, area: str) -> int:
        found = [await one.request(f"+86{area}{n:04d}5678", at) for n in range(90)]
        return [f.outcome for f in found].count("sent")

    assert await sent(border - 1, "139") == 70
    assert await sent(border, "138") == 0
    assert await sent(border + HOUR_MS // 2, "137") == 35


async def test_a_small_shops_country_still_gets_sixty_an_hour(redis_client):
    """A tenth of a small daily sum would shut out a busy hour."""
    one = await codes(redis_client, per_day=200)
    for _ in range(60):
        await one.proved(PHONE, NOW)
    found = [await one.request(f"+86139{n:04d}5678", NOW) for n in range(70)]
    assert [f.outcome for f in found].count("sent") == 60


async def test_codes_that_never_come_back_stop_their_country(redis_client):
    """100 sent and hardly one typed back is pumping; a country whose buyers prove theirs goes on, and so does the next hour."""
    one = await codes(redis_client)
    start = NOW - NOW % HOUR_MS
    found = [await one.request(f"+86139{n:04d}5678", start + n) for n in range(120)]
    assert [f.outcome for f in found].count("sent") == 100
    assert found[-1].outcome == "stopped"
    assert (await one.request("+14155552671", start)).outcome == "sent"
    for _ in range(30):
        await one.proved(PHONE, start + MINUTE_MS)
    assert (await one.request("+8613812345678", start + MINUTE_MS)).outcome == "sent"


async def test_guessing_for_a_month_is_hopeless(redis_client):
    """An attacker who always asks at the limit gets ten codes a day: 50 guesses, a chance under 1 in 1000 a day (and 2 in 1000 a month)."""
    one = await codes(redis_client)
    sent = [0] * 30
    for day in range(30):
        for minute in range(0, 24 * 60, 7):
            found = await one.request(PHONE, NOW + day * DAY_MS + minute * MINUTE_MS)
            sent[day] += found.outcome == "sent"
    assert max(sent) <= PER_NUMBER_A_DAY
    assert max(sent) * CODE_TRIES / 1_000_000 < 1e-3
    assert sum(sent) * CODE_TRIES / 1_000_000 < 2e-3


async def test_counters_do_not_stay(redis_client):
    """A day later nothing is left of a number; what still counts stays."""
    one = await codes(redis_client)
    await one.request(PHONE, NOW, asker="address:a:1")
    await one.sweep(NOW + HOUR_MS)
    assert await redis_client.hlen(keys.CODE_COUNTS) == 5
    await one.sweep(NOW + 2 * DAY_MS)
    assert await redis_client.hlen(keys.CODE_COUNTS) == 0


async def test_what_still_counts_is_not_swept_with_what_is_over(redis_client):
    """The first code of a number is a day old, nine others are not: still no eleventh within the day."""
    one = await codes(redis_client)
    assert (await one.request(PHONE, NOW)).outcome == "sent"
    for n in range(9):
        assert (await one.request(PHONE, NOW + 12 * HOUR_MS + n * HOUR_MS)).outcome == "sent"
    await one.sweep(NOW + DAY_MS)
    assert (await one.request(PHONE, NOW + DAY_MS)).outcome == "sent"
    assert (await one.request(PHONE, NOW + DAY_MS)).outcome == "too_many"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4 * HOUR_MS)), max_size=60))
async def test_no_window_ever_holds_more_than_its_limit(redis_client, asks):
    """Whatever the rhythm: in any 10 minutes 3 a number, in any hour 6 a prefix and 5 an asker."""
    await redis_client.flushall()
    one = await codes(redis_client)
    now, sent = NOW, []
    for number, pause in asks:
        now += pause // 16
        if (await one.request(f"+861390000100{number}", now, asker="address:a:1")).outcome == "sent":
            sent.append((number, now))
    for _, at in sent:
        last_hour = [s for s in sent if at - HOUR_MS < s[1] <= at]
        assert len(last_hour) <= 5
        for number in range(4):
            assert sum(s[0] == number and s[1] > at - 10 * MINUTE_MS for s in last_hour) <= 3


@pytest.mark.parametrize("phone", [PHONE, "+14155552671"])
async def test_codes_are_spread_over_all_six_digits(redis_client, phone):
    """Leading zeros are kept; digests differ by number and by code."""
    one = await codes(redis_client)
    assert len({one.digest(phone, f"{n:06d}") for n in range(500)}) == 500
    assert one.digest(phone, "000001") != one.digest(phone, "1")
