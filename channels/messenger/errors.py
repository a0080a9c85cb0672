"""Meta's error answers, as the closed tree. Decided on (code, subcode), then `is_transient`, then the HTTP status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    SendError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)
from bot.ports import HttpResponse

THROTTLE = frozenset({4, 17, 32, 613, 80006})
WINDOW = frozenset({2018278, 2534022, 2018065})
UNREACHABLE = frozenset(
    {(10, 2018108), (100, 2018001), (100, 2534014), (100, 33), (200, 1545041), (551, 0), (551, 1545041)}
)
CONTENT = frozenset({2018008, 2018047, 2018109, 2018294, 2018014, 2018074})
HELD_BY_OTHERS = frozenset({2018300, 2018321})


def error_of(response: HttpResponse) -> SendError | None:
    """The error of an answer, None for a success."""
    body = _json(response.body)
    error = body.get("error") if body is not None else None
    if response.status == 200 and body is not None and not isinstance(error, dict):
        return None
    if not isinstance(error, dict):
        return _by_status(response)
    return _by_code(error, response)


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _by_status(response: HttpResponse) -> SendError:
    if response.status == 429:
        return ThrottledError("too many calls", code="429", retry_after_s=_retry_after(response) or 60)
    if response.status in (401, 403):
        return AccountError("the page token is refused", code=str(response.status))
    # Meta has no idempotency key: whether a 5xx or an HTML page followed an acceptance is unknown.
    return InDoubtError("no JSON in the answer", code=str(response.status))


def _by_code(error: Mapping[str, Any], response: HttpResponse) -> SendError:
    code, sub = _number(error, "code"), _number(error, "error_subcode")
    label = f"{code}/{sub}" if sub else str(code)
    if sub in WINDOW:
        return WindowClosedError("outside the reply window", code=label)
    if (code, sub) in UNREACHABLE or code == 551:
        return UnreachableError("the buyer cannot be reached", code=label)
    if code in THROTTLE or response.status == 429:
        return ThrottledError("too many calls", code=label, retry_after_s=_retry_after(response) or 60)
    if sub in HELD_BY_OTHERS:
        return RejectedError("another app owns the conversation", code=label)
    if code == 100:
        kind = ContentError if sub in CONTENT or sub == 0 else RejectedError
        return kind("Meta refuses the content", code=label)
    if code == 1 and sub == 1357046:
        return InDoubtError("sent although the answer says otherwise, at times", code=label)
    if code in (190, 200, 10, 368, 2022) or (code == 1 and sub == 99):
        return AccountError("the page or its token lacks the right", code=label)
    if code in (1, 2, 1200) or error.get("is_transient") is True:
        return ProviderDownError("Meta asks to try again", code=label)
    if response.status >= 500:
        return InDoubtError("Meta failed", code=label)
    return RejectedError("Meta refuses the message", code=label)


def _number(error: Mapping[str, Any], name: str) -> int:
    value = error.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _retry_after(response: HttpResponse) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0
