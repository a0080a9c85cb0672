"""Broadcasts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from console.api.answers.base import Answer, Fault, MoneyOut

Purpose = Literal["marketing", "service"]
BroadcastState = Literal["draft", "awaiting_approval", "scheduled", "sending", "paused", "done", "cancelled"]


class CountsOut(Answer):
    """planned = pending + sent + failed + skipped + in_doubt, at every look; sent counts all that reached sent or later."""

    planned: int
    pending: int
    sent: int
    delivered: int
    read: int
    failed: int
    skipped: int
    in_doubt: int


class StageOut(Answer):
    """A state that it came into: when, by whom ("engine": by itself), and why where it was paused or cancelled."""

    state: BroadcastState
    at: datetime
    by: str
    why: str | None


class TemplateOut(Answer):
    """An approved template and what its variables say."""

    template_id: str
    fields: dict[str, str]


class VariantOut(Answer):
    """One way to say it, and what became of it: state → how many."""

    name: str
    weight: int
    where: Any
    text: dict[str, str]
    counts: dict[str, int]


class RepeatOut(Answer):
    """Weekly, by the shop's clock."""

    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    at: str
    until: datetime | None
    next_at: datetime | None
    missed: int


class Progress(Answer):
    """How far it is. `per_second` since it began; null where nothing can be said yet."""

    done: int
    total: int
    per_second: float | None
    seconds_left: int | None


class Warned(Fault):
    """What is worth knowing about a field; `rule` as in docs/broadcasts.md, `args` what its words name."""

    rule: str
    args: dict[str, str]


class BroadcastOut(Answer):
    """A broadcast, where it stands, and what became of it."""

    id: str
    title: str
    purpose: Purpose
    state: BroadcastState
    why: str | None
    where: Any
    segment: str | None
    text: dict[str, str]
    accounts: list[str]
    templates: dict[str, TemplateOut]
    variants: list[VariantOut]
    exclude: list[str]
    items: list[str]
    coupon: str | None
    holdout_percent: int
    rate_per_second: float | None
    send_at: datetime | None
    not_after: datetime | None
    repeat: RepeatOut | None
    parent: str | None
    round: int
    created_at: datetime
    created_by: str
    submitted_by: str | None
    submitted_at: datetime | None
    approved_by: str | None
    approved_at: datetime | None
    changed_by: str | None
    recipients: int | None
    undo_until: datetime | None
    started_at: datetime | None
    done_at: datetime | None
    history: list[StageOut]
    version: int
    counts: CountsOut
    skipped_by_reason: dict[str, int]
    failed_by_reason: dict[str, int]
    failed_by_code: dict[str, int]
    by_account: dict[str, dict[str, int]]
    progress: Progress
    warnings: list[Warned]


class SampleOut(Answer):
    """What one of the audience would get: the text on an account, or why not, or until when it waits."""

    buyer: str
    name: str
    outcome: Literal["send", "skip", "defer"]
    account: str | None
    text: str | None
    reason: str | None
    until: datetime | None


class CaseOut(Answer):
    """The dearest text of an account, filled with long values."""

    account: str
    locale: str | None
    variant: str | None
    text: str
    length: int
    unit: Literal["characters", "bytes"]
    limit: int | None
    parts: int | None
    encoding: str | None
    per_part: MoneyOut | str | None
    cost: MoneyOut | str | None


class Preview(Answer):
    """What would happen. `looked_at`: how many of the audience were weighed one by one; all, where it is as many as `count`.

    Of a larger one the ledger counts `would_send`, `would_wait` and `would_skip`. `excluded`: by switch, whom it leaves out. `by_variant`: how
    many read which; "" is the broadcast's own text. `alone`: nobody but the caller may approve, so the count is typed.
    """

    count: int
    looked_at: int
    holdout: int
    excluded: dict[str, int]
    would_send: dict[str, int]
    would_wait: dict[str, int]
    would_skip: dict[str, int]
    by_variant: dict[str, int]
    without_value: dict[str, int]
    sample: list[SampleOut]
    cases: list[CaseOut]
    faults: list[Warned]
    warnings: list[Warned]
    needs_approval: bool
    alone: bool


class TrialOut(Answer):
    """The tests that were sent, by message id."""

    ids: list[str]
