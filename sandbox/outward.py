"""How simulated providers call the gateway: over real sockets, with the retries of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import structlog

log = structlog.get_logger()
Built = tuple[str, bytes, Mapping[str, str]]


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
        await asyncio.sleep(delay_s)
        status = 0
        for pause in (*retries, None):
            url, body, headers = build()
            try:
                timeout = aiohttp.ClientTimeout(total=5)
                async with self.session.post(url, data=body, headers=headers, timeout=timeout) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            if 200 <= status < 300 or pause is None:
                return status
            await asyncio.sleep(pause)
        return status

    async def close(self) -> None:
        """Waits for nothing: what is under way is dropped."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        _ = await asyncio.gather(*tasks, return_exceptions=True)
