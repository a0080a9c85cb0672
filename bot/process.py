"""One gateway process: web server, worker, sender, timers, and the slow loops. Started by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog
import uvloop
from aiohttp import web
from prometheus_client import generate_latest

from bot import keys, storecheck, subjects
from bot.bootstrap import Gateway, build
from bot.errors import ConfigError, GatewayError, StoreError
from bot.frontdoor import Runner
from bot.metrics import LOOP_LAG, REDIS_TROUBLE, REGISTRY
from bot.records import AccountState

if TYPE_CHECKING:
    from bot.settings import Settings

HAND_OVER_S = 4.0  # for turns under way; then the partitions are given back, with calls still open
DRAIN_S = 8.5  # a call takes 8 s at most; what is left of the 10 s is for closing
CLOSE_S = 0.5
PUMP_S = 0.1
HUNGRY_S = 0.3
HOUSEKEEPING_S = 600.0
COUPONS_S = 30.0  # a claim without a committed turn is back in the stock 10 to 10.5 minutes after it
LINK_KEYS_S = 30.0  # so long a key that was taken back still opens links here
WATCH_S = 1.0
BLOCKED_S = 2.5  # until well after the next look
ERASE_S = 1.0
AGING_S = 0.25
BROADCASTS_S = 0.25
LONGEST_LINE = 65_536
STORE_CHECK_S = 60.0
UNSAFE_AGAIN_S = 2.0
UNSAFE = "the store is not safe"

log = structlog.get_logger()


def run(settings: Settings, owner: str) -> None:
    """Serves until SIGTERM or SIGINT, then drains within 10 s."""
    uvloop.run(serve(settings, owner))


async def serve(settings: Settings, owner: str) -> None:
    """Builds the gateway, runs its loops, and takes it down in order."""
    gateway = await build(settings, owner)
    await check_store(gateway)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Lines over the limit are refused before any route is asked: only what is absurd should be.
    runner = Runner(
        gateway.app, access_log=None, keepalive_timeout=15, handle_signals=False, max_line_size=LONGEST_LINE
    )
    await runner.setup()
    host, port = settings.server.host, settings.server.port
    site = web.TCPSite(runner, host, port, reuse_port=True, backlog=1024)
    await _renew_once(gateway)
    await site.start()
    loops = start_loops(gateway)
    for task in loops:
        task.add_done_callback(lambda _: stop.set())
    log.info("serving", owner=owner, host=host, port=port)
    await stop.wait()
    ended = [task.get_name() for task in loops if task.done()]
    await _drain(gateway, runner, loops)
    if ended:  # none ends by itself; the supervisor starts the process anew
        raise GatewayError(f"the loop {ended[0]} ended")


def start_loops(gateway: Gateway) -> list[asyncio.Task[None]]:
    """Starts worker, sender and the slow loops."""
    _settle_heap()
    return [
        asyncio.create_task(gateway.worker.run(), name="worker"),
        asyncio.create_task(gateway.sender.run(), name="sender"),
        asyncio.create_task(_keep_leases(gateway), name="leases"),
        asyncio.create_task(_every(PUMP_S, gateway.pump, gateway), name="pump"),
        asyncio.create_task(_every(HOUSEKEEPING_S, lambda: _housekeeping(gateway), gateway), name="housekeeping"),
        asyncio.create_task(_every(COUPONS_S, lambda: _coupons(gateway), gateway), name="coupons"),
        asyncio.create_task(
            _every(LINK_KEYS_S, lambda: gateway.links.start(gateway.clock.real()), gateway), name="links"
        ),
        asyncio.create_task(_every(WATCH_S, lambda: _watch(gateway), gateway), name="watch"),
        asyncio.create_task(_every(ERASE_S, gateway.erasure.advance, gateway), name="erasure"),
        asyncio.create_task(_every(AGING_S, gateway.aging.advance, gateway), name="aging"),
        asyncio.create_task(_every(AGING_S, gateway.folding.advance, gateway), name="folding"),
        asyncio.create_task(_every(BROADCASTS_S, gateway.conductor.advance, gateway), name="conductor"),
        asyncio.create_task(_every(BROADCASTS_S, gateway.planner.advance, gateway), name="planner"),
        asyncio.create_task(_keep_checking(gateway), name="store"),
        asyncio.create_task(
            _every(0.1 if gateway.sandbox else 5.0, lambda: _follow_clock(gateway), gateway), name="clock"
        ),
    ]


def _settle_heap() -> None:
    """What is loaded by now lives as long as the process: the collector need not walk it again and again.

    Measured: with the defaults the collector took a fifteenth of a message's CPU, to find next to nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _every(seconds: float, work: Callable[[], Awaitable[object]], gateway: Gateway) -> None:
    """Repeats some work for ever; a store that is away is waited for, anything else is logged and tried again."""
    while not gateway.stopping:
        started = gateway.clock.monotonic()
        try:
            await work()
        except StoreError:
            REDIS_TROUBLE.labels("loop").inc()
        except Exception:  # a slow loop must not end with its first surprise
            log.exception("loop failed")
        took = gateway.clock.monotonic() - started
        # Never cancelled: redis-py may swallow a cancellation, and a write must not be torn.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.stopped.wait(), max(0.01, seconds - took))


