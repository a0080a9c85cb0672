"""The counters of a broadcast, added up over partitions so that they hold at every look, long after its end too. Pure.

Each partition's hash is read at one instant and balances by itself: planned = events + open + ended + forwarded - arrived, where
`events` are recipients in the bulk lane, `open` messages queued or being sent, and `forwarded` and `arrived` count what links
and merges pass on. Sums over partitions balance whatever happened between two reads. Of a broadcast that has long been over a
partition's counters are sealed under a name, then taken into the broadcast's own sums with that name, then deleted (`bot.folding`):
the names tell what is in the sums already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import structs

from bot.broadcasts import Broadcast, Counts
from bot.reasons import SkipReason

UNCOUNTED = (b"cur", b"st", b"sv", b"sealed")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a broadcast. `planned_all`: every partition's part of the audience is planned."""

    counts: Counts
    planned_all: bool
    failures: tuple[int, int, int]  # ended, failed, refused for the account's sake


def added_up(broadcast: Broadcast, partitions: Sequence[Mapping[bytes, bytes]]) -> Look:
    """The sums of all partitions' counters (as HGETALL answers them, in order) and of what was taken from them before."""
    sums = dict(broadcast.folded)
    for partition, found in enumerate(partitions):
        for word, value in found.items():
            if word not in UNCOUNTED:
                _add(sums, {word.decode(): int(value)})
        name, sealed = sealed_in(found)
        if name and broadcast.taken_in.get(partition) != name:
            _add(sums, sealed)
    everywhere = sums.get("end", 0) >= len(partitions)  # each partition's part counts one
    counts = Counts(
        sent=sums.get("sent", 0) + sums.get("delivered", 0) + sums.get("read", 0),
        delivered=sums.get("delivered", 0) + sums.get("read", 0),
        read=sums.get("read", 0),
        failed=sums.get("failed", 0),
        skipped=sums.get("skipped", 0),
        in_doubt=sums.get("in_doubt", 0),
        skipped_by_reason=_named(sums, "skipped:"),
        failed_by_reason=_named(sums, "failed:"),
        failed_by_code={name: count for name, count in _named(sums, "code:").items() if count > 0},
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


def sealed_in(found: Mapping[bytes, bytes]) -> tuple[str, dict[str, int]]:
    """The name of what is sealed in a partition ("": nothing), and its counters."""
    if b"sealed" not in found:
        return "", {}
    name, *words = msgspec.msgpack.decode(found[b"sealed"], type=list[str])
    return name, {word: int(value) for word, value in zip(words[::2], words[1::2], strict=True)}


def taken(broadcast: Broadcast, partitions: Sequence[Mapping[bytes, bytes]]) -> Broadcast:
    """The broadcast with everything in its sums that is sealed; nothing sealed is in them yet."""
    sums, names = dict(broadcast.folded), dict[int, str]()
    for partition, found in enumerate(partitions):
        name, sealed = sealed_in(found)
        if name:
            _add(sums, sealed)
            names[partition] = name
    return structs.replace(broadcast, folded=sums, taken_in=names)


def _add(sums: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count


def _named(sums: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sums.items() if name.startswith(prefix) and count}


def _by(sums: Mapping[str, int], sign: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, count in sums.items():
        if name.startswith(sign) and count:
            who, _, state = name[1:].rpartition("|")
            found.setdefault(who, {})[state] = count
    return found
