"""The Redis side of the projection: pages of journals, whose turn it is to project, what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot import keys
from bot.events import Ms
from bot.store import Store
from ledger.places import Place, place

Raw = tuple[Ms, int, str, bytes]
"""One entry: its place in the stream, kind, body."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A partition's journal as it stands: the last id it ever gave, the first entry it still holds."""

    last: Place = (0, 0)
    first: Place = (0, 0)


class Feed:
    """Journals of all partitions, for the one process that projects."""

    def __init__(self, store: Store, owner: str, *, lease_ms: int = 10_000) -> None:
        self._store = store
        self._owner = owner
        self._lease_ms = lease_ms
        self.partitions = store.partitions

    # --- whose turn it is -----------------------------------------------------------------------------------------

    async def hold(self) -> bool:
        """Takes or keeps the lease; False while another process projects."""
        found = await self._store.scripts.run("lease", [keys.LEDGER_LEASE], [self._owner, self._lease_ms, 1, "k"])
        return int(found[0][0]) > 0

    async def release(self) -> None:
        """Gives the lease back, so that the next need not wait for its end."""
        await self._store.scripts.run("lease", [keys.LEDGER_LEASE], [self._owner, self._lease_ms, 1, "x"])

    # --- journals -------------------------------------------------------------------------------------------------

    async def pages(self, after: Mapping[int, str], most: int) -> tuple[str, dict[int, list[Raw]]]:
        """What follows in each of these partitions, at most so many entries of each; before it the id of the pair, read with it."""
        wanted = [("XRANGE", keys.journal(p), f"({at}" if at else "-", "+", "COUNT", most) for p, at in after.items()]
        epoch, *found = await self._store.together([("HGET", keys.META, "epoch"), *wanted])
        pages = {p: [_raw(*entry) for entry in page] for p, page in zip(after, found, strict=True) if page}
        return epoch.decode() if epoch else "", pages

    async def streams(self) -> dict[int, Stream]:
        """How every journal stands."""
        names = [keys.journal(p) for p in range(self.partitions)]
        there = await self._store.together([("EXISTS", name) for name in names])
        found = {p: Stream() for p in range(self.partitions)}
        known = [p for p, exists in enumerate(there) if exists]
        answers = await self._store.together([("XINFO", "STREAM", names[p]) for p in known])
        return found | {p: _stream(answer) for p, answer in zip(known, answers, strict=True)}

    async def holds(self, partition: int, id: str) -> bool:
        """Whether the journal still has an entry."""
        return bool(await self._store.command("XRANGE", keys.journal(partition), id, id))

    # --- what is told ---------------------------------------------------------------------------------------------

    async def epoch(self) -> str:
        """The id of the pair of stores, "" for none."""
        found = await self._store.command("HGET", keys.META, "epoch")
        return found.decode() if found else ""

    async def set_epoch(self, epoch: str) -> str:
        """Gives the store an id if it has none; answers the one it has."""
        await self._store.command("HSETNX", keys.META, "epoch", epoch)
        return await self.epoch()

    async def change_epoch(self, epoch: str) -> None:
        """The store belongs to another ledger from now on, which has yet to hold anything of it."""
        await self._store.command("DEL", keys.LEDGER_MARKS)
        await self._store.command("HSET", keys.META, "epoch", epoch)

    async def marks(self) -> dict[int, str]:
        """Up to where each partition is projected, as housekeeping knows it."""
        found = await self._store.command("HGETALL", keys.LEDGER_MARKS)
        return {int(partition): last.decode() for partition, last in _pairs(found) if last}

    async def mark(self, positions: Mapping[int, str]) -> None:
        """Tells housekeeping what the ledger holds."""
        await self._store.tell_all(keys.LEDGER_MARKS, {p: last for p, last in positions.items() if last})

    async def tell(self, state: Mapping[str, str | int]) -> None:
        """Says how the projection stands."""
        await self._store.tell_all(keys.LEDGER_STATE, state)

    async def told(self) -> dict[str, str]:
        """What the projector last said."""
        found = await self._store.command("HGETALL", keys.LEDGER_STATE)
        return {name.decode(): value.decode() for name, value in _pairs(found)}

    async def holder(self) -> str:
        """Who projects now, "" for nobody."""
        owner, until = await self._store.command("HMGET", keys.LEDGER_LEASE, "o", "u")
        return owner.decode() if owner and int(until or 0) > await self.now() else ""

    async def now(self) -> Ms:
        """The server's time, which the ids of entries carry."""
        seconds, micros = await self._store.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def virtual_now(self) -> Ms:
        """The gateway's time: the server's, and how far the sandbox's clock was moved."""
        return await self.now() + int(await self._store.command("GET", keys.CLOCK) or 0)


def _raw(id: bytes, fields: Any) -> Raw:
    named = dict(_pairs(fields))
    ms, seq = place(id.decode())
    return ms, seq, named.get(b"k", b"").decode("utf-8", "replace"), named.get(b"b", b"")


def _pairs(answer: Any) -> list[tuple[Any, Any]]:
    """Names and values, whether the client made a mapping of the answer or not."""
    if isinstance(answer, Mapping):
        return list(answer.items())
    flat: Sequence[Any] = answer or ()
    return list(zip(flat[::2], flat[1::2], strict=False))


def _stream(answer: Any) -> Stream:
    named = {name.decode() if isinstance(name, bytes) else name: value for name, value in _pairs(answer)}
    first = named.get("first-entry")
    return Stream(_place(named.get("last-generated-id")), _place(first[0]) if first else (0, 0))


def _place(id: Any) -> Place:
    return place(id.decode() if isinstance(id, bytes) else str(id or ""))
