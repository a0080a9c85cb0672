"""RFC 9457 problem documents."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

DOCS = "/docs/problems#"


def problem(status: int, kind: str, detail: str, *, field: str = "", retry_after_s: int = 0) -> web.Response:
    """A problem answer: what happened, in words that say what would be right."""
    body: dict[str, object] = {
        "type": DOCS + kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if field:
        body["errors"] = [{"field": field, "detail": detail}]
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False).encode(),
        content_type="application/problem+json",
        headers=headers,
    )


def unavailable(detail: str) -> web.Response:
    """503: not storing now; the sender should try again."""
    return problem(503, "not-storing", detail, retry_after_s=2)
