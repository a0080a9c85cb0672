"""Broadcasts as staff handle them: made, changed, let go, stopped, counted. Kept in Redis; every change is compare-and-set.

What then happens by itself is the business of `bot.conductor` (starts, ends, rounds, self-stops) and `bot.planner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from bot import broadcast_life as life
from bot import ids, keys
from bot.broadcast_counts import Look, added_up
from bot.broadcast_life import Rules
from bot.broadcasts import LIVE, Broadcast, Counts
from bot.clock import SystemClock
from bot.codec import pack
from bot.errors import ChangedError, UnknownBroadcastError
from bot.journal import BroadcastEntry, dump
from bot.records import Task
from bot.store import Store

MOST_TRIES = 8
HOME = 0  # the partition whose slot keeps the definitions

_decoder = msgspec.msgpack.Decoder(Broadcast)


class Broadcasts:
    """The service. `live`: those where something may still happen, as this process last read them (`refresh`).

    Methods that change one take `version`, the one that the caller saw (0: whatever it is now), and raise ChangedError when
    somebody was faster, StateError where its state does not allow it, UnknownBroadcastError; and StoreError.
    """

    def __init__(self, store: Store, clock: SystemClock, rules: Rules) -> None:
        self._store = store
        self._clock = clock
        self.rules = rules
        self.live: dict[str, Broadcast] = {}

    async def refresh(self) -> None:
        """Reads what changed of those that are live."""
        told = await self._store.command("HGETALL", keys.BROADCASTS_LIVE)
        versions = {id.decode(): int(value.rpartition(b" ")[2]) for id, value in told.items()}
        for id in [id for id in self.live if id not in versions]:
            del self.live[id]
        stale = [id for id, version in versions.items() if id not in self.live or self.live[id].version < version]
        if stale:
            for value in await self._store.command("HMGET", keys.BROADCASTS, *stale):
                if value is not None:
                    found = _load(value)
                    self.live[found.id] = found

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> Broadcast:
        """One by id. Raises UnknownBroadcastError."""
        value = await self._store.command("HGET", keys.BROADCASTS, id)
        if value is None:
            raise UnknownBroadcastError
        return _load(value)

    async def list(self) -> list[Broadcast]:
        """All, the newest first; drafts and rounds of weekly ones too."""
        values = await self._store.command("HVALS", keys.BROADCASTS)
        return sorted(map(_load, values), key=lambda b: (b.created_at, b.id), reverse=True)

    async def find(self, id: str) -> Broadcast | None:
        """One by id, or None."""
        value = await self._store.command("HGET", keys.BROADCASTS, id)
        return _load(value) if value is not None else None

    async def counts(self, id: str) -> Counts:
        """What became of it so far. The sums hold at every look. Raises UnknownBroadcastError."""
        return (await self.look(await self.get(id))).counts

    async def look(self, broadcast: Broadcast) -> Look:
        """The counters of every partition, each read at one instant, added up.

        Those of one that is over may be on their way into its own sums: what was read holds if these stood still meanwhile.
        """
        for _ in range(MOST_TRIES):
            found = await self.counters(broadcast.id)
            kept = await self.find(broadcast.id) if broadcast.done_at else None
            if kept is None or kept.version == broadcast.version:
                return added_up(broadcast, found)
            broadcast = kept
        raise ChangedError("this broadcast changes again and again: read it again")

    async def counters(self, id: str) -> Sequence[dict[bytes, bytes]]:
        """What each partition holds of one, in order, each read at one instant."""
        wanted = [("HGETALL", keys.broadcast(p, id)) for p in range(self._store.partitions)]
        found: Sequence[dict[bytes, bytes]] = await self._store.together(wanted)
        return found

    # --- staff ----------------------------------------------------------------------------------------------------

    async def create(self, draft: Broadcast) -> Broadcast:
        """Keeps a new draft; its id, state and version are given here, whatever it holds."""
        made = structs.replace(
            draft, id=ids.new("bc", HOME), created_at=draft.created_at or self._clock.now(), state="draft", version=0
        )
        return await self._put(made, 0, draft.created_by)

    async def update(self, draft: Broadcast, by: str) -> Broadcast:
        """Changes a draft's words, audience, times …: all that staff write. `draft.version` is the one that was seen."""
        return await self.change(draft.id, lambda kept: life.edit(kept, draft), by, version=draft.version)

    async def submit(self, id: str, by: str, *, recipients: int, version: int = 0) -> Broadcast:
        """Lets a draft go: scheduled, or awaiting approval where `recipients` (of a preview) are above the limit."""
        return await self.change(
            id,
            lambda kept: life.submit(kept, by, self._clock.now(), self.rules, recipients=recipients),
            by,
            version=version,
        )

    async def approve(self, id: str, by: str, *, alone: bool = False, version: int = 0) -> Broadcast:
        """Somebody else than who submitted it lets it go; or `alone`, who typed the count of its recipients."""
        return await self.change(
            id, lambda kept: life.approve(kept, by, self._clock.now(), self.rules, alone=alone), by, version=version
        )

    async def withdraw(self, id: str, by: str, *, version: int = 0) -> Broadcast:
        """Undo: back to a draft, while it has not begun."""
        return await self.change(id, lambda kept: life.withdraw(kept, self._clock.now()), by, version=version)

    async def pause(self, id: str, by: str, *, why: str = "staff", version: int = 0) -> Broadcast:
        """Holds it: when this returns, nothing more of it is handed to a sender anywhere."""
        paused = await self.change(id, lambda kept: life.pause(kept, why), by, version=version)
        await self.tell(paused)
        return paused

    async def resume(self, id: str, by: str, *, alone: bool = False, version: int = 0) -> Broadcast:
        """Lets it go on; one that has outgrown its approval is approved by it: by somebody else, or `alone` with the count typed."""
        seen = (await self.look(await self.get(id))).failures
        going = await self.change(
            id,
            lambda kept: life.resume(kept, by, self._clock.now(), self.rules, looked_at=seen, alone=alone),
            by,
            version=version,
        )
        await self.tell(going)
        return going

    async def cancel(self, id: str, by: str, *, why: str = "staff", version: int = 0) -> Broadcast:
        """Ends it: when this returns, nothing more of it is handed to a sender anywhere; the rest is skipped soon."""
        cancelled = await self.change(id, lambda kept: life.cancel(kept, self._clock.now(), why), by, version=version)
        await self.tell(cancelled)
        return cancelled

    # --- changing -------------------------------------------------------------------------------------------------

    async def change(
        self, id: str, how: Callable[[Broadcast], Broadcast], by: str, *, version: int = 0, task: Task | None = None
    ) -> Broadcast:
        """Changes one, again where somebody else changed it meanwhile, unless the caller says what was seen."""
        for _ in range(MOST_TRIES):
            kept = await self.get(id)
            if version and kept.version != version:
                break
            try:
                return await self._put(how(kept), kept.version, by, task)
            except ChangedError:
                continue
        raise ChangedError("somebody else changed this broadcast meanwhile: read it again")

    async def add(self, made: Broadcast, by: str) -> bool:
        """Keeps one whose id follows from what it is. False: it was made before."""
        try:
            await self._put(made, 0, by)
        except ChangedError:
            return False
        return True

    async def keep_sums(self, broadcast: Broadcast) -> None:
        """Writes down other sums of one that is over, unless somebody was faster. Nobody's change, so nobody is told."""
        names = [keys.BROADCASTS, keys.BROADCASTS_LIVE, keys.journal(HOME), keys.tasks(HOME)]
        body = pack(structs.replace(broadcast, version=broadcast.version + 1))
        args = [broadcast.id, broadcast.version, broadcast.version + 1, body, "", "", "", ""]
        await self._store.scripts.run("broadcast_put", names, args)

    async def _put(self, broadcast: Broadcast, seen: int, by: str, task: Task | None = None) -> Broadcast:
        broadcast = structs.replace(broadcast, version=seen + 1, changed_by=by, changed_at=self._clock.now())
        broadcast.stages = life.passed(broadcast)
        body = pack(broadcast)
        entry = BroadcastEntry(
            at=self._clock.now(),
            id=broadcast.id,
            state=broadcast.state,
            version=broadcast.version,
            by=by,
            body=body,
            why=broadcast.why,
        )
        names = [keys.BROADCASTS, keys.BROADCASTS_LIVE, keys.journal(HOME), keys.tasks(HOME)]
        live = broadcast.state in LIVE or (broadcast.state == "cancelled" and not broadcast.done_at)
        state = broadcast.state if live else ""
        told = [task.id, pack(task)] if task is not None else ["", ""]
        args = [broadcast.id, seen, broadcast.version, body, state, dump(entry), *told]
        if not await self._store.scripts.run("broadcast_put", names, args):
            raise ChangedError("somebody else changed this broadcast meanwhile: read it again")
        if live:
            self.live[broadcast.id] = broadcast
        else:
            self.live.pop(broadcast.id, None)
        return broadcast

    async def tell(self, broadcast: Broadcast, partitions: Sequence[int] | None = None) -> None:
        """Tells partitions (all, where none are named) whether anything of it may be sent."""
        wanted = range(self._store.partitions) if partitions is None else partitions
        args = [broadcast.state, broadcast.version]
        await asyncio.gather(
            *(self._store.scripts.run("broadcast_state", [keys.broadcast(p, broadcast.id)], args) for p in wanted)
        )


def _load(value: bytes) -> Broadcast:
    return _decoder.decode(value.partition(b" ")[2])
