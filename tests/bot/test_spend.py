"""Spend limits against a real Valkey: exact over processes, whatever is repeated, released or corrected later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import keys
from bot.clock import DAY_MS, HOUR_MS
from bot.costs import Tariff
from bot.spend import Limits, Outlay, Spend
from bot.store import Store

ZONE = ZoneInfo("Asia/Shanghai")
NOW = 1_790_000_000_000  # 2026-09-21 22:13 in Shanghai
TARIFF = Tariff("CNY", {"CN": Decimal("0.045"), "US": Decimal("0.06")})
CHINA, US, UK = "+8613900001234", "+14155552671", "+447700900123"
pytestmark = pytest.mark.every_store


def spend(client, daily: str | None = "1.00", monthly: str | None = None) -> Spend:
    limits = Limits(TARIFF, Decimal(daily) if daily else None, Decimal(monthly) if monthly else None)
    return Spend(Store(client, 4, "one"), {"sms": limits}, ZONE)


async def total(client, span: str) -> int:
    return int(await client.hget(keys.spend("sms", span), "t") or 0)


async def test_sixty_at_once_over_three_processes_stay_within_the_limit(redis_client):
    """22 × 0.045 = 0.99 fit into 1.00: exactly 22 of 60 parallel texts are let out, and the sum is exact."""
    processes = [spend(redis_client) for _ in range(3)]
    refused = await asyncio.gather(
        *(processes[i % 3].reserve("sms", [Outlay(f"m{i}", 1, CHINA, 1)], NOW) for i in range(60))
    )
    assert sum(not one for one in refused) == 22
    assert await total(redis_client, "2026-09-21") == await total(redis_client, "2026-09") == 990_000


async def test_a_repeat_reserves_once_and_what_was_not_accepted_is_free_again(redis_client):
    """The same attempt counts once; released, its amount serves another; settled, it is the provider's parts."""
    one = spend(redis_client, "0.09")
    first, second = Outlay("m1", 1, CHINA, 2), Outlay("m2", 1, CHINA, 1)
    assert await one.reserve("sms", [first], NOW) == set()
    assert await one.reserve("sms", [first], NOW) == set()
    assert await one.reserve("sms", [second], NOW) == {"m2"}
    for _ in range(2):
        await one.settle("sms", one.day(NOW), [Outlay("m1", 1, CHINA, 0)], NOW)
    assert await total(redis_client, "2026-09-21") == 0
    assert await one.reserve("sms", [second], NOW) == set()
    for _ in range(2):
        await one.settle("sms", one.day(NOW), [Outlay("m2", 1, CHINA, 3)], NOW)
    assert await total(redis_client, "2026-09-21") == 135_000


async def test_what_is_in_doubt_stays_counted(redis_client):
    """A second attempt at a text whose first may have gone out is paid for twice; a stale settlement changes nothing."""
    one = spend(redis_client)
    for attempt in (1, 2):
        await one.reserve("sms", [Outlay("m1", attempt, CHINA, 1)], NOW)
    await one.settle("sms", one.day(NOW), [Outlay("m1", 1, CHINA, 0)], NOW)
    assert await total(redis_client, "2026-09-21") == 90_000


async def test_a_receipt_of_the_next_day_corrects_the_day_it_was_reserved_on(redis_client):
    """Parts of a receipt move the sum of the reserving day, at the price of then; later days find nothing."""
    one = spend(redis_client)
    await one.reserve("sms", [Outlay("m1", 1, US, 1)], NOW)
    for _ in range(2):
        await one.correct("sms", "m1", 3, NOW + 20 * HOUR_MS)
    await one.correct("sms", "unknown", 3, NOW)
    assert await total(redis_client, "2026-09-21") == 180_000
    assert await total(redis_client, "2026-09-22") == 0
    await one.correct("sms", "m1", 9, NOW + 5 * DAY_MS)
    assert await total(redis_client, "2026-09-21") == 180_000


