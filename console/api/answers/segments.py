"""Segments."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from console.api.answers.base import Answer
from console.api.answers.buyers import Buyer

FieldType = Literal["number", "money", "text", "choice", "list", "date", "days", "yes/no"]


class Segment(Answer):
    """A saved segment; `version` rises with every change."""

    id: str
    name: str
    where: dict[str, Any]
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime
    version: int


class SegmentPreview(Answer):
    """Who is in it. `as_of`: everything until then is counted; null: nothing is known yet."""

    count: int
    sample: list[Buyer]
    as_of: datetime | None


class Qualifier(Answer):
    """What a test of the field may say besides."""

    name: str
    words: str


class SegmentField(Answer):
    """One thing that can be asked of a buyer. `choices` empty: any value of the type; `least` and `most` bound numbers."""

    name: str
    type: FieldType
    operators: list[str]
    choices: list[str]
    least: int | None
    most: int | None
    qualifiers: list[Qualifier]
    label: dict[str, str]
    hint: str


class ExclusionOut(Answer):
    """A ready exclusion; title and explanation by locale."""

    name: str
    title: dict[str, str]
    explained: dict[str, str]


class Deleted(Answer):
    """It is gone."""

    id: str
    deleted: bool


class Asked(Answer):
    """It will be done."""

    asked: bool
