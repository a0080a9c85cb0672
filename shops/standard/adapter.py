"""Standard Webhooks 1.0.0: verification by the specification, strictly; Svix's header names are the same scheme."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import cast
from zoneinfo import ZoneInfo

from bot.config import AccountConfig
from bot.errors import MediaTypeError, SignatureError
from bot.phones import parse as parse_phone
from bot.ports import Answer, Parsed, RawRequest, ShopType, Toolkit, Verified
from bot.strictjson import decode
from shops.standard.config import StandardConfig, decode_secret
from shops.standard.envelope import UnknownTypeError, to_event
from shops.standard.sections import Reading

TOLERANCE_S = 300
MAX_SIGNATURES = 5
_TIMESTAMP = re.compile(r"[0-9]{10}")
_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")


class StandardShop:
    """One shop that posts Standard Webhooks."""

    max_body = 4 * 1024 * 1024
    accepted = Answer(200, b'{"ok":true}', "application/json")

    def __init__(self, name: str, config: StandardConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._keys = [decode_secret(secret.get_secret_value()) for secret in config.secret]
        self._clock = toolkit.clock
        self._reading = Reading(name, ZoneInfo(toolkit.timezone), parse_phone, toolkit.country)

    def challenge(self, request: RawRequest) -> Answer:
        """Standard Webhooks have no handshake."""
        raise SignatureError(f"{request.method} is not used by Standard Webhooks")

    def verify(self, request: RawRequest) -> Verified:
        """Checks id, timestamp (±300 s of real time) and any of at most 5 signatures. Raises SignatureError."""
        id, timestamp, signatures = (self._header(request, name) for name in ("id", "timestamp", "signature"))
        if not id or len(id) > 200 or not id.isascii():
            raise SignatureError("webhook-id is missing or malformed")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise SignatureError("webhook-timestamp must be Unix seconds")
        if abs(self._clock.real() // 1000 - int(timestamp)) > TOLERANCE_S:
            raise SignatureError("webhook-timestamp is more than 300 seconds off")
        offered = signatures.split(" ")[: MAX_SIGNATURES + 1]
        if len(offered) > MAX_SIGNATURES:
            raise SignatureError(f"webhook-signature holds more than {MAX_SIGNATURES} signatures")
        valid = [one[3:].encode() for one in offered if _SIGNATURE.fullmatch(one)]
        content = f"{id}.{timestamp}.".encode() + request.body
        for key in self._keys:
            want = base64.b64encode(hmac.digest(key, content, hashlib.sha256))
            if any([hmac.compare_digest(want, got) for got in valid]):  # noqa: C419  # all are compared: constant time
                self._check_type(request)
                return Verified(request, request.body)
        raise SignatureError("webhook-signature does not match")

    def _header(self, request: RawRequest, name: str) -> str:
        return request.header(f"webhook-{name}") or request.header(f"svix-{name}")

    def _check_type(self, request: RawRequest) -> None:
        declared = request.header("content-type").partition(";")[0].strip().lower()
        if declared not in ("application/json", ""):
            raise MediaTypeError("send application/json")

    def parse(self, verified: Verified) -> Parsed:
        """The envelope as an event; an unknown type is counted. Raises PayloadError."""
        value = decode(verified.body)
        try:
            event = to_event(
                value,
                self._reading,
                delivery_id=self._header(verified.request, "id"),
                received=verified.request.received_at,
            )
        except UnknownTypeError as error:
            return Parsed(ignored=(error.detail,))
        return Parsed(events=(event,))


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> StandardShop:
    return StandardShop(name, cast(StandardConfig, config), toolkit)


TYPE = ShopType("standard", StandardConfig, _build, "Standard Webhooks")
