"""Which size: by the item's size chart and what the buyer says of the body, asked for once and kept; skippable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot import sizing
from bot.effects import Effect, Enter, FindProducts, FoundProducts, Missed, Resolution, Say, SetProfile, SpeakOf
from bot.events import ItemRef
from bot.handling import Handler, Trigger, Turn
from bot.products import stock_of
from bot.records import Product
from handlers.item_search import ASK_S, ask, meant, name_of, named, one_of, picked
from handlers.resume import resume

MAX_TRIES = 2
SKIPS = ("跳过", "跳過", "skip", "不用", "略过", "no", "不想说", "不想說")


def size(turn: Turn) -> Sequence[Effect]:
    """Which size fits; a buyer who says the body with the question is not asked for it."""
    said = sizing.said(turn.arg, ("height", "weight"))
    if not {"height", "weight"} <= set(said):
        return ask(turn, "size")
    kept = [SetProfile(f"size:{name}", sizing.spelled(value)) for name, value in said.items()]
    about = turn.buyer.about
    if about is None:
        return [*kept, Enter("size.item", timeout_s=ASK_S, pause=True), Say("item_ask")]
    numbers = {name: sizing.spelled(value) for name, value in {**sizing.known(turn.buyer.sizes), **said}.items()}
    return [*kept, FindProducts("advise", item=about, data=numbers)]


def size_item(turn: Turn) -> Sequence[Effect]:
    """The item whose size is asked for."""
    return named(turn, "size")


def again(turn: Turn) -> Sequence[Effect]:
    """What was said of the body has changed: asked for anew, of the item that is spoken of."""
    if turn.buyer.about is None:
        return [Say("item_ask")]
    return [FindProducts("found", item=turn.buyer.about, data={"what": "size", "anew": "1"})]


def found(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """Advice at once where the body is known, else the question."""
    assert isinstance(result, FoundProducts)
    product, instead = one_of(result)
    if product is None:
        return instead
    size = result.data.get("size", "") or picked(turn, product)
    spoken = SpeakOf(ItemRef(product.shop, product.id, "", product.title, size))
    wanted = sizing.needs(product)
    body = {} if result.data.get("anew") else sizing.known(turn.buyer.sizes)
    if not wanted:
        return [spoken, Say("size_no_chart", _values(turn, product))]
    if all(name in body for name in wanted):
        return [spoken, _advice(turn, product, body)]
    data = {"shop": product.shop, "product": product.id, "needs": ",".join(wanted)}
    return [spoken, Enter("size.body", data, timeout_s=ASK_S, pause=True), Say("size_ask", _asked(product, wanted))]


def _asked(product: Product, wanted: Sequence[str]) -> dict[str, object]:
    return {
        "item": name_of(product),
        **{name: name in wanted for name in ("height", "weight", "bust", "waist", "hips", "foot")},
    }


def body_said(turn: Turn) -> Sequence[Effect]:
    """Measures, kept for the next time; or none, then the usual size is all there is to go by."""
    dialog = turn.address.dialog if turn.address is not None else None
    data = dialog.data if dialog is not None else {}
    item = ItemRef(data.get("shop", ""), data.get("product", ""))
    wanted = [name for name in data.get("needs", "").split(",") if name in sizing.BOUNDS]
    if turn.arg == "back":
        return [Say("size_ask_again")]
    if turn.arg == "skip" or turn.text in SKIPS:
        return [*resume(turn), FindProducts("advise", item=item, data={"skipped": "1"})]
    said = sizing.said(turn.text, wanted)
    told = {**sizing.known(turn.buyer.sizes), **said}
    if not said or not set(wanted) & set(told):
        if dialog is not None and dialog.tries + 1 >= MAX_TRIES:
            return [*resume(turn), Say("size_person")]
        return [Missed(), Say("size_ask_again")]
    kept = [SetProfile(f"size:{name}", sizing.spelled(value)) for name, value in said.items()]
    numbers = {name: sizing.spelled(value) for name, value in told.items()}
    return [*kept, *resume(turn), FindProducts("advise", item=item, data=numbers)]


def advise(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """The advice, once the buyer has said what was asked."""
    assert isinstance(result, FoundProducts)
    if not result.products:
        return [Say("item_unknown")]
    product = result.products[0]
    if result.data.get("skipped"):
        return [Say("size_skipped", _values(turn, product))]
    return [_advice(turn, product, {name: float(text) for name, text in result.data.items()})]


def _advice(turn: Turn, product: Product, body: Mapping[str, float]) -> Say:
    advice = sizing.advise(product, body)
    values = _values(turn, product)
    if advice is None:
        return Say("size_off_chart", values)
    of = meant(product, advice.size, "")
    pieces = stock_of(of) if of else None
    usual, ordered = str(values["usual"]), picked(turn, product)
    values |= {
        **{
            name: sizing.spelled(body[name]) if name in body and name in sizing.needs(product) else ""
            for name in sizing.BOUNDS
        },
        "size": advice.size,
        "closer": advice.closer,
        "there": pieces is not None and pieces > 0,
        "gone": pieces == 0,
        "usual": usual if sizing.differs(usual, advice.size) else "",
        "bought": ordered if sizing.differs(ordered, advice.size) else "",
    }
    return Say("size_is", values)


def _values(turn: Turn, product: Product) -> dict[str, object]:
    usual = sizing.usual(product, turn.buyer.sizes)
    return {
        "item": name_of(product),
        "sizes": sizing.sizes_of(product),
        "usual": usual,
        "runs": sizing.runs(product),
        "link": product.url,
    }


HANDLER = Handler(
    name="size_advice",
    runs={
        Trigger("intent", "size"): size,
        Trigger("intent", "size_again"): again,
        Trigger("state", "size.item"): size_item,
        Trigger("state", "size.body"): body_said,
    },
    continuations={"found": found, "advise": advise},
    states=frozenset({"size.item", "size.body"}),
)
