"""Browsers that were let in to a buyer's pages, links that were opened, codes that were asked for. One key per buyer.

A browser is known by a secret in its cookie; only the secret's digest is kept. Everything of a buyer goes with one DEL. The
key ends by itself 30 days after its last change: whoever comes later proves who they are once more.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from bot import ids, keys
from bot.clock import DAY_MS
from bot.events import Ms
from bot.records import Buyer
from bot.store import Store

STAYS_MS = 14 * DAY_MS
KEPT_S = 30 * 86_400
MOST_BROWSERS = 10
CODE_TRIES, FACT_TRIES = 5, 2
SHORTEST_SECRET = 20


class Browser(Struct, frozen=True, omit_defaults=True):
    """A browser that was let in. `revoked`: the buyer's count then; a higher one shuts it out."""

    until: Ms
    revoked: int = 0


class Asked(Struct, frozen=True):
    """A code that was sent to `phone`: what it is compared with, and until when."""

    phone: str
    digest: str
    until: Ms


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt at a code stands: the code that was asked for, if it may still be tried."""

    asked: Asked | None
    tries: int


def new_secret() -> str:
    """What a browser's cookie holds: 132 bits."""
    return secrets.token_urlsafe(17)[:22]


def digest(secret: str) -> str:
    """What is kept of a secret or a link."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Visits:
    """What is kept of visits to buyers' pages. Every method raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, buyer: str) -> str:
        return keys.visits(ids.partition_in(buyer) or 0, buyer)

    async def _write(self, buyer: str, *command: Any) -> Any:
        """One change, and 30 more days for the key."""
        name = self._key(buyer)
        answer, _ = await self._store.together([(command[0], name, *command[1:]), ("EXPIRE", name, KEPT_S)])
        return answer

    # --- browsers -------------------------------------------------------------------------------------------------

    async def let_in(self, buyer: Buyer, now: Ms) -> str:
        """A browser whose owner proved to be the buyer: the secret for its cookie. The oldest of ten gives way."""
        name, secret = self._key(buyer.id), new_secret()
        found = await self._store.command("HGETALL", name)
        browsers = sorted(
            (msgspec.json.decode(value, type=Browser).until, field)
            for field, value in found.items()
            if field.startswith(b"s:")
        )
        over = [field for until, field in browsers if until <= now]
        over += [field for _, field in browsers[: max(0, len(browsers) - MOST_BROWSERS + 1)] if field not in over]
        if over:
            await self._store.command("HDEL", name, *over)
        browser = msgspec.json.encode(Browser(now + STAYS_MS, buyer.revoked))
        await self._write(buyer.id, "HSET", f"s:{digest(secret)}", browser)
        return secret

    async def knows(self, buyer: Buyer, secret: str, now: Ms) -> bool:
        """Whether the browser with this secret may see the buyer's pages."""
        if len(secret) < SHORTEST_SECRET:
            return False
        found = await self._store.command("HGET", self._key(buyer.id), f"s:{digest(secret)}")
        if found is None:
            return False
        browser = msgspec.json.decode(found, type=Browser)
        return browser.until > now and browser.revoked == buyer.revoked

    async def leave(self, buyer: Buyer, secret: str) -> None:
        """This browser is shut out."""
        await self._store.command("HDEL", self._key(buyer.id), f"s:{digest(secret)}")

    async def forget(self, buyer: str) -> None:
        """All of a buyer's."""
        await self._store.command("DEL", self._key(buyer))

    # --- links ----------------------------------------------------------------------------------------------------

    async def open_first(self, buyer: str, token: str, now: Ms) -> bool:
        """Whether this is the first browser that opens a link: no other gets in by it alone."""
        return bool(await self._write(buyer, "HSETNX", f"l:{digest(token)}", now))

    async def is_opened(self, buyer: str, token: str) -> bool:
        """Whether some browser got in by this link."""
        return bool(await self._store.command("HEXISTS", self._key(buyer), f"l:{digest(token)}"))

    # --- codes ----------------------------------------------------------------------------------------------------

    async def ask_code(self, buyer: str, asked: Asked) -> None:
        """A code is on its way; the one before ends."""
        await self._write(buyer, "HSET", "c", msgspec.json.encode(asked), "t", 0)

    async def asked(self, buyer: str, now: Ms) -> Asked | None:
        """The code that is waited for, None where there is none or its tries are used up."""
        found, tries = await self._store.command("HMGET", self._key(buyer), "c", "t")
        asked = msgspec.json.decode(found, type=Asked) if found else None
        return asked if asked and asked.until > now and int(tries or 0) < CODE_TRIES else None

    async def try_code(self, buyer: str, now: Ms) -> Tried:
        """Counts an attempt before it is looked at: of many at once no more than five are."""
        found = await self._store.command("HGET", self._key(buyer), "c")
        if found is None:
            return Tried(None, 0)
        tries = int(await self._store.count(self._key(buyer), "t"))
        asked = msgspec.json.decode(found, type=Asked)
        return Tried(asked if asked.until > now and tries <= CODE_TRIES else None, tries)

    async def used(self, buyer: str) -> None:
        """The code came back right: it opens nothing a second time."""
        await self._store.command("HDEL", self._key(buyer), "c", "t", "f")

    async def wrong_facts(self, buyer: str) -> int:
        """How often the second fact was wrong."""
        return int(await self._store.command("HGET", self._key(buyer), "f") or 0)

    async def try_fact(self, buyer: str) -> bool:
        """Counts an attempt at the second fact; whether it may be looked at."""
        tries = int(await self._store.count(self._key(buyer), "f"))
        await self._store.command("EXPIRE", self._key(buyer), KEPT_S)
        return tries <= FACT_TRIES
