"""The table of operations, and the OpenAPI description made from it."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from console.api import operations as do
from console.api.deps import ApiDeps
from console.api.http import Route, serve
from console.api.models import (
    BuyerPatch,
    CampaignIn,
    CampaignPatch,
    ClaimIn,
    ConsentIn,
    MergeIn,
    MessageIn,
    Problem,
    RedeemIn,
    TaskDone,
)

PAGED = ("cursor", "limit")
OK = {200: "done"}
ROUTES: tuple[Route, ...] = (
    Route("POST", "/campaigns", "marketing", do.create_campaign, "Create a coupon campaign", CampaignIn, answers={201: "created"}),
    Route("GET", "/campaigns", "read", do.list_campaigns, "List campaigns", params=PAGED, answers=OK),
    Route("GET", "/campaigns/{key}", "read", do.get_campaign, "One campaign with its numbers", answers=OK),
    Route("PATCH", "/campaigns/{key}", "marketing", do.patch_campaign, "Change a campaign", CampaignPatch, answers=OK),
    Route("POST", "/campaigns/{key}/claims", "service", do.claim_coupon, "Claim a coupon", ClaimIn, answers={201: "claimed", 200: "the same again"}),
    Route("GET", "/coupons/{code}", "read", do.get_coupon, "One coupon", answers=OK),
    Route("POST", "/coupons/{code}/redeem", "service", do.redeem_coupon, "Use a coupon", RedeemIn, answers=OK),
    Route("GET", "/buyers", "read", do.find_buyers, "Find buyers", params=("phone", "address", "member_no", "q", *PAGED), answers=OK),
    Route("GET", "/buyers/{id}", "read", do.get_buyer, "One buyer", answers=OK),
    Route("PATCH", "/buyers/{id}", "service", do.patch_buyer, "Change profile and tags", BuyerPatch, answers=OK),
    Route("DELETE", "/buyers/{id}", "owner", do.erase, "Erase a buyer", answers={202: "being erased"}),
    Route("GET", "/buyers/{id}/timeline", "read", do.timeline, "What happened", params=PAGED, answers=OK),
    Route("GET", "/buyers/{id}/export", "owner", do.export, "Everything that is held", answers=OK),
    Route("POST", "/buyers/{id}/merge", "owner", do.merge, "Merge two buyers", MergeIn, answers={202: "being merged"}),
    Route("POST", "/buyers/{id}/consents", "service", do.consent, "Record a consent with its evidence", ConsentIn, answers={202: "taken"}),
    Route("GET", "/members", "read", do.members, "List members", params=PAGED, answers=OK),
    Route("GET", "/orders/{shop}/{id}", "read", do.get_order, "One order", answers=OK),
    Route("POST", "/events", "service", do.post_events, "Post normalised shop events", raw_body="Envelope", answers={202: "taken"}),
    Route("POST", "/messages", "service", do.post_message, "Send a message to one buyer", MessageIn, answers={202: "planned"}),
    Route("GET", "/messages", "read", do.list_messages, "List messages", params=("buyer", "state", *PAGED), answers=OK),
    Route("GET", "/messages/{id}", "read", do.get_message, "One message with its history", answers=OK),
    Route(
        "GET", "/decisions", "read", do.list_decisions, "Why something was sent or not",
        params=("buyer", "message", "order", "rule", "outcome", *PAGED), answers=OK,
    ),
    Route("GET", "/tasks", "read", do.list_tasks, "Work for staff", params=("state", "kind", "assignee", *PAGED), answers=OK),
    Route("POST", "/tasks/{id}/complete", "service", do.complete_task, "Complete a task", TaskDone, answers=OK),
)  # fmt: skip
PREFIX = "/api/v1"
PROBLEMS = (400, 401, 403, 404, 405, 409, 413, 415, 503)


def add_routes(app: web.Application, deps: ApiDeps) -> None:
    """Mounts the API under /api/v1, and its description."""
    for route in ROUTES:
        app.router.add_route(route.method, PREFIX + route.path, serve(deps, route))
    document = openapi()

    async def description(_: web.Request) -> web.Response:
        return web.json_response(document)

    app.router.add_get(f"{PREFIX}/openapi.json", description)


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1 of the table above."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    schemas["Problem"] = Problem.model_json_schema()
    schemas["Envelope"] = {
        "type": ["object", "array"],
        "description": "the envelope of normalised shop events, or a list",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Touchpoint",
            "version": "1",
            "description": "Buyers, campaigns, messages and why they were sent.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    params = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    for name in route.params:
        schema: dict[str, Any] = (
            {"type": "integer", "minimum": 1, "maximum": 200} if name == "limit" else {"type": "string"}
        )
        params.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.method != "GET":
        key = {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 200},
        }
        params.append(key)
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[str, Any] = {
        str(status): {"description": words, "content": {"application/json": {"schema": {"type": "object"}}}}
        for status, words in route.answers.items()
    }
    responses |= {str(status): {"description": "a problem", "content": problem} for status in PROBLEMS}
    if "{id}" in route.path and "buyers" in route.path:
        responses["308"] = {"description": "merged into another buyer", "content": problem}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handle.__name__,
        "parameters": params,
        "responses": responses,
    }
    if route.body is not None or route.raw_body:
        name = route.body.__name__ if route.body is not None else route.raw_body
        if route.body is not None:
            schema = route.body.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[name] = schema
        reference = {"$ref": f"#/components/schemas/{name}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    return operation


__all__ = ["ROUTES", "ApiDeps", "add_routes", "openapi"]