async def test_a_receipt_corrects_the_last_day_that_reserved_for_it(redis_client):
    """A text that was tried again the next day: what the provider counted is the second attempt, not both."""
    one = spend(redis_client)
    for attempt, at in ((1, NOW), (2, NOW + 4 * HOUR_MS)):
        await one.reserve("sms", [Outlay("m1", attempt, CHINA, 1)], at)
    await one.correct("sms", "m1", 3, NOW + 5 * HOUR_MS)
    assert await total(redis_client, "2026-09-21") == 45_000
    assert await total(redis_client, "2026-09-22") == 135_000
    assert await total(redis_client, "2026-09") == 180_000
    await one.correct("sms", "m1", 0, NOW + 5 * HOUR_MS)  # a receipt that does not say is none
    assert await total(redis_client, "2026-09") == 180_000


async def test_a_text_counts_one_part_at_least(redis_client):
    """Also where nobody has counted its parts yet."""
    one = spend(redis_client, "0.045")
    assert await one.reserve("sms", [Outlay("m1", 1, CHINA, 0)], NOW) == set()
    assert await one.reserve("sms", [Outlay("m2", 1, CHINA, 0)], NOW) == {"m2"}


@pytest.mark.parametrize(("daily", "parts"), [("0.135", (1, 3)), ("0.045", (1,))])
async def test_a_limit_is_told_as_reached_when_it_refuses_and_when_nothing_fits_any_more(redis_client, daily, parts):
    """A long text that does not fit stops though a short one would; the last part that fits is the end without a refusal."""
    one = spend(redis_client, daily)
    for number, count in enumerate(parts):
        await one.reserve("sms", [Outlay(f"m{number}", 1, CHINA, count)], NOW)
    stream = f"inbox:{{p{one._store.partition('account:sms'):02d}}}"
    bodies = [fields[b"b"] for _, fields in await redis_client.xrange(stream)]
    assert [b"100 % of daily" in body for body in bodies] == [True]


async def test_a_limit_is_used_up_while_not_even_the_cheapest_part_fits(redis_client):
    """With room for one it is not; what was not accepted is room again; a settlement of yesterday says nothing of today."""
    one = spend(redis_client, "0.09")
    await one.reserve("sms", [Outlay("m1", 1, CHINA, 1)], NOW)
    assert one.used_up == {}
    await one.reserve("sms", [Outlay("m2", 1, CHINA, 1)], NOW)
    assert set(one.used_up) == {"sms"}
    await one.settle("sms", one.day(NOW), [Outlay("m2", 1, CHINA, 0)], NOW)
    assert one.used_up == {}
    await one.reserve("sms", [Outlay("m3", 1, CHINA, 1)], NOW)
    tomorrow = NOW + 4 * HOUR_MS
    await one.refresh(tomorrow)
    await one.settle("sms", one.day(NOW), [Outlay("m3", 1, CHINA, 1)], tomorrow)
    assert one.used_up == {}


async def test_a_country_without_a_price_counts_at_the_dearest(redis_client):
    """A limit cannot be walked around by a country that the list forgets."""
    one = spend(redis_client)
    await one.reserve("sms", [Outlay("m1", 1, UK, 1)], NOW)
    assert await total(redis_client, "2026-09-21") == 60_000


async def test_day_and_month_end_at_the_shops_midnight(redis_client):
    """22:13 in Shanghai: at midnight there the day's limit is whole again, the month's is not until October."""
    one = spend(redis_client, "0.045", "0.09")
    assert await one.reserve("sms", [Outlay("m1", 1, CHINA, 1)], NOW) == set()
    midnight = int(datetime(2026, 9, 22, tzinfo=ZONE).timestamp() * 1000)
    assert one.used_up == {"sms": midnight}
    assert await one.reserve("sms", [Outlay("m2", 1, CHINA, 1)], midnight - 1) == {"m2"}
    assert await one.reserve("sms", [Outlay("m2", 1, CHINA, 1)], midnight) == set()
    october = int(datetime(2026, 10, 1, tzinfo=ZONE).timestamp() * 1000)
    assert one.used_up == {"sms": october}
    assert await one.reserve("sms", [Outlay("m3", 1, CHINA, 1)], october - 1) == {"m3"}
    assert await one.reserve("sms", [Outlay("m3", 1, CHINA, 1)], october) == set()
    other = spend(redis_client, "0.045", "0.09")
    await other.refresh(october)
    assert set(other.used_up) == {"sms"}


