"""Idempotency-Key: the same key and body give the same answer for 48 h; the same key with another body is a 409.

The first call holds the key while it runs. A repeat that comes meanwhile waits for its answer. A call that died (its
process was killed) gives the key free after 30 s: operations bring ids made from the key, so that running again repeats nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from typing import Any

from aiohttp import web

from bot import keys
from bot.clock import HOUR_MS
from console.api.http import Call, Route, answer_of
from console.api.refusals import Refusal

KEPT_MS = 48 * HOUR_MS
HELD_MS = 30_000
WAIT_S = 10.0
_KEY = re.compile(r"[!-~]{1,200}")


async def once(call: Call, route: Route) -> web.StreamResponse:
    """Runs a call, at most once per Idempotency-Key."""
    given = call.request.headers.get("Idempotency-Key")
    if given is None or not route.writes:
        answer = await route.handle(call)
        return answer if isinstance(answer, web.StreamResponse) else answer_of(*answer, call.headers)
    if not _KEY.fullmatch(given):
        raise Refusal(400, "bad-parameter", "Idempotency-Key must be 1 to 200 visible ASCII characters")
    scope = f"{call.caller.name}|{call.request.method}|{call.request.path}|{given}"
    call.once = hashlib.sha256(scope.encode("utf-8", "surrogateescape")).hexdigest()
    name = keys.idempotency(call.once)
    asked = _canonical(call.raw) + b"?" + call.request.query_string.encode("utf-8", "surrogateescape")
    mark = hashlib.sha256(asked).hexdigest()
    held = {"mark": mark, "by": secrets.token_hex(8)}
    if (found := await _hold(call, name, held)) is not None:
        return _again(found, mark)
    try:
        answer = await route.handle(call)
        assert isinstance(answer, tuple)  # only reads answer by themselves
        status, body = answer
        kept: dict[str, Any] = {"mark": mark, "status": status, "body": body}
    except Refusal as refusal:
        if refusal.status >= 500:
            await _free(call, name)
            raise
        kept = {
            "mark": mark,
            "refused": [refusal.status, refusal.kind, refusal.detail, refusal.errors, refusal.location],
        }
    except BaseException:
        await _free(call, name)
        raise
    await call.deps.store.command("SET", name, json.dumps(kept, ensure_ascii=False), "PX", KEPT_MS)
    return _again(kept, mark)


def _canonical(raw: bytes) -> bytes:
    """The same JSON is the same body, however it is spaced and ordered."""
    try:
        return json.dumps(json.loads(raw), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return raw


async def _hold(call: Call, name: str, held: dict[str, str]) -> dict[str, Any] | None:
    """None: the key is ours now. Otherwise the answer that was given under it (or a call with another body)."""
    clock = call.deps.clock
    end = clock.monotonic() + WAIT_S
    pause = 0.01
    while not await call.deps.store.command("SET", name, json.dumps(held), "NX", "PX", HELD_MS):
        found: dict[str, Any] = json.loads(await call.deps.store.command("GET", name) or b"{}")
        if "status" in found or "refused" in found or found.get("mark", held["mark"]) != held["mark"]:
            return found
        if clock.monotonic() > end:
            raise Refusal(409, "in-progress", "the first call with this Idempotency-Key is still under way")
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.2)
    return None


async def _free(call: Call, name: str) -> None:
    await call.deps.store.command("DEL", name)


def _again(found: dict[str, Any], mark: str) -> web.StreamResponse:
    if found.get("mark") != mark:
        raise Refusal(409, "key-reused", "this Idempotency-Key was used with another body")
    if "refused" in found:
        status, kind, detail, errors, location = found["refused"]
        raise Refusal(status, kind, detail, errors=[(field, words) for field, words in errors], location=location)
    return answer_of(found["status"], found["body"])
