"""Which item a question is about: named in it, chosen from several, or the one that was spoken of last. Shared by handlers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.effects import Effect, Enter, FindProducts, FoundProducts, Say
from bot.events import ItemRef
from bot.handling import Turn
from bot.messages import Choice
from bot.products import fold, offered, same_size
from bot.records import Product, Variant
from handlers.resume import resume

ASK_S = 600
THIS = "@"  # before a product's subject, in the payload of a choice
_SIZE = re.compile(
    r"^(?P<rest>.*?)[\s的,，]*(?P<size>[x]{0,4}[sml]|[2-6]xl|free|均码|均碼|(?<![\d.])(?:\d{2}(?:\.5)?|1[0-9]{2}))\s*(?:码|碼|号|號)?$"
)


def ask(turn: Turn, what: str) -> Sequence[Effect]:
    """Looks the item up; where none is named and none was spoken of, asks for it. `what`: stock, size or price."""
    if turn.arg.startswith(THIS):
        _, shop, id = turn.arg.removeprefix(THIS).split(":", 2) if turn.arg.count(":") > 1 else ("", "", "")
        return [FindProducts("found", item=ItemRef(shop, id), data={"what": what})]
    return look(turn, what, turn.arg)


def look(turn: Turn, what: str, text: str) -> list[Effect]:
    """Looks an item up by what a buyer wrote of it."""
    name = fold(text)
    size, rest = split_size(name)
    if name and not (size and not rest):
        texts = dict.fromkeys(filter(None, (name, rest)))
        return [FindProducts("found", texts=tuple(texts), data={"what": what, "size": size, "text": name})]
    if turn.buyer.about is not None:
        return [FindProducts("found", item=turn.buyer.about, data={"what": what, "size": size, "text": name})]
    return [Enter(f"{what}.item", {"size": size}, timeout_s=ASK_S, pause=True), Say("item_ask")]


def named(turn: Turn, what: str) -> list[Effect]:
    """The answer to "which item": its name. A second try ends the question."""
    if turn.arg == "back":
        return [Say("item_ask")]
    dialog = turn.address.dialog if turn.address is not None else None
    size = dialog.data.get("size", "") if dialog is not None else ""
    name = turn.arg or turn.text
    return [*resume(turn), *look(turn, what, f"{name} {size}".strip() if name else "")]


def one_of(result: FoundProducts) -> tuple[Product | None, list[Effect]]:
    """The product that was found; None with what to say where there is none, or several."""
    if not result.products:
        return None, [Say("item_unknown")]
    if len(result.products) > 1:
        what = result.data["what"]
        choices = tuple(
            Choice(f"{what}:{THIS}{one.subject}", one.short_title or one.title[:20]) for one in result.products
        )
        return None, [Say("item_which", choices=choices)]
    return result.products[0], []


def split_size(text: str) -> tuple[str, str]:
    """A size at the end of what a buyer wrote of an item, and the rest: `双面大衣m码` is M and 双面大衣."""
    found = _SIZE.match(text)
    if found is None or (
        found["rest"]
        and found["rest"][-1].isascii()
        and found["rest"][-1].isalnum()
        and text[len(found["rest"])] != " "
    ):
        return "", text
    return same_size(found["size"]), found["rest"].strip()


def meant(product: Product, size: str, text: str) -> list[Variant]:
    """The variants that a size, and a color in the buyer's words, mean; those of the size where no color is named."""
    found = [one for one in offered(product) if not size or same_size(one.size) == same_size(size)]
    colored = [one for one in found if one.color and fold(one.color) in text]
    return colored or found


def picked(turn: Turn, product: Product) -> str:
    """The size that the buyer ordered of it, or asked for; "" where another item was spoken of."""
    about = turn.buyer.about
    if about is None or not (about.product == product.id or any(v.sku == about.sku for v in offered(product))):
        return ""
    return about.size


def name_of(product: Product) -> str:
    """What a message calls it."""
    return product.short_title or product.title
