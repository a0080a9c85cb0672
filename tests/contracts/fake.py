"""A provider on a real loopback socket: answers what it is told, or misbehaves, and keeps every request."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

Fault = Literal["hang", "reset", "close", "half", "huge"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `fault` replaces it: say nothing, cut the line before, in or after the answer, or never end."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    fault: Fault | None = None
    delay_s: float = 0.0


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; header names with `_` for `-`."""
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *named))


@dataclass(slots=True)
class Got:
    """One request as it came off the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(slots=True)
class Provider:
    """`replies` are given in order, the last one for ever. Use as `async with`."""

    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    got: list[Got] = field(default_factory=list)
    open: int = 0
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answers(self, replies: Iterable[Reply]) -> None:
        """Starts over with these."""
        self.replies = list(replies)
        self.got.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while True:
                self.got.append(await _read(reader))
                told = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if not await _write(writer, told):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(method, target, headers, body)


async def _write(writer: asyncio.StreamWriter, told: Reply) -> bool:
    """False when the connection is not to be used again."""
    await asyncio.sleep(told.delay_s)
    match told.fault:
        case "hang":
            await asyncio.sleep(30)
            return False
        case "close":
            return False
        case "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        case "half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            return False
        case "huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1600):
                writer.write(b" " * 65536)
                await writer.drain()
            return False
        case _:
            lines = [f"HTTP/1.1 {told.status} X", f"Content-Length: {len(told.body)}"]
            lines += [f"{name}: {value}" for name, value in told.headers]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + told.body)
            await writer.drain()
            return True


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
