"""ACS3-HMAC-SHA256, Alibaba Cloud's request signature V3. Pure.

Source: https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature (2026-11).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"
FORM_TYPE = "application/x-www-form-urlencoded"


def encode(params: Mapping[str, str]) -> str:
    """Sorted, percent-encoded by RFC 3986: the canonical query, and just as good as a form body."""
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(params.items()))


def canonical(method: str, query: str, headers: Mapping[str, str], content_hash: str) -> str:
    """The canonical request of an RPC action: its path is always "/"."""
    lines = "".join(f"{name}:{value.strip()}\n" for name, value in sorted(headers.items()))
    return f"{method}\n/\n{query}\n{lines}\n{';'.join(sorted(headers))}\n{content_hash}"


def signed_headers(
    *,
    key_id: str,
    secret: str,
    host: str,
    action: str,
    version: str,
    at_ms: int,
    nonce: str,
    query: str = "",
    body: bytes = b"",
    method: str = "POST",
) -> Mapping[str, str]:
    """Every header to send (without Host, which the client writes), `Authorization` among them.

    Only what must be is signed: clients and proxies add Accept and User-Agent as they like.
    """
    content_hash = hashlib.sha256(body).hexdigest()
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": content_hash,
        "x-acs-date": datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if body:
        headers["content-type"] = FORM_TYPE
    request = canonical(method, query, headers, content_hash)
    text = f"{ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(secret.encode(), text.encode(), "sha256").hex()
    names = ";".join(sorted(headers))
    del headers["host"]
    return headers | {"Authorization": f"{ALGORITHM} Credential={key_id},SignedHeaders={names},Signature={signature}"}
