"""A simulated Twilio account: Messages.json, signed status callbacks, inbound texts, opt-outs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import phonenumbers
from aiohttp import web

from sandbox.outward import Built
from sandbox.providers.common import World, before, drop, secret

STOP = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"})
START = frozenset({"start", "unstop", "yes"})
RETRIES = (1.0,)
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_TWICE = frozenset("\f^{}\\[~]|€")


def _form_problem(config: Any, form: Mapping[str, Any]) -> web.Response | None:
    """The refusal of a message that breaks a rule of Twilio's, whoever it is for."""
    sender = (str(form.get("From", "")), str(form.get("MessagingServiceSid", "")))
    if sender == ("", ""):
        return _error(21603, "A 'From' or 'MessagingServiceSid' is required")
    if sender != (config.from_number, config.messaging_service_sid):
        return _error(21606, "The 'From' number is not a valid, SMS-capable number of this account")
    if (problem := _number_problem(str(form.get("To", "")))) is not None:
        return problem
    period = str(form.get("ValidityPeriod", "1"))
    if not period.isdecimal() or not 1 <= int(period[:6]) <= 36_000:
        return _error(21624, "The ValidityPeriod is out of range")
    if "_" in (urlsplit(str(form.get("StatusCallback", ""))).hostname or ""):
        return _error(21609, "The StatusCallback URL is not a valid URL")
    body = str(form.get("Body", ""))
    if not body or len(body) > 1600:
        return _error(21617 if body else 21602, "The message body is missing or exceeds the 1600 character limit")
    return None


def _number_problem(to: str) -> web.Response | None:
    """The refusal of a number that is none, or of one that takes no texts."""
    try:
        number = phonenumbers.parse(to)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not to.startswith("+") or not phonenumbers.is_possible_number(number):
        return _error(21211, f"The 'To' number {to[-4:]} is not a valid phone number")
    fixed = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.FIXED_LINE
    if fixed and number.country_code != 1:
        return _error(21614, f"'To' number {to[-4:]} is not a valid mobile number")
    return None


def _error(code: int, message: str, status: int = 400) -> web.Response:
    return web.json_response({"code": code, "message": message, "status": status}, status=status)


