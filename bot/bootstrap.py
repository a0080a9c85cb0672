"""The composition root: the only place that names concrete classes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

import channels
import handlers
import shops
import trackers
from bot import keys, shipping, slots, subjects
from bot.accounts import Line
from bot.aging import Aging
from bot.broadcast_life import Rules
from bot.broadcasting import Broadcasts
from bot.broadcasts import Audiences
from bot.catalogue import Catalogue
from bot.clock import MINUTE_MS, SystemClock
from bot.codes import Codes
from bot.conductor import Conductor
from bot.configured import countries, limits, notice_templates, policy, sms_order
from bot.costs import Tariff
from bot.coupons import Coupons
from bot.embedded import SCHEME
from bot.erasure import Erasure
from bot.errors import StoreError
from bot.events import Ms
from bot.folding import Folding
from bot.frontage import add_pages
from bot.handling import AccountView, Facts, Handler
from bot.hours import is_open
from bot.housekeeping import Housekeeping
from bot.http import PyreqwestHttp
from bot.intake import Appender, Door, Intake
from bot.leases import Leases
from bot.links import Links
from bot.opening import open_store
from bot.openings import Openings
from bot.phones import parse as parse_phone
from bot.planner import Planner
from bot.ports import Capabilities, Channel, ChannelType, ShopType, Source, Toolkit
from bot.problems import as_problems
from bot.proxies import PROXIES, Proxies
from bot.queries import Queries, as_dict
from bot.records import AccountState, Record
from bot.resolver import EffectResolver
from bot.restocks import Restocks
from bot.routing import Keywords, Registry
from bot.sender import Sender
from bot.settings import WEEKDAYS, Settings, load
from bot.speaking import Speaker
from bot.spend import Spend
from bot.standing import Standing, standing
from bot.store import Hint, Store
from bot.surfaces import add_console, audiences_of, desk_of
from bot.tokens import RedisTokens
from bot.turns import Turns
from bot.virtual import VirtualClock
from bot.web import add_routes
from bot.wording import Wordings
from bot.worker import Worker
from console.api.routes import ApiDeps
from console.api.routes import add_routes as add_api_routes
from console.desk import Desk
from ledger.audiences import LedgerAudiences
from ledger.database import database_url
from ledger.forgetting import Forgetting
from ledger.reading import History
from ledger.segments.saved import SavedSegments
from sandbox.app import SandboxDeps
from sandbox.app import add_routes as add_sandbox_routes
from sandbox.seeds import seed
from shops.standard.envelope import to_event
from shops.standard.sections import Reading

ROOT = Path(__file__).resolve().parent.parent
PROVIDER_TIMEOUT_S = 8.0
DOOR_SHUT, DOOR_OPEN = 0.75, 0.65

log = structlog.get_logger()


def release() -> str:
    """The running release."""
    try:
        return version("touchpoint")
    except PackageNotFoundError:
        return "0.1.0"


def read_settings(path: Path) -> Settings:
    """The configuration, against all adapters that exist. Raises ConfigError."""
    return load(path, channels.ALL, shops.ALL, trackers.ALL)


@dataclass(frozen=True, slots=True)
class Extras:
    """Handlers beside the shipped ones, the prefixes that lead to them, a folder of their wordings, and other audiences."""

    handlers: tuple[Handler, ...] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[Path, ...] = ()
    audiences: Audiences | None = None


@dataclass(slots=True)
class Gateway:
    """One process's parts."""

    settings: Settings
    store: Store
    clock: SystemClock
    leases: Leases
    worker: Worker
    sender: Sender
    resolver: EffectResolver
    campaigns: Coupons
    openings: Openings
    restocks: Restocks
    codes: Codes
    links: Links
    queries: Queries
    history: History
    erasure: Erasure
    aging: Aging
    folding: Folding
    appender: Appender
    door: Door
    http: PyreqwestHttp
    app: web.Application
    lines: Mapping[str, Line]
    sources: Mapping[tuple[str, str], Source]
    wake_sender: asyncio.Event
    hints: set[Hint]
    sandbox: bool
    lease_ttl_s: float
    housekeeping: Housekeeping
    spend: Spend
    broadcasts: Broadcasts
    catalogue: Catalogue
    conductor: Conductor
    planner: Planner
    audiences: Audiences
    segments: SavedSegments
    desk: Desk = field(init=False)
    provider_timeout_s: float = PROVIDER_TIMEOUT_S
    blocked: set[str] = field(default_factory=set)  # accounts that their provider has blocked
    stopping: bool = False
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def pump(self) -> None:
        """Takes up the timers and waits of owned partitions that are due by now. Raises StoreError."""
        left = self.clock.real() - int((self.lease_ttl_s + self.provider_timeout_s) * 1000)
        while True:
            moved, hints, behind = await self.store.pump(now=self.clock.now(), real=self.clock.real(), left_behind=left)
            if hints:
                self.hints |= hints
                self.wake_sender.set()
            if behind:
                await self.sender.left_behind(behind)
            if moved < 500:
                return

    def watch_memory(self, info: Mapping[str, Any]) -> None:
        """Shuts the door at 75 % of the memory limit, opens it again at 65 % or without a limit."""
        limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
        share = used / limit if limit else 0.0
        # A broadcast must not be what shuts the door: neither by what is planned from now on, nor by what was planned ahead.
        self.planner.heed_memory(short=share >= DOOR_OPEN, room=int(limit * (DOOR_SHUT - DOOR_OPEN)))
        if share >= DOOR_SHUT:
            if self.door.shut("memory", f"memory is {share:.0%} full"):
                log.warning("memory is short, taking nothing in", share=round(share, 2))
        elif share < DOOR_OPEN and self.door.open("memory"):
            log.info("memory is free again")

    async def standings(self) -> list[Standing]:
        """How each channel account stands, as this process knows it. Raises StoreError."""
        return self._standings(await self.store.records(map(subjects.account, self.settings.channels)))

    async def standings_shown(self) -> list[Standing]:
        """The same for a page that must open while the store is away: then without what was told."""
        try:
            return await self.standings()
        except StoreError:
            return self._standings({})

    def _standings(self, records: Mapping[str, Record]) -> list[Standing]:
        found = []
        for name, config in self.settings.channels.items():
            record = records.get(subjects.account(name))
            told = record if isinstance(record, AccountState) else None
            wait_s = self.lines[name].wait_s()
            found.append(
                standing(name, config.type, told, wait_s=wait_s, now=self.clock.now(), zone=self.settings.zone)
            )
        return found

    async def close(self) -> None:
        """Closes what holds connections."""
        await self.http.close()
        await self.history.close()
        await self.segments.close()
        if isinstance(self.audiences, LedgerAudiences):
            await self.audiences.close()
        await self.store.client.aclose()


