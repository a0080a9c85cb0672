"""A body's JSON, strictly: duplicate keys, NaN, deep nesting, half surrogates and numbers of thousands of digits are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from bot.errors import PayloadError

MAX_DEPTH = 20


def decode(raw: bytes) -> Any:
    """JSON, strictly. Raises PayloadError."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=Decimal, parse_int=_int
        )
    except PayloadError:
        raise
    except RecursionError as error:
        raise PayloadError("the JSON is nested too deeply") from error
    except (ValueError, ArithmeticError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    _check(value, 0)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PayloadError("a key stands twice in one object")
    return found


def _constant(_: str) -> Any:
    raise PayloadError("NaN and Infinity are not JSON")


def _int(text: str) -> int:
    if len(text) > 30:
        raise PayloadError("a number has more than 30 digits")
    return int(text)


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PayloadError("the JSON is nested too deeply")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PayloadError("a text holds half a surrogate pair") from error
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check(name, depth + 1)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)
