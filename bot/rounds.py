"""A long way that is gone again and again, a step at a time, by one process of all: what goes by age, what is folded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from bot.clock import MINUTE_MS, SystemClock
from bot.events import Ms


class Rounds:
    """Steps of the round that is under way; the next one begins `again_ms` after this one began."""

    def __init__(self, clock: SystemClock, again_ms: Ms) -> None:
        self._clock = clock
        self._again_ms = again_ms
        self._walk: AsyncIterator[None] | None = None
        self._began_at: Ms = 0
        self._next_at: Ms = 0
        self.done = 0  # how many came to their end
        self.done_at: Ms = 0  # when the last of these began

    def leave_off(self) -> None:
        """Gives up what is under way: others have it now, or it is not the time."""
        self._walk = None

    async def step(self, begin: Callable[[Ms], AsyncIterator[None]]) -> None:
        """One step, the first one of `begin(now)` where a round is due. What breaks off is no round: it is begun anew a minute later."""
        now = self._clock.now()
        if self._walk is None:
            if now < self._next_at:
                return
            self._walk, self._began_at, self._next_at = begin(now), now, now + self._again_ms
        try:
            await anext(self._walk)
        except StopAsyncIteration:
            self._walk, self.done, self.done_at = None, self.done + 1, self._began_at
        except Exception:
            self._walk, self._next_at = None, now + MINUTE_MS
            raise
