"""Products."""

from __future__ import annotations

from datetime import datetime

from console.api.answers.base import Answer, MoneyOut


class Measured(Answer):
    """One line of a size chart."""

    size: str
    measures: dict[str, str]


class VariantOptions(Answer):
    """What tells variants apart."""

    size: str | None
    color: str | None


class Variant(Answer):
    """One variant; `stock` null: the shop does not say."""

    sku: str
    options: VariantOptions
    price: MoneyOut | None
    stock: int | None


class Product(Answer):
    """A product of a shop's catalogue; `returned` counts the pieces that came back, by reason."""

    id: str
    shop: str
    title: str
    short_title: str
    url: str | None
    image_url: str | None
    categories: list[str]
    style_tags: list[str]
    care: str | None
    size_chart: list[Measured]
    variants: list[Variant]
    stock: int | None
    removed: bool
    returned: dict[str, int]
    updated_at: datetime | None


class Waiting(Answer):
    """A buyer who asked to be told that a product, or one variant of it, is back."""

    buyer: str
    sku: str | None
    since: datetime | None
