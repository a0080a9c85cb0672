"""`touchpoint products import`: a shop's products from a CSV file, one row per variant or per product.

An import adds and changes; it removes nothing, and an empty cell says nothing. Rows of one id are one product: its title and
the like stand on any of them. A row at fault is kept aside with its reason; the others go into the catalogue.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from msgspec import structs

from bot import sheets, subjects
from bot.config import CURRENCIES
from bot.events import (
    MOST_VARIANTS,
    SHORT,
    SHORT_LATIN,
    Event,
    Money,
    Ms,
    ProductFacts,
    ShopEvent,
    SizeRow,
    VariantFacts,
    short_limit,
)
from bot.records import Product
from bot.sheets import Row, Sheet
from bot.sizing import MEASURES
from bot.store import Store

TOGETHER = 200
COLUMNS: sheets.Columns = {
    "id": ("product id", "商品编号", "商品編號", "商品id", "商品货号", "货号", "貨號", "款号", "款號", "编号", "編號"),
    "title": ("name", "product name", "商品名称", "商品名稱", "名称", "名稱", "标题", "標題", "商品标题", "品名"),
    "short_title": ("short title", "short name", "短标题", "短標題", "简称", "簡稱", "商品简称"),
    "url": ("link", "product url", "链接", "連結", "商品链接", "网址", "網址"),
    "image_url": ("image", "picture", "图片", "圖片", "主图", "主圖", "图片链接"),
    "categories": ("category", "分类", "分類", "类目", "類別", "商品分类"),
    "style_tags": ("tags", "style", "风格", "風格", "风格标签", "标签", "標籤"),
    "care": ("washing", "洗涤", "洗滌", "洗涤说明", "保养", "保養"),
    "sku": ("sku id", "variant sku", "规格编码", "規格編碼", "商家编码", "sku编码", "条码", "條碼"),
    "size": ("尺码", "尺碼", "尺寸"),
    "color": ("colour", "颜色", "顏色", "色号"),
    "price": ("售价", "售價", "价格", "價格", "单价", "單價", "销售价"),
    "currency": ("币种", "幣種", "货币", "貨幣"),
    "stock": ("quantity", "qty", "inventory", "库存", "庫存", "库存数", "可售库存", "数量", "數量"),
    **MEASURES,
}
LIMITS = {"id": 100, "title": 200, "sku": 100, "size": 30, "color": 30, "care": 500, **dict.fromkeys(MEASURES, 30)}
_TEXTS = ("title", "short_title", "url", "image_url", "care")
_PRICE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(\D|$))")


@dataclass(slots=True)
class ProductList:
    """The products of a file, by id, each with the row that began it."""

    sheet: Sheet
    products: dict[str, ProductFacts] = field(default_factory=dict)
    first: dict[str, Row] = field(default_factory=dict)


@dataclass(slots=True)
class Done:
    """What an import did."""

    new: int = 0
    known: int = 0
    variants: int = 0


def read(path: Path, currency: str) -> ProductList:
    """The file's products; rows at fault are in `sheet.rejected`. Raises SheetError for a file that is no such table."""
    sheet = sheets.read(path, COLUMNS, needs=[("id",)])
    found = ProductList(sheet)
    for row in sheet.rows:
        try:
            _take(found, row, currency)
        except ValueError as fault:
            sheet.reject(row, str(fault))
    return found


def _take(found: ProductList, row: Row, currency: str) -> None:
    """Adds a row to its product. Raises ValueError in plain words; then the product is as it was."""
    for name, limit in LIMITS.items():
        if len(row[name]) > limit:
            raise ValueError(f"{name} has {len(row[name])} characters; at most {limit}")
    id = row["id"]
    if not id:
        raise ValueError("id is missing")
    before = found.products.get(id) or ProductFacts(id, variants=(), size_chart=(), adds=True)
    texts = {name: _text(row, name, getattr(before, name)) for name in _TEXTS}
    lists = {name: _words(row, name) or getattr(before, name) for name in ("categories", "style_tags")}
    variants = _with_variant(before.variants or (), row, currency)
    chart = _with_measures(before.size_chart or (), row)
    found.products[id] = ProductFacts(id, **texts, **lists, size_chart=chart, variants=variants, adds=True)  # type: ignore[arg-type]
    found.first.setdefault(id, row)


