"""The worker: reads the lanes of owned partitions, runs turns in batches, commits them, relays their mail.

Order within a lane and record is kept by going in waves: the n-th event of every record together, then the next. An
entry that fails is tried again after 0.1, 1, 5, 15 and 30 s, while later events of its record wait behind it; then it is
buried. Entries that a dead owner had taken are run one at a time, and counted before they run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from bot import keys
from bot.change import Change, Commit, QueuedMessage, Taken
from bot.clock import SystemClock
from bot.codec import CodecError, load_record
from bot.errors import PartlyStoredError, StoreError
from bot.leases import Leases
from bot.log import places
from bot.metrics import BURIED, REDIS_TROUBLE, TURN_SECONDS, TURNS, child
from bot.records import Record
from bot.run import Answered, Run
from bot.store import GATHER_S, SMALL_BATCH, Hint, Store
from bot.turns import Turns

BATCH = 128
BACK_OFF_S = (0.1, 1.0, 5.0, 15.0, 30.0)
IDLE_BLOCK_MS = 1000
LOOK_AGAIN_S = 0.02

log = structlog.get_logger()


class Resolver(Protocol):
    """Answers effects that need shared state, all of a batch in one go."""

    async def resolve(self, runs: Sequence[Run]) -> list[list[Answered]]:
        """The answers to each run's open effects, in order."""
        ...

    async def settled(self, runs: Sequence[Run]) -> None:
        """These runs were committed: what they claimed is theirs."""
        ...


