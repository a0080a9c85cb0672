"""The table of operations. `openapi.py` makes the description from it."""

from __future__ import annotations

from typing import Any, get_args

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.broadcasts import BroadcastState
from bot.errors import StoreError
from bot.orders import PAY_RANK, REFUND_RANK
from bot.problems import unavailable
from bot.reasons import Rule
from bot.records import SHIP_RANK
from console.api import accounts, broadcasts, buyers, campaigns, export, messages, orders, products, reports, segments
from console.api import answers as out
from console.api.broadcast_models import BroadcastIn, BroadcastPatch, PreviewIn, Seen, TrialIn
from console.api.deps import ApiDeps
from console.api.http import Handle, Route, authorised, serve
from console.api.models import (
    BuyerPatch,
    CampaignIn,
    CampaignPatch,
    ClaimIn,
    ConsentIn,
    MergeIn,
    MessageIn,
    ProductIn,
    RedeemIn,
    SegmentIn,
    SegmentPatch,
    TaskDone,
    WhereIn,
)
from console.api.once import once
from console.api.params import Param
from console.api.refusals import Refusal

PAGED = (
    Param("cursor", "goes on where a page ended: its next_cursor"),
    Param("limit", "items on a page, 50 if left out", number=(1, 200)),
)
BUYER = Param("buyer", "id of a buyer; ids merged into it count too")
FINDERS = (
    Param("phone", "a phone number, spaces allowed"),
    Param("address", "ACCOUNT:ID"),
    Param("member_no", "a member number, spaces allowed"),
    Param("q", "a number, a member number, an id, or a part of the name"),
)
MESSAGES = (
    BUYER,
    Param(
        "state",
        "the state that it is in",
        choices=("queued", "sending", "sent", "delivered", "read", "failed", "skipped", "in_doubt"),
    ),
    Param("broadcast", "id of a broadcast"),
    Param("reason", "why it was skipped or failed; with the provider's own code as REASON:CODE"),
)
DECISIONS = (
    BUYER,
    Param("message", "id of a message"),
    Param("order", "id of an order"),
    Param("rule", "a rule that was weighed", choices=tuple(Rule)),
    Param("outcome", "how it ended", choices=("send", "skip", "defer")),
)
BROADCASTS = (
    Param("state", "the state that it is in", choices=get_args(BroadcastState)),
    Param("parent", "id of a weekly broadcast: its rounds"),
)
TASKS = (
    BUYER,
    Param("state", "the state that it is in", choices=("open", "done", "expired")),
    Param("kind", "what is to be done"),
    Param("assignee", "who has it"),
)
SHOP = Param(
    "shop", "name of a shop in the configuration; needed where several are configured and the id is in more than one"
)
PRODUCTS = (Param("q", "words of the title or short title"), Param("sku", "a SKU, as the shop writes it"))
ORDERS = (
    BUYER,
    Param("shop", "name of a shop"),
    Param("number", "the number that the shop shows"),
    Param("pay", "how far the payment is", choices=tuple(filter(None, PAY_RANK))),
    Param("ship", "how far the parcel is", choices=tuple(SHIP_RANK)),
    Param("refund", "how far the refund is", choices=("none", *filter(None, REFUND_RANK))),
)
VERSION = Param("version", "the version that was read; 409 if somebody changed it since", number=(1, 999_999_999))
Model = type[BaseModel] | TypeAdapter[Any]


def _ok(model: Model, words: str = "done") -> dict[int, tuple[str, Model]]:
    return {200: (words, model)}


def _taken(model: Model, words: str = "taken in") -> dict[int, tuple[str, Model]]:
    return {202: (words, model)}


def _deed(name: str, handle: Handle, summary: str) -> Route:
    """What is done with a broadcast: its body, which says what the caller has seen, may be left out."""
    path = f"/broadcasts/{{id}}/{name}"
    return Route("POST", path, "marketing", handle, summary, Seen, may_be_empty=True, answers=_ok(out.BroadcastOut))


