"""Provider calls over pyreqwest (reqwest in Rust), told apart by the one thing that matters: may it have been written?

The library's exception classes do not say it (measured: a cut connection after the request raises a ConnectError too).
Only an exhausted pool, or a cause whose message is `client error (Connect)`, means that not a byte went out. A cancelled
call still goes out, so calls are never cancelled. Error texts hold the URL, and WeChat's URLs hold a token: they are
never passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PoolTimeoutError, PyreqwestError

from bot.errors import ConnectError, InDoubtError
from bot.ports import HttpResponse

MAX_BODY = 4 * 1024 * 1024
_NOT_WRITTEN = "client error (Connect)"


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

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 0.0,
    ) -> HttpResponse:
        """One request, never repeated. Raises ConnectError or InDoubtError; any status is an answer."""
        call = asyncio.ensure_future(self._call(method, url, headers, body, timeout_s))
        return await asyncio.shield(call)

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes, timeout_s: float
    ) -> HttpResponse:
        try:
            request = self._client.request(method, url)
            if headers:
                request = request.headers(dict(headers))
            if body:
                request = request.body_bytes(body)
            if timeout_s:
                request = request.timeout(timedelta(seconds=timeout_s))
            response = await request.build().send()
            found = bytes(await response.bytes())
        except PyreqwestError as error:
            if _surely_unwritten(error):
                raise ConnectError("no connection to the provider") from None
            raise InDoubtError(f"no proper answer ({type(error).__name__})") from None
        if len(found) > MAX_BODY:
            raise InDoubtError("the answer is over 4 MiB")
        return HttpResponse(response.status, {k.lower(): v for k, v in response.headers.items()}, found)

    async def close(self) -> None:
        """Closes the pool."""
        await self._client.close()


def _surely_unwritten(error: PyreqwestError) -> bool:
    if isinstance(error, PoolTimeoutError):
        return True
    details = getattr(error, "details", None) or {}
    return any(cause.get("message") == _NOT_WRITTEN for cause in details.get("causes") or ())
