"""The OpenAPI 3.1 description, made from the table of operations and the models of bodies and answers."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, TypeAdapter

from bot.events import SHOP_EVENT_TYPES
from console.api.answers import Problem
from console.api.http import Route
from console.api.params import Param
from console.api.routes import PREFIX, ROUTES

REF = "#/components/schemas/{model}"
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "key": ("key of a campaign", {"type": "string", "pattern": "^[A-Z0-9_-]{2,32}$"}),
    "code": ("code of a coupon", {"type": "string", "minLength": 1, "maxLength": 100}),
    "shop": ("name of a shop in the configuration", {"type": "string", "minLength": 1, "maxLength": 100}),
    "id": ("the id", {"type": "string", "minLength": 1, "maxLength": 100}),
}
PROBLEMS = {
    400: "the body or a parameter is wrong",
    401: "no token, or one that is not known",
    403: "the token's role may not do this",
    404: "there is no such thing",
    503: "not storing now; try again",
}
OF_BODIES = {413: "the body is over 1 MiB", 415: "the body is not application/json"}
OF_WRITES = {409: "it does not go with what is there"}
OF_BUYERS = {308: "merged into another buyer", 410: "erased"}


def openapi() -> dict[str, Any]:
    """The description of the whole API."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    _reference(Problem, schemas)
    schemas["Envelope"] = _envelope()
    one = {"$ref": "#/components/schemas/Envelope"}
    schemas["Envelopes"] = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 500}]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Touchpoint",
            "version": "1",
            "description": "Buyers, campaigns, messages and why they were sent. docs/api.md has an example of each call, "
            "docs/problems.md explains each kind of problem.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", route.path)
    params = [
        {"name": n, "in": "path", "required": True, "description": PATHS[n][0], "schema": PATHS[n][1]} for n in names
    ]
    params += [_param(param) for param in route.params]
    statuses = dict(PROBLEMS)
    if route.writes:
        statuses |= OF_WRITES
        params.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "the same key and body give the same answer for 48 h",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            }
        )
    if route.path.startswith("/buyers/{id}"):
        statuses |= OF_BUYERS
    operation: dict[str, Any] = {"summary": route.summary, "operationId": route.handle.__name__, "parameters": params}
    if route.body is not None or route.raw_body:
        statuses |= OF_BODIES
        reference = (
            _reference(route.body, schemas, "validation")
            if route.body is not None
            else {"$ref": REF.format(model=route.raw_body)}
        )
        operation["requestBody"] = {
            "required": not route.may_be_empty,
            "content": {"application/json": {"schema": reference}},
        }
    problem = {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}}
    responses: dict[str, Any] = {
        str(status): {"description": words, "content": {route.media: {"schema": _reference(model, schemas)}}}
        for status, (words, model) in route.answers.items()
    }
    responses |= {str(status): {"description": words, "content": problem} for status, words in sorted(statuses.items())}
    operation["responses"] = responses
    return operation


def _param(param: Param) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": 500}
    if param.number is not None:
        schema = {"type": "integer", "minimum": param.number[0], "maximum": param.number[1]}
    elif param.choices:
        schema = {"type": "string", "enum": ["", *map(str, param.choices)]}
    return {"name": param.name, "in": "query", "required": False, "description": param.words, "schema": schema}


def _reference(model: type[BaseModel] | TypeAdapter[Any], schemas: dict[str, Any], mode: Any = "serialization") -> Any:
    if isinstance(model, TypeAdapter):
        schema = model.json_schema(ref_template=REF, mode=mode)
        schemas.update(schema.pop("$defs", {}))
        return schema
    schema = model.model_json_schema(ref_template=REF, mode=mode)
    schemas.update(schema.pop("$defs", {}))
    name = re.sub(r"\W+", "_", model.__name__).strip("_")
    schemas[name] = schema
    return {"$ref": REF.format(model=name)}


def _envelope() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "One shop event; docs/shops/standard.md lists what each type requires.",
        "required": ["type", "id", "shop", "occurred_at", "data"],
        "properties": {
            "type": {"type": "string", "enum": sorted(SHOP_EVENT_TYPES)},
            "id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 200,
                "description": "a repeat with this id changes nothing",
            },
            "shop": {"type": "string", "description": "name of a shop in the configuration"},
            "occurred_at": {"type": "string", "format": "date-time"},
            "data": {"type": "object", "description": "order, buyer, shipment, refund, checkout …"},
        },
    }
