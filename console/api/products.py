"""The product catalogue: look-ups, one product by the shop system's own id, and who waits for it."""

from __future__ import annotations

import secrets
import time
from decimal import Decimal
from typing import Any

from bot import products, subjects
from bot.events import Event, Money, ProductFacts, ShopEvent, SizeRow, VariantFacts
from bot.records import Product
from console.api import shapes
from console.api.http import Call
from console.api.models import ProductIn
from console.api.refusals import Refusal
from console.api.shared import bad_cursor, done, page

ID = 100


async def list_products(call: Call) -> tuple[int, Any]:
    """GET /products: those that are offered, by words of their names or by SKU."""
    shop = _shop_asked(call)
    if sku := call.query("sku"):
        found = await call.deps.catalogue.by_sku(sku, shop)
        return 200, page(found[: call.limit], call.limit, lambda product: product.subject, shapes.product)
    after = call.query("cursor")
    if after and not after.startswith("product:"):
        raise bad_cursor()
    found = await call.deps.catalogue.page(call.query("q"), shop=shop, after=after, limit=call.limit + 1)
    return 200, page(found, call.limit, lambda product: product.subject, shapes.product)


async def get_product(call: Call) -> tuple[int, Any]:
    """GET /products/{id}: one that was removed, too."""
    return 200, shapes.product(await _product(call))


async def put_product(call: Call) -> tuple[int, Any]:
    """PUT /products/{id}: the whole product as it is now; what is left out is empty."""
    id, shop = _id(call), _shop_of_write(call)
    if call.body.id not in (None, id):
        raise Refusal(400, "bad-body", f"id: must be {id}, as in the path", field_name="id")
    before = await call.deps.catalogue.get(shop, id)
    await _tell(call, shop, "product.upserted", _facts(id, call.body))
    found = await call.deps.catalogue.get(shop, id)
    if found is None:
        raise Refusal(503, "not-storing", "taken in; its turn has not come yet, ask again")
    new = before is None or not products.is_offered(before)
    return (201 if new else 200), shapes.product(found)


async def delete_product(call: Call) -> tuple[int, Any]:
    """DELETE /products/{id}: it is offered no more; who waits for it is kept."""
    product = await _product(call)
    await _tell(call, product.shop, "product.removed", ProductFacts(product.id))
    return 200, shapes.product(await call.deps.catalogue.get(product.shop, product.id) or product)


async def list_waiting(call: Call) -> tuple[int, Any]:
    """GET /products/{id}/waiting: who asked to be told that it is back, the first first."""
    product = await _product(call)
    rows = await call.deps.catalogue.waiting(product)
    if cursor := call.query("cursor"):
        at, _, rest = cursor.partition(".")
        buyer, _, sku = rest.partition(".")
        if not at.isdecimal() or not at.isascii() or not buyer:
            raise bad_cursor()
        rows = [row for row in rows if row > (int(at), buyer, sku)]
    found = page(rows, call.limit, lambda row: ".".join(map(str, row)), lambda row: row)
    items = []
    for at, buyer, sku in found["items"]:
        known = await call.deps.queries.buyer(buyer)
        if known is not None and not known.erased:
            items.append({"buyer": known.id, "sku": sku or None, "since": shapes.when(at)})
    return 200, {"items": items, "next_cursor": found["next_cursor"]}


# --- what they share --------------------------------------------------------------------------------------------------


def _id(call: Call) -> str:
    id = call.request.match_info["id"].strip()
    if not id or len(id) > ID:
        raise Refusal(400, "bad-parameter", f"id must have 1 to {ID} characters", field_name="id")
    return id


def _shop_asked(call: Call) -> str:
    shop = call.query("shop")
    if shop and shop not in call.deps.envelopes:
        known = ", ".join(call.deps.envelopes) or "none"
        raise Refusal(400, "bad-parameter", f"shop must be one of {known}", field_name="shop")
    return shop


def _shop_of_write(call: Call) -> str:
    names = list(call.deps.envelopes)
    if not names:
        raise Refusal(400, "bad-parameter", "no shop is configured: add [shops.<name>]", field_name="shop")
    if shop := _shop_asked(call):
        return shop
    if len(names) > 1:
        raise Refusal(400, "bad-parameter", f"shop is missing: one of {', '.join(names)}", field_name="shop")
    return names[0]


async def _product(call: Call) -> Product:
    """The product of the path. Raises Refusal: 404; 400 where several shops have one of this id and none is named."""
    id, shop = _id(call), _shop_asked(call)
    names = [shop] if shop else list(call.deps.envelopes)
    found = await call.deps.store.records(subjects.product(name, id) for name in names)
    known = [record for record in found.values() if isinstance(record, Product) and record.title]
    if not known:
        raise Refusal(404, "not-found", "there is no product with this id")
    if len(known) > 1:
        shops = ", ".join(record.shop for record in known)
        raise Refusal(400, "bad-parameter", f"shop is missing: {shops} have this id", field_name="shop")
    return known[0]


async def _tell(call: Call, shop: str, kind: str, facts: ProductFacts) -> None:
    now = call.deps.clock.now()
    seq = time.time_ns() // 1000  # of two writes of one millisecond the later counts
    body = ShopEvent(kind, shop, now, now, seq, product=facts)
    id = f"api|{call.once or secrets.token_hex(12)}|{kind}"
    await done(call, Event(id, subjects.product(shop, facts.id), shop, now, now, body))


def _facts(id: str, body: ProductIn) -> ProductFacts:
    return ProductFacts(
        id=id,
        title=body.title,
        short_title=body.short_title or "",
        url=body.url or "",
        image_url=body.image_url or "",
        categories=tuple(dict.fromkeys(body.categories)),
        style_tags=tuple(dict.fromkeys(body.style_tags)),
        care=body.care or "",
        size_chart=tuple(SizeRow(row.size, dict(row.measures)) for row in body.size_chart),
        variants=tuple(
            VariantFacts(
                one.sku,
                one.options.size or "",
                one.options.color or "",
                None if one.price is None else Money(Decimal(one.price.amount), one.price.currency),
                one.stock,
            )
            for one in body.variants
        ),
        whole=True,
    )
