"""What the gateway lends the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Protocol

from bot.catalogue import Catalogue
from bot.clock import SystemClock
from bot.coupons import Coupons
from bot.erasure import Erasure
from bot.events import Event, Ms
from bot.intake import Appender
from bot.queries import Queries
from bot.standing import Standing
from bot.store import Store
from bot.wording import Wordings
from console.desk import Desk
from ledger.reading import History
from ledger.segments.saved import SavedSegments


class EnvelopeReader(Protocol):
    """Reads the JSON of one envelope of a shop."""

    def __call__(self, value: Any, *, received: Ms) -> Event:
        """The event. Raises PayloadError naming the field at fault."""
        ...


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """Store, look-ups and facts. `envelopes`: what reads those of each configured shop."""

    store: Store
    queries: Queries
    history: History
    segments: SavedSegments
    coupons: Coupons
    catalogue: Catalogue
    appender: Appender
    clock: SystemClock
    envelopes: Mapping[str, EnvelopeReader]
    accounts: frozenset[str]
    standings: Callable[[], Awaitable[Sequence[Standing]]]
    wordings: Wordings
    erasure: Erasure
    currency: str
    zone: tzinfo
    parse_phone: Callable[[str], str]
    shut_because: Callable[[], str]
    desk: Desk
