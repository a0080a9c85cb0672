"""The REST API for shop systems: `/api/v1/…`, with tokens, roles and an OpenAPI description made from its models."""

from console.api.routes import ApiDeps, add_routes

__all__ = ["ApiDeps", "add_routes"]
