"""What may be promised about shipping: only on open days, before the cut-off, by the shop's own clock."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import HOUR_MS, MINUTE_MS
from bot.hours import instant, local
from bot.shipping import CN_HOLIDAYS, Shipping

CHINA = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
ZONES = st.sampled_from([CHINA, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/Santiago")])
START = instant(datetime(2026, 1, 1), CHINA)
SHOPS = st.builds(
    Shipping,
    zone=ZONES,
    cutoff=st.integers(-1, 1439),
    within_h=st.integers(1, 96),
    closed_weekdays=st.frozensets(st.integers(0, 6), max_size=5),
    closed_dates=st.sampled_from([frozenset(), CN_HOLIDAYS]),
)


@given(SHOPS, st.integers(0, 700 * 24 * 60))
def test_today_is_a_promise_that_can_be_kept(shop, minutes):
    """The cut-off is still to come, on this very day of the shop, and the shop ships on it."""
    at = START + minutes * MINUTE_MS
    cut = shop.today_before(at)
    here = local(at, shop.zone)
    if cut:
        assert cut > at
        assert local(cut, shop.zone).date() == here.date()
        assert shop.open_on(here.date())
    elif shop.cutoff >= 0 and shop.open_on(here.date()):
        assert instant(datetime.combine(here.date(), datetime.min.time()), shop.zone) <= at
        # A minute that the clocks skip counts as the first one after it.
        assert here.hour * 60 + here.minute + 60 > shop.cutoff


@given(SHOPS, st.integers(0, 700 * 24 * 60))
def test_ships_by_is_the_first_open_day(shop, minutes):
    """Not before the promised hours have passed, on an open day, and on the first one of them."""
    paid = START + minutes * MINUTE_MS
    due = shop.by(paid)
    full, day = paid + shop.within_h * HOUR_MS, local(due, shop.zone).date()
    first = local(full, shop.zone).date()
    assert shop.open_on(day)
    assert (due == full) if day == first else day > first
    assert not any(shop.open_on(first + timedelta(days=n)) for n in range((day - first).days))


@pytest.mark.parametrize(
    ("when", "today", "by"),
    [
        ("2026-09-30 10:00", True, "10-08"),  # due on the first day of the National Day week
        ("2026-10-01 10:00", False, "10-08"),
        ("2026-10-08 10:00", True, "10-09"),
        ("2026-02-14 15:59", True, "02-24"),
        ("2026-02-14 16:00", False, "02-24"),
        ("2026-12-31 10:00", True, "01-02"),
        ("2027-02-05 10:00", False, "02-09"),
        ("2027-02-09 10:00", True, "02-10"),
        ("2027-06-08 10:00", True, "06-10"),
        ("2027-09-30 10:00", True, "10-04"),
    ],
)
def test_chinas_holidays(when, today, by):
    """No parcel leaves on a public holiday, and none is promised for one."""
    shop = Shipping(CHINA, closed_dates=CN_HOLIDAYS)
    at = instant(datetime.fromisoformat(when), CHINA)
    assert bool(shop.today_before(at)) is today
    assert f"{local(shop.by(at), CHINA):%m-%d}" == by


def test_the_holidays_that_the_law_fixes_are_known():
    """All 13 days of each year; the years to come are a reminder to add them."""
    for year in (2026, 2027):
        assert len({day for day in CN_HOLIDAYS if day.year == year}) >= 13
    assert date(2026, 2, 17) in CN_HOLIDAYS
    assert date(2027, 2, 6) in CN_HOLIDAYS


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (datetime(2026, 3, 8), 15),  # the night loses an hour: 16:00 is 15 hours after midnight
        (datetime(2026, 11, 1), 17),
        (datetime(2026, 7, 1), 16),
    ],
)
def test_the_cut_off_is_wall_clock(day, hours):
    """Four in the afternoon stays four in the afternoon when the clocks change."""
    midnight = instant(day, NEW_YORK)
    assert Shipping(NEW_YORK).today_before(midnight) == midnight + hours * HOUR_MS


def test_a_cut_off_after_midnight():
    """A night shift that ships until two: before it "today" holds, after it nothing does until the next midnight."""
    shop = Shipping(CHINA, cutoff=120)
    midnight = instant(datetime(2026, 9, 22), CHINA)
    assert shop.today_before(midnight - MINUTE_MS) == 0
    assert shop.today_before(midnight) == midnight + 2 * HOUR_MS
    assert shop.today_before(midnight + 2 * HOUR_MS) == 0
    assert Shipping(CHINA, cutoff=-1).today_before(midnight) == 0


def test_closed_weekdays():
    """Paid on Friday, closed at the weekend: by Monday; on Saturday nothing is promised for today."""
    shop = Shipping(CHINA, closed_weekdays=frozenset({5, 6}))
    friday = instant(datetime(2026, 9, 18, 18), CHINA)
    assert f"{local(shop.by(friday), CHINA):%a}" == "Mon"
    assert shop.today_before(friday + 12 * HOUR_MS) == 0