ROUTES: tuple[Route, ...] = (
    Route("POST", "/campaigns", "marketing", campaigns.create_campaign, "Create a coupon campaign", CampaignIn, answers={201: ("created", out.Campaign)}),
    Route("GET", "/campaigns", "read", campaigns.list_campaigns, "List campaigns, newest first", params=PAGED, answers=_ok(out.Page[out.Campaign])),
    Route("GET", "/campaigns/{key}", "read", campaigns.get_campaign, "One campaign with its numbers", answers=_ok(out.Campaign)),
    Route("PATCH", "/campaigns/{key}", "marketing", campaigns.patch_campaign, "Change a campaign", CampaignPatch, answers=_ok(out.Campaign)),
    Route(
        "POST", "/campaigns/{key}/claims", "service", campaigns.claim_coupon, "Claim a coupon for a buyer", ClaimIn,
        answers={201: ("claimed", out.Coupon), 200: ("the same coupon again", out.Coupon)},
    ),
    Route("GET", "/coupons/{code}", "read", campaigns.get_coupon, "One coupon", answers=_ok(out.Coupon)),
    Route("POST", "/coupons/{code}/redeem", "service", campaigns.redeem_coupon, "Use a coupon for an order", RedeemIn, answers=_ok(out.Coupon)),
    Route(
        "GET", "/buyers", "read", buyers.find_buyers, "Find buyers", params=(*FINDERS, *PAGED),
        one_of=tuple(param.name for param in FINDERS), answers=_ok(out.Page[out.Buyer]),
    ),
    Route("GET", "/buyers/{id}", "read", buyers.get_buyer, "One buyer", answers=_ok(TypeAdapter(out.Buyer | out.ErasedBuyer))),
    Route("PATCH", "/buyers/{id}", "service", buyers.patch_buyer, "Change profile and tags", BuyerPatch, answers=_ok(out.Buyer)),
    Route("DELETE", "/buyers/{id}", "owner", buyers.erase, "Erase a buyer", answers=_taken(out.Erasing, "being erased")),
    Route("GET", "/buyers/{id}/timeline", "read", buyers.list_timeline, "What happened, newest first", params=PAGED, answers=_ok(out.Page[out.TimelineLine])),
    Route("GET", "/buyers/{id}/export", "owner", export.export, "Everything that is held of a buyer", answers=_ok(out.Export)),
    Route("POST", "/buyers/{id}/merge", "owner", buyers.merge, "Merge two buyers; the older one stays", MergeIn, answers=_taken(out.Merging, "being merged")),
    Route("POST", "/buyers/{id}/consents", "service", buyers.consent, "Record a consent with its evidence", ConsentIn, answers=_taken(out.Taken)),
    Route(
        "GET", "/products", "read", products.list_products, "Find products that are offered", params=(*PRODUCTS, SHOP, *PAGED),
        one_of=("q", "sku"), answers=_ok(out.Page[out.Product]),
    ),
    Route("GET", "/products/{id}", "read", products.get_product, "One product, offered or removed", params=(SHOP,), answers=_ok(out.Product)),
    Route(
        "PUT", "/products/{id}", "marketing", products.put_product, "Put a whole product into the catalogue", ProductIn, params=(SHOP,),
        answers={200: ("changed", out.Product), 201: ("new", out.Product)},
    ),
    Route("DELETE", "/products/{id}", "marketing", products.delete_product, "Offer a product no more", params=(SHOP,), answers=_ok(out.Product)),
    Route(
        "GET", "/products/{id}/waiting", "read", products.list_waiting, "Who asked to be told that it is back", params=(SHOP, *PAGED),
        answers=_ok(out.Page[out.Waiting]),
    ),
    Route("POST", "/segments/preview", "read", segments.preview_segment, "Who would be in a segment", WhereIn, answers=_ok(out.SegmentPreview)),
    Route("GET", "/segments/fields", "read", segments.list_fields, "What can be asked of buyers", answers=_ok(out.Page[out.SegmentField])),
    Route("GET", "/segments/exclusions", "read", segments.list_exclusions, "The ready exclusions", answers=_ok(out.Page[out.ExclusionOut])),
    Route("POST", "/segments/scores", "marketing", segments.draw_scores, "Draw the bounds of R, F and M anew", answers=_taken(out.Asked, "asked for")),
    Route("POST", "/segments", "marketing", segments.create_segment, "Save a segment", SegmentIn, answers={201: ("saved", out.Segment)}),
    Route("GET", "/segments", "read", segments.list_segments, "List saved segments, newest first", params=PAGED, answers=_ok(out.Page[out.Segment])),
    Route("GET", "/segments/{id}", "read", segments.get_segment, "One saved segment", answers=_ok(out.Segment)),
    Route("PATCH", "/segments/{id}", "marketing", segments.patch_segment, "Change a saved segment", SegmentPatch, answers=_ok(out.Segment)),
    Route("DELETE", "/segments/{id}", "marketing", segments.delete_segment, "Take a saved segment away", params=(VERSION,), answers=_ok(out.Deleted)),
    Route("GET", "/members", "read", buyers.members, "List buyers with a member card", params=PAGED, answers=_ok(out.Page[out.Buyer])),
    Route("GET", "/orders/{shop}/{id}", "read", orders.get_order, "One order of a shop", answers=_ok(out.Order)),
    Route("GET", "/orders", "read", orders.list_orders, "List orders, newest first", params=(*ORDERS, *PAGED), answers=_ok(out.Page[out.Order])),
    Route("POST", "/events", "service", messages.post_events, "Post shop events: one envelope or a list", raw_body="Envelopes", answers=_taken(out.Accepted)),
    Route("POST", "/messages", "service", messages.post_message, "Send a message to one buyer", MessageIn, answers=_taken(out.Taken, "planned")),
    Route("GET", "/messages", "read", messages.list_messages, "List messages, newest first", params=(*MESSAGES, *PAGED), answers=_ok(out.Page[out.Message])),
    Route("GET", "/messages/{id}", "read", messages.get_message, "One message with its history", answers=_ok(out.Message)),
    Route(
        "GET", "/decisions", "read", messages.list_decisions, "Why something was sent or not", params=(*DECISIONS, *PAGED),
        answers=_ok(out.Page[out.Decision]),
    ),
    Route("GET", "/tasks", "read", messages.list_tasks, "Work for staff, newest first", params=(*TASKS, *PAGED), answers=_ok(out.Page[out.Task])),
    Route(
        "POST", "/broadcasts", "marketing", broadcasts.create_broadcast, "Create a broadcast: a draft", BroadcastIn,
        answers={201: ("created", out.BroadcastOut)},
    ),
    Route("GET", "/broadcasts", "read", broadcasts.list_broadcasts, "List broadcasts, newest first", params=(*BROADCASTS, *PAGED), answers=_ok(out.Page[out.BroadcastOut])),
    Route("POST", "/broadcasts/preview", "read", broadcasts.preview_broadcast, "What a broadcast would do", PreviewIn, answers=_ok(out.Preview)),
    Route("GET", "/broadcasts/{id}", "read", broadcasts.get_broadcast, "One broadcast: where it stands, and what became of it", answers=_ok(out.BroadcastOut)),
    Route("PATCH", "/broadcasts/{id}", "marketing", broadcasts.patch_broadcast, "Change a draft", BroadcastPatch, answers=_ok(out.BroadcastOut)),
    _deed("submit", broadcasts.submit_broadcast, "Let a draft go, or hand it in for approval"),
    _deed("approve", broadcasts.approve_broadcast, "Approve what somebody else handed in"),
    _deed("withdraw", broadcasts.withdraw_broadcast, "Undo: back to a draft, while it has not begun"),
    _deed("pause", broadcasts.pause_broadcast, "Hold it: nothing more goes out"),
    _deed("resume", broadcasts.resume_broadcast, "Let it go on"),
    _deed("cancel", broadcasts.cancel_broadcast, "End it: what has not gone is skipped"),
    Route("POST", "/broadcasts/{id}/test", "marketing", broadcasts.test_broadcast, "Send a test", TrialIn, answers=_taken(out.TrialOut, "planned")),
    Route("GET", "/accounts", "read", accounts.list_accounts, "How the channel accounts stand", params=PAGED, answers=_ok(out.Page[out.Account])),
    Route(
        "GET", "/reports/consents", "owner", reports.consents, "The evidence of every consent, as CSV", params=(BUYER,),
        answers=_ok(out.Csv), media="text/csv",
    ),
    Route("POST", "/tasks/{id}/complete", "service", messages.complete_task, "Complete a task", TaskDone, answers=_ok(out.Task)),
)  # fmt: skip
PREFIX = "/api/v1"
LATER = {
    "journeys": "journeys by API (`touchpoint journeys` lists them)",
    "reports": "reports",
}
"""Resources of the contract that this release does not serve yet."""


