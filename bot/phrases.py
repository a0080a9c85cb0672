"""What staff write to many: text with variables, a small subset of Jinja2's syntax. Pure.

`{{ name }}`, `{{ name | default("您") }}` and `{% if name %} … {% elif card %} … {% else %} … {% endif %}`; nothing else: no
loops, calls, sums or other filters, so that a text can neither run long nor reach anything. A variable that has no value
for a buyer and no fallback keeps the message from that buyer (`missing_value`); a name alone has one by itself (`NAMELESS`):
half of all buyers have told none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TypeAlias

from bot.clock import LAST
from bot.club import BASIC, BASIC_NAMES
from bot.errors import GatewayError
from bot.events import Ms
from bot.ids import show_member_number
from bot.locales import chain, negotiate
from bot.records import Buyer
from bot.wording import day

MOST_ITEMS = 5
MOST_DEEP = 8
_OF_ITEMS = {"item": "short name of the product", "price": "its price for members", "link": "its address"}
VARIABLES: Mapping[str, str] = {
    "name": "the buyer's name",
    "card": "member number, such as 8012 3456 7890",
    "points": "points on the card",
    "level": "level of the card",
    "coupon": "code of the buyer's coupon of the campaign that the broadcast offers",
    "until": "last day of that coupon, such as 10月3日",
    "day": "the day on which it is sent, such as 10月3日",
    "brand": "name of the shop",
    "stop": "a link to a page with one button that ends all marketing",
    **{
        f"{name}{number}" if number > 1 else name: f"{words} {number}"
        for number in range(1, MOST_ITEMS + 1)
        for name, words in _OF_ITEMS.items()
    },
}
"""Every variable that a text may hold. `item`, `price` and `link` are those of the first product that it is about, `item2` of
the second."""
OF_ITEMS = frozenset(name for name in VARIABLES if name.rstrip("0123456789") in _OF_ITEMS)
LEVELS: Mapping[str, Mapping[str, str]] = {BASIC: BASIC_NAMES}
NAMELESS: Mapping[str, str] = {"zh-CN": "朋友", "zh-TW": "朋友", "en": "friend"}
_ELSE = ":else"  # after a name, among the values: what stands where the buyer has none and the text says nothing else
_TAG = re.compile(r"{{(.*?)}}|{%(.*?)%}", re.DOTALL)
_VALUE = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\|\s*default\(\s*(?:\"([^\"{}]*)\"|'([^'{}]*)')\s*\)\s*)?", re.ASCII)
_BLOCK = re.compile(r"\s*(?:(if|elif)\s+([A-Za-z_]\w*)|(else)|(endif))\s*", re.ASCII)
_SINGLE = re.compile(r"[{｛]\s*(\w+)\s*[}｝]")
_LEFT = re.compile(r"{{|}}|{%|%}|{#|#}")


class PhraseError(GatewayError):
    """A text that cannot be read; its words say what would be right."""


class NoValueError(GatewayError):
    """A variable without a fallback has no value for this buyer; `args[0]` is its name."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    fallback: str | None


@dataclass(frozen=True, slots=True)
class _If:
    branches: tuple[tuple[str, tuple[_Node, ...]], ...]  # the name that must have a value ("": else), what stands then


_Node: TypeAlias = str | _Variable | _If


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text that was read."""

    nodes: tuple[_Node, ...]

    @property
    def names(self) -> frozenset[str]:
        """Every variable that it mentions."""
        return frozenset(name for name, _ in _named(self.nodes))

    @property
    def bare(self) -> frozenset[str]:
        """Variables that stand without a fallback, outside an `if` of their own."""
        return frozenset(_bare(self.nodes, frozenset()))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text for one buyer. Raises NoValueError."""
        return "".join(_filled(self.nodes, values))


def parse(source: str) -> Phrase:
    """Reads a text. Raises PhraseError with what is wrong and what would be right."""
    reader = _Reader(source)
    nodes, ended = reader.read(0)
    if ended is not None:
        raise PhraseError(f"{{% {ended} %}} stands without its {{% if … %}}")
    return Phrase(nodes)


def fill(source: str, values: Mapping[str, str]) -> str:
    """The text for one buyer. Raises PhraseError, NoValueError."""
    return parse(source).fill(values) if "{" in source else source


def pick(texts: Mapping[str, str], locale: str, default: str) -> tuple[str, str]:
    """The locale and the text that a buyer of `locale` reads; ("", "") where there is none at all."""
    for candidate in (*chain(locale, default), *sorted(texts)):
        if texts.get(candidate):
            return candidate, texts[candidate]
    return "", ""


