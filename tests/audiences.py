"""Buyers who are there without having written first, and audiences kept in a file: what tests of broadcasts begin with."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bot import ids, keys, subjects
from bot.broadcasts import Broadcast, Recipient
from bot.codec import dump_record
from bot.records import Address, Buyer, Consent, Window
from bot.store import Store

DAY = 86_400_000


def buyer_of(
    store: Store, number: int, now: int, *, account: str = "messenger-main", consent: str = "granted"
) -> Buyer:
    """Somebody who wrote a moment ago and, if so, agreed to marketing."""
    subject = subjects.address(account, str(number))
    partition = store.partition(subject)
    address = Address(
        account,
        str(number),
        consent=Consent(marketing=consent, at=now - 1000, wording="opt_in", source="test"),
        windows={"message": Window(closes_at=now + DAY)},
        last_in=now - 1000,
    )
    id = ids.derived("b", partition, subject)
    return Buyer(id=id, home=subject, created_at=now - 1000, name=f"买家{number}", locale="zh-CN", addresses=[address])


async def keep(store: Store, buyers: Iterable[Buyer]) -> None:
    """Writes their records."""
    commands: list[tuple] = []
    for buyer in buyers:
        partition = store.partition(buyer.home)
        commands.append(("SET", keys.record(partition, buyer.home), dump_record(buyer)))
        commands.append(("HSET", keys.index(partition), f"b:{buyer.id}", buyer.home))
    for start in range(0, len(commands), 2000):
        await store.together(commands[start : start + 2000])


class FileAudiences:
    """The port `bot.broadcasts.Audiences` over a file, which several processes may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: dict[str, dict[int, list[Recipient]]] = {}

    def write(self, store: Store, buyers: Iterable[Buyer], *, variants: Mapping[str, str] | None = None) -> None:
        """Who is meant from now on, in broadcasts that are not frozen yet."""
        table: dict[int, list[list[str]]] = defaultdict(list)
        for buyer in buyers:
            table[store.partition(buyer.home)].append([buyer.id, buyer.home, (variants or {}).get(buyer.id, "")])
        self.path.write_text(json.dumps(table))

    def _frozen(self, id: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{id}")

    async def freeze(self, broadcast: Broadcast, positions: Mapping[int, str]) -> int:
        frozen = self._frozen(broadcast.id)
        if not frozen.exists():
            fresh = frozen.with_suffix(".new")
            fresh.write_text(self.path.read_text())
            fresh.rename(frozen)
        return sum(map(len, self._table(broadcast.id).values()))

    def _table(self, id: str) -> dict[int, list[Recipient]]:
        if id not in self._tables:
            table = json.loads(self._frozen(id).read_text())
            self._tables[id] = {int(p): [Recipient(*row) for row in sorted(rows)] for p, rows in table.items()}
        return self._tables[id]

    async def page(self, broadcast: str, partition: int, after: str, limit: int) -> Sequence[Recipient]:
        rows = self._table(broadcast).get(partition, [])
        return [row for row in rows if row.buyer > after][:limit]

    async def forget(self, broadcast: str) -> None:
        """The file stays for the test to read."""
