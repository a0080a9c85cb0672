"""WeChat's errors: a code inside an HTTP 200. As the closed tree."""

from __future__ import annotations

import re

from bot.errors import (
    AccountError,
    ContentError,
    NoGrantError,
    ProviderDownError,
    RejectedError,
    SendError,
    TemporaryError,
    ThrottledError,
    UnreachableError,
    WindowClosedError,
)

TOKEN_CODES = frozenset({40001, 40014, 42001})
"""The token is wrong, malformed or past its time: it is replaced once and the call repeated once."""

MEDIA_GONE = 40007
"""The picture's media_id is not known (any more): it is uploaded once more."""

NO_GRANT = 43101
"""The buyer refused, or gave no leave that is left: of a subscription notice, also in the event of its result."""

_WINDOW = {45015, 45047}
# 46004 is "no such user"; 43019 our own blacklist; 48002 the buyer switched messages off. None says that the buyer wants
# no more news anywhere, so none is an opt-out: the address is out of reach until the next sign of life.
_UNREACHABLE = {40003, 43004, 43019, 46004, 48002, 49003, 50005}
_CONTENT = {40008, 40033, 44002, 44004, 45001, 45002, 45003, 45007, 45008, 47001, MEDIA_GONE}
_CONTENT_ALERT = {40035, 40037, 40165, 40249, 41030, 43116, 47003}
"""Wrong until somebody changes the template or the words: staff are told."""

_ACCOUNT = {
    40002, 40013, 40125, 40243, 41001, 41002, 41004, 43100, 43106, 48001, 48003, 48004, 48005, 48008,
    50001, 50002, 61004, 61007, 61016,
}  # fmt: skip
_WORDS = {
    40013: "app_id is wrong",
    40125: "app_secret is wrong, or was reset in the console",
    48001: "the account has no right to this interface: it must be verified, or the right be granted",
    50002: "the account is frozen",
}
_WHITELIST = {40164, 89501, 89503, 89506, 89507}
_RID = re.compile(r"rid: ?([0-9a-f]{4,12}(?:-[0-9a-f]{4,12}){2})")
_FIELD = re.compile(r"data\.([a-z_]{1,32}\d{0,4})\.value")
_UNKNOWN_TRIES = 3


def error_of(code: int, message: str = "", *, notice: bool = False) -> SendError:
    """The error for an errcode. `message` may quote what was sent: only an address, a field and the request id are kept.

    `notice`: of the template interface, whose rights and day quota are its own: the chat goes on.
    """
    label = str(code)
    rid = f" (rid {found[1]})" if (found := _RID.search(message)) else ""
    if code in _WINDOW:
        return WindowClosedError("window shut or quota used up" + rid, code=label)
    if code in _UNREACHABLE:
        return UnreachableError("no follower with this openid" + rid, code=label)
    if code in _CONTENT | _CONTENT_ALERT:
        field = f": {found[1]}" if (found := _FIELD.search(message)) else ""
        return ContentError(f"WeChat refuses the content{field}{rid}", code=label, alert=code in _CONTENT_ALERT)
    if code in (45009, 45011):
        # The day's quota of one interface, and the minute's frequency.
        return _too_many(code, rid, notice=notice)
    if code in _WHITELIST:
        ip = next((word.strip(",") for word in message.split() if word.count(".") == 3), "")
        named = f"address {ip}" if ip else "address"
        pause = 300.0 if code == 40164 else 3600.0  # a refused confirmation blocks the address for an hour
        return AccountError(
            f"this machine's {named} is not in the account's IP whitelist{rid}", code=label, pause_s=pause
        )
    if code in _ACCOUNT or code in TOKEN_CODES:
        if notice and code not in TOKEN_CODES:
            return RejectedError("the account may send no template messages" + rid, code=label, alert=True)
        words = _WORDS.get(code, "the account lacks the right, or its id or secret is wrong")
        return AccountError(words + rid, code=label)
    if code in (-1, 50004):
        return ProviderDownError("WeChat is busy" + rid, code=label)
    if code == NO_GRANT:
        return NoGrantError("the buyer gave no leave for this notice, or took it back" + rid, code=label)
    if code in (43117, 40097, 61451):
        # 43117: this buyer gets too many. Only this message is dropped.
        return RejectedError("WeChat refuses the message" + rid, code=label)
    return TemporaryError(
        "WeChat refuses it for an unknown reason" + rid, code=label, reason="rejected", most_tries=_UNKNOWN_TRIES
    )


def _too_many(code: int, rid: str, *, notice: bool) -> SendError:
    day = code == 45009
    if notice and day:
        return TemporaryError("the day's quota of template messages is used up" + rid, code=str(code), alert=True)
    return ThrottledError("too many calls" + rid, code=str(code), retry_after_s=3600 if day else 60, alert=day)
