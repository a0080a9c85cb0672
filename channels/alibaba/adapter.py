"""The Alibaba Cloud SMS adapter: keyed callbacks, receipts, templated sends."""

from __future__ import annotations

import hmac
import json
import math
import secrets
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, cast
from urllib.parse import urlsplit

from bot.config import AccountConfig
from bot.errors import AccountError, ContentError, InDoubtError, SignatureError, UnreachableError
from bot.messages import Notice, OutboundMessage, Receipt
from bot.ports import Answer, Capabilities, ChannelType, Parsed, RawRequest, Toolkit, Verified
from channels.alibaba.config import AlibabaConfig
from channels.alibaba.errors import error_of
from channels.alibaba.inbound import mainland, read
from channels.alibaba.signature import encode, signed_headers

VERSION = "2017-05-25"
SIGN_STATES = {0: "is still under review", 2: "was refused", 10: "was withdrawn"}

CAPABILITIES = Capabilities(
    contents=frozenset({"notice"}),
    text_limit=0,
    address_is_phone=True,
    free_text=False,
    settles_doubt=True,
    sms=True,
    countries=frozenset({"CN"}),
    mainland_parts=True,
    rate_per_second=50.0,
)


class Alibaba:
    """One signature (签名) of an Alibaba Cloud account."""

    max_body = 1024 * 1024
    unsigned = True  # a body that cannot be read is answered 400: nobody proved that it is the provider's
    accepted = Answer(200, '{"code":0,"msg":"接收成功"}'.encode(), "application/json")
    capabilities = CAPABILITIES

    def __init__(self, name: str, config: AlibabaConfig, toolkit: Toolkit) -> None:
        self.name = name
        self._config = config
        self._http = toolkit.http
        self._clock = toolkit.clock
        self._keys = [key.get_secret_value().encode() for key in config.callback_key]
        base = urlsplit(config.api_base)
        default = {"https": 443, "http": 80}[base.scheme]
        host = base.netloc.rpartition("@")[2].lower()
        # The client leaves a default port out of Host, and Host is signed.
        self._host = host.removesuffix(f":{default}")
        self._url = config.api_base.rstrip("/") + "/"

    # --- in -----------------------------------------------------------------------------------------------------------

    def challenge(self, request: RawRequest) -> Answer:  # noqa: ARG002  # the port's signature
        """Always raises SignatureError: Alibaba Cloud makes no handshake."""
        raise SignatureError("Alibaba Cloud makes no handshake; it posts to this address")

    def verify(self, request: RawRequest) -> Verified:
        """Checks `?key=` in constant time, and the sender's address if allow_ips is set. Raises SignatureError."""
        given = [value for name, value in request.query if name == "key"]
        key = given[0].encode("utf-8", "surrogatepass") if len(given) == 1 else b""
        if not any([hmac.compare_digest(known, key) for known in self._keys]):  # noqa: C419  # all, in constant time
            raise SignatureError("the key in the address is missing or wrong")
        if self._config.allow_ips and not self._allowed(request.remote):
            raise SignatureError("the sender's address is not in allow_ips")
        return Verified(request, request.body)

    def _allowed(self, remote: str) -> bool:
        try:
            sender = ip_address(remote)
        except ValueError:
            return False
        if isinstance(sender, IPv6Address) and sender.ipv4_mapped is not None:
            sender = sender.ipv4_mapped
        return any(sender in network for network in self._config.allow_ips)

    def parse(self, verified: Verified) -> Parsed:
        """Receipts and refusing replies; anything else is counted. Raises PayloadError for what is no JSON array."""
        return read(self.name, verified.body, verified.request.received_at)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def send(self, message: OutboundMessage) -> Receipt:
        """Sends an approved template with its fields. Raises a SendError; free text is a ContentError."""
        content = message.content
        if not isinstance(content, Notice):
            raise ContentError(
                "this line sends approved templates only; add [notices.<name>.<account>] with its template_id"
            )
        number = mainland(message.to) if message.to.startswith("+86") else ""
        if not number:
            raise UnreachableError("this line reaches mainland mobile numbers only")
        life_s = (message.not_after - self._clock.now()) / 1000 if message.not_after else math.inf
        answer = await self._call("SendSms", self._params(message, content, number.removeprefix("+86")), life_s)
        biz_id = answer.get("BizId")
        return Receipt(provider_id=biz_id if isinstance(biz_id, str) else "")

    def _params(self, message: OutboundMessage, notice: Notice, number: str) -> Mapping[str, str]:
        params = {
            "PhoneNumbers": number,
            "SignName": self._config.sign_name,
            "TemplateCode": notice.template_id,
            "OutId": message.id,
        }
        if notice.fields:
            fields = {name: str(value) for name, value in notice.fields.items()}
            params["TemplateParam"] = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        if self._config.up_extend_code:
            params["SmsUpExtendCode"] = self._config.up_extend_code
        return params

    async def _call(self, action: str, params: Mapping[str, str], life_s: float = math.inf) -> Mapping[str, Any]:
        """The answer of an action. Its parameters travel as a form, so that no proxy logs a number in a URL."""
        try:
            body = encode(params).encode()
        except UnicodeEncodeError:
            raise ContentError("a field holds half a character") from None
        headers = signed_headers(
            key_id=self._config.access_key_id,
            secret=self._config.access_key_secret.get_secret_value(),
            host=self._host,
            action=action,
            version=VERSION,
            at_ms=self._clock.real(),
            nonce=secrets.token_hex(16),
            body=body,
        )
        response = await self._http.request("POST", self._url, headers=headers, body=body)
        answer = response.json_object()
        if (error := error_of(response, answer, real_ms=self._clock.real(), life_s=life_s)) is not None:
            raise error
        if answer is None:
            raise InDoubtError("Alibaba Cloud gave no proper answer")
        return answer

    async def check(self) -> str:
        """Asks for the state of sign_name. Raises SendError."""
        try:
            answer = await self._call("GetSmsSign", {"SignName": self._config.sign_name})
        except AccountError as error:
            if error.code not in ("isp.RAM_PERMISSION_DENY", "NoPermission"):
                raise
            return "Alibaba Cloud answers; whether sign_name is approved it does not tell this access key"
        state = answer.get("SignStatus")
        if isinstance(state, int) and state in SIGN_STATES:
            raise AccountError(f"the signature {SIGN_STATES[state]}", code=f"SignStatus {state}")
        return f"Alibaba Cloud answers; the signature {self._config.sign_name} is approved"


def _build(name: str, config: AccountConfig, toolkit: Toolkit) -> Alibaba:
    return Alibaba(name, cast(AlibabaConfig, config), toolkit)


TYPE = ChannelType("alibaba", AlibabaConfig, _build, "Alibaba Cloud SMS (阿里云短信)", CAPABILITIES)
