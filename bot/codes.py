"""Phone codes: six digits by SMS, kept only as an HMAC in the dialog; limits against pumping and guessing.

A code allows 5 tries and lives 10 minutes (dialog); a resent one ends the one before. Limits, by sliding windows:

    number          3 in 10 minutes, 10 a day: at most 50 guesses a day at one number, a chance of 5 in 100,000
    prefix          6 an hour for numbers that differ in their last four digits only (bought blocks)
    asker           5 an hour, 10 a day for one chat address, whatever the numbers
    country         a tenth of the daily sum in an hour, 60 at least; none while fewer than a tenth of 100 or more come back
    all             `[codes] per_day` a day; and only to the shop's country and `[codes] countries`
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from bot import keys
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.events import Ms
from bot.metrics import CODES, child
from bot.phones import country_of, prefix, takes_texts
from bot.store import Store

LIFE_MS = 10 * MINUTE_MS
PER_NUMBER, PER_NUMBER_A_DAY, PER_PREFIX, PER_ASKER, PER_ASKER_A_DAY = 3, 10, 6, 5, 10
LEAST_PER_COUNTRY = 60
SUSPECT_FROM = 100

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Requested:
    """A code to send (`outcome` "sent"), or why none is.

    too_many: this number or asker has had its share (again at `retry_at`); stopped: no codes go out for now, to anybody or
    to this country; not_allowed: the country is not listed; no_texts: the number gets no SMS.
    """

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

    async def request(self, phone: str, now: Ms, *, asker: str = "") -> Requested:
        """A new code for a number, if its limits and those of the chat address that asks allow."""
        found = await self._request(phone, now, asker)
        child(CODES, found.outcome).inc()
        return found

    async def _request(self, phone: str, now: Ms, asker: str) -> Requested:
        country = country_of(phone)
        if country not in self._countries:
            return Requested("not_allowed")
        if not takes_texts(phone):
            return Requested("no_texts")
        per_country = max(LEAST_PER_COUNTRY, self._per_day // 10)
        limits = [PER_NUMBER, PER_NUMBER_A_DAY, PER_PREFIX, PER_ASKER, PER_ASKER_A_DAY, per_country, self._per_day]
        args = ["ask", now, phone, prefix(phone), asker, country, *limits, SUSPECT_FROM]
        allowed, retry_at, full = await self._store.scripts.run("codes_request", [keys.CODE_COUNTS], args)
        if not allowed and full in (b"c", b"k", b"a"):
            why = {b"c": "the country's hour is full", b"a": "the day is full"}.get(full, "too few of them come back")
            log.warning("no phone codes", country=country, why=why)
            return Requested("stopped", retry_at=int(retry_at))
        if not allowed:
            return Requested("too_many", retry_at=int(retry_at))
        code = f"{secrets.randbelow(1_000_000):06d}"
        return Requested("sent", code, self.digest(phone, code), now + LIFE_MS)

    async def proved(self, phone: str, now: Ms) -> None:
        """A code came back right: it was no pumping."""
        child(CODES, "proved").inc()
        await self._store.scripts.run("codes_request", [keys.CODE_COUNTS], ["prove", now, country_of(phone)])

    async def sweep(self, now: Ms) -> None:
        """Forgets the counters of windows that are over: a number that asked once is not kept for ever."""
        cursor = b"0"
        while True:
            cursor, found = await self._store.command("HSCAN", keys.CODE_COUNTS, cursor, "COUNT", 500)
            pairs = zip(found[::2], found[1::2], strict=True) if isinstance(found, list) else found.items()
            over = [field for field, value in pairs if _is_over(field, value, now)]
            if over:
                await self._store.command("HDEL", keys.CODE_COUNTS, *over)
            if int(cursor) == 0:
                break


def _is_over(field: bytes, value: bytes, now: Ms) -> bool:
    numbers = [int(one) for one in value.split()]
    if field[:1] in (b"c", b"k", b"a"):  # span, its sum, the sum of the one before
        return numbers[0] + 1 < now // (DAY_MS if field[:1] == b"a" else HOUR_MS)
    return numbers[-1] <= now - DAY_MS