def _parts(body: str) -> int:
    """Billed parts: 160/153 septets where every character is in GSM 03.38, else 70/67 UTF-16 units."""
    if set(body) <= GSM | GSM_TWICE:
        size, single, joined = len(body) + sum(c in GSM_TWICE for c in body), 160, 153
    else:
        size, single, joined = len(body.encode("utf-16-be")) // 2, 70, 67
    return 1 if size <= single else -(-size // joined)


class TwilioProvider:
    """All configured accounts, by account SID."""

    name = "twilio"

    def __init__(self, world: World, accounts: Mapping[str, Any]) -> None:
        self._world = world
        self._accounts = accounts

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the API."""
        app.router.add_post(prefix + "/2010-04-01/Accounts/{sid}/Messages.json", self.send)
        app.router.add_get(prefix + "/2010-04-01/Accounts/{sid}.json", self.account)
        app.router.add_get(prefix + "/2010-04-01/Accounts/{sid}/Messages.json", self.listing)
        app.router.add_get(prefix + "/2010-04-01/Accounts/{sid}/IncomingPhoneNumbers.json", self.numbers)

    def _find(self, request: web.Request) -> tuple[str, Any] | None:
        sid = request.match_info["sid"]
        for name, config in self._accounts.items():
            if config.account_sid == sid:
                login = f"{sid}:{secret(config.auth_token)}"
                if config.api_key_sid:
                    login = f"{config.api_key_sid}:{secret(config.api_key_secret)}"
                want = base64.b64encode(login.encode()).decode()
                given = request.headers.get("Authorization", "").removeprefix("Basic ")
                return (name, config) if hmac.compare_digest(want, given) else None
        return None

    async def account(self, request: web.Request) -> web.Response:
        """The account itself."""
        found = self._find(request)
        if found is None:
            return _error(20003, "Authenticate", 401)
        return web.json_response({"sid": found[1].account_sid, "status": "active", "friendly_name": "Sandbox"})

    async def numbers(self, request: web.Request) -> web.Response:
        """The account's numbers that fit the one asked for."""
        found = self._find(request)
        if found is None:
            return _error(20003, "Authenticate", 401)
        own = [c.from_number for c in self._accounts.values() if c.account_sid == found[1].account_sid]
        fits = [number for number in own if number == request.query.get("PhoneNumber", number)]
        return web.json_response({"incoming_phone_numbers": [{"phone_number": number} for number in fits]})

    async def listing(self, request: web.Request) -> web.Response:
        """The account's messages: readable with a right login, and empty."""
        if self._find(request) is None:
            return _error(20003, "Authenticate", 401)
        return web.json_response({"messages": [], "page_size": 1})

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Creates a message; its progress comes to StatusCallback."""
        found = self._find(request)
        if found is None:
            return _error(20003, "Authenticate", 401)
        name, config = found
        fault, answer = await before(self._world, name, request)
        if answer is not None:
            return answer
        if fault == "429":
            refusal = _error(20429, "Too Many Requests", 429)
            refusal.headers["Retry-After"] = "1"  # keeps a rehearsal short
            return refusal
        if fault.startswith("errcode:"):
            return _error(int(fault.partition(":")[2]), "Refused on request")
        form = await request.post()
        if (problem := _form_problem(config, form)) is not None:
            return problem
        to, body = str(form["To"]), str(form["Body"])
        if await self._world.phones.redis.sismember(f"sandbox:optout:{name}", to):
            return _error(21610, "Attempt to send to unsubscribed recipient")
        sid = "SM" + secrets.token_hex(16)
        callback = str(form.get("StatusCallback", ""))
        ref = callback.rpartition("ref=")[2]
        await self._world.phones.accepted(name, to, ref)
        for _ in range(2 if fault == "duplicate" else 1):
            await self._world.phones.show(
                name, to, **{"from": "shop"}, kind="text", text=body, provider_id=sid, ref=ref, parts=_parts(body)
            )
        self._world.mark_later(name, to, sid, "delivered", 0.7)
        if callback:
            for state, delay in (("sent", 0.2), ("delivered", 0.7)):
                self._world.outward.later(
                    lambda s=state: self._status(config, callback, sid, to, s),  # type: ignore[misc]
                    retries=RETRIES,
                    delay_s=delay,
                )
        if fault == "drop_after_accept":
            return drop(request)
        parts = 0 if config.messaging_service_sid else _parts(body)  # a service has not chosen its sender yet
        return web.json_response(
            {
                "sid": sid,
                "status": "accepted" if config.messaging_service_sid else "queued",
                "num_segments": str(parts),
                "to": to,
            },
            status=201,
        )

    def _signed(self, config: Any, public: str, local: str, fields: dict[str, str]) -> Built:
        """Twilio signs the public URL; on this machine the request itself goes to the gateway directly."""
        text = public + "".join(f"{key}{fields[key]}" for key in sorted(fields))
        digest = hmac.new(secret(config.auth_token).encode(), text.encode(), hashlib.sha1).digest()
        headers = {
            "X-Twilio-Signature": base64.b64encode(digest).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return local, urlencode(fields).encode(), headers

    def _status(self, config: Any, callback: str, sid: str, to: str, state: str) -> Built:
        fields = {
            "MessageSid": sid, "SmsSid": sid, "MessageStatus": state, "SmsStatus": state, "To": to,
            "From": config.from_number or "+15005550006", "AccountSid": config.account_sid, "ApiVersion": "2010-04-01",
        }  # fmt: skip
        local = callback.replace(self._world.public_url, self._world.base, 1)
        return self._signed(config, callback, local, fields)

    async def say(self, name: str, number: str, *, text: str = "", payload: str = "") -> int:
        """The buyer sends a text. Stop words are handled by Twilio itself, and reported."""
        config = self._accounts[name]
        words = (text or payload).strip()
        fields = {
            "MessageSid": "SM" + secrets.token_hex(16), "AccountSid": config.account_sid, "From": number,
            "To": config.from_number or "+15005550006", "Body": words, "NumMedia": "0", "NumSegments": "1",
            "SmsStatus": "received", "FromCity": "", "ToCountry": "US", "ApiVersion": "2010-04-01",
        }  # fmt: skip
        await self._world.phones.meet(name, number)
        if words.lower() in STOP:
            fields["OptOutType"] = "STOP"
            await self._world.phones.redis.sadd(f"sandbox:optout:{name}", number)
            await self._world.phones.show(
                name,
                number,
                **{"from": "carrier"},
                kind="text",
                text="You have been unsubscribed. Reply START to resubscribe.",
            )
        elif words.lower() in START and await self._world.phones.redis.srem(f"sandbox:optout:{name}", number):
            fields["OptOutType"] = "START"
            await self._world.phones.show(
                name, number, **{"from": "carrier"}, kind="text", text="You have been re-subscribed."
            )
        path = f"/channels/{name}/webhook"
        token = {"I-Twilio-Idempotency-Token": secrets.token_hex(16)}  # the same for every try

        def post() -> Built:
            url, body, headers = self._signed(config, self._world.public_url + path, self._world.base + path, fields)
            return url, body, {**headers, **token}

        return await self._world.outward.post(post, retries=RETRIES)

    async def start(self, name: str, number: str, scene: str = "") -> int:
        """A phone number needs no first contact."""
        del scene
        await self._world.phones.meet(name, number)
        return 200

    async def leave(self, name: str, number: str) -> int:
        """A number cannot be left; the buyer writes STOP."""
        del name, number
        return 200
