"""How much the sender may claim: by an account's rate over all processes, its calls in flight, and what waits before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sized

from bot.accounts import Line
from bot.clock import SystemClock
from bot.errors import StoreError
from bot.store import Hint, Store

MOST_IN_FLIGHT = 256
LOW_SHARE = 0.8  # what bulk may take of an account's rate


class Claiming:
    """The room of one process's sender."""

    def __init__(
        self,
        *,
        store: Store,
        lines: Mapping[str, Line],
        clock: SystemClock,
        wake: asyncio.Event,
        hints: set[Hint],
        under_way: Sized,
    ) -> None:
        """`under_way`: the sends that are being made."""
        self._store = store
        self._lines = lines
        self._clock = clock
        self._wake = wake
        self._hints = hints
        self._under_way = under_way
        self.held = 0  # sends held for a commit that is under way
        self._asking = 0  # commits that wait for their room
        # Accounts that hang, each up to its own limit, leave the others their room.
        self._most_in_flight = max(MOST_IN_FLIGHT, sum(line.most_in_flight for line in lines.values()))

    @property
    def busy(self) -> bool:
        """Whether a commit may still claim something."""
        return bool(self.held or self._asking)

    async def reserve(self, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """How many messages of each (account, lane) may go out now; each counts as in flight until it is sent or given back.

        None where messages wait already: they are pulled first, in their turn.
        """
        self._asking += 1
        try:
            return await self._reserve(wanted)
        finally:
            self._asking -= 1

    async def _reserve(self, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        waiting = {(account, lane) for _, account, lane in self._hints}
        granted: dict[tuple[str, str], int] = {}
        for account, lane in sorted(wanted):  # hi before lo
            line = self._lines.get(account)
            if line is None or (account, "hi") in waiting or (account, lane) in waiting:
                continue
            try:
                tokens = await self._tokens(account, line, lane)
            except StoreError:
                continue  # the commit will say so itself
            room = min(self._most_in_flight - len(self._under_way) - self.held, line.room())
            count = min(wanted[account, lane], room, tokens)
            if count > 0:
                granted[account, lane] = count
                line.take(count)
                self.held += count
        return granted

    def unused(self, account: str, count: int) -> None:
        """Gives reserved sends back."""
        self._lines[account].give(count)
        self.held -= count

    async def wishes(self) -> list[tuple[int, str, str, int]]:
        """What to pull: replies of any account before bulk of any, within rates and calls in flight."""
        room = self._most_in_flight - len(self._under_way)
        wishes: list[tuple[int, str, str, int]] = []
        for lane in ("hi", "lo"):
            by_account: dict[str, list[Hint]] = {}
            for hint in self._hints:
                if hint[2] == lane and hint[0] in self._store.fences:
                    by_account.setdefault(hint[1], []).append(hint)
            for account, hints in by_account.items():
                line = self._lines.get(account)
                if line is None:
                    self._hints.difference_update(hints)
                    continue
                free = min(room, line.room(), await self._tokens_or_none(account, line, lane))
                for partition, name, which in hints:
                    if free <= 0:
                        break
                    most = max(1, free // len(hints))
                    wishes.append((partition, name, which, most))
                    free -= most
                    room -= most
        return wishes

    async def _tokens_or_none(self, account: str, line: Line, lane: str) -> int:
        """0 where on a cluster the server that counts this account's rate is away: the others' go on."""
        try:
            return await self._tokens(account, line, lane)
        except StoreError:
            if not self._store.scripts.apart:
                raise
            return 0

    async def _tokens(self, account: str, line: Line, lane: str) -> int:
        """The account's allowance over all processes, fetched for at most 50 ms at a time."""
        now = self._clock.monotonic()
        if line.tokens > 0 and now < line.tokens_until:
            return line.tokens if lane == "hi" else int(line.tokens * LOW_SHARE) or 1
        if line.room() <= 0:
            return 0
        wanted = max(1, int(line.per_second * 0.05))
        owed = max(0, -line.tokens)
        given, wait_ms = await self._store.allowance(account, wanted, line.per_second, owed=owed)
        line.tokens, line.tokens_until = given, now + 0.05
        if not given and wait_ms:
            asyncio.get_running_loop().call_later(wait_ms / 1000, self._wake.set)
        return given if lane == "hi" else int(given * LOW_SHARE) or min(given, 1)
