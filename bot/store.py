"""The engine's store: one method per script, each for a whole batch. Knows Redis; knows nothing of channels or wording.

Every method raises StoreError when Redis is away or full. Reads are plain commands (bot.keyspace); work is moved by scripts
alone, so that what a crash leaves behind is always a whole step.

On one server a call takes the keys of many partitions: that is what makes it fast. On a cluster each partition is a slot:
the calls are split by partition and run side by side (`_split`), and what a server that is away holds is left out of the
answer, so that the others' work goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis.asyncio as aioredis

from bot import ids, keys
from bot.change import Change, Claimed, Commit, Settlement, Taken
from bot.clock import DAY_MS
from bot.errors import PartlyStoredError, StoreError
from bot.events import Event, Ms
from bot.keyspace import Keyspace
from bot.redis_client import Scripts
from bot.storeargs import outcome_args, passed_on, turn_args

SEEN_DAYS = 9
SMALL_BATCH = 24
LOOK_S = 0.05  # on a cluster, how often an idle process looks for what others wrote
GATHER_S = 0.001  # below a small batch, a moment for more to gather: a script call costs the same for one or ten
Hint = tuple[int, str, str]
"""Where something became ready to send: partition, account, lane."""


class Store(Keyspace):
    """Redis, as the engine uses it."""

    def __init__(self, client: aioredis.Redis, partitions: int, owner: str, *, replicas: int = 0) -> None:
        super().__init__(client, partitions)
        self.owner = owner
        self.scripts = Scripts(client, replicas=replicas)
        self.fences: dict[int, int] = {}
        self.cursors: dict[int, list[str]] = {}
        self.dirty: set[int] = set()  # partitions that this process knows to have new entries
        self.seen_days: dict[int, set[int]] = {}  # days for which an owned partition holds digests
        self.news = asyncio.Event()  # this process wrote something into a lane

    # --- intake ---------------------------------------------------------------------------------------------------

    async def append(
        self, entries: Sequence[tuple[str, bytes, bytes]], *, lane: str = "i", replicas: int | None = None
    ) -> None:
        """Takes in (subject, digest, encoded event), durable when this returns. Refused whole when memory is full.

        On a cluster PartlyStoredError says which were not taken in, where others were.
        """
        name = keys.inbox if lane == "i" else keys.bulk
        partitions = [self.partition(subject) for subject, _, _ in entries]
        if self._cluster is None:
            args = [part for entry in entries for part in entry]
            await self.scripts.run("append", [name(p) for p in partitions], args, replicas=replicas)
            self.dirty.update(partitions)
            return
        groups = self._split(partitions)
        calls = [([name(partitions[i]) for i in g], [part for i in g for part in entries[i]]) for g in groups]
        answers = await self.scripts.each("append", calls, replicas=replicas)
        self.dirty.update(partitions)
        self.news.set()
        _raise_partly(groups, answers)

    def _split(self, partitions: Sequence[int]) -> Sequence[Sequence[int]]:
        """The positions that go into one call each: all of them, or on a cluster those of each partition, in order."""
        if self._cluster is None:
            return (range(len(partitions)),)
        groups: dict[int, list[int]] = {}
        for i, p in enumerate(partitions):
            groups.setdefault(p, []).append(i)
        return list(groups.values())

    def _together(self, partitions: Iterable[int]) -> list[list[int]]:
        """Different partitions, by call: all in one, or on a cluster each in its own."""
        return [list(partitions)] if self._cluster is None else [[p] for p in partitions]

    # --- leases ---------------------------------------------------------------------------------------------------

    async def beat(self, ttl_ms: int) -> int:
        """Says that this process lives; answers how many do."""
        return int(await self.scripts.run("beat", [keys.PROCESSES], [self.owner, ttl_ms]))

    async def lease(self, wishes: Mapping[int, str], ttl_ms: int, most: int = 1000) -> dict[int, tuple[int, str, str]]:
        """Keeps or takes ("k", at most `most` new ones) or gives back ("x") partitions.

        Answers fence (0: not ours) and a former owner's marks.
        """
        if not wishes:
            return {}
        if self._cluster is None:
            return await self._lease(list(wishes), wishes, ttl_ms, most)
        # Each partition's server counts for itself, so the room is given out here: first to what is held already.
        kept = [p for p in wishes if wishes[p] == "x" or p in self.fences]
        others = [p for p in wishes if p not in kept]
        answers = await self._lease(kept, wishes, ttl_ms, 1)
        room = most - sum(wishes[p] == "k" for p in kept)
        while others and room > 0:
            part, others = others[:room], others[room:]
            found = await self._lease(part, wishes, ttl_ms, 1)
            room -= sum(fence > 0 for fence, _, _ in found.values())
            answers.update(found)
        return answers

    async def _lease(
        self, partitions: Sequence[int], wishes: Mapping[int, str], ttl_ms: int, most: int
    ) -> dict[int, tuple[int, str, str]]:
        groups = self._together(partitions) if partitions else []
        calls = [([keys.lease(p) for p in g], [self.owner, ttl_ms, most, *(wishes[p] for p in g)]) for g in groups]
        answers = await self.scripts.each("lease", calls)
        return {
            p: (int(fence), inbox.decode(), bulk.decode())
            for g, found in zip(groups, answers, strict=True)
            if not isinstance(found, StoreError)
            for p, (fence, inbox, bulk) in zip(g, found, strict=True)
        }

    # --- turns ----------------------------------------------------------------------------------------------------

    async def learn_days(self, partitions: Iterable[int], now: Ms) -> None:
        """Finds out for which of the last days newly owned partitions hold digests."""
        today = now // DAY_MS
        days = range(today + 1, today - SEEN_DAYS, -1)  # tomorrow's: the clock may have been put back over midnight
        wanted = [(p, day) for p in partitions for day in days]
        found = await self.together([("EXISTS", keys.seen(p, day)) for p, day in wanted])
        for (p, day), there in zip(wanted, found, strict=True):
            held = self.seen_days.setdefault(p, set())
            if there:
                held.add(day)

    async def look(self, partitions: Sequence[int], *, block_ms: int = 0) -> None:
        """Marks which of the owned partitions hold unread entries; waits up to `block_ms` for the first."""
        if not partitions:
            return
        if self._cluster is not None:
            await self._look_apart(partitions, block_ms)
            return
        names = [keys.inbox(p) for p in partitions] + [keys.bulk(p) for p in partitions]
        marks = [self.cursors[p][0] for p in partitions] + [self.cursors[p][1] for p in partitions]
        block = ["BLOCK", block_ms] if block_ms else []
        found = await self.command("XREAD", "COUNT", 1, *block, "STREAMS", *names, *marks)
        for name, _ in found or ():
            self.dirty.add(int(name.partition(b"{p")[2].partition(b"}")[0]))

    async def _look_apart(self, partitions: Sequence[int], block_ms: int) -> None:
        """On a cluster no one command waits for several slots: they are looked at in turn, own news at once."""
        end = time.monotonic() + block_ms / 1000
        while True:
            self.news.clear()
            looks = [
                ("XREAD", "COUNT", 1, "STREAMS", keys.inbox(p), keys.bulk(p), *self.cursors[p])
                for p in partitions
                if p in self.cursors
            ]
            found = await self._answers(looks)
            if looks and all(isinstance(answer, StoreError) for answer in found):
                raise found[0]
            for answer in found:
                for name, _ in (answer or ()) if not isinstance(answer, StoreError) else ():
                    self.dirty.add(int(name.partition(b"{p")[2].partition(b"}")[0]))
            left = end - time.monotonic()
            if self.dirty or left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), min(left, LOOK_S))

    async def take(self, partitions: Sequence[int], *, inbox: int, bulk: int) -> tuple[list[Taken], dict[str, bytes]]:
        """Unread entries of owned partitions (at most so many per lane) and the records that they are about.

        Partitions may be given back meanwhile: what was read there is left to the next owner.
        """
        fences = {p: self.fences[p] for p in partitions if p in self.fences}
        partitions = [p for p in partitions if p in fences]
        if not partitions:
            return [], {}
        groups, calls = self._together(partitions), []
        for g in groups:
            args: list[Any] = [-(-inbox // len(groups)), -(-bulk // len(groups))]
            for p in g:
                days = self.seen_days.get(p, ())
                args += [keys.tag(p), fences[p], *self.cursors[p], len(days), *days]
            calls.append(([keys.lease(p) for p in g], args))
        taken, bodies = list[Taken](), dict[str, bytes]()
        for g, answer in zip(groups, await self.scripts.each("take", calls), strict=True):
            if isinstance(answer, StoreError):
                continue  # read when its server is back: the marks are where they were
            entries, records = answer
            for index, lane, entry, subject, digest, seen, body, timer, due in entries:
                p = g[index - 1]
                if self.fences.get(p) != fences[p]:
                    continue
                one = lane.decode()
                id = entry.decode()
                self.cursors[p][0 if one == "i" else 1] = id
                at = int(float(due or b"0"))
                taken.append(Taken(p, one, id, subject.decode(), digest, bool(seen), body, timer.decode(), at))
            bodies.update((subject.decode(), body) for _, subject, body in records)
        return taken, bodies

    async def commit(
        self, changes: Sequence[Change], *, now: Ms
    ) -> tuple[list[tuple[Commit, list[tuple[str, int]]]], set[str]]:
        """Commits turns in order. Answers per turn, with the (entry, sequence) of each mail it posted.

        Second, the ids of the messages that were claimed for sending as they asked for by `claim_at`. On a cluster, turns
        whose server gave no answer are UNKNOWN; on one server that is a StoreError.
        """
        groups = self._split([change.partition for change in changes])
        calls = [self._commit_call([changes[i] for i in g], now // DAY_MS) for g in groups]
        turns: list[tuple[Commit, list[tuple[str, int]]]] = [(Commit.UNKNOWN, [])] * len(changes)
        all_claimed: set[str] = set()
        for g, answer in zip(groups, await self.scripts.each("commit", calls), strict=True):
            for p in {changes[i].partition for i in g}:
                self._seen_today(p, now // DAY_MS)
            if isinstance(answer, StoreError):
                continue
            found, claimed = answer
            for i, one in zip(g, found, strict=True):
                turns[i] = (Commit(int(one[0])), [(one[k].decode(), int(one[k + 1])) for k in range(1, len(one), 2)])
            all_claimed.update(id.decode() for id in claimed)
        return turns, all_claimed

    def _commit_call(self, changes: Sequence[Change], today: int) -> tuple[list[str], list[Any]]:
        partitions = sorted({change.partition for change in changes})
        position = {p: i + 1 for i, p in enumerate(partitions)}
        args: list[Any] = [today, len(changes)]
        for p in partitions:
            args += [keys.tag(p), self.fences.get(p, 0)]
        for change in changes:
            turn = turn_args(change, position[change.partition])
            args.append(len(turn))
            args += turn
        return [keys.lease(p) for p in partitions], args

    def _seen_today(self, partition: int, today: int) -> None:
        days = self.seen_days.setdefault(partition, set())
        if today not in days:
            days.add(today)
            days.intersection_update(range(today - SEEN_DAYS + 1, today + 2))

    async def deliver(self, letters: Sequence[tuple[int, int, int, str, bytes, bytes]]) -> None:
        """Relays mail (destination, source, sequence, subject, digest, body) to the inboxes of their destinations.

        On a cluster PartlyStoredError says which were not delivered, where others were.
        """
        if letters:
            groups = self._split([letter[0] for letter in letters])
            calls = []
            for g in groups:
                args: list[Any] = []
                for dst, src, sequence, subject, digest, body in (letters[i] for i in g):
                    args += [keys.tag(dst), keys.tag(src), sequence, subject, digest, body]
                calls.append(([keys.inbox(letters[i][0]) for i in g], args))
            answers = await self.scripts.each("deliver", calls)
            self.dirty.update(letter[0] for letter in letters)
            _raise_partly(groups, answers)

    async def forget_mail(self, entries: Mapping[int, Sequence[str]]) -> None:
        """Deletes relayed mail at its sources, in one call."""
        pairs = [(keys.mail(p), entry) for p, relayed in entries.items() for entry in relayed]
        if pairs:
            groups = self._split([p for p, relayed in entries.items() for _ in relayed])
            calls = [([pairs[i][0] for i in g], [pairs[i][1] for i in g]) for g in groups]
            _raise_partly(groups, await self.scripts.each("unpost", calls))

    async def waiting_mail(self, partition: int, limit: int = 500) -> list[tuple[str, int, int, str, bytes, bytes]]:
        """Mail not yet relayed: (entry, destination, sequence, subject, digest, body)."""
        found = await self.command("XRANGE", keys.mail(partition), "-", "+", "COUNT", limit)
        out = []
        for entry, f in found:
            dst = int(f[b"t"].strip(b"{p}"))
            out.append((entry.decode(), dst, int(f[b"q"]), f[b"s"].decode(), f[b"d"], f[b"b"]))
        return out

    async def count_try(self, taken: Taken) -> int:
        """Counts an attempt at a suspect entry before it runs; answers how many there were with this one."""
        return await self.count(keys.tries(taken.partition), taken.entry)

    async def count(self, name: str, field: str = "") -> int:
        """Counts a counter, or a field of a hash, one up; works while memory is full."""
        return int(await self.scripts.run("count", [name], [field]))

    async def tell(self, name: str, field: str | bytes, value: str | bytes | int) -> None:
        """Sets a field of a small hash; works while memory is full."""
        await self.scripts.run("tell", [name], [field, value])

    async def tell_all(self, name: str, fields: Mapping[Any, str | bytes | int]) -> None:
        """Sets several fields of a small hash; works while memory is full."""
        if fields:
            await self.scripts.run("tell", [name], [part for pair in fields.items() for part in pair])

    async def bury(self, taken: Taken, error: str, now: Ms) -> str:
        """Moves a poisoned entry to the dead letters; answers the dead letter's id."""
        stream = keys.inbox(taken.partition) if taken.lane == "i" else keys.bulk(taken.partition)
        names = [stream, keys.dead(taken.partition), keys.tries(taken.partition)]
        held = taken.timer.removeprefix("wait:") if taken.timer.startswith("wait:m_") else ""
        args = [taken.entry, error, taken.tries, now, keys.tag(taken.partition), passed_on(taken.body), held]
        found = await self.scripts.run("bury", names, args)
        return str(found.decode())

    async def plan(
        self,
        partition: int,
        broadcast: str,
        cursor: str,
        following: str,
        entries: Sequence[tuple[str, bytes]],
        *,
        last: bool,
    ) -> int:
        """Appends recipients (subject, encoded event) to the bulk lane and moves the broadcast's cursor, in one step.

        Answers 1 done, 0 not ours, 2 the cursor is elsewhere, 3 paused or cancelled. Refused whole when memory is full.
        """
        names = [keys.lease(partition), keys.broadcast(partition, broadcast), keys.bulk(partition)]
        args: list[Any] = [
            self.fences.get(partition, 0),
            cursor,
            following,
            "1" if last else "",
            broadcast,
            len(entries),
        ]
        args += [part for entry in entries for part in entry]
        result, *_ = await self.scripts.run("broadcast_plan", names, args)
        if entries:
            self.dirty.add(partition)
        return int(result)

    async def pass_over(
        self,
        partition: int,
        broadcast: str,
        cursor: str,
        following: str,
        entries: Sequence[bytes],
        variants: Mapping[str, int],
        *,
        last: bool,
    ) -> int:
        """Counts and tells (`entries` of the journal) recipients of a cancelled broadcast, and moves its cursor, in one step.

        `variants`: how many of them would have read which. Answers 1 done, 0 not ours, 2 the cursor is elsewhere, 3 not cancelled.
        """
        names = [keys.lease(partition), keys.broadcast(partition, broadcast), keys.journal(partition)]
        args: list[Any] = [self.fences.get(partition, 0), cursor, following, "1" if last else ""]
        args += [sum(variants.values()), len(entries), *entries]
        args += [part for pair in variants.items() for part in pair]
        return int(await self.scripts.run("broadcast_unplanned", names, args))

    # --- sending --------------------------------------------------------------------------------------------------

    async def pull(self, wishes: Sequence[tuple[int, str, str, int]], *, now: Ms, virtual: Ms = 0) -> list[Claimed]:
        """Claims ready messages by (partition, account, lane, at most); the claim is durable when this returns."""
        wishes = [wish for wish in wishes if wish[0] in self.fences]
        if not wishes:
            return []
        groups, calls = self._split([wish[0] for wish in wishes]), []
        for g in groups:
            position = {p: i + 1 for i, p in enumerate(sorted({wishes[i][0] for i in g}))}
            args: list[Any] = [now, virtual or now, len(g)]
            for p in position:
                args += [keys.tag(p), self.fences[p]]
            for p, account, lane, most in (wishes[i] for i in g):
                args += [position[p], account, lane, most]
            calls.append(([keys.lease(p) for p in position], args))
        answers = await self.scripts.each("pull", calls)
        return [
            Claimed(
                sorted({wishes[i][0] for i in g})[k - 1],
                id.decode(),
                int(attempt),
                body,
                tries=int(tries),
                doubts=int(doubts),
            )
            for g, found in zip(groups, answers, strict=True)
            if not isinstance(
                found, StoreError
            )  # what it may have claimed is found by the pump, as of a sender that died
            for id, attempt, body, k, tries, doubts in found
        ]

    async def ready_lanes(self, accounts: Sequence[str]) -> set[Hint]:
        """The lanes of owned partitions that hold something ready."""
        partitions = list(self.fences)
        if not partitions or not accounts:
            return set()
        groups = self._together(partitions)
        calls = [([keys.lease(p) for p in g], [len(accounts), *accounts, *map(keys.tag, g)]) for g in groups]
        answers = await self.scripts.each("ready", calls)
        return {
            (g[k - 1], account.decode(), lane.decode())
            for g, found in zip(groups, answers, strict=True)
            if not isinstance(found, StoreError)
            for k, account, lane in found
        }

    async def settle(self, items: Sequence[Settlement], *, today: Ms) -> set[Hint]:
        """Writes the outcomes of provider calls (`today` is any time of the virtual day); answers what became ready.

        On a cluster PartlyStoredError says which were not written, where others were, and what became ready of those.
        """
        groups = self._split([item.partition for item in items])
        calls = []
        for g in groups:
            some = items if len(g) == len(items) else [items[i] for i in g]
            args: list[Any] = [today // DAY_MS]
            for item in some:
                args += outcome_args(item)
            calls.append(([keys.sending(item.partition) for item in some], args))
        answers = await self.scripts.each("settle", calls)
        hints: set[Hint] = set()
        for g, found in zip(groups, answers, strict=True):
            if isinstance(found, StoreError):
                continue
            for i, answer in zip(g, found, strict=True):
                for k in range(1, len(answer), 2):
                    hints.add((items[i].partition, answer[k].decode(), answer[k + 1].decode()))
        _raise_partly(groups, answers, hints)
        return hints

    async def pump(
        self, *, now: Ms, real: Ms, left_behind: Ms, most: int = 500
    ) -> tuple[int, set[Hint], list[tuple[int, str]]]:
        """Moves due timers and waits of all owned partitions; answers how many, what became ready, sends left behind."""
        partitions = list(self.fences)
        if not partitions:
            return 0, set(), []
        groups = self._together(partitions)
        calls = [([keys.timers(p) for p in g], [now, real, left_behind, most, *map(keys.tag, g)]) for g in groups]
        total, hints, left = 0, set[Hint](), list[tuple[int, str]]()
        for g, answer in zip(groups, await self.scripts.each("pump", calls), strict=True):
            if isinstance(answer, StoreError):
                continue
            moved, ready, behind = answer
            total += int(moved)
            hints.update((g[k - 1], account.decode(), lane.decode()) for k, account, lane in ready)
            left += [(g[k - 1], id.decode()) for k, id in behind]
        if total and self._cluster is not None:
            self.news.set()
            self.dirty.update(partitions)
        return total, hints, left

    async def allowance(
        self, account: str, wanted: int, per_second: float, *, burst_s: float = 0.05, owed: int = 0
    ) -> tuple[int, int]:
        """How many of the wanted units an account's rate allows now, and the wait in ms if none.

        `owed` were taken beyond what was given before: they are paid first.
        """
        interval = max(1, int(1_000_000 / per_second))
        burst = max(interval, int(burst_s * 1_000_000))
        given, wait = await self.scripts.run("limit", [keys.rate(account)], [wanted, interval, burst, owed])
        return int(given), int(wait)

    async def seen(self, events: Sequence[Event], *, now: Ms) -> list[bool]:
        """Whether each event was handled in the last days."""
        today = now // DAY_MS
        marks = [(self.partition(event.subject), ids.digest(event.id)) for event in events]
        days = range(today, today - SEEN_DAYS, -1)
        found = await self.together([("SISMEMBER", keys.seen(p, day), mark) for p, mark in marks for day in days])
        return [any(found[i : i + SEEN_DAYS]) for i in range(0, len(found), SEEN_DAYS)]


def _raise_partly(groups: Sequence[Sequence[int]], answers: Sequence[Any], hints: Iterable[Hint] = ()) -> None:
    failed = [(g, answer) for g, answer in zip(groups, answers, strict=True) if isinstance(answer, StoreError)]
    if failed:
        raise PartlyStoredError(str(failed[0][1]), frozenset(i for g, _ in failed for i in g), frozenset(hints))
