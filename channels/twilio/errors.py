"""Twilio's refusals as the closed tree, and its error codes in callbacks as failure reasons.

Source: https://www.twilio.com/docs/api/errors (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    OptedOutError,
    RejectedError,
    SendError,
    ThrottledError,
    UnreachableError,
)
from bot.ports import HttpResponse
from bot.reasons import FailureReason

# Code to a plain sentence. What concerns one number or country only must not stop the line, so it is no AccountError.
ACCOUNT = {
    20003: "Twilio refuses account_sid, auth_token or the API key",
    20005: "the Twilio account is not active",
    20404: "Twilio does not know the account; look at account_sid and api_base",
    21603: "from_number or messaging_service_sid is missing",
    21606: "from_number cannot send texts",
    21609: "Twilio cannot call server.public_url for delivery statuses",
    21659: "from_number is no number of this account",
    21660: "from_number belongs to another Twilio account",
    21703: "the Messaging Service has no sender",
    21704: "the Messaging Service has no sender that fits",
    30002: "the Twilio account is suspended",
    30024: "the carrier does not know the sender",
    30032: "the toll-free number is not verified",
    30034: "the US number is registered to no campaign",
}
# Code to a plain sentence, a reason, and whether staff can mend it.
REFUSED = {
    21408: ("texts to this country are switched off at Twilio", FailureReason.ACCOUNT, True),
    21604: ("no number to send to", FailureReason.REJECTED, False),
    21608: ("a trial account may only send to verified numbers", FailureReason.ACCOUNT, True),
    21612: ("no route from this sender to this number", FailureReason.REJECTED, False),
    30007: ("filtered as spam; look at the wording and at the sender's registration", FailureReason.FILTERED, True),
}
CONTENT = {
    21602: "the text is empty",
    21605: "the text is too long",
    21617: "the text is over 1600 characters",
    21619: "text and media are missing",
    21655: "ContentSid is unknown",
    21656: "ContentVariables are wrong",
}
UNREACHABLE = {
    21211: "not a phone number",
    21217: "not a phone number",
    21421: "not a phone number",
    21614: "not a mobile number",
    21635: "a landline takes no texts",
    30005: "unknown number",
    30006: "a landline, or a carrier that cannot be reached",
}
PAUSE_S = {
    14107: 1.0,
    20429: 1.0,
    21611: 300.0,  # over ten hours of texts are queued at the sender already
    63038: 3600.0,  # the account's daily limit
}
PAUSED = {
    21611: "over ten hours of texts wait at the sender; another sender or fewer texts would help",
    63038: "the account's texts of the day are used up; Twilio raises the limit on request",
}
PER_SENDER = frozenset({14107, 21611})
"""Limits of one sender: a Messaging Service has others for other numbers."""
OPTED_OUT = frozenset({21610, 30004})
BLOCKED = 30004
"""A block of the carrier or the recipient: marketing stops, other texts may still arrive."""

FAILURES: Mapping[int, FailureReason] = {
    **dict.fromkeys(ACCOUNT, FailureReason.ACCOUNT),
    **{code: reason for code, (_, reason, _) in REFUSED.items()},
    **dict.fromkeys(CONTENT, FailureReason.CONTENT),
    **dict.fromkeys(UNREACHABLE, FailureReason.UNREACHABLE),
    **dict.fromkeys(PAUSE_S, FailureReason.THROTTLED),
    **dict.fromkeys(OPTED_OUT, FailureReason.OPTED_OUT),
    30001: FailureReason.EXPIRED,
    # A phone that is switched off comes back: the number stays good.
    30003: FailureReason.EXPIRED,
    30008: FailureReason.PROVIDER_ERROR,
    30022: FailureReason.THROTTLED,
    30023: FailureReason.THROTTLED,
    30027: FailureReason.THROTTLED,
    30036: FailureReason.EXPIRED,
    30047: FailureReason.FILTERED,
    30610: FailureReason.FILTERED,
}

AGAIN_AFTER_S: Mapping[int, tuple[int, ...]] = {30003: (3_600, 21_600, 86_400), 30008: (300,)}
"""Failures that may pass: a handset that is off (1 h, 6 h and 24 h later), and a carrier's error without a name (once)."""


def failure_of(code: int) -> FailureReason:
    """The failure reason of a callback's ErrorCode; an unknown one is a refusal."""
    return FAILURES.get(code, FailureReason.REJECTED)


def error_of(response: HttpResponse, answer: Mapping[str, Any] | None, *, pool: bool = False) -> SendError | None:
    """The error of a response with this JSON to a send, None where Twilio accepted it. `pool`: it has several senders."""
    if answer is None:
        return _by_status(response, "")
    if 200 <= response.status < 300:
        code = _number(answer, "error_code")
        if code or answer.get("status") in ("failed", "undelivered", "canceled"):
            return by_code(code, 0.0, pool=pool) or RejectedError("Twilio refuses the message", code=str(code or ""))
        return None if isinstance(answer.get("sid"), str) else InDoubtError("the answer names no message")
    code = _number(answer, "code")
    return by_code(code, response.retry_after_s, pool=pool) or _by_status(response, str(code or response.status))


def by_code(code: int, retry_after_s: float, *, pool: bool = False) -> SendError | None:
    """The error that a Twilio code means, None for an unknown one."""
    label = str(code)
    if code in OPTED_OUT:
        return OptedOutError("the buyer has stopped this sender", code=label, marketing_only=code == BLOCKED)
    if code in PAUSE_S:
        whole = not (pool and code in PER_SENDER)
        pause = retry_after_s or PAUSE_S[code]
        return ThrottledError(
            PAUSED.get(code, "Twilio asks to slow down"),
            code=label,
            retry_after_s=pause,
            alert=code in PAUSED,
            whole_line=whole,
        )
    if code in UNREACHABLE:
        return UnreachableError(UNREACHABLE[code], code=label)
    if code in ACCOUNT:
        return AccountError(ACCOUNT[code], code=label)
    if code in CONTENT:
        return ContentError(CONTENT[code], code=label)
    if code in REFUSED:
        detail, reason, alert = REFUSED[code]
        return RejectedError(detail, code=label, reason=reason, alert=alert)
    return None


def _by_status(response: HttpResponse, code: str) -> SendError:
    status = response.status
    code = code or str(status)
    if status == 429:
        # Twilio: a request answered 429 was not processed and is always safe to repeat.
        return ThrottledError("Twilio asks to slow down", code=code, retry_after_s=response.retry_after_s or 1.0)
    if status in (401, 403, 404):
        return AccountError("Twilio refuses the account; look at its secrets and api_base", code=code)
    if 300 <= status < 400:
        return AccountError("api_base redirects; Twilio's API does not", code=code)
    if 400 <= status < 500 and status != 408:
        return RejectedError("Twilio refuses the message", code=code)
    # Twilio has no idempotency key: what followed a 5xx, a time-out or an HTML page is unknown.
    return InDoubtError("Twilio gave no proper answer", code=code)


def _number(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
