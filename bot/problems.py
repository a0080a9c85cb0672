"""RFC 9457 problem documents: one shape for every refusal of every path. `docs/problems.md` explains each kind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

import structlog
from aiohttp import web

from bot.errors import LedgerError, RequestError, StoreError

DOCS = "/docs/problems#"
RETRY_AFTER_S = 2

log = structlog.get_logger()


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    field: str = "",
    errors: Sequence[tuple[str, str]] = (),
    retry_after_s: int = 0,
) -> web.Response:
    """A problem answer: what happened, in words that say what would be right.

    `errors` are (field, detail) pairs, for a body or a query with several faults; `field` is short for one.
    """
    faults = list(errors) or ([(field, detail)] if field else [])
    body: dict[str, object] = {
        "type": DOCS + kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if faults:
        body["errors"] = [{"field": name, "detail": words} for name, words in faults]
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode(),
        content_type="application/problem+json",
        headers=headers,
    )


def unavailable(detail: str) -> web.Response:
    """503: not storing now; the sender should try again."""
    return problem(503, "not-storing", detail, retry_after_s=RETRY_AFTER_S)


@web.middleware
async def as_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What no handler answered itself: unknown paths, wrong methods, bodies over the cap, an absent store, a bug of ours."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _of_exception(request, error)
    except StoreError as error:
        return unavailable(error.outward)
    except LedgerError as error:
        return problem(503, "no-history", str(error), retry_after_s=RETRY_AFTER_S)
    except RequestError as error:
        return problem(error.status, error.kind, error.detail, field=error.field)
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a problem document
        # The text of an error may quote what a buyer wrote: only its name and place are logged.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place is not None else ""
        log.error("request failed", error=type(error).__name__, place=where)  # noqa: TRY400  # see above
        return problem(500, "bug", "the gateway failed; its log has a line about it")


def _of_exception(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if error.status < 400:
        raise error
    if error.status == 404:
        return problem(404, "not-found", f"there is nothing at {request.path[:200]}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = problem(405, "wrong-method", f"{request.method[:20]} is not served here; there are: {allowed}")
        answer.headers["Allow"] = allowed
        return answer
    if error.status == 413:
        return problem(413, "too-large", "the body is too large")
    return problem(error.status, "bad-request", error.reason)
