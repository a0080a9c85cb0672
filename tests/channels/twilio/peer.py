"""Twilio's side on loopback: checks sign-in and form as the real one does, and answers what the test put in line."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from urllib.parse import parse_qsl

from aiohttp import web

SID = "AC00112233445566778899aabbccddeeff"
TOKEN = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"


def account(base: str) -> str:
    """The account `sms-main` at a peer, for a gateway's configuration."""
    return f"""
[channels.sms-main]
type = "twilio"
account_sid = "{SID}"
auth_token = "{TOKEN}"
from_number = "+15005550001"
api_base = "{base}"
"""


class TwilioPeer:
    """`answers` are given in turn: (status, body, headers) or "drop"; with none left a send is accepted."""

    def __init__(self, user: str = SID, password: str = TOKEN) -> None:
        self.login = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        self.forms: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.answers: list[object] = []
        self.parts = 2
        self.times: list[float] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.targets.append(f"{request.method} {request.path_qs}")
        body = await request.text()
        if self.answers:
            answer = self.answers.pop(0)
            if answer == "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            status, text, headers = answer  # type: ignore[misc]
            return web.Response(status=status, text=text, headers=headers)
        if request.headers.get("Authorization") != self.login:
            return self._refuse(401, 20003)
        if request.method == "GET":
            return web.json_response({"status": "active"} if request.path.endswith(f"{SID}.json") else {"messages": []})
        return self._create(request, body)

    def _create(self, request: web.Request, body: str) -> web.Response:
        if request.path != MESSAGES:
            return self._refuse(404, 20404)
        assert request.content_type == "application/x-www-form-urlencoded"
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True, errors="strict")
        form = dict(pairs)
        assert len(form) == len(pairs)
        assert ("From" in form) != ("MessagingServiceSid" in form)
        if not form["To"].startswith("+"):
            return self._refuse(400, 21211)
        if len(form["Body"]) > 1600:
            return self._refuse(400, 21617)
        if "_" in form.get("StatusCallback", "").partition("?")[0]:
            return self._refuse(400, 21609)
        assert 1 <= int(form.get("ValidityPeriod", "1")) <= 36_000
        self.forms.append(form)
        self.times.append(time.monotonic())
        sid = f"SM{len(self.forms):032x}"
        service = "MessagingServiceSid" in form
        answer = {
            "sid": sid,
            "status": "accepted" if service else "queued",
            "num_segments": "0" if service else str(self.parts),
            "error_code": None,
            "error_message": None,
        }
        return web.json_response(answer, status=201)

    def _refuse(self, status: int, code: int) -> web.Response:
        return web.json_response({"code": code, "message": "no", "more_info": "", "status": status}, status=status)


def refusal(status: int, code: int, **headers: str) -> tuple[int, str, dict[str, str]]:
    """An error answer."""
    return status, json.dumps({"code": code, "message": "refused", "status": status}), headers
