"""Connections to Redis, with the library's unsafe defaults turned off.

redis-py 8 repeats any command after a lost reply, which applies a write twice (measured): no automatic retry here.
Its pool raises at 100 commands in flight: ours waits. The protocol is pinned, since reply shapes differ between 2 and 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import hiredis
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.errors import StoreError, StoreFullError, StoreRefusesError
from bot.redis_refusals import CLOSED, SILENT, ClosedAtOnceError, SilentError, guess, refusal

UNSENT = 64 * 1024
KEPT = 8
CONFIRM_MS = 1000  # how long a write waits for the replicas that the operator asks for
_AWAY = (
    RedisConnectionError, RedisTimeoutError, ReadOnlyError, BusyLoadingError, ClusterDownError, TryAgainError, AskError, NoPermissionError,
    OSError, asyncio.TimeoutError,
)  # fmt: skip
_AWAY_WORDS = ("MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE", "NOPERM")
_KEPT_OF: WeakKeyDictionary[ConnectionPool, list[AbstractConnection]] = WeakKeyDictionary()
"""Connections for scripts, taken from a pool for good: at most KEPT and half of it, however many use it. It closes them with its own."""


class _Packed(AbstractConnection):
    """Packs commands in C: in a profile of the benchmark the library's own asyncio packer took more than anything else."""

    if_closed = ""  # what it may mean that the server ends the connection before any answer

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's
        """Logs in."""
        try:
            await super().on_connect_check_health(check_health)
        except RedisConnectionError as error:
            if self.if_closed and type(error) is RedisConnectionError:  # others say themselves what they are
                raise ClosedAtOnceError(self.if_closed) from error
            raise

    def pack_command(self, *args: Any) -> list[bytes]:
        """The bytes of one command."""
        return [packed(args)]

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

    if_closed = CLOSED["redis"]


class PackedSSLConnection(_Packed, aioredis.SSLConnection):
    """A TLS connection."""

    if_closed = CLOSED["rediss"]

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]  # the library's
        except TimeoutError as error:
            raise SilentError(SILENT) from error


CLASSES = {"unix": PackedUnixConnection, "redis": PackedConnection, "rediss": PackedSSLConnection}


def packed(args: Sequence[Any]) -> bytes:
    """The bytes of one command on the wire."""
    head = args[0]
    if isinstance(head, str) and " " in head:  # "SCRIPT LOAD" is two words on the wire
        args = (*head.split(), *args[1:])
    wire: bytes = hiredis.pack_command(tuple(args))
    return wire


def connect_one(
    url: str,
    *,
    connections: int = 32,
    timeout_s: float = 2.0,
    pool_class: type[aioredis.BlockingConnectionPool] = aioredis.BlockingConnectionPool,
    **more: Any,
) -> aioredis.Redis:
    """A client for one server, redis://, rediss:// or unix://, with a waiting pool, short time-outs and no retries."""
    pool = pool_class.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(1.0, timeout_s),
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
        **more,
    )
    pool.connection_class = CLASSES[url.partition("://")[0]]  # after the URL, which would choose its own
    return aioredis.Redis.from_pool(pool)


def as_store_error(error: Exception) -> StoreError:
    """The gateway's word for a failure of Redis: full, or away."""
    if isinstance(error, StoreError):
        return error
    text = str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM") or "used memory > 'maxmemory'" in text:
        return StoreFullError("Redis is at its memory limit")
    if words := refusal(error):
        return StoreRefusesError(f"Redis: {words}")
    if words := guess(error):
        return StoreRefusesError(f"Redis: {words}", sure=False)
    return StoreError(f"Redis: {type(error).__name__}")


def is_away(error: Exception) -> bool:
    """Whether a failure means "not now" (as opposed to a mistake of ours)."""
    if isinstance(error, (StoreError, OutOfMemoryError, *_AWAY)):
        return True
    return isinstance(error, ResponseError) and (
        str(error).startswith(("OOM", *_AWAY_WORDS)) or "used memory > 'maxmemory'" in str(error)
    )


class Wire:
    """Commands on connections of one server that are kept, without the client's wrappers: they cost more than the call itself.

    (Retries, which are off here; checks of the pool; parsing by command, of which scripts have none.) A connection
    that fails is closed by the library, and opened anew at its next use.
    """

    def __init__(self, client: aioredis.Redis) -> None:
        self._pool = client.connection_pool
        self._kept = _KEPT_OF.setdefault(self._pool, [])
        # Half of a small pool: whoever waits for one of its connections is woken by a release only.
        self._most_kept = min(KEPT, self._pool.max_connections // 2)

    async def call(self, args: Sequence[Any], *, replicas: int = 0) -> Any:
        """One command's answer. With `replicas`, raises StoreError when not so many confirm what it wrote."""
        connection = self._kept.pop() if self._kept else await self._pool.get_connection()
        try:
            await connection.send_packed_command((packed(args),))
            answer = await connection.read_response()
            if replicas:
                await _confirmed(connection, replicas)
            return answer
        finally:
            if len(self._kept) < self._most_kept:  # as in `_keep`, without a coroutine more a call
                self._kept.append(connection)
            else:
                await self._pool.release(connection)

    async def calls(self, commands: Sequence[Sequence[Any]], *, replicas: int = 0) -> list[Any]:
        """Several commands in one round trip; answers in order, an error in its place.

        Where the connection fails, what was not answered yet has that error; it may have been done or not.
        """
        answers: list[Any] = []
        try:
            connection = self._kept.pop() if self._kept else await self._pool.get_connection()
        except Exception as error:  # noqa: BLE001  # every command has its answer
            return [error] * len(commands)
        try:
            await connection.send_packed_command([packed(command) for command in commands])
            for _ in commands:
                try:
                    answers.append(await connection.read_response())
                except (ResponseError, BusyLoadingError) as error:
                    answers.append(error)
            if replicas:
                await _confirmed(connection, replicas)
        except StoreError as error:  # too few replicas: no success is one
            answers = [answer if isinstance(answer, Exception) else error for answer in answers]
        except Exception as error:  # noqa: BLE001  # as above
            await connection.disconnect(nowait=True)  # or what was not read would answer whoever asks next
            kept = [] if replicas else answers
            answers = [*kept, *([error] * (len(commands) - len(kept)))]
        finally:
            await self._keep(connection)
        return answers

    async def _keep(self, connection: AbstractConnection) -> None:
        if len(self._kept) < self._most_kept:
            self._kept.append(connection)
        else:
            await self._pool.release(connection)


async def _confirmed(connection: AbstractConnection, replicas: int) -> None:
    # On this connection: WAIT knows of its own connection's writes alone.
    await connection.send_command("WAIT", replicas, CONFIRM_MS)
    if (reached := int(await connection.read_response())) < replicas:
        raise StoreError(f"only {reached} of {replicas} replicas confirmed")
