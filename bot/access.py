"""API tokens: only their digests are kept."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

from bot import keys
from bot.clock import SystemClock
from bot.store import Store

ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({"read", "service", "marketing", "owner"}),
    "marketing": frozenset({"read", "service", "marketing"}),
    "service": frozenset({"read", "service"}),
    "read-only": frozenset({"read"}),
}
"""What each role may do. Whatever is not named is denied."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the API, and with which role."""

    name: str
    role: str


def digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


async def create_token(store: Store, name: str, role: str) -> str:
    """A new token; it can never be shown again."""
    token = f"tp_{secrets.token_urlsafe(32)}"
    body = {"name": name, "role": role, "created_at": SystemClock().real()}
    await store.command("HSET", keys.TOKENS, digest(token), json.dumps(body))
    return token


async def caller_of(store: Store, token: str) -> Caller | None:
    """The caller behind a token, None for an unknown one."""
    found = await store.command("HGET", keys.TOKENS, digest(token))
    if found is None:
        return None
    body = json.loads(found)
    return Caller(body["name"], body["role"])
