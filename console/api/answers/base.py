"""What all answers share: pages, problems, money, and the short ones."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Answer(BaseModel):
    """An answer: every field is always there."""

    model_config = ConfigDict(extra="forbid")


class Page(Answer, Generic[T]):
    """One page of a list; `next_cursor` null: the last one."""

    items: list[T]
    next_cursor: str | None


class Fault(Answer):
    """What is wrong with one field."""

    field: str
    detail: str


class Problem(BaseModel):
    """RFC 9457; `type` ends in the kind, which docs/problems.md explains."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class MoneyOut(Answer):
    """An exact amount."""

    amount: str
    currency: str


class Taken(Answer):
    """It was taken in."""

    id: str


class Accepted(Answer):
    """How many events are new, and how many were known."""

    accepted: int
    duplicates: int
