"""A simulated shop system: real signed Standard Webhooks for what a buyer and a warehouse do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from bot.errors import RequestError
from sandbox.outward import Built
from sandbox.providers.common import World, secret

RETRIES = (5.0, 300.0, 1800.0, 7200.0, 18000.0)  # after the first try: the schedule of Standard Webhooks
FINAL = (400, 401, 404, 410, 413, 415)  # answers that no further try would change
NAMES = {
    "zh": {"title": "亚麻宽松衬衫", "short": "亚麻衬衫", "carrier": "顺丰", "province": "广东", "city": "广州"},
    "en": {"title": "Loose linen shirt", "short": "Linen shirt", "carrier": "SF Express", "province": "Guangdong", "city": "Guangzhou"},
}  # fmt: skip
VERBS = ("place", "pay", "cancel", "ship", "arrive", "out", "deliver", "complete", "refund", "abandon")
_STATES = {"ship": "accepted", "arrive": "arrived_city", "out": "out_for_delivery", "deliver": "delivered"}


class ShopProvider:
    """One shop: keeps its orders in Redis."""

    def __init__(self, world: World, name: str, config: Any, buyer: Mapping[str, Any]) -> None:
        self._world = world
        self._name = name
        self._config = config
        self._buyer = buyer

    async def act(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """One deed; answers the order's (or cart's) id and the gateway's status. Raises RequestError for facts that it refuses."""
        if verb == "abandon":
            return await self._abandon(given)
        if verb == "place":
            return await self._place(given)
        order = await self._order(str(given.get("order", "")))
        if order is None:
            return {"status": 404, "detail": "no such order; place one first"}
        kind, data = self._deed(verb, order, given)
        status = await self._post(kind, data)
        await self._keep(order)
        return {"order": order["id"], "status": status}

    async def orders(self) -> list[dict[str, Any]]:
        """The orders, newest first."""
        raw = await self._world.phones.redis.hvals(f"sandbox:orders:{self._name}")
        return sorted((json.loads(line) for line in raw), key=lambda order: order["placed"], reverse=True)

    async def _order(self, id: str) -> dict[str, Any] | None:
        if not id:
            found = await self.orders()
            return found[0] if found else None
        raw = await self._world.phones.redis.hget(f"sandbox:orders:{self._name}", id)
        return json.loads(raw) if raw else None

    async def _keep(self, order: dict[str, Any]) -> None:
        await self._world.phones.redis.hset(
            f"sandbox:orders:{self._name}", order["id"], json.dumps(order, ensure_ascii=False)
        )

    async def _place(self, given: Mapping[str, Any]) -> dict[str, Any]:
        number = await self._world.phones.redis.incr(f"sandbox:orders:{self._name}:n")
        order = {
            "id": str(given.get("id") or 5000 + int(number)),
            "placed": self._world.now_s,
            "state": "unpaid",
            "lang": given.get("lang", ""),
            "paid": False,
            "total": given.get("total") or {"amount": "188.00", "currency": "CNY"},
            "items": given.get("items") or [_item(given)],
            "buyer": given.get("buyer", dict(self._buyer)),
            "expires_in_s": _seconds(given.get("expires_in_s")),
        }
        status = await self._post("order.created", {"order": self._facts(order), "buyer": order["buyer"]})
        await self._keep(order)
        return {"order": order["id"], "status": status}

    def _facts(self, order: dict[str, Any], **more: Any) -> dict[str, Any]:
        names = _names(order)
        facts = {
            "id": order["id"],
            "number": f"#{order['id']}",
            "pay_state": "paid" if order["paid"] else "unpaid",
            "total": order["total"],
            "items": order["items"],
            "placed_at": _rfc(order["placed"]),
            "pay_url": f"{self._world.public_url}/sandbox/pay/{order['id']}",
            "status_url": f"{self._world.public_url}/sandbox/order/{order['id']}",
            "ship_to": {"country": "CN", "province": names["province"], "city": names["city"]},
            **more,
        }
        if order.get("expires_in_s"):
            facts["pay_expires_at"] = _rfc(order["placed"] + order["expires_in_s"])
        return facts

    def _deed(self, verb: str, order: dict[str, Any], given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        if verb == "pay":
            order |= {"state": "paid", "paid": True}
            return "order.paid", {"order": self._facts(order, paid_at=_rfc(self._world.now_s)), "buyer": order["buyer"]}
        if verb == "cancel":
            order["state"] = "cancelled"
            return "order.cancelled", {"order": self._facts(order, reason="customer")}
        if verb == "complete":
            order["state"] = "complete"
            return "order.completed", {"order": self._facts(order), "buyer": order["buyer"]}
        if verb == "refund":
            order["refund"] = True
            refund = {"id": f"r{order['id']}", "amount": order["total"], "kind": "refund_only"}
            return "refund.requested", {"order": self._facts(order), "refund": refund}
        order["state"] = verb
        shipment = {
            "id": f"s{order['id']}",
            "carrier": _names(order)["carrier"],
            "tracking_no": f"SF{order['id']}00001",
            "state": _STATES[verb],
            "city": _names(order)["city"] if verb != "ship" else "",
            "scan_at": _rfc(self._world.now_s),
            **{key: given[key] for key in ("reason", "place", "pickup_code") if key in given},
        }
        kind = "shipment.created" if verb == "ship" else "shipment.updated"
        return kind, {"order": {"id": order["id"]}, "shipment": shipment}

    async def _abandon(self, given: Mapping[str, Any]) -> dict[str, Any]:
        token = str(given.get("token") or f"ck_{secrets.token_hex(4)}")
        now = _rfc(self._world.now_s)
        checkout = {
            "token": token,
            "items": given.get("items") or [_item(given)],
            "total": {"amount": "188.00", "currency": "CNY"},
            "recover_url": f"{self._world.public_url}/sandbox/cart/{token}",
            "updated_at": now,
        }
        status = await self._post(
            "checkout.updated", {"checkout": checkout, "buyer": given.get("buyer", dict(self._buyer))}
        )
        return {"cart": token, "status": status}

    async def _post(self, kind: str, data: dict[str, Any]) -> int:
        id = f"msg_{secrets.token_hex(10)}"
        envelope = {"type": kind, "id": id, "occurred_at": _rfc(self._world.now_s), "data": data}
        body = json.dumps(envelope, ensure_ascii=False).encode()
        status, answered = await self._world.outward.once(lambda: self._signed(id, body))
        if status == 400:  # whoever asked gave facts that the gateway refuses: they are told which
            raise _refused(answered)
        if not 200 <= status < 300 and status not in FINAL:
            self._world.outward.later(lambda: self._signed(id, body), retries=RETRIES[1:], delay_s=RETRIES[0])
        return status

    def _signed(self, id: str, body: bytes) -> Built:
        stamp = str(self._world.now_s)
        key = base64.b64decode(secret(self._config.secret).removeprefix("whsec_"))
        digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
            "Content-Type": "application/json",
        }
        return f"{self._world.base}/shops/{self._name}/webhook", body, headers


def _refused(answered: bytes) -> RequestError:
    """The gateway's own words about a webhook."""
    said = json.loads(answered)
    field = next((error["field"] for error in said.get("errors", ())), "")
    return RequestError(f"the gateway refuses it: {said['detail']}", field=field)


def _item(given: Mapping[str, Any]) -> dict[str, Any]:
    """The shop's one shirt."""
    names, price = _names(given), {"amount": "188.00", "currency": "CNY"}
    return {"title": names["title"], "short_title": names["short"], "qty": 1, "sku": "LS-M", "price": price,
            "product_id": "linen-shirt", "variant": {"size": "M", "color": "白"}}  # fmt: skip


def _names(given: Mapping[str, Any]) -> Mapping[str, str]:
    """The shop's names in the language that the phone page is read in."""
    return NAMES["en" if given.get("lang") == "en" else "zh"]


def _seconds(value: object) -> int:
    """A number of seconds, 0 for none. Raises RequestError for anything else."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 366 * 86400:
        raise RequestError("expires_in_s must be a number of seconds", field="expires_in_s")
    return int(value)


def _rfc(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
