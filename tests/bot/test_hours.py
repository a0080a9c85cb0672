"""Hours of the day where clocks change: gaps, double hours, half hours, odd offsets, a day that never was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import hours
from bot.clock import rfc3339
from bot.hours import ALWAYS, Hours, day_start, instant, is_open, local, minute_of, next_open, parse

MINUTE = 60_000
HOUR = 60 * MINUTE
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
LORD_HOWE, KATHMANDU = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu")
APIA, HAVANA, SHANGHAI = ZoneInfo("Pacific/Apia"), ZoneInfo("America/Havana"), ZoneInfo("Asia/Shanghai")


def utc(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)


def wall(at: int, where: ZoneInfo) -> str:
    return f"{local(at, where):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("09:00-20:30", 540, 1230),
        (" 22:00 – 06:00 ", 1320, 360),
        ("00:00-24:00", 0, 1440),
        ("24:00-08:00", 0, 480),
        ("08:00-08:00", 480, 480),
    ],
)
def test_a_span_is_read(text, start, end):
    """Hours and minutes, over midnight too."""
    assert parse(text) == Hours(start, end)


@pytest.mark.parametrize("text", ["", "9-20", "09:00", "25:00-26:00", "24:30-08:00", "09:60-10:00", "sometimes"])
def test_what_is_no_span_is_refused_with_what_would_be_right(text):
    """The error shows a right one."""
    with pytest.raises(ValueError, match=r"09:00-20:30|beyond 24:00"):
        parse(text)


def test_a_span_is_printed_as_it_is_written():
    """For decisions: what was read is what is shown."""
    assert str(parse("09:00-20:30")) == "09:00-20:30"
    assert str(parse("Always")) == "always"


@pytest.mark.parametrize(
    ("span", "open_at", "shut_at"),
    [
        ("09:00-20:30", [540, 1229], [539, 1230, 0]),
        ("22:00-06:00", [1320, 1439, 0, 359], [360, 1319]),
        ("08:00-08:00", [0, 479, 480, 1439], []),
        ("00:00-24:00", [0, 1439], []),
    ],
)
def test_hours_hold_from_their_start_to_before_their_end(span, open_at, shut_at):
    """Over midnight both parts count; the same start and end is the whole day."""
    found = parse(span)
    assert all(found.holds(minute) for minute in open_at)
    assert not any(found.holds(minute) for minute in shut_at)
    assert ALWAYS.holds(0)


def test_an_unknown_zone_is_the_shops():
    """A zone that does not exist, or a path, falls back."""
    for name in ("", "Mars/Olympus", "../etc/passwd", "Europe/Berlin\0"):
        assert hours.zone(name, SHANGHAI) is SHANGHAI
    assert hours.zone("Europe/Berlin", SHANGHAI) == BERLIN


def test_an_opening_inside_the_spring_gap_is_the_first_minute_after_it():
    """02:30 does not exist in Berlin on 29 March 2026: at 03:00 the hours from 02:30 on hold already."""
    opens = next_open(parse("02:30-09:00"), utc(2026, 3, 28, 23), BERLIN)
    assert wall(opens, BERLIN) == "2026-03-29 03:00"


def test_hours_that_lie_inside_the_gap_open_the_day_after():
    """02:15 to 02:45 never comes that night."""
    opens = next_open(parse("02:15-02:45"), utc(2026, 3, 28, 23), BERLIN)
    assert wall(opens, BERLIN) == "2026-03-30 02:15"


def test_an_opening_comes_again_in_the_double_hour_of_autumn():
    """01:30 comes twice in New York on 1 November 2026: from 01:45 the next is 45 minutes of elapsed time away."""
    first = instant(datetime(2026, 11, 1, 1, 30), NEW_YORK)
    assert first == utc(2026, 11, 1, 5, 30)
    assert next_open(parse("01:30-01:40"), first - HOUR, NEW_YORK) == first
    assert next_open(parse("01:30-01:40"), first + 15 * MINUTE, NEW_YORK) == first + HOUR


def test_hours_that_the_clocks_go_back_into_open_at_that_moment():
    """01:15 to 01:45: shut at 01:59, open again when it is 01:00 once more plus 15 minutes; 00:50-01:10 at once."""
    at = utc(2026, 11, 1, 5, 59)
    assert next_open(parse("01:15-01:45"), at, NEW_YORK) == utc(2026, 11, 1, 6, 15)
    assert next_open(parse("00:50-01:10"), at, NEW_YORK) == utc(2026, 11, 1, 6)


def test_half_an_hour_of_summer_time():
    """Lord Howe moves by 30 minutes: 02:15 is missing on 4 October 2026, 01:45 comes twice on 5 April."""
    opens = next_open(parse("02:10-02:50"), utc(2026, 10, 3, 15), LORD_HOWE)
    assert wall(opens, LORD_HOWE) == "2026-10-04 02:30"
    first = instant(datetime(2026, 4, 5, 1, 45), LORD_HOWE)
    assert next_open(parse("01:45-01:50"), first + 6 * MINUTE, LORD_HOWE) == first + 30 * MINUTE


def test_an_offset_of_quarter_hours():
    """Kathmandu is 5 h 45 min ahead: 09:00 there is 03:15 UTC."""
    assert next_open(parse("09:00-20:30"), utc(2026, 6, 1, 1), KATHMANDU) == utc(2026, 6, 1, 3, 15)
    assert minute_of(utc(2026, 6, 1, 3, 15), KATHMANDU) == 540


def test_a_date_that_never_was():
    """Apia had no 30 December 2011: after the evening of the 29th the next morning is the 31st."""
    opens = next_open(parse("09:00-20:30"), instant(datetime(2011, 12, 29, 21), APIA), APIA)
    assert wall(opens, APIA) == "2011-12-31 09:00"


def test_a_day_starts_where_midnight_does_not_exist():
    """Havana skips midnight on 8 March 2026: that day starts at 01:00, and its length is 23 hours."""
    start = day_start(utc(2026, 3, 8, 15), HAVANA)
    assert wall(start, HAVANA) == "2026-03-08 01:00"
    assert day_start(utc(2026, 3, 8, 15), HAVANA, 1) - start == 23 * HOUR


def test_the_day_of_a_change_is_shorter_or_longer():
    """23 and 25 hours in Berlin: days are counted by the calendar, not by 24 hours."""
    spring, autumn = utc(2026, 3, 29, 10), utc(2026, 10, 25, 10)
    assert day_start(spring, BERLIN, 1) - day_start(spring, BERLIN) == 23 * HOUR
    assert day_start(autumn, BERLIN, 1) - day_start(autumn, BERLIN) == 25 * HOUR


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, KATHMANDU, APIA, HAVANA, SHANGHAI, ZoneInfo("UTC")])
# Around every change of 2026 and over the date line, and anywhere in the year.
NEAR = st.sampled_from(
    [
        *(utc(2026, 3, 8, 5), utc(2026, 3, 8, 7), utc(2026, 3, 29, 1), utc(2026, 4, 4, 15), utc(2026, 10, 3, 15, 30)),
        *(utc(2026, 10, 25, 1), utc(2026, 11, 1, 6), utc(2011, 12, 30, 10)),
    ]
)
INSTANTS = st.builds(lambda near, off: near + off, NEAR, st.integers(-2 * 24 * HOUR, 24 * HOUR)) | st.integers(
    utc(2026, 1, 1), utc(2027, 1, 1)
)
SPANS = st.builds(Hours, st.integers(0, 1439), st.integers(0, 1440))


@given(SPANS, INSTANTS, ZONES)
@example(Hours(150, 540), utc(2026, 3, 28, 23), BERLIN)
@settings(max_examples=250, deadline=None)
def test_the_next_opening_is_the_first_minute_that_is_open(span, at, where):
    """Against a walk minute by minute; never before `at`, and open there."""
    found = next_open(span, at, where)
    assert found >= at
    assert is_open(span, found, where)
    step = at if is_open(span, at, where) else at - at % MINUTE
    while not is_open(span, step, where):
        step += MINUTE
    assert found == step


@given(st.dates(date(2010, 1, 1), date(2030, 12, 31)), st.integers(0, 1439), ZONES)
@settings(max_examples=300, deadline=None)
def test_an_instant_is_the_first_of_its_wall_clock(day, minute, where):
    """It reads as the wall clock it was made from, or as much later as the gap is long; an hour before is another time."""
    asked = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
    shown = local(instant(asked, where), where).replace(tzinfo=None)
    assert shown >= asked
    assert shown - asked in (timedelta(), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=24))
    for back in (30 * MINUTE, HOUR):
        assert local(instant(asked, where) - back, where).replace(tzinfo=None) != asked


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"]
)
@pytest.mark.parametrize("where", [SHANGHAI, NEW_YORK, APIA])
def test_never_is_a_time_too(text, where):
    """The end of 9999 is how some write "no end": it has a wall clock, a day after it, hours and a spelling."""
    at = int(datetime.fromisoformat(text).timestamp() * 1000)
    assert local(at, where).year in (1969, 1970, 9999)
    assert day_start(at, where, 1) > day_start(at, where)
    assert next_open(parse("09:00-20:30"), at, where) >= at
    assert rfc3339(at) in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z")
