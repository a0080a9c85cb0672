"""Intake: HTTP request → verified → parsed → durable → the provider's own "we have it".

The body is read once, capped and within 5 s; nothing is parsed before it is verified; the 2xx is given only after the
events are in Redis. When Redis is away, full or slow the answer is 503 within a second: the append is left to finish,
and a repeat of the webhook is recognised as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web

from bot import keys, subjects
from bot.bodies import body_of
from bot.clock import SystemClock
from bot.codec import dump_entry
from bot.errors import (
    PartlyStoredError,
    PayloadError,
    RequestError,
    SignatureError,
    StoreError,
    UnknownAccountError,
)
from bot.metrics import EVENTS, IGNORED, REDIS_TROUBLE, WEBHOOKS, child
from bot.ports import Answer, RawRequest, Source, Verified
from bot.problems import problem, unavailable
from bot.proxies import sender_of
from bot.store import Store

STORE_DEADLINE_S = 0.9
MOST_WAITING = 2000
REFUSAL_EVERY_S = 60.0

log = structlog.get_logger()


class Door:
    """Whether new work is let in. It is shut for each of its reasons apart: one that ends does not open it for another."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def shut_because(self) -> str:
        """Why it is shut, in words; "" while it is open."""
        return next(iter(self._reasons.values()), "")

    def shut(self, kind: str, why: str) -> bool:
        """Shuts it for a reason of this kind; answers whether it was not shut for that before."""
        new = kind not in self._reasons
        self._reasons[kind] = why
        return new

    def open(self, kind: str) -> bool:
        """Ends a reason; answers whether there was one."""
        return self._reasons.pop(kind, None) is not None

    def is_shut_for(self, kind: str) -> bool:
        """Whether this is among the reasons."""
        return kind in self._reasons


