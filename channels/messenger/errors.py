"""Meta's error answers, as the closed tree. Decided on (code, subcode), then `is_transient`, then the HTTP status.

Source: Send API error codes and Graph API error handling, read September 2026. The HTTP status is mostly 400, whatever
the error. Only code, subcode and status go into an error: Meta's message may quote the text that was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    SendError,
    TemporaryError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)
from bot.ports import LONGEST_PAUSE_S, HttpResponse
from bot.reasons import FailureReason
from channels.messenger import usage

WINDOW = frozenset({2018278, 2534022, 2018065})
HELD_BY_OTHERS = frozenset({2018300, 2018321, 2534037})
UNREACHABLE = frozenset({(10, 2018108), (100, 2018001), (100, 2534014), (100, 33), (200, 1545041)})
REJECTED = frozenset({(4, 2018354), (9, 2018352), (10, 1893015), (10, 1404170), (613, 1893016)})
"""Rules of opt-in requests: this message must not go, the account is well."""
THROTTLE = frozenset({4, 17, 32, 613, 80006})
ACCOUNT = frozenset({3, 10, 102, 190, 368, 2022})
RETRY = frozenset({2, 1200})
"""Documented as "temporary, try again"; 2 may also mean that the buyer has blocked the page, so not for ever."""
MOST_TRIES = 6
MEDIA = frozenset({2018008, 2018047, 2018074, 2018109, 2018294})
"""A picture that Meta could not fetch or use; any other refused content is a fault of ours that staff should see."""
_TRACE = re.compile(r"[0-9A-Za-z_-]{1,40}")

DEFAULT_PAUSE_S = 60.0
ABUSE_PAUSE_S = 900.0


def error_of(response: HttpResponse, answer: Mapping[str, Any] | None) -> SendError | None:
    """The error of a response with this JSON, None for a success."""
    error = answer.get("error") if answer is not None else None
    if isinstance(error, dict):
        return _by_code(error, response)
    if response.status == 200 and answer is not None and error is None:
        return None
    return _by_status(response)


def _by_status(response: HttpResponse) -> SendError:
    """An answer without an error of Meta's: a proxy, a wrong address, or Meta in trouble."""
    status = response.status
    if status == 429:
        return _throttled(response, str(status))
    if status in (401, 403):
        return AccountError("the page token is refused", code=str(status))
    if 300 <= status < 400 or status in (404, 405, 407):
        return AccountError("api_base does not lead to Meta", code=str(status))
    if status == 413:
        return ContentError("the message is too large", code=str(status))
    if 400 <= status < 500 and status != 408:
        return RejectedError("Meta refuses the request", code=str(status))
    # Meta has no idempotency key: whether a 5xx or an HTML page followed an acceptance is unknown.
    return InDoubtError("no JSON in the answer", code=str(status))


def _by_code(error: Mapping[str, Any], response: HttpResponse) -> SendError:
    code, sub = _number(error, "code"), _number(error, "error_subcode")
    pair, label = (code, sub), f"{code}/{sub}" if sub else str(code)
    trace = _trace(error)
    if sub in WINDOW:
        return WindowClosedError(f"outside the reply window{trace}", code=label)
    if pair in UNREACHABLE or code == 551:
        return UnreachableError(f"the buyer cannot be reached{trace}", code=label)
    if HELD_BY_OTHERS & {code, sub}:
        # Given back after a while or by the clerk's silence: a notice can wait for that, an answer is given up soon.
        return TemporaryError(f"another app owns the conversation{trace}", code=label, reason=FailureReason.REJECTED)
    if pair in REJECTED:
        return RejectedError("Meta's rule for opt-in requests", code=label)
    if pair == (613, 2018338):
        return ThrottledError(f"Meta warns of abuse{trace}", code=label, retry_after_s=ABUSE_PAUSE_S, alert=True)
    if code in THROTTLE or response.status == 429:
        return _throttled(response, label, trace)
    if code == 100:
        return ContentError(f"Meta refuses the content{trace}", code=label, alert=sub not in MEDIA)
    if pair == (1, 1357046):
        return InDoubtError(f"at times sent although the answer says otherwise{trace}", code=label)
    if code == 190:
        return AccountError(f"page_access_token is refused: it is wrong, has ended or was withdrawn{trace}", code=label)
    if code in ACCOUNT or 200 <= code <= 299 or pair == (1, 99):
        return AccountError(f"the page or its token lacks the right{trace}", code=label)
    if code in RETRY or error.get("is_transient") is True:
        return ProviderDownError(f"Meta asks to try again{trace}", code=label, most_tries=MOST_TRIES)
    if code == 1 or response.status >= 500:
        return InDoubtError(f"Meta failed and does not say what became of it{trace}", code=label)
    if response.status in (401, 403):
        return AccountError("the page token is refused", code=label)
    return RejectedError(f"Meta refuses the message{trace}", code=label)


def _trace(error: Mapping[str, Any]) -> str:
    """Meta's own name of the call, which its support asks for; nothing else of an error's words is kept."""
    value = error.get("fbtrace_id")
    return f" (fbtrace_id {value})" if isinstance(value, str) and _TRACE.fullmatch(value) else ""


def _throttled(response: HttpResponse, label: str, trace: str = "") -> ThrottledError:
    pause = response.retry_after_s or _regain(response) or DEFAULT_PAUSE_S
    return ThrottledError(f"too many calls{trace}", code=label, retry_after_s=min(pause, LONGEST_PAUSE_S))


def _number(error: Mapping[str, Any], name: str) -> int:
    value = error.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else 0


def _regain(response: HttpResponse) -> float:
    """Seconds of `estimated_time_to_regain_access` (minutes, in X-Business-Use-Case-Usage), 0 where it is not said."""
    minutes = [_number(row, "estimated_time_to_regain_access") for row in usage.rows(response)]
    return max(minutes, default=0) * 60.0
