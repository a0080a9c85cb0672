"""The WeChat adapter: handshake, signatures and encryption, events, sends by the customer-service API."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, cast

from bot import qr
from bot.config import AccountConfig
from bot.errors import (
    AccountError,
    ContentError,
    InDoubtError,
    PayloadError,
    SendError,
    SignatureError,
    ThrottledError,
)
from bot.messages import Notice, OutboundMessage, Picture, Receipt
from bot.ports import (
    Answer,
    Capabilities,
    ChannelType,
    HttpResponse,
    Parsed,
    RawRequest,
    Token,
    Toolkit,
    Verified,
    WindowRule,
)
from channels.wechat import xml
from channels.wechat.config import WeChatConfig, decode_key
from channels.wechat.crypto import Crypto, matches
from channels.wechat.errors import TOKEN_CODES, error_of
from channels.wechat.inbound import read
from channels.wechat.outbound import MENU_OPTIONS, TEXT_BYTES, bodies, template

MINUTE_MS = 60_000

CAPABILITIES = Capabilities(
    contents=frozenset({"text", "picture", "card", "notice"}),
    text_limit=TEXT_BYTES,
    # The official table of 2025-11: 5 in 48 h after a message, 3 in a minute after a click, follow or scan.
    windows={
        "message": WindowRule(48 * 60 * MINUTE_MS, 5),
        "click": WindowRule(MINUTE_MS, 3),
        "follow": WindowRule(MINUTE_MS, 3),
        "scan": WindowRule(MINUTE_MS, 3),
    },
    window_margin_ms=2_000,
    choices=MENU_OPTIONS,
    rate_per_second=50.0,
)
Call = Callable[[str], Awaitable[HttpResponse]]


class WeChat:
    """One official account."""

    max_body = 256 * 1024
    accepted = Answer(200, b"success")
    capabilities = CAPABILITIES

    def __init__(self, name: str, config: WeChatConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._config = config
        self._http, self._tokens, self._clock = toolkit.http, toolkit.tokens, toolkit.clock
        self._token = config.token.get_secret_value()
        keys = [decode_key(key.get_secret_value()) for key in config.encoding_aes_key or ()]
        self._crypto = Crypto(keys, config.app_id) if keys else None
        self._api = config.api_base.rstrip("/")

    # --- in -------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:
        """Echoes echostr for the right signature. Raises SignatureError."""
        self._check_plain(request)
        return Answer(200, request.param("echostr").encode())

    def _check_plain(self, request: RawRequest) -> None:
        given = request.param("signature")
        if not given or not matches(given, self._token, request.param("timestamp"), request.param("nonce")):
            raise SignatureError("signature does not match")

    def verify(self, request: RawRequest) -> Verified:
        """With a key: the signature over the encrypted part, decrypted. Without: the plain one. Raises SignatureError.

        The plain signature does not cover the body, so with a key only the encrypted part is ever believed.
        """
        if self._crypto is None:
            if request.param("encrypt_type") == "aes":
                raise SignatureError("the message is encrypted, but no encoding_aes_key is configured")
            self._check_plain(request)
            return Verified(request, request.body)
        try:
            encrypted = xml.text(xml.parse(request.body), "Encrypt", 400_000)
        except PayloadError as error:
            raise SignatureError("the body has no encrypted part") from error
        parts = (self._token, request.param("timestamp"), request.param("nonce"), encrypted)
        if not encrypted or not request.param("msg_signature") or not matches(request.param("msg_signature"), *parts):
            raise SignatureError("msg_signature does not match")
        return Verified(request, self._crypto.decrypt(encrypted))

    def parse(self, verified: Verified) -> Parsed:
        """The push as events. Raises PayloadError."""
        return read(self.name, xml.parse(verified.body), verified.request.received_at)

    # --- out ------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Sends by the customer-service API, a notice by the template API. Raises a SendError."""
        content = message.content
        if isinstance(content, Notice):
            answer = await self._post("/cgi-bin/message/template/send", template(message, content))
            return Receipt(provider_id=str(answer.get("msgid", "")))
        if isinstance(content, Picture):
            media = await self._upload(content)
            body = {"touser": message.to, "msgtype": "image", "image": {"media_id": media}}
            await self._post("/cgi-bin/message/custom/send", body)
            return Receipt()
        for position, body in enumerate(bodies(message)):
            try:
                await self._post("/cgi-bin/message/custom/send", body)
            except SendError as error:
                if position == 0:
                    raise
                raise InDoubtError("a later piece was refused", code=error.code) from None
        return Receipt()

    async def check(self) -> str:
        """Gets a token with the account's id and secret. Raises SendError in plain words."""
        await self._fetch(force=False)
        return f"account {self._config.app_id} gives a token"

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            raise ContentError("the text holds half a character") from None
        headers = {"Content-Type": "application/json; charset=utf-8"}

        async def call(token: str) -> HttpResponse:
            url = f"{self._api}{path}?access_token={token}"
            return await self._http.request("POST", url, headers=headers, body=data)

        answer = await self._with_token(call)
        if "errcode" not in answer:
            raise InDoubtError("the answer does not say what became of the message", code="200")
        return answer

    async def _with_token(self, call: Call) -> dict[str, Any]:
        """Calls with the shared token; a token that is refused is replaced once and the call repeated once."""
        token = await self._tokens.get(f"wechat:{self._config.app_id}", self._fetch_token)
        answer = _answer(await call(token))
        if answer.get("errcode") in TOKEN_CODES:
            token = await self._tokens.get(f"wechat:{self._config.app_id}", self._fetch_token, failed=token)
            answer = _answer(await call(token))
        if code := answer.get("errcode"):
            raise error_of(code, str(answer.get("errmsg", "")))
        return answer

    async def _fetch_token(self, force: bool) -> Token:  # noqa: FBT001  # the port's signature
        return await self._fetch(force=force)

    async def _fetch(self, *, force: bool) -> Token:
        secret = self._config.app_secret.get_secret_value()
        body = {
            "grant_type": "client_credential",
            "appid": self._config.app_id,
            "secret": secret,
            "force_refresh": force,
        }
        response = await self._http.request(
            "POST",
            f"{self._api}/cgi-bin/stable_token",
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
        )
        answer = _answer(response)
        if code := answer.get("errcode"):
            raise error_of(code, str(answer.get("errmsg", "")))
        value, lasts = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not isinstance(lasts, int):
            raise AccountError("the token answer holds no token")
        return Token(value, self._clock.real() + lasts * 1000)

    async def _upload(self, picture: Picture) -> str:
        image = qr.png(picture.qr)
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="media"; filename="card.png"\r\nContent-Type: image/png\r\n\r\n'
        body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}

        async def call(token: str) -> HttpResponse:
            url = f"{self._api}/cgi-bin/media/upload?access_token={token}&type=image"
            return await self._http.request("POST", url, headers=headers, body=body)

        return str((await self._with_token(call)).get("media_id", ""))