class Outgoing(Protocol):
    """Where messages go that a commit may claim at once: the sender of this process."""

    async def reserve(self, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """How many messages of each (account, lane) may go out now; each is held until `start` or `unused`."""
        ...

    async def start(self, claimed: Sequence[tuple[int, QueuedMessage]], since: float) -> None:
        """Sends messages (with their partitions) that a commit has claimed, not before `since` (monotonic seconds)."""
        ...

    def unused(self, account: str, count: int) -> None:
        """Gives reserved sends back."""
        ...

    def unsure(self, asked: Sequence[tuple[int, QueuedMessage]]) -> None:
        """The commit's answer is lost: what it may have claimed was certainly not sent, and is queued again."""
        ...


class Worker:
    """One worker per process."""

    def __init__(
        self,
        *,
        store: Store,
        turns: Turns,
        leases: Leases,
        clock: SystemClock,
        resolver: Resolver,
        outgoing: Outgoing,
        wake_sender: asyncio.Event,
        hints: set[Hint],
    ) -> None:
        self._store = store
        self._turns = turns
        self._leases = leases
        self._clock = clock
        self._resolver = resolver
        self._outgoing = outgoing
        self._wake_sender = wake_sender
        self._hints = hints
        self._parked: dict[str, deque[Taken]] = {}  # record -> entries that wait behind a failed one
        self._retry_at: dict[str, float] = {}
        self._backlog: list[Taken] = []
        self._acquitted: dict[int, list[str]] = {}  # partition -> suspects that did not end this process
        self._unposted: set[int] = set()  # partitions whose mail may be written but not relayed
        self._offset = 0
        self._look_again = 0.0
        self.stopping = False
        self.idle = asyncio.Event()

    async def run(self) -> None:
        """Works until `stopping`."""
        while not self.stopping:
            try:
                worked = await self._round()
                if not worked and not self.stopping:
                    await self._wait()
            except StoreError as error:
                REDIS_TROUBLE.labels("worker").inc()
                log.warning("store away", detail=str(error))
                self.forget()
                await self._clock.sleep(0.2)
            except Exception:  # a bug must not end the worker: its partitions would stand still
                log.exception("round failed")
                self.forget()
                await self._clock.sleep(1.0)
        self.idle.set()

    def forget(self) -> None:
        """Drops what was read but not handled: it is read again from the start of each lane.

        A commit whose answer was lost may have written mail: it is relayed before any later mail, which would pass it.
        """
        self._unposted.update(self._store.fences)
        self._parked.clear()
        self._retry_at.clear()
        self._backlog.clear()
        for cursor in self._store.cursors.values():
            cursor[:] = ["0", "0"]
        self._look_again = 0.0

    async def _wait(self) -> None:
        owned = list(self._store.fences)
        if not owned:
            await self._clock.sleep(0.05)
            return
        timeout = IDLE_BLOCK_MS
        if self._retry_at:
            soonest = min(self._retry_at.values()) - self._clock.monotonic()
            timeout = max(1, min(timeout, int(soonest * 1000)))
        await self._store.look(owned, block_ms=timeout)

    async def _round(self) -> bool:
        await self._adopt()
        await self._look()
        taken, records = await self._take()
        taken = self._unpark() + taken
        if not taken:
            return False
        with TURN_SECONDS.time():
            await self._safely(taken, records)
        if len(taken) < SMALL_BATCH:
            await self._clock.sleep(GATHER_S)
        return True

    async def _take(self) -> tuple[list[Taken], dict[str, bytes]]:
        partitions = self._partitions()
        if not partitions:
            return [], {}
        # A quarter of a round at most is bulk while the inbox is not empty: a broadcast never delays an answer.
        taken, records = await self._store.take(partitions, inbox=BATCH, bulk=BATCH // 4)
        if taken and all(one.lane == "b" for one in taken):
            more, others = await self._store.take(partitions, inbox=BATCH, bulk=BATCH - len(taken))
            taken += more
            records = {**others, **records}
        if len(taken) >= BATCH // 4:
            self._store.dirty.update(partitions)  # there may be more
        return taken, records

    async def _look(self) -> None:
        """A few times a second, what other processes appended to owned partitions."""
        now = self._clock.monotonic()
        if now >= self._look_again:
            self._look_again = now + LOOK_AGAIN_S
            await self._store.look(list(self._store.fences))

    def _partitions(self) -> list[int]:
        """The owned partitions with news, each of them first in its turn."""
        store = self._store
        dirty, store.dirty = store.dirty, set()
        # What is not taken over yet, or has mail that is not relayed, waits: later mail would pass it.
        owned = sorted(dirty.intersection(store.fences) - self._unposted - self._leases.fresh)
        self._offset = (self._offset + 7) % max(1, len(owned))
        return owned[self._offset :] + owned[: self._offset]

    # --- new partitions -------------------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        """Partitions taken since the last round: relay what a dead owner left unposted, and be careful with what it held."""
        await self._store.unless_away(self._acquit())
        for partition in sorted(self._unposted):
            if await self._store.unless_away(self._relay_left(partition)):
                self._unposted.discard(partition)
                self._store.dirty.add(partition)
        if self._leases.fresh and not self._store.scripts.apart:
            await self._store.learn_days(self._leases.fresh, self._clock.now())
        for partition in list(self._leases.fresh):
            self._leases.fresh.discard(partition)
            if not await self._store.unless_away(self._take_over(partition)):
                if partition in self._store.fences:
                    self._leases.fresh.add(partition)
                continue
            for account in self._lanes_of(partition):
                self._hints.add(account)
            self._store.dirty.add(partition)
            self._wake_sender.set()

    async def _take_over(self, partition: int) -> None:
        if self._store.scripts.apart:
            await self._store.learn_days([partition], self._clock.now())
        await self._relay_left(partition)
        if marks := self._leases.suspects.pop(partition, None):
            try:
                await self._careful(partition, marks)
            except StoreError:
                self._leases.suspects.setdefault(partition, marks)
                raise

    def _lanes_of(self, partition: int) -> list[Hint]:
        return [(partition, account, lane) for account in self._turns.accounts for lane in ("hi", "lo")]

    async def _relay_left(self, partition: int) -> None:
        while waiting := await self._store.waiting_mail(partition):
            await self._store.deliver([(dst, partition, seq, s, d, b) for _, dst, seq, s, d, b in waiting])
            await self._store.forget_mail({partition: [entry for entry, *_ in waiting]})

    async def _careful(self, partition: int, marks: tuple[str, str]) -> None:
        """Runs what the dead owner had taken one entry at a time, each counted before it runs."""
        for lane, mark in zip("ib", marks, strict=True):
            suspect = True
            while suspect:
                taken, records = await self._store.take([partition], inbox=int(lane == "i"), bulk=int(lane == "b"))
                if not taken:
                    break
                one = taken[0]
                suspect = _entry_key(one.entry) <= _entry_key(mark)
                if suspect:
                    one.tries = await self._store.count_try(one)
                    if one.tries > len(BACK_OFF_S):
                        await self._bury(one, "the process died while handling it")
                        continue
                try:
                    await self._safely(taken, records)
                finally:  # whatever became of it, a store that is away included: it did not end this process
                    if suspect:
                        self._acquitted.setdefault(partition, []).append(one.entry)
        await self._acquit()

    async def _acquit(self) -> None:
        for partition, entries in list(self._acquitted.items()):
            await self._store.command("HDEL", keys.tries(partition), *entries)
            del self._acquitted[partition]

    # --- batches --------------------------------------------------------------------------------------------------

    async def _safely(self, taken: Sequence[Taken], raw: dict[str, bytes]) -> None:
        """A batch; if it breaks as a whole, each entry alone, so that the one at fault holds up nothing but its record."""
        try:
            await self._batch(taken, raw)
        except StoreError:
            raise
        except Exception:
            log.exception("batch failed", entries=len(taken))
            for one in taken:
                await self._alone(one)

    async def _alone(self, one: Taken) -> None:
        if any(one is parked for parked in self._parked.get(one.subject, ())):
            return
        try:
            await self._batch([one], {})
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  # as of a handler: tried again, then buried
            self._failed(one, error)

    async def _batch(self, taken: Sequence[Taken], raw: dict[str, bytes]) -> None:
        records: dict[str, Record | None] = {}
        wave, later = self._first_wave(taken)
        done: list[tuple[Taken, Run | None, Change]] = []
        fresh: set[bytes] = set()
        missing = {one.subject for one in taken if one.subject not in raw}
        if missing:
            found = await self._store.raw_records(missing)
            raw = {**raw, **found}
        while wave:
            runs = self._begin(wave, raw, records, done, fresh)
            await self._finish(runs, records, done)
            wave, later = self._first_wave(later)
        await self._commit(done)

    def _first_wave(self, taken: Sequence[Taken]) -> tuple[list[Taken], list[Taken]]:
        wave: dict[str, Taken] = {}
        later: list[Taken] = []
        for one in taken:
            if one.subject in self._parked:
                self._parked[one.subject].append(one)
            elif one.subject in wave:
                later.append(one)
            else:
                wave[one.subject] = one
        return list(wave.values()), later

    def _begin(
        self,
        wave: Sequence[Taken],
        raw: dict[str, bytes],
        records: dict[str, Record | None],
        done: list[tuple[Taken, Run | None, Change]],
        fresh: set[bytes],
    ) -> list[Run]:
        runs = []
        for one in wave:
            mark = one.digest + one.subject.encode() if one.digest else b""
            if one.seen or (mark and mark in fresh):
                child(TURNS, "repeated").inc()
                done.append((one, None, Change(one.partition, one.subject, one.lane, one.entry)))
                continue
            try:
                if one.subject not in records:
                    body = raw.get(one.subject, b"")
                    records[one.subject] = load_record(body) if body else None
                runs.append(self._turns.begin(one, records[one.subject], self._clock.now()))
                fresh.add(mark)
            except Exception as error:  # noqa: BLE001  # a handler's bug must not stop the lane
                records.pop(one.subject, None)
                self._failed(one, error)
        return runs

    async def _finish(
        self,
        runs: list[Run],
        records: dict[str, Record | None],
        done: list[tuple[Taken, Run | None, Change]],
    ) -> None:
        while waiting := [run for run in runs if run.open]:
            answers = await self._resolver.resolve(waiting)
            for run, given in zip(waiting, answers, strict=True):
                try:
                    self._turns.resume(run, given)
                except Exception as error:  # noqa: BLE001  # as above
                    runs.remove(run)
                    records.pop(run.taken.subject, None)
                    self._failed(run.taken, error)
        for run in runs:
            try:
                change = self._turns.finish(run)
            except Exception as error:  # noqa: BLE001  # as above
                records.pop(run.taken.subject, None)
                self._failed(run.taken, error)
                continue
            records[run.taken.subject] = run.record
            done.append((run.taken, run, change))

    async def _commit(self, done: Sequence[tuple[Taken, Run | None, Change]]) -> None:
        if not done:
            return
        changes = [change for _, _, change in done]
        since = self._clock.monotonic()
        asked = await self._ask_to_claim(changes)
        try:
            answers, claimed = await self._store.commit(changes, now=self._clock.now())
        except Exception:
            self._outgoing.unsure(asked)
            raise
        letters: list[tuple[int, int, int, str, bytes, bytes]] = []
        sources: dict[int, list[str]] = {}
        committed = []
        outcomes: Counter[Commit] = Counter()
        again = False
        for (_, run, change), (outcome, mails) in zip(done, answers, strict=True):
            outcomes[outcome] += 1
            if outcome is Commit.DONE:
                if run is not None:
                    committed.append(run)
                _collect(change, mails, letters, sources)
                for message in change.messages:
                    if message.state == "queued" and message.account and message.id not in claimed:
                        self._hints.add((change.partition, message.account, message.lane))
            elif outcome in (Commit.REFUSED, Commit.UNKNOWN):
                again = True
        for outcome, count in outcomes.items():
            child(TURNS, outcome.name.lower()).inc(count)
        if self._hints:
            self._wake_sender.set()
        silent = {
            change.partition for change, (outcome, _) in zip(changes, answers, strict=True) if outcome is Commit.UNKNOWN
        }
        self._outgoing.unsure([one for one in asked if one[0] in silent])
        for partition, message in asked:
            if message.id not in claimed and partition not in silent:
                self._outgoing.unused(message.account, 1)
        await self._outgoing.start([one for one in asked if one[1].id in claimed], since)
        if letters:
            await self._relay(letters, sources)
        if again:
            self.forget()  # read again from before them
        await self._resolver.settled(committed)

    async def _relay(
        self, letters: Sequence[tuple[int, int, int, str, bytes, bytes]], sources: dict[int, list[str]]
    ) -> None:
        """Delivers mail and forgets it. What cannot be delivered now holds up its source: later mail must not pass it."""
        try:
            await self._store.deliver(letters)
        except PartlyStoredError as error:
            for source in {letters[i][1] for i in error.failed}:
                self._unposted.add(source)
                sources.pop(source, None)
        try:
            await self._store.forget_mail(sources)
        except PartlyStoredError:
            self._unposted.update(sources)

    async def _ask_to_claim(self, changes: Sequence[Change]) -> list[tuple[int, QueuedMessage]]:
        """Marks the messages that may go out at once; their claim is part of the commit. Answers them.

        Marketing keeps to its queue: what a crash leaves claimed is in doubt, and marketing in doubt is never sent. So does
        any broadcast: it may be paused.
        """
        ready = [
            (change.partition, message)
            for change in changes
            for message in change.messages
            if message.state == "queued" and message.account and message.purpose != "marketing" and not message.bc
        ]
        if not ready:
            return []
        granted = await self._outgoing.reserve(Counter((message.account, message.lane) for _, message in ready))
        now, asked = self._clock.real(), []
        for partition, message in ready:
            if granted.get((message.account, message.lane), 0) > 0:
                granted[message.account, message.lane] -= 1
                message.claim_at = now
                asked.append((partition, message))
        return asked

    # --- failures -------------------------------------------------------------------------------------------------

    def _failed(self, taken: Taken, error: Exception) -> None:
        taken.tries += 1
        taken.error = places(error, 3)
        kind = "stored value" if isinstance(error, CodecError) else type(error).__name__
        log.error("turn failed", subject_kind=taken.subject.partition(":")[0], entry=taken.entry, tries=taken.tries,
                  error=kind, exc_info=error)  # fmt: skip
        waiting = self._parked.setdefault(taken.subject, deque())
        waiting.appendleft(taken)
        delay = BACK_OFF_S[min(taken.tries, len(BACK_OFF_S)) - 1]
        self._retry_at[taken.subject] = self._clock.monotonic() + delay

    def _unpark(self) -> list[Taken]:
        now = self._clock.monotonic()
        ready: list[Taken] = []
        for subject in [s for s, at in self._retry_at.items() if at <= now]:
            del self._retry_at[subject]
            waiting = self._parked.pop(subject)
            if waiting and waiting[0].partition not in self._store.fences:
                continue  # the new owner reads them
            if waiting[0].tries > len(BACK_OFF_S):
                self._backlog.append(waiting.popleft())
            ready.extend(waiting)
        return ready

    async def bury_failed(self) -> None:
        """Buries what failed too often. Called by the process's slow loop."""
        for one in list(self._backlog):
            await self._bury(one, f"failed after all attempts: {one.error}")
            if one in self._backlog:  # it may have been forgotten meanwhile
                self._backlog.remove(one)

    async def _bury(self, taken: Taken, why: str) -> None:
        letter = await self._store.bury(taken, why, self._clock.now())
        if letter:
            BURIED.inc()
            log.error("buried", dead_letter=f"{taken.partition}/{letter}", why=why, entry=taken.entry)


def _collect(
    change: Change,
    mails: Sequence[tuple[str, int]],
    letters: list[tuple[int, int, int, str, bytes, bytes]],
    sources: dict[int, list[str]],
) -> None:
    for letter, (entry, sequence) in zip(change.mails, mails, strict=True):
        letters.append((letter.partition, change.partition, sequence, letter.subject, letter.digest, letter.body))
        sources.setdefault(change.partition, []).append(entry)


def _entry_key(entry: str) -> tuple[int, int]:
    """Stream ids compare as pairs of numbers, not as text."""
    ms, _, seq = entry.partition("-")
    return int(ms or 0), int(seq or 0)
