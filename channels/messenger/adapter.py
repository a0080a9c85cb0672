"""The Messenger adapter: handshake, signature, events, sends."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, date, datetime
from typing import cast

from bot import qr
from bot.clock import DAY_MS
from bot.config import AccountConfig
from bot.errors import AccountError, ContentError, InDoubtError, SendError, SignatureError, UnreachableError
from bot.messages import OutboundMessage, Picture, Receipt
from bot.ports import Answer, Capabilities, ChannelType, HttpResponse, Parsed, RawRequest, Toolkit, Verified, WindowRule
from channels.messenger.config import MessengerConfig
from channels.messenger.errors import error_of
from channels.messenger.inbound import Reader
from channels.messenger.outbound import bodies, encode, multipart
from channels.messenger.usage import share_of_rate
from channels.messenger.wire import (
    CHOICES,
    SUBSCRIBED_FIELDS,
    TEXT_LIMIT,
    VERSIONS_END,
    Json,
    decode,
    rows,
    table,
    text,
)

WARN_DAYS = 90
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
        self._clock = toolkit.clock
        self._secrets = [secret.get_secret_value().encode() for secret in config.app_secret]
        # One app posts all its pages to one URL: entries go to the accounts that they name.
        self._pages = {
            other.page_id: account
            for account, other in toolkit.siblings.items()
            if isinstance(other, MessengerConfig) and _shares_secret(other, config)
        }
        self._pages[config.page_id] = name
        self._url = f"{config.api_base.rstrip('/')}/{config.graph_version}/{config.page_id}"
        self._proof = f"appsecret_proof={proof(self._secrets[0], config)}" if config.appsecret_proof else ""
        self._headers = {
            "Authorization": f"Bearer {config.page_access_token.get_secret_value()}",
            "Content-Type": "application/json",
        }

    # --- in -------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:
        """Echoes hub.challenge verbatim for the right token. Raises SignatureError."""
        token = self._config.verify_token.get_secret_value().encode()
        given = request.param("hub.verify_token").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(token, given) or request.param("hub.mode") != "subscribe":
            raise SignatureError("hub.verify_token does not match")
        return Answer(200, request.param("hub.challenge").encode("utf-8", "replace"))

    def verify(self, request: RawRequest) -> Verified:
        """HMAC-SHA256 of the raw bytes by the app secret (any of the configured ones). Raises SignatureError.

        Meta escapes non-ASCII and slashes, signs that, and posts it: a proxy that writes the JSON anew breaks the
        signature, and nothing is accepted on a guess of what the body may have been.
        """
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
        reader.read(decode(verified.body))
        return Parsed(events=reader.events, ignored=reader.ignored)

    # --- out ------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Posts the message (long texts in pieces, in order). Raises a SendError; after an accepted piece, in doubt.

        The last piece alone carries the message's id: its echo says that all of it arrived.
        """
        if isinstance(message.content, Picture):
            mid, share = await self._post_picture(message, message.content)
            return Receipt(provider_id=mid, share_of_rate=share)
        envelopes = [self._envelope(message, body) for body in bodies(message.content)]
        for number, envelope in enumerate(envelopes[:-1], 1):
            envelope["message"]["metadata"] += f"/{number}"
        requests = [encode(envelope) for envelope in envelopes]
        ids: list[str] = []
        share = 1.0
        for request in requests:
            try:
                mid, share = await self._post(request, "application/json")
                ids.append(mid)
            except SendError as error:
                if not ids:
                    raise
                # Another attempt repeats what the buyer has read, which only some purposes allow: that is "in doubt".
                raise InDoubtError("a later piece was not taken", code=error.code) from None
        return Receipt(provider_id=ids[-1], extra_ids=tuple(ids[:-1]), share_of_rate=share)

    def _envelope(self, message: OutboundMessage, body: Json) -> Json:
        reply = message.purpose in ("reply", "code")
        return {
            "recipient": {"id": message.to},
            "messaging_type": "RESPONSE" if reply else "UPDATE",
            "message": {**body, "metadata": message.id},
        }

    async def _post_picture(self, message: OutboundMessage, picture: Picture) -> tuple[str, float]:
        """A QR code, uploaded with the message itself."""
        envelope = self._envelope(message, {"attachment": {"type": "image", "payload": {}}})
        content_type, body = multipart(list(envelope.items()), qr.png(picture.qr))
        return await self._post(body, content_type)

    async def _post(self, body: bytes, content_type: str) -> tuple[str, float]:
        """The message id of an accepted request, and what of the usual rate Meta still allows."""
        headers = {**self._headers, "Content-Type": content_type}
        response = await self._http.request("POST", self._call("/messages"), headers=headers, body=body)
        answer = _checked(response)
        if not (mid := text(answer, "message_id")):
            raise InDoubtError("the answer names no message", code="200")
        return mid, share_of_rate(response)

    def _call(self, what: str) -> str:
        """A call's address, with the proof where the app requires one."""
        joined = ("&" if "?" in what else "?") + self._proof if self._proof else ""
        return f"{self._url}{what}{joined}"

    # --- check ----------------------------------------------------------------------------------------------------

    async def check(self) -> str:
        """Asks for the page's name and its webhook subscriptions, and proves app_secret; one plain line. Raises SendError."""
        page = await self._asked("?fields=id,name")
        name = "".join(c for c in text(page, "name", 80) if c.isprintable()) or self._config.page_id
        found = await self._http.request("GET", self._call("/subscribed_apps"), headers=self._headers)
        if not self._proof:  # Meta checks a proof that nobody asked for, too
            await self._asked(f"?fields=id&appsecret_proof={proof(self._secrets[0], self._config)}")
        return f"page {name} answers; {self._subscriptions(found)}{self._version_ends()}"

    async def _asked(self, query: str) -> Json:
        """A look at the page. Its refusals mean something else than those of a send. Raises SendError."""
        try:
            return _checked(await self._http.request("GET", self._call(query), headers=self._headers))
        except UnreachableError as error:
            raise AccountError("page_id is no page that page_access_token may see", code=error.code) from None
        except ContentError as error:
            if "appsecret_proof" not in self._call(query):
                raise
            words = "app_secret is not the secret of the token's app, and webhooks would be refused"
            raise AccountError(words, code=error.code) from None

    def _version_ends(self) -> str:
        """A word about graph_version in its last 90 days, and after them."""
        version = self._config.graph_version
        if (end := VERSIONS_END.get(version)) is None:
            return ""
        left = (date.fromisoformat(end) - datetime.fromtimestamp(self._clock.real() / 1000, UTC).date()).days
        if left > WARN_DAYS:
            return ""
        return f"; graph_version {version} {'ended' if left < 0 else 'ends'} on {end}: set a newer one"

    def _subscriptions(self, response: HttpResponse) -> str:
        """What the page's list of subscribed apps says of ours."""
        answer = response.json_object()
        if answer is None or error_of(response, answer) is not None:
            return "its webhook subscriptions could not be read"
        apps = [table(app) for app in rows(answer.get("data"))]
        own = self._config.app_id
        fields = [rows(app.get("subscribed_fields")) for app in apps if not own or text(app, "id") == own]
        if not fields:
            return "no webhooks: subscribe the app to the page"
        missing = [one for one in SUBSCRIBED_FIELDS if not any(one in listed for listed in fields)]
        return f"webhooks lack {', '.join(missing)}" if missing else "webhooks are subscribed"


def proof(secret: bytes, config: MessengerConfig) -> str:
    """HMAC-SHA256 of the page token by the app secret, in hex: that the caller is the app's own server."""
    return hmac.digest(secret, config.page_access_token.get_secret_value().encode(), "sha256").hex()


def _checked(response: HttpResponse) -> Json:
    """The JSON of a good answer. Raises the SendError of any other."""
    answer = response.json_object()
    if (error := error_of(response, answer)) is not None:
        raise error
    return dict(answer or {})


def _shares_secret(one: MessengerConfig, other: MessengerConfig) -> bool:
    mine = {secret.get_secret_value() for secret in one.app_secret}
    return bool(mine & {secret.get_secret_value() for secret in other.app_secret})


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> Messenger:
    return Messenger(name, cast(MessengerConfig, config), toolkit)


TYPE = ChannelType("messenger", MessengerConfig, _build, "Messenger", CAPABILITIES)
