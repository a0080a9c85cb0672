"""Access tokens shared by all processes, with one refresher at a time.

A burst of calls may fail with the same old token: whoever comes with a token that is no longer the shared one just gets
the shared one. Only one process asks the provider, un-forced first (a stable token stays the same); a forced refresh
kills the token for everybody and is allowed once per 30 s and 20 times a day, counted over all processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from bot import keys
from bot.clock import SystemClock
from bot.errors import AccountError, StoreError, TemporaryError, ThrottledError
from bot.ports import Token
from bot.redis_client import Scripts

LOCK_MS = 12_000
WAIT_STEP_S = 0.05
WAIT_STEPS = 200
EARLY_MS = 300_000
FORCE_EVERY_MS = 30_000
FORCE_PER_DAY = 20


class RedisTokens:
    """`bot.ports.Tokens` over Redis; each process also remembers what it last saw."""

    def __init__(self, scripts: Scripts, clock: SystemClock) -> None:
        self._scripts = scripts
        self._clock = clock
        self._seen: dict[str, Token] = {}

    async def get(self, key: str, fetch: Callable[[bool], Awaitable[Token]], *, failed: str = "") -> str:
        """The shared token; see `bot.ports.Tokens.get`."""
        held = self._seen.get(key)
        if held and held.value != failed and held.expires_at > self._clock.real():
            return held.value
        owner = secrets.token_hex(8)
        for _ in range(WAIT_STEPS):
            value, number = await self._script(key, "get", failed, owner, LOCK_MS)
            if value:
                self._seen[key] = Token(value.decode(), int(number))
                return self._seen[key].value
            if int(number):
                return await self._refresh(key, fetch, failed, owner)
            await self._clock.sleep(WAIT_STEP_S)
        raise TemporaryError("another process holds the token's refresh")

    async def _refresh(self, key: str, fetch: Callable[[bool], Awaitable[Token]], failed: str, owner: str) -> str:
        token: Token | None = None
        try:
            token = await fetch(False)
            if failed and token.value == failed:
                token = None  # refused: not to be put back for others
                await self._may_force(key, owner)
                token = await fetch(True)
        finally:
            if token is not None:
                early = Token(token.value, max(token.expires_at - EARLY_MS, self._clock.real() + 1000))
                self._seen[key] = early
                await self._script(key, "put", owner, early.value, early.expires_at)
            else:
                await self._script(key, "put", owner, "", 0)
        return token.value

    async def _may_force(self, key: str, owner: str) -> None:
        wait_ms = int(await self._script(key, "force", owner, FORCE_EVERY_MS, FORCE_PER_DAY))
        if wait_ms < 0:
            raise TemporaryError("another process refreshes the token")
        if wait_ms > FORCE_EVERY_MS:
            raise AccountError("the provider refuses its own token, and no more forced ones are allowed today")
        if wait_ms > 0:
            raise ThrottledError("the token was replaced a moment ago", code="token", retry_after_s=wait_ms / 1000)

    async def _script(self, key: str, what: str, *args: object) -> Any:
        try:
            return await self._scripts.run("token", [keys.provider_token(key)], [what, self._clock.real(), *args])
        except StoreError as error:  # a message that waits for its token has not been sent: nothing is in doubt
            raise TemporaryError("the shared token cannot be read just now") from error