async def build(settings: Settings, owner: str, extras: Extras | None = None) -> Gateway:
    """Puts one process together. Nothing is served yet."""
    clock = SystemClock()
    store = await open_store(settings, owner)
    clock.set_offset(int(await store.command("GET", keys.CLOCK) or 0))
    http = PyreqwestHttp(timeout_s=PROVIDER_TIMEOUT_S)
    tokens = RedisTokens(store.scripts, clock)
    sources = _sources(settings, http, tokens, clock)
    lines = _lines(settings, sources, clock)
    able = {name: line.channel.capabilities for name, line in lines.items()}
    links = Links(store, settings.server.public_url)
    await links.start(clock.real())
    catalogue = Catalogue(store)
    coupons, codes = Coupons(store), Codes(store, countries(settings), per_day=settings.codes.per_day)
    await codes.start()
    await coupons.refresh()
    spend = Spend(store, limits(settings), settings.zone)
    await spend.refresh(clock.now())
    rules = Rules(settings.zone, settings.broadcasts.approve_above, settings.broadcasts.undo_ms)
    broadcasts = Broadcasts(store, clock, rules)
    extras = extras or Extras()
    wordings = Wordings.load(ROOT / "templates", *extras.templates, default=settings.brand.locale)
    turns = _turns(settings, able, coupons, codes, links, spend, wordings, extras, broadcasts)
    wake, hints = asyncio.Event(), set[Hint]()
    leases = Leases(
        store, clock, ttl_s=settings.redis.lease_seconds, expected=settings.server.processes or os.cpu_count() or 1
    )
    resolver = EffectResolver(
        store=store, coupons=coupons, catalogue=catalogue, codes=codes, clock=clock, accounts=able, sms_order=sms_order(settings, able),
        notices=frozenset(settings.notices), spend=spend, broadcasts=broadcasts,
    )  # fmt: skip
    sender = Sender(
        store=store, lines=lines, leases=leases, clock=clock, wake=wake, hints=hints, spend=spend, broadcasts=broadcasts.live
    )  # fmt: skip
    worker = Worker(
        store=store, turns=turns, leases=leases, clock=clock, resolver=resolver, outgoing=sender, wake_sender=wake, hints=hints
    )  # fmt: skip
    audiences = extras.audiences or audiences_of(settings, clock, catalogue, able)
    appender, door = Appender(store, replicas=settings.redis.replicas_to_wait_for), Door()
    app = web.Application(client_max_size=4 * 1024 * 1024 + 1, middlewares=[as_problems])
    app[PROXIES] = Proxies(settings.server.trusted_proxies)
    ledger_url = database_url(settings.ledger.url, settings.root)
    history = History(ledger_url)
    past = Forgetting(history)
    erasure = Erasure(store, clock, past, embedded=settings.redis.url.startswith(SCHEME))
    aging = Aging(store, clock, past, settings.terms)
    gateway = Gateway(
        settings, store, clock, leases, worker, sender, resolver, coupons, Openings(store, coupons), Restocks(store),
        codes, links, Queries(store),
        history, erasure, aging,
        Folding(store=store, broadcasts=broadcasts, audiences=audiences, clock=clock), appender, door,
        http, app, lines, sources, wake, hints, settings.sandbox.enabled, settings.redis.lease_seconds,
        Housekeeping(store), spend, broadcasts, catalogue,
        Conductor(store=store, broadcasts=broadcasts, audiences=audiences, clock=clock, hints=hints, wake_sender=wake),
        Planner(store=store, broadcasts=broadcasts, audiences=audiences, clock=clock), audiences,
        SavedSegments(ledger_url),
    )  # fmt: skip
    await _serve(gateway, wordings)
    return gateway


