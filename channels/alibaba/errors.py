"""Alibaba Cloud's refusals as the closed tree, and receipt codes as failure reasons. HTTP 200 does not mean success.

Source: https://help.aliyun.com/zh/sms/developer-reference/api-error-codes (2026-11).
"""

from __future__ import annotations

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
)
from bot.events import Ms
from bot.ports import HttpResponse
from bot.reasons import FailureReason

_BALANCE = "the account has no balance left"
_STATE = "the account or its SMS service is not usable"
_SIGN = "sign_name is not approved, or not for this kind of template"
_KEYS = "access_key_id or access_key_secret is wrong, or the key may not send"
ACCOUNT: Mapping[str, str] = {
    "isv.AMOUNT_NOT_ENOUGH": _BALANCE,
    "isv.OUT_OF_SERVICE": _BALANCE,
    "isv.ACCOUNT_NOT_EXISTS": _STATE,
    "isv.ACCOUNT_ABNORMAL": _STATE,
    "isv.PRODUCT_UN_SUBSCRIPT": _STATE,
    "isv.PRODUCT_UNSUBSCRIBE": _STATE,
    "isv.DAY_LIMIT_CONTROL": "the daily limit set in the console is reached",
    "isv.MONTH_LIMIT_CONTROL": "the monthly limit set in the console is reached",
    "isp.RAM_PERMISSION_DENY": "the access key lacks the right dysms:SendSms (AliyunDysmsFullAccess has it)",
    "NoPermission": "the access key lacks the right dysms:SendSms (AliyunDysmsFullAccess has it)",
    "isv.SMS_SIGNATURE_ILLEGAL": _SIGN,
    "isv.SMS_SIGN_ILLEGAL": _SIGN,
    "isv.SIGN_STATE_ILLEGAL": _SIGN,
    "isv.SMS_SIGNATURE_SCENE_ILLEGAL": _SIGN,
    "isv.DENY_IP_RANGE": "Alibaba Cloud takes mainland texts from mainland servers only",
    "isv.EXTEND_CODE_ERROR": "up_extend_code is used by another signature",
    "SignatureDoesNotMatch": _KEYS,
    "IncompleteSignature": _KEYS,
    "InvalidTimeStamp.Expired": "the server's clock is wrong",
}
CONTENT: Mapping[str, str] = {
    "isv.SMS_TEMPLATE_ILLEGAL": "the template does not exist or is not approved",
    "isv.TEMPLATE_MISSING_PARAMETERS": "a variable of the template is missing from the notice's fields",
    "isv.TEMPLATE_PARAMS_ILLEGAL": "a field does not suit its variable in the template",
    "isv.INVALID_PARAMETERS": "a parameter is wrong",
    "isv.INVALID_JSON_PARAM": "the fields are not an object of strings",
    "isv.PARAM_LENGTH_LIMIT": "a field is too long",
    "isv.PARAM_NOT_SUPPORT_URL": "a field holds a link",
    "isv.BLACK_KEY_CONTROL_LIMIT": "a field holds a word that is not allowed",
    "isv.SMS_CONTENT_ILLEGAL": "a field holds content that is not allowed",
    "isv.DOMESTIC_NUMBER_NOT_SUPPORTED": "the template is for numbers abroad",
    "isv.MOBILE_COUNT_OVER_LIMIT": "too many numbers",
}
PAUSE_S = 1.0  # its limits count by the second
CLOCKS_DIFFER_S = 1.0
FLOW = "isv.BUSINESS_LIMIT_CONTROL"


def error_of(
    response: HttpResponse, answer: Mapping[str, Any] | None, *, real_ms: Ms, life_s: float
) -> SendError | None:
    """The error of a response with this JSON, None for one with Code OK.

    `real_ms` is the time, `life_s` how long the message is still of use.
    """
    code = answer.get("Code") if answer is not None else None
    if not isinstance(code, str) or not code:
        return _by_status(response)
    if code == "OK":
        return None if response.status == 200 else InDoubtError("Code OK, but not HTTP 200", code=str(response.status))
    message = str((answer or {}).get("Message", ""))
    return _flow(message, real_ms, life_s) if code == FLOW else _by_code(code[:60], response)


def _by_code(code: str, response: HttpResponse) -> SendError:
    if code in ACCOUNT:
        return AccountError(ACCOUNT[code], code=code)
    if code in CONTENT:
        return ContentError(CONTENT[code], code=code)
    if code == "isv.MOBILE_NUMBER_ILLEGAL":
        return UnreachableError("not a mobile number", code=code)
    if code.startswith("Throttling"):
        return ThrottledError(
            "Alibaba Cloud asks to slow down", code=code, retry_after_s=response.retry_after_s or PAUSE_S
        )
    if code == "SignatureNonceUsed":
        # Our nonces are fresh, so something on the way sent the request twice: the first may have been accepted.
        return InDoubtError("the request arrived twice", code=code)
    if code.startswith(("InvalidAccessKeyId", "Forbidden", "InvalidSecurityToken")):
        return AccountError(_KEYS, code=code)
    if code.startswith("isp.") or code == "ServiceUnavailable":
        return ProviderDownError("Alibaba Cloud asks to try again", code=code)
    if response.status >= 500:
        return InDoubtError("Alibaba Cloud failed", code=code)
    return RejectedError("Alibaba Cloud refuses the message", code=code)


def _flow(message: str, real_ms: Ms, life_s: float) -> SendError:
    """A limit of this number, not of the line. Minutes and hours are those of the clock: their end can be waited for.

    The level stands only in the message: 触发分钟级流控, 触发小时级流控, 触发天级流控.
    """
    words = message.lower()
    for span, names in ((60, ("分钟", "minute")), (3600, ("小时", "hour"))):
        if any(name in words for name in names):
            wait = span - real_ms / 1000 % span + CLOCKS_DIFFER_S
            if wait <= life_s:
                return ThrottledError("this number had its share", code=FLOW, retry_after_s=wait, whole_line=False)
            break
    return RejectedError("this number had its texts of the hour or day", code=FLOW, reason=FailureReason.THROTTLED)


def _by_status(response: HttpResponse) -> SendError:
    status, code = response.status, str(response.status)
    if status == 429:
        return ThrottledError(
            "Alibaba Cloud asks to slow down", code=code, retry_after_s=response.retry_after_s or PAUSE_S
        )
    if status in (401, 403, 404):
        return AccountError("api_base is no SMS endpoint of Alibaba Cloud, or refuses this server", code=code)
    if 300 <= status < 400:
        return AccountError("api_base redirects; Alibaba Cloud's API does not", code=code)
    if 400 <= status < 500 and status != 408:
        return RejectedError("Alibaba Cloud refuses the message", code=code)
    # A send is not idempotent: what followed a 5xx, a time-out or an HTML page is unknown until its receipt comes.
    return InDoubtError("Alibaba Cloud gave no proper answer", code=code)


def failure_of(code: str) -> FailureReason:
    """The failure reason of a receipt's err_code; the carriers' own codes are refusals."""
    if code == "PORT_NOT_REGISTERED":
        return FailureReason.ACCOUNT  # the signature is not registered with the carriers by the sender's real name
    return FailureReason.REJECTED
