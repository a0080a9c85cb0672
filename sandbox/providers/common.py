"""What the simulated providers share: their surroundings, and failing on request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.outward import Outward
from sandbox.state import Phones

HANG_S = 20.0


@dataclass(frozen=True, slots=True)
class World:
    """What a simulated provider works with. `base` is the gateway's own address."""

    phones: Phones
    outward: Outward
    base: str
    public_url: str

    @property
    def now_s(self) -> int:
        """Real seconds: signatures and webhook times."""
        return self.phones.clock.real() // 1000

    def mark_later(self, account: str, id: str, provider_id: str, state: str, delay_s: float) -> None:
        """The phone shows a message as delivered or read, after a while."""

        async def mark() -> int:
            await asyncio.sleep(delay_s)
            await self.phones.mark(account, id, provider_id, state)
            return 200

        self.outward.keep(asyncio.create_task(mark()))


def secret(value: Any) -> str:
    """A configured secret's first value."""
    found = value[0] if isinstance(value, tuple) else value
    return str(found.get_secret_value())


async def before(world: World, account: str, request: web.Request) -> tuple[str, web.StreamResponse | None]:
    """The planned fault of this call, and the answer where it fails before being accepted."""
    fault = await world.phones.next_fault(account)
    if fault == "500":
        return fault, web.Response(
            status=500, text="<html><body>Internal error</body></html>", content_type="text/html"
        )
    if fault == "html":
        return fault, web.Response(status=200, text="<html>maintenance</html>", content_type="text/html")
    if fault == "hang":
        await asyncio.sleep(HANG_S)
        return fault, web.Response(status=504)
    if fault == "reset":
        return fault, drop(request)
    return fault, None


def drop(request: web.Request) -> web.StreamResponse:
    """Cuts the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)