def values_of(
    buyer: Buyer,
    locale: str,
    *,
    now: Ms,
    zone: tzinfo,
    brand: str,
    campaign: str = "",
    given: Mapping[str, str] | None = None,
    levels: Mapping[str, Mapping[str, str]] = LEVELS,
) -> dict[str, str]:
    """What the variables say to one buyer; "" where nothing is known.

    `zone`: the buyer's, else the shop's. `campaign`: whose coupon is meant. `given`: what is the same for all (products), and
    the link that ends marketing. `levels`: what levels are called, by key and locale.
    """
    member = buyer.member
    held = [c for c in buyer.coupons if c.campaign == campaign and c.state == "claimed" and not 0 < c.expires_at <= now]
    coupon = max(held, key=lambda c: (c.claimed_at, c.code), default=None) if campaign else None
    return {
        **dict.fromkeys(VARIABLES, ""),
        "name": buyer.name.strip(),
        f"name{_ELSE}": NAMELESS[negotiate(locale) or "zh-CN"],
        "card": show_member_number(member.number) if member else "",
        "points": str(member.points) if member else "",
        "level": level_name(member.level, locale, levels) if member else "",
        "coupon": coupon.code if coupon else "",
        "until": day(locale, min(coupon.expires_at, LAST), zone) if coupon and coupon.expires_at else "",
        "day": day(locale, now, zone),
        "brand": brand,
        **(given or {}),
    }


def level_name(level: str, locale: str, levels: Mapping[str, Mapping[str, str]]) -> str:
    """What a level is called in a language, else in another; a level that has no name is told as it stands."""
    return pick(levels.get(level, {}), locale, locale)[1] or level


def lacks(name: str, values: Mapping[str, str]) -> bool:
    """Whether a variable that stands without a fallback keeps the message from this buyer."""
    return not values.get(name) and not values.get(name + _ELSE)


# --- reading ----------------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tags = list(_TAG.finditer(source))
        self._next = 0
        self._at = 0

    def read(self, depth: int) -> tuple[tuple[_Node, ...], str | None]:
        """Nodes up to the end, or up to a block word that belongs to an `if` outside: then that word."""
        nodes: list[_Node] = []
        while self._next < len(self._tags):
            tag = self._tags[self._next]
            nodes += self._plain(tag.start())
            self._next, self._at = self._next + 1, tag.end()
            if tag[1] is not None:
                nodes.append(_variable(tag[1]))
                continue
            block = _BLOCK.fullmatch(tag[2])
            if block is None:
                raise PhraseError(
                    f"{_quoted(tag[0])} is not read here: write {{% if name %}}, {{% else %}}, {{% endif %}}"
                )
            if block[1] != "if":
                self._name = _known(block[2]) if block[2] else ""
                return tuple(nodes), block[1] or block[3] or block[4]
            nodes.append(self._if(_known(block[2]), depth + 1))
        nodes += self._plain(len(self._source))
        return tuple(nodes), None

    def _if(self, name: str, depth: int) -> _If:
        if depth > MOST_DEEP:
            raise PhraseError(f"{{% if … %}} stand inside each other more than {MOST_DEEP} deep")
        branches: list[tuple[str, tuple[_Node, ...]]] = []
        while True:
            nodes, ended = self.read(depth)
            branches.append((name, nodes))
            if ended == "endif":
                return _If(tuple(branches))
            if ended is None:
                raise PhraseError("an {% if … %} has no {% endif %}")
            if name == "":
                raise PhraseError(f"{{% {ended} %}} stands after {{% else %}}")
            name = self._name if ended == "elif" else ""

    def _plain(self, end: int) -> Iterator[str]:
        text = self._source[self._at : end]
        if left := _LEFT.search(text):
            raise PhraseError(f"{left[0]} stands alone: a variable is written {{{{ name }}}}")
        if (single := _SINGLE.search(text)) and single[1] in VARIABLES:
            raise PhraseError(f"write {{{{ {single[1]} }}}} with two braces on each side")
        if text:
            yield text


def _variable(inner: str) -> _Variable:
    found = _VALUE.fullmatch(inner)
    if found is None:
        raise PhraseError(
            f'{_quoted("{{" + inner + "}}")} is not read here: write {{{{ name }}}} or {{{{ name | default("…") }}}}'
        )
    return _Variable(_known(found[1]), found[2] if found[2] is not None else found[3])


def _known(name: str) -> str:
    if name not in VARIABLES:
        there = ", ".join(n for n in VARIABLES if n not in OF_ITEMS or not n[-1].isdigit())
        raise PhraseError(f"there is no variable {name[:40]}; there are: {there}, item2 …")
    return name


def _quoted(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


# --- walking ----------------------------------------------------------------------------------------------------------


def _named(nodes: Sequence[_Node]) -> Iterator[tuple[str, str | None]]:
    for node in nodes:
        if isinstance(node, _Variable):
            yield node.name, node.fallback
        elif isinstance(node, _If):
            for name, inner in node.branches:
                if name:
                    yield name, ""
                yield from _named(inner)


def _bare(nodes: Sequence[_Node], sure: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, _Variable):
            if node.fallback is None and node.name not in sure:
                yield node.name
        elif isinstance(node, _If):
            for name, inner in node.branches:
                yield from _bare(inner, sure | {name})


def _filled(nodes: Sequence[_Node], values: Mapping[str, str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Variable):
            value = values.get(node.name, "") or node.fallback
            value = values.get(node.name + _ELSE) if value is None else value
            if value is None:
                raise NoValueError(node.name)
            yield value
        else:
            taken = next((inner for name, inner in node.branches if not name or values.get(name)), ())
            yield from _filled(taken, values)
