"""What the gateway lends the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bot.clock import SystemClock
from bot.coupons import Coupons
from bot.erasure import Erasure
from bot.intake import Appender
from bot.queries import Queries
from bot.standing import Standing
from bot.store import Store
from bot.wording import Wordings
from shops.standard.sections import Reading


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """Store, look-ups and facts. `readings`: how each configured shop's envelopes are read."""

    store: Store
    queries: Queries
    coupons: Coupons
    appender: Appender
    clock: SystemClock
    readings: Mapping[str, Reading]
    accounts: frozenset[str]
    standings: Callable[[], Awaitable[Sequence[Standing]]]
    wordings: Wordings
    erasure: Erasure
    currency: str
    parse_phone: Callable[[str], str]
    shut_because: Callable[[], str]
