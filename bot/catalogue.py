"""The catalogue: products by id, by SKU and by words. Records are read at each question, so that stock and price are exact.

What products are found by is one hash per partition, written in the turn that changes a name or a list of variants. A
process keeps a copy of them and asks each time whether a partition's has changed: 50,000 products are 64 small reads and a
look over their names, and never a scan of records.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import accumulate

import msgspec
from msgspec import Struct

from bot import keys, products, subjects
from bot.events import SHORT_LATIN, Item, Ms
from bot.products import ItemView, fold
from bot.records import Product
from bot.store import Store

PAGE = 200
COUNT = b"#"
NAMES_MAX_AGE_S = 5.0


class Found(Struct, array_like=True):
    """What a product is found by, as `bot.products.entry` writes it."""

    title: str
    short: str
    skus: tuple[str, ...]
    name: str = ""


_decoder = msgspec.msgpack.Decoder(Found)


@dataclass(frozen=True, slots=True)
class Entry:
    """One product's names, folded, and its short title as the shop writes it."""

    subject: str
    title: str
    short: str
    skus: tuple[str, ...]
    name: str = ""

    def has(self, words: Sequence[str]) -> bool:
        """Whether each word is in its title or short title."""
        return all(word in self.title or word in self.short for word in words)


@dataclass(slots=True)
class _Part:
    """A partition's products. `text`: all their names, so that a word is looked for in one go; `starts`: of each."""

    count: bytes | None = None
    entries: list[Entry] = field(default_factory=list)
    text: str = ""
    starts: list[int] = field(default_factory=list)
    by_sku: dict[str, list[str]] | None = None
    shorts: dict[str, str] | None = None

    def holding(self, words: Sequence[str]) -> Iterator[Entry]:
        """The entries that hold every word; all without words."""
        if not words:
            yield from self.entries
            return
        longest = max(words, key=len)
        at = self.text.find(longest)
        while at >= 0:
            index = bisect_right(self.starts, at) - 1
            if self.entries[index].has(words):
                yield self.entries[index]
            if index + 1 == len(self.starts):
                return
            at = self.text.find(longest, self.starts[index + 1])


