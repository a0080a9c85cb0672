"""Is it in stock, what does it cost, tell me when it is back: answers that say what the catalogue holds, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from bot import sizing
from bot.effects import AwaitStock, Effect, FoundProducts, Resolution, Say, SpeakOf
from bot.events import ItemRef
from bot.handling import Handler, Trigger, Turn
from bot.products import offered, price_of, size_rank, stock_of
from bot.records import Product, Variant
from bot.subjects import product as subject_of
from handlers.item_search import ask, meant, name_of, named, one_of, picked


def stock(turn: Turn) -> Sequence[Effect]:
    """Is it in stock."""
    return ask(turn, "stock")


def price(turn: Turn) -> Sequence[Effect]:
    """What does it cost."""
    return ask(turn, "price")


def stock_item(turn: Turn) -> Sequence[Effect]:
    """The item whose stock is asked for."""
    return named(turn, "stock")


def price_item(turn: Turn) -> Sequence[Effect]:
    """The item whose price is asked for."""
    return named(turn, "price")


def found(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """The answer, of the item that was found."""
    assert isinstance(result, FoundProducts)
    product, instead = one_of(result)
    if product is None:
        return instead
    size, text = result.data.get("size", ""), result.data.get("text", "")
    of = meant(product, size, text)
    sku = of[0].sku if size and len(of) == 1 else ""
    item = ItemRef(product.shop, product.id, sku, product.title, size or picked(turn, product))
    said = _price(product, of) if result.data["what"] == "price" else _stock(turn, product, of, size)
    return [SpeakOf(item), said]


def _stock(turn: Turn, product: Product, of: Sequence[Variant], size: str) -> Say:
    variants = offered(product)
    pieces = stock_of(of) if of else None
    there = _sizes(variants, stocked=True)
    color = of[0].color if of and len({one.color for one in of}) == 1 and len(of) < len(variants) and not size else ""
    values: dict[str, object] = {
        "item": name_of(product),
        "asked": size or color,
        "sizes": there if not size else [one for one in there if sizing.differs(one, size)],
        "gone": [] if size else [one for one in _sizes(variants, stocked=False) if one not in there],
        "link": product.url,
        **_costs(of or variants),
        "runs": sizing.runs(product),
        "usual": _other(turn, product, size),
    }
    if size and not of:
        return Say("stock_no_size", values)
    if pieces is None:
        return Say("stock_unsure", values)
    return Say("stock_yes" if pieces else "stock_no", values)


def _sizes(variants: Sequence[Variant], *, stocked: bool) -> list[str]:
    """The sizes of which there is something, or nothing, small to large."""
    names = {one.size for one in variants if one.size and one.stock is not None and bool(one.stock) is stocked}
    return sorted(names, key=size_rank)


def _other(turn: Turn, product: Product, size: str) -> str:
    """The size that the buyer usually takes, where another one is asked for."""
    usual = sizing.usual(product, turn.buyer.sizes)
    return usual if sizing.differs(usual, size) else ""


def _costs(variants: Sequence[Variant]) -> dict[str, object]:
    least = price_of(variants)
    several = len({one.price.amount for one in variants if one.price is not None}) > 1
    return {"price": least or "", "several": several}


def _price(product: Product, of: Sequence[Variant]) -> Say:
    values = {"item": name_of(product), "link": product.url, **_costs(of or offered(product))}
    return Say("price_is" if values["price"] else "price_unsure", values)


# --- tell me when it is back ------------------------------------------------------------------------------------------


def wanted(turn: Turn) -> Sequence[Effect]:
    """Sold out, and the buyer asks to be told once when it is back: a wish of its own, kept with its wording."""
    about = turn.buyer.about
    if about is None or not about.product:
        return [Say("item_ask")]
    return [AwaitStock(subject_of(about.shop, about.product), about.sku, "stock_no"), Say("stock_wait_noted")]


def unwanted(turn: Turn) -> Sequence[Effect]:
    """No; or no longer."""
    about = turn.buyer.about
    if about is None or not about.product:
        return [Say("stock_wait_no")]
    return [AwaitStock(subject_of(about.shop, about.product), about.sku, on=False), Say("stock_wait_no")]


HANDLER = Handler(
    name="products",
    runs={
        Trigger("intent", "stock"): stock,
        Trigger("intent", "price"): price,
        Trigger("state", "stock.item"): stock_item,
        Trigger("state", "price.item"): price_item,
        Trigger("intent", "stock_wait"): wanted,
        Trigger("intent", "stock_wait_no"): unwanted,
    },
    continuations={"found": found},
    states=frozenset({"stock.item", "price.item"}),
)
