"""The catalogue: products by id, by SKU and by words. Records are read at each question, so that stock and price are exact.

What products are found by is one hash per partition, written in the turn that changes a name or a list of variants. A
process keeps a copy of them and asks each time whether a partition's has changed: 50,000 products are 64 small reads and a
look over their names, and never a scan of records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from bot import keys, products, subjects
from bot.events import Item, Ms
from bot.products import ItemView, fold
from bot.records import Product
from bot.store import Store

PAGE = 200
COUNT = b"#"
NO_FIT = 9
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
    """One product's names, folded."""

    subject: str
    title: str
    short: str
    skus: tuple[str, ...]
    name: str = ""  # the short title as the shop writes it

    def rank(self, text: str, words: Sequence[str]) -> int:
        """How well it fits: 0 the name itself, 1 all words in it, 2 its short title in the text; NO_FIT."""
        if text in (self.title, self.short):
            return 0
        if all(word in self.title or word in self.short for word in words):
            return 1
        return 2 if len(self.short) > 1 and self.short in text else NO_FIT


@dataclass(slots=True)
class _Part:
    count: bytes | None = None
    entries: list[Entry] = field(default_factory=list)
    by_sku: dict[str, list[str]] | None = None
    shorts: dict[str, str] | None = None


class Catalogue:
    """Look-ups in the products of all shops."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh_at = -NAMES_MAX_AGE_S
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
        ranked = sorted(
            (rank, entry.subject)
            for part in self._parts
            for entry in part.entries
            if (rank := entry.rank(whole, words)) < NO_FIT
        )
        best = [subject for rank, subject in ranked if rank == ranked[0][0]]
        return await self._load(best[:limit])

    async def page(self, text: str, *, shop: str = "", after: str = "", limit: int = 50) -> list[Product]:
        """A page of the products whose names hold every word, in the order of their subjects."""
        await self._refresh()
        words = fold(text).split()
        found = sorted(
            entry.subject
            for part in self._parts
            for entry in part.entries
            if entry.subject > after
            and _of(entry.subject, shop)
            and all(word in entry.title or word in entry.short for word in words)
        )
        return await self._load(found[:limit])

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
        self._fresh_at = time.monotonic()
        names = [keys.catalogue(p) for p in range(self._store.partitions)]
        counts = await self._store.together([("HGET", name, COUNT) for name in names])
        stale = [p for p, count in enumerate(counts) if count != self._parts[p].count]
        for start in range(0, len(stale), 8):
            some = stale[start : start + 8]
            hashes = await self._store.together([("HGETALL", names[p]) for p in some])
            for p, found in zip(some, hashes, strict=True):
                self._parts[p] = _part(dict(found))

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
    return _Part(count, entries)


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
