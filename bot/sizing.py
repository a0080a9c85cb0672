"""Which size fits: a product's size chart against what a buyer says of the body. Pure.

A chart's cells are what shops write: `160-165`, `160~165cm`, `≤165`, `100-110斤`, `84`. Lengths are cm, weights kg; 斤 is half a
kilogram. Garment lengths (shoulder, length, sleeve) say nothing of a body and are not asked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.events import SizeRow
from bot.products import same_size, size_rank
from bot.records import Product

MEASURES: Mapping[str, Sequence[str]] = {
    "height": ("身高", "适合身高", "適合身高"),
    "weight": ("体重", "體重", "适合体重", "適合體重"),
    "bust": ("胸围", "胸圍", "chest", "净胸围"),
    "waist": ("腰围", "腰圍", "净腰围"),
    "hips": ("臀围", "臀圍", "hip"),
    "foot": ("脚长", "腳長", "foot length"),
    "shoulder": ("肩宽", "肩寬"),
    "length": ("衣长", "衣長", "裤长", "褲長"),
    "sleeve": ("袖长", "袖長"),
}
"""What a size measures, and how charts and buyers call it."""
ASKED = (("height", "weight"), ("bust", "waist", "hips"), ("foot",))
"""What is asked for: the first of these groups that the chart holds something of."""
BOUNDS = {
    "height": (50, 230),
    "weight": (2, 250),
    "bust": (40, 180),
    "waist": (35, 180),
    "hips": (40, 200),
    "foot": (9, 35),
}
OFF = 0.06
FEW = 3
JIN = 2.0
HEAVY_BMI = 38.0
_NAMES = {alias.casefold(): name for name, aliases in MEASURES.items() for alias in (name, *aliases)}
_NUMBER = r"(?<![\d.])(\d{1,3}(?:\.\d{1,2})?)(?!\.?\d)"
_RANGE = re.compile(rf"{_NUMBER}\s*(?:cm|kg|斤|公斤)?\s*[-~–—至到]\s*{_NUMBER}")
_SAID = re.compile(
    rf"(身高|体重|體重|胸围|胸圍|腰围|腰圍|臀围|臀圍|脚长|腳長|height|weight|bust|chest|waist|hips?|foot)?\s*[:=是为為]?\s*{_NUMBER}\s*"
    r"(cm|厘米|公分|kg|公斤|千克|斤|m(?![a-z])|米|lbs?|磅|码)?"
)


@dataclass(frozen=True, slots=True)
class Advice:
    """`size` fits; `closer` is the smaller one that fits, too, more closely ("": none)."""

    size: str
    closer: str = ""


def needs(product: Product) -> tuple[str, ...]:
    """What a buyer is to be asked for; empty where the chart tells nothing of bodies."""
    there = {name for row in product.size_chart for name in _measures(row)}
    for group in ASKED:
        if found := tuple(name for name in group if name in there):
            return found
    return ()


def advise(product: Product, body: Mapping[str, float]) -> Advice | None:
    """The size for a body; None where it is off the chart or nothing can be compared."""
    fits: list[str] = []
    for name in needs(product):
        if name in body:
            size = _best(product.size_chart, name, body[name])
            if not size:
                return None
            fits.append(size)
    if not fits:
        return None
    fits.sort(key=size_rank)
    return Advice(fits[-1], fits[0] if size_rank(fits[0]) < size_rank(fits[-1]) else "")


def _best(chart: Sequence[SizeRow], name: str, value: float) -> str:
    """The smallest size that holds a measure, else the next one within reach, "" for none."""
    found: list[tuple[float, tuple[int, float], str]] = []
    for row in chart:
        span = _span(_measures(row).get(name, ""), name)
        if span is not None:
            low, high = span
            off = max(low - value, value - high, 0.0) / max(value, 1.0)
            found.append((off, size_rank(row.size), row.size))
    best = min(found, default=None)
    return best[2] if best is not None and best[0] <= OFF else ""


def _measures(row: SizeRow) -> dict[str, str]:
    return {name: text for key, text in row.measures.items() if (name := _NAMES.get(key.strip().casefold()))}


def _span(text: str, name: str) -> tuple[float, float] | None:
    """A chart's cell as a span; a bare number is met within 2 %."""
    cell = unicodedata.normalize("NFKC", text).casefold()
    per = JIN if "斤" in cell and "公斤" not in cell else 1.0
    if found := _RANGE.search(cell):
        low, high = float(found[1]) / per, float(found[2]) / per
        return min(low, high), max(low, high)
    single = re.search(_NUMBER, cell)
    if single is None:
        return None
    value = float(single[1]) / per
    low, high = BOUNDS.get(name, (0, 1000))
    if re.search(r"[≤<]|以下|以内|以內|under|max", cell):
        return float(low), value
    if re.search(r"[≥>]|以上|\+|over|min", cell):
        return value, float(high)
    return value * 0.98, value * 1.02


