"""Access tokens shared by all processes, with one refresher at a time.

A burst of calls may fail with the same old token: whoever comes with a token that is no longer the shared one just gets
the shared one. Only one process asks the provider, un-forced first (a stable token stays the same); a forced refresh
kills the token for everybody and is allowed once per 30 s.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from bot import keys
from bot.clock import SystemClock
from bot.errors import AccountError, TemporaryError
from bot.ports import Token
from bot.redis_client import Scripts

LOCK_MS = 12_000
WAIT_STEP_S = 0.05
WAIT_STEPS = 200
EARLY_MS = 300_000
FORCE_EVERY_MS = 30_000


class RedisTokens:
    """`bot.ports.Tokens` over Redis; each process also remembers what it last saw."""

    def __init__(self, scripts: Scripts, clock: SystemClock) -> None:
        self._scripts = scripts
        self._clock = clock
        self._seen: dict[str, Token] = {}
        self._forced: dict[str, int] = {}

    async def get(self, key: str, fetch: Callable[[bool], Awaitable[Token]], *, failed: str = "") -> str:
        """The shared token; see `bot.ports.Tokens.get`."""
        held = self._seen.get(key)
        if held and held.value != failed and held.expires_at > self._clock.real():
            return held.value
        owner = secrets.token_hex(8)
        for _ in range(WAIT_STEPS):
            if (shared := await self._look(key, failed)) is not None:
                self._seen[key] = shared
                return shared.value
            if await self._script(key, "lock", owner, LOCK_MS):
                return await self._refresh(key, fetch, failed, owner)
            await self._clock.sleep(WAIT_STEP_S)
        raise TemporaryError("another process holds the token's refresh")

    async def _refresh(self, key: str, fetch: Callable[[bool], Awaitable[Token]], failed: str, owner: str) -> str:
        token: Token | None = None
        try:
            token = await fetch(False)
            if failed and token.value == failed:
                now = self._clock.real()
                if now - self._forced.get(key, 0) < FORCE_EVERY_MS:
                    raise AccountError("the provider refuses its own token", code="token")
                self._forced[key] = now
                token = await fetch(True)
        finally:
            if token is not None:
                early = Token(token.value, max(token.expires_at - EARLY_MS, self._clock.real() + 1000))
                self._seen[key] = early
                await self._script(key, "put", owner, early.value, early.expires_at)
            else:
                await self._script(key, "put", owner, "", 0)
        return token.value

    async def _look(self, key: str, failed: str) -> Token | None:
        value, expires = await self._script(key, "look", failed)
        return Token(value.decode(), int(expires)) if value else None

    async def _script(self, key: str, what: str, *args: object) -> Any:
        return await self._scripts.run("token", [keys.provider_token(key)], [what, self._clock.real(), *args])
