"""Who goes by age is asked to: in a turn of its own, which looks again. What the record alone proves is told to the ledger first."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Protocol

from bot import buyers, keeping, keys
from bot.codec import CodecError, dump_entry, load_record
from bot.events import Event, Ms, StaffAsked
from bot.keeping import Before
from bot.records import Buyer, Record
from bot.store import Store

UNDER_WAY = 20  # buyers who are being erased at a time
BY = "retention"
Answer = tuple[str, str, str, str]
"""An answer about consent: account, address, topic, verdict."""


class OldPast(Protocol):
    """What the ledger knows of age. Raises LedgerError where it is away: the walk begins again later."""

    async def silent(self, before: Ms, now: Ms, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids and homes of buyers who may have to go, in the order of their ids from just after one."""
        ...

    async def proved(self, ids: Collection[str]) -> set[Answer]:
        """The answers of these buyers that are kept as evidence."""
        ...

    async def old_orders(self, before: Ms, after: str, limit: int) -> list[str]:
        """Subjects of orders last told of before then, in their order from just after one."""
        ...

    async def known_tasks(self, names: Collection[str]) -> set[str]:
        """Those of these tasks that are still held."""
        ...

    async def known_orders(self, subjects: Collection[str]) -> set[str]:
        """Those of these orders that it ever heard of."""
        ...


class Parting:
    """How buyers and orders are asked; knows what the ledger holds of them."""

    def __init__(self, store: Store, past: OldPast) -> None:
        self._store = store
        self._past = past

    async def are_busy(self) -> bool:
        """Whether those before are not gone yet."""
        return bool(await self._store.command("HLEN", keys.ERASING) >= UNDER_WAY)

    async def read(self, subjects: Sequence[str]) -> dict[str, Record]:
        """Records that this release can read."""
        bodies = await self._store.raw_records(subjects) if subjects else {}
        return {subject: record for subject, body in bodies.items() if body and (record := readable(body))}

    async def silent(self, homes: Sequence[str], old: Before, now: Ms) -> list[Buyer]:
        """Those who may go, as their records stand."""
        found = await self.read(homes)
        return [one for one in found.values() if isinstance(one, Buyer) and keeping.may_go(one, old.keep, now)]

    async def let_go(self, silent: Sequence[Buyer], old: Before, now: Ms) -> None:
        """Asks for their turns. Whose answers the ledger does not hold tells them once more: proof stays for its own time."""
        if not silent:
            return
        held = await self._past.proved([id for buyer in silent for id in (buyer.id, *buyer.merged)])
        for buyer in silent:
            told = [(one.account, one.address, one.topic, one.verdict) for one in buyers.evidence(buyer)]
            lacking = [one for one in told if one not in held]
            data = {"before": old.keep, "evidence_until": old.evidence, "tell": lacking}
            await self._ask([buyer.home], StaffAsked("age", BY, json.dumps(data).encode()), now)

    async def forget(self, orders: Collection[str], now: Ms) -> None:
        """Asks orders to forget their buyers."""
        await self._ask(orders, StaffAsked("forget", BY), now)

    async def _ask(self, homes: Collection[str], body: StaffAsked, now: Ms) -> None:
        if homes:
            await self._store.append([dump_entry(Event("", home, "", now, now, body)) for home in homes], lane="b")


def readable(body: bytes) -> Record | None:
    """A record from its stored form; None of a newer release."""
    try:
        return load_record(body)
    except CodecError:
        return None
