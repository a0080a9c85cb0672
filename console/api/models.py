"""The API's bodies: what `contract.md` of the project fixes, as pydantic models. Unknown fields are refused."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from bot.config import CURRENCIES
from bot.coupons import ALPHABET
from bot.events import MOST_VARIANTS, SHORT, SHORT_LATIN, short_limit

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_AMOUNT = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_BIRTHDAY = r"^(([0-9]{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?$"


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", str_max_length=4000)


def clean(text: str) -> str:
    """A text that can be stored and shown. Raises ValueError."""
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters; line breaks are fine")
    text.encode("utf-8")
    return text


def _time(value: object) -> object:
    """Text in RFC 3339 only: the library would also take seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time in RFC 3339 with its offset, such as 2026-10-01T02:00:00Z")
    return value


When = Annotated[AwareDatetime, BeforeValidator(_time)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), AfterValidator(clean)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60), AfterValidator(clean)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60), AfterValidator(clean)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_-]{2,32}$")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(clean)]
Stock = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
Code = Annotated[str, StringConstraints(pattern=f"^[{ALPHABET}]{{12}}$")]
"""12 of A to Z and 2 to 9 without I and O, as the codes that the gateway makes."""


Ref = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(clean)]
Items = Annotated[list[Ref], Field(max_length=50)]
"""Products by their ids or SKUs."""


def _real_day(text: str) -> str:
    year, _, day = ("2000-" + text if len(text) == 5 else text).partition("-") if text else ("", "", "")
    if text:
        try:
            date.fromisoformat(f"{year}-{day}")
        except ValueError:
            raise ValueError("there is no such day") from None
    return text


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("must be the code of a currency, such as CNY")
    return code


class Money(Body):
    """An exact amount."""

    amount: Annotated[str, StringConstraints(pattern=_AMOUNT)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_known_currency)]


class CampaignIn(Body):
    """A new coupon campaign."""

    key: Key
    title: Title
    kind: Literal["amount_off", "percent_off", "free_shipping", "gift", "add_on_price"]
    value: Money | Annotated[str, StringConstraints(pattern=_AMOUNT)] | None = None
    min_spend: Money | Annotated[str, StringConstraints(pattern=_AMOUNT)] | None = None
    stock: Stock | None = None  # may be left out beside `codes`: then it is as many as these
    per_buyer: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    starts_at: When | None = None
    ends_at: When | None = None
    valid_days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None
    codes: Annotated[list[Code], Field(max_length=100_000)] | None = None
    items: Items | None = None


class CampaignPatch(Body):
    """What may change of a campaign."""

    title: Title | None = None
    stock: Stock | None = None
    per_buyer: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    min_spend: Money | Annotated[str, StringConstraints(pattern=_AMOUNT)] | None = None
    starts_at: When | None = None
    ends_at: When | None = None
    valid_days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None
    items: Items | None = None


class ClaimIn(Body):
    """Who claims."""

    buyer: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class MeasuredIn(Body):
    """One line of a size chart."""

    size: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=30), AfterValidator(clean)]
    measures: Annotated[dict[Word, Short], Field(max_length=12)] = Field(default_factory=dict)


class OptionsIn(Body):
    """What tells variants apart."""

    size: Annotated[str, StringConstraints(strip_whitespace=True, max_length=30), AfterValidator(clean)] | None = None
    color: Annotated[str, StringConstraints(strip_whitespace=True, max_length=30), AfterValidator(clean)] | None = None


class VariantIn(Body):
    """One variant of a product."""

    sku: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(clean)]
    options: OptionsIn = Field(default_factory=OptionsIn)
    price: Money | None = None
    stock: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] | None = None


def _short_enough(text: str) -> str:
    if len(text) > short_limit(text):
        raise ValueError(f"has {len(text)} characters; at most {SHORT}, or {SHORT_LATIN} Latin ones")
    return text


def _each_once(variants: list[VariantIn]) -> list[VariantIn]:
    names = [variant.sku for variant in variants]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"sku {twice!r} stands twice")
    return variants


Address = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^https?://"), AfterValidator(clean)
]


class ProductIn(Body):
    """A whole product: what is left out is empty."""

    id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] | None = None
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(clean)]
    short_title: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, max_length=SHORT_LATIN),
            AfterValidator(clean),
            AfterValidator(_short_enough),
        ]
        | None
    ) = None
    url: Address | None = None
    image_url: Address | None = None
    categories: Annotated[list[Word], Field(max_length=30)] = Field(default_factory=list)
    style_tags: Annotated[list[Word], Field(max_length=30)] = Field(default_factory=list)
    care: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(clean)] | None = None
    size_chart: Annotated[list[MeasuredIn], Field(max_length=60)] = Field(default_factory=list)
    variants: Annotated[list[VariantIn], Field(max_length=MOST_VARIANTS), AfterValidator(_each_once)] = Field(
        default_factory=list
    )


class RedeemIn(Body):
    """The order a coupon is used for."""

    order: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(clean)]


class BuyerPatch(Body):
    """Profile and tags."""

    name: Short | None = None
    birthday: Annotated[str, StringConstraints(pattern=_BIRTHDAY), AfterValidator(_real_day)] | None = None
    gender: Literal["female", "male", "unsaid", ""] | None = None
    locale: Literal["zh-CN", "zh-TW", "en", ""] | None = None
    sizes: Annotated[dict[Word, Short], Field(max_length=20)] | None = None
    tags: Annotated[list[Word], Field(max_length=50)] | None = None


class MergeIn(Body):
    """The buyer to merge into."""

    into: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class ConsentIn(Body):
    """A consent that was given elsewhere, with its evidence."""

    account: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    id: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    topic: Literal["marketing", "service", "calls"]
    verdict: Literal["granted", "refused", "unknown"]
    evidence: Text


class MessageIn(Body):
    """A message to one buyer."""

    buyer: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    phone: Annotated[str, StringConstraints(min_length=3, max_length=32)] | None = None
    purpose: Literal["service", "marketing"]
    text: Text | None = None
    wording: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,60}$")] | None = None
    vars: Annotated[dict[Word, Text], Field(max_length=30)] = Field(default_factory=dict)
    accounts: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=32)]], Field(min_length=1, max_length=20)
        ]
        | None
    ) = None
    not_after: When | None = None


class TaskDone(Body):
    """How a task ended."""

    outcome: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(clean)
    ]
    note: Annotated[str, StringConstraints(max_length=2000), AfterValidator(clean)] = ""


Where = Annotated[
    dict[str, Any],
    Field(
        min_length=1,
        max_length=1,
        description="conditions: docs/segments.md; GET /segments/fields lists what can be asked",
    ),
]
"""Conditions of a segment, read by `ledger.segments`."""
Version = Annotated[int, Field(strict=True, ge=1, le=999_999_999)]


class WhereIn(Body):
    """Whom to look for."""

    where: Where


class SegmentIn(Body):
    """A segment to be saved."""

    name: Title
    where: Where


class SegmentPatch(Body):
    """What may change of a saved segment. `version`: the one that was read; 409 if somebody changed it since."""

    name: Title | None = None
    where: Where | None = None
    version: Version | None = None
