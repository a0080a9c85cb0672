"""The Twilio adapter: signature, events, sends, statuses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

from bot.config import AccountConfig
from bot.errors import AccountError, ContentError, InDoubtError, SendError, SignatureError, UnreachableError
from bot.messages import OutboundMessage, Receipt, Text
from bot.phones import is_e164
from bot.ports import Answer, Capabilities, ChannelType, Parsed, RawRequest, Toolkit, Verified
from bot.sms import spelled_out, split, units16
from channels.twilio.config import TwilioConfig
from channels.twilio.errors import ACCOUNT, error_of
from channels.twilio.inbound import read
from channels.twilio.signature import FORM_TYPE, prove

API = "2010-04-01"
TEXT_LIMIT = 1600
LONGEST_VALIDITY_S = 36_000
SHORTEST_VALIDITY_S = 10  # Twilio advises more than 5

CAPABILITIES = Capabilities(
    contents=frozenset({"text"}),
    text_limit=TEXT_LIMIT,
    address_is_phone=True,
    settles_doubt=True,
    sms=True,
    # Twilio queues up to ten hours for a slow sender; the rate only has to spare its API.
    rate_per_second=50.0,
)


class Twilio:
    """One number or Messaging Service of a Twilio account."""

    max_body = 256 * 1024
    # An answer without a message: what is said back goes through the API.
    accepted = Answer(200, b'<?xml version="1.0" encoding="UTF-8"?><Response />', "text/xml")
    capabilities = CAPABILITIES

    def __init__(self, name: str, config: TwilioConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._config = config
        self._http = toolkit.http
        self._clock = toolkit.clock
        self._tokens = [token.get_secret_value() for token in config.auth_token]
        self._shared_keys = {id: key.get_secret_value() for id, key in config.shared_keys.items()}
        self._account = f"{config.api_base.rstrip('/')}/{API}/Accounts/{config.account_sid}"
        self._callback = status_url(toolkit.public_url, name, config.api_base)
        user, password = config.login
        self._headers = {
            "Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}",
            "Content-Type": FORM_TYPE,
            "Accept": "application/json",
        }

    # --- in -----------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:  # noqa: ARG002  # the port's signature
        """Always raises SignatureError: Twilio makes no handshake, and its webhooks must be set to POST."""
        raise SignatureError("Twilio makes no handshake; set the number's webhook to HTTP POST")

    def verify(self, request: RawRequest) -> Verified:
        """Proves X-Twilio-Signature over URL and form, or URL and body hash. Raises SignatureError."""
        return Verified(request, request.body, prove(request, self._tokens, self._shared_keys))

    def parse(self, verified: Verified) -> Parsed:
        """A text, an opt-out or a status; both of Twilio's URLs take either. Raises PayloadError."""
        if not verified.form:
            return Parsed(ignored=["post without form fields"])
        request = verified.request
        return read(self.name, verified.form, request.param("ref"), request.received_at)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Posts the text, in pieces if it is over 1600. Raises a SendError; after an accepted piece it is in doubt."""
        pieces = _pieces(message)
        if not is_e164(message.to):
            raise UnreachableError("not a phone number")
        ids: list[str] = []
        parts = 0
        for piece in pieces:
            try:
                answer = await self._post(message, piece)
            except SendError as error:
                if not ids:
                    raise
                # Sent in part: another attempt would repeat what the buyer has read.
                raise InDoubtError("a later piece was refused", code=error.code) from None
            ids.append(answer[0])
            parts += answer[1]
        return Receipt(provider_id=ids[-1], parts=parts, extra_ids=tuple(ids[:-1]))

    async def _post(self, message: OutboundMessage, text: str) -> tuple[str, int]:
        """The message's SID and its parts (0 where Twilio does not say)."""
        body = urlencode(self._form(message, text)).encode()
        response = await self._http.request("POST", f"{self._account}/Messages.json", headers=self._headers, body=body)
        answer = response.json_object()
        if (error := error_of(response, answer, pool=bool(self._config.messaging_service_sid))) is not None:
            raise error
        accepted = answer or {}
        parts = str(accepted.get("num_segments") or "")
        return str(accepted["sid"]), int(parts) if parts.isascii() and parts.isdigit() and len(parts) < 4 else 0

    def _form(self, message: OutboundMessage, text: str) -> Mapping[str, str]:
        form = {"To": message.to, "Body": text}
        if self._config.messaging_service_sid:
            form["MessagingServiceSid"] = self._config.messaging_service_sid
        else:
            form["From"] = self._config.from_number
        if self._config.smart_encoded:
            form["SmartEncoded"] = "true"
        if self._callback:
            form["StatusCallback"] = f"{self._callback}?ref={quote(message.id, safe='')}"
        if message.not_after:
            left = (message.not_after - self._clock.now()) // 1000
            if left < LONGEST_VALIDITY_S:
                form["ValidityPeriod"] = str(max(left, SHORTEST_VALIDITY_S))
        return form

    async def check(self) -> str:
        """Reads the account (with an API key, which may not do that, the last message). Raises SendError."""
        probe = f"{self._account}/Messages.json?PageSize=1" if self._config.api_key_sid else f"{self._account}.json"
        response = await self._http.request("GET", probe, headers=self._headers)
        answer = response.json_object()
        if response.status != 200 or answer is None:
            raise error_of(response, answer) or InDoubtError("Twilio gave no proper answer", code=str(response.status))
        status = answer.get("status", "active")
        if status != "active":
            raise AccountError(f"the Twilio account is {str(status)[:20]}", code="30002")
        await self._own_number()
        sender = self._config.from_number or f"Messaging Service {self._config.messaging_service_sid}"
        where = "" if self._callback else "; delivery statuses are off, since Twilio cannot call server.public_url"
        return f"the Twilio account answers; texts go out from {sender}{where}"

    async def _own_number(self) -> None:
        """Raises AccountError for a number that the account does not have. An API key may not read that list."""
        number = self._config.from_number
        if not number.startswith("+") or self._config.api_key_sid:
            return
        probe = f"{self._account}/IncomingPhoneNumbers.json?PhoneNumber={quote(number, safe='')}&PageSize=1"
        response = await self._http.request("GET", probe, headers=self._headers)
        found = (response.json_object() or {}).get("incoming_phone_numbers")
        if response.status == 200 and found == []:
            raise AccountError(ACCOUNT[21659], code="21659")


def status_url(public_url: str, name: str, api_base: str) -> str:
    """Where Twilio reports statuses, "" where it would refuse the address: a host with "_", or a loopback one."""
    host = urlsplit(public_url).hostname or ""
    if not host or "_" in host:
        return ""
    if _is_loopback(host) and not _is_loopback(urlsplit(api_base).hostname or ""):
        return ""
    return f"{public_url.rstrip('/')}/channels/{name}/status"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pieces(message: OutboundMessage) -> list[str]:
    """The texts to send. Raises ContentError for what a text message cannot carry."""
    content = message.content
    if not isinstance(content, Text):
        raise ContentError("this line sends plain texts only")
    text = spelled_out(content)
    if not text:
        raise ContentError("the text is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ContentError("the text holds half a character") from None
    return split(text, TEXT_LIMIT, size=units16)


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> Twilio:
    return Twilio(name, cast(TwilioConfig, config), toolkit)


TYPE = ChannelType("twilio", TwilioConfig, _build, "Twilio SMS", CAPABILITIES)
