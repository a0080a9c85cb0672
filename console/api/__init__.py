"""The REST API for shop systems: `/api/v1/…`, with tokens, roles and an OpenAPI description made from its models.

`console.api.routes` is the way in; this module imports nothing, so that what the API shares can be read without it.
"""
