"""What may be promised about shipping, by the shop's configuration. Pure.

"Ships today" is said only before the cut-off of a day on which the shop ships; "ships by" counts `within` from the payment
and moves past closed days.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from bot.clock import HOUR_MS
from bot.events import Ms
from bot.hours import instant, local

# Public holidays on which shops in mainland China do not ship: for 2026 as announced by the State Council; for 2027 the 13
# days that its regulation fixes (Spring Festival from its eve, Qingming, Dragon Boat and Mid-Autumn by the lunar calendar).
# The days around them that each announcement adds, and days of its own, a shop enters as closed_days.
CN_HOLIDAYS: frozenset[date] = frozenset(
    {date(2026, 1, d) for d in (1, 2, 3)}
    | {date(2026, 2, d) for d in range(15, 24)}
    | {date(2026, 4, d) for d in (4, 5, 6)}
    | {date(2026, 5, d) for d in range(1, 6)}
    | {date(2026, 6, d) for d in (19, 20, 21)}
    | {date(2026, 9, d) for d in (25, 26, 27)}
    | {date(2026, 10, d) for d in range(1, 8)}
    | {date(2027, 1, 1), date(2027, 4, 5), date(2027, 5, 1), date(2027, 5, 2), date(2027, 6, 9), date(2027, 9, 15)}
    | {date(2027, 2, d) for d in range(5, 9)}
    | {date(2027, 10, d) for d in (1, 2, 3)}
)


@dataclass(frozen=True, slots=True)
class Shipping:
    """`cutoff` minutes of the day (-1: the shop promises no "today"); `within_h` hours; weekday numbers and dates closed."""

    zone: tzinfo
    cutoff: int = 16 * 60
    within_h: int = 24
    closed_weekdays: frozenset[int] = frozenset()
    closed_dates: Collection[date] = frozenset()

    def open_on(self, day: date) -> bool:
        """Whether the shop ships on a day."""
        return day.weekday() not in self.closed_weekdays and day not in self.closed_dates

    def today_before(self, at: Ms) -> Ms:
        """Today's cut-off, if what is paid before it still ships today, else 0."""
        here = local(at, self.zone)
        if self.cutoff < 0 or not self.open_on(here.date()):
            return 0
        cut = instant(datetime.combine(here.date(), time(self.cutoff // 60, self.cutoff % 60)), self.zone)
        return cut if at < cut else 0

    def by(self, paid_at: Ms) -> Ms:
        """When an order paid at that time ships at the latest."""
        due = paid_at + self.within_h * HOUR_MS
        here = local(due, self.zone)
        for days in range(60):
            day = here.date() + timedelta(days=days)
            if self.open_on(day):
                return due if days == 0 else instant(datetime.combine(day, time(18)), self.zone)
        return due
