"""What the gateway lends the buyer pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.clock import SystemClock
from bot.codes import Codes
from bot.coupons import Coupons
from bot.erasure import Erasure
from bot.handling import AccountView
from bot.intake import Appender
from bot.links import Links
from bot.queries import Queries
from bot.store import Store
from bot.visits import Visits
from bot.wording import Wordings
from pages.sheet import Shop


@dataclass(frozen=True, slots=True)
class PageDeps:
    """Store, look-ups and facts. `lane_to` names the SMS account that reaches a number, "" for none."""

    shop: Shop
    store: Store
    queries: Queries
    links: Links
    visits: Visits
    codes: Codes
    coupons: Coupons
    erasure: Erasure
    appender: Appender
    clock: SystemClock
    wordings: Wordings
    accounts: Mapping[str, AccountView]
    gift: str
    lane_to: Callable[[str], str]
    parse_phone: Callable[[str], str]
    shut_because: Callable[[], str]
