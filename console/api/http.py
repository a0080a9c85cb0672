"""What every call goes through: token, role, parameters, body, problems."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from bot.access import COOKIE, ROLES, Caller, caller_of, session_of
from bot.bodies import body_of
from bot.errors import PayloadError, RequestError, StoreError, TooLargeError
from bot.problems import unavailable
from bot.strictjson import decode
from console.api.deps import ApiDeps
from console.api.params import Param, check_params, shown
from console.api.refusals import Refusal

MAX_BODY = 1024 * 1024


@dataclass(slots=True)
class Call:
    """One authorised call. `once` names it where it carries an Idempotency-Key: the same for every repeat.

    `headers` are added to the answer.
    """

    deps: ApiDeps
    request: web.Request
    caller: Caller
    body: Any = None
    raw: bytes = b""
    once: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def query(self, name: str) -> str:
        """A query parameter, "" where it is missing."""
        return self.request.query.get(name, "")

    @property
    def limit(self) -> int:
        """The page size: 1 to 200."""
        return int(self.query("limit") or "50")


Handle = Callable[[Call], Awaitable[tuple[int, Any] | web.StreamResponse]]
"""Answers status and body; a read whose answer may be large answers by itself, piece by piece."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: everything that serving and describing it needs. `one_of`: parameters of which one may be given."""

    method: str
    path: str
    may: str
    handle: Handle
    summary: str
    body: type[BaseModel] | None = None
    may_be_empty: bool = False  # the body may be left out
    raw_body: str = ""  # a schema name for bodies that are read elsewhere
    answers: dict[int, tuple[str, type[BaseModel] | TypeAdapter[Any]]] = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    one_of: tuple[str, ...] = ()
    media: str = "application/json"  # of its answers

    @property
    def writes(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method != "GET"


Finish = Callable[[Call, Route], Awaitable[web.StreamResponse]]


def serve(deps: ApiDeps, route: Route, finish: Finish) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route; `finish` runs the checked call."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            caller = await authorised(deps, request, route.may)
            call = Call(deps, request, caller)
            check_params(request, route.params, route.one_of)
            if request.method in ("POST", "PATCH", "PUT"):
                await _read(call, route)
            return await finish(call, route)
        except Refusal as refusal:
            return refusal.answer()
        except StoreError as error:
            return unavailable(error.outward)

    return handler


async def authorised(deps: ApiDeps, request: web.Request, may: str) -> Caller:
    """Who calls: by a token, or from the console by the session of who signed in there.

    Raises Refusal 401 without either, 403 for a role that may not, and for a write from elsewhere than the console's pages.
    """
    given = request.headers.get("Authorization")
    cookie = request.cookies.get(COOKIE, "") if given is None else ""
    if cookie:
        caller = await _signed_in(deps, request, cookie)
    else:
        scheme, _, token = (given or "").partition(" ")
        caller = await caller_of(deps.store, token.strip()) if scheme.lower() == "bearer" and token else None
    if caller is None:
        raise Refusal(401, "no-token", "send Authorization: Bearer with a token of `touchpoint token create`")
    if may not in ROLES.get(caller.role, frozenset()):
        raise Refusal(403, "not-allowed", f"the role {caller.role} may not do this")
    return caller


async def _signed_in(deps: ApiDeps, request: web.Request, cookie: str) -> Caller | None:
    session = await session_of(deps.store, cookie)
    if session is None:
        return None
    if request.method not in ("GET", "HEAD") and not hmac.compare_digest(
        request.headers.get("X-CSRF-Token", "").encode("utf-8", "replace"), session.csrf.encode()
    ):
        raise Refusal(403, "not-from-here", "a session writes from the console's own pages only: load the page again")
    return session.caller


# --- body -------------------------------------------------------------------------------------------------------------


async def _read(call: Call, route: Route) -> None:
    request = call.request
    try:
        call.raw = await body_of(request, MAX_BODY)
    except TooLargeError as error:
        raise Refusal(413, error.kind, "the body is over 1 MiB") from error
    except RequestError as error:
        raise Refusal(error.status, error.kind, error.detail) from error
    if route.body is None and not route.raw_body:
        return
    if route.may_be_empty and not call.raw:
        call.raw = b"{}"
        call.body = route.body.model_validate({}) if route.body is not None else {}
        return
    if request.content_type != "application/json":
        raise Refusal(415, "wrong-type", "send Content-Type: application/json")
    try:
        call.body = decode(call.raw)
    except PayloadError as error:
        raise Refusal(400, "bad-body", error.detail) from error
    if route.body is None:
        return
    try:
        call.body = route.body.model_validate_json(call.raw)
    except ValidationError as error:
        faults = faults_of(error, route.body)
        words = "; ".join(f"{name}: {detail}" for name, detail in faults[:10])
        raise Refusal(400, "bad-body", words, errors=faults) from error


def faults_of(error: ValidationError, body: type[BaseModel]) -> list[tuple[str, str]]:
    """Every field of a body that is at fault, and what is wrong with it."""
    return list(dict(_faults(error, body)).items())


def _faults(error: ValidationError, body: type[BaseModel]) -> list[tuple[str, str]]:
    found = []
    for line in error.errors(include_url=False, include_input=False, include_context=False):
        # pydantic adds the branch of a union, such as Money or constrained-str, which no caller wrote
        steps = [str(step) for step in line["loc"] if isinstance(step, int) or _wrote(str(step), body)]
        detail = line["msg"].removeprefix("Value error, ")
        if line["type"] == "extra_forbidden":
            there = "" if len(steps) > 1 else f"; there are: {', '.join(body.model_fields)}"
            detail = f"there is no such field{there}"
        found.append((shown(".".join(steps)) or "body", detail))
    # Of a union the branch that was meant says what is wrong inside; that the other branch does not fit says nothing.
    return [(name, detail) for name, detail in found if not any(other.startswith(f"{name}.") for other, _ in found)]


def _wrote(step: str, body: type[BaseModel]) -> bool:
    return step in body.model_fields or not (step[:1].isupper() or "[" in step or step.startswith("constrained-"))


def answer_of(status: int, body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """An operation's answer as JSON."""
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.json_response(body, status=status, headers=headers)


async def begun(answer: web.StreamResponse, request: web.Request) -> bool:
    """Sends the headers of an answer that is written piece by piece; whether its body is to follow (a HEAD has none)."""
    await answer.prepare(request)
    return request.method != "HEAD"
