"""Forgetting a buyer: after the turn that empties the record, every other key that tells of the person is cleared.

The turn is the moment of erasure: nothing is sent any more. What follows walks over all keys, in passes that may run
twice: links to the record, messages (their state stays, words and address go), orders and carts (asked to forget their
buyer, in turns of their own), tasks, journals, dead letters, kept answers. What to look for lies in `erasing` until a
pass finds nothing left to wait for; then only the id remains, and the fact. The append-only file of the server forgets
with its next rewrite. The sandbox's simulated phones are the buyer's, not the shop's, and are left alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection

import msgspec
from msgspec import Struct, structs

from bot import ids, keys, subjects
from bot.clock import SystemClock
from bot.codec import dump_entry, dump_message, load_message, load_record, pack
from bot.errors import GatewayError
from bot.events import Event, Ms, StaffAsked
from bot.messages import Text
from bot.queries import ERASED
from bot.records import Buyer, Cart, Link, Order, Parcel, Record, Task
from bot.store import Store

PAGE = 300
AGAIN_MS = 1500
LOCK_MS = 120_000
TELLING = 6  # an id of a channel shorter than this would match by chance; such are compared whole, never searched for


class Wanted(Struct):
    """What tells of a buyer who is being erased. `until`: server time, ms; what came later is another person's or new."""

    id: str
    ids: list[str]
    subjects: list[str]
    words: list[str]
    orders: list[str]
    until: Ms
    next_at: Ms = 0
    passes: int = 0

    def in_bytes(self, body: bytes) -> bool:
        """Whether stored bytes name the buyer."""
        return any(word.encode() in body for word in (*self.words, *self.ids))


