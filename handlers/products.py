"""Is it in stock, what does it cost, tell me when it is back: answers that say what the catalogue holds, and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot import sizing
from bot.effects import AwaitStock, Effect, FindProducts, FoundProducts, Resolution, Say, Skip, SpeakOf
from bot.events import ItemRef, StaffAsked
from bot.handling import Handler, Trigger, Turn
from bot.products import offered, price_of, size_rank, stock_of, stocked
from bot.reasons import Rule, SkipReason
from bot.records import Product, Variant
from bot.subjects import product as subject_of
from handlers.item_search import ask, meant, name_of, named, one_of, picked

BACK = "journey:stock_back/1"
MOST_SIZES = 4  # in one message, so that a text stays short


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
    sku = of[0].sku if len(of) == 1 and (size or len(offered(product)) > 1) else ""
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


def restocked(turn: Turn) -> Sequence[Effect]:
    """Something came back (`bot.restocks`): whoever still waits for it is told, if it is there at this very moment."""
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    told = json.loads(body.data)
    subject = told["product"]
    if not any(one.product == subject for one in turn.buyer.awaits):
        out = bool(turn.buyer.addresses) and all(address.opted_out for address in turn.buyer.addresses)
        return [Skip("stock_back", SkipReason.OPTED_OUT, Rule.OPT_OUT, "marketing", BACK)] if out else []
    _, shop, id = subject.split(":", 2)
    return [FindProducts("back", item=ItemRef(shop, id), data={"skus": "\n".join(told["skus"])})]


def back(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """One message, with which the wish ends; where it is gone again, or may not be told here, the buyer goes on waiting."""
    assert isinstance(result, FoundProducts)
    if not result.products:
        return []
    product = result.products[0]
    now = stocked(product)
    came = now & set(result.data["skus"].split("\n"))
    waits = [one for one in turn.buyer.awaits if one.product == product.subject]
    wishes = [one for one in waits if (one.sku in came if one.sku else came)]
    if not wishes:
        return []
    wanted = {one.sku for one in wishes}
    of = [one for one in offered(product) if one.sku in (now if "" in wanted else wanted)]
    sizes = list(dict.fromkeys(one.size or one.color for one in of if one.size or one.color))
    values: dict[str, object] = {
        "item": name_of(product),
        "sizes": sizes if len(sizes) <= MOST_SIZES else [],
        "link": product.url,
        **_costs(of),
    }
    ended = tuple(AwaitStock(one.product, one.sku, on=False) for one in wishes)
    return [Say("stock_back", values, purpose="marketing", topic=product.subject, source=BACK, after=ended)]


HANDLER = Handler(
    name="products",
    runs={
        Trigger("intent", "stock"): stock,
        Trigger("intent", "price"): price,
        Trigger("state", "stock.item"): stock_item,
        Trigger("state", "price.item"): price_item,
        Trigger("intent", "stock_wait"): wanted,
        Trigger("intent", "stock_wait_no"): unwanted,
        Trigger("staff", "stock_back"): restocked,
    },
    continuations={"found": found, "back": back},
    states=frozenset({"stock.item", "price.item"}),
)
