"""The page on which a buyer allows single notices inside the provider's own app: one tap, one notice.

The only page with scripts: the provider draws its button by one of its own, signed for this page's URL. What is allowed by it the
provider tells by its webhook; nothing that the page says counts. Without the app or the script it stays a page that says so.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import structlog
from aiohttp import web
from markupsafe import Markup

from bot import grants
from bot.errors import SendError
from bot.ports import SignedPage
from pages.deps import Asking
from pages.visit import StopError, Visit
from pages.words import FOLDER

SCRIPT = (FOLDER / "leave.js").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
PATIENCE_S = 2.5
ABOUT = {
    "order_paid": "paid", "order_paid_first": "paid", "order_shipped": "shipped", "parcel_in_city": "city",
    "parcel_out": "out", "parcel_pickup": "pickup", "parcel_delivered": "delivered", "refund_received": "refund",
    "payment_reminder": "payment", "payment_reminder_returning": "payment", "review_invite": "review",
    "cart_1": "cart", "cart_2": "cart", "cart_3": "cart", "stock_back": "stock", "coupon_expiring": "coupon",
    "order_completed": "completed",
}  # fmt: skip
"""What a notice is about, as a word of `notices.about_…`."""

log = structlog.get_logger()
_slow: set[asyncio.Task[SignedPage | None]] = set()


async def notices(visit: Visit) -> web.Response:
    """What can be allowed, how much is, and, inside the app, the buttons. Raises StopError where there is nothing."""
    address = visit.asked_at
    if address is None:
        raise StopError("nothing")
    asking = visit.deps.asking[address.account]
    inside = asking.is_inside(visit.request)
    signed = await _signed(visit, address.account, asking) if inside else None
    sources = dict(signed.sources) if signed else {}
    if signed:
        sources["script-src"] = f"'sha256-{_HASH}' {signed.script}"
    return visit.show(
        "notices",
        sources=sources,
        state="" if signed else "away" if inside else "outside",
        config=json.dumps(signed.config) if signed else "",
        script=signed.script if signed else "",
        code=Markup(SCRIPT) if signed else "",  # noqa: S704  # a file of ours
        lines=[
            {
                "template": template,
                "about": list(dict.fromkeys(ABOUT.get(key, "other") for key in keys)),
                "left": grants.left(address, template),
            }
            for template, keys in asking.templates.items()
        ],
    )


async def _signed(visit: Visit, account: str, asking: Asking) -> SignedPage | None:
    """The page's URL signed, None where the provider does not answer soon: who waits for a page does not wait for that.

    The URL is the one that the browser shows: our public address and what was asked for.
    """

    async def sign() -> SignedPage | None:
        try:
            return await asking.line.sign(visit.deps.public_url + visit.request.raw_path)
        except SendError as error:
            log.warning("page not signed", account=account, code=error.code, why=str(error))
            return None

    task = asyncio.create_task(sign())
    done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
    if done:
        return task.result()
    _slow.add(task)  # it goes on: the next page has its ticket
    task.add_done_callback(_slow.discard)
    return None
