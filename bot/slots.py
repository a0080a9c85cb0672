"""Staff hours: when somebody answers, and when the large orders are called. Pure."""

from __future__ import annotations

from datetime import datetime, time, tzinfo

from bot.clock import DAY_MS, MINUTE_MS
from bot.events import Ms
from bot.hours import Hours, day_start, instant, local, next_open

CALL_SLOTS = ((11 * 60, 12 * 60), (15 * 60 + 30, 16 * 60 + 30))
"""The source's practice: 11:00-12:00, and around 16:00."""


def answer_by(at: Ms, hours: Hours, zone: tzinfo, minutes: int) -> Ms:
    """When staff will have answered: `minutes` of open time from now, or from the next opening."""
    return next_open(hours, at, zone) + minutes * MINUTE_MS


def call_slot_end(at: Ms, zone: tzinfo) -> Ms:
    """The end of the call slot that is running or comes next."""
    for days in (0, 1):
        day = local(day_start(at, zone, days), zone).date()
        for _, end in CALL_SLOTS:
            ends = instant(datetime.combine(day, time(end // 60, end % 60)), zone)
            if ends > at + 10 * MINUTE_MS:
                return ends
    return at + DAY_MS
