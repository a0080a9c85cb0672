"""Every condition that a segment can hold: each field with each of its operators, each form of a value, and what narrows it down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS, Field

TIMES = ("2026-10-01", {"days": 30}, "2026-10-01T02:00:05Z")
BESIDES: dict[str, tuple[Any, ...]] = {
    "since": TIMES, "until": TIMES, "account": ("sms-main",), "shop": ("main",), "campaign": ("RACE50",),
    "kind": ("bottom",), "purpose": ("marketing",),
}  # fmt: skip


def every() -> Iterator[dict[str, Any]]:
    """Tests as the API takes them."""
    for field in FIELDS.values():
        for op in OPERATORS[field.type]:
            for value in values(field, op):
                yield {"field": field.name, "op": op, "value": value}
        for name in field.qualifiers:
            for beside in BESIDES.get(name, ("claimed" if field.name.startswith("coupons.") else "delivered", "any")):
                op = OPERATORS[field.type][0]
                yield {"field": field.name, "op": op, "value": values(field, op)[0], name: beside}


def values(field: Field, op: str) -> list[Any]:
    """Values of each form that an operator takes."""
    ones = {
        "number": [max(1, field.least), max(2, field.least)], "days": [1, 7], "money": ["50", "188.00"],
        "text": ["aa", "b b"], "list": ["casual", "军旅"], "choice": list(field.choices), "date": list(TIMES), "yes/no": [True, False],
    }[field.type]  # fmt: skip
    if op == "known":
        return [True, False]
    if op in ("within", "not_within"):
        return [{"days": 14}]
    if op == "between":
        return [[ones[0], ones[1]], *([[ones[1], ones[2]]] if field.type == "date" else [])]
    if op in ("in", "not_in", "all"):
        return [ones[:1], ones] + ([["a, b", "c"]] if field.type in ("text", "list") else [])
    return ones
