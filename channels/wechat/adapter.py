"""The WeChat adapter: handshake, signatures and encryption, events, sends by the customer-service API."""

from __future__ import annotations

from typing import cast

from bot import qr
from bot.clock import HOUR_MS, MINUTE_MS
from bot.config import AccountConfig
from bot.errors import ContentError, InDoubtError, PayloadError, SendError, SignatureError
from bot.messages import Notice, OutboundMessage, Picture, Receipt
from bot.ports import Answer, Capabilities, ChannelType, Parsed, RawRequest, SignedPage, Toolkit, Verified, WindowRule
from channels.wechat import jssdk, xml
from channels.wechat.api import Api
from channels.wechat.config import WeChatConfig, decode_key
from channels.wechat.crypto import Crypto, matches
from channels.wechat.errors import MEDIA_GONE
from channels.wechat.inbound import read
from channels.wechat.notices import subscription, template
from channels.wechat.outbound import MENU_OPTIONS, TEXT_BYTES, bodies

CAPABILITIES = Capabilities(
    contents=frozenset({"text", "picture", "card", "notice"}),
    text_limit=TEXT_BYTES,
    limit_in_bytes=True,
    # The official table of 2025-11: 5 in 48 h after a message, 3 in a minute after a click, follow or scan.
    windows={
        "message": WindowRule(48 * HOUR_MS, 5),
        "click": WindowRule(MINUTE_MS, 3),
        "follow": WindowRule(MINUTE_MS, 3),
        "scan": WindowRule(MINUTE_MS, 3),
    },
    window_margin_ms=2_000,
    choices=MENU_OPTIONS,
    rate_per_second=50.0,
    subscriptions=True,
)
SEND = "/cgi-bin/message/custom/send"
TEMPLATE, SUBSCRIPTION = "/cgi-bin/message/template/send", "/cgi-bin/message/subscribe/bizsend"


class WeChat:
    """One official account."""

    max_body = 256 * 1024
    accepted = Answer(200, b"success")
    capabilities = CAPABILITIES

    def __init__(self, name: str, config: WeChatConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._tolerance_s = config.timestamp_tolerance_s
        self._token = config.token.get_secret_value()
        keys = [decode_key(key.get_secret_value()) for key in config.encoding_aes_key or ()]
        self._crypto = Crypto(keys, config.app_id) if keys else None
        self._api = Api(config, toolkit.http, toolkit.tokens, toolkit.clock)
        self._clock, self._app_id, self._sdk = toolkit.clock, config.app_id, config.js_sdk

    # --- in -------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:
        """Echoes echostr for the right signature. Raises SignatureError."""
        self._check_plain(request)
        return Answer(200, request.param("echostr").encode())

    def _check_plain(self, request: RawRequest) -> None:
        given = request.param("signature")
        if not given or not matches(given, self._token, request.param("timestamp"), request.param("nonce")):
            raise SignatureError("signature does not match: is it the token of the configuration?")

    def _check_time(self, request: RawRequest) -> None:
        """A request that somebody kept is of no use after a few minutes; WeChat's own tries end after some 20 s."""
        if not self._tolerance_s:
            return
        stamp = request.param("timestamp")
        at = int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 13 else 0
        away = abs(request.received_at // 1000 - at)
        if away > self._tolerance_s:
            raise SignatureError(f"the timestamp is over {self._tolerance_s} s away from this machine's clock")

    def verify(self, request: RawRequest) -> Verified:
        """With a key: the signature over the encrypted part, decrypted. Without: the plain one. Raises SignatureError.

        The plain signature does not cover the body, so with a key only the encrypted part is ever believed.
        """
        if self._crypto is None:
            if request.param("encrypt_type") == "aes":
                raise SignatureError("the message is encrypted, but no encoding_aes_key is configured")
            self._check_plain(request)
            self._check_time(request)
            return Verified(request, request.body)
        try:
            encrypted = xml.text(xml.parse(request.body), "Encrypt", 400_000)
        except PayloadError as error:
            raise SignatureError("the body has no encrypted part; choose safe mode in the account's console") from error
        parts = (self._token, request.param("timestamp"), request.param("nonce"), encrypted)
        if not encrypted or not request.param("msg_signature") or not matches(request.param("msg_signature"), *parts):
            raise SignatureError("msg_signature does not match")
        self._check_time(request)
        return Verified(request, self._crypto.decrypt(encrypted))

    def parse(self, verified: Verified) -> Parsed:
        """The push as events. Raises PayloadError."""
        return read(self.name, xml.parse(verified.body), verified.request.received_at)

    # --- out ------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Sends by the customer-service API, a notice by the template's or the subscription's. Raises a SendError."""
        content = message.content
        if isinstance(content, Notice):
            path, body = (
                (SUBSCRIPTION, subscription(message, content))
                if content.kind == "subscription"
                else (TEMPLATE, template(message, content))
            )
            answer = await self._api.post(path, body, notice=True)
            return Receipt(provider_id=str(answer.get("msgid") or ""))
        if isinstance(content, Picture):
            await self._picture(message.to, qr.png(content.qr))
            return Receipt()
        for position, body in enumerate(bodies(message)):
            try:
                await self._api.post(SEND, body)
            except SendError as error:
                if position == 0:
                    raise
                raise InDoubtError("a later piece was refused", code=error.code) from None
        return Receipt()

    async def _picture(self, to: str, png: bytes) -> None:
        """Uploads and sends; a media_id that is gone already is made once more."""
        for last in (False, True):
            media = await self._api.upload(png)
            try:
                await self._api.post(SEND, {"touser": to, "msgtype": "image", "image": {"media_id": media}})
            except ContentError as error:
                if last or error.code != str(MEDIA_GONE):
                    raise
            else:
                return

    # --- pages ----------------------------------------------------------------------------------------------------

    def is_inside(self, browser: str) -> bool:
        """Whether it is WeChat on a phone: the open tags work neither in its desktop apps nor in WeCom."""
        return jssdk.is_inside(browser)

    async def sign(self, url: str) -> SignedPage:
        """The JS-SDK's settings for a page. Raises SendError."""
        ticket = await self._api.ticket()
        return jssdk.signed(self._sdk, self._app_id, ticket, url, self._clock.real() // 1000)

    async def check(self) -> str:
        """Gets a token with the account's id and secret. Raises SendError in plain words."""
        line = await self._api.check()
        if self._crypto is None:
            return line + '; mode "plain": who sees one URL of WeChat can forge messages, so set encoding_aes_key'
        return line


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> WeChat:
    return WeChat(name, cast(WeChatConfig, config), toolkit)


TYPE = ChannelType("wechat", WeChatConfig, _build, "WeChat", CAPABILITIES)
