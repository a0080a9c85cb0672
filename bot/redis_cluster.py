"""A Redis or Valkey Cluster: each command goes to the server that holds its key's slot, those of a batch side by side.

redis-py's own RedisCluster is not used. It closes every connection when one server answers CLUSTERDOWN, marks all of them
for reconnection at each look at the layout, raises where its pool is empty, and repeats commands by rules of its own; ours
repeats only what a server certainly did not run (MOVED, ASK, NOSCRIPT). Everything else is a StoreError at once: the door
answers 503, and a server that failed is asked again in the background until it answers or others have taken its slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio as aioredis
import structlog
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from bot.errors import StoreError
from bot.redis_urls import StoreUrl
from bot.redis_wire import Wire, connect_one

SLOTS = 16384
MOST_HOPS = 4
ASK_S = 0.5  # how long a server has to answer what the layout is, or whether it is back
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
_AT_THIRD = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
_MANY = {"MGET": list, "DEL": sum, "UNLINK": sum, "EXISTS": sum, "TOUCH": sum}
_EVERYWHERE = frozenset({"FLUSHALL", "FLUSHDB", "SCRIPT FLUSH", "CONFIG SET", "BGREWRITEAOF"})
_ANYWHERE = frozenset(
    {"PING", "TIME", "INFO", "COMMAND", "CONFIG", "CONFIG GET", "CLUSTER", "CLUSTER INFO", "SCRIPT LOAD"}
)

log = structlog.get_logger()
Command = Sequence[Any]


def key_of(command: Command) -> bytes | str | None:
    """The first key of a command; None where it has none."""
    key: bytes | str
    name = str(command[0]).upper()
    if name in _ANYWHERE or name in _EVERYWHERE or len(command) < 2:
        return None
    if name in ("XINFO", "OBJECT", "MEMORY"):
        key = command[2]
        return key
    if name in _AT_THIRD:
        return command[3] if int(command[2]) else None
    if name in ("XREAD", "XREADGROUP"):
        words = [str(word).upper() for word in command]
        key = command[words.index("STREAMS") + 1]
        return key
    key = command[1]
    return key


def slot_of(key: bytes | str) -> int:
    """The slot of a key."""
    return key_slot(key.encode() if isinstance(key, str) else key)


class _Node:
    """One server: connections for work, and one apart for questions, which must not wait behind work."""

    def __init__(self, url: StoreUrl, address: str, connections: int, timeout_s: float) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self.client = connect_one(url.server(host, int(port)), connections=connections, timeout_s=timeout_s)
        self.wire = Wire(self.client)
        self._asker = connect_one(url.server(host, int(port)), connections=2, timeout_s=ASK_S)

    async def ask(self, *command: Any) -> Any:
        """One answer within half a second, as the server gave it."""
        [answer] = await Wire(self._asker).calls([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Ends its connections."""
        await self.client.aclose()
        await self._asker.aclose()


