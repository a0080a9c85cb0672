"""What happens to broadcasts by itself: they start, end, repeat weekly, stop themselves; what was cancelled is cleared away.

Every process keeps its own view of them fresh, and tells and clears the partitions that it owns. The process that owns
partition 0 conducts: each of its steps is compare-and-set, so that a second one in between does no harm.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog
from msgspec import structs

from bot import broadcast_life as life
from bot import ids, keys
from bot.broadcast_counts import Look
from bot.broadcasting import HOME, Broadcasts
from bot.broadcasts import Audiences, Broadcast
from bot.clock import SystemClock
from bot.codec import dump_entry, load_message
from bot.errors import ChangedError, LedgerError, RequestError, StateError, StoreError
from bot.events import BroadcastEnded, Event, Ms
from bot.records import Task
from bot.store import Hint, Store

ENGINE = "engine"
LOOK_S = 1.0
SWEEP_AGAIN_S = 2.0
DOUBT_S = 90.0  # a service notice in doubt goes once more after a minute
LEAST = 50  # outcomes before failures say anything
SHARE = 0.2
AT_ONCE = 500

log = structlog.get_logger()


class Conductor:
    """One per process."""

    def __init__(
        self,
        *,
        store: Store,
        broadcasts: Broadcasts,
        audiences: Audiences,
        clock: SystemClock,
        hints: set[Hint],
        wake_sender: asyncio.Event,
    ) -> None:
        self._store = store
        self._broadcasts = broadcasts
        self._audiences = audiences
        self._clock = clock
        self._hints = hints
        self._wake_sender = wake_sender
        self._told: dict[tuple[str, int], int] = {}  # version that a partition was told
        self._next_look: dict[str, float] = {}
        self._next_sweep: dict[tuple[str, int], float] = {}
        self._ending: set[str] = set()  # held messages whose buyers were told that it ended
        self._freezing: dict[str, asyncio.Task[None]] = {}
        self._checkpoints: dict[str, deque[tuple[int, int]]] = {}
        self._quiet_since: dict[str, tuple[int, float]] = {}

    async def advance(self) -> None:
        """One round. Raises StoreError."""
        await self._broadcasts.refresh()
        self._forget()
        for broadcast in list(self._broadcasts.live.values()):
            await self._tell(broadcast)
            if broadcast.state == "cancelled":
                await self._sweep(broadcast)
            if HOME in self._store.fences:
                try:
                    await self._conduct(broadcast)
                except (ChangedError, StateError):
                    continue  # staff were faster: the next round sees it

    def _forget(self) -> None:
        """What is not live any more need not be remembered."""
        live = self._broadcasts.live
        for known in (self._next_look, self._checkpoints, self._quiet_since):
            for id in [id for id in known if id not in live]:
                del known[id]
        for places in (self._told, self._next_sweep):
            for place in [place for place in places if place[0] not in live]:
                del places[place]
        if not any(broadcast.state == "cancelled" for broadcast in live.values()):
            self._ending.clear()

    # --- every process, for what it owns ----------------------------------------------------------------------------

    async def _tell(self, broadcast: Broadcast) -> None:
        """What staff decided reaches every partition, even if the process that took it died before it had told all."""
        if not broadcast.pauses and broadcast.state != "cancelled":
            return  # nothing ever stood still
        behind = [p for p in self._store.fences if self._told.get((broadcast.id, p), 0) < broadcast.version]
        if not behind:
            return
        await self._broadcasts.tell(broadcast, behind)
        for p in behind:
            if broadcast.state in ("sending", "scheduled"):
                await self._unpark(broadcast.id, p)
            self._told[broadcast.id, p] = broadcast.version

    async def _unpark(self, id: str, partition: int) -> None:
        left = 1
        while left:
            names = [keys.broadcast(partition, id), keys.parked(partition, id)]
            left, *ready = await self._store.scripts.run("broadcast_unpark", names, [keys.tag(partition), AT_ONCE])
            for account, lane in zip(ready[::2], ready[1::2], strict=True):
                self._hints.add((partition, account.decode(), lane.decode()))
            if ready:
                self._wake_sender.set()

    async def _sweep(self, broadcast: Broadcast) -> None:
        """The rest of what was cancelled: queued messages are skipped here, those that wait for an hour in their buyers' turns."""
        now = self._clock.monotonic()
        for p in list(self._store.fences):
            if self._next_sweep.get((broadcast.id, p), 0) > now:
                continue
            offset = 0
            while offset >= 0:
                args = [keys.tag(p), broadcast.id, broadcast.started_at, offset, AT_ONCE, self._clock.now()]
                found = await self._store.scripts.run("broadcast_sweep", [keys.messages(p)], args)
                offset = int(found[0])
                await self._end_held(broadcast.id, p, [id.decode() for id in found[1:]])
            self._next_sweep[broadcast.id, p] = now + SWEEP_AGAIN_S

    async def _end_held(self, broadcast: str, partition: int, held: list[str]) -> None:
        new = [id for id in held if id not in self._ending]
        bodies = await self._store.together([("HGET", keys.message(partition, id), "b") for id in new])
        now = self._clock.now()
        homes = dict.fromkeys(load_message(body).home for body in bodies if body)
        if homes:
            events = [Event("", home, "", now, now, BroadcastEnded(broadcast)) for home in homes]
            await self._store.append([dump_entry(event) for event in events], lane="b")
        self._ending.update(new)

    # --- the conducting process -------------------------------------------------------------------------------------

    async def _conduct(self, broadcast: Broadcast) -> None:
        now = self._clock.now()
        if broadcast.state == "scheduled" and broadcast.repeat is not None:
            await self._repeat(broadcast, now)
        elif life.due(broadcast, now):
            await self._start(broadcast)
        elif broadcast.state == "sending" and broadcast.frozen < 0:
            self._begin_freezing(broadcast)
        elif broadcast.state in ("sending", "paused", "cancelled") and self._is_time(broadcast.id):
            await self._look(broadcast)

    def _is_time(self, id: str) -> bool:
        now = self._clock.monotonic()
        if self._next_look.get(id, 0) > now:
            return False
        self._next_look[id] = now + LOOK_S
        return True

    async def _start(self, broadcast: Broadcast) -> None:
        parent = await self._broadcasts.find(broadcast.parent) if broadcast.parent else None
        if parent is not None and parent.state == "cancelled":
            await self._broadcasts.cancel(broadcast.id, ENGINE, why="its weekly broadcast was cancelled")
            return
        await self._change(broadcast, lambda kept: life.start(kept, self._clock.now()))

    async def _change(self, broadcast: Broadcast, how: life.Step, task: Task | None = None) -> Broadcast:
        """A step from exactly the state that was looked at."""
        return await self._broadcasts.change(broadcast.id, how, ENGINE, version=broadcast.version, task=task)

    # --- freezing ---------------------------------------------------------------------------------------------------

    def _begin_freezing(self, broadcast: Broadcast) -> None:
        """Beside the rounds: the ledger may be behind, and a large audience takes its time."""
        running = self._freezing.get(broadcast.id)
        if running is None or running.done():
            self._freezing[broadcast.id] = asyncio.create_task(self._freeze(broadcast))

    async def _freeze(self, broadcast: Broadcast) -> None:
        try:
            size = await self._audiences.freeze(broadcast, await self._positions())
            await self._frozen(broadcast, size)
        except (LedgerError, StoreError) as error:
            log.info("audience not frozen yet", broadcast=broadcast.id, detail=str(error))
            await self._clock.sleep(0.2)
        except (ChangedError, StateError):
            return
        except RequestError as error:  # a segment that is gone, a condition that no longer holds
            await self._stop(broadcast, f"audience: {error.detail}"[:200])
        except Exception:
            log.exception("audience not frozen", broadcast=broadcast.id)
            await self._clock.sleep(5.0)

    async def _positions(self) -> dict[int, str]:
        """The last entry of every partition's journal: who the audience is, is decided by what happened up to here."""
        wanted = [("XREVRANGE", keys.journal(p), "+", "-", "COUNT", 1) for p in range(self._store.partitions)]
        found = await self._store.together(wanted)
        return {p: rows[0][0].decode() if rows else "0-0" for p, rows in enumerate(found)}

    async def _frozen(self, broadcast: Broadcast, size: int) -> None:
        if why := life.outgrown(broadcast, size, self._broadcasts.rules):
            await self._stop(broadcast, why, frozen=size)
        else:
            await self._change(broadcast, lambda kept: structs.replace(kept, frozen=size))

    # --- ends and stops ---------------------------------------------------------------------------------------------

    async def _look(self, broadcast: Broadcast) -> None:
        look = await self._broadcasts.look(broadcast)
        if broadcast.state == "cancelled":
            if look.counts.pending == 0 and (look.planned_all or broadcast.frozen < 0):  # all have their rows
                await self._change(broadcast, lambda kept: structs.replace(kept, done_at=self._clock.now()))
                await self._clear(broadcast.id)
            return
        if broadcast.frozen < 0:
            return
        if look.planned_all and look.counts.pending == 0 and self._is_quiet(broadcast, look):
            await self._change(broadcast, lambda kept: structs.replace(kept, state="done", done_at=self._clock.now()))
            await self._clear(broadcast.id)
        elif broadcast.state == "sending" and (why := self._trouble(broadcast, look)):
            await self._stop(broadcast, why)

    async def _clear(self, id: str) -> None:
        await self._store.together([("UNLINK", keys.parked(p, id)) for p in range(self._store.partitions)])
        try:
            await self._audiences.forget(id)
        except LedgerError:
            log.warning("audience not thrown away", broadcast=id)

    def _is_quiet(self, broadcast: Broadcast, look: Look) -> bool:
        """Whether what is in doubt stays so: marketing always; a service notice may go once more."""
        if broadcast.purpose == "marketing" or not look.counts.in_doubt:
            return True
        doubts, since = self._quiet_since.get(broadcast.id, (0, 0.0))
        if doubts != look.counts.in_doubt:
            since = self._clock.monotonic()
            self._quiet_since[broadcast.id] = (look.counts.in_doubt, since)
        return self._clock.monotonic() - since > DOUBT_S

    def _trouble(self, broadcast: Broadcast, look: Look) -> str:
        """Why it must not go on: too many of the last outcomes are failures, or an account can send nothing."""
        ended, failed, refused = look.failures
        seen_ended, seen_failed, seen_refused = broadcast.looked_at
        if refused > seen_refused:  # a dead token, an empty balance
            return "an account can send nothing: see its alerts"
        points = self._checkpoints.setdefault(broadcast.id, deque([(seen_ended, seen_failed)]))
        if points[0][0] < seen_ended:
            points.clear()
            points.append((seen_ended, seen_failed))
        while len(points) > 1 and points[1][0] <= ended - LEAST:
            points.popleft()
        before, before_failed = points[0]
        if ended > points[-1][0]:
            points.append((ended, failed))
        last, bad = ended - before, failed - before_failed
        return f"{bad} of the last {last} failed" if last >= LEAST and bad > SHARE * last else ""

    async def _stop(self, broadcast: Broadcast, why: str, *, frozen: int | None = None) -> None:
        now = self._clock.now()
        size = broadcast.frozen if frozen is None else frozen
        task = Task(
            id=ids.derived("t", HOME, f"{broadcast.id}|{broadcast.version}"),
            kind="broadcast",
            key=f"broadcast/{broadcast.id}",
            home=f"broadcast:{broadcast.id}",
            brief=f"{broadcast.title}: {why}",
            created_at=now,
        )
        stopped = await self._change(broadcast, lambda kept: life.pause(structs.replace(kept, frozen=size), why), task)
        log.warning("broadcast paused", broadcast=broadcast.id, why=why)
        await self._broadcasts.tell(stopped)

    # --- weekly -----------------------------------------------------------------------------------------------------

    async def _repeat(self, broadcast: Broadcast, now: Ms) -> None:
        """Makes the round that is due, once: its id follows from its time, whoever comes to make it."""
        made, missed, following = life.rounds(broadcast, now, self._broadcasts.rules.zone)
        if not made and not missed and following:
            return
        if made:
            await self._broadcasts.add(life.round_of(broadcast, made), ENGINE)
        await self._change(broadcast, lambda kept: life.after_round(kept, now, made, missed, following))
