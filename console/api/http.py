"""What every call goes through: token, role, body, idempotency, problems."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from bot import keys
from bot.access import Caller, caller_of
from bot.errors import PayloadError, StoreError
from bot.problems import problem, unavailable
from console.api.deps import ApiDeps
from shops.standard.strict_json import decode

IDEMPOTENT_MS = 48 * 3_600_000
MAX_BODY = 1024 * 1024
ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({"read", "service", "marketing", "owner"}),
    "marketing": frozenset({"read", "service", "marketing"}),
    "service": frozenset({"read", "service"}),
    "read-only": frozenset({"read"}),
}
"""What each role may do. Whatever is not named is denied."""


class Refusal(Exception):  # noqa: N818  # an answer, not an error
    """An answer other than success."""

    def __init__(self, status: int, kind: str, detail: str, *, field_name: str = "", location: str = "") -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.field_name, self.location = status, kind, detail, field_name, location


@dataclass(slots=True)
class Call:
    """One authorised call."""

    deps: ApiDeps
    request: web.Request
    caller: Caller
    body: Any = None
    raw: bytes = b""

    def query(self, name: str) -> str:
        """A query parameter, "" where it is missing."""
        return self.request.query.get(name, "")

    @property
    def limit(self) -> int:
        """The page size: 1 to 200."""
        text = self.query("limit") or "50"
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 200):
            raise Refusal(400, "bad-parameter", "limit must be a number from 1 to 200", field_name="limit")
        return int(text)


Handle = Callable[[Call], Awaitable[tuple[int, Any]]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: everything that serving and describing it needs."""

    method: str
    path: str
    may: str
    handle: Handle
    summary: str
    body: type[BaseModel] | None = None
    raw_body: str = ""  # a schema name for bodies that are read elsewhere
    answers: dict[int, str] = field(default_factory=dict)
    params: tuple[str, ...] = ()


def serve(deps: ApiDeps, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            caller = await _caller(deps, request, route)
            call = Call(deps, request, caller)
            if request.method in ("POST", "PATCH", "PUT"):
                await _read(call, route)
            for value in (*request.match_info.values(), *request.query.values()):
                _plain(value)
            return await _once(call, route)
        except Refusal as refusal:
            answer = problem(refusal.status, refusal.kind, refusal.detail, field=refusal.field_name)
            if refusal.location:
                answer.headers["Location"] = refusal.location
            if refusal.status == 401:
                answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        except StoreError as error:
            return unavailable(str(error))

    return handler


def _plain(value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refusal(400, "bad-parameter", "a parameter is not UTF-8") from error
    if "\x00" in value or len(value) > 500:
        raise Refusal(400, "bad-parameter", "a parameter holds NUL or is over 500 characters")


async def _caller(deps: ApiDeps, request: web.Request, route: Route) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    caller = await caller_of(deps.store, token.strip()) if scheme.lower() == "bearer" and token else None
    if caller is None:
        raise Refusal(401, "no-token", "send Authorization: Bearer with a token of `touchpoint token create`")
    if route.may not in ROLES.get(caller.role, frozenset()):
        raise Refusal(403, "not-allowed", f"the role {caller.role} may not do this")
    return caller


async def _read(call: Call, route: Route) -> None:
    request = call.request
    if (request.content_length or 0) > MAX_BODY:
        raise Refusal(413, "too-large", "the body is over 1 MiB")
    call.raw = await request.read()
    if len(call.raw) > MAX_BODY:
        raise Refusal(413, "too-large", "the body is over 1 MiB")
    if route.body is None and not route.raw_body:
        return
    if request.content_type != "application/json":
        raise Refusal(415, "wrong-type", "send application/json")
    try:
        call.body = decode(call.raw)
    except PayloadError as error:
        raise Refusal(400, "bad-body", error.detail) from error
    if route.body is None:
        return
    try:
        call.body = route.body.model_validate_json(call.raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Refusal(400, "bad-body", f"{where or 'body'}: {first['msg']}", field_name=where) from error


# --- idempotency ------------------------------------------------------------------------------------------------------


async def _once(call: Call, route: Route) -> web.StreamResponse:
    """The same Idempotency-Key and body give the same answer for 48 h; with another body 409."""
    given = call.request.headers.get("Idempotency-Key", "")
    if not given or call.request.method == "GET":
        return _answer(*await route.handle(call))
    if len(given) > 200:
        raise Refusal(400, "bad-parameter", "Idempotency-Key is over 200 characters")
    scope = f"{call.caller.name}|{call.request.method}|{call.request.path}|{given}"
    name = keys.idempotency(hashlib.sha256(scope.encode("utf-8", "surrogateescape")).hexdigest())
    mark = hashlib.sha256(call.raw).hexdigest()
    fresh = json.dumps({"mark": mark, "by": secrets.token_hex(8)})
    if not await call.deps.store.command("SET", name, fresh, "NX", "PX", IDEMPOTENT_MS):
        held = json.loads(await call.deps.store.command("GET", name) or b"{}")
        if held.get("mark") != mark:
            raise Refusal(409, "key-reused", "this Idempotency-Key was used with another body")
        if "status" not in held:
            raise Refusal(409, "in-progress", "the first call with this Idempotency-Key is still under way")
        return _answer(held["status"], held["body"])
    try:
        status, body = await route.handle(call)
    except BaseException:
        await call.deps.store.command("DEL", name)
        raise
    kept = json.dumps({"mark": mark, "status": status, "body": body}, ensure_ascii=False)
    await call.deps.store.command("SET", name, kept, "PX", IDEMPOTENT_MS)
    return _answer(status, body)


def _answer(status: int, body: Any) -> web.Response:
    if body is None:
        return web.Response(status=status)
    text = json.dumps(body, ensure_ascii=False).encode()
    return web.Response(status=status, body=text, content_type="application/json")