async def _keep_leases(gateway: Gateway) -> None:
    """Renews at a third of the leases' life; looks for free partitions more often while it has too few."""
    while not gateway.stopping:
        try:
            await gateway.leases.renew()
        except StoreError:
            REDIS_TROUBLE.labels("leases").inc()
        pause = HUNGRY_S if gateway.leases.hungry else gateway.lease_ttl_s / 3
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.stopped.wait(), pause)


async def _renew_once(gateway: Gateway) -> None:
    with contextlib.suppress(StoreError):
        await gateway.leases.renew()


async def _housekeeping(gateway: Gateway) -> None:
    await gateway.housekeeping.sweep(gateway.clock.now())
    await gateway.codes.sweep(gateway.clock.now())
    await gateway.spend.sweep(gateway.clock.now())


async def _coupons(gateway: Gateway) -> None:
    """Claims whose turn never came; news for those who wait for coupons, or for a product."""
    await gateway.resolver.sweep()
    await gateway.openings.tell(gateway.clock.now())
    await gateway.restocks.tell(gateway.clock.now())


async def _watch(gateway: Gateway) -> None:
    """Memory door, poisoned entries, campaigns, loop lag, metrics of all processes."""
    started = gateway.clock.monotonic()
    await asyncio.sleep(0)
    LOOP_LAG.set(gateway.clock.monotonic() - started)
    away: StoreError | None = None
    for look in (_heed_blocks, _watch_work, _watch_money, _watch_memory, _tell_metrics):
        try:
            await look(gateway)
        except StoreError as error:
            if not gateway.store.scripts.apart:
                raise
            away = error  # on a cluster, what other servers hold is looked after all the same
    if away is not None:
        raise away


async def _watch_work(gateway: Gateway) -> None:
    await gateway.worker.bury_failed()
    if hints := await gateway.store.ready_lanes(list(gateway.lines)):
        gateway.hints |= hints
        gateway.wake_sender.set()


async def _watch_money(gateway: Gateway) -> None:
    await gateway.campaigns.refresh()
    await gateway.spend.refresh(gateway.clock.now())


async def _watch_memory(gateway: Gateway) -> None:
    gateway.watch_memory(storecheck.fullest(await gateway.store.servers("INFO", "memory")))
    if gateway.door.is_shut_for("memory") or gateway.planner.held_up:
        await gateway.housekeeping.make_room(gateway.clock.now())
    else:
        gateway.housekeeping.has_room()


async def _tell_metrics(gateway: Gateway) -> None:
    await gateway.store.tell(keys.METRICS, gateway.store.owner, generate_latest(REGISTRY))


