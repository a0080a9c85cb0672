"""The engine's store: one method per script, each for a whole batch. Knows Redis; knows nothing of channels or wording.

Every method raises StoreError when Redis is away or full. Reads are plain commands; work is moved by scripts alone, so
that what a crash leaves behind is always a whole step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from bot import ids, keys
from bot.change import Change, Claimed, Commit, Settlement, Taken
from bot.clock import DAY_MS
from bot.codec import CodecError, load_event, load_record
from bot.events import BroadcastDue, Event, Forwarded, Ms
from bot.records import Link, Record
from bot.redis_client import Scripts, as_store_error, is_away
from bot.subjects import partition_of

SEEN_DAYS = 9
SMALL_BATCH = 24
GATHER_S = 0.001  # below a small batch, a moment for more to gather: a script call costs the same for one or ten
Hint = tuple[int, str, str]
"""Where something became ready to send: partition, account, lane."""


class Store:
    """Redis, as the engine uses it."""

    def __init__(self, client: aioredis.Redis, partitions: int, owner: str) -> None:
        self.client = client
        self.partitions = partitions
        self.owner = owner
        self.scripts = Scripts(client)
        self.fences: dict[int, int] = {}
        self.cursors: dict[int, list[str]] = {}
        self.dirty: set[int] = set()  # partitions that this process knows to have new entries
        self.seen_days: dict[int, set[int]] = {}  # days for which an owned partition holds digests

    def partition(self, subject: str) -> int:
        """A subject's partition."""
        return partition_of(subject, self.partitions)

    # --- intake ---------------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[tuple[str, bytes, bytes]], *, lane: str = "i", replicas: int = 0) -> None:
        """Takes in (subject, digest, encoded event), durable when this returns. Refused whole when memory is full."""
        name = keys.inbox if lane == "i" else keys.bulk
        partitions = [self.partition(subject) for subject, _, _ in entries]
        args = [part for entry in entries for part in entry]
        await self.scripts.run("append", [name(p) for p in partitions], args, replicas=replicas)
        self.dirty.update(partitions)

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
        partitions = list(wishes)
        found = await self.scripts.run(
            "lease", [keys.lease(p) for p in partitions], [self.owner, ttl_ms, most, *(wishes[p] for p in partitions)]
        )
        return {
            p: (int(fence), inbox.decode(), bulk.decode())
            for p, (fence, inbox, bulk) in zip(partitions, found, strict=True)
        }

    # --- turns ----------------------------------------------------------------------------------------------------

    async def learn_days(self, partitions: Iterable[int], now: Ms) -> None:
        """Finds out for which of the last days newly owned partitions hold digests."""
        today = now // DAY_MS
        days = range(today, today - SEEN_DAYS, -1)
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
        names = [keys.inbox(p) for p in partitions] + [keys.bulk(p) for p in partitions]
        marks = [self.cursors[p][0] for p in partitions] + [self.cursors[p][1] for p in partitions]
        block = ["BLOCK", block_ms] if block_ms else []
        found = await self.command("XREAD", "COUNT", 1, *block, "STREAMS", *names, *marks)
        for name, _ in found or ():
            self.dirty.add(int(name.partition(b"{p")[2].partition(b"}")[0]))

    async def take(self, partitions: Sequence[int], *, inbox: int, bulk: int) -> tuple[list[Taken], dict[str, bytes]]:
        """Unread entries of owned partitions (at most so many per lane) and the records that they are about."""
        if not partitions:
            return [], {}
        args: list[Any] = [inbox, bulk]
        for p in partitions:
            days = self.seen_days.get(p, ())
            args += [keys.tag(p), self.fences[p], *self.cursors[p], len(days), *days]
        entries, records = await self.scripts.run("take", [keys.lease(p) for p in partitions], args)
        taken = []
        for index, lane, entry, subject, digest, seen, body, timer, due in entries:
            p = partitions[index - 1]
            one = lane.decode()
            id = entry.decode()
            self.cursors[p][0 if one == "i" else 1] = id
            taken.append(
                Taken(p, one, id, subject.decode(), digest, bool(seen), body, timer.decode(), int(float(due or b"0")))
            )
        return taken, {subject.decode(): body for _, subject, body in records}

    async def commit(
        self, changes: Sequence[Change], *, now: Ms
    ) -> tuple[list[tuple[Commit, list[tuple[str, int]]]], set[str]]:
        """Commits turns in order. Answers per turn, with the (entry, sequence) of each mail it posted.

        Second, the ids of the messages that were claimed for sending as they asked for by `claim_at`.
        """
        partitions = sorted({change.partition for change in changes})
        position = {p: i + 1 for i, p in enumerate(partitions)}
        args: list[Any] = [now // DAY_MS, len(changes)]
        for p in partitions:
            args += [keys.tag(p), self.fences.get(p, 0)]
        for change in changes:
            turn = _turn_args(change, position[change.partition])
            args.append(len(turn))
            args += turn
        found, claimed = await self.scripts.run("commit", [keys.lease(p) for p in partitions], args)
        for p in partitions:
            self._seen_today(p, now // DAY_MS)
        turns = [
            (Commit(int(answer[0])), [(answer[i].decode(), int(answer[i + 1])) for i in range(1, len(answer), 2)])
            for answer in found
        ]
        return turns, {id.decode() for id in claimed}

    def _seen_today(self, partition: int, today: int) -> None:
        days = self.seen_days.setdefault(partition, set())
        if today not in days:
            days.add(today)
            days.intersection_update(range(today - SEEN_DAYS + 1, today + 1))

    async def deliver(self, letters: Sequence[tuple[int, int, int, str, bytes, bytes]]) -> None:
        """Relays mail (destination, source, sequence, subject, digest, body) to the inboxes of their destinations."""
        if letters:
            args: list[Any] = []
            for dst, src, sequence, subject, digest, body in letters:
                args += [keys.tag(dst), keys.tag(src), sequence, subject, digest, body]
            await self.scripts.run("deliver", [keys.inbox(letter[0]) for letter in letters], args)
            self.dirty.update(letter[0] for letter in letters)

    async def forget_mail(self, entries: Mapping[int, Sequence[str]]) -> None:
        """Deletes relayed mail at its sources, in one call."""
        pairs = [(keys.mail(p), entry) for p, relayed in entries.items() for entry in relayed]
        if pairs:
            await self.scripts.run("unpost", [name for name, _ in pairs], [entry for _, entry in pairs])

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
        args = [taken.entry, error, taken.tries, now, keys.tag(taken.partition), _passed_on(taken.body), held]
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

    # --- sending --------------------------------------------------------------------------------------------------

    async def pull(self, wishes: Sequence[tuple[int, str, str, int]], *, now: Ms, virtual: Ms = 0) -> list[Claimed]:
        """Claims ready messages by (partition, account, lane, at most); the claim is durable when this returns."""
        wishes = [wish for wish in wishes if wish[0] in self.fences]
        if not wishes:
            return []
        partitions = sorted({wish[0] for wish in wishes})
        position = {p: i + 1 for i, p in enumerate(partitions)}
        args: list[Any] = [now, virtual or now, len(wishes)]
        for p in partitions:
            args += [keys.tag(p), self.fences[p]]
        for p, account, lane, most in wishes:
            args += [position[p], account, lane, most]
        found = await self.scripts.run("pull", [keys.lease(p) for p in partitions], args)
        return [
            Claimed(partitions[k - 1], id.decode(), int(attempt), body, tries=int(tries), doubts=int(doubts))
            for id, attempt, body, k, tries, doubts in found
        ]

    async def ready_lanes(self, accounts: Sequence[str]) -> set[Hint]:
        """The lanes of owned partitions that hold something ready."""
        partitions = list(self.fences)
        if not partitions or not accounts:
            return set()
        args = [len(accounts), *accounts, *(keys.tag(p) for p in partitions)]
        found = await self.scripts.run("ready", [keys.lease(p) for p in partitions], args)
        return {(partitions[k - 1], account.decode(), lane.decode()) for k, account, lane in found}

    async def settle(self, items: Sequence[Settlement], *, today: Ms) -> set[Hint]:
        """Writes the outcomes of provider calls (`today` is any time of the virtual day); answers what became ready."""
        args: list[Any] = [today // DAY_MS]
        for item in items:
            args += [keys.tag(item.partition), item.id, item.attempt, item.state, item.reason, item.provider]
            args += [
                item.again_at or "",
                item.hold_until or "",
                "1" if item.unread else "",
                item.at,
                item.journal,
                item.parts or "",
            ]
        found = await self.scripts.run("settle", [keys.sending(item.partition) for item in items], args)
        hints: set[Hint] = set()
        for item, answer in zip(items, found, strict=True):
            for i in range(1, len(answer), 2):
                hints.add((item.partition, answer[i].decode(), answer[i + 1].decode()))
        return hints

    async def pump(
        self, *, now: Ms, real: Ms, left_behind: Ms, most: int = 500
    ) -> tuple[int, set[Hint], list[tuple[int, str]]]:
        """Moves due timers and waits of all owned partitions; answers how many, what became ready, sends left behind."""
        partitions = list(self.fences)
        if not partitions:
            return 0, set(), []
        args: list[Any] = [now, real, left_behind, most, *(keys.tag(p) for p in partitions)]
        moved, ready, behind = await self.scripts.run("pump", [keys.timers(p) for p in partitions], args)
        hints = {(partitions[k - 1], account.decode(), lane.decode()) for k, account, lane in ready}
        return int(moved), hints, [(partitions[k - 1], id.decode()) for k, id in behind]

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

    # --- reading --------------------------------------------------------------------------------------------------

    async def seen(self, events: Sequence[Event], *, now: Ms) -> list[bool]:
        """Whether each event was handled in the last days."""
        today = now // DAY_MS
        marks = [(self.partition(event.subject), ids.digest(event.id)) for event in events]
        days = range(today, today - SEEN_DAYS, -1)
        found = await self.together([("SISMEMBER", keys.seen(p, day), mark) for p, mark in marks for day in days])
        return [any(found[i : i + SEEN_DAYS]) for i in range(0, len(found), SEEN_DAYS)]

    async def together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Several plain commands in one round trip, their answers in order."""
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            return list(await pipe.execute()) if commands else []
        except (TimeoutError, RedisError, OSError) as error:
            raise as_store_error(error) from error

    async def command(self, *args: Any) -> Any:
        """One plain command with the store's errors."""
        try:
            return await self.client.execute_command(*args)
        except (TimeoutError, RedisError, OSError) as error:
            if is_away(error):
                raise as_store_error(error) from error
            raise

    async def record(self, subject: str) -> Record | None:
        """The record at a subject, links not followed."""
        found = await self.command("GET", keys.record(self.partition(subject), subject))
        return load_record(found) if found else None

    async def records(self, subjects: Iterable[str]) -> dict[str, Record]:
        """The records of several subjects (those that exist)."""
        names = list(dict.fromkeys(subjects))
        if not names:
            return {}
        found = await self.command("MGET", *(keys.record(self.partition(s), s) for s in names))
        return {subject: load_record(body) for subject, body in zip(names, found, strict=True) if body}

    async def raw_records(self, subjects: Iterable[str]) -> dict[str, bytes]:
        """The stored form of several records; b"" where there is none."""
        names = list(subjects)
        found = await self.command("MGET", *(keys.record(self.partition(s), s) for s in names))
        return {subject: body or b"" for subject, body in zip(names, found, strict=True)}

    async def resolve(self, subject: str) -> Record | None:
        """The record at a subject, links followed (at most 8)."""
        for _ in range(8):
            record = await self.record(subject)
            if not isinstance(record, Link):
                return record
            subject = record.home
        return None


def _passed_on(body: bytes) -> str:
    """The broadcast of an event that a link or a merge passed on, "" for any other."""
    try:
        event = load_event(body)
        while isinstance(event.body, Forwarded):
            event = load_event(event.body.event)
    except CodecError:
        return ""
    due = event.body
    return due.broadcast if isinstance(due, BroadcastDue) and due.moved else ""


def _turn_args(change: Change, position: int) -> list[Any]:
    args: list[Any] = [
        position,
        change.lane,
        change.entry,
        change.digest,
        change.subject,
        change.record,
        change.journal,
        len(change.timers),
    ]
    for timer in change.timers:
        args += timer
    args.append(len(change.messages))
    for m in change.messages:
        args += [m.id, m.account, m.to, m.lane, m.state, m.reason, m.created_at, m.purpose, m.body]
        args += [m.claim_at or "", m.bc]
    args.append(len(change.mails))
    for letter in change.mails:
        args += [keys.tag(letter.partition), letter.subject, letter.digest, letter.body, "i"]
    args.append(len(change.index))
    for pair in change.index:
        args += pair
    args.append(len(change.tasks))
    for task in change.tasks:
        args += task
    args.append(len(change.statuses))
    for s in change.statuses:
        args += [s.how, s.what, s.state, s.at, s.reason, s.provider, s.parts or ""]
    args.append(len(change.rows))
    for row in change.rows:
        args += row
    return args