def _pattern(path: str) -> str:
    """The path for the router: a variable never stands for a word that has a path of its own (`/segments/{id}`, `/segments/fields`).

    Else a method that the word does not take would be answered by the variable's path.
    """
    before, brace, rest = path.partition("{")
    words = {route.path.removeprefix(before).partition("/")[0] for route in ROUTES if route.path.startswith(before)}
    words = {word for word in words if word and not word.startswith("{")}
    if not brace or not words:
        return path
    name, _, after = rest.partition("}")
    return f"{before}{{{name}:(?!(?:{'|'.join(sorted(words))})(?:/|$))[^{{}}/]+}}{after}"


def add_routes(app: web.Application, deps: ApiDeps) -> None:
    """Mounts the API under /api/v1, and its description."""
    from console.api.openapi import openapi  # noqa: PLC0415  # it reads the table above

    for route in ROUTES:
        served_by = serve(deps, route, once)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):  # RFC 9110, 9.1
            app.router.add_route(method, PREFIX + _pattern(route.path), served_by)
    document = openapi()

    async def description(_: web.Request) -> web.Response:
        return web.json_response(document)

    async def later(request: web.Request) -> web.StreamResponse:
        try:
            await authorised(deps, request, "read")
        except Refusal as refusal:
            return refusal.answer()
        except StoreError as error:
            return unavailable(error.outward)
        words = LATER[request.match_info["whole"].partition("/")[0]]
        return Refusal(501, "not-built", f"{words}: not in this release yet").answer()

    app.router.add_get(f"{PREFIX}/openapi.json", description)
    # What is served there already answers other methods by itself (405).
    served = "|".join(route.path[1:] for route in ROUTES if route.path[1:].partition("/")[0] in LATER) or "-"
    app.router.add_route("*", f"{PREFIX}/{{whole:(?!(?:{served})$)(?:{'|'.join(LATER)})(?:/.*)?}}", later)


__all__ = ["LATER", "PREFIX", "ROUTES", "ApiDeps", "add_routes"]