def _text(row: Row, name: str, before: str) -> str:
    text = row[name]
    if not text:
        return before
    if before and before != text and name == "title":
        raise ValueError(f"title is {text[:40]!r} here and {before[:40]!r} on a line above; one product has one title")
    if name == "short_title" and len(text) > short_limit(text):
        raise ValueError(f"short_title has {len(text)} characters; at most {SHORT}, or {SHORT_LATIN} Latin ones")
    if name in ("url", "image_url") and (not text.startswith(("https://", "http://")) or len(text) > 2000):
        raise ValueError(f"{name} must be a web address that begins with https://")
    return text


def _words(row: Row, name: str) -> tuple[str, ...] | None:
    words = [word.strip() for word in re.split(r"[|;,、，；/]", row[name]) if word.strip()]
    if any(len(word) > 60 for word in words) or len(words) > 30:
        raise ValueError(f"{name} takes at most 30 words of up to 60 characters, separated by |")
    return tuple(dict.fromkeys(words)) or None


def _with_variant(before: tuple[VariantFacts, ...], row: Row, currency: str) -> tuple[VariantFacts, ...]:
    sku = row["sku"]
    if not sku:
        if any(row[name] for name in ("size", "color", "price", "stock")):
            raise ValueError("sku is missing: size, color, price and stock are of a variant")
        return before
    if any(one.sku == sku for one in before):
        raise ValueError(f"sku {sku!r} of this product stands on a line above already")
    if len(before) == MOST_VARIANTS:
        raise ValueError(f"a product has at most {MOST_VARIANTS} variants")
    return (*before, VariantFacts(sku, row["size"], row["color"], _price(row, currency), _stock(row["stock"])))


def _price(row: Row, currency: str) -> Money | None:
    text = _THOUSANDS.sub("", row["price"]).strip("¥￥$元块 ")
    code = row["currency"].upper() or currency
    if code not in CURRENCIES:
        raise ValueError(f"currency {row['currency'][:20]!r} must be a code such as CNY")
    if not row["price"]:
        return None
    if not _PRICE.fullmatch(text):
        raise ValueError(f"price {row['price'][:30]!r} must be an amount such as 188.00")
    return Money(Decimal(text), code)


def _stock(text: str) -> int | None:
    if not text:
        return None
    whole = _THOUSANDS.sub("", text).removesuffix("件").strip()
    whole = whole.removesuffix(".00").removesuffix(".0")
    if not re.fullmatch(r"-?[0-9]{1,9}", whole, re.ASCII):
        raise ValueError(f"stock {text[:30]!r} must be a whole number")
    return max(0, int(whole))


def _with_measures(before: tuple[SizeRow, ...], row: Row) -> tuple[SizeRow, ...]:
    measures = {name: row[name] for name in MEASURES if row[name]}
    if not measures:
        return before
    if not row["size"]:
        raise ValueError(f"size is missing: {next(iter(measures))} is of a size")
    same = next((one for one in before if one.size == row["size"]), None)
    if same is not None and any(same.measures.get(name, text) != text for name, text in measures.items()):
        raise ValueError(f"size {row['size']} measures something else on a line above")
    if same is not None:
        return tuple(SizeRow(o.size, {**o.measures, **measures}) if o is same else o for o in before)
    return (*before, SizeRow(row["size"], measures))


async def look(store: Store, found: ProductList, shop: str) -> Done:
    """What the import will do; products that are neither known nor named here are rejected."""
    done = Done()
    names = list(found.products)
    for start in range(0, len(names), TOGETHER):
        part = names[start : start + TOGETHER]
        records = await store.records(subjects.product(shop, id) for id in part)
        for id in part:
            known = records.get(subjects.product(shop, id))
            if not found.products[id].title and not (isinstance(known, Product) and known.title):
                found.sheet.reject(found.first[id], f"title is missing: there is no product {id!r} yet")
                del found.products[id]
                continue
            done.known += known is not None
            done.new += known is None
            done.variants += len(found.products[id].variants or ())
    return done


def events(found: ProductList, shop: str, now: Ms) -> list[Event]:
    """What tells the catalogue of the file's products."""
    out = []
    for facts in found.products.values():
        said = facts if facts.size_chart else structs.replace(facts, size_chart=None)
        body = ShopEvent("product.upserted", shop, now, now, time.time_ns() // 1000, product=said)
        out.append(Event("", subjects.product(shop, facts.id), shop, now, now, body))
    return out
