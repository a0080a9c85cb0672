"""Tables from files: CSV as spreadsheets write it, read row by row; what cannot be taken is kept aside with its reason.

Taken are UTF-8 (with or without a byte order mark), GBK, GB18030, Big5 and UTF-16; separated by comma, semicolon or tab; with
line breaks inside quotation marks; with column names in Chinese or English. Which of these a file is, is what makes
the most of its column names known. Pure but for reading and writing files.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import GatewayError

MOST_BYTES = 200 * 1024 * 1024
MOST_FAULTS_SHOWN = 20
BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
GUESSES = ("utf-8", "gb18030", "big5")
SEPARATORS = ",;\t"
REJECTED = ".rejected.csv"
OWN = frozenset(("line", "reason"))  # columns of a file of rejected rows: it can be mended and imported again
_RISKY = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

Columns = Mapping[str, Sequence[str]]
"""Column → the names that it may have in a file."""


class SheetError(GatewayError):
    """A file that cannot be read as a table."""


class NoColumnsError(SheetError):
    """None of the wanted columns is named in the first line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line of the file on which it begins, and its cells by column, trimmed."""

    line: int
    cells: Mapping[str, str]
    raw: tuple[str, ...]

    def __getitem__(self, column: str) -> str:
        """A cell, "" where the file has no such column."""
        return self.cells.get(column, "")


@dataclass(slots=True)
class Sheet:
    """A file as a table. `columns` are those that it has; `unknown` the names that mean none."""

    path: Path
    encoding: str
    separator: str
    header: tuple[str, ...]
    columns: frozenset[str]
    unknown: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    rejected: list[tuple[Row, str]] = field(default_factory=list)

    def reject(self, row: Row, reason: str) -> None:
        """Keeps a row aside."""
        self.rejected.append((row, reason))

    @property
    def aside(self) -> Path:
        """Where rejected rows go: beside the file."""
        return self.path.with_name(self.path.name + REJECTED)

    def put_aside(self) -> Path | None:
        """Writes the rejected rows with their lines and reasons; None where there are none (an older file goes)."""
        if not self.rejected:
            self.aside.unlink(missing_ok=True)
            return None
        with self.aside.open("w", encoding="utf-8-sig", newline="") as out:
            writer = csv.writer(out)
            kept = [i for i, name in enumerate(self.header) if plain(name) not in OWN]
            writer.writerow(["line", "reason", *(self.header[i] for i in kept)])
            for row, reason in sorted(self.rejected, key=lambda one: one[0].line):
                cells = [row.raw[i] if i < len(row.raw) else "" for i in kept]
                writer.writerow([row.line, reason, *cells, *row.raw[len(self.header) :]])
        return self.aside


def plain(name: str) -> str:
    """A column's name as it is compared: width and case folded, without blanks, marks and what stands in brackets."""
    text = unicodedata.normalize("NFKC", name).casefold().partition("(")[0]
    return "".join(c for c in text if c.isalnum())


def read(path: Path, columns: Columns, *, needs: Sequence[Sequence[str]] = ()) -> Sheet:
    """The file's rows. `needs`: of each group of columns one must be there. Raises SheetError in one plain line."""
    data = _bytes(path)
    names = {plain(alias): column for column, aliases in columns.items() for alias in (column, *aliases)}
    best: tuple[int, str, str, tuple[str, ...], str] | None = None
    for encoding, text in _texts(data):
        for separator in SEPARATORS:
            header = _header(text, separator)
            known = len({names[plain(cell)] for cell in header if plain(cell) in names})
            if known and (best is None or known > best[0]):
                best = (known, encoding, separator, header, text)
    if best is None:
        wanted = ", ".join(group[0] for group in needs) or ", ".join(list(columns)[:6])
        raise NoColumnsError(
            f"{path}: its first line must name columns, such as {wanted}; in UTF-8, GBK or UTF-16, separated by , ; or tabs"
        )
    _, encoding, separator, header, text = best
    found = [names.get(plain(cell), "") for cell in header]
    twice = [header[i] for i, column in enumerate(found) if column and column in found[:i]]
    if twice:
        raise SheetError(f"{path}: the column {twice[0]!r} is there twice")
    for group in needs:
        if not set(group) & set(found):
            known_as = ", ".join(dict.fromkeys((group[0], *columns[group[0]][:3])))
            raise SheetError(f"{path}: has no column for {group[0]} (named {known_as})")
    unknown = tuple(
        c for c, column in zip(header, found, strict=True) if not column and plain(c) and plain(c) not in OWN
    )
    sheet = Sheet(path, encoding, separator, header, frozenset(filter(None, found)), unknown)
    for row, fault in _rows(text, separator, found):
        if fault:
            sheet.reject(row, fault)
        elif any(cell.strip() for cell in row.raw):
            sheet.rows.append(row)
    return sheet


