"""The keys of the store, read plainly: commands of one key each, records and links, on one server or on a cluster.

Every method raises StoreError when Redis is away. Work is moved by scripts alone: see bot.store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from bot import keys
from bot.codec import load_record
from bot.errors import StoreError
from bot.records import Link, Record
from bot.redis_cluster import ClusterClient
from bot.redis_wire import as_store_error, is_away
from bot.subjects import partition_of


class Keyspace:
    """Where everything is, and what is there now."""

    def __init__(self, client: aioredis.Redis, partitions: int) -> None:
        self.client = client
        self.partitions = partitions
        self._cluster = client if isinstance(client, ClusterClient) else None

    def partition(self, subject: str) -> int:
        """A subject's partition."""
        return partition_of(subject, self.partitions)

    async def together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Several plain commands of one key each in one round trip (one a server), their answers in order."""
        if self._cluster is not None:
            found = await self._answers(commands)
            for answer in found:
                if isinstance(answer, StoreError):
                    raise answer
            return found
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            return list(await pipe.execute()) if commands else []
        except (TimeoutError, RedisError, OSError) as error:
            raise as_store_error(error) from error

    async def _answers(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """On a cluster: the answers as the servers gave them, a StoreError in the place of a failure."""
        assert self._cluster is not None  # of its callers
        found = await self._cluster.side_by_side(commands)
        return [
            as_store_error(answer) if isinstance(answer, Exception) else self._cluster.parsed(command, answer)
            for command, answer in zip(commands, found, strict=True)
        ]

    async def unless_away(self, work: Awaitable[object]) -> bool:
        """Whether it was done. False where its server of a cluster is away: the others' goes on. On one server StoreError."""
        try:
            await work
        except StoreError:
            if self._cluster is None:
                raise
            return False
        return True

    async def command(self, *args: Any) -> Any:
        """One plain command with the store's errors."""
        try:
            return await self.client.execute_command(*args)
        except (TimeoutError, RedisError, OSError) as error:
            if is_away(error):
                raise as_store_error(error) from error
            raise

    async def servers(self, *args: Any) -> list[Any]:
        """A command's answer of every server that holds data: one, or the primaries of a cluster."""
        if self._cluster is None:
            return [await self.command(*args)]
        try:
            return await self._cluster.on_primaries(*args)
        except (TimeoutError, RedisError, OSError) as error:
            if is_away(error):
                raise as_store_error(error) from error
            raise

    async def scan(self, pattern: str, count: int = 300) -> AsyncIterator[list[bytes]]:
        """The names of all keys that match, in pages, over all servers; some may come twice."""
        page: list[bytes] = []
        try:
            async for name in self.client.scan_iter(match=pattern, count=count):
                page.append(name)
                if len(page) == count:
                    yield page
                    page = []
        except (TimeoutError, RedisError, OSError) as error:
            raise as_store_error(error) from error
        if page:
            yield page

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
