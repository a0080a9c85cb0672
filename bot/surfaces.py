"""What staff work with, put together from a process's parts. Beside `bot.bootstrap`, the other place that names concrete classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bot.catalogue import Catalogue
from bot.clock import SystemClock
from bot.costs import Tariff
from bot.lint import Approved, Lane, Shop
from bot.phones import parse as parse_phone
from bot.policy import PolicySettings
from bot.ports import Capabilities
from bot.settings import Settings
from console.crowd import LedgerCrowd
from console.desk import Desk
from console.web import ConsoleDeps
from console.web import add_routes as add_console_routes
from ledger.audiences import LedgerAudiences
from ledger.database import database_url
from ledger.segments import Moment

if TYPE_CHECKING:
    from bot.bootstrap import Gateway


def audiences_of(
    settings: Settings, clock: SystemClock, catalogue: Catalogue, able: Mapping[str, Capabilities]
) -> LedgerAudiences:
    """Who broadcasts are for, by the ledger."""
    shops = tuple(settings.shops)
    return LedgerAudiences(
        database_url(settings.ledger.url, settings.root),
        moment=lambda: Moment(clock.now(), settings.zone, settings.brand.currency),
        accounts=able,
        views=lambda refs: catalogue.items(refs, shops),
        marketing_per_week=settings.policy.marketing_per_week,
        marketing_per_day=settings.policy.marketing_per_day,
    )


def desk_of(gateway: Gateway, policy: PolicySettings) -> Desk:
    """The desk for broadcasts. `policy`: the one that buyers' turns decide by."""
    settings = gateway.settings
    brand = settings.brand
    return Desk(
        store=gateway.store,
        clock=gateway.clock,
        queries=gateway.queries,
        broadcasts=gateway.broadcasts,
        crowd=LedgerCrowd(
            gateway.history,
            gateway.catalogue,
            gateway.clock,
            settings.zone,
            brand.currency,
            tuple(settings.shops),
            gateway.audiences if isinstance(gateway.audiences, LedgerAudiences) else None,
        ),
        coupons=gateway.campaigns,
        catalogue=gateway.catalogue,
        lanes=_lanes(settings, policy.accounts),
        shop=Shop(
            brand.name,
            brand.locale,
            {str(locale): name for locale, name in brand.names.items()},
            frozenset(settings.broadcasts.link_hosts),
            settings.club_rules.names,
        ),
        policy=policy,
        country=brand.country,
        receivers=frozenset(settings.broadcasts.test_receivers),
        shops=tuple(settings.shops),
        parse_phone=lambda text: parse_phone(text, brand.country),
    )


def _lanes(settings: Settings, able: Mapping[str, Capabilities]) -> dict[str, Lane]:
    """The accounts in the order of the configuration, with what is approved there."""
    found = {}
    for name, config in settings.channels.items():
        approved = {
            id: Approved(one.text, one.longest) for id, one in settings.broadcasts.templates.get(name, {}).items()
        }
        tariff = Tariff(config.prices.currency, config.prices.per_part) if config.prices else None
        found[name] = Lane(name, able[name], approved, tariff, getattr(config, "sign_name", ""))
    return found


def add_console(gateway: Gateway) -> None:
    """The pages for staff."""
    brand = gateway.settings.brand
    deps = ConsoleDeps(
        store=gateway.store,
        clock=gateway.clock,
        desk=gateway.desk,
        brand=brand.name,
        locale=brand.locale,
        timezone=brand.timezone,
        secure=gateway.settings.public_url.startswith("https:"),
    )
    add_console_routes(gateway.app, deps)
