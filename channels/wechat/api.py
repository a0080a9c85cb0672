"""WeChat's API: calls with the shared access token, and uploads."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from bot.errors import AccountError, ContentError, InDoubtError, ProviderDownError
from bot.ports import Clock, Http, HttpResponse, Token, Tokens
from channels.wechat.answers import answer_of
from channels.wechat.config import WeChatConfig
from channels.wechat.errors import TOKEN_CODES, error_of

Call = Callable[[str], Awaitable[HttpResponse]]
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class Api:
    """One account's calls. Every error is a SendError."""

    def __init__(self, config: WeChatConfig, http: Http, tokens: Tokens, clock: Clock) -> None:
        self._app_id, self._secret = config.app_id, config.app_secret
        self._base = config.api_base.rstrip("/")
        self._http, self._tokens, self._clock = http, tokens, clock
        self._key = f"wechat:{config.app_id}"

    async def post(self, path: str, body: dict[str, Any], *, notice: bool = False) -> dict[str, Any]:
        """Posts a body, its characters unescaped (WeChat may refuse escaped ones); answers WeChat's JSON."""
        try:
            data = _ENCODER.encode(body).encode()
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character") from None

        async def call(token: str) -> HttpResponse:
            url = f"{self._base}{path}?access_token={token}"
            return await self._http.request("POST", url, headers=_JSON, body=data)

        answer = await self._with_token(call, notice=notice)
        if "errcode" not in answer:
            raise InDoubtError("the answer does not say what became of the message", code="200")
        return answer

    async def upload(self, png: bytes) -> str:
        """A temporary picture's media_id. Nothing reaches a buyer by it, so whatever goes wrong can be done again."""
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="media"; filename="card.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = head.encode() + png + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

        async def call(token: str) -> HttpResponse:
            url = f"{self._base}/cgi-bin/media/upload?access_token={token}&type=image"
            return await self._http.request("POST", url, headers=headers, body=body)

        try:
            media = (await self._with_token(call)).get("media_id")
        except InDoubtError as error:
            raise ProviderDownError("the picture could not be uploaded", code=error.code) from None
        if not isinstance(media, str) or not media:
            raise ProviderDownError("the upload's answer holds no media_id", code="200")
        return media

    async def ticket(self) -> str:
        """The ticket by which pages are signed for the JS-SDK, shared by all processes like the token.

        By facts of 2026 `ticket/getticket?type=jsapi` gives one for 7,200 seconds, and the same one to all who ask meanwhile.
        """
        return await self._tokens.get(f"{self._key}:jsapi", self._fetch_ticket)

    async def _fetch_ticket(self, force: bool) -> Token:  # noqa: ARG002, FBT001  # the port's signature; there is no forcing here
        async def call(token: str) -> HttpResponse:
            url = f"{self._base}/cgi-bin/ticket/getticket?access_token={token}&type=jsapi"
            return await self._http.request("GET", url)

        try:
            answer = await self._with_token(call)
        except InDoubtError as error:
            raise ProviderDownError("WeChat gives no ticket just now", code=error.code) from None
        value, lasts = answer.get("ticket"), answer.get("expires_in")
        if not isinstance(value, str) or not value or not isinstance(lasts, int):
            raise AccountError("the ticket answer holds no ticket")
        return Token(value, self._clock.real() + lasts * 1000)

    async def check(self) -> str:
        """Gets a token with the account's id and secret; one plain line."""
        await self._fetch(False)
        return f"account {self._app_id} gives a token"

    # --- the token ------------------------------------------------------------------------------------------------

    async def _with_token(self, call: Call, *, notice: bool = False) -> dict[str, Any]:
        """Calls with the shared token; a token that is refused is replaced once and the call repeated once."""
        token = await self._tokens.get(self._key, self._fetch)
        answer = answer_of(await call(token))
        if answer.get("errcode") in TOKEN_CODES:
            token = await self._tokens.get(self._key, self._fetch, failed=token)
            answer = answer_of(await call(token))
        if code := answer.get("errcode"):
            raise error_of(code, str(answer.get("errmsg", "")), notice=notice)
        return answer

    async def _fetch(self, force: bool) -> Token:  # noqa: FBT001  # the port's signature
        """A token. It comes before the message, so no answer leaves nothing in doubt."""
        body = {
            "grant_type": "client_credential",
            "appid": self._app_id,
            "secret": self._secret.get_secret_value(),
            "force_refresh": force,
        }
        data = json.dumps(body).encode()
        try:
            answer = answer_of(
                await self._http.request("POST", f"{self._base}/cgi-bin/stable_token", headers=_JSON, body=data)
            )
        except InDoubtError as error:
            raise ProviderDownError("WeChat gives no token just now", code=error.code) from None
        if code := answer.get("errcode"):
            raise error_of(code, str(answer.get("errmsg", "")))
        value, lasts = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not value or not isinstance(lasts, int):
            raise AccountError("the token answer holds no token")
        return Token(value, self._clock.real() + lasts * 1000)
