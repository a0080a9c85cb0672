"""Forgetting a buyer: after the turn that empties the record, everything else that tells of the person is cleared.

The turn is the moment of erasure: nothing is sent any more. What follows walks over all keys, in passes that may run
twice: links to the record, messages (their state stays, words and address go), orders and carts (asked to forget their
buyer, in turns of their own), tasks, dead letters, kept answers. When nothing is under way any more, the journals are
projected to their end; then the ledger forgets, raw rows too, and the journals after it: so no count loses what it has
counted, and nothing is projected, or derived anew, that names the person. What to look for lies in `erasing` until then;
afterwards only the id remains, and the fact, and the embedded server writes its append-only file anew. The sandbox's
simulated phones are the buyer's, not the shop's, and are left alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Protocol

import msgspec
import structlog
from msgspec import structs

from bot import erasing, ids, keys, subjects
from bot.clock import SystemClock
from bot.codec import dump_entry, dump_message, load_message, load_record, pack
from bot.erasing import Wanted
from bot.errors import GatewayError, LedgerError
from bot.events import Event, Ms, StaffAsked
from bot.messages import Text
from bot.queries import ERASED, Queries
from bot.records import Buyer, Cart, Link, Order, Parcel, Record, Task
from bot.store import Store

PAGE = 300
AGAIN_MS = 1500
LOCK_MS = 120_000
REWRITTEN = (
    5_000  # entries of a stream that are written anew at most: what lies on in a longer one goes with its 48 hours
)
ASKED, RUNNING = b"asked", b"running"  # how far the rewrite of the append-only file is

log = structlog.get_logger()


class Past(Protocol):
    """The ledger's part. Raises LedgerError where it is away: tried again with the next pass."""

    async def covers(self, wanted: Mapping[int, str]) -> bool:
        """Whether every partition is projected up to its entry in `wanted`."""
        ...

    async def orders(self, ids: Collection[str]) -> list[str]:
        """The subjects of all orders that these ids ever had."""
        ...

    async def forget(self, wanted: Wanted) -> None:
        """Erases what was projected up to `wanted.heads`."""
        ...

    async def compact(self) -> None:
        """Makes sure that the database's own files do not keep what was erased."""
        ...


