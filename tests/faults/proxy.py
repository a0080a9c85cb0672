"""A proxy between the gateway and Redis that loses replies, stalls, cuts and delays: on a unix socket, in the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Self

from bot.redis_client import connect, sources


class Proxy:
    """Forwards each connection of the gateway to the server, and does to it what the test asks."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.path = f"{tempfile.mkdtemp(prefix='tpp')}/s"
        self.url = f"unix://{self.path}"
        self.delay_s = 0.0
        self.lost: list[str] = []  # of which commands the reply was lost
        self._lose: dict[bytes, tuple[str, int]] = {}
        self._hold = b""
        self.held = asyncio.Event()  # a reply is being held
        self._names: dict[str, bytes] = {}
        self._stalled = asyncio.Event()
        self._stalled.set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._handle, self.path, limit=1 << 24)
        client = connect(f"unix://{self.upstream}")
        for name, source in sources().items():
            sha = await client.script_load(source)
            self._names[name] = sha if isinstance(sha, bytes) else sha.encode()
        await client.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        self._server.close()
        self.cut()
        await asyncio.sleep(0.05)
        Path(self.path).unlink(missing_ok=True)

    def lose(self, command: str, times: int = 1) -> None:
        """The server runs the next calls of this script (or plain command); their replies never arrive."""
        self._lose[self._names.get(command, command.encode())] = (command, times)

    def stall(self) -> None:
        """No reply gets through any more; the connections stay."""
        self._stalled.clear()

    def hold(self, command: str) -> None:
        """The server runs the next call of this script (or plain command); its reply is held, and it alone."""
        self._hold = self._names.get(command, command.encode())

    def release(self) -> None:
        """Ends the stall; lets the held reply go."""
        self._stalled.set()
        self.held.clear()

    def cut(self) -> None:
        """Ends every connection there is."""
        for writer in list(self._open):
            writer.close()

    def _unlucky(self, request: bytes) -> bool:
        for mark, (name, times) in self._lose.items():
            if times and mark in request[:200]:
                self._lose[mark] = (name, times - 1)
                self.lost.append(name)
                return True
        return False

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self.upstream, limit=1 << 24)
        both = {writer, up_writer}
        self._open |= both
        unlucky = patient = False

        async def there() -> None:
            nonlocal unlucky, patient
            while data := await reader.read(1 << 20):
                unlucky = unlucky or self._unlucky(data)
                if self._hold and self._hold in data[:200]:
                    self._hold, patient = b"", True
                    self.held.set()
                up_writer.write(data)
                await up_writer.drain()

        async def back() -> None:
            nonlocal patient
            while data := await up_reader.read(1 << 20):
                await self._stalled.wait()
                while patient and self.held.is_set():
                    await asyncio.sleep(0.01)
                patient = False
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if unlucky:
                    return
                writer.write(data)
                await writer.drain()

        async def until_closed(way: asyncio.Task[None]) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await way
            for one in both:
                one.close()

        ways = [asyncio.create_task(there()), asyncio.create_task(back())]
        await asyncio.gather(*(until_closed(way) for way in ways))
        self._open -= both
