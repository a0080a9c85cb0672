"""The product section of an envelope's data: typed facts, or a PayloadError that names the field by its full path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.errors import PayloadError
from bot.events import MOST_VARIANTS, ProductFacts, SizeRow, VariantFacts, short_limit
from shops.standard.sections import id_of, money_of, section, url_of, within

MOST_WORDS = 30
MOST_ROWS = 60
MOST_MEASURES = 12
MOST_STOCK = 1_000_000_000


def product_facts(data: Mapping[str, Any]) -> ProductFacts:
    """What is said of the product."""
    short_title = id_of(data, "short_title")
    if len(short_title) > (limit := short_limit(short_title)):
        raise PayloadError(f"short_title has {len(short_title)} characters; at most {limit}", field="short_title")
    chart = _list(data, "size_chart", MOST_ROWS)
    variants = _list(data, "variants", MOST_VARIANTS)
    return ProductFacts(
        id=id_of(data, "id", 100),
        title=id_of(data, "title"),
        short_title=short_title,
        url=url_of(data, "url"),
        image_url=url_of(data, "image_url"),
        categories=_words(data, "categories"),
        style_tags=_words(data, "style_tags"),
        care=id_of(data, "care", 500),
        size_chart=None if chart is None else tuple(_row(one, i) for i, one in enumerate(chart)),
        variants=None if variants is None else _variants(variants),
    )


def _list(data: Mapping[str, Any], name: str, most: int) -> Sequence[Any] | None:
    found = data.get(name)
    if found is None:
        return None
    if not isinstance(found, list):
        raise PayloadError(f"{name} must be a list", field=name)
    if len(found) > most:
        raise PayloadError(f"{name} holds {len(found)}; at most {most}", field=name)
    return found


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PayloadError(f"{name} must be an object", field=name)
    return value


def _words(data: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    found = _list(data, name, MOST_WORDS)
    if found is None:
        return None
    for i, word in enumerate(found):
        if not isinstance(word, str) or not 0 < len(word.strip()) <= 60:
            raise PayloadError(f"{name}.{i} must be text of 1 to 60 characters", field=f"{name}.{i}")
    return tuple(dict.fromkeys(word.strip() for word in found))


def _row(value: Any, position: int) -> SizeRow:
    where = f"size_chart.{position}"
    row = _object(value, where)
    with within(where):
        size = id_of(row, "size", 30)
        if not size:
            raise PayloadError("size is missing", field="size")
        measures = section(row, "measures") or {}
        if len(measures) > MOST_MEASURES:
            raise PayloadError(f"measures holds {len(measures)}; at most {MOST_MEASURES}", field="measures")
        return SizeRow(size, {name.strip()[:30]: id_of(measures, name, 30) for name in measures})


def _variants(found: Sequence[Any]) -> tuple[VariantFacts, ...]:
    out: dict[str, VariantFacts] = {}
    for i, value in enumerate(found):
        where = f"variants.{i}"
        one = _object(value, where)
        with within(where):
            variant = _variant(one)
            if variant.sku in out:
                raise PayloadError(f"sku {variant.sku!r} stands twice", field="sku")
            out[variant.sku] = variant
    return tuple(out.values())


def _variant(one: Mapping[str, Any]) -> VariantFacts:
    sku = id_of(one, "sku", 100)
    if not sku:
        raise PayloadError("sku is missing", field="sku")
    options = section(one, "options") or {}
    with within("options"):
        size, color = id_of(options, "size", 30), id_of(options, "color", 30)
    return VariantFacts(sku, size, color, money_of(one, "price"), _stock(one))


def _stock(one: Mapping[str, Any]) -> int | None:
    found = one.get("stock")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or abs(found) > MOST_STOCK:
        raise PayloadError("stock must be a whole number", field="stock")
    return max(0, found)  # a shop that sold more than it had counts below nothing


def missing(kind: str, product: ProductFacts) -> str:
    """Which fact of a variant an event about stock or price lacks, as a path below `product`; "" for none."""
    fact = kind.partition(".")[0]
    if fact in ("stock", "price"):
        for i, one in enumerate(product.variants or ()):
            if getattr(one, fact) is None:
                return f"variants.{i}.{fact}"
    return ""