class Erasure:
    """Erases what is left of buyers; any process may carry on what another began.

    `embedded`: the server is our own, and writes its append-only file anew after each erasure.
    """

    def __init__(self, store: Store, clock: SystemClock, past: Past, *, embedded: bool = False) -> None:
        self._store = store
        self._clock = clock
        self._past = past
        self._embedded = embedded

    async def begin(self, buyer: Buyer) -> None:
        """Notes what to look for, before the record forgets it."""
        await self._take(erasing.wanted(buyer))

    async def _take(self, wanted: Wanted) -> None:
        """From here on until a pass finds nothing left. One that is being erased already goes on as it is."""
        wanted.until = await self._server_ms() + 1000
        await self._store.command("HSETNX", keys.ERASING, wanted.id, erasing.dump(wanted))

    async def _collect(self) -> None:
        """Those whose turn of erasure has come by whatever way: a shop's word, the API.

        The partition's own note stays until all is done: on a cluster a server that fails over may forget what was taken from it.
        """
        told = await self._store.together([("HGETALL", keys.erasures(p)) for p in range(self._store.partitions)])
        for rows in told:
            flat = rows if isinstance(rows, dict) else dict(zip(rows[::2], rows[1::2], strict=True))
            for id, stored in flat.items():
                if not await self._store.command("HEXISTS", keys.ERASING, id):
                    await self._take(erasing.load(stored))

    async def advance(self) -> None:
        """One round over all who are being erased."""
        told = [("EXISTS", keys.erasures(p)) for p in range(self._store.partitions)]
        named = await self._store.together([("EXISTS", keys.ERASING), *told])
        rewrite = self._embedded and await self._store.command("GET", keys.ERASING_REWRITE)
        if not any(named) and not rewrite:
            return
        lock = f"{self._store.owner} {secrets.token_hex(8)}"
        if not await self._lock(lock):
            return
        try:
            await self._collect()
            for stored in await self._store.command("HVALS", keys.ERASING):
                wanted = erasing.load(stored)
                if wanted.next_at <= self._clock.real():
                    await self._pass(wanted)
            if rewrite:
                await self._rewrite(rewrite)
        finally:
            await self._store.scripts.run("erase_value", [keys.ERASING_LOCK], [lock])

    async def _lock(self, lock: str) -> bool:
        """Whether this process erases now. What a process holds that is gone, or stands still, nobody waits for."""
        wanted = ("SET", keys.ERASING_LOCK, lock, "NX", "PX", LOCK_MS)
        if await self._store.command(*wanted):
            return True
        held = await self._store.command("GET", keys.ERASING_LOCK) or b""
        ends = await self._store.command("ZSCORE", keys.PROCESSES, held.rpartition(b" ")[0])
        if ends is not None and float(ends) > await self._server_ms():
            return False
        await self._store.scripts.run("erase_value", [keys.ERASING_LOCK], [held])
        return bool(await self._store.command(*wanted))

    async def _rewrite(self, asked: bytes) -> None:
        """The append-only file holds every write since it was last written anew."""
        state = await self._store.command("INFO", "persistence")
        if state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"] or state["rdb_bgsave_in_progress"]:
            return
        if asked == RUNNING and state["aof_last_bgrewrite_status"] == "ok":
            await self._store.scripts.run("erase_value", [keys.ERASING_REWRITE], [RUNNING])
            return
        # Marked before it begins: who is erased meanwhile asks again.
        await self._store.command("SET", keys.ERASING_REWRITE, RUNNING)
        await self._store.command("BGREWRITEAOF")

    async def _keep(self, wanted: Wanted) -> None:
        await self._store.command("HSET", keys.ERASING, wanted.id, erasing.dump(wanted))

    async def _server_ms(self) -> Ms:
        seconds, micros = await self._store.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    # --- one pass -------------------------------------------------------------------------------------------------

    async def _pass(self, wanted: Wanted) -> None:
        if not await self._is_forgotten(wanted):  # its turn waits behind others
            return
        if not wanted.heads:
            await self._clear(wanted)
        try:
            done = bool(wanted.heads) and await self._forget(wanted)
        except LedgerError as error:
            log.warning("erasure waits for the ledger", detail=str(error))
            done = False
        if done:
            # Of many who go by age the last asks for it: the file is written anew once, not for each of them.
            asks = not wanted.aged or await self._store.command("HLEN", keys.ERASING) == 1
            if asks:
                await self._store.command("SET", keys.ERASING_REWRITE, ASKED)
            note = keys.erasures(self._store.partition(wanted.subjects[0]))
            await self._store.command("HDEL", note, wanted.id)
            await self._store.command("HDEL", keys.ERASING, wanted.id)
            if asks:
                await self._store.command("SET", keys.ERASING_REWRITE, ASKED)
            return
        wanted.passes += 1
        wanted.next_at = self._clock.real() + AGAIN_MS
        await self._keep(wanted)

    async def _clear(self, wanted: Wanted) -> None:
        """All keys but the journals. Nothing left to wait for: notes how far the journals may name the buyer."""
        clear = await self._messages(wanted)
        await self._identities(wanted)
        if wanted.passes == 0:
            if wanted.aged:
                await self._ask_orders(wanted)
            else:
                await self._values(wanted)
        visits = [(partition, id) for id in wanted.ids if (partition := ids.partition_in(id)) is not None]
        await self._store.together([("DEL", keys.visits(partition, id)) for partition, id in visits])
        # Messages are forgotten after 48 hours, what was not read of them later: their names hold the address.
        reach = [subject.split(":", 2)[1:] for subject in wanted.subjects if subjects.kind(subject) == "address"]
        await self._store.together([("DEL", keys.unread(p, *to)) for p, _ in visits for to in reach])
        places = self._places(wanted)
        for partition in places:
            await self._stream(keys.dead(partition), wanted, str(wanted.until))
            await self._tasks(partition, wanted)
            await self._index(partition, wanted)
        await self._codes(wanted)
        bodies = (await self._store.raw_records(wanted.asked)).values() if wanted.asked else ()
        clear &= not any(wanted.in_bytes(body) for body in bodies)
        if clear and wanted.passes and await self._server_ms() > wanted.until:
            wanted.heads = await Queries(self._store).ends(places)

    def _places(self, wanted: Wanted) -> list[int]:
        """The partitions that may hold something: all of them, or those of the buyer's own records for one who goes by age."""
        if not wanted.aged:
            return list(range(self._store.partitions))
        found = {self._store.partition(subject) for subject in (*wanted.subjects, *wanted.orders)}
        return sorted(
            found | {p for p in map(ids.partition_in, wanted.ids) if p is not None and p < self._store.partitions}
        )

    async def _ask_orders(self, wanted: Wanted) -> None:
        found = await self._store.raw_records(wanted.orders) if wanted.orders else {}
        for subject, body in found.items():
            if body:
                wanted.asked.append(subject)
                await self._ask_to_forget(subject)

    async def _forget(self, wanted: Wanted) -> bool:
        """The ledger, once it knows all, then the journals; whether both are done."""
        if not wanted.forgotten:
            if not await self._past.covers(wanted.heads):
                return False
            # The record remembers the newest orders only, the ledger all: they have a turn to forget in, too.
            if older := [one for one in await self._past.orders(wanted.ids) if one not in wanted.orders]:
                wanted.orders += older
                wanted.asked += older
                wanted.heads = {}
                for subject in older:
                    await self._ask_to_forget(subject)
                return False
            await self._past.forget(wanted)
            wanted.forgotten = True
            await self._keep(wanted)
        for partition, head in wanted.heads.items():
            await self._stream(keys.journal(partition), wanted, head)
        await self._past.compact()
        return True

    async def _is_forgotten(self, wanted: Wanted) -> bool:
        home = await self._store.record(wanted.subjects[0])
        return not (isinstance(home, Buyer) and home.id in wanted.ids and not home.erased)

    async def _identities(self, wanted: Wanted) -> None:
        """The names of records and links are addresses and numbers: they go; the id leads to the fact alone, before they do."""
        for id in wanted.ids:
            partition = ids.partition_in(id)
            if partition is not None and partition < self._store.partitions:
                await self._store.command("HSET", keys.index(partition), f"b:{id}", ERASED + wanted.id.encode())
        for subject, body in (await self._store.raw_records(wanted.subjects)).items():
            record = load_record(body) if body else None
            ours = isinstance(record, Buyer) and record.erased and record.id in wanted.ids
            if ours or (isinstance(record, Link) and record.home in wanted.subjects):
                await self._drop(keys.record(self._store.partition(subject), subject), body)

    async def _drop(self, name: str, body: bytes) -> None:
        await self._store.scripts.run("erase_value", [name], [body])

    # --- messages -------------------------------------------------------------------------------------------------

    async def _messages(self, wanted: Wanted) -> bool:
        """False while a provider call is under way: the message is cleared in the next pass."""
        clear = True
        places = {p for p in map(ids.partition_in, wanted.ids) if p is not None}
        for partition in sorted(places | set(map(self._store.partition, wanted.subjects))):
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
        if message.buyer not in wanted.ids and (message.buyer or message.home not in wanted.subjects):
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
                wanted.asked.append(subject)
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

    async def _stream(self, name: str, wanted: Wanted, until: str) -> None:
        start = "-"
        while page := await self._store.command("XRANGE", name, start, until, "COUNT", PAGE):
            gone = [entry for entry, fields in page if _about(fields.values(), wanted)]
            if gone:
                await self._store.command("XDEL", name, *gone)
            start = f"({page[-1][0].decode()}"
        await self._store.scripts.run("rewrite_stream", [name], [REWRITTEN])

    async def _tasks(self, partition: int, wanted: Wanted) -> None:
        for id, stored in (await self._store.command("HGETALL", keys.tasks(partition))).items():
            task = msgspec.msgpack.decode(stored, type=Task)
            if not wanted.in_bytes(stored) and task.home not in wanted.orders:
                continue
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