class Catalogue:
    """Look-ups in the products of all shops."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh_at = -NAMES_MAX_AGE_S
        self._by_short: dict[str, set[str]] = {}
        self._parts = [_Part() for _ in range(store.partitions)]

    # --- by id and SKU --------------------------------------------------------------------------------------------

    async def get(self, shop: str, id: str) -> Product | None:
        """One product, offered or removed."""
        record = await self._store.record(subjects.product(shop, id))
        return record if isinstance(record, Product) else None

    async def by_sku(self, sku: str, shop: str = "") -> list[Product]:
        """The products that offer this SKU: one, unless shops share it."""
        await self._refresh()
        name = fold(sku)
        found = [subject for part in self._parts for subject in _skus(part).get(name, ()) if _of(subject, shop)]
        return await self._load(sorted(found))

    async def items(self, refs: Sequence[str], shops: Sequence[str]) -> dict[str, ItemView]:
        """What there is to say of the products or variants that ids or SKUs name; unknown ones are left out.

        An id counts before a SKU, and shops in the order given.
        """
        wanted = {subjects.product(shop, ref): ref for ref in dict.fromkeys(refs) for shop in reversed(shops)}
        records = await self._store.records(wanted)
        found: dict[str, ItemView] = {}
        for subject, ref in wanted.items():
            record = records.get(subject)
            if isinstance(record, Product) and record.title:
                found[ref] = products.view(record, ref)
        for ref in dict.fromkeys(refs):
            if ref not in found:
                for product in (await self.by_sku(ref))[:1]:
                    sku = next((v.sku for v in products.offered(product) if fold(v.sku) == fold(ref)), "")
                    found[ref] = msgspec.structs.replace(products.view(product, sku), ref=ref)
        return found

    async def names(self, shop: str, items: Sequence[Item]) -> dict[str, str]:
        """Short titles of an order's items, by product id, else by SKU: from this process's copy, 5 seconds old at most."""
        if time.monotonic() - self._fresh_at > NAMES_MAX_AGE_S:
            await self._refresh()
        found: dict[str, str] = {}
        for item in items if any(part.entries for part in self._parts) else ():
            subject = subjects.product(shop, item.product_id)
            if not item.product_id:
                subject = next(
                    (s for part in self._parts for s in _skus(part).get(fold(item.sku), ()) if _of(s, shop)), ""
                )
            part = self._parts[self._store.partition(subject)]
            if name := _shorts(part).get(subject, ""):
                found[item.product_id or item.sku] = name
        return found

    # --- by words -------------------------------------------------------------------------------------------------

    async def find(self, text: str, *, limit: int = 10) -> list[Product]:
        """The products whose names fit best: the very name, else all words in it, else a short title that is in the text."""
        await self._refresh()
        whole = fold(text)
        words = whole.split()
        if not words:
            return []
        holding = [entry for part in self._parts for entry in part.holding(words)]
        best = [entry.subject for entry in holding if whole in (entry.title, entry.short)]
        best = best or [entry.subject for entry in holding] or self._shorts_in(whole)
        return await self._load(sorted(best)[:limit])

    def _shorts_in(self, text: str) -> list[str]:
        """The products whose short title is in a text, of the longest such title."""
        for length in range(min(len(text), SHORT_LATIN), 1, -1):
            spans = {text[at : at + length] for at in range(len(text) - length + 1)}
            if found := [subject for span in spans for subject in self._by_short.get(span, ())]:
                return found
        return []

    async def page(self, text: str, *, shop: str = "", after: str = "", limit: int = 50) -> list[Product]:
        """A page of the products whose names hold every word, in the order of their subjects."""
        await self._refresh()
        words = fold(text).split()
        found = [
            entry.subject
            for part in self._parts
            for entry in part.holding(words)
            if entry.subject > after and _of(entry.subject, shop)
        ]
        return await self._load(nsmallest(limit, found))

    async def count(self) -> int:
        """How many products are offered."""
        await self._refresh()
        return sum(len(part.entries) for part in self._parts)

    async def waiting(self, product: Product) -> Sequence[tuple[Ms, str, str]]:
        """Who asked to be told that it is back: since when, buyer id, SKU ("" any); the first who asked first."""
        partition = self._store.partition(product.subject)
        found = await self._store.command("HGETALL", keys.awaited(partition, product.subject))
        rows = [(int(at), *name.decode().partition("\0")[::2]) for name, at in found.items()]
        return sorted(rows)

    # --- the copy -------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        began = time.monotonic()
        names = [keys.catalogue(p) for p in range(self._store.partitions)]
        counts = await self._store.together([("HGET", name, COUNT) for name in names])
        stale = [p for p, count in enumerate(counts) if count != self._parts[p].count]
        for start in range(0, len(stale), 8):
            some = stale[start : start + 8]
            hashes = await self._store.together([("HGETALL", names[p]) for p in some])
            for p, found in zip(some, hashes, strict=True):
                self._replace(p, _part(dict(found)))
        self._fresh_at = began

    def _replace(self, p: int, part: _Part) -> None:
        for entry in self._parts[p].entries:
            if entry.short:
                self._by_short[entry.short].discard(entry.subject)
        for entry in part.entries:
            if entry.short:
                self._by_short.setdefault(entry.short, set()).add(entry.subject)
        self._parts[p] = part

    async def _load(self, names: Iterable[str]) -> list[Product]:
        wanted = list(names)
        records = await self._store.records(wanted)
        found = [records.get(subject) for subject in wanted]
        return [record for record in found if isinstance(record, Product)]


def _part(found: dict[bytes, bytes]) -> _Part:
    count = found.pop(COUNT, None)
    entries = []
    for subject, body in found.items():
        one = _decoder.decode(body)
        entries.append(Entry(subject.decode(), one.title, one.short, one.skus, one.name))
    names = [f"{entry.title}\n{entry.short}\n" for entry in entries]
    starts = list(accumulate(map(len, names), initial=0))[:-1]
    return _Part(count, entries, "".join(names), starts)


def _skus(part: _Part) -> dict[str, list[str]]:
    if part.by_sku is None:
        part.by_sku = {}
        for entry in part.entries:
            for sku in entry.skus:
                part.by_sku.setdefault(sku, []).append(entry.subject)
    return part.by_sku


def _shorts(part: _Part) -> dict[str, str]:
    if part.shorts is None:
        part.shorts = {entry.subject: entry.name for entry in part.entries if entry.name}
    return part.shorts


def _of(subject: str, shop: str) -> bool:
    return not shop or subject.startswith(f"product:{shop}:")
