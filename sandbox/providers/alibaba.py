"""A simulated Alibaba Cloud SMS account: SendSms with the V3 signature, receipts and replies by keyed callbacks."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web

from sandbox.outward import Built
from sandbox.providers.common import World, before, drop, secret

RETRIES = (60.0, 300.0, 600.0)
LIMITS = {
    "code": ((60, 1, "分钟"), (3600, 5, "小时"), (86_400, 10, "天")),
    "notice": ((86_400, 50, "天"),),
}
"""Texts that one number gets by a signature (codes) or a template (others): span in s, how many, the level's word."""
CODES_OF_ALL = 40
LONGEST_TEXT = 500
SKEW_S = 900
UTC8_S = 8 * 3600
SIGNED = {"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
OUT = frozenset({"r", "t", "td", "n", "退订", "拒收"})
_AUTH = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})")


class AlibabaProvider:
    """All configured accounts, by access key id."""

    name = "alibaba"

    def __init__(self, world: World, accounts: Mapping[str, Any]) -> None:
        self._world = world
        self._accounts = accounts

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the RPC endpoint."""
        app.router.add_post(prefix + "/", self.call)
        app.router.add_post(prefix, self.call)

    def _verified(self, request: web.Request, body: bytes) -> str:
        """The account whose signature this is, "" for none."""
        found = _AUTH.fullmatch(request.headers.get("Authorization", "").replace(", ", ","))
        if not found:
            return ""
        key_id, signed, given = found.groups()
        for name, config in self._accounts.items():
            if config.access_key_id == key_id:
                names = signed.split(";")
                whole = set(names) >= SIGNED | ({"content-type"} if body else set())
                hashed = request.headers.get("x-acs-content-sha256", "") == hashlib.sha256(body).hexdigest()
                want = _signature(request, body, names, secret(config.access_key_secret))
                return name if whole and hashed and hmac.compare_digest(want, given) else ""
        return ""

    async def call(self, request: web.Request) -> web.StreamResponse:
        """SendSms, GetSmsSign: what is signed and well-formed."""
        body = await request.read()
        name = self._verified(request, body)
        if not name:
            return web.json_response({"Code": "SignatureDoesNotMatch", "Message": "signature"}, status=400)
        if (stale := await self._replayed(request)) is not None:
            return stale
        params = dict(request.query) | dict(parse_qsl(body.decode(), keep_blank_values=True))
        if request.headers.get("x-acs-action") == "GetSmsSign":
            return self._sign_state(name, params)
        if request.headers.get("x-acs-action") != "SendSms":
            return _answer("isv.INVALID_PARAMETERS")
        fault, answer = await before(self._world, name, request)
        if answer is not None:
            return answer
        if fault == "429":
            return _answer("Throttling.User")
        if fault.startswith("errcode:"):
            return _answer(fault.partition(":")[2])
        return await self._send(request, name, params, fault)

    async def _replayed(self, request: web.Request) -> web.Response | None:
        """The refusal of a request that is a quarter of an hour off, or whose nonce was there before."""
        try:
            at = calendar.timegm(time.strptime(request.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError:
            at = 0
        if abs(at - self._world.now_s) > SKEW_S:
            return web.json_response({"Code": "InvalidTimeStamp.Expired", "Message": "time stamp"}, status=400)
        nonce = request.headers["x-acs-signature-nonce"]
        if not await self._world.phones.redis.set(f"sandbox:nonce:{nonce}", "1", nx=True, ex=2 * SKEW_S):
            return web.json_response({"Code": "SignatureNonceUsed", "Message": "nonce"}, status=400)
        return None

    def _sign_state(self, name: str, params: Mapping[str, str]) -> web.Response:
        if params.get("SignName") != self._accounts[name].sign_name:
            return _answer("isv.SMS_SIGN_ILLEGAL")
        return web.json_response(
            {"Code": "OK", "Message": "OK", "SignName": params["SignName"], "SignStatus": 1, "RequestId": _request_id()}
        )

    async def _send(self, request: web.Request, name: str, params: Mapping[str, str], fault: str) -> web.StreamResponse:
        number, template = params.get("PhoneNumbers", ""), params.get("TemplateCode", "")
        if params.get("SignName") != self._accounts[name].sign_name:
            return _answer("isv.SMS_SIGNATURE_ILLEGAL")
        if not re.fullmatch(r"SMS_\w{1,30}", template):
            return _answer("isv.SMS_TEMPLATE_ILLEGAL")
        try:
            fields = json.loads(params.get("TemplateParam") or "{}")
        except ValueError:
            return _answer("isv.INVALID_JSON_PARAM")
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            return _answer("isv.INVALID_JSON_PARAM")
        to = "+86" + re.sub(r"^(\+86|0086|86)(?=1\d{10}$)", "", number)
        if not re.fullmatch(r"\+861\d{10}", to):
            return _answer("isv.MOBILE_NUMBER_ILLEGAL")
        text = f"【{params.get('SignName', '')}】" + " ".join(fields.values())
        if len(text) > LONGEST_TEXT or len(params.get("OutId", "")) > 255:
            return _answer("isv.PARAM_LENGTH_LIMIT")
        if level := await self._limited(name, to, template, is_code=_is_code(fields)):
            return _answer("isv.BUSINESS_LIMIT_CONTROL", f"触发{level[0]}级流控Permits:{level[1]}")
        biz, out_id = f"{secrets.randbelow(10**18)}^0", params.get("OutId", "")
        await self._world.phones.accepted(name, to, out_id)
        for _ in range(2 if fault == "duplicate" else 1):
            await self._world.phones.show(
                name, to, **{"from": "shop"}, kind="text", text=text, provider_id=biz, ref=out_id
            )
        refused = bool(await self._world.phones.redis.sismember(f"sandbox:alirefused:{name}", to))
        if not refused:
            self._world.mark_later(name, to, biz, "delivered", 0.6)
        parts = 1 if len(text) <= 70 else -(-len(text) // 67)
        self._world.outward.later(
            lambda: self._report(name, to, biz, out_id, parts=parts, refused=refused), retries=RETRIES, delay_s=0.6
        )
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"Code": "OK", "Message": "OK", "BizId": biz, "RequestId": _request_id()})

    def _post(self, name: str, item: dict[str, Any]) -> Built:
        key = quote(secret(self._accounts[name].callback_key), safe="")
        url = f"{self._world.base}/channels/{name}/status?key={key}"
        return url, json.dumps([item], ensure_ascii=False).encode(), {"Content-Type": "application/json"}

    async def _limited(self, name: str, to: str, template: str, *, is_code: bool) -> tuple[str, int] | None:
        """The level whose share this number has had; else the text is counted, whatever becomes of it.

        Minutes and hours are those of the clock in UTC+8, days the last 24 hours.
        """
        redis, now = self._world.phones.redis, self._world.now_s
        sign = self._accounts[name].sign_name
        key = f"sandbox:alilimit:{to}:{sign if is_code else f'{sign}:{template}'}"
        every = f"sandbox:alilimit:{to}"
        for count, limits in ((key, LIMITS["code" if is_code else "notice"]), (every, ((86_400, CODES_OF_ALL, "天"),))):
            for span, most, word in limits if count == key or is_code else ():
                start = now - span if span == 86_400 else (now + UTC8_S) // span * span - UTC8_S
                if await redis.zcount(count, start if span < 86_400 else f"({start}", "+inf") >= most:
                    return word, most
        for count in (key, every) if is_code else (key,):
            await redis.zadd(count, {secrets.token_hex(6): now})
            await redis.zremrangebyscore(count, "-inf", now - 86_400)
        return None

    def _report(self, name: str, to: str, biz: str, out_id: str, *, parts: int, refused: bool) -> Built:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._world.now_s + 8 * 3600))
        item = {
            "phone_number": to.removeprefix("+86"), "send_time": now, "report_time": now, "success": not refused,
            "err_code": "UNDELIV" if refused else "DELIVERED", "err_msg": "用户已退订" if refused else "用户接收成功",
            "sms_size": str(parts), "biz_id": biz, "out_id": out_id,
        }  # fmt: skip
        return self._post(name, item)

    async def say(self, name: str, number: str, *, text: str = "", payload: str = "") -> int:
        """The buyer replies to a template message."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._world.now_s + 8 * 3600))
        item = {
            "phone_number": number.removeprefix("+86"), "content": text or payload, "send_time": now,
            "dest_code": "1234", "sequence_id": str(secrets.randbelow(10**10)),
        }  # fmt: skip
        await self._world.phones.meet(name, number)
        if (text or payload).strip().lower() in OUT:  # the platform itself stops such a number for the signature
            await self._world.phones.redis.sadd(f"sandbox:alirefused:{name}", number)
        return await self._world.outward.post(lambda: self._post(name, item), retries=())

    async def start(self, name: str, number: str, scene: str = "") -> int:
        """A phone number needs no first contact."""
        del scene
        await self._world.phones.meet(name, number)
        return 200

    async def leave(self, name: str, number: str) -> int:
        """A number cannot be left; the buyer writes STOP."""
        del name, number
        return 200


def _answer(code: str, message: str = "") -> web.Response:
    return web.json_response({"Code": code, "Message": message or code, "RequestId": _request_id()})


def _is_code(fields: Mapping[str, str]) -> bool:
    """Whether a template is one for codes: digits are all that it carries."""
    return len(fields) == 1 and all(re.fullmatch(r"\d{4,8}", value) for value in fields.values())


def _request_id() -> str:
    return secrets.token_hex(8).upper()


def _signature(request: web.Request, body: bytes, signed: list[str], key: str) -> str:
    query = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(request.query.items()))
    headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in signed)
    hashed = hashlib.sha256(body).hexdigest()
    canonical = "\n".join([request.method, "/", query, headers, ";".join(signed), hashed])
    text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
