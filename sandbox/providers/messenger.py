"""A simulated Messenger page: the Send API, echoes, deliveries and reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.outward import Built
from sandbox.providers.common import World, before, drop, secret
from sandbox.state import Window

DAY = Window(24 * 3_600_000)
RETRIES = (1.0, 5.0, 15.0)
FIELDS = (
    "messages", "message_echoes", "message_edits", "message_reactions", "messaging_postbacks", "messaging_referrals",
    "messaging_optins", "message_deliveries", "message_reads", "messaging_handovers", "standby", "send_cart",
    "messaging_policy_enforcement", "messaging_account_linking",
)  # fmt: skip


def _error(code: int, sub: int = 0, message: str = "", status: int = 400) -> web.Response:
    error: dict[str, Any] = {
        "message": message or f"(#{code})",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": secrets.token_hex(6),
    }
    if sub:
        error["error_subcode"] = sub
    return web.json_response({"error": error}, status=status)


class MessengerProvider:
    """All configured pages: found by the page id in the path."""

    name = "messenger"

    def __init__(self, world: World, accounts: Mapping[str, Any], number: str = "") -> None:
        self._world = world
        self._number = number
        self._accounts = accounts
        self._pages = {config.page_id: name for name, config in accounts.items()}

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the Graph API."""
        app.router.add_post(prefix + "/{version}/{page}/messages", self.send)
        app.router.add_get(prefix + "/{version}/{page}", self.page)
        app.router.add_get(prefix + "/{version}/{page}/subscribed_apps", self.subscribed)

    def _account(self, request: web.Request) -> tuple[str, Any] | None:
        name = self._pages.get(request.match_info["page"])
        return (name, self._accounts[name]) if name else None

    def _refused(self, request: web.Request, config: Any) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return not hmac.compare_digest(given.encode(), secret(config.page_access_token).encode())

    def _unproved(self, request: web.Request, config: Any) -> bool:
        """Whether a proof by the app's secret is there and wrong."""
        given = request.query.get("appsecret_proof")
        token = secret(config.page_access_token).encode()
        wanted = hmac.digest(secret(config.app_secret).encode(), token, "sha256").hex()
        return given is not None and not hmac.compare_digest(given.encode(), wanted.encode())

    async def page(self, request: web.Request) -> web.Response:
        """Who the page is."""
        found = self._account(request)
        if found is None:
            return _error(100, 33, "Unsupported get request")
        if self._refused(request, found[1]):
            return _error(190, 467, "Invalid OAuth access token")
        if self._unproved(request, found[1]):
            return _error(100, 0, "Invalid appsecret_proof provided in the API argument")
        return web.json_response({"id": found[1].page_id, "name": "Sandbox page"})

    async def subscribed(self, request: web.Request) -> web.Response:
        """The apps that get this page's webhooks: the configured one, all fields."""
        found = self._account(request)
        if found is None:
            return _error(100, 33, "Unsupported get request")
        if self._refused(request, found[1]):
            return _error(190, 467, "Invalid OAuth access token")
        app = {"id": found[1].app_id, "name": "Sandbox app", "subscribed_fields": list(FIELDS)}
        return web.json_response({"data": [app]})

    async def send(self, request: web.Request) -> web.StreamResponse:
        """POST /messages: checks what Meta checks, shows it on the phone, posts echo, delivery and read."""
        found = self._account(request)
        if found is None:
            return _error(100, 33, "Unsupported post request")
        name, config = found
        if self._refused(request, config):
            return _error(190, 467, "Invalid OAuth access token")
        fault, answer = await before(self._world, name, request)
        if answer is not None:
            return answer
        if fault == "429":
            refusal = _error(613, 0, "Calls to this api have exceeded the rate limit")
            refusal.headers["Retry-After"] = "1"  # keeps a rehearsal short
            return refusal
        if fault.startswith("errcode:"):
            code, _, sub = fault.removeprefix("errcode:").partition("/")
            return _error(int(code), int(sub or 0))
        envelope, image = await _read(request)
        if envelope is None:
            return _error(100, 2018014, "Invalid parameter")
        recipient = envelope.get("recipient")
        psid = str(recipient.get("id", "")) if isinstance(recipient, dict) else ""
        if "sender_action" in envelope:
            return await self._action(name, psid)
        message = envelope.get("message")
        if not isinstance(message, dict) or envelope.get("messaging_type") not in ("RESPONSE", "UPDATE"):
            return _error(100, 2018014, "Invalid parameter")
        if (problem := _problem(message)) is not None:
            return problem
        if not await self._world.phones.exists(name, psid):
            return _error(100, 2018001, "No matching user found")
        if await self._world.phones.use_window(name, psid) != "ok":
            return _error(10, 2018278, "This message is sent outside of allowed window")
        return await self._accept(request, name, psid, message, image, fault)

    async def _action(self, name: str, psid: str) -> web.Response:
        """Typing dots and the like: nothing is kept."""
        if not await self._world.phones.exists(name, psid):
            return _error(100, 2018001, "No matching user found")
        return web.json_response({"recipient_id": psid})

    async def _accept(
        self, request: web.Request, name: str, psid: str, message: dict[str, Any], image: bytes, fault: str
    ) -> web.StreamResponse:
        mid = f"m_sandbox{secrets.token_hex(8)}"
        ref = str(message.get("metadata", ""))
        await self._world.phones.accepted(name, psid, ref)
        for _ in range(2 if fault == "duplicate" else 1):
            await self._world.phones.show(
                name, psid, **{"from": "shop"}, provider_id=mid, ref=ref, **_bubble(message, image, self._number)
            )
        self._report(name, psid, mid, message)
        if fault == "drop_after_accept":
            return drop(request)
        return web.json_response({"recipient_id": psid, "message_id": mid})

    # --- webhooks -------------------------------------------------------------------------------------------------

    def webhook(self, name: str, item: dict[str, Any]) -> Built:
        """One signed webhook."""
        config = self._accounts[name]
        entry = {"id": config.page_id, "time": self._world.now_s * 1000, "messaging": [item]}
        # Meta signs the text in which everything beyond ASCII is escaped and slashes are too.
        body = json.dumps({"object": "page", "entry": [entry]}, separators=(",", ":")).replace("/", "\\/").encode()
        signature = "sha256=" + hmac.new(secret(config.app_secret).encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        return f"{self._world.base}/channels/{name}/webhook", body, headers

    def _item(self, name: str, psid: str, **fields: Any) -> dict[str, Any]:
        page = self._accounts[name].page_id
        return {
            "sender": {"id": psid},
            "recipient": {"id": page},
            "timestamp": self._world.phones.clock.real(),
            **fields,
        }

    def _report(self, name: str, psid: str, mid: str, message: dict[str, Any]) -> None:
        page = self._accounts[name].page_id
        echo = {
            "sender": {"id": page},
            "recipient": {"id": psid},
            "timestamp": self._world.phones.clock.real(),
            "message": {
                "mid": mid,
                "is_echo": True,
                "app_id": int(self._accounts[name].app_id or 0),
                "metadata": message.get("metadata", ""),
                "text": message.get("text", ""),
            },
        }
        self._world.outward.later(lambda: self.webhook(name, echo), retries=RETRIES, delay_s=0.05)
        for state, delay in (("delivery", 0.3), ("read", 0.9)):
            self._world.outward.later(
                lambda s=state: self._receipt(name, psid, mid, s),  # type: ignore[misc]
                retries=RETRIES,
                delay_s=delay,
            )
            self._world.mark_later(name, psid, mid, "delivered" if state == "delivery" else "read", delay)

    def _receipt(self, name: str, psid: str, mid: str, state: str) -> Built:
        seen: dict[str, Any] = {"watermark": self._world.phones.clock.real()}
        if state == "delivery":
            seen["mids"] = [mid]
        return self.webhook(name, self._item(name, psid, **{state: seen}))

    async def say(self, name: str, psid: str, *, text: str = "", payload: str = "") -> int:
        """The buyer writes, or takes an offered reply. Answers the gateway's status."""
        await self._world.phones.meet(name, psid)
        await self._world.phones.open(name, psid, "message", DAY)
        mid = f"m_buyer{secrets.token_hex(8)}"
        if payload and not text:
            item = self._item(name, psid, postback={"mid": mid, "title": payload, "payload": payload})
        else:
            message: dict[str, Any] = {"mid": mid, "text": text}
            if payload:
                message["quick_reply"] = {"payload": payload}
            item = self._item(name, psid, message=message)
        return await self._world.outward.post(lambda: self.webhook(name, item), retries=RETRIES)

    async def start(self, name: str, psid: str, scene: str = "") -> int:
        """The buyer opens the chat for the first time, or by a link with a `ref`."""
        known = await self._world.phones.exists(name, psid)
        await self._world.phones.meet(name, psid)
        await self._world.phones.open(name, psid, "message", DAY)
        referral = {"ref": scene, "source": "SHORTLINK", "type": "OPEN_THREAD"}
        if known and scene:
            item = self._item(name, psid, referral=referral)
        else:
            postback: dict[str, Any] = {"mid": f"m_buyer{secrets.token_hex(8)}", "title": "Get started"}
            postback |= {"payload": "GET_STARTED"} | ({"referral": referral} if scene else {})
            item = self._item(name, psid, postback=postback)
        return await self._world.outward.post(lambda: self.webhook(name, item), retries=RETRIES)

    async def leave(self, name: str, psid: str) -> int:
        """The buyer deletes the chat: Meta tells the page nothing."""
        await self._world.phones.leave(name, psid)
        return 200


async def _read(request: web.Request) -> tuple[dict[str, Any] | None, bytes]:
    if request.content_type.startswith("multipart"):
        form = await request.post()
        image = b""
        envelope: dict[str, Any] = {}
        for key, value in form.items():
            if isinstance(value, web.FileField):
                image = value.file.read()
            else:
                text = str(value)
                envelope[key] = json.loads(text) if text.startswith("{") else text
        return envelope, image
    try:
        value = json.loads(await request.read())
    except ValueError:
        return None, b""
    return (value if isinstance(value, dict) else None), b""


def _problem(message: dict[str, Any]) -> web.Response | None:
    """The refusal of a message that breaks a limit (Send API, limits of text, quick replies and templates)."""
    text, attachment = message.get("text", ""), message.get("attachment")
    if bool(text) == isinstance(attachment, dict):
        return _error(100, 2018014, "Must have text or attachment, not both")
    if text and len(text) >= 2000:
        return _error(100, 2018014, "Length of param message[text] must be less than 2000")
    if len(str(message.get("metadata", ""))) >= 1000:
        return _error(100, 2018014, "Length of param message[metadata] must be less than 1000")
    replies = message.get("quick_replies", [])
    if len(replies) > 13:
        return _error(100, 2018014, "Too many quick replies")
    for reply in replies:
        if reply.get("content_type") == "text" and (
            not 0 < len(reply.get("title", "")) <= 20 or not 0 < len(reply.get("payload", "")) <= 1000
        ):
            return _error(100, 2018014, "Quick reply title or payload empty or too long")
    return _template_problem(attachment.get("payload") or {}) if isinstance(attachment, dict) else None


def _template_problem(payload: dict[str, Any]) -> web.Response | None:
    kind, elements = payload.get("template_type"), payload.get("elements") or []
    if kind == "button" and (
        not 0 < len(payload.get("text", "")) <= 640 or not 1 <= len(payload.get("buttons", [])) <= 3
    ):
        return _error(100, 2018014, "A button template takes 640 characters and 1 to 3 buttons")
    if kind == "generic" and not 1 <= len(elements) <= 10:
        return _error(100, 2018014, "A generic template takes 1 to 10 elements")
    if kind == "receipt" and not (payload.get("order_number") and payload.get("payment_method")):
        return _error(100, 2018014, "A receipt names order_number and payment_method")
    rows = elements if kind == "generic" else []
    if any(len(row.get("title", "")) > 80 or len(row.get("subtitle", "")) > 80 for row in rows):
        return _error(100, 2018014, "An element's title or subtitle is longer than 80")
    buttons = [*payload.get("buttons", []), *(button for row in rows for button in row.get("buttons", []))]
    if any(len(button.get("title", "")) > 20 for button in buttons):
        return _error(100, 2018014, "A button's title is longer than 20")
    return None


def _bubble(message: dict[str, Any], image: bytes, number: str) -> dict[str, Any]:
    """What the phone shows of a message; a number reply offers the phone's own number, as Messenger does."""
    choices = []
    for reply in message.get("quick_replies", []):
        if reply.get("content_type") == "text":
            choices.append({"label": reply["title"], "payload": reply["payload"]})
        elif reply.get("content_type") == "user_phone_number" and number:
            choices.append({"label": number, "payload": number})
    if image:
        data = "data:image/png;base64," + base64.b64encode(image).decode()
        return {"kind": "image", "image": data, "text": "", "choices": choices}
    payload = (message.get("attachment") or {}).get("payload") or {}
    kind, element = payload.get("template_type"), (payload.get("elements") or [{}])[0]
    buttons = [*payload.get("buttons", []), *element.get("buttons", [])]
    links = [{"label": b.get("title", ""), "url": b["url"]} for b in buttons if "url" in b]
    choices += [
        {"label": b.get("title", ""), "payload": b["payload"], "postback": True} for b in buttons if "payload" in b
    ]
    rest = {"choices": choices, "links": links}
    if kind == "generic":
        return {"kind": "card", "title": element.get("title", ""), "text": element.get("subtitle", ""), **rest}
    if kind == "receipt":
        total = f"{payload.get('summary', {}).get('total_cost', '')} {payload.get('currency', '')}"
        return {"kind": "card", "title": f"#{payload['order_number']}", "text": total, **rest}
    return {"kind": "text", "text": message.get("text") or payload.get("text", ""), **rest}