class Appender:
    """Puts the appends of concurrent requests into one script call."""

    def __init__(self, store: Store, *, replicas: int = 0) -> None:
        self._store = store
        self._replicas = replicas
        self._waiting: list[tuple[list[tuple[str, bytes, bytes]], asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def append(self, entries: list[tuple[str, bytes, bytes]]) -> asyncio.Future[None]:
        """Done when the entries are durable; fails with StoreError, also when that takes over 0.9 s.

        Entries of one call stay together. What is late is still written: a repeat of the webhook is recognised as one.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        deadline = loop.call_later(STORE_DEADLINE_S, _expire, future)
        future.add_done_callback(lambda _: deadline.cancel())
        if len(self._waiting) >= MOST_WAITING:
            future.set_exception(StoreError("too many appends are waiting"))
            return future
        self._waiting.append((entries, future))
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        return future

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:256], self._waiting[256:]
                entries = [entry for group, _ in batch for entry in group]
                error: Exception | None = None
                failed: Collection[int] = range(len(entries))
                try:
                    await self._store.append(entries, replicas=self._replicas)
                except PartlyStoredError as caught:  # a cluster: the others are stored
                    error, failed = caught, caught.failed
                except Exception as caught:  # noqa: BLE001  # every waiting request must be answered
                    error = caught
                at = 0
                for group, future in batch:
                    mine, at = range(at, at + len(group)), at + len(group)
                    if future.done():
                        continue
                    if error is None or not any(i in failed for i in mine):
                        future.set_result(None)
                    else:
                        future.set_exception(error)
                        future.exception()  # a client that left does not make it a warning
        finally:
            self._flushing = None


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(StoreError("the store takes nothing in just now"))
        future.exception()  # a client that left does not make it a warning


class Intake:
    """The webhook routes of channels, shops and trackers."""

    def __init__(
        self,
        *,
        sources: Mapping[tuple[str, str], Source],
        store: Store,
        appender: Appender,
        clock: SystemClock,
        door: Door,
        public_url: str,
    ) -> None:
        self._sources = sources
        self._store = store
        self._appender = appender
        self._clock = clock
        self._door = door
        self._public_url = public_url.rstrip("/")
        self._refused: dict[tuple[str, str], float] = {}

    def add_routes(self, app: web.Application) -> None:
        """Mounts the routes."""
        for kind, purpose in (
            ("channels", "webhook"), ("channels", "status"), ("shops", "webhook"), ("trackers", "webhook"),
        ):  # fmt: skip
            for name in (name for its_kind, name in self._sources if its_kind == kind):
                # Found by one look-up; the pattern is for names that are not configured.
                app.router.add_post(f"/{kind}/{name}/{purpose}", self._handler(kind, purpose, name))
            app.router.add_post(f"/{kind}/{{account}}/{purpose}", self._handler(kind, purpose))
        app.router.add_get("/channels/{account}/webhook", self._challenge)

    def _handler(self, kind: str, purpose: str, name: str = "") -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            return await self._take(request, kind, purpose, name or request.match_info["account"])

        return handle

    def _source(self, kind: str, name: str) -> Source:
        source = self._sources.get((kind, name))
        if source is None:
            raise UnknownAccountError(f"there is no {kind.removesuffix('s')} named {name!r} in the configuration")
        return source

    async def _challenge(self, request: web.Request) -> web.Response:
        try:
            source = self._source("channels", request.match_info["account"])
            return _response(source.challenge(self._raw(request, b"", "webhook")))
        except SignatureError as error:
            child(WEBHOOKS, request.match_info["account"], "handshake_refused").inc()
            self._log_refusal(request.match_info["account"], error)
            return problem(403, "handshake-refused", error.detail)
        except RequestError as error:
            return problem(error.status, error.kind, error.detail)

    async def _take(self, request: web.Request, kind: str, purpose: str, name: str) -> web.Response:
        try:
            source = self._source(kind, name)
            body = await body_of(request, source.max_body)
            verified = source.verify(self._raw(request, body, purpose))
        except RequestError as error:
            known = name if not isinstance(error, UnknownAccountError) else "unknown"
            child(WEBHOOKS, known, error.kind).inc()
            if known == name:
                self._log_refusal(name, error)
            return problem(error.status, error.kind, error.detail, field=error.field)
        if self._door.shut_because:
            child(WEBHOOKS, name, "shut").inc()
            return unavailable(self._door.shut_because)
        return await self._keep(source, name, kind, verified)

    def _log_refusal(self, account: str, error: RequestError) -> None:
        """Why a request was refused: its sender sees it, the operator would not. Once a minute per account and kind."""
        now = self._clock.monotonic()
        if now - self._refused.get((account, error.kind), -REFUSAL_EVERY_S) >= REFUSAL_EVERY_S:
            self._refused[account, error.kind] = now
            log.warning("webhook refused", account=account, kind=error.kind, why=error.detail[:200])

    async def _keep(self, source: Source, name: str, kind: str, verified: Verified) -> web.Response:
        try:
            parsed = source.parse(verified)
        except PayloadError as error:
            if kind == "shops" or getattr(source, "unsigned", False):
                child(WEBHOOKS, name, "bad-body").inc()
                return problem(400, "bad-body", error.detail, field=error.field)
            return await self._dead_letter(source, name, verified, error)
        for ignored in parsed.ignored:
            IGNORED.labels(name, ignored[:40]).inc()
        if parsed.events:
            offset = self._clock.offset()
            events = [shift(event, offset) for event in parsed.events] if offset else parsed.events
            entries = [dump_entry(event) for event in events]
            try:
                await self._appender.append(entries)
            except StoreError as error:
                REDIS_TROUBLE.labels("intake").inc()
                child(WEBHOOKS, name, "not_stored").inc()
                return unavailable(error.outward)
            child(EVENTS, name).inc(len(events))
        child(WEBHOOKS, name, "accepted").inc()
        return _response(parsed.answer or source.accepted)

    async def _dead_letter(self, source: Source, name: str, verified: Verified, error: PayloadError) -> web.Response:
        """A well-signed body that cannot be read is kept for staff and gets the provider's own 2xx."""
        partition = self._store.partition(subjects.account(name))
        fields = ["k", "webhook", "a", name, "e", error.detail[:200], "at", self._clock.now(), "b", verified.body]
        try:
            append = self._store.command("XADD", keys.dead(partition), "*", *fields)
            await asyncio.wait_for(asyncio.shield(append), STORE_DEADLINE_S)
        except (StoreError, TimeoutError):
            return unavailable("the store takes nothing in just now")
        child(WEBHOOKS, name, "dead_letter").inc()
        log.warning("dead letter", account=name, why=error.detail[:200])
        return _response(source.accepted)

    def _raw(self, request: web.Request, body: bytes, purpose: str) -> RawRequest:
        target = request.raw_path
        query = tuple(request.rel_url.query.items()) if "?" in target else ()
        return RawRequest(
            method=request.method,
            target=target,
            url=self._public_url + target,
            headers=request.headers,
            query=query,
            body=body,
            remote=sender_of(request),
            received_at=self._clock.real(),
            purpose=purpose,
        )


def _response(answer: Answer) -> web.Response:
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
        charset="utf-8" if answer.content_type.startswith("text/") else None,
        headers=dict(answer.headers) or None,
    )


_TIMES = frozenset({"at", "received", "version", "eta", "ship_by", "watermark"})


def shift(value: Any, offset: int) -> Any:
    """The same event with every time moved by the virtual clock's offset (sandbox only): providers speak real time."""
    if not isinstance(value, msgspec.Struct):
        return value
    changes: dict[str, Any] = {}
    for name in value.__struct_fields__:
        current = getattr(value, name)
        if isinstance(current, int) and not isinstance(current, bool) and (name in _TIMES or name.endswith("_at")):
            if current:
                changes[name] = current + offset
        elif isinstance(current, msgspec.Struct):
            moved = shift(current, offset)
            if moved is not current:
                changes[name] = moved
    return msgspec.structs.replace(value, **changes) if changes else value
