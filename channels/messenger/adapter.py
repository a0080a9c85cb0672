"""The Messenger adapter: handshake, signature, events, sends."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import secrets
from typing import Any, cast

import segno

from bot.config import AccountConfig
from bot.errors import InDoubtError, PayloadError, SendError, SignatureError
from bot.messages import OutboundMessage, Picture, Receipt
from bot.ports import Answer, Capabilities, ChannelType, Parsed, RawRequest, Toolkit, Verified, WindowRule
from channels.messenger.config import MessengerConfig
from channels.messenger.errors import error_of
from channels.messenger.inbound import Reader, decode
from channels.messenger.outbound import CHOICES, TEXT_LIMIT, bodies

DAY_MS = 86_400_000
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")

CAPABILITIES = Capabilities(
    contents=frozenset({"text", "picture", "card", "receipt"}),
    text_limit=TEXT_LIMIT,
    windows={
        "message": WindowRule(DAY_MS),
        "follow": WindowRule(DAY_MS),
        "scan": WindowRule(DAY_MS),
        "click": WindowRule(DAY_MS),
    },
    window_margin_ms=600_000,
    hands_over_phone=True,
    choices=CHOICES,
    settles_doubt=True,
    watermarks=True,
    # Meta allows 300 a second; above 40 a second the page inbox stops showing messages.
    rate_per_second=30.0,
)


class Messenger:
    """One Facebook page."""

    max_body = 1024 * 1024
    accepted = Answer(200, b"EVENT_RECEIVED")
    capabilities = CAPABILITIES

    def __init__(self, name: str, config: MessengerConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._config = config
        self._http = toolkit.http
        self._secrets = [secret.get_secret_value().encode() for secret in config.app_secret]
        # One app posts all its pages to one URL: entries go to the accounts that they name.
        self._pages = {
            other.page_id: account
            for account, other in toolkit.siblings.items()
            if isinstance(other, MessengerConfig) and _shares_secret(other, config)
        }
        self._pages[config.page_id] = name
        self._url = f"{config.api_base.rstrip('/')}/{config.graph_version}/{config.page_id}"
        self._headers = {
            "Authorization": f"Bearer {config.page_access_token.get_secret_value()}",
            "Content-Type": "application/json",
        }

    # --- in -------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:
        """Echoes hub.challenge verbatim for the right token. Raises SignatureError."""
        token = self._config.verify_token.get_secret_value().encode()
        given = request.param("hub.verify_token").encode()
        if request.param("hub.mode") != "subscribe" or not hmac.compare_digest(token, given):
            raise SignatureError("hub.verify_token does not match")
        return Answer(200, request.param("hub.challenge").encode())

    def verify(self, request: RawRequest) -> Verified:
        """HMAC-SHA256 of the raw bytes by the app secret (any of the configured ones). Raises SignatureError."""
        found = _SIGNATURE.fullmatch(request.header("X-Hub-Signature-256"))
        if found is None:
            raise SignatureError("X-Hub-Signature-256 is missing or malformed")
        given = found[1].encode()
        for secret in self._secrets:
            if hmac.compare_digest(hmac.digest(secret, request.body, hashlib.sha256).hex().encode(), given):
                return Verified(request, request.body)
        raise SignatureError("X-Hub-Signature-256 does not match")

    def parse(self, verified: Verified) -> Parsed:
        """The events of all entries. Raises PayloadError for what is no JSON object."""
        reader = Reader(self._pages, self._config.app_id, verified.request.received_at)
        try:
            reader.read(decode(verified.body))
        except RecursionError as error:
            raise PayloadError("the JSON is nested too deeply") from error
        return Parsed(events=reader.events, ignored=reader.ignored)

    # --- out ------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Posts the message (long texts in pieces). Raises a SendError; a piece after an accepted one is in doubt."""
        if isinstance(message.content, Picture):
            return await self._send_picture(message, message.content)
        ids: list[str] = []
        for body in bodies(message):
            try:
                ids.append(await self._post(self._envelope(message, body)))
            except SendError as error:
                if not ids:
                    raise
                # Sent in part: another attempt would repeat what the buyer has read.
                raise InDoubtError("a later piece was refused", code=error.code) from None
        return Receipt(provider_id=ids[-1], extra_ids=tuple(ids[:-1]))

    def _envelope(self, message: OutboundMessage, body: dict[str, Any]) -> dict[str, Any]:
        reply = message.purpose in ("reply", "code")
        return {
            "recipient": {"id": message.to},
            "messaging_type": "RESPONSE" if reply else "UPDATE",
            "message": {**body, "metadata": message.id},
        }

    async def _post(self, envelope: dict[str, Any]) -> str:
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        response = await self._http.request("POST", f"{self._url}/messages", headers=self._headers, body=body)
        if (error := error_of(response)) is not None:
            raise error
        return str(json.loads(response.body).get("message_id", ""))

    async def _send_picture(self, message: OutboundMessage, picture: Picture) -> Receipt:
        """A QR code, uploaded with the message itself."""
        image = io.BytesIO()
        segno.make(picture.qr, error="m").save(image, kind="png", scale=8, border=4)
        attachment = {"type": "image", "payload": {"is_reusable": False}}
        envelope = self._envelope(message, {"attachment": attachment})
        boundary = secrets.token_hex(16)
        body = _multipart(boundary, envelope, image.getvalue())
        headers = {**self._headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        response = await self._http.request("POST", f"{self._url}/messages", headers=headers, body=body)
        if (error := error_of(response)) is not None:
            raise error
        return Receipt(provider_id=str(json.loads(response.body).get("message_id", "")))

    async def check(self) -> str:
        """Asks for the page's name with its token. Raises SendError."""
        response = await self._http.request("GET", f"{self._url}?fields=id,name", headers=self._headers)
        if (error := error_of(response)) is not None:
            raise error
        return f"page {json.loads(response.body).get('name', self._config.page_id)} answers"


def _multipart(boundary: str, envelope: dict[str, Any], image: bytes) -> bytes:
    parts = []
    for name, value in envelope.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode())
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="filedata"; filename="card.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join([*parts, head.encode(), image, f"\r\n--{boundary}--\r\n".encode()])


def _shares_secret(one: MessengerConfig, other: MessengerConfig) -> bool:
    mine = {secret.get_secret_value() for secret in one.app_secret}
    return bool(mine & {secret.get_secret_value() for secret in other.app_secret})


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> Messenger:
    return Messenger(name, cast(MessengerConfig, config), toolkit)


TYPE = ChannelType("messenger", MessengerConfig, _build, "Messenger")
