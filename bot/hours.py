"""Hours of the day in a buyer's time zone. Pure.

Arithmetic is done in UTC and only compared in the zone: two aware times of one zone subtract by wall clock, which is an
hour wrong around a change of the clocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.clock import DAY_MS, LAST, MINUTE_MS, moment
from bot.events import Ms

_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)\s*[-–]\s*([01]\d|2[0-4]):([0-5]\d)")
DAY_MINUTES = 1440
LATEST: Ms = LAST - 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start` to before `end`, minutes of the day; `end` <= `start` runs over midnight. `always`: no bound."""

    start: int = 0
    end: int = DAY_MINUTES
    always: bool = False

    def __str__(self) -> str:
        if self.always:
            return "always"
        return f"{self.start // 60:02d}:{self.start % 60:02d}-{self.end // 60:02d}:{self.end % 60:02d}"

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day is within."""
        if self.always or self.start == self.end:
            return True
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


ALWAYS = Hours(always=True)


def parse(text: str) -> Hours:
    """`"09:00-20:30"` or `"always"`. Raises ValueError with what would be right."""
    if text.strip().lower() == "always":
        return ALWAYS
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{text!r} is no span of hours; write "09:00-20:30" or "always"')
    h1, m1, h2, m2 = map(int, found.groups())
    start, end = h1 * 60 + m1, h2 * 60 + m2
    if start > DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"{text!r} goes beyond 24:00")
    return Hours(start % DAY_MINUTES, end)


def zone(name: str, fallback: tzinfo) -> tzinfo:
    """A time zone by name, or the fallback for one that does not exist."""
    if not name:
        return fallback
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return fallback


def local(at: Ms, where: tzinfo) -> datetime:
    """The wall clock at a place, up to the last weeks of 9999: beyond them no zone can be reckoned."""
    return moment(min(at, LATEST)).astimezone(where)


def minute_of(at: Ms, where: tzinfo) -> int:
    """Minutes since local midnight, by the wall clock."""
    here = local(at, where)
    return here.hour * 60 + here.minute


def is_open(hours: Hours, at: Ms, where: tzinfo) -> bool:
    """Whether the hours hold at an instant at a place."""
    return hours.always or hours.holds(minute_of(at, where))


def next_open(hours: Hours, at: Ms, where: tzinfo) -> Ms:
    """The first instant from `at` on at which the hours hold."""
    now = at
    while 0 <= now < LATEST and not is_open(hours, now, where):
        # By the wall clock of now; a change of the clocks on the way is a new start, and may itself be the opening.
        into = now % MINUTE_MS
        opens = now - into + ((hours.start - minute_of(now, where)) % DAY_MINUTES) * MINUTE_MS
        now = _change(now, opens, where) or opens
    return now


def _change(start: Ms, end: Ms, where: tzinfo) -> Ms:
    """The instant at which the clocks change between two instants less than a day apart, 0 for none."""
    before = local(start, where).utcoffset()
    if local(end, where).utcoffset() == before:
        return 0
    while end - start > 1:
        middle = (start + end) // 2
        if local(middle, where).utcoffset() == before:
            start = middle
        else:
            end = middle
    return end


def instant(wall: datetime, where: tzinfo) -> Ms:
    """The instant of a wall-clock time at a place: the earlier of two; one inside a gap is moved past it by its length."""
    return round(wall.replace(tzinfo=where, fold=0).timestamp() * 1000)


def day_start(at: Ms, where: tzinfo, days: int = 0) -> Ms:
    """Local midnight of the day of `at`, `days` later."""
    here = local(at, where).date() + timedelta(days=days)
    return instant(datetime.combine(here, time()), where)
