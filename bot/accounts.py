"""A configured channel account at run time: its adapter, its rate, and whether it may be called now."""

from __future__ import annotations

from bot.clock import SystemClock
from bot.ports import Channel

BREAK_AFTER = 5
HALF_OPEN_S = 30.0
EASED_S = 60.0
LEAST_SHARE = 0.05


class Line:
    """One account: breaker (5 failures in a row shut it for 30 s, then one call tries), pause, calls in flight."""

    def __init__(self, channel: Channel, clock: SystemClock, *, per_second: float, most_in_flight: int = 64) -> None:
        self.channel = channel
        self._per_second = per_second
        self._share = 1.0
        self._eased_until = 0.0
        self.most_in_flight = most_in_flight
        self.in_flight = 0
        self.tokens = 0
        self.tokens_until = 0.0
        self._clock = clock
        self._failures = 0
        self._shut_until = 0.0

    @property
    def per_second(self) -> float:
        """Parts a second over all processes; less for a minute after the provider said that little is left."""
        eased = self._share < 1 and self._clock.monotonic() < self._eased_until
        return self._per_second * self._share if eased else self._per_second

    def ease(self, share: float) -> None:
        """From here on only this share of the rate, for a minute or until the provider says otherwise; 0: a minute's pause."""
        now = self._clock.monotonic()
        self._share, self._eased_until = max(share, LEAST_SHARE), now + EASED_S
        if share <= 0:
            self.pause(EASED_S)
            self._eased_until += EASED_S  # what waited meanwhile must not go all at once

    def room(self) -> int:
        """How many calls may start now."""
        now = self._clock.monotonic()
        if now < self._shut_until:
            return 0
        if self._failures >= BREAK_AFTER:
            return 1 if self.in_flight == 0 else 0
        return self.most_in_flight - self.in_flight

    def take(self, count: int) -> None:
        """Counts calls as started."""
        self.in_flight += count
        self.tokens -= count

    def owe(self, parts: int) -> None:
        """A started call is of so many parts, and each counts by the rate: below 0 is paid before the next is given."""
        self.tokens -= max(0, parts - 1)

    def give(self, count: int) -> None:
        """Calls counted as started that are not to be made after all."""
        self.in_flight -= count
        self.tokens += count

    def wait_s(self) -> float:
        """Seconds until it may be called again (0: now)."""
        return max(0.0, self._shut_until - self._clock.monotonic())

    def succeeded(self) -> None:
        """A call was answered: the breaker closes."""
        self._failures = 0

    def failed(self) -> None:
        """A call got no proper answer."""
        self._failures += 1
        if self._failures >= BREAK_AFTER:
            self._shut_until = max(self._shut_until, self._clock.monotonic() + HALF_OPEN_S)

    def pause(self, seconds: float) -> None:
        """The provider asks for a pause."""
        self._shut_until = max(self._shut_until, self._clock.monotonic() + seconds)
