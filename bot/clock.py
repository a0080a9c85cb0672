"""The gateway's time. Only this module asks the system for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from bot.events import Ms

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
LAST: Ms = 253_402_300_799_999  # the end of 9999, which is how some write "never": RFC 3339 goes no further


class SystemClock:
    """Real time, plus the sandbox's offset (0 outside it)."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset

    def now(self) -> Ms:
        """Virtual time."""
        return int(time.time() * 1000) + self._offset

    def real(self) -> Ms:
        """Wall-clock time."""
        return int(time.time() * 1000)

    def monotonic(self) -> float:
        """Seconds that only ever grow: time-outs and leases."""
        return time.monotonic()

    def offset(self) -> int:
        """Virtual minus real time, ms."""
        return self._offset

    def set_offset(self, offset: int) -> None:
        """Move the virtual time. Forward only: an earlier offset is ignored."""
        self._offset = max(self._offset, offset)

    async def sleep(self, seconds: float) -> None:
        """Really sleeps."""
        await asyncio.sleep(seconds)


def moment(at: Ms) -> datetime:
    """A time in UTC; one before 1970 or after 9999 is held there."""
    return datetime.fromtimestamp(min(max(at, 0), LAST) / 1000, UTC)


def rfc3339(at: Ms) -> str:
    """RFC 3339 in UTC with Z, to the millisecond where there are any."""
    text = moment(at).isoformat(timespec="milliseconds" if at % 1000 else "seconds")
    return text.replace("+00:00", "Z")
