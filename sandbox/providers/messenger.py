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

    def __init__(self, world: World, accounts: Mapping[str, Any]) -> None:
        self._world = world
        self._accounts = accounts
        self._pages = {config.page_id: name for name, config in accounts.items()}

    def add_routes(self, app: web.Application, prefix: str) -> None:
        """Mounts the Graph API."""
        app.router.add_post(prefix + "/{version}/{page}/messages", self.send)
        app.router.add_get(prefix + "/{version}/{page}", self.page)

    def _account(self, request: web.Request) -> tuple[str, Any] | None:
        name = self._pages.get(request.match_info["page"])
        return (name, self._accounts[name]) if name else None

    def _refused(self, request: web.Request, config: Any) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return not hmac.compare_digest(given.encode(), secret(config.page_access_token).encode())

    async def page(self, request: web.Request) -> web.Response:
        """Who the page is."""
        found = self._account(request)
        if found is None:
            return _error(100, 33, "Unsupported get request")
        if self._refused(request, found[1]):
            return _error(190, 467, "Invalid OAuth access token")
        return web.json_response({"id": found[1].page_id, "name": "Sandbox page"})

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
            return _error(613, 0, "Calls to this api have exceeded the rate limit")
        envelope, image = await _read(request)
        if envelope is None:
            return _error(100, 2018014, "Invalid parameter")
        psid = str(envelope.get("recipient", {}).get("id", ""))
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

    async def _accept(
        self, request: web.Request, name: str, psid: str, message: dict[str, Any], image: bytes, fault: str
    ) -> web.StreamResponse:
        mid = f"m_sandbox{secrets.token_hex(8)}"
        await self._world.phones.accepted(name, psid, str(message.get("metadata", "")))
        await self._world.phones.show(
            name, psid, **{"from": "shop"}, provider_id=mid, state="sent", **_bubble(message, image)
        )
        if fault == "duplicate":
            await self._world.phones.show(
                name, psid, **{"from": "shop"}, provider_id=mid, state="sent", **_bubble(message, image)
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
            self._world.outward.later(lambda s=state: self._receipt(name, psid, s), retries=RETRIES, delay_s=delay)  # type: ignore[misc]
            self._world.outward.tasks.add(
                _mark(self._world, name, psid, mid, "delivered" if state == "delivery" else "read", delay)
            )

    def _receipt(self, name: str, psid: str, state: str) -> Built:
        watermark = {"watermark": self._world.phones.clock.real()}
        return self.webhook(name, self._item(name, psid, **{state: watermark}))

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

    async def start(self, name: str, psid: str) -> int:
        """The buyer opens the chat for the first time."""
        return await self.say(name, psid, payload="GET_STARTED")


def _mark(world: World, name: str, psid: str, mid: str, state: str, delay: float) -> Any:
    import asyncio  # noqa: PLC0415  # only for the task

    async def mark() -> int:
        await asyncio.sleep(delay)
        await world.phones.mark(name, psid, mid, state)
        return 200

    task = asyncio.create_task(mark())
    task.add_done_callback(world.outward.tasks.discard)
    return task


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
    text = message.get("text", "")
    if text and len(text) >= 2000:
        return _error(100, 2018014, "Length of param message[text] must be less than 2000")
    replies = message.get("quick_replies", [])
    if len(replies) > 13:
        return _error(100, 2018014, "Too many quick replies")
    for reply in replies:
        if reply.get("content_type") == "text" and (
            len(reply.get("title", "")) > 20 or len(reply.get("payload", "")) > 1000
        ):
            return _error(100, 2018014, "Quick reply title or payload too long")
    if not text and "attachment" not in message:
        return _error(100, 2018014, "Must have text or attachment")
    return None


def _bubble(message: dict[str, Any], image: bytes) -> dict[str, Any]:
    choices = [
        {"label": reply.get("title", "☎"), "payload": reply.get("payload", "")}
        for reply in message.get("quick_replies", [])
        if reply.get("content_type") == "text"
    ]
    if image:
        return {
            "kind": "image",
            "image": "data:image/png;base64," + base64.b64encode(image).decode(),
            "choices": choices,
        }
    payload = message.get("attachment", {}).get("payload", {})
    if payload.get("template_type") == "generic":
        element = payload["elements"][0]
        return {"kind": "card", "title": element["title"], "text": element.get("subtitle", ""), "choices": choices}
    text = message.get("text") or payload.get("text", "")
    links = [{"label": b["title"], "url": b["url"]} for b in payload.get("buttons", [])]
    return {"kind": "text", "text": text, "choices": choices, "links": links}
