"""Messages, decisions and tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from console.api.answers.base import Answer, MoneyOut

MessageState = Literal["queued", "sending", "sent", "delivered", "read", "failed", "skipped", "in_doubt"]


class Step(Answer):
    """A state that a message reached."""

    state: MessageState
    at: datetime
    reason: str | None


class Message(Answer):
    """A message with its history."""

    id: str
    buyer: str | None
    name: str | None
    account: str | None
    to: str | None
    purpose: Literal["reply", "code", "service", "marketing"]
    state: MessageState
    reason: str | None
    text: str
    parts: int | None
    cost: MoneyOut | str
    again_of: str | None
    history: list[Step]


class RuleOut(Answer):
    """One rule that was weighed."""

    rule: str
    verdict: Literal["allow", "deny", "defer"]
    detail: str | None
    until: datetime | None


class Decision(Answer):
    """Whether a message might be sent, and why (not)."""

    message: str | None
    buyer: str | None
    source: str
    purpose: str
    outcome: Literal["send", "skip", "defer"]
    lane: str | None
    reason: str | None
    order: str | None
    rules: list[RuleOut]
    at: datetime


class Task(Answer):
    """Work for staff."""

    id: str
    kind: str
    state: Literal["open", "done", "expired"]
    buyer: str | None
    order: str | None
    due_at: datetime | None
    brief: str
    assignee: str | None
    outcome: str | None
    note: str | None
    created_at: datetime
