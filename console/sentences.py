"""Conditions of a segment as a sentence that a clerk reads, in a language of the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from bot.hours import local
from console.titles import title
from ledger.segments import Group
from ledger.segments.conditions import Condition, Term
from ledger.segments.kinds import Day, DaysAgo, Field, Instant

_SEAM = re.compile(r"(?<=[\u3400-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u3400-\u9fff])")


def sentence(condition: Condition, lang: str, words: Mapping[str, Any], zone: tzinfo) -> str:
    """What conditions say, "" for everybody; times by the clock of `zone`."""
    if isinstance(condition, Term):
        return _term(condition, lang, words, zone)
    if condition.how == "any" and not condition.parts:
        return str(words["js"]["count_none"])
    parts = [sentence(part, lang, words, zone) or words["compose"]["everybody"] for part in condition.parts]
    join = words["join"]
    joined = join["any" if condition.how in ("any", "none") else "all"].join(
        join["group"].format(told=part) if isinstance(inner, Group) and inner.how != "none" and len(parts) > 1 else part
        for part, inner in zip(parts, condition.parts, strict=True)
    )
    return str(join["none"].format(told=joined) if condition.how == "none" and joined else joined)


def _term(term: Term, lang: str, words: Mapping[str, Any], zone: tzinfo) -> str:
    field, op, value = term.field, term.op, term.value
    if field.type == "yes/no":
        told = (
            words["is" if value else "is_not"].get(field.name)
            or f"{title(field, lang)}: {_value(field, value, words, zone)}"
        )
    else:
        if op == "known":
            op = "known" if value else "unknown"
        said = words["said_list" if field.type == "list" else "said"]
        low, high = (_value(field, one, words, zone) for one in (value if op == "between" else ("", "")))
        span = op in ("within", "not_within")
        shown = words["said_besides"]["days"].format(n=value.days) if span else _value(field, value, words, zone)
        told = said[op].format(field=title(field, lang), value=shown, low=low, high=high)
    besides = words["js"]["list_sign"].join(
        _beside(field, name, one, words, zone) for name, one in term.qualifiers.items()
    )
    if besides:
        told = words["said_besides"]["all"].format(told=told, besides=besides)
    return told if lang == "en" else _SEAM.sub(" ", told)


def _beside(field: Field, name: str, value: Any, words: Mapping[str, Any], zone: tzinfo) -> str:
    """What narrows a condition down: since when, on which account, and the like."""
    said = words["said_besides"]
    if name == "since" and isinstance(value, DaysAgo):
        return str(said["since_days"].format(value=said["days"].format(n=value.days)))
    if name == "until" and isinstance(value, DaysAgo):
        return str(said["until_days"].format(value=_value(field, value, words, zone)))
    pattern = said[name] if name in ("since", "until") else said["other"]
    return str(pattern.format(name=words["besides"].get(name, name), value=_value(field, value, words, zone)))


def _value(field: Field, value: Any, words: Mapping[str, Any], zone: tzinfo) -> str:
    if isinstance(value, bool):
        return str(words["js"]["yes" if value else "no"])
    if isinstance(value, tuple):
        return str(words["js"]["list_sign"].join(_value(field, one, words, zone) for one in value))
    if isinstance(value, str):  # of messages "delivered" is another thing than of parcels
        own = words["message_state"].get(value) if field.name.startswith("messages.") else None
        return str(own or words["choice"].get(value, value) or words["choice"]["unknown"])
    if isinstance(value, DaysAgo):
        return str(words["said_besides"]["days_ago"].format(n=value.days))
    if isinstance(value, Instant):
        return f"{local(value.ms, zone):%Y-%m-%d %H:%M}"
    return value.date.isoformat() if isinstance(value, Day) else str(value)
