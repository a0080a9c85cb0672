"""Everything that is held of a buyer, as one JSON document, written piece by piece: a long history needs no more memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import subjects
from bot.codec import load_event, load_message, load_record
from bot.errors import GatewayError
from bot.journal import load_turn
from bot.messages import Text
from bot.queries import message_place
from bot.records import Buyer, Order, Task
from console.api import shapes
from console.api.http import Call, begun
from console.api.past import as_now, past
from console.api.shared import buyer_of, orders_of, whereabouts
from ledger import lookups
from ledger.person import START, Raw, entries_with

T = TypeVar("T")
PAGE = 500


async def export(call: Call) -> web.StreamResponse:
    """GET /buyers/{id}/export: `record` as it is stored, `journal` every entry about the person."""
    return await whole(call, await buyer_of(call))


async def whole(call: Call, found: Buyer) -> web.StreamResponse:
    """Everything that is held of a buyer. Raises Refusal while the ledger is away."""
    known, partitions = await whereabouts(call, found.id)
    # Asked before anything is written: without the ledger the answer is a problem, not half a document.
    async with past(call) as connection:
        theirs = sorted({*await lookups.owned(connection, known), *await orders_of(call, found.id)})
        codes = await lookups.coupons(connection, known)
    partitions = sorted({*partitions, *map(call.deps.store.partition, theirs)})
    answer = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8", **call.headers})
    if not await begun(answer, call.request):
        return answer
    document = _Document(answer)
    await document.begin()
    await document.fields(await _now(call, found, codes, theirs))
    await document.items("consent_evidence", _consents(call, known, found))
    await document.items("messages", _messages(call, known, found.name))
    await document.items("decisions", _decisions(call, known))
    await document.items("tasks", _tasks(call, known))
    await document.items("timeline", _timeline(call, known))
    await document.items("journal", _journal(call, known, found, theirs, partitions))
    return await document.end()


class _Document:
    """A JSON object, one member after the other."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._first = True

    async def begin(self) -> None:
        await self._response.write(b"{")

    async def _name(self, name: str) -> None:
        await self._response.write(f'{"" if self._first else ", "}"{name}": '.encode())
        self._first = False

    async def fields(self, values: dict[str, Any]) -> None:
        """Members that are small."""
        for name, value in values.items():
            await self._name(name)
            await self._response.write(_json(value))

    async def items(self, name: str, pages: AsyncIterator[list[Any]]) -> None:
        """A list, page by page."""
        await self._name(name)
        await self._response.write(b"[")
        first = True
        async for page in pages:
            if page:
                await self._response.write((b"" if first else b", ") + b", ".join(map(_json, page)))
                first = False
        await self._response.write(b"]")

    async def end(self) -> web.StreamResponse:
        await self._response.write(b"}")
        await self._response.write_eof()
        return self._response


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


# --- what is now ------------------------------------------------------------------------------------------------------


async def _now(call: Call, found: Buyer, codes: Iterable[str], theirs: Sequence[str]) -> dict[str, Any]:
    now = call.deps.clock.now()
    wallet = dict.fromkeys([*(c.code for c in found.coupons), *codes])
    coupons = [await call.deps.coupons.find(code) for code in wallet]
    newest = [subjects.order(o.shop, o.id) for o in found.orders]
    records = await call.deps.store.records(dict.fromkeys([*newest, *theirs]))
    return {
        "buyer": shapes.buyer(found, call.deps.currency, now),
        "emails": found.emails,
        "shop_refs": [subject.partition(":")[2] for subject in found.shoppers],
        "coupons": [shapes.coupon(c, now) for c in coupons if c is not None],
        "orders": [shapes.order(o, found.id) for o in records.values() if isinstance(o, Order)],
        "merged_from": found.merged,
        "record": shapes.record(found),
    }


# --- what has been ----------------------------------------------------------------------------------------------------


async def _pages(
    call: Call, read: Callable[[AsyncConnection, Any], Awaitable[list[T]]], place: Callable[[T], Any]
) -> AsyncIterator[list[T]]:
    """A list to its end; each page has a connection of its own, so that a slow reader holds up nobody."""
    at: Any = None
    while True:
        async with call.deps.history.connection() as connection:
            found = await read(connection, at)
        yield found
        if len(found) < PAGE:
            return
        at = place(found[-1])


