"""The catalogue's rules: events in any order end in one record; look-ups find what is offered and nothing else."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import products, subjects
from bot.codec import dump_record, load_record
from bot.events import Event, Money, ProductFacts, ShopEvent, SizeRow, VariantFacts
from bot.records import Product

SUBJECT = subjects.product("main", "31")
WORDS = st.sampled_from(["", "亚麻衬衫", "羊毛大衣", "Linen shirt"])
STOCKS = st.sampled_from([None, 0, 1, 7])
PRICES = st.sampled_from([None, Money(Decimal("188.00"), "CNY"), Money(Decimal(88), "CNY")])
VARIANTS = st.lists(
    st.builds(
        VariantFacts, st.sampled_from(["A", "B", "C"]), st.sampled_from(["", "S", "M"]), st.just(""), PRICES, STOCKS
    ),
    max_size=3,
    unique_by=lambda variant: variant.sku,
).map(tuple)
FACTS = st.builds(
    ProductFacts,
    id=st.just("31"),
    title=WORDS,
    short_title=WORDS,
    care=WORDS,
    categories=st.sampled_from([None, (), ("上装",)]),
    size_chart=st.sampled_from([None, (), (SizeRow("M", {"bust": "84-88"}),)]),
    variants=st.none() | VARIANTS,
    whole=st.booleans(),
    adds=st.booleans(),
)
EVENTS = st.builds(
    lambda kind, facts, version, seq: Event(
        "", SUBJECT, "main", version, version, ShopEvent(kind, "main", version, version, seq, product=facts)
    ),
    st.sampled_from(["product.upserted", "product.upserted", "product.removed", "stock.changed", "price.changed"]),
    FACTS,
    st.integers(1, 4),
    st.integers(0, 1),
)


def folded(events) -> Product:
    product = None
    for event in events:
        product = products.apply(product, event)
    return product


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_in_one_record(events, random):
    """Upserts, removals, stocks and prices, of one time and of several, repeated and shuffled."""
    mixed = [*events, *events[:2]]
    random.shuffle(mixed)
    straight, other = folded(events), folded(mixed)
    assert straight == other
    assert load_record(dump_record(straight)) == straight


def event(kind: str, version: int, **facts) -> Event:
    return Event(
        "", SUBJECT, "main", version, version, ShopEvent(kind, "main", version, product=ProductFacts("31", **facts))
    )


SHIRT = {"title": "亚麻宽松衬衫", "variants": (VariantFacts("LS-M", "M", stock=2), VariantFacts("LS-S", "S", stock=0))}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_removed_product_comes_back_by_a_newer_upsert_only(order):
    """Neither an older upsert nor a stock brings it back, whichever comes last."""
    told = [event("product.upserted", 1, **SHIRT), event("product.removed", 3), event("product.upserted", 2, **SHIRT),
            event("stock.changed", 9, variants=(VariantFacts("LS-M", stock=5),))]  # fmt: skip
    product = folded([told[i] for i in order])
    assert not products.is_offered(product)
    assert products.entry(product) == b""
    back = products.apply(product, event("product.upserted", 4, title="亚麻宽松衬衫"))
    assert products.is_offered(back)
    assert {variant.sku: variant.stock for variant in products.offered(back)} == {"LS-S": 0, "LS-M": 5}


def test_a_stock_that_comes_before_its_product_counts():
    """And a variant that the newest list left out is not offered, but keeps its facts."""
    product = folded(
        [
            event("stock.changed", 5, variants=(VariantFacts("LS-M", stock=9), VariantFacts("OLD", stock=4))),
            event("product.upserted", 3, **SHIRT),
        ]
    )
    assert [(v.sku, v.size, v.stock) for v in products.offered(product)] == [("LS-S", "S", 0), ("LS-M", "M", 9)]
    assert products.stock_of(products.offered(product)) == 9


def test_what_is_said_of_an_item():
    """A whole product has its lowest price and all its pieces; a SKU its own; unknown stock is None, never 0."""
    cheap, dear = Money(Decimal(88), "CNY"), Money(Decimal(188), "CNY")
    variants = (VariantFacts("A", "S", price=dear, stock=3), VariantFacts("B", "M", price=cheap))
    product = folded([event("product.upserted", 1, title="大衣", variants=variants)])
    whole, one, other = (products.view(product, ref) for ref in ("31", "A", "B"))
    assert (whole.price, whole.stock, whole.sku) == (cheap, 3, "")
    assert (one.price, one.stock, one.sku) == (dear, 3, "A")
    assert (other.price, other.stock) == (cheap, None)


def test_sizes_stand_in_their_order():
    """Letters by size, numbers by number; spellings are one."""
    assert sorted(["XL", "s", "2XL", "M", "XXS"], key=products.size_rank) == ["XXS", "s", "M", "XL", "2XL"]
    assert sorted(["170/92A", "38", "9.5"], key=products.size_rank) == ["9.5", "38", "170/92A"]
    assert products.same_size("2xl") == "XXL" == products.same_size("ＸＸＬ码")
