"""WeChat's side on loopback: gives tokens, refuses others, keeps what it took, answers what the test put in line."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from aiohttp import web

APP, SECRET, TOKEN = "wx00aa11bb22cc33dd", "s3cret-app-9", "tok3nShop01"
BOTH, PLAIN = "wx00aa11bb22cc33d1", "wx00aa11bb22cc33d2"  # accounts in compatible and in plain mode
TICKET, SUBSCRIPTION = "/cgi-bin/ticket/getticket", "/cgi-bin/message/subscribe/bizsend"
KEY = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE"


def account(base: str, name: str = "wechat-main", **changes: str | None) -> str:
    """The account at a peer, for a gateway's configuration; None leaves a setting out."""
    values = {
        "type": "wechat",
        "app_id": APP,
        "app_secret": SECRET,
        "token": TOKEN,
        "encoding_aes_key": KEY,
        "api_base": base,
        **changes,
    }
    lines = [f'{key} = "{value}"' for key, value in values.items() if value is not None]
    return "\n".join([f"[channels.{name}]", *lines, ""])


class WeChatPeer:
    """`answers` are given to sends in turn: an errcode, (errcode, errmsg) or "drop"; with none left a send is accepted.

    `leave` counts what buyers allowed: subscription notices go only while something is left, and their answers name no id but
    with `names_notices`.
    `token` is the valid one; `gives` what stable_token answers un-forced, where that differs.
    """

    def __init__(self) -> None:
        self.token, self.gives, self.serial = "AT-1", "", 1
        self.asked: list[bool] = []
        self.sent: list[dict[str, object]] = []
        self.refused: list[int] = []
        self.answers: list[object] = []
        self.uploads: list[bytes] = []
        self.leave: Counter[tuple[str, str]] = Counter()  # by openid and template
        self.tickets, self.names_notices = 0, False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert request.method == ("GET" if request.path == TICKET else "POST")
        raw = await request.read()
        if request.path == "/cgi-bin/stable_token":
            return self._give(json.loads(raw))
        if request.query.get("access_token") != self.token:
            return self._refuse(40001, "invalid credential, access_token is invalid or not latest rid: 1-2-3")
        if request.path == "/cgi-bin/media/upload":
            assert request.query["type"] == "image"
            assert b"\x89PNG" in raw
            self.uploads.append(raw)
            return web.json_response({"type": "image", "media_id": f"M{len(self.uploads)}", "created_at": 1})
        if request.path == TICKET:
            return await self._ticket(request)
        assert request.path in ("/cgi-bin/message/custom/send", "/cgi-bin/message/template/send", SUBSCRIPTION)
        return self._take(request, raw)

    async def _ticket(self, request: web.Request) -> web.StreamResponse:
        assert request.query["type"] == "jsapi"
        self.tickets += 1
        answer = self.answers.pop(0) if self.answers else 0
        if answer == "slow":
            await asyncio.sleep(1.5)
        elif isinstance(answer, int) and answer:
            return self._refuse(answer, "error rid: 66aa0011-22bb3344-55cc6677")
        ticket = f"TICKET-{self.tickets}"
        return web.json_response({"errcode": 0, "errmsg": "ok", "ticket": ticket, "expires_in": 7200})

    def _give(self, body: dict[str, object]) -> web.Response:
        assert body["grant_type"] == "client_credential"
        if body["appid"] not in (APP, BOTH, PLAIN) or body["secret"] != SECRET:
            return web.json_response({"errcode": 40125, "errmsg": "invalid appsecret"})
        force = body["force_refresh"] is True
        self.asked.append(force)
        if force:
            self.supersede()
        return web.json_response({"access_token": self.gives or self.token, "expires_in": 7200})

    def supersede(self) -> None:
        """Somebody forces another token: the one given out is no longer good."""
        self.serial += 1
        self.token, self.gives = f"AT-{self.serial}", ""

    def _take(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        body = json.loads(raw)
        assert b"\\u" not in raw
        answer = self.answers.pop(0) if self.answers else 0
        noticed = request.path == SUBSCRIPTION
        if noticed and answer in (0, "drop"):
            key = (body["touser"], body["template_id"])
            assert "client_msg_id" not in body
            if not self.leave[key]:
                return self._refuse(43101, "user refuse to accept the msg rid: 66aa0011-22bb3344-55cc6677")
            self.leave[key] -= 1
        if answer == "drop":
            assert request.transport is not None
            self.sent.append(body)
            request.transport.abort()
            return web.Response()
        code, message = answer if isinstance(answer, tuple) else (answer, "error rid: 66aa0011-22bb3344-55cc6677")
        if code:
            return self._refuse(code, message)
        self.sent.append(body)
        named = "template_id" in body and (not noticed or self.names_notices)
        more = {"msgid": 3_300_000_000_000_000_000 + len(self.sent)} if named else {}
        return web.json_response({"errcode": 0, "errmsg": "ok", **more})

    def _refuse(self, code: int, message: str) -> web.Response:
        self.refused.append(code)
        return web.json_response({"errcode": code, "errmsg": message})

    def texts(self, openid: str) -> list[str]:
        """What a buyer has been sent, as text."""
        return [_words(body) for body in self.sent if body["touser"] == openid]


def _words(body: dict[str, object]) -> str:
    match body.get("msgtype"):
        case "text":
            return body["text"]["content"]  # type: ignore[index]
        case "msgmenu":
            return body["msgmenu"]["head_content"]  # type: ignore[index]
        case None:
            return f"[template {body['template_id']}]"
        case kind:
            return f"[{kind}]"
