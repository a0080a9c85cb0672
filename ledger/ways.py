"""The ways in which a buyer can be reached: the accounts of the addresses with what is allowed there, without whose they are.

A million buyers have some hundred of them between them. A buyer's row names the own one, so that a question about everybody's
addresses is asked of these hundred. The number follows from what it stands for: two ledgers number alike, and nobody hands them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

ALLOWED = ("account", "reachable", "blocked", "opted_out", "service", "marketing", "calls", "coupons")
"""The columns of an address that a way holds."""
NONE = 0


def way_of(addresses: Iterable[Mapping[str, Any]]) -> int:
    """The number of the way of these rows of addresses, in whatever order they come; NONE for no address."""
    lines = sorted(map(_spelled, addresses))
    return int.from_bytes(blake2b("\n".join(lines).encode(), digest_size=8).digest(), "big") >> 1 if lines else NONE


def rows_of(way: int, addresses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `ways` for it."""
    return [
        {"way": way, "line": line, **{name: row[name] for name in ALLOWED}}
        for line, row in enumerate(sorted(addresses, key=_spelled))
    ]


def _spelled(row: Mapping[str, Any]) -> str:
    can = f"{row['reachable']:d}{row['blocked']:d}{row['opted_out']:d}"
    return f"{can} {row['service']} {row['marketing']} {row['calls']} {row['coupons']} {row['account']}"