async def _heed_blocks(gateway: Gateway) -> None:
    """Nothing goes out by an account that its provider has blocked, until the provider lifts it."""
    try:
        found = await gateway.store.records(subjects.account(name) for name in gateway.lines)
        gateway.blocked = {
            record.name
            for record in found.values()
            if isinstance(record, AccountState) and record.blocked and record.name in gateway.lines
        }
    finally:  # where that cannot be read now, what was known last holds
        for name in gateway.blocked:
            gateway.lines[name].pause(BLOCKED_S)


async def check_store(gateway: Gateway) -> None:
    """Refuses a server that would lose what it acknowledges. Raises ConfigError, StoreError."""
    section = gateway.settings.redis
    found = await storecheck.inspect(gateway.store, replicas=section.replicas_to_wait_for, url=section.url)
    for line in storecheck.refuse(found, allow_unsafe=section.allow_unsafe):
        log.warning("not promised", detail=line)


async def _keep_checking(gateway: Gateway) -> None:
    """Each minute, and every two seconds while it is unsafe: after a fail-over a replica is soon there again."""
    while not gateway.stopping:
        try:
            await _recheck_store(gateway)
        except StoreError:
            REDIS_TROUBLE.labels("loop").inc()
        except Exception:  # as of any loop
            log.exception("loop failed")
        pause = UNSAFE_AGAIN_S if gateway.door.is_shut_for("store") else STORE_CHECK_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gateway.stopped.wait(), pause)


async def _recheck_store(gateway: Gateway) -> None:
    """A server that became unsafe takes nothing in any more, until it is safe again."""
    door = gateway.door
    try:
        await check_store(gateway)
    except ConfigError as error:
        if door.shut("store", UNSAFE):
            log.warning("store unsafe, taking nothing in", detail=str(error))
        return
    if door.open("store"):
        log.info("store safe again")
    for note in await storecheck.observe(gateway.store, url=gateway.settings.redis.url):
        log.warning("store", detail=note)


async def _follow_clock(gateway: Gateway) -> None:
    before, offset = gateway.clock.offset(), await gateway.store.command("GET", keys.CLOCK)
    gateway.clock.set_offset(int(offset or 0))
    if gateway.clock.offset() != before:  # whoever moved it is told when what came due is taken up
        await gateway.pump()
    await gateway.store.tell(keys.CLOCK_SEEN, gateway.store.owner, gateway.clock.offset())


async def _drain(gateway: Gateway, runner: web.AppRunner, loops: list[asyncio.Task[None]]) -> None:
    """Within 10 s: no new connections, turns finished, partitions given back, calls under way ended and written.

    Requests on connections that are there are taken in until the end: they are durable, whoever handles them.
    """
    log.info("draining", owner=gateway.store.owner)
    end = gateway.clock.monotonic() + DRAIN_S
    for site in list(runner.sites):
        await site.stop()
    gateway.stopping = gateway.worker.stopping = gateway.sender.stopping = True
    gateway.stopped.set()
    gateway.wake_sender.set()
    # A provider that hangs must not keep the buyers of these partitions waiting: others carry on at once.
    handed_over = await _hand_over(gateway, [task for task in loops if task.get_name() in ("worker", "leases")])
    _, late = await asyncio.wait(loops, timeout=max(0.1, end - gateway.clock.monotonic()))
    for task in late:
        task.cancel()
    if not handed_over:
        await _within(CLOSE_S, gateway.leases.release())
    await _within(CLOSE_S, runner.cleanup())
    await _within(CLOSE_S, gateway.close())


async def _hand_over(gateway: Gateway, turns: list[asyncio.Task[None]]) -> bool:
    pulling = asyncio.create_task(gateway.sender.idle.wait())
    _, busy = await asyncio.wait([*turns, pulling], timeout=HAND_OVER_S)
    pulling.cancel()
    return not busy and await _within(1.0, gateway.leases.release())


async def _within(seconds: float, work: Coroutine[Any, Any, object]) -> bool:
    """Whether it was done in time and well."""
    try:
        await asyncio.wait_for(work, seconds)
    except (GatewayError, TimeoutError):
        return False
    return True
