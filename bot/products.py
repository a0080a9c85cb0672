"""A catalogue's product: facts folded into its record, in any order of arrival, and what can be said of it. Pure.

Each fact is kept in its newest version; of two facts of one version the same one wins whichever came first (of two stocks
the lower). A variant is offered while the last list of variants holds it; a product while nothing newer removed it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from bot.events import Event, Money, ProductFacts, ShopEvent, VariantFacts
from bot.records import Product, Variant, Version

MOST_KEPT = 1000
NEVER: Version = (0, -1)
_TEXTS = ("title", "short_title", "url", "image_url", "care")
_LISTS = ("categories", "style_tags", "size_chart")
_SIZES = ("XXXS", "XXS", "XS", "S", "M", "L", "XL", "XXL", "XXXL", "4XL", "5XL", "6XL")
_SAME_SIZE = {"2XL": "XXL", "3XL": "XXXL", "2XS": "XXS", "3XS": "XXXS", "均码": "FREE", "均碼": "FREE", "F": "FREE"}


class ItemView(Struct, frozen=True):
    """What a campaign, a broadcast or a page may say of the product or variant that `ref` (an id or a SKU) names.

    `price` is the lowest that is offered; `stock` the pieces of all that is meant, None where the shop does not say.
    """

    ref: str
    shop: str
    id: str
    title: str
    short_title: str = ""
    url: str = ""
    sku: str = ""
    price: Money | None = None
    stock: int | None = None
    removed: bool = False


# --- facts ------------------------------------------------------------------------------------------------------------


def apply(product: Product | None, event: Event) -> Product:
    """The product after a shop event about it."""
    body = event.body
    assert isinstance(body, ShopEvent)
    _, shop, id = event.subject.split(":", 2)
    if product is None:
        product = Product(id=id, shop=shop, subject=event.subject, created_at=event.at)
    product.created_at = min(product.created_at, event.at)
    version = (body.version or body.occurred_at or event.at, body.seq)
    facts = body.product
    if body.kind == "product.removed":
        product.removed = max(product.removed, version)
    elif body.kind == "product.returned":
        for reason, pieces in body.data.items():
            product.returned[reason] = product.returned.get(reason, 0) + int(pieces)
    elif facts is not None and body.kind == "product.upserted":
        product.upserted = max(product.upserted, version)
        _learn(product, facts, version)
    elif facts is not None:
        for one in facts.variants or ():
            _variant_facts(_variant(product, one.sku), one, version, whole=False)
    product.variants = _kept(product.variants)
    return product


def _learn(product: Product, facts: ProductFacts, version: Version) -> None:
    for name in _TEXTS:
        if (value := getattr(facts, name)) or facts.whole:
            _set(product, product.known, name, value, version)
    for name in _LISTS:
        value = getattr(facts, name)
        if value is not None or facts.whole:
            _set(product, product.known, name, value or (), version)
    if facts.variants is None and not facts.whole:
        return
    if not facts.adds:
        product.listed = max(product.listed, version)
    for one in facts.variants or ():
        variant = _variant(product, one.sku)
        variant.listed = max(variant.listed, version)
        _variant_facts(variant, one, version, whole=facts.whole)


def _variant(product: Product, sku: str) -> Variant:
    found = next((variant for variant in product.variants if variant.sku == sku), None)
    if found is None:
        found = Variant(sku)
        product.variants.append(found)
    return found


def _variant_facts(variant: Variant, facts: VariantFacts, version: Version, *, whole: bool) -> None:
    for name in ("size", "color"):
        if (text := getattr(facts, name)) or whole:
            _set(variant, variant.known, name, text, version)
    for name in ("price", "stock"):
        value = getattr(facts, name)
        if value is not None or whole:
            _set(variant, variant.known, name, value, version)


def _set(target: Product | Variant, known: dict[str, Version], name: str, value: object, version: Version) -> None:
    before = known.get(name)
    if before is not None and (before, _order(name, getattr(target, name))) > (version, _order(name, value)):
        return
    setattr(target, name, value)
    known[name] = version


def _order(name: str, value: object) -> bytes | int:
    """Which of two values of one version is kept: the greater by this. A lower stock promises less."""
    if name == "stock":
        return -1 - value if isinstance(value, int) else 0
    return msgspec.msgpack.encode(value, enc_hook=str)


def _kept(variants: list[Variant]) -> list[Variant]:
    """The variants by their SKUs; of more than can be the latest."""
    if len(variants) > MOST_KEPT:
        newest = sorted(variants, key=lambda v: (v.listed, max(v.known.values(), default=(0, -1)), v.sku), reverse=True)
        variants = newest[:MOST_KEPT]
    return sorted(variants, key=lambda variant: variant.sku)


# --- questions --------------------------------------------------------------------------------------------------------


def is_offered(product: Product) -> bool:
    """Whether the shop offers it: it has a name, and nothing newer removed it."""
    return bool(product.title) and product.upserted > product.removed


def offered(product: Product) -> list[Variant]:
    """The variants that the shop offers, in the order of their sizes."""
    found = [v for v in product.variants if product.listed == NEVER or v.listed >= product.listed]
    return sorted(found, key=lambda v: (v.color, size_rank(v.size), v.size, v.sku))


def stock_of(variants: Sequence[Variant]) -> int | None:
    """The pieces there are of some variants; None where the shop does not say of one and the others are gone."""
    known = [max(0, v.stock) for v in variants if v.stock is not None]
    total = sum(known)
    return total if total or len(known) == len(variants) else None


def stocked(product: Product | None) -> set[str]:
    """The SKUs that are offered and there."""
    if product is None or not is_offered(product):
        return set()
    return {variant.sku for variant in offered(product) if variant.stock is not None and variant.stock > 0}


def price_of(variants: Sequence[Variant]) -> Money | None:
    """The lowest price of some variants, None where none is known, or they are in different currencies."""
    prices = [v.price for v in variants if v.price is not None]
    if not prices or len({price.currency for price in prices}) > 1:
        return None
    return min(prices, key=lambda price: price.amount)


def view(product: Product, ref: str) -> ItemView:
    """The product as campaigns and broadcasts speak of it; one variant where `ref` is its SKU."""
    variants = offered(product)
    one = [variant for variant in variants if variant.sku == ref] if ref != product.id else []
    meant = one or variants
    return ItemView(
        ref=ref,
        shop=product.shop,
        id=product.id,
        title=product.title,
        short_title=product.short_title,
        url=product.url,
        sku=one[0].sku if one else "",
        price=price_of(meant),
        stock=stock_of(meant) if meant else None,
        removed=not is_offered(product),
    )


def size_rank(size: str) -> tuple[int, float]:
    """Where a size stands among others: letters from small to large, then numbers, then the rest."""
    name = same_size(size)
    if name in _SIZES:
        return 0, _SIZES.index(name)
    digits = name.split("/")[0]
    if digits.replace(".", "", 1).isdigit() and digits.isascii():
        return 1, float(digits)
    return 2, 0.0


def same_size(size: str) -> str:
    """A size's one spelling: `2xl` is XXL, `Ｍ码` is M."""
    name = unicodedata.normalize("NFKC", size).strip().upper()
    if name not in _SAME_SIZE and len(name) > 1 and name[-1] in "码碼号號":
        name = name[:-1].strip()
    return _SAME_SIZE.get(name, name)


# --- what it is found by ----------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Width and case folded, blanks made one: how names and SKUs are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def entry(product: Product | None) -> bytes:
    """What a product is found by, as the catalogue's index keeps it; b"" for one that is not offered."""
    if product is None or not is_offered(product):
        return b""
    skus = [fold(variant.sku) for variant in offered(product)]
    return msgspec.msgpack.encode((fold(product.title), fold(product.short_title), skus, product.short_title))
