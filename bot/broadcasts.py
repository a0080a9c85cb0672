"""A broadcast: what staff ask to be sent to many buyers, and where it stands. Values only.

Its life: draft → (awaiting_approval) → scheduled → sending ⇄ paused → done, or cancelled. The audience is frozen when it
starts; each buyer's turn decides by itself whether and where the message goes, and writes the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct, field

from bot.events import Ms

BroadcastState: TypeAlias = Literal["draft", "awaiting_approval", "scheduled", "sending", "paused", "done", "cancelled"]


class Variant(Struct, frozen=True, omit_defaults=True):
    """One way to say it: for buyers whom `where` (JSON of a segment) holds, else by `weight` among the rest.

    `text` maps a locale to wording; the broadcast's own serves for a locale that is missing.
    """

    name: str
    weight: int = 1
    where: str = ""
    text: dict[str, str] = field(default_factory=dict)


class Repeat(Struct, frozen=True, omit_defaults=True):
    """Weekly: on `weekday` (0 Monday) at `minute` of the day, in the shop's time zone, `until` (0: no end)."""

    weekday: int
    minute: int
    until: Ms = 0


class Stage(Struct, frozen=True, array_like=True):
    """A state that a broadcast came into: when, by whom (staff, a token, "engine"), and why where it was paused or cancelled."""

    state: BroadcastState
    at: Ms
    by: str
    why: str = ""


MOST_STAGES = 100
"""So many of them are kept: the first, and the newest."""


class Broadcast(Struct, omit_defaults=True):
    """One broadcast as it is kept. Written by compare-and-set on `version`, which rises with every change.

    `text`: locale → wording (the subset that staff may write); `templates`: account → (template id, field → wording) for
    lanes that take no free text; `accounts`: in the order of preference; `start_at` 0: as soon as it is let go;
    `given`: variables that say the same to every buyer (titles, prices and links of `items`, as of the submission);
    `undo_until`: it begins not before this; `round` counts the weeks of a weekly one (each round is a broadcast of its own,
    with `parent`; the weekly one itself sends nothing). `not_after`: what has not gone by then is skipped.
    """

    id: str
    title: str
    purpose: Literal["marketing", "service"]
    accounts: tuple[str, ...]
    text: dict[str, str]
    created_at: Ms
    created_by: str
    where: str = '{"all":[]}'
    segment: str = ""
    templates: dict[str, Template] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    holdout_percent: int = 0
    rate_per_second: float = 0.0  # 0: as fast as the accounts allow
    exclude: tuple[str, ...] = ()  # names of ready exclusions (do not pitch)
    items: tuple[str, ...] = ()  # products it is about
    coupon: str = ""  # key of the campaign it offers
    given: dict[str, str] = field(default_factory=dict)
    send_at: Ms = 0
    repeat: Repeat | None = None
    parent: str = ""
    round: int = 0
    state: BroadcastState = "draft"
    why: str = ""  # of a pause or a cancel: staff, errors, …
    submitted_by: str = ""
    submitted_at: Ms = 0
    approved_by: str = ""
    approved_at: Ms = 0
    undo_until: Ms = 0
    started_at: Ms = 0
    frozen: int = -1  # how many the audience holds; -1: not yet frozen
    done_at: Ms = 0  # nothing is pending any more: done, or cancelled and all counted
    version: int = 0
    changed_by: str = ""  # who made it what it is: staff, a token, "engine"
    changed_at: Ms = 0
    not_after: Ms = 0  # 0: LIFE_MS after its start
    recipients: int = 0  # how many whoever submitted it was shown
    next_at: Ms = 0  # of a weekly one: when its next round is due
    missed: int = 0  # of a weekly one: rounds whose time passed while nothing ran
    pauses: int = 0  # how often it was paused
    looked_at: tuple[int, int, int] = (0, 0, 0)  # ended, failed, refused by an account: what staff have seen of them
    stages: tuple[Stage, ...] = ()  # what it went through, in order
    folded: dict[str, int] = field(default_factory=dict)  # counters that were taken from partitions, long after the end
    taken_in: dict[int, str] = field(
        default_factory=dict
    )  # partition → what was sealed there and is in `folded` already


LIFE_MS: Ms = 3 * 86_400_000
"""How long after its start a broadcast still sends, where it does not say."""
LIVE: frozenset[BroadcastState] = frozenset({"scheduled", "sending", "paused"})
"""States in which something may still happen by itself."""


SOURCE = "broadcast:"
"""What the source of a decision and of a message begins with; the broadcast's id follows."""
TEST = "test:"
"""The same of a test that staff send of it: it counts nowhere."""


class Script(Struct, frozen=True):
    """What one buyer's message is made of: the wording by locale and account, and how far its start may be spread."""

    text: dict[str, str]
    templates: dict[str, Template]
    given: dict[str, str]
    coupon: str
    spread_ms: Ms


class Counts(Struct, omit_defaults=True):
    """What became of a broadcast so far: planned = pending + sent + failed + skipped + in_doubt, at every look.

    `sent` counts all that reached sent or later, `delivered` what was delivered or read. `failed_by_code`: of the failures those
    whose provider told a code of its own (`rejected:21612`). `by_account` and `by_variant`:
    name → state → how many; what has no account yet (deferred, skipped) stands under "".
    """

    planned: int = 0
    pending: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    skipped: int = 0
    in_doubt: int = 0
    skipped_by_reason: dict[str, int] = field(default_factory=dict)
    failed_by_reason: dict[str, int] = field(default_factory=dict)
    failed_by_code: dict[str, int] = field(default_factory=dict)
    by_account: dict[str, dict[str, int]] = field(default_factory=dict)
    by_variant: dict[str, dict[str, int]] = field(default_factory=dict)


class Template(Struct, frozen=True, omit_defaults=True):
    """An approved provider template and the wording of its variables.

    `text` is the approved text with `${variable}`, as configured when it was written: what buyers read and what is billed.
    """

    template_id: str
    fields: dict[str, str] = field(default_factory=dict)
    text: str = ""
    longest: int = 0  # characters that a variable may have


class Recipient(Struct, frozen=True, array_like=True):
    """One buyer of a frozen audience."""

    buyer: str
    home: str
    variant: str = ""


class Audiences(Protocol):
    """Who a broadcast is for: the ledger's side of it."""

    async def freeze(self, broadcast: Broadcast, positions: Mapping[int, str]) -> int:
        """Writes down the audience once every partition is projected up to its journal position; answers its size.

        May be called again after a crash: a frozen audience is never changed. Raises NotYetError while the projection
        is behind.
        """
        ...

    async def page(self, broadcast: str, partition: int, after: str, limit: int) -> Sequence[Recipient]:
        """The next recipients of a partition, in the order of their ids."""
        ...

    async def forget(self, broadcast: str) -> None:
        """Throws a frozen audience away."""
        ...
