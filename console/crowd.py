"""Who a broadcast would reach, read from the ledger: the audience as it would be frozen now, without writing anything down."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import select

from bot.broadcasts import Broadcast, Recipient
from bot.catalogue import Catalogue
from bot.clock import SystemClock
from bot.events import Ms
from bot.queries import StoredMessage
from console.desk import Whole
from console.sentences import sentence
from console.titles import title
from ledger import lookups, tables
from ledger.audiences import LedgerAudiences
from ledger.forecast import variant_of
from ledger.reading import History
from ledger.segments import Group, Moment, SegmentError, parse, parse_text, where_of
from ledger.segments.exclusions import READY, Pitched, excluded, fault_of
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS
from ledger.segments.preview import Found, find

MOST_SEGMENTS = 500
ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LedgerCrowd:
    """The desk's view of audiences. `shops`: in the order of the configuration."""

    history: History
    catalogue: Catalogue
    clock: SystemClock
    zone: tzinfo
    currency: str
    shops: Sequence[str]
    audiences: LedgerAudiences | None = (
        None  # None: audiences do not come from the ledger, and are not counted by reason
    )

    # --- what may be asked ----------------------------------------------------------------------------------------

    def exclusions(self, lang: str) -> Sequence[Mapping[str, str]]:
        """The ready exclusions: name, title and explanation in a language."""
        return [{"name": one.name, "title": one.title[lang], "explained": one.explained[lang]} for one in READY]

    def exclusion_fault(self, name: str) -> str:
        """What is wrong with the name of an exclusion, "" for a good one."""
        return fault_of(name)

    def fields(self, lang: str) -> Sequence[Mapping[str, Any]]:
        """What conditions may ask: name, title, type, operators, choices, what narrows it down, hint."""
        return [
            {
                "name": one.name,
                "title": title(one, lang),
                "type": one.type,
                "operators": OPERATORS[one.type],
                "choices": one.choices,
                "qualifiers": one.qualifiers,
                "hint": one.hint if lang == "en" else "",
            }
            for one in FIELDS.values()
        ]

    def faults(self, where: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
        """What is wrong with conditions that stand at `path`: the field, and what would be right."""
        try:
            parse(dict(where), path=path)
        except SegmentError as error:
            return error.faults
        return []

    def described(self, where: str, lang: str, words: Mapping[str, Any]) -> str:
        """Conditions (JSON) in words of a language, "" for everybody."""
        return sentence(parse_text(where), lang, words, self.zone)

    # --- who ------------------------------------------------------------------------------------------------------

    async def segments(self) -> Sequence[Mapping[str, Any]]:
        """The saved segments by name: id, name, conditions (JSON), version."""
        table = tables.segments
        async with self.history.connection() as connection:
            wanted = select(table.c.id, table.c.name, table.c.definition, table.c.version)
            rows = await connection.execute(wanted.order_by(table.c.name, table.c.id).limit(MOST_SEGMENTS))
            return [{"id": row.id, "name": row.name, "where": row.definition, "version": row.version} for row in rows]

    async def segment(self, id: str) -> str | None:
        """The conditions of a saved segment as JSON, None for an unknown one."""
        table = tables.segments
        async with self.history.connection() as connection:
            found = await connection.execute(select(table.c.definition).where(table.c.id == id))
            return found.scalar_one_or_none()

    async def count(self, asked: Broadcast) -> int:
        """How many it would reach before each buyer's own decision: exclusions are taken off, the holdout is not."""
        return (await self._find(asked, 1)).count

    async def whole(self, asked: Broadcast, some: int) -> Whole:
        """All of it counted, and so many of it: who is left out, who would get it by which account, who not and why; quotas and staff aside."""
        if self.audiences is None:
            found = await self._find(asked, some)
            return Whole(found.count, {}, {}, {}, some=await self._named(asked, found.sample))
        told = await self.audiences.preview(asked, sample=some)
        accounts = Counter[str]()
        for (account, _), count in told.lanes.items():
            accounts[account] += count
        recipients = await self._named(asked, told.sample)
        return Whole(told.count, told.excluded, dict(accounts), told.skipped, told.capped, told.by_variant, recipients)

    async def _named(self, asked: Broadcast, ids: Sequence[str]) -> Sequence[Recipient]:
        """These buyers, each with the variant that they would read."""
        table, variant = tables.buyers, variant_of(asked, Moment(self.clock.now(), self.zone, self.currency))
        found: dict[str, Recipient] = {}
        async with self.history.connection() as connection:
            for start in range(0, len(ids), ASKED_AT_ONCE):
                wanted = table.c.id.in_(ids[start : start + ASKED_AT_ONCE])
                named = select(table.c.id, table.c.home, variant.label("variant")).where(wanted)
                rows = await connection.execute(named)
                found |= {row.id: Recipient(row.id, row.home, row.variant) for row in rows}
        return [found[id] for id in ids if id in found]

    # --- what became of it ------------------------------------------------------------------------------------------

    async def positions(self) -> Mapping[int, str]:
        """Up to where each partition's journal is taken in."""
        return await self.history.positions()

    async def results(
        self, broadcast: str, before: tuple[Ms, str] | None, limit: int
    ) -> Sequence[tuple[StoredMessage, str]]:
        """Its messages, newest first, each with its buyer's name."""
        async with self.history.connection() as connection:
            found = await lookups.messages(connection, broadcast=broadcast, before=before, limit=limit)
            names = await lookups.names(connection, {message.message.buyer for message, _ in found})
        return [(message, names.get(message.message.buyer, "")) for message, _ in found]

    async def _find(self, asked: Broadcast, size: int) -> Found:
        text = (await self.segment(asked.segment) if asked.segment else asked.where) or '{"any":[]}'
        views = await self.catalogue.items(asked.items, self.shops) if asked.items else {}
        left_out = excluded(asked.exclude, Pitched(asked.items, views)).values()
        whole = Group("all", (parse_text(text), Group("none", tuple(left_out))))
        moment = Moment(self.clock.now(), self.zone, self.currency)
        async with self.history.connection() as connection:
            return await find(connection, where_of(whole, moment), text + json.dumps(asked.exclude), size=size)
