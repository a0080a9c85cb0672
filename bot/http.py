"""Provider calls over pyreqwest (reqwest in Rust), told apart by the one thing that matters: may it have been written?

The library's exception classes do not say it (measured: a cut connection after the request raises a ConnectError too).
Only an exhausted pool, a closed client, or a cause whose message is `client error (Connect)`, means that not a byte went
out. A cancelled call still goes out, so calls are never cancelled. Error texts hold the URL, and WeChat's URLs hold a
token: they are never passed on. `tests/bot/test_http.py` holds these as a contract: run it before another version.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from functools import partial

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, ClientClosedError, PoolTimeoutError, PyreqwestError
from pyreqwest.request import StreamRequest

from bot.errors import AccountError, ConnectError, InDoubtError, TemporaryError
from bot.ports import HttpResponse

MAX_BODY = 4 * 1024 * 1024
_NOT_WRITTEN = "client error (Connect)"
begin_by: ContextVar[float] = ContextVar("begin_by", default=math.inf)
"""Until when (monotonic seconds) a task may begin calls: a send's last one must be over when its claim is taken for dead."""


class PyreqwestHttp:
    """One client per process: pooled, HTTP/1.1, no redirects, no proxies from the environment."""

    def __init__(self, *, timeout_s: float = 8.0, connect_timeout_s: float = 3.0, proxy: bool = False) -> None:
        builder = (
            ClientBuilder()
            .timeout(timedelta(seconds=timeout_s))
            .connect_timeout(timedelta(seconds=connect_timeout_s))
            .pool_timeout(timedelta(seconds=connect_timeout_s))
            .pool_idle_timeout(timedelta(seconds=30))
            .follow_redirects(False)
            .http1_only()
        )
        self._client: Client = (builder if proxy else builder.no_proxy()).build()
        self._running: set[asyncio.Task[HttpResponse]] = set()  # the loop itself holds tasks only weakly

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 0.0,
    ) -> HttpResponse:
        """One request, never repeated; it runs on when its caller is cancelled. Any status is an answer.

        `timeout_s` 0 takes the client's own. Raises ConnectError (nothing was written), InDoubtError, TemporaryError
        after `begin_by`, or AccountError for an address or header that can be no request at all.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HttpResponse] = loop.create_future()
        call = loop.create_task(self._call(method, url, headers, body, timeout_s))
        self._running.add(call)
        call.add_done_callback(partial(self._finished, answer))
        return await answer

    def _finished(self, answer: asyncio.Future[HttpResponse], call: asyncio.Task[HttpResponse]) -> None:
        """Hands the outcome to a caller who still waits (what asyncio.shield does, at half its cost)."""
        self._running.discard(call)
        error = None if call.cancelled() else call.exception()  # taken here: a cancelled caller never will
        if answer.done():
            return
        if call.cancelled():
            answer.cancel()
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(call.result())

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, timeout_s: float
    ) -> HttpResponse:
        if time.monotonic() >= begin_by.get():
            raise TemporaryError("the calls before it took the time of its claim")
        try:
            return await _exchange(self._built(method, url, headers, body, timeout_s))
        except (BuilderError, ValueError):
            # Its text would show the header, which holds the token.
            raise AccountError("the account's address or token makes no valid request", code="request") from None
        except PyreqwestError as error:
            if _surely_unwritten(error):
                raise ConnectError("no connection to the provider") from None
            raise InDoubtError(f"no proper answer ({type(error).__name__})") from None

    def _built(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, timeout_s: float
    ) -> StreamRequest:
        request = self._client.request(method, url)
        if headers:
            request = request.headers(dict(headers))
        if body:
            request = request.body_bytes(body)
        if timeout_s:
            request = request.timeout(timedelta(seconds=timeout_s))
        return request.build_streamed()

    async def close(self) -> None:
        """Waits for calls under way, then closes the pool."""
        if self._running:
            await asyncio.wait(set(self._running))
        await self._client.close()


async def _exchange(request: StreamRequest) -> HttpResponse:
    """Sends and reads to the end, at most MAX_BODY (after decompression)."""
    async with request as response:
        chunks, size = [], 0
        while (chunk := await response.body_reader.read_chunk()) is not None:
            size += len(chunk)
            if size > MAX_BODY:
                raise InDoubtError("the answer is over 4 MiB")
            chunks.append(bytes(chunk))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, b"".join(chunks))


def _surely_unwritten(error: PyreqwestError) -> bool:
    if isinstance(error, PoolTimeoutError | ClientClosedError):
        return True
    details = getattr(error, "details", None) or {}
    return any(cause.get("message") == _NOT_WRITTEN for cause in details.get("causes") or ())
