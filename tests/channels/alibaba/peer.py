"""Alibaba Cloud's side on loopback: checks the V3 signature as its documentation says, and answers as told."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from urllib.parse import parse_qsl

from aiohttp import web

KEY_ID = "testAkId"
SECRET = "testAkSecret"
_AUTH = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})")
_MUST = {"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}


class AlibabaPeer:
    """`answers` are given in turn: (status, body) or "drop"; with none left a well-signed call succeeds."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.targets: list[str] = []
        self.nonces: set[str] = set()
        self.answers: list[object] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.targets.append(request.path_qs)
        body = await request.read()
        if self.answers:
            answer = self.answers.pop(0)
            if answer == "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            status, text = answer  # type: ignore[misc]
            return web.Response(status=status, text=text)
        if not self._signed(request, body):
            return web.json_response({"Code": "SignatureDoesNotMatch", "Message": "no"}, status=400)
        action = request.headers["x-acs-action"]
        self.calls.append((action, dict(parse_qsl(body.decode(), strict_parsing=True, errors="strict"))))
        answer = {"Code": "OK", "Message": "OK", "RequestId": "R1"}
        if action == "SendSms":
            return web.json_response({**answer, "BizId": f"9006{len(self.calls)}^0"})
        return web.json_response({**answer, "SignName": "某某商城", "SignStatus": 1})

    def _signed(self, request: web.Request, body: bytes) -> bool:
        found = _AUTH.fullmatch(request.headers.get("Authorization", ""))
        nonce = request.headers.get("x-acs-signature-nonce", "")
        if found is None or found[1] != KEY_ID or nonce in self.nonces or len(nonce) < 16:
            return False
        self.nonces.add(nonce)
        names = found[2].split(";")
        if not set(names) >= _MUST | ({"content-type"} if body else set()) or names != sorted(names):
            return False
        digest = hashlib.sha256(body).hexdigest()
        if request.headers["x-acs-content-sha256"] != digest or request.headers["x-acs-version"] != "2017-05-25":
            return False
        lines = [f"{name}:{request.headers[name].strip()}\n" for name in names]
        whole = "\n".join([request.method, "/", request.query_string, "".join(lines), found[2], digest])
        text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(whole.encode()).hexdigest()
        return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest() == found[3]


def refusal(code: str, status: int = 200, message: str = "refused") -> tuple[int, str]:
    """An error answer; business errors come with HTTP 200."""
    return status, json.dumps({"Code": code, "Message": message, "RequestId": "R1"})