async def _consents(call: Call, known: set[str], found: Buyer) -> AsyncIterator[list[dict[str, Any]]]:
    told: set[tuple[str, str, int]] = set()
    pages = _pages(
        call,
        lambda c, at: lookups.consents(c, buyers_wanted=known, after=at, limit=PAGE),
        lambda row: (row.partition, row.ms, row.seq, row.line),
    )
    async for page in pages:
        told.update((row.account, row.address, row.at) for row in page)
        yield [shapes.consent(row) for row in page]
    # What the record remembers of each address, where the ledger was never told of the answer.
    rest = [a for a in found.addresses if a.consent.at and (a.account, a.id, a.consent.at) not in told]
    yield [
        {
            "buyer": found.id, "account": a.account, "id": a.id, "topic": "marketing", "verdict": a.consent.marketing,
            "at": shapes.when(a.consent.at), "wording": a.consent.wording, "source": a.consent.source,
        }
        for a in rest
    ]  # fmt: skip


async def _messages(call: Call, known: set[str], name: str) -> AsyncIterator[list[dict[str, Any]]]:
    pages = _pages(
        call,
        lambda c, at: lookups.messages(c, buyers_wanted=known, before=at, limit=PAGE),
        lambda m: message_place(m[0]),
    )
    async for page in pages:
        yield [shapes.message(*one, name) for one in await as_now(call, page)]


async def _decisions(call: Call, known: set[str]) -> AsyncIterator[list[dict[str, Any]]]:
    pages = _pages(
        call, lambda c, at: lookups.decisions(c, buyers_wanted=known, before=at, limit=PAGE), lambda d: d.mark
    )
    async for page in pages:
        yield [shapes.decision(d.decision, d.owner) for d in page]


async def _tasks(call: Call, known: set[str]) -> AsyncIterator[list[dict[str, Any]]]:
    def place(one: tuple[Task, str]) -> tuple[int, str]:
        return one[0].created_at, one[0].id

    async for page in _pages(call, lambda c, at: lookups.tasks(c, buyers_wanted=known, before=at, limit=PAGE), place):
        here = await call.deps.queries.tasks_by_id([task.id for task, _ in page])
        yield [shapes.task(here.get(task.id, task), owner) for task, owner in page]


async def _timeline(call: Call, known: set[str]) -> AsyncIterator[list[dict[str, Any]]]:
    pages = _pages(call, lambda c, at: lookups.timeline(c, known, before=at, limit=PAGE), lambda one: one[0])
    async for page in pages:
        yield [shapes.line(row) for _, row in page]


async def _journal(
    call: Call, known: set[str], found: Buyer, theirs: Sequence[str], partitions: Sequence[int]
) -> AsyncIterator[list[dict[str, Any]]]:
    named = {found.home, *(subjects.address(a.account, a.id) for a in found.addresses), *theirs}
    words = [word.encode() for word in (*known, *named)]
    for partition in partitions:
        at: tuple[int, int] | None = START
        while at is not None:
            async with call.deps.history.connection() as connection:
                page, at = await entries_with(connection, partition, words, after=at)
            yield [shown for raw in page if (shown := _entry(raw, known, named)) is not None]


def _entry(raw: Raw, known: set[str], named: set[str]) -> dict[str, Any] | None:
    """One journal entry, readable; None for one that only mentions the person."""
    head = {"partition": raw.partition, "id": f"{raw.ms}-{raw.seq}", "kind": raw.kind}
    if raw.kind != "turn":
        body = msgspec.msgpack.decode(raw.body)
        about = isinstance(body, dict) and body.get("buyer") in known
        return {**head, "entry": body} if about else None
    turn = load_turn(raw.body)
    if turn.buyer not in known and turn.subject not in named:
        return None
    plain: dict[str, Any] = msgspec.to_builtins(turn, enc_hook=str)
    for name, load in (("event", load_event), ("record", load_record), ("before", load_record)):
        plain[name] = _read(load, getattr(turn, name))
    plain["messages"] = [_read(_message, body) for body in turn.messages]
    plain["tasks"] = [_read(lambda stored: msgspec.msgpack.decode(stored, type=Task), body) for body in turn.tasks]
    return {**head, "entry": {name: value for name, value in plain.items() if value}}


def _message(body: bytes) -> Any:
    found = load_message(body)
    return msgspec.structs.replace(found, content=Text("")) if found.purpose == "code" else found


def _read(load: Callable[[bytes], Any], stored: bytes) -> Any:
    try:
        return msgspec.to_builtins(load(stored), enc_hook=str) if stored else None
    except (GatewayError, msgspec.MsgspecError):
        return None  # of a release that this one does not know
