"""The HTTP server: what cannot be read as HTTP is answered as a problem, too, and nothing of it is quoted."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from bot.problems import problem


class _Connection(RequestHandler):
    """One connection. The library's own answer is a plain text that quotes what was sent, tokens included."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to a request that no route was asked for; the connection is closed after it."""
        answer = super().handle_error(request, status, exc, message)  # it logs, and looks whether anything was sent
        if status < 500:
            # What comes before a colon names the fault; what comes after it is quoted from the request.
            what = (message or "").partition("\n")[0].partition(":")[0]
            answer = problem(
                status, "bad-request", f"this is no HTTP that can be read: {what or 'it is malformed'}"[:200]
            )
        else:
            answer = problem(status, "bug", "the gateway failed; its log has a line about it")
        answer.force_close()
        return answer


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application behind these connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.__class__ = _Server  # the library has no other place to say which connections it is to make
        return made
