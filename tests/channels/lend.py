"""What a test lends an adapter, and requests as intake hands them over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict, CIMultiDictProxy

from bot.http import PyreqwestHttp
from bot.messages import Content, OutboundMessage, Text
from bot.ports import Clock, Http, RawRequest, Tokens, Toolkit

NOW = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC
PUBLIC = "https://gw.example.com"
OUR_ID = "m_07k3d5n8p2q4r6s9tv"


class StillClock:
    """A clock that stands, virtual time an hour ahead of real time."""

    def now(self) -> int:
        return NOW + 3_600_000

    def real(self) -> int:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("an adapter never waits")


class NoHttp:
    """No call may be made."""

    async def request(self, method: str, url: str, **_: object) -> object:
        raise AssertionError("a call was made")


def toolkit(http: object = None, public_url: str = PUBLIC) -> Toolkit:
    """A toolkit; without `http`, calls fail the test."""
    return Toolkit(
        http=cast(Http, http or NoHttp()),
        tokens=cast(Tokens, None),
        clock=cast(Clock, StillClock()),
        public_url=public_url,
        siblings={},
    )


def raw(
    url: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    method: str = "POST",
    remote: str = "192.0.2.10",
) -> RawRequest:
    """A request to a public URL."""
    parts = urlsplit(url)
    target = url[len(f"{parts.scheme}://{parts.netloc}") :]
    return RawRequest(
        method=method,
        target=target,
        url=url,
        headers=CIMultiDictProxy(CIMultiDict(list(headers))),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        body=body,
        remote=remote,
        received_at=NOW,
    )


def outbound(content: Content | str, to: str = "+8613900001234", **fields: object) -> OutboundMessage:
    """A message to send."""
    values: dict[str, object] = {
        "id": OUR_ID,
        "buyer": "b_07",
        "home": f"phone:{to}",
        "account": "sms-main",
        "to": to,
        "purpose": "service",
        "content": Text(content) if isinstance(content, str) else content,
        "created_at": NOW,
    }
    return OutboundMessage(**{**values, **fields})  # type: ignore[arg-type]


@asynccontextmanager
async def provider(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[tuple[str, Http]]:
    """A provider on loopback and the product's own client: (base URL, http)."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await handle(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    http = PyreqwestHttp(timeout_s=2)
    try:
        yield f"http://127.0.0.1:{server.port}", cast(Http, http)
    finally:
        await http.close()
        await server.close()
