"""Who may use the sandbox: this machine, or whoever holds the one-time token."""

from __future__ import annotations

import hmac

from aiohttp import web

from bot.problems import problem
from bot.proxies import PASSED_ON as XFF
from bot.proxies import proxies_of, sender_of

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
COOKIE = "touchpoint_sandbox"
PHONE = "touchpoint_phone"
"""Names the simulated phone, `account:id`, in whose app the browser shows a page of the gateway's."""

PASSED_ON = frozenset({"X-Forwarded-For", "X-Real-IP", "Forwarded"})


def holds(request: web.Request, token: str) -> bool:
    """Whether the request carries the token, in its query or its cookie; never where there is none."""
    given = request.query.get("token") or request.cookies.get(COOKIE, "")
    return bool(token) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def refusal(request: web.Request, *, by_token: bool) -> web.Response | None:
    """The answer to a request that may not pass, None for one that may."""
    if not by_token and not _is_local(request):
        return problem(
            403, "sandbox-closed", "the sandbox opens from this machine, or with the token that serve printed"
        )
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin and origin.partition("://")[2] != request.host:
        return problem(403, "foreign-page", "another site's page may not move the sandbox")
    return None


def _is_local(request: web.Request) -> bool:
    """From this machine itself; what a proxy passes on comes from anywhere, unless one that is trusted names this machine."""
    if not any(name in request.headers for name in PASSED_ON):
        return request.remote in LOOPBACK
    proxies = proxies_of(request)
    return proxies.trusts(request.remote or "") and XFF in request.headers and sender_of(request) in LOOPBACK