class Erasure:
    """Erases what is left of buyers; any process may carry on what another began."""

    def __init__(self, store: Store, clock: SystemClock) -> None:
        self._store = store
        self._clock = clock

    async def begin(self, buyer: Buyer) -> None:
        """Notes what to look for, before the record forgets it."""
        reach = [subjects.address(a.account, a.id) for a in buyer.addresses]
        reach += [subjects.phone(phone) for phone in buyer.phones] + [subjects.email(mail) for mail in buyer.emails]
        named = dict.fromkeys([buyer.home, *reach, *buyer.shoppers])
        words = [*buyer.phones, *buyer.emails, *(a.id for a in buyer.addresses)]
        words += buyer.member.numbers if buyer.member else ()
        wanted = Wanted(
            id=buyer.id,
            ids=[buyer.id, *buyer.merged],
            subjects=list(named),
            words=sorted({word for word in words if len(word) >= TELLING}),
            orders=[subjects.order(o.shop, o.id) for o in buyer.orders],
            until=await self._server_ms() + 1000,
        )
        await self._keep(wanted)

    async def advance(self) -> None:
        """One round over all who are being erased."""
        found = await self._store.command("HVALS", keys.ERASING)
        if not found:
            return
        lock = secrets.token_hex(8)
        if not await self._store.command("SET", keys.ERASING_LOCK, lock, "NX", "PX", LOCK_MS):
            return
        try:
            for stored in found:
                wanted = msgspec.json.decode(stored, type=Wanted)
                if wanted.next_at <= self._clock.real():
                    await self._pass(wanted)
        finally:
            await self._store.scripts.run("erase_value", [keys.ERASING_LOCK], [lock])

    async def _keep(self, wanted: Wanted) -> None:
        await self._store.command("HSET", keys.ERASING, wanted.id, msgspec.json.encode(wanted))

    async def _server_ms(self) -> Ms:
        seconds, micros = await self._store.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    # --- one pass -------------------------------------------------------------------------------------------------

    async def _pass(self, wanted: Wanted) -> None:
        if not await self._is_forgotten(wanted):  # its turn waits behind others
            return
        clear = await self._messages(wanted)
        await self._identities(wanted)
        if wanted.passes == 0:
            await self._values(wanted)
        for partition in range(self._store.partitions):
            await self._streams(partition, wanted)
            await self._tasks(partition, wanted)
            await self._index(partition, wanted)
        await self._codes(wanted)
        if wanted.passes and clear:
            await self._store.command("HDEL", keys.ERASING, wanted.id)
            return
        wanted.passes += 1
        wanted.next_at = self._clock.real() + AGAIN_MS
        await self._keep(wanted)

    async def _is_forgotten(self, wanted: Wanted) -> bool:
        home = await self._store.record(wanted.subjects[0])
        return not (isinstance(home, Buyer) and home.id in wanted.ids and not home.erased)

    async def _identities(self, wanted: Wanted) -> None:
        """The names of records and links are addresses and numbers: they go; the id leads to the fact alone."""
        for subject, body in (await self._store.raw_records(wanted.subjects)).items():
            record = load_record(body) if body else None
            ours = isinstance(record, Buyer) and record.erased and record.id in wanted.ids
            if ours or (isinstance(record, Link) and record.home in wanted.subjects):
                await self._drop(keys.record(self._store.partition(subject), subject), body)
        for id in wanted.ids:
            await self._store.command("DEL", keys.visits(ids.partition_in(id) or 0, id))
            partition = ids.partition_in(id)
            if partition is not None and partition < self._store.partitions:
                await self._store.command("HSET", keys.index(partition), f"b:{id}", ERASED + wanted.id.encode())

    async def _drop(self, name: str, body: bytes) -> None:
        await self._store.scripts.run("erase_value", [name], [body])

    # --- messages -------------------------------------------------------------------------------------------------

    async def _messages(self, wanted: Wanted) -> bool:
        """False while a provider call is under way: the message is cleared in the next pass."""
        clear = True
        for partition in sorted({p for p in map(ids.partition_in, wanted.ids) if p is not None}):
            names = await self._store.command("ZRANGE", keys.messages(partition), 0, -1)
            for start in range(0, len(names), PAGE):
                part = [name.decode() for name in names[start : start + PAGE]]
                bodies = await self._store.together([("HGET", keys.message(partition, id), "b") for id in part])
                for id, body in zip(part, bodies, strict=True):
                    if body and wanted.in_bytes(body):
                        clear &= await self._message(partition, id, body, wanted)
        return clear

    async def _message(self, partition: int, id: str, body: bytes, wanted: Wanted) -> bool:
        message = load_message(body)
        if message.buyer not in wanted.ids:
            return True
        bare = structs.replace(message, to="", home="", content=Text(""))
        args = [keys.tag(partition), id, message.account, message.to, dump_message(bare), self._clock.now()]
        return bool(await self._store.scripts.run("erase_message", [keys.message(partition, id)], args))

    # --- all other keys -------------------------------------------------------------------------------------------

    async def _values(self, wanted: Wanted) -> None:
        """Orders and carts that name the buyer, parcels that hold events about them, answers kept for repeats."""
        orders = set(wanted.orders)
        async for name, body in self._strings("rec:*"):
            subject = name.split(":", 2)[2]
            if subject not in orders and not wanted.in_bytes(body):
                continue
            record = _record(body)
            if isinstance(record, Order | Cart):
                await self._ask_to_forget(subject)
            elif isinstance(record, Parcel):
                await self._drop(name, body)
        async for name, body in self._strings("idem:*"):
            if wanted.in_bytes(body):
                await self._store.command("DEL", name)

    async def _strings(self, pattern: str) -> AsyncIterator[tuple[str, bytes]]:
        async for names in self._store.scan(pattern, PAGE):
            values = await self._store.together([("GET", name) for name in names])
            for name, value in zip(names, values, strict=True):
                if value:
                    yield name.decode(), value
            await asyncio.sleep(0)

    async def _ask_to_forget(self, subject: str) -> None:
        now = self._clock.now()
        event = Event("", subject, "erasure", now, now, StaffAsked("forget", "erasure", b"{}"))
        await self._store.append([dump_entry(event)])

    async def _streams(self, partition: int, wanted: Wanted) -> None:
        for name in (keys.journal(partition), keys.dead(partition)):
            start = "-"
            while page := await self._store.command("XRANGE", name, start, wanted.until, "COUNT", PAGE):
                gone = [entry for entry, fields in page if _about(fields.values(), wanted)]
                if gone:
                    await self._store.command("XDEL", name, *gone)
                start = f"({page[-1][0].decode()}"

    async def _tasks(self, partition: int, wanted: Wanted) -> None:
        for id, stored in (await self._store.command("HGETALL", keys.tasks(partition))).items():
            if not wanted.in_bytes(stored):
                continue
            task = msgspec.msgpack.decode(stored, type=Task)
            about = task.buyer in wanted.ids
            state = "expired" if task.state == "open" and about else task.state
            home = "" if about else task.home
            bare = structs.replace(task, brief="", note="", home=home, state=state)
            await self._store.command("HSET", keys.tasks(partition), id, pack(bare))

    async def _index(self, partition: int, wanted: Wanted) -> None:
        """Open tasks of the record, what the buyer waits for, its cards' numbers; the id itself stays (`_identities`)."""
        tasks = tuple(f"t:{subject}|".encode() for subject in wanted.subjects)
        waits = tuple(f":{id}".encode() for id in wanted.ids)
        names = await self._store.command("HKEYS", keys.index(partition))
        cards = {f"m:{word}".encode() for word in wanted.words}
        gone = [
            name
            for name in names
            if name.startswith(tasks) or (name.endswith(waits) and name[:2] != b"b:") or name in cards
        ]
        if gone:
            await self._store.command("HDEL", keys.index(partition), *gone)

    async def _codes(self, wanted: Wanted) -> None:
        """The counters of phone codes by number and by the address that asked."""
        names = await self._store.command("HKEYS", keys.CODE_COUNTS)
        gone = [name for name in names if wanted.in_bytes(name)]
        if gone:
            await self._store.command("HDEL", keys.CODE_COUNTS, *gone)


def _record(body: bytes) -> Record | None:
    try:
        return load_record(body)
    except GatewayError:
        return None


def _about(parts: Collection[bytes], wanted: Wanted) -> bool:
    if any(wanted.in_bytes(part) for part in parts):
        return True
    # Short ids: the whole subject, as MessagePack writes it, with its length in front.
    return any(pack(subject) in part for subject in (*wanted.subjects, *wanted.orders) for part in parts)
