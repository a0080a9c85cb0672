"""What a segment asks for, as values: groups of tests, read strictly from JSON.

A group is `{"all": […]}` (every one holds; empty: everybody), `{"any": […]}` (at least one; empty: nobody), `{"none": […]}` (not
one) or `{"not": one}`. A test is `{"field", "op", "value"}` plus what its field takes besides (`account`, `since`, …).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from bot.errors import PayloadError
from bot.strictjson import decode
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS, QUALIFIERS, Field, ValueFaultError, read_qualifier, read_value, shown

MOST_DEPTH = 6
MOST_CONDITIONS = 100
MOST_VALUES = 2_000  # over all lists of one segment: a database takes some thirty thousand
GROUPS = ("all", "any", "none", "not")
_TEST = ("field", "op", "value")


class SegmentError(PayloadError):
    """Conditions that are none. `faults`: (path, what is wrong and what would be right), every one that was found."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {words}" for path, words in faults[:10]), field=faults[0][0])
        self.faults = list(faults)


@dataclass(frozen=True, slots=True)
class Term:
    """One test. `value` is of the field's type; `qualifiers` hold what was said besides, read already."""

    field: Field
    op: str
    value: Any
    qualifiers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions under one word: `all`, `any` or `none`; "not" is a `none` of one."""

    how: str
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """Names that the configuration knows; None: not asked. A misspelt account would quietly match nobody."""

    accounts: frozenset[str] | None = None
    shops: frozenset[str] | None = None

    def of(self, name: str) -> frozenset[str] | None:
        """The names that a word (a qualifier, or the end of a field's name) stands for."""
        return {"account": self.accounts, "shop": self.shops}.get(name)


NOT_KNOWN = Known()
Condition: TypeAlias = Group | Term
EVERYBODY = Group("all", ())


def parse(where: Any, *, path: str = "where", known: Known = NOT_KNOWN) -> Group:
    """The conditions of decoded JSON. Raises SegmentError with every fault and its path."""
    reader = _Reader(known)
    found = reader.condition(where, path, 1)
    if not reader.faults and isinstance(found, Term):
        reader.fault(path, f"must be a group: {_groups()}")
    if reader.faults:
        raise SegmentError(reader.faults)
    assert isinstance(found, Group)
    return found


def parse_text(text: str, *, path: str = "where", known: Known = NOT_KNOWN) -> Group:
    """The conditions of JSON text, as a broadcast carries them. Raises SegmentError."""
    try:
        where = decode(text.encode("utf-8", "surrogatepass"))
    except PayloadError as error:
        raise SegmentError([(path, error.detail)]) from error
    return parse(where, path=path, known=known)


def terms(condition: Condition) -> Iterator[Term]:
    """Every test in it."""
    if isinstance(condition, Term):
        yield condition
        return
    for part in condition.parts:
        yield from terms(part)


def canonical(where: Any) -> str:
    """The JSON by which conditions are kept: one spelling for what was written with other blanks."""
    return json.dumps(where, ensure_ascii=False, separators=(",", ":"))


def near(name: str, names: Sequence[str]) -> str:
    """Words for a name that does not exist: the nearest one, else where to look."""
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def _groups() -> str:
    return '{"all": […]}, {"any": […]}, {"none": […]} or {"not": {…}}'


class _Reader:
    def __init__(self, known: Known) -> None:
        self.known = known
        self.faults: list[tuple[str, str]] = []
        self.count = self.values = 0

    def fault(self, path: str, words: str) -> None:
        if len(self.faults) < 50:
            self.faults.append((path, words))

    def condition(self, given: Any, path: str, depth: int) -> Condition:
        if not isinstance(given, dict):
            self.fault(path, f'must be {_groups()}, or a test {{"field", "op", "value"}}')
            return EVERYBODY
        if depth > MOST_DEPTH:
            self.fault(path, f"is nested deeper than {MOST_DEPTH} groups")
            return EVERYBODY
        how = [word for word in GROUPS if word in given]
        if "field" in given or (not how and any(word in given for word in _TEST)):
            return self._test(given, path)
        if len(how) != 1 or len(given) != 1:
            self._no_group(given, how, path)
            return EVERYBODY
        return self._group(how[0], given[how[0]], f"{path}.{how[0]}", depth)

    def _no_group(self, given: dict[str, Any], how: list[str], path: str) -> None:
        unknown = [word for word in given if word not in GROUPS]
        if len(how) > 1:
            self.fault(path, f"holds {' and '.join(how)}: one of them; put the other in a group inside")
        elif unknown:
            hint = near(str(unknown[0]), GROUPS + _TEST)
            self.fault(f"{path}.{shown(unknown[0])}", f"there is no such word here; {hint or 'use ' + _groups()}")
        else:
            self.fault(path, f"is empty: use {_groups()}; an empty all is everybody")

    def _group(self, how: str, parts: Any, path: str, depth: int) -> Condition:
        if how == "not":
            return Group("none", (self.condition(parts, path, depth + 1),))
        if not isinstance(parts, list):
            self.fault(path, "must be a list of conditions")
            return EVERYBODY
        if len(parts) > MOST_CONDITIONS:
            self.fault(path, f"holds {len(parts)} conditions; {MOST_CONDITIONS} at most")
            return EVERYBODY
        return Group(how, tuple(self.condition(part, f"{path}[{n}]", depth + 1) for n, part in enumerate(parts)))

    def _test(self, given: dict[str, Any], path: str) -> Condition:
        self.count += 1
        if self.count == MOST_CONDITIONS + 1:
            self.fault(path, f"there are over {MOST_CONDITIONS} conditions")
        if self.count > MOST_CONDITIONS:
            return EVERYBODY
        field = self._field(given, path)
        if field is None:
            return EVERYBODY
        op = self._operator(given, field, path)
        qualifiers = self._qualifiers(given, field, path)
        if op is None:
            return EVERYBODY
        if "value" not in given:
            self.fault(f"{path}.value", "is missing")
            return EVERYBODY
        try:
            value = read_value(field, op, given["value"])
        except ValueFaultError as error:
            self.fault(f"{path}.value{error.where}", error.words)
            return EVERYBODY
        self._names(field.name.rpartition(".")[2], value, f"{path}.value")
        self.values += len(value) if isinstance(value, tuple) else 1
        if self.values > MOST_VALUES:
            self.fault(f"{path}.value", f"the lists of this segment hold over {MOST_VALUES} values together")
            self.values = 0
        return Term(field, op, value, qualifiers)

    def _field(self, given: dict[str, Any], path: str) -> Field | None:
        name = given.get("field")
        if not isinstance(name, str):
            self.fault(f"{path}.field", "is missing" if name is None else "must be the name of a field")
            return None
        if name not in FIELDS:
            hint = near(name, tuple(FIELDS)) or "GET /api/v1/segments/fields lists them"
            self.fault(f"{path}.field", f"there is no field {shown(name)}; {hint}")
            return None
        return FIELDS[name]

    def _operator(self, given: dict[str, Any], field: Field, path: str) -> str | None:
        op, there = given.get("op"), OPERATORS[field.type]
        if isinstance(op, str) and op in there:
            return op
        words = f"is missing; {field.name} takes" if op is None else f"{shown(op)} is none of {field.name}; it takes"
        self.fault(f"{path}.op", f"{words} {', '.join(there)}")
        return None

    def _qualifiers(self, given: dict[str, Any], field: Field, path: str) -> dict[str, Any]:
        found = {}
        for name, value in given.items():
            if name in _TEST:
                continue
            if name not in field.qualifiers:
                there = ", ".join((*_TEST, *field.qualifiers))
                known = "takes no" if name in QUALIFIERS else "there is no word"
                self.fault(f"{path}.{shown(name)}", f"{field.name}: {known} {shown(name)}; there are: {there}")
                continue
            try:
                found[name] = read_qualifier(name, value)
                self._names(name, found[name], f"{path}.{name}")
            except ValueFaultError as error:
                self.fault(f"{path}.{name}{error.where}", error.words)
        return found

    def _names(self, what: str, value: Any, path: str) -> None:
        there = self.known.of(what)
        if there is None:
            return
        for one in value if isinstance(value, tuple) else (value,):
            if one not in there:
                hint = near(one, sorted(there)) or f"there are: {', '.join(sorted(there)) or 'none'}"
                self.fault(path, f"there is no {what} {shown(one)}; {hint}")
