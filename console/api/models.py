"""The API's bodies: what `contract.md` of the project fixes, as pydantic models. Unknown fields are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

_AMOUNT = r"^\d{1,12}(\.\d{1,6})?$"


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", str_max_length=4000)


def _clean(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold NUL characters")
    text.encode("utf-8")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), AfterValidator(_clean)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60), AfterValidator(_clean)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_-]{2,32}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{12}$")]


class Money(Body):
    """An exact amount."""

    amount: Annotated[str, StringConstraints(pattern=_AMOUNT)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class CampaignIn(Body):
    """A new coupon campaign."""

    key: Key
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(_clean)]
    kind: Literal["amount_off", "percent_off", "free_shipping", "gift", "add_on_price"]
    value: Money | Annotated[str, StringConstraints(pattern=_AMOUNT)] | None = None
    min_spend: Money | Annotated[str, StringConstraints(pattern=_AMOUNT)] | None = None
    stock: Annotated[int, Field(ge=0, le=10_000_000)]
    per_buyer: Annotated[int, Field(ge=1, le=100)] = 1
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    codes: Annotated[list[Code], Field(max_length=100_000)] | None = None


class CampaignPatch(Body):
    """What may change of a campaign."""

    title: (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(_clean)]
        | None
    ) = None
    stock: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None


class ClaimIn(Body):
    """Who claims."""

    buyer: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class RedeemIn(Body):
    """The order a coupon is used for."""

    order: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_clean)
    ]


class BuyerPatch(Body):
    """Profile and tags."""

    name: Short | None = None
    birthday: (
        Annotated[str, StringConstraints(pattern=r"^((\d{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))?$")] | None
    ) = None
    gender: Literal["female", "male", "unsaid", ""] | None = None
    locale: Literal["zh-CN", "zh-TW", "en", ""] | None = None
    sizes: Annotated[dict[Short, Short], Field(max_length=20)] | None = None
    tags: Annotated[list[Short], Field(max_length=50)] | None = None


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
    vars: Annotated[dict[Short, str], Field(max_length=30)] = Field(default_factory=dict)
    accounts: Annotated[list[Annotated[str, StringConstraints(max_length=32)]], Field(max_length=20)] | None = None
    not_after: AwareDatetime | None = None


class TaskDone(Body):
    """How a task ended."""

    outcome: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_clean)
    ]
    note: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_clean)] = ""


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


class Campaign(BaseModel):
    """A campaign with its numbers."""

    key: str
    title: str
    kind: str
    value: Money | str | None
    min_spend: Money | None
    stock: int
    per_buyer: int
    starts_at: datetime | None
    ends_at: datetime | None
    valid_days: int | None
    claimed: int
    redeemed: int
    remaining: int


class Coupon(BaseModel):
    """A coupon."""

    code: str
    campaign: str
    state: Literal["claimed", "redeemed", "expired"]
    expires_at: datetime | None
    buyer: str | None = None
    order: str | None = None
