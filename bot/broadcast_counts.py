"""The counters of a broadcast, added up over partitions so that they hold at every look. Pure.

Each partition's hash is read at one instant and balances by itself: planned = events + open + ended + forwarded - arrived, where
`events` are recipients in the bulk lane, `open` messages queued or being sent, and `forwarded` and `arrived` count what links
and merges pass on. Sums over partitions balance whatever happened between two reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.broadcasts import Broadcast, Counts
from bot.reasons import SkipReason

ENDED = ("sent", "delivered", "read", "failed", "skipped", "in_doubt")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a broadcast. `planned_all`: every partition's part of the audience is planned."""

    counts: Counts
    planned_all: bool
    failures: tuple[int, int, int]  # ended, failed, refused for the account's sake


def added_up(broadcast: Broadcast, partitions: Sequence[Mapping[bytes, bytes]]) -> Look:
    """The sums of all partitions' counters (as HGETALL answers them)."""
    sums: dict[str, int] = {}
    everywhere = True
    for found in partitions:
        everywhere = everywhere and b"end" in found
        for name, value in found.items():
            if name not in (b"cur", b"end", b"st", b"sv"):
                word = name.decode()
                sums[word] = sums.get(word, 0) + int(value)
    counts = Counts(
        sent=sums.get("sent", 0) + sums.get("delivered", 0) + sums.get("read", 0),
        delivered=sums.get("delivered", 0) + sums.get("read", 0),
        read=sums.get("read", 0),
        failed=sums.get("failed", 0),
        skipped=sums.get("skipped", 0),
        in_doubt=sums.get("in_doubt", 0),
        skipped_by_reason=_named(sums, "skipped:"),
        failed_by_reason=_named(sums, "failed:"),
        by_account=_by(sums, "@"),
        by_variant=_by(sums, "="),
    )
    planned = sums.get("planned", 0)
    # What is frozen counts from the start, whether or not its partition has come to it.
    counts.planned = planned if everywhere else max(broadcast.frozen, planned)
    left = counts.planned - planned
    counts.pending = sums.get("events", 0) + sums.get("open", 0) + sums.get("forwarded", 0) - sums.get("arrived", 0)
    if broadcast.state == "cancelled":
        counts.skipped += left
        if left:
            reasons = counts.skipped_by_reason
            reasons[SkipReason.CANCELLED] = reasons.get(SkipReason.CANCELLED, 0) + left
            nowhere = counts.by_account.setdefault("", {})
            nowhere["skipped"] = nowhere.get("skipped", 0) + left
    else:
        counts.pending += left
    ended = counts.sent + counts.failed + counts.in_doubt
    return Look(counts, everywhere, (ended, counts.failed, sums.get("refused", 0)))


def _named(sums: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sums.items() if name.startswith(prefix) and count}


def _by(sums: Mapping[str, int], sign: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, count in sums.items():
        if name.startswith(sign) and count:
            who, _, state = name[1:].rpartition("|")
            found.setdefault(who, {})[state] = count
    return found
