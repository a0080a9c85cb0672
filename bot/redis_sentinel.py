"""A primary that sentinels name: looked up at each new connection, watched twice a second, left when another is named.

A server that was primary before it was paused or cut off may take writes for a moment when it comes back, and loses
them. So whoever connects asks it for its role, and connections to a server that is no longer named are closed at once.
What remains is for the server's own `min-replicas-to-write` (`bot.storecheck` asks for it).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import redis.asyncio as aioredis
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from bot.redis_refusals import NoPrimaryError
from bot.redis_urls import StoreUrl
from bot.redis_wire import PackedConnection, PackedSSLConnection, Wire, connect_one

ASK_S = 0.5
WATCH_S = 0.5
Address = tuple[str, int]

log = structlog.get_logger()


class Sentinels:
    """The sentinels of one service: who is its primary?"""

    def __init__(self, url: StoreUrl) -> None:
        self._service = url.service
        user, secret = url.sentinel_login
        login: dict[str, Any] = {"username": user or None, "password": secret or None} if secret else {}
        bare = StoreUrl("sentinel", base=url.base, query=url.query)
        self._clients = [
            connect_one(bare.server(host, port), connections=4, timeout_s=ASK_S, **login) for host, port in url.nodes
        ]
        self.primary: Address | None = None
        self._asking: asyncio.Task[Address] | None = None

    async def ask(self) -> Address:
        """The primary's address by the first sentinel that answers. Raises RedisConnectionError when none knows one.

        Connections that are opened side by side share one question.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Address:
        error: Exception = RedisConnectionError("no sentinel answers")
        for client in list(self._clients):
            [found] = await Wire(client).calls([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)])
            if isinstance(found, list):
                self._clients.remove(client)
                self._clients.insert(0, client)
                address = found[0].decode(), int(found[1])
                if address != self.primary:
                    if self.primary is not None:
                        log.warning("another primary", service=self._service, host=address[0], port=address[1])
                    self.primary = address
                return address
            error = (
                found if isinstance(found, Exception) else RedisConnectionError("the sentinels know no such service")
            )
        raise NoPrimaryError(f"no primary: {type(error).__name__}") from error

    async def close(self) -> None:
        """Ends the connections to the sentinels."""
        for client in self._clients:
            await client.aclose()


class _Following:
    """Mixed into a connection: goes where the primary is, and stays only while it is primary there."""

    host: str
    port: int
    is_connected: bool

    def __init__(self, *, sentinels: Sentinels, **rest: Any) -> None:
        self._sentinels = sentinels
        self._reached: Address | None = None
        super().__init__(**rest)

    async def _connect(self) -> None:
        self.host, self.port = self._reached = await self._sentinels.ask()
        await super()._connect()  # type: ignore[misc]  # the connection that this is mixed into

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's
        await super().on_connect_check_health(check_health)  # type: ignore[misc]
        await self.send_command("ROLE")  # type: ignore[attr-defined]
        if (role := (await self.read_response())[0]) != b"master":
            raise RedisConnectionError(f"the server that the sentinels name is {role.decode()}")

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's
        if self._reached != self._sentinels.primary and self.is_connected:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
        await super().send_packed_command(command, check_health)  # type: ignore[misc]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]
        except ReadOnlyError:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise


class FollowingConnection(_Following, PackedConnection):
    """A TCP connection to whoever is primary."""


class FollowingSSLConnection(_Following, PackedSSLConnection):
    """A TLS connection to whoever is primary."""


class SentinelPool(aioredis.BlockingConnectionPool):
    """Connections to whoever is primary."""

    def __init__(self, *, sentinels: Sentinels, **rest: Any) -> None:
        super().__init__(sentinels=sentinels, **rest)
        self._sentinels = sentinels
        self._watching: asyncio.Task[None] | None = None

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """A connection; from the first one on, the sentinels are watched."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return await super().get_connection()  # type: ignore[no-untyped-call]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self._sentinels.ask()

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's
        """Ends all connections, and the watch."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await super().disconnect(inuse_connections)
        await self._sentinels.close()


def connect_sentinel(url: StoreUrl, *, connections: int = 32, timeout_s: float = 2.0) -> aioredis.Redis:
    """A client of whoever the sentinels name."""
    client = connect_one(
        url.server("primary", 1),  # its place is taken at each connection
        connections=connections,
        timeout_s=timeout_s,
        pool_class=SentinelPool,
        sentinels=Sentinels(url),
    )
    client.connection_pool.connection_class = FollowingSSLConnection if url.base == "rediss" else FollowingConnection
    return client
