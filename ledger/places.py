"""Stream ids as places in a journal: `ms-seq`, "" before the first."""

from __future__ import annotations

Place = tuple[int, int]


def place(id: str) -> Place:
    """Milliseconds and number within them."""
    ms, _, seq = id.partition("-")
    return int(ms or 0), int(seq or 0)


def after(one: str, other: str) -> bool:
    """Whether `one` comes later than `other`."""
    return place(one) > place(other)
