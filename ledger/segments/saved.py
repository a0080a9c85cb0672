"""Segments that staff saved: by name, with a version that rises at each change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import URL, Select, delete, func, insert, select, tuple_, update

from bot import ids
from bot.errors import ChangedError
from bot.events import Ms
from ledger import scores, tables
from ledger.database import open_engine, reading, writing
from ledger.segments.conditions import canonical

MOST = 1_000
_ROWS = tables.segments.c


class TooManySegmentsError(ChangedError):
    """There are as many as may be."""

    status = 409
    kind = "too-many-segments"


class Segment(Struct, frozen=True):
    """One saved segment; `where` as JSON values."""

    id: str
    name: str
    where: Any
    created_by: str
    created_at: Ms
    updated_by: str
    updated_at: Ms
    version: int


class SavedSegments:
    """The table of saved segments. Every method raises LedgerError where the ledger is away."""

    def __init__(self, url: URL) -> None:
        self._reader, self._writer = open_engine(url), open_engine(url, writer=True)

    async def close(self) -> None:
        """Closes its connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    async def create(self, name: str, where: Any, by: str, now: Ms) -> Segment:
        """A new one. Raises TooManySegmentsError."""
        made = Segment(ids.new("s", 0), name, where, by, now, by, now, 1)
        async with writing(self._writer) as connection:
            count = (await connection.execute(select(func.count()).select_from(tables.segments))).scalar_one()
            if count >= MOST:
                raise TooManySegmentsError(f"there are {MOST} segments already; delete some first")
            await connection.execute(insert(tables.segments), _row(made))
        return made

    async def get(self, id: str) -> Segment | None:
        """One, or None."""
        async with reading(self._reader) as connection:
            row = (await connection.execute(select(tables.segments).where(_ROWS.id == id))).mappings().one_or_none()
        return _segment(row) if row is not None else None

    async def list(self, before: tuple[Ms, str] | None, limit: int) -> Sequence[Segment]:
        """The newest before a place (created, id)."""
        wanted: Select[Any] = select(tables.segments)
        if before is not None:
            wanted = wanted.where(tuple_(_ROWS.created_at, _ROWS.id) < before)
        async with reading(self._reader) as connection:
            found = await connection.execute(wanted.order_by(_ROWS.created_at.desc(), _ROWS.id.desc()).limit(limit))
            return [_segment(row) for row in found.mappings()]

    async def change(self, id: str, by: str, now: Ms, *, version: int, **values: Any) -> Segment | None:
        """Changes `name` or `where`; None where there is none. Raises ChangedError if it is not at `version` (0: whatever it is)."""
        async with writing(self._writer) as connection:
            mine = select(tables.segments).where(_ROWS.id == id).with_for_update()
            row = (await connection.execute(mine)).mappings().one_or_none()
            if row is None:
                return None
            known = _segment(row)
            _same(known, version)
            changed = Segment(
                id, values.get("name", known.name), values.get("where", known.where),
                known.created_by, known.created_at, by, now, known.version + 1,
            )  # fmt: skip
            await connection.execute(update(tables.segments).where(_ROWS.id == id), _row(changed))
            return changed

    async def ask_scores(self) -> None:
        """Has the bounds of R, F and M drawn anew, within seconds."""
        async with writing(self._writer) as connection:
            await scores.ask(connection)

    async def delete(self, id: str, *, version: int = 0) -> bool:
        """Takes one away; whether there was one. Raises ChangedError as `change` does."""
        async with writing(self._writer) as connection:
            mine = select(tables.segments).where(_ROWS.id == id).with_for_update()
            row = (await connection.execute(mine)).mappings().one_or_none()
            if row is None:
                return False
            _same(_segment(row), version)
            await connection.execute(delete(tables.segments).where(_ROWS.id == id))
            return True


def _same(known: Segment, version: int) -> None:
    if version and known.version != version:
        raise ChangedError(
            f"{known.updated_by} changed it meanwhile: it is at version {known.version}, not {version}; read it again",
            field="version",
        )


def _row(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "name": segment.name,
        "definition": canonical(segment.where),
        "created_by": segment.created_by,
        "created_at": segment.created_at,
        "updated_by": segment.updated_by,
        "updated_at": segment.updated_at,
        "version": segment.version,
    }


def _segment(row: Mapping[Any, Any]) -> Segment:
    return Segment(
        row["id"], row["name"], json.loads(row["definition"]), row["created_by"], row["created_at"],
        row["updated_by"], row["updated_at"], row["version"],
    )  # fmt: skip
