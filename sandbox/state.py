"""What the simulated providers remember, in Redis, shared by all gateway processes. Keys `sandbox:*`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import redis.asyncio as aioredis

from bot.clock import rfc3339

MOST_KEPT = 500


class SandboxClock(Protocol):
    """The virtual clock, as the sandbox moves it."""

    def now(self) -> int:
        """Virtual time, ms."""
        ...

    def real(self) -> int:
        """Wall-clock time, ms."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """What a buyer's action allows at a provider: for `lasts_ms`, `quota` messages (-1: any)."""

    lasts_ms: int
    quota: int = -1


_SHOW = """
local last = redis.call('LINDEX', KEYS[1], -1)
local n = (last and cjson.decode(last).n or 0) + 1
redis.call('RPUSH', KEYS[1], '{"n": ' .. n .. ', ' .. string.sub(ARGV[1], 2))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
return n
"""
"""A bubble gets its number and its place in one step: who reads on from a number misses none of another process."""


@dataclass(slots=True)
class Phones:
    """The simulated phones: what they show, what they may be sent."""

    redis: aioredis.Redis
    clock: SandboxClock

    def _key(self, account: str, id: str) -> str:
        return f"sandbox:phone:{account}:{id}"

    async def show(self, account: str, id: str, **fields: Any) -> dict[str, Any]:
        """Adds a bubble to a phone; answers it with its number, which is the last one's and one more."""
        bubble = {"at": self.clock.now(), **fields}
        body = json.dumps(bubble, ensure_ascii=False)
        number = await self.redis.eval(_SHOW, 1, self._key(account, id), body, str(MOST_KEPT))
        return {"n": int(number), **bubble}

    async def messages(self, account: str, id: str, after: int = 0) -> list[dict[str, Any]]:
        """What a phone shows, oldest first, times in RFC 3339."""
        raw = await self.redis.lrange(self._key(account, id), 0, -1)
        states = await self.redis.hgetall(f"{self._key(account, id)}:states")
        found = []
        for line in raw:
            bubble = json.loads(line)
            if bubble["n"] > after:
                seen = text_of(states.get(str(bubble.get("provider_id", "")).encode(), b""))
                bubble["state"] = (seen or "sent") if bubble["from"] == "shop" else ""
                bubble["at"] = rfc3339(bubble["at"])
                found.append(bubble)
        return found

    async def mark(self, account: str, id: str, provider_id: str, state: str) -> None:
        """Delivered or read, as the phone shows it."""
        await self.redis.hset(f"{self._key(account, id)}:states", provider_id, state)

    async def exists(self, account: str, id: str) -> bool:
        """Whether this phone has ever been used with the account."""
        return bool(await self.redis.exists(f"{self._key(account, id)}:known"))

    async def meet(self, account: str, id: str) -> None:
        """The buyer follows, or writes for the first time."""
        await self.redis.set(f"{self._key(account, id)}:known", "1")

    async def leave(self, account: str, id: str) -> None:
        """The buyer unfollows: known no more, and every window shut."""
        await self.redis.delete(f"{self._key(account, id)}:known", f"{self._key(account, id)}:windows")

    async def seen(self, account: str, id: str) -> bool:
        """Whether this phone ever wrote or was written to."""
        return bool(await self.redis.exists(self._key(account, id)))

    async def saw(self, deeds: set[str]) -> list[str]:
        """Remembers what the visitor has seen or done; answers all of it, sorted."""
        if deeds:
            await self.redis.sadd("sandbox:seen", *deeds)
        return sorted(text_of(one) for one in await self.redis.smembers("sandbox:seen"))

    # --- windows --------------------------------------------------------------------------------------------------

    async def open(self, account: str, id: str, opener: str, window: Window) -> None:
        """The buyer did something that lets the shop write."""
        value = f"{self.clock.now() + window.lasts_ms} {window.quota}"
        await self.redis.hset(f"{self._key(account, id)}:windows", opener, value)

    async def use_window(self, account: str, id: str) -> str:
        """Takes one message of an open window: "ok", "closed" or "used up"."""
        name = f"{self._key(account, id)}:windows"
        used_up = False
        held = await self.redis.hgetall(name)
        for opener in sorted(held, key=lambda one: int(held[one].split()[0])):  # what shuts first is used first
            closes, left = (int(part) for part in held[opener].split())
            if closes <= self.clock.now():
                continue
            if left == 0:
                used_up = True
                continue
            if left > 0:
                await self.redis.hset(name, opener, f"{closes} {left - 1}")
            return "ok"
        return "used up" if used_up else "closed"

    # --- faults and the ledger ------------------------------------------------------------------------------------

    async def plan_faults(self, account: str, faults: list[str]) -> None:
        """The next calls to this account's provider fail like this, in order."""
        await self.redis.rpush(f"sandbox:faults:{account}", *faults)

    async def next_fault(self, account: str) -> str:
        """The fault of this call, "" for none."""
        found = await self.redis.lpop(f"sandbox:faults:{account}")
        return text_of(found)

    async def accepted(self, account: str, id: str, reference: str) -> None:
        """The provider's own ledger of what it took: what tests and staff reconcile with."""
        await self.redis.rpush(
            f"sandbox:ledger:{account}", json.dumps({"to": id, "ref": reference, "at": self.clock.now()})
        )

    async def ledger(self, account: str) -> list[dict[str, Any]]:
        """Everything that this provider accepted."""
        taken = [json.loads(line) for line in await self.redis.lrange(f"sandbox:ledger:{account}", 0, -1)]
        return [{**one, "at": rfc3339(one["at"])} for one in taken]


def text_of(value: object) -> str:
    """A value of Redis as text (the client answers bytes)."""
    return value.decode() if isinstance(value, bytes) else ""