def said(text: str, wanted: Sequence[str]) -> dict[str, float]:
    """What a buyer says of the body, in cm and kg: named, by its unit, else in the order of what was asked.

    Two numbers are height and weight by their size; a weight that no body of that height has is taken as 斤.
    """
    body: dict[str, float] = {}
    bare: list[float] = []
    jin = False
    for name, number, unit in _SAID.findall(unicodedata.normalize("NFKC", text).casefold()):
        value = float(number)
        measure = _NAMES.get(name, "")
        if unit in ("m", "米") or (measure == "height" and value < 3):
            measure, value = measure or "height", value * 100
        elif unit in ("kg", "公斤", "千克", "斤", "lb", "lbs", "磅"):
            measure = "weight"
            value = value / JIN if unit == "斤" else value * 0.4536 if unit in ("lb", "lbs", "磅") else value
            jin = True
        if measure:
            body[measure] = value
        else:
            bare.append(value)
    left = [name for name in wanted if name not in body]
    if left == ["height", "weight"] and len(bare) == 2:
        bare.sort(reverse=True)
    body |= dict(zip(left, bare, strict=False))
    height, weight = body.get("height", 0.0), body.get("weight", 0.0)
    if not jin and height and weight / (height / 100) ** 2 > HEAVY_BMI:
        body["weight"] = weight / JIN
    return {
        name: value for name, value in body.items() if name in BOUNDS and BOUNDS[name][0] <= value <= BOUNDS[name][1]
    }


def known(sizes: Mapping[str, str]) -> dict[str, float]:
    """What a buyer's record holds of the body."""
    found = {}
    for name in BOUNDS:
        text = sizes.get(name, "")
        if re.fullmatch(_NUMBER, text):
            found[name] = float(text)
    return found


def spelled(value: float) -> str:
    """A measure as it is kept and shown: 165, 52.5."""
    return f"{value:.1f}".removesuffix(".0")


def kind_of(product: Product) -> str:
    """Which of a buyer's sizes a product is a matter of: shoe, bottom or top."""
    text = " ".join((*product.categories, product.title)).casefold()
    if re.search(r"鞋|靴|shoe|boot|sneaker", text):
        return "shoe"
    return "bottom" if re.search(r"裤|褲|裙|pants|trousers|jeans|skirt|shorts", text) else "top"


def usual(product: Product, sizes: Mapping[str, str]) -> str:
    """The size that a buyer usually takes of such a product, "" where it is not known or spelled another way."""
    size = sizes.get(kind_of(product), "")
    spelled_alike = size_rank(size)[0] in {size_rank(one)[0] for one in sizes_of(product)}
    return size if size and spelled_alike else ""


def sizes_of(product: Product) -> list[str]:
    """The sizes that the shop offers or has measured, small to large."""
    names = [variant.size for variant in product.variants] + [row.size for row in product.size_chart]
    return sorted({name for name in names if name}, key=size_rank)


def differs(one: str, other: str) -> bool:
    """Whether two sizes are different ones, spelled in one way."""
    return bool(one and other) and size_rank(one)[0] == size_rank(other)[0] and same_size(one) != same_size(other)


def runs(product: Product) -> str:
    """`small` or `large` where so many came back for it that a buyer should know, else ""."""
    small, large = product.returned.get("size_small", 0), product.returned.get("size_large", 0)
    if small >= FEW and small >= 2 * large:
        return "small"
    return "large" if large >= FEW and large >= 2 * small else ""