async def _serve(gateway: Gateway, wordings: Wordings) -> None:
    """Everything that is reached by HTTP."""
    settings, app, able = (
        gateway.settings,
        gateway.app,
        {n: one.channel.capabilities for n, one in gateway.lines.items()},
    )
    Intake(
        sources=gateway.sources,
        store=gateway.store,
        appender=gateway.appender,
        clock=gateway.clock,
        door=gateway.door,
        public_url=settings.public_url,
    ).add_routes(app)
    add_routes(app, gateway)
    gateway.desk = desk_of(gateway, policy(settings, able, gateway.spend))
    api = _api(gateway, wordings)
    add_pages(gateway, wordings, api)
    add_api_routes(app, api)
    add_console(gateway)
    if settings.sandbox.enabled:
        await _add_sandbox(gateway)


def _api(gateway: Gateway, wordings: Wordings) -> ApiDeps:
    settings = gateway.settings
    brand = settings.brand
    return ApiDeps(
        store=gateway.store,
        queries=gateway.queries,
        history=gateway.history,
        segments=gateway.segments,
        coupons=gateway.campaigns,
        catalogue=gateway.catalogue,
        appender=gateway.appender,
        clock=gateway.clock,
        envelopes={
            name: partial(to_event, reading=Reading(name, settings.zone, parse_phone, brand.country))
            for name in settings.shops
        },
        accounts=frozenset(settings.channels),
        standings=gateway.standings,
        wordings=wordings,
        erasure=gateway.erasure,
        currency=brand.currency,
        zone=settings.zone,
        parse_phone=lambda text: parse_phone(text, brand.country),
        shut_because=lambda: gateway.door.shut_because,
        desk=gateway.desk,
    )


async def _add_sandbox(gateway: Gateway) -> None:
    """Simulated providers, the phone page, a clock that can be moved, and two campaigns to claim."""
    settings = gateway.settings
    clock = VirtualClock(gateway.store, gateway.clock, gateway.pump)
    await clock.start(settings.zone)
    await seed(gateway.store, gateway.campaigns, settings.shops, gateway.clock.now(), settings.brand.currency)

    async def decisions(after: Ms) -> list[dict[str, Any]]:
        found = await gateway.queries.decisions(lambda _: True, after=after, limit=60)
        return [as_dict(decision) for decision in found]

    deps = SandboxDeps(
        redis=gateway.store.client,
        clock=clock,
        channels=settings.channels,
        shops=settings.shops,
        base=settings.local_url,
        public_url=settings.public_url,
        token=os.environ.get("TOUCHPOINT_SANDBOX_TOKEN", ""),
        brand=settings.brand.name,
        timezone=settings.brand.timezone,
        decisions=decisions,
    )
    add_sandbox_routes(gateway.app, deps)


# --- adapters ---------------------------------------------------------------------------------------------------------