def text_of(path: Path) -> str:
    """The file's text, in the likeliest reading of its bytes. Raises SheetError for a file that cannot be read."""
    return next(_texts(_bytes(path)))[1]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SheetError(f"{path}: is over {MOST_BYTES >> 20} MiB; split it")
        return path.read_bytes()
    except OSError as error:
        raise SheetError(f"{path}: cannot be read ({error.strerror})") from error


def _texts(data: bytes) -> Iterator[tuple[str, str]]:
    """What the bytes may mean, the likeliest first."""
    for bom, encoding in BOMS:
        if data.startswith(bom):
            body = data[len(bom) :]
            if encoding.startswith("utf-16"):  # an odd last byte: a file cut short
                body = body[: len(body) // 2 * 2]
            yield encoding, body.decode(encoding, "replace")
            return
    start = data[:4000]
    if b"\0" in start:  # UTF-16 without its mark: every Latin letter and every separator has a zero byte
        even, odd = start[::2].count(0), start[1::2].count(0)
        encoding = "utf-16-le" if odd >= even else "utf-16-be"
        yield encoding, data[: len(data) // 2 * 2].decode(encoding, "replace")
        return
    for encoding in GUESSES:
        try:
            yield encoding, data.decode(encoding)
        except UnicodeDecodeError:
            continue
    # One bad byte must not hide the rest: its rows show it, and are kept aside.
    yield "utf-8", data.decode("utf-8", "replace")
    yield "gb18030", data.decode("gb18030", "replace")


def _header(text: str, separator: str) -> tuple[str, ...]:
    try:
        return tuple(cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), ()))
    except csv.Error:
        return ()


def _rows(text: str, separator: str, columns: Sequence[str]) -> Iterator[tuple[Row, str]]:
    """Each row below the header with what is wrong with its form, "" for nothing."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    next(reader)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lost = "end of data" in str(error)
            told = "a quotation mark is never closed: this and all rows below it were not read" if lost else str(error)
            yield Row(line, {}, ()), told
            if lost:
                return
            continue
        row = Row(line, {c: cell.strip() for c, cell in zip(columns, cells, strict=False) if c}, tuple(cells))
        fault = ""
        if any("\ufffd" in cell or "\0" in cell for cell in cells):
            fault = "holds characters that cannot be read"
        elif any(cell.strip() for cell in cells[len(columns) :]):
            fault = f"has {len(cells)} cells; the first line names {len(columns)}"
        yield row, fault


# --- writing ----------------------------------------------------------------------------------------------------------


def safe(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula: one that could be is marked as text by an apostrophe.

    A number with its sign (+8613900001234, -5) is left as it is: nothing in it can be run.
    """
    if cell.startswith(_RISKY) and not cell[1:].replace(".", "", 1).isdecimal():
        return f"'{cell}"
    return cell


def unsafe(cell: str) -> str:
    """A cell as it was before `safe`."""
    return cell[1:] if cell.startswith("'") and safe(cell[1:]) == cell else cell


def told_faults(sheet: Sheet) -> list[str]:
    """The rejected rows in words, the first of them, each by its line."""
    lines = [f"line {row.line}: {reason}" for row, reason in sorted(sheet.rejected, key=lambda one: one[0].line)]
    more = len(lines) - MOST_FAULTS_SHOWN
    return [*lines[:MOST_FAULTS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
