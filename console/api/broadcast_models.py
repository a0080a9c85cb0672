"""The bodies of broadcasts. Unknown fields are refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from bot.locales import LOCALES
from bot.phrases import MOST_ITEMS
from console.api.models import Body, Key, Title, When, Word, clean

MOST_WORDS = 4000
MOST_VARIANTS = 8
MOST_SECOND = 1000
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Locale = Literal["zh-CN", "zh-TW", "en"]
assert set(LOCALES) == set(Locale.__args__)  # type: ignore[attr-defined]
Wording = Annotated[str, StringConstraints(max_length=MOST_WORDS), AfterValidator(clean)]
Words = Annotated[dict[Locale, Wording], Field(max_length=len(LOCALES))]
Account = Annotated[str, StringConstraints(min_length=1, max_length=32)]
Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(clean)]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]
Where = Annotated[dict[str, Any], Field(max_length=1)]
"""The conditions of a segment: `{"all": […]}` or `{"any": […]}`; what they hold is read with the segments."""


def _fits(pattern: str, words: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(words)
        return value

    return AfterValidator(check)


VariantName = Annotated[
    str,
    StringConstraints(max_length=32),
    _fits(r"[A-Za-z0-9_-]{1,32}", "must be 1 to 32 of a-z, A-Z, 0-9, _ and -"),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"}),
]
FieldName = Annotated[
    str,
    _fits(r"\w{1,40}", "must be the name of a variable of the template: letters, digits, _"),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_]{1,40}$"}),
]
Clock = Annotated[
    str,
    _fits(r"([01]\d|2[0-3]):[0-5]\d", 'must be a time of the day, such as "10:00"'),
    WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}),
]


class TemplateIn(Body):
    """An approved template and what its variables say."""

    template_id: Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(clean)]
    fields: Annotated[dict[FieldName, Wording], Field(max_length=30)] = Field(default_factory=dict)


class VariantIn(Body):
    """One way to say it: for whom `where` holds, else by `weight` among the rest."""

    name: VariantName
    weight: Annotated[int, Field(strict=True, ge=0, le=1000)] = 1
    where: Where | None = None
    text: Words = Field(default_factory=dict)


class RepeatIn(Body):
    """Weekly, by the shop's clock."""

    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    at: Clock
    until: When | None = None


class BroadcastPatch(Body):
    """What may change of a draft. `version`: the one that was read; if somebody was faster it is a 409."""

    title: Title | None = None
    where: Where | None = None
    segment: Id | None = None
    purpose: Literal["marketing", "service"] | None = None
    text: Words | None = None
    accounts: Annotated[list[Account], Field(min_length=1, max_length=20)] | None = None
    send_at: When | None = None
    not_after: When | None = None
    rate_per_second: Annotated[float, Field(strict=True, ge=0, le=MOST_SECOND)] | None = None
    holdout_percent: Annotated[int, Field(strict=True, ge=0, le=90)] | None = None
    variants: Annotated[list[VariantIn], Field(max_length=MOST_VARIANTS)] | None = None
    templates: Annotated[dict[Account, TemplateIn], Field(max_length=20)] | None = None
    exclude: Annotated[list[Word], Field(max_length=20)] | None = None
    items: Annotated[list[Id], Field(max_length=MOST_ITEMS)] | None = None
    coupon: Key | Literal[""] | None = None
    repeat: RepeatIn | None = None
    version: Count | None = None

    @model_validator(mode="after")
    def _one_audience(self) -> BroadcastPatch:
        if self.where is not None and self.segment is not None:
            raise ValueError("give where or segment, one of them")
        return self


class BroadcastIn(BroadcastPatch):
    """A new broadcast."""

    title: Title
    purpose: Literal["marketing", "service"]
    accounts: Annotated[list[Account], Field(min_length=1, max_length=20)]


class PreviewIn(BroadcastPatch):
    """A broadcast as it would be; or one that exists, by its id, with what is to be different."""

    id: Id | None = None
    sample: Annotated[int, Field(strict=True, ge=0, le=50)] = 10


class Seen(Body):
    """What the caller has seen. `confirm`: the count of its recipients, typed by who approves alone."""

    version: Count | None = None
    confirm: Count | None = None


class ReceiverIn(Body):
    """Who gets a test: a buyer, a number, or an address as ACCOUNT:ID."""

    buyer: Id | None = None
    phone: Annotated[str, StringConstraints(min_length=3, max_length=32)] | None = None
    address: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> ReceiverIn:
        if sum(value is not None for value in (self.buyer, self.phone, self.address)) != 1:
            raise ValueError("give buyer, phone or address, one of them")
        return self


class TrialIn(Body):
    """A test send. `variant`: which way to say it; none: the broadcast's own text."""

    to: Annotated[list[ReceiverIn], Field(min_length=1, max_length=10)]
    variant: VariantName | Literal[""] = ""
