"""The derived tables follow from the journals alone: in whatever order partitions are read, in whatever batches."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from sqlalchemy import select

from bot import ids
from bot.codec import dump_message, dump_record
from bot.events import Money
from bot.journal import TurnEntry, UnplannedEntry, dump
from bot.messages import OutboundMessage, Text
from bot.records import Order
from ledger import batch, tables
from ledger.batch import LostError
from ledger.database import database_url, open_engine
from ledger.ways import rows_of, way_of
from tests.ledger.life import Book, recorded

_kept: dict[str, object] = {}


@pytest.fixture
async def journals(valkey, redis_client, tmp_path):
    """Recorded once: the tests only read it."""
    if "day" not in _kept:
        _kept["day"] = await recorded(valkey, tmp_path)
    return _kept["day"]


@pytest.fixture
async def whole(journals, tmp_path):
    """The ledger of that day, from one batch."""
    book = await Book(tmp_path, "whole.db").open()
    await book.project(journals)
    yield book
    await book.close()


async def test_the_day_was_rich(whole):
    """Else the tests below would prove nothing."""
    found = await whole.dump()

    assert {name for name, rows in found.items() if not rows} == {"tags"}
    merged = [row for row in found["buyers"] if row[15]]
    assert len(merged) == 3
    assert len({row[15] for row in merged}) == 1  # all became one buyer
    assert whole.unreadable == 0


async def test_orders_and_items_name_whose_they_are(whole):
    """After a merge too: segments ask them alone what a buyer bought."""
    found = await whole.dump()
    owners = {row[0]: row[1] for row in found["owners"]}
    survivor = {row[15] for row in found["buyers"] if row[15]}

    assert {row[0]: row[-1] for row in found["orders"]} == owners
    assert {row[0]: row[-1] for row in found["items"]} == owners
    assert set(owners.values()) == survivor


async def test_each_buyer_names_the_way_of_the_own_addresses(whole):
    """Segments ask `ways` in place of everybody's addresses: of who was merged away, too, who has none."""
    async with whole.engine.connect() as connection:
        buyers = (await connection.execute(select(tables.buyers))).mappings().all()
        addresses = (await connection.execute(select(tables.addresses))).mappings().all()
        ways = [dict(row) for row in (await connection.execute(select(tables.ways))).mappings()]

    reached = 0
    for buyer in buyers:
        mine = [row for row in addresses if row["buyer"] == buyer["id"]]
        assert buyer["way"] == way_of(mine)
        assert buyer["draw"] == ids.draw(buyer["id"]) > 0
        assert buyer["window_closes_at"] == max((row["window_closes_at"] for row in mine), default=0)
        assert [row for row in ways if row["way"] == buyer["way"]] == rows_of(buyer["way"], mine)
        reached += bool(mine)
    assert 0 < reached < len(buyers)


@pytest.mark.parametrize("seed", range(12))
async def test_any_interleaving_and_any_batches_give_the_same_tables(journals, whole, tmp_path, seed):
    draw = random.Random(seed)
    book = await Book(tmp_path).open()
    rest = {p: list(page) for p, page in journals.items()}
    most = draw.choice([1, 2, 5, 40])
    while rest:
        some = draw.sample(sorted(rest), min(len(rest), draw.choice([1, 1, 2, 8])))
        pages = {}
        for p in some:
            count = draw.randint(1, most)
            pages[p], rest[p] = rest[p][:count], rest[p][count:]
            if not rest[p]:
                del rest[p]
        await book.project(pages)

    assert await book.dump() == await whole.dump()
    await book.close()


async def test_entries_that_tell_of_many_are_taken_in_parts(journals, whole, tmp_path, monkeypatch):
    """So that memory stays flat; the tables are those of one go."""
    sizes = []

    async def counted(connection, entries, *args, **kwargs):
        sizes.append(sum(len(e.body.buyers) if isinstance(e.body, UnplannedEntry) else 1 for e in entries))
        return await derive(connection, entries, *args, **kwargs)

    derive = batch._derive
    monkeypatch.setattr(batch, "_derive", counted)
    monkeypatch.setattr(batch, "MOST_AT_ONCE", 5)
    book = await Book(tmp_path).open()
    await book.project(journals)
    assert max(sizes) <= 5 < sum(sizes)
    assert await book.dump() == await whole.dump()
    await book.close()


async def test_a_second_projector_neither_doubles_nor_loses(journals, whole, tmp_path):
    """It expects positions that are gone: nothing of its batch is kept."""
    one, other = await Book(tmp_path).open(), await Book(tmp_path).open()
    first = {p: page[:2] for p, page in journals.items()}
    await one.project(first)

    with pytest.raises(LostError):
        await other.project(journals)
    await one.project({p: page[2:] for p, page in journals.items() if page[2:]})

    assert await one.dump() == await whole.dump()
    await one.close()
    await other.close()


async def test_what_the_ledger_holds_already_is_not_derived_twice(journals, whole, tmp_path):
    """After an adoption the journals are read from their beginning."""
    book = await Book(tmp_path).open()
    await book.project({p: page[: len(page) // 2 + 1] for p, page in journals.items()})
    async with book.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE positions SET last_id = ''")
    await book.open()

    await book.project(journals)

    assert await book.dump() == await whole.dump()
    await book.close()


async def test_an_entry_that_cannot_be_read_is_kept_counted_and_passed(journals, whole, tmp_path):
    book = await Book(tmp_path).open()
    partition, page = next(iter(journals.items()))
    strange = [
        (1, 0, "turn", b"\xc1"),
        (1, 1, "song", b""),
        (1, 2, "turn", b"\x81\xa2at\x01"),
        (1, 3, "status", b"\x90"),
    ]

    await book.project({**journals, partition: [*strange, *page]})

    found, usual = await book.dump(), await whole.dump()
    assert book.unreadable == 4
    assert len(found.pop("journal")) == len(usual.pop("journal")) + 4
    assert found == usual
    await book.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_a_database_does_not_take_holds_up_nothing(journals, whole, tmp_path, kind, request):
    """A text with a NUL, a sum that no integer holds: the first is mended, the second stays raw; all else is derived."""
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else "sqlite:book.db"
    book = Book(tmp_path)
    await book.close()
    book.engine = open_engine(database_url(url, tmp_path), writer=True)
    await book.open()
    message = OutboundMessage("m_nul", "b_1", "h", "a", "to", "reply", Text("a\0b"), 5)
    spoken = TurnEntry(5, "address:a:to", b"", messages=[dump_message(message)])
    dear = Order("o", "main", "order:main:o", total=Money(Decimal(10) ** 30, "CNY"))
    strange = [
        (1, n, "turn", dump(entry))
        for n, entry in enumerate((spoken, TurnEntry(5, dear.subject, b"", record=dump_record(dear))))
    ]
    partition = min(journals)

    await book.project({**journals, partition: [*strange, *journals[partition]]})

    found, usual = await book.dump(), await whole.dump()
    assert book.unreadable == 1
    words = [column.name for column in tables.messages.columns].index("text")
    texts = {row[0]: row[words] for row in found["messages"]}
    assert texts.pop("m_nul") == ("a\ufffdb" if kind == "postgresql" else "a\0b")
    assert texts == {row[0]: row[words] for row in usual["messages"]}
    for name in ("buyers", "orders", "timeline", "decisions", "coupons", "owners", "tasks"):
        assert found[name] == usual[name]
    await book.close()