def _answer(response: HttpResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises a SendError for anything else.

    WeChat says all it says in a 200: other statuses come from proxies, a wrong `api_base`, or WeChat in trouble.
    """
    if response.status != 200:
        raise _by_status(response)
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        raise InDoubtError("no JSON in the answer", code="200") from None
    if not isinstance(value, dict):
        raise InDoubtError("no JSON object in the answer", code="200")
    if "errcode" in value:
        value["errcode"] = _whole(value["errcode"])
    return value


def _whole(code: object) -> int:
    """An errcode; one that is no number is read as "some error"."""
    if isinstance(code, str) and len(code) < 10 and code.removeprefix("-").isdecimal():
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else 1


def _by_status(response: HttpResponse) -> SendError:
    status = response.status
    if status == 429:
        value = response.headers.get("retry-after", "")
        pause = float(value) if value.isascii() and value.isdigit() and len(value) < 9 else 60.0
        return ThrottledError("too many calls", code="429", retry_after_s=min(pause, 3600.0))
    if 300 <= status < 500 and status != 408:
        return AccountError("api_base does not lead to WeChat", code=str(status))
    return InDoubtError("no proper answer", code=str(status))


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> WeChat:
    return WeChat(name, cast(WeChatConfig, config), toolkit)


TYPE = ChannelType("wechat", WeChatConfig, _build, "WeChat")