class ClusterClient(aioredis.Redis):
    """redis-py's commands, sent to the servers of a cluster. Transactions and subscriptions are not among them."""

    def __init__(self, url: StoreUrl, *, connections: int = 32, timeout_s: float = 2.0) -> None:
        super().__init__(protocol=2)
        self._url, self._connections, self._timeout_s = url, connections, timeout_s
        self._starts = [f"{host}:{port}" for host, port in url.nodes]
        self._nodes: dict[str, _Node] = {}
        self._slots: list[str] = []  # address of the primary by slot; empty before the first look
        self._sick: set[str] = set()  # failed, and not seen well since
        self._stale = False
        self._learning: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._closed = False

    # --- the layout -----------------------------------------------------------------------------------------------

    def primaries(self) -> list[str]:
        """The addresses of the servers that hold slots."""
        return sorted(set(self._slots) - {""})

    def _node(self, address: str) -> _Node:
        if address not in self._nodes:
            self._nodes[address] = _Node(self._url, address, self._connections, self._timeout_s)
        return self._nodes[address]

    async def _learn(self) -> None:
        """Asks for the layout, those first that were well; one look serves all who wait for it."""
        if self._learning is None:
            self._learning = asyncio.create_task(self._look())
            self._learning.add_done_callback(self._learned)
        await asyncio.shield(self._learning)

    def _learned(self, task: asyncio.Task[None]) -> None:
        self._learning = None
        if not task.cancelled():
            task.exception()  # whoever waited for it has it

    async def _look(self) -> None:
        known = [a for a in dict.fromkeys([*self.primaries(), *self._nodes]) if a not in self._sick]
        random.shuffle(known)  # whoever is asked first may be the one that does not know yet
        error: Exception = RedisConnectionError("no server of the cluster answers")
        for address in dict.fromkeys([*known, *self._starts, *self._sick]):
            try:
                self._apply(await self._node(address).ask("CLUSTER", "SLOTS"), address.rpartition(":")[0])
            except (RedisError, OSError, TimeoutError) as failed:
                error = failed
                continue
            return
        raise error

    def _apply(self, ranges: Sequence[Any], asked: str) -> None:
        slots = [""] * SLOTS
        for start, end, primary, *_ in ranges:
            host = (primary[0] or b"").decode() or asked
            slots[start : end + 1] = [f"{host}:{primary[1]}"] * (end - start + 1)
        self._slots = slots

    def _doubt(self, address: str) -> None:
        """A server failed: nothing is sent to it until it is seen well, or others have its slots."""
        if address not in self._sick:
            log.warning("a server of the cluster is away", server=address)
        self._sick.add(address)
        self._look_again()

    def _look_again(self) -> None:
        self._stale = True
        if self._mending is None and not self._closed:
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        pause = FIRST_PAUSE_S
        try:
            while (self._stale or self._sick) and not self._closed:
                self._stale = False
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._learn()
                for address in list(self._sick):
                    if address not in self._slots or await self._is_well(address):
                        self._sick.discard(address)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_S)
        finally:
            self._mending = None

    async def _is_well(self, address: str) -> bool:
        try:
            await self._node(address).ask("PING")
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    # --- commands -------------------------------------------------------------------------------------------------

    async def side_by_side(self, commands: Sequence[Command], *, replicas: int = 0, source: str = "") -> list[Any]:
        """The answers of commands of one key (or one slot) each, in order, an error in its place.

        Those of one server go in one round trip. `source`: the script that the commands call, for servers that lack it.
        """
        answers: list[Any] = [None] * len(commands)
        if not self._slots:
            try:
                await self._learn()
            except (RedisError, OSError, TimeoutError) as error:
                return [error] * len(commands)
        todo = {i: self._holder(command) for i, command in enumerate(commands)}
        for _ in range(MOST_HOPS):
            by_server: dict[tuple[str, bool], list[int]] = {}
            for i, to in todo.items():
                by_server.setdefault(to, []).append(i)
            found = await asyncio.gather(
                *(self._send(to, [commands[i] for i in asked], replicas, source) for to, asked in by_server.items())
            )
            todo = {}
            for (to, asked), got in zip(by_server.items(), found, strict=True):
                for i, answer in zip(asked, got, strict=True):
                    answers[i] = answer
                    if isinstance(answer, AskError):  # MOVED is one of them
                        todo[i] = self._redirected(to[0], answer)
            if not todo:
                break
        return answers

    def _holder(self, command: Command) -> tuple[str, bool]:
        key = key_of(command)
        if key is not None:
            return self._slots[slot_of(key)], False
        well = [address for address in self.primaries() if address not in self._sick]
        return (well or self.primaries() or [""])[0], False

    async def _send(self, to: tuple[str, bool], commands: Sequence[Command], replicas: int, source: str) -> list[Any]:
        address, asking = to
        if not address or address in self._sick:
            self._look_again()
            away = RedisConnectionError(f"{address} is away" if address else "the slot has no server")
            return [away] * len(commands)
        wire = self._node(address).wire
        if asking:
            pairs = [part for command in commands for part in (("ASKING",), command)]
            answers = (await wire.calls(pairs, replicas=replicas))[1::2]
        else:
            answers = await wire.calls(commands, replicas=replicas)
        lacking = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if lacking and source:
            ask = [("ASKING",)] if asking else []
            again = [part for i in lacking for part in (*ask, commands[i])]
            _, *more = await wire.calls([("SCRIPT", "LOAD", source), *again], replicas=replicas)
            for i, answer in zip(lacking, more[len(ask) :: len(ask) + 1], strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, (ClusterDownError, ReadOnlyError)):
                self._look_again()
            elif isinstance(answer, Exception) and not isinstance(answer, (ResponseError, StoreError)):
                self._doubt(address)
                break
        return answers

    def _redirected(self, asked: str, error: AskError) -> tuple[str, bool]:
        """Where a server sends a command that it did not run, and whether for this once only."""
        address = f"{error.host or asked.rpartition(':')[0]}:{error.port}"
        moved = isinstance(error, MovedError)
        if moved:
            self._slots[error.slot_id] = address
            self._look_again()
        return address, not moved

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command, by its key; those of several keys are taken apart where these lie in several slots."""
        name = str(args[0]).upper()
        if name in _EVERYWHERE:
            return (await self.on_primaries(*args))[0]
        if name in _MANY and len({slot_of(key) for key in args[1:]}) > 1:
            parts = await self.side_by_side([(args[0], key) for key in args[1:]])
            _raise_first(parts)
            return [part[0] for part in parts] if name == "MGET" else sum(parts)
        [answer] = await self.side_by_side([args])
        if isinstance(answer, Exception):
            raise answer
        options.pop("keys", None)  # for the library's cache
        return self.parsed(args, answer, **options)

    def parsed(self, command: Command, answer: Any, **options: Any) -> Any:
        """An answer in the shape that the library's own client gives it."""
        parse = self.response_callbacks.get(command[0])
        return parse(answer, **options) if parse is not None else answer

    async def on_primaries(self, *args: Any) -> list[Any]:
        """A command's answer of every primary, as the server gave it. Raises where one fails."""
        if not self._slots:
            await self._learn()
        found = await asyncio.gather(*(self._send((address, False), [args], 0, "") for address in self.primaries()))
        answers = [part[0] for part in found]
        _raise_first(answers)
        return answers

    async def scan_iter(  # type: ignore[override]  # the same, over all primaries
        self, match: str | None = None, count: int | None = None, _type: str | None = None, **_: Any
    ) -> AsyncIterator[bytes]:
        """All keys of all primaries."""
        if not self._slots:
            await self._learn()
        more = [*(("MATCH", match) if match else ()), *(("COUNT", count) if count else ())]
        for address in self.primaries():
            cursor = b"0"
            while True:
                [answer] = await self._send((address, False), [("SCAN", cursor, *more)], 0, "")
                if isinstance(answer, Exception):
                    raise answer
                cursor, names = answer
                for name in names:
                    yield name
                if cursor == b"0":
                    break

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001  # the library's
        """Ends all connections."""
        self._closed = True
        for task in (self._mending, self._learning):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, RedisError, OSError, TimeoutError):
                    await task
        for node in self._nodes.values():
            await node.close()
        await super().aclose(close_connection_pool)


def _raise_first(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
