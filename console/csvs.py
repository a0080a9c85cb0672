"""Tables for other programs: CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_NUMBER = re.compile(r"\+\d{1,20}", re.ASCII)


def lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Rows as UTF-8; what a spreadsheet would take for a formula is marked as text."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8", "replace")


def _safe(cell: str) -> str:
    """A phone number is no formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.fullmatch(cell) else cell
