"""Phone codes: six digits by SMS, kept only as an HMAC in the dialog; limits against pumping and guessing.

Limits: 3 codes per number in 10 minutes and 10 a day, 6 an hour for numbers that differ in the last four digits only,
a rate per country, a daily sum, and a list of countries. A code allows 5 tries and lives 10 minutes (dialog).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from bot import keys
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.events import Ms
from bot.phones import country_of, prefix
from bot.store import Store

LIFE_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Requested:
    """A code to send (`outcome` "sent"), or why none is: too_many (again at `retry_at`), not_allowed."""

    outcome: str
    code: str = ""
    digest: str = ""
    expires_at: Ms = 0
    retry_at: Ms = 0


class Codes:
    """Draws and checks codes."""

    def __init__(self, store: Store, countries: Sequence[str], *, per_day: int = 2000) -> None:
        self._store = store
        self._countries = frozenset(countries)
        self._per_day = per_day
        self._secret = b""

    async def start(self) -> None:
        """Loads the server's secret, made once for all processes."""
        if not await self._store.command("GET", keys.CODE_SECRET):  # a plain SET is refused while memory is full
            await self._store.command("SET", keys.CODE_SECRET, secrets.token_bytes(32), "NX")
        self._secret = await self._store.command("GET", keys.CODE_SECRET)

    def digest(self, phone: str, code: str) -> str:
        """What the dialog keeps of a code."""
        return hmac.new(self._secret, f"{phone}|{code}".encode(), hashlib.sha256).hexdigest()[:32]

    def check(self, phone: str, code: str, digest: str) -> bool:
        """Whether a typed code is the one, in constant time."""
        return hmac.compare_digest(self.digest(phone, code), digest)

    async def request(self, phone: str, now: Ms) -> Requested:
        """A new code for a number, if its limits allow."""
        country = country_of(phone)
        if country not in self._countries:
            return Requested("not_allowed")
        limits = [3, 10, 6, max(60, self._per_day // 10), self._per_day]
        allowed, retry_at = await self._store.scripts.run(
            "codes_request", [keys.code_counts(country)], [now, phone, prefix(phone), *limits]
        )
        if not allowed:
            return Requested("too_many", retry_at=int(retry_at))
        code = f"{secrets.randbelow(1_000_000):06d}"
        return Requested("sent", code, self.digest(phone, code), now + LIFE_MS)

    async def sweep(self, now: Ms) -> None:
        """Forgets the counters of windows that are over: a number that asked once is not kept for ever."""
        for country in self._countries:
            name = keys.code_counts(country)
            cursor = b"0"
            while True:
                cursor, found = await self._store.command("HSCAN", name, cursor, "COUNT", 500)
                pairs = zip(found[::2], found[1::2], strict=True) if isinstance(found, list) else found.items()
                over = [field for field, value in pairs if _is_over(field, value, now)]
                if over:
                    await self._store.command("HDEL", name, *over)
                if int(cursor) == 0:
                    break


_WINDOWS_MS = {
    b"n": 10 * MINUTE_MS,
    b"d": DAY_MS,
    b"p": HOUR_MS,
    b"c": HOUR_MS,
    b"a": DAY_MS,
}  # as in codes_request.lua


def _is_over(field: bytes, value: bytes, now: Ms) -> bool:
    return int(value.split()[0]) < now // _WINDOWS_MS[field[:1]]
