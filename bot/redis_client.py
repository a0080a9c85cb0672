"""The Redis client: one server, whoever the sentinels call primary, or a cluster; and the scripts.

Whatever is behind it, a command is never repeated that may have been run (`bot.redis_wire`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import NoScriptError, RedisError

from bot import keys as names
from bot import redis_urls
from bot.errors import StoreError
from bot.redis_cluster import ClusterClient
from bot.redis_sentinel import connect_sentinel
from bot.redis_wire import Wire, as_store_error, connect_one, is_away

SCRIPTS = Path(__file__).parent / "lua"
# What these write may be lost with a server: it is written again, or found again by what is confirmed after it.
UNCONFIRMED = frozenset({"beat", "lease", "limit", "pump", "ready", "take", "tell"})
# While a slot moves to another server, a script would find some of its keys gone and stop half done. The keys that a call
# declares are checked before it runs: one that never exists makes the server refuse every call on such a slot.
_GUARD = "KEYS[#KEYS] = nil -- the guard: see bot/redis_client.py\n"


def connect(url: str, *, connections: int = 32, timeout_s: float = 2.0) -> aioredis.Redis:
    """A client for any store's address (`bot.redis_urls`), with waiting pools, short time-outs and no retries."""
    where = redis_urls.parse(url)
    if where.kind == "cluster":
        return ClusterClient(where, connections=connections, timeout_s=timeout_s)
    if where.kind == "sentinel":
        return connect_sentinel(where, connections=connections, timeout_s=timeout_s)
    return connect_one(url, connections=connections, timeout_s=timeout_s)


def sources() -> dict[str, str]:
    """Every script by name, with what it shares with others (`--@shared name`: lua/shared/name.lua) in its place."""

    def shared(named: re.Match[str]) -> str:
        return (SCRIPTS / "shared" / f"{named[1]}.lua").read_text()

    return {
        path.stem: re.sub(r"^--@shared (\w+)$", shared, path.read_text(), flags=re.MULTILINE)
        for path in SCRIPTS.glob("*.lua")
    }


class Scripts:
    """The Lua scripts, called by digest; a server that lost them (restart, fail-over) gets them again.

    `replicas`: so many must confirm what a call wrote before it counts as done (`[redis] replicas_to_wait_for`): a claim
    that a fail-over forgets would be sent twice, not only an event lost.
    """

    def __init__(self, client: aioredis.Redis, *, replicas: int = 0) -> None:
        self._client = client
        self._replicas = replicas
        self._cluster = client if isinstance(client, ClusterClient) else None
        self._wire = Wire(client)
        self._source = sources()
        if self._cluster is not None:
            self._source = {name: _guarded(source) for name, source in self._source.items()}
        self._sha: dict[str, str] = {}
        self.calls = 0

    @property
    def apart(self) -> bool:
        """Whether each call may touch one slot only: a cluster."""
        return self._cluster is not None

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any], *, replicas: int | None = None) -> Any:
        """One script call. Raises StoreError when Redis is away or full; a script's own error is a bug and passes.

        Also when not enough replicas confirm what it wrote within a second. On a cluster, keys are of one slot.
        """
        if replicas is None:
            replicas = 0 if name in UNCONFIRMED else self._replicas
        if self._cluster is not None:
            [answer] = await self.each(name, [(keys, args)], replicas=replicas)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.calls += 1
        try:
            sha = self._sha.get(name) or await self._load(name)
            try:
                return await self._wire.call(("EVALSHA", sha, len(keys), *keys, *args), replicas=replicas)
            except NoScriptError:
                sha = await self._load(name)
                return await self._wire.call(("EVALSHA", sha, len(keys), *keys, *args), replicas=replicas)
        except (TimeoutError, RedisError, OSError) as error:
            if is_away(error):
                raise as_store_error(error) from error
            raise

    async def each(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]], *, replicas: int | None = None
    ) -> list[Any]:
        """Calls of one slot each, side by side; a StoreError in the place of those whose server is away or full.

        Raises StoreError where none was answered: there is nothing to go on with.
        """
        if replicas is None:
            replicas = 0 if name in UNCONFIRMED else self._replicas
        if self._cluster is None:
            return [await self.run(name, keys, args, replicas=replicas) for keys, args in calls]
        self.calls += len(calls)
        source = self._source[name]
        if (sha := self._sha.get(name)) is None:
            sha = self._sha[name] = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        commands = [("EVALSHA", sha, len(keys) + 1, *keys, names.guard(keys[0]), *args) for keys, args in calls]
        answers = await self._cluster.side_by_side(commands, replicas=replicas, source=source)
        for i, answer in enumerate(answers):
            if isinstance(answer, Exception):
                if not is_away(answer):
                    raise answer
                answers[i] = as_store_error(answer)
        if answers and all(isinstance(answer, StoreError) for answer in answers):
            raise answers[0]
        return answers

    async def _load(self, name: str) -> str:
        sha = await self._client.script_load(self._source[name])
        self._sha[name] = sha.decode() if isinstance(sha, bytes) else str(sha)
        return self._sha[name]


def _guarded(source: str) -> str:
    head, _, body = source.partition("\n")
    return f"{head}\n{_GUARD}{body}"
