"""The Redis client, with the library's unsafe defaults turned off.

redis-py 8 repeats any command after a lost reply, which applies a write twice (measured): no automatic retry here.
Its pool raises at 100 commands in flight: ours waits. The protocol is pinned, since reply shapes differ between 2 and 3.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import hiredis
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from bot.errors import StoreError, StoreFullError

SCRIPTS = Path(__file__).parent / "lua"
_AWAY = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, BusyLoadingError, OSError, asyncio.TimeoutError)
_AWAY_WORDS = ("LOADING", "MISCONF", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")


UNSENT = 64 * 1024
KEPT = 8
_KEPT_OF: WeakKeyDictionary[ConnectionPool, list[AbstractConnection]] = WeakKeyDictionary()
"""Connections for scripts, taken from a pool for good: at most KEPT a pool, however many use it. It closes them with its own."""


class _Packed(AbstractConnection):
    """Packs commands in C: in a profile of the benchmark the library's own asyncio packer took more than anything else."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The bytes of one command."""
        head = args[0]
        if isinstance(head, str) and " " in head:  # "SCRIPT LOAD" is two words on the wire
            args = (*head.split(), *args[1:])
        return [hiredis.pack_command(args)]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's
        """Writes without a task of its own; only what the socket does not take at once is waited for, with the time-out.

        A connection that the server has ended is opened anew first: the library would find out by the next answer only.
        """
        reader, writer = self._reader, self._writer
        if reader is None or writer is None or reader.at_eof():
            if writer is not None:
                await self.disconnect(nowait=True)
            await super().send_packed_command(command, check_health)
            return
        writer.writelines(command)
        if writer.transport.get_write_buffer_size() > UNSENT:
            await super().send_packed_command([], check_health)


class PackedUnixConnection(_Packed, aioredis.UnixDomainSocketConnection):
    """A unix socket connection."""


class PackedConnection(_Packed, aioredis.Connection):
    """A TCP connection."""


class PackedSSLConnection(_Packed, aioredis.SSLConnection):
    """A TLS connection."""


_CLASSES = {"unix": PackedUnixConnection, "redis": PackedConnection, "rediss": PackedSSLConnection}


def connect(url: str, *, connections: int = 32, timeout_s: float = 2.0) -> aioredis.Redis:
    """A client for redis://, rediss:// or unix:// with a waiting pool, short time-outs and no retries."""
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=1.0,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )
    pool.connection_class = _CLASSES[url.partition("://")[0]]  # after the URL, which would choose its own
    return aioredis.Redis.from_pool(pool)


def as_store_error(error: Exception) -> StoreError:
    """The gateway's word for a failure of Redis: full, or away."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM") or "used memory > 'maxmemory'" in text:
        return StoreFullError("Redis is at its memory limit")
    return StoreError(f"Redis: {type(error).__name__}")


def is_away(error: Exception) -> bool:
    """Whether a failure means "not now" (as opposed to a mistake of ours)."""
    if isinstance(error, (OutOfMemoryError, *_AWAY)):
        return True
    return isinstance(error, ResponseError) and (
        str(error).startswith(("OOM", *_AWAY_WORDS)) or "used memory > 'maxmemory'" in str(error)
    )


def sources() -> dict[str, str]:
    """Every script by name, with what it shares with others (`--@shared name`: lua/shared/name.lua) in its place."""

    def shared(named: re.Match[str]) -> str:
        return (SCRIPTS / "shared" / f"{named[1]}.lua").read_text()

    return {
        path.stem: re.sub(r"^--@shared (\w+)$", shared, path.read_text(), flags=re.MULTILINE)
        for path in SCRIPTS.glob("*.lua")
    }


class Scripts:
    """The Lua scripts, called by digest; a server that lost them (restart, fail-over) gets them again."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client
        self._source = sources()
        self._sha: dict[str, str] = {}
        self._kept = _KEPT_OF.setdefault(client.connection_pool, [])
        self.calls = 0

    async def run(self, name: str, keys: list[str], args: list[Any], *, replicas: int = 0) -> Any:
        """One script call. Raises StoreError when Redis is away or full; a script's own error is a bug and passes.

        With `replicas`, also when not so many confirm what it wrote within a second.
        """
        self.calls += 1
        try:
            sha = self._sha.get(name) or await self._load(name)
            try:
                return await self._call(replicas, "EVALSHA", sha, len(keys), *keys, *args)
            except NoScriptError:
                sha = await self._load(name)
                return await self._call(replicas, "EVALSHA", sha, len(keys), *keys, *args)
        except (TimeoutError, RedisError, OSError) as error:
            if is_away(error):
                raise as_store_error(error) from error
            raise

    async def _call(self, replicas: int, *args: Any) -> Any:
        """One command on a connection that is kept, without the client's wrappers: they cost more than the call itself.

        (Retries, which are off here; checks of the pool; parsing by command, of which scripts have none.) A connection
        that fails is closed by the library, and opened anew at its next use.
        """
        pool = self._client.connection_pool
        connection = self._kept.pop() if self._kept else await pool.get_connection()
        try:
            await connection.send_command(*args)
            answer = await connection.read_response()
            if replicas:
                # On this connection: WAIT knows of its own connection's writes alone.
                await connection.send_command("WAIT", replicas, 1000)
                if (reached := int(await connection.read_response())) < replicas:
                    raise StoreError(f"only {reached} of {replicas} replicas confirmed")
            return answer
        finally:
            if len(self._kept) < KEPT:
                self._kept.append(connection)
            else:
                await pool.release(connection)

    async def _load(self, name: str) -> str:
        sha = await self._client.script_load(self._source[name])
        self._sha[name] = sha.decode() if isinstance(sha, bytes) else str(sha)
        return self._sha[name]