def _sources(
    settings: Settings, http: PyreqwestHttp, tokens: RedisTokens, clock: SystemClock
) -> dict[tuple[str, str], Source]:
    found: dict[tuple[str, str], Source] = {}
    kinds: tuple[tuple[str, tuple[ChannelType | ShopType, ...]], ...] = (
        ("channels", channels.ALL),
        ("shops", shops.ALL),
        ("trackers", trackers.ALL),
    )
    for kind, types in kinds:
        configs = getattr(settings, kind)
        by_name = {one.name: one for one in types}
        for name, config in configs.items():
            toolkit = Toolkit(
                http=http,
                tokens=tokens,
                clock=clock,
                public_url=settings.public_url,
                siblings={n: c for n, c in configs.items() if c.type == config.type},
                country=settings.brand.country,
                timezone=settings.brand.timezone,
                virtual_offset=clock.offset,
            )
            found[kind, name] = by_name[config.type].build(name, config, toolkit)
    return found


def _lines(settings: Settings, sources: Mapping[tuple[str, str], Any], clock: SystemClock) -> dict[str, Line]:
    lines = {}
    for (kind, name), source in sources.items():
        if kind == "channels":
            channel: Channel = source
            rate = settings.channels[name].rate_per_second or channel.capabilities.rate_per_second
            lines[name] = Line(channel, clock, per_second=rate)
    return lines


# --- the shop's facts -------------------------------------------------------------------------------------------------


def _turns(
    settings: Settings,
    able: Mapping[str, Capabilities],
    coupons: Coupons,
    codes: Codes,
    links: Links,
    spend: Spend,
    wordings: Wordings,
    extras: Extras,
    broadcasts: Broadcasts,
) -> Turns:
    registry = Registry([*handlers.ALL, *extras.handlers])
    keywords = Keywords.load(ROOT / "templates" / "keywords.toml")
    keywords = replace(keywords, prefixes={**keywords.prefixes, **extras.prefixes})
    speaker = Speaker(
        wordings=wordings,
        policy=policy(settings, able, spend),
        brand=settings.brand.name,
        brands={str(locale): name for locale, name in settings.brand.names.items()},
        stop_link=lambda buyer, now: links.url("out", buyer.id, buyer.revoked, now),
        levels=settings.club_rules.names,
        rights={level.key: level.rights for level in settings.club_rules.levels},
        locale=settings.brand.locale,
        notices=notice_templates(settings, wordings),
        tariffs={name: Tariff(p.currency, p.per_part) for name, one in settings.channels.items() if (p := one.prices)},
    )
    return Turns(
        facts=_facts(settings, able, coupons, codes, links),
        registry=registry,
        keywords=keywords,
        speaker=speaker,
        capabilities=able,
        partitions=settings.redis.partitions,
        release=release(),
        broadcasts=broadcasts.live,
        spread_ms=settings.broadcasts.spread_minutes * MINUTE_MS,
    )


def _shipping(settings: Settings) -> shipping.Shipping:
    section = settings.shipping
    dates = {day for day in section.closed_days if isinstance(day, date)}
    weekdays = {WEEKDAYS.index(day) for day in section.closed_days if isinstance(day, str)}
    cutoff = -1
    if section.cutoff != "never":
        hour, minute = section.cutoff.split(":")
        cutoff = int(hour) * 60 + int(minute)
    holidays = shipping.CN_HOLIDAYS if section.holidays == "CN" else frozenset()
    return shipping.Shipping(settings.zone, cutoff, section.within, frozenset(weekdays), dates | holidays)


def _facts(settings: Settings, able: Mapping[str, Capabilities], coupons: Coupons, codes: Codes, links: Links) -> Facts:
    promise, zone, staff = _shipping(settings), settings.zone, settings.staff

    def answer_by(at: Ms) -> Ms:
        return slots.answer_by(at, staff.hours, zone, staff.answer_minutes)

    return Facts(
        brand=settings.brand.name,
        privacy_url=settings.privacy_url,
        locale=settings.brand.locale,
        timezone=zone,
        currency=settings.brand.currency,
        country=settings.brand.country,
        staff_hours=str(staff.hours),
        staff_phone=staff.phone,
        answer_minutes=staff.answer_minutes,
        large_order=settings.policy.large_order,
        gift_campaign=settings.club.gift,
        campaigns=coupons.views,
        accounts={name: AccountView(name, settings.channels[name].type, one) for name, one in able.items()},
        ships_today_before=promise.today_before,
        ships_by=promise.by,
        staff_open=lambda at: is_open(staff.hours, at, zone),
        staff_answer_by=answer_by,
        call_slot=lambda at: slots.call_slot_end(at, zone),
        check_code=codes.check,
        parse_phone=lambda text: parse_phone(text, settings.brand.country),
        club=settings.club_rules,
        page_link=lambda kind, buyer, now: links.url(kind, buyer.id, buyer.revoked, now),
    )
