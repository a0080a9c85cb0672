"""What the gateway lends the buyer pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from bot.clock import SystemClock
from bot.club import Rules
from bot.codes import Codes
from bot.coupons import Coupons
from bot.erasure import Erasure
from bot.errors import GatewayError
from bot.handling import AccountView
from bot.intake import Appender
from bot.links import Links
from bot.ports import AsksLeave
from bot.queries import Queries
from bot.records import Buyer
from bot.store import Store
from bot.visits import Visits
from bot.wording import Wordings
from pages.sheet import Shop


@dataclass(frozen=True, slots=True)
class Asking:
    """An account whose notices need the buyer's leave: by template, the wordings that it carries."""

    line: AsksLeave
    templates: Mapping[str, tuple[str, ...]]
    is_inside: Callable[[web.Request], bool]


class HistoryAwayError(GatewayError):
    """The ledger is away: nothing of an export was written."""


@dataclass(frozen=True, slots=True)
class PageDeps:
    """Store, look-ups and facts. `lane_to` names the SMS account that reaches a number, "" for none.

    `asking`: the accounts whose notices need the buyer's leave. `export` writes everything that is held of a buyer, with these headers; raises HistoryAwayError while the ledger is away.
    """

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
    club: Rules
    lane_to: Callable[[str], str]
    parse_phone: Callable[[str], str]
    shut_because: Callable[[], str]
    public_url: str
    asking: Mapping[str, Asking]
    export: Callable[[web.Request, Buyer, Mapping[str, str]], Awaitable[web.StreamResponse]]
