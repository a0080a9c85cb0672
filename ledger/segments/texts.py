"""Functions on texts that the two databases spell differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class json_text(FunctionElement[str]):  # noqa: N801  # SQLAlchemy names functions by their class
    """The text at a key of a JSON object that is kept as text; NULL where it has none."""

    type = Text()
    name = "json_text"
    inherit_cache = True


@compiles(json_text, "sqlite")
def _json_sqlite(element: Any, compiler: SQLCompiler, **more: Any) -> str:
    """A path with quotes around the key, which holds none (`value_at` sees to that)."""
    document, key = (compiler.process(clause, **more) for clause in element.clauses)
    return f"json_extract(NULLIF({document}, ''), '$.\"' || {key} || '\"')"


@compiles(json_text, "postgresql")
def _json_postgresql(element: Any, compiler: SQLCompiler, **more: Any) -> str:
    document, key = (compiler.process(clause, **more) for clause in element.clauses)
    return f"(CAST(NULLIF({document}, '') AS json) ->> CAST({key} AS text))"


def value_at(document: ColumnElement[str], key: str) -> ColumnElement[str]:
    """The value at a key; quotes and backslashes are left out of it."""
    return json_text(document, key.replace('"', "").replace("\\", ""))