async def test_each_share_is_told_once(redis_client):
    """80 % and 100 % of day and month: one alert each for the account's record, however often it is crossed."""
    one, two = spend(redis_client, "0.225", "0.45"), spend(redis_client, "0.225", "0.45")
    for i in range(7):
        await (one, two)[i % 2].reserve("sms", [Outlay(f"m{i}", 1, CHINA, 1)], NOW)
    await one.settle("sms", one.day(NOW), [Outlay("m4", 1, CHINA, 0)], NOW)
    await one.reserve("sms", [Outlay("m9", 1, CHINA, 1)], NOW)
    stream = f"inbox:{{p{one._store.partition('account:sms'):02d}}}"
    bodies = [fields[b"b"] for _, fields in await redis_client.xrange(stream)]
    told = sorted(text for body in bodies for text in (b"80 % of daily", b"100 % of daily", b"month") if text in body)
    assert told == [b"100 % of daily", b"80 % of daily"]
    assert any(b"0.18 of 0.225 CNY" in body for body in bodies)


async def test_old_days_and_months_are_thrown_away(redis_client):
    """After ten days a day, after three months a month; what is younger stays."""
    one = spend(redis_client)
    await one.reserve("sms", [Outlay("m1", 1, CHINA, 1)], NOW)
    await one.sweep(NOW + 9 * DAY_MS)
    assert await redis_client.exists(keys.spend("sms", "2026-09-21"), keys.spend("sms", "2026-09")) == 2
    await one.sweep(NOW + 20 * DAY_MS)
    assert await redis_client.exists(keys.spend("sms", "2026-09-21"), keys.spend("sms", "2026-09")) == 1
    await one.sweep(NOW + 120 * DAY_MS)
    assert await redis_client.exists(keys.spend("sms", "2026-09")) == 0


STEPS = st.lists(
    st.tuples(st.sampled_from("rrrsc"), st.integers(0, 5), st.integers(1, 3), st.integers(0, 3)), max_size=40
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_the_sum_is_what_the_messages_hold(redis_client, steps):
    """Whatever the order of reservations, settlements and receipts: reserving never passes the limit, and sums agree."""
    await redis_client.flushall()
    one = spend(redis_client, "0.5")
    day = one.day(NOW)
    for what, message, attempt, parts in steps:
        before = await total(redis_client, day)
        outlay = Outlay(f"m{message}", attempt, CHINA, parts)
        if what == "r":
            await one.reserve("sms", [outlay], NOW)
            assert await total(redis_client, day) <= max(before, 500_000)
        elif what == "s":
            await one.settle("sms", day, [outlay], NOW)
        else:
            await one.correct("sms", outlay.id, parts, NOW)
        fields = await redis_client.hgetall(keys.spend("sms", day))
        held = [value.split() for name, value in fields.items() if name.startswith(b"m:")]
        assert sum(int(amount) + int(kept) for _, amount, kept, _ in held) == await total(redis_client, day)


@pytest.mark.parametrize(
    "at", [NOW, NOW + 9 * DAY_MS, NOW + 100 * DAY_MS, int(datetime(2027, 1, 31, tzinfo=UTC).timestamp()) * 1000]
)
async def test_a_used_up_month_ends_with_it(redis_client, at):
    """The account may send again on the first of the next month, by the shop's midnight."""
    one = spend(redis_client, None, "0.045")
    await one.reserve("sms", [Outlay("m1", 1, CHINA, 1)], at)
    end = datetime.fromtimestamp(one.used_up["sms"] / 1000, ZONE)
    assert (end.day, end.hour, end.minute) == (1, 0, 0)
    assert 0 < one.used_up["sms"] - at <= 32 * DAY_MS
