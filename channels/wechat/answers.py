"""What came back from WeChat's API: the JSON of an answer, or the error that something else stands for."""

from __future__ import annotations

from typing import Any

from bot.errors import AccountError, InDoubtError, SendError, ThrottledError
from bot.ports import HttpResponse


def answer_of(response: HttpResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises a SendError for anything else.

    WeChat says all it says in a 200: other statuses come from proxies, a wrong `api_base`, or WeChat in trouble.
    """
    if response.status != 200:
        raise _by_status(response)
    value = response.json_object()
    if value is None:
        raise InDoubtError("no JSON object in the answer", code="200")
    answer = dict(value)
    if "errcode" in answer:
        answer["errcode"] = _whole(answer["errcode"])
    return answer


def _whole(code: object) -> int:
    """An errcode; one that is no number is read as "some error"."""
    if isinstance(code, str) and len(code) < 10 and code.removeprefix("-").isdecimal():
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else 1


def _by_status(response: HttpResponse) -> SendError:
    status = response.status
    if status == 429:
        return ThrottledError("too many calls", code="429", retry_after_s=response.retry_after_s or 60.0)
    if 300 <= status < 500 and status != 408:
        return AccountError("api_base does not lead to WeChat", code=str(status))
    return InDoubtError("no proper answer", code=str(status))
