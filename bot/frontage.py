"""The composition of what people open without a sign-in: landing page, documents, buyer pages. Part of the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from bot.access import Caller
from bot.errors import GatewayError
from bot.handling import AccountView
from bot.phones import parse as parse_phone
from bot.ports import AsksLeave
from bot.records import Buyer
from bot.visits import Visits
from bot.wording import Wordings
from console.api.deps import ApiDeps
from console.api.export import whole
from console.api.http import Call
from console.api.past import past
from pages import docs, landing, privacy
from pages.buyer import BuyerPages
from pages.deps import Asking, HistoryAwayError, PageDeps
from pages.landing import AccountState as AccountShown
from pages.landing import LandingDeps
from pages.sheet import Shop
from sandbox.access import PHONE

if TYPE_CHECKING:
    from bot.bootstrap import Gateway
    from bot.settings import Settings

SIMULATED = "/sandbox/providers/"


def add_pages(gateway: Gateway, wordings: Wordings, api: ApiDeps) -> None:
    """Mounts the pages."""
    settings = gateway.settings

    async def accounts() -> list[AccountShown]:
        return [
            AccountShown(one, gateway.sandbox and SIMULATED in str(settings.channels[one.name].api_base))
            for one in await gateway.standings_shown()
        ]

    deps = LandingDeps(settings.brand.name, settings.brand.locale, gateway.sandbox, accounts, tuple(settings.shops))
    landing.add_routes(gateway.app, deps)
    docs.add_routes(gateway.app)
    shop = _shop(settings)
    privacy.add_routes(gateway.app, shop, _notice(settings))
    served = {name: text for one in settings.channels.values() for name, text in one.served.items()}
    privacy.add_files(gateway.app, served)
    BuyerPages(_deps(gateway, shop, wordings, api)).add_routes(gateway.app)


def _deps(gateway: Gateway, shop: Shop, wordings: Wordings, api: ApiDeps) -> PageDeps:
    settings = gateway.settings
    able = {name: line.channel.capabilities for name, line in gateway.lines.items()}

    async def export(request: web.Request, buyer: Buyer, headers: Mapping[str, str]) -> web.StreamResponse:
        """The same document as staff get by the API."""
        call = Call(api, request, Caller("page", "read-only"), headers=dict(headers))
        try:
            async with past(call):
                pass
        except GatewayError as error:
            raise HistoryAwayError(str(error)) from error
        return await whole(call, buyer)

    return PageDeps(
        shop=shop,
        store=gateway.store,
        queries=gateway.queries,
        links=gateway.links,
        visits=Visits(gateway.store),
        codes=gateway.codes,
        coupons=gateway.campaigns,
        erasure=gateway.erasure,
        appender=gateway.appender,
        clock=gateway.clock,
        wordings=wordings,
        accounts={name: AccountView(name, settings.channels[name].type, one) for name, one in able.items()},
        gift=settings.club.gift,
        club=settings.club_rules,
        lane_to=gateway.resolver.lane_to,
        parse_phone=lambda text: parse_phone(text, settings.brand.country),
        shut_because=lambda: gateway.door.shut_because,
        public_url=settings.public_url,
        asking=_asking(gateway),
        export=export,
    )


def _asking(gateway: Gateway) -> dict[str, Asking]:
    """The accounts with subscription notices, in the configuration's order. A simulated phone says itself whose it is."""
    found: dict[str, dict[str, list[str]]] = {}
    for (notice, account), config in gateway.settings.notices.items():
        if config.kind == "subscription":
            found.setdefault(account, {}).setdefault(config.template_id, []).append(notice)
    asking = {}
    for account, templates in found.items():
        line = gateway.lines[account].channel
        assert isinstance(line, AsksLeave)
        asking[account] = Asking(
            line, {id: tuple(names) for id, names in templates.items()}, partial(_is_inside, gateway, account, line)
        )
    return asking


async def allowed_at(gateway: Gateway, account: str) -> str:
    """Where an account's buyers allow its subscription notices, "" for an account without any. Raises SendError if pages cannot be signed."""
    of = [name for (name, at), one in gateway.settings.notices.items() if at == account and one.kind == "subscription"]
    line, public = gateway.lines[account].channel, gateway.settings.server.public_url
    if not of or not isinstance(line, AsksLeave):
        return ""
    named = ", ".join(of)
    if not public:
        return f"{named}: set server.public_url, so that buyers can allow them"
    await line.sign(f"{public}/b/check")
    host = public.partition("://")[2].partition("/")[0]
    return f"{named}: allowed one by one at {public}/b/…/notices; {host} must be a JS-safe domain of the account"


def _is_inside(gateway: Gateway, account: str, line: AsksLeave, request: web.Request) -> bool:
    simulated = gateway.sandbox and request.cookies.get(PHONE, "").partition(":")[0] == account
    return simulated or line.is_inside(request.headers.get("User-Agent", ""))


def _shop(settings: Settings) -> Shop:
    brand = settings.brand
    return Shop(
        brand=brand.name,
        brands={str(locale): name for locale, name in brand.names.items()},
        locale=brand.locale,
        timezone=settings.zone,
        privacy_url=brand.privacy_url or ("" if settings.privacy.missing else "/b/privacy"),
        phone=settings.staff.phone,
        hours=str(settings.staff.hours),
        secure=settings.public_url.startswith("https://"),
    )


def _notice(settings: Settings) -> privacy.Notice:
    channels, ours = [one.type for one in settings.channels.values()], settings.privacy
    if ours.missing:
        return privacy.Notice(channels=channels, elsewhere=settings.brand.privacy_url)
    return privacy.Notice(
        responsible=ours.responsible,
        questions_to=ours.questions_to,
        keep_months=ours.keep_months,
        evidence_months=ours.evidence_months,
        address=ours.address,
        shared_with=ours.shared_with,
        since=ours.since,
        also={str(locale): text for locale, text in ours.also.items()},
        channels=channels,
    )
