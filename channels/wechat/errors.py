"""WeChat's errors: a code inside an HTTP 200. As the closed tree."""

from __future__ import annotations

from bot.errors import (
    AccountError,
    ContentError,
    OptedOutError,
    ProviderDownError,
    RejectedError,
    SendError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)

TOKEN_CODES = frozenset({40001, 40014, 42001, 41001})
_WINDOW = {45015, 45047, 45080}
_UNREACHABLE = {40003, 43004, 46004, 49003, 50005}
_OPTED_OUT = {43019, 43101, 48002}
_CONTENT = {
    40007,
    40008,
    40033,
    40035,
    40037,
    40165,
    40249,
    41030,
    43116,
    44002,
    44004,
    45001,
    45002,
    45003,
    45007,
    47001,
    47003,
}
_ACCOUNT = {
    40013, 40125, 40164, 40243, 41002, 41004, 43100, 43106, 48001, 48004, 48005, 48006, 50001, 50002, 61004, 89503,
}  # fmt: skip


def error_of(code: int, message: str = "") -> SendError:
    """The error for an errcode. `message` is used for its IP address only: it may quote what was sent."""
    label = str(code)
    if code in _WINDOW:
        return WindowClosedError("window shut or quota used up", code=label)
    if code in _UNREACHABLE:
        return UnreachableError("no follower with this openid", code=label)
    if code in _OPTED_OUT:
        return OptedOutError("the buyer refuses messages", code=label)
    if code in _CONTENT:
        return ContentError("WeChat refuses the content", code=label)
    if code in (45009, 45011, 43117):
        # 45009 is the day's quota, 45011 the minute's frequency; 43117 too frequent to this one openid.
        return ThrottledError("too many calls", code=label, retry_after_s=3600 if code == 45009 else 60)
    if code in (40164, 89503):
        ip = next((word.strip(",") for word in message.split() if word.count(".") == 3), "")
        return AccountError(f"this machine's address {ip} is not in the account's IP whitelist", code=label)
    if code in _ACCOUNT or code in TOKEN_CODES:
        return AccountError("the account lacks the right, or its id or secret is wrong", code=label)
    if code in (-1, 50004):
        return ProviderDownError("WeChat is busy", code=label)
    return RejectedError("WeChat refuses the message", code=label)
