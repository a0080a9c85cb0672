"""How simulated providers call the gateway: over real sockets, with the retries of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import structlog

log = structlog.get_logger()
Built = tuple[str, bytes, Mapping[str, str]]


def _is_2xx(status: int, _: bytes) -> bool:
    return 200 <= status < 300


@dataclass(slots=True)
class Outward:
    """Posts webhooks in the background; `retries` are the pauses before each further try, in seconds."""

    session: aiohttp.ClientSession
    tasks: set[asyncio.Task[int]] = field(default_factory=set)

    def later(self, build: Callable[[], Built], *, retries: Sequence[float], delay_s: float = 0.0) -> None:
        """Posts after a delay; `build` makes (url, body, headers) anew for every try, as providers re-sign."""
        self.keep(asyncio.create_task(self.post(build, retries=retries, delay_s=delay_s)))

    def keep(self, task: asyncio.Task[int]) -> None:
        """Holds on to a task until it is done."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def post(self, build: Callable[[], Built], *, retries: Sequence[float], delay_s: float = 0.0) -> int:
        """Posts until it is taken; answers the last status (0: no answer)."""
        return (await self.ask(build, retries=retries, delay_s=delay_s))[0]

    async def ask(
        self,
        build: Callable[[], Built],
        *,
        retries: Sequence[float],
        delay_s: float = 0.0,
        taken: Callable[[int, bytes], bool] = _is_2xx,
        paced: bool = False,
    ) -> tuple[int, bool]:
        """The last status, and whether the provider was content by `taken`. `paced`: pauses count from a try's start."""
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        status = 0
        for pause in (*retries, None):
            started = loop.time()
            status, text = await self._once(*build())
            good = taken(status, text)
            if good or pause is None:
                return status, good
            await asyncio.sleep(max(0.0, pause - (loop.time() - started if paced else 0.0)))
        return status, False

    async def once(self, build: Callable[[], Built]) -> tuple[int, bytes]:
        """One try: status (0: no answer) and what was answered."""
        return await self._once(*build())

    async def _once(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with self.session.post(url, data=body, headers=headers, timeout=timeout) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return 0, b""

    async def close(self) -> None:
        """Waits for nothing: what is under way is dropped."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        _ = await asyncio.gather(*tasks, return_exceptions=True)
