"""What is older than the shop keeps it goes from the ledger; a rebuild neither brings it back nor loses what stays."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select, update

from bot.codec import dump_message
from bot.journal import SendEntry, TurnEntry, dump
from bot.keeping import Terms, months_from
from bot.messages import OutboundMessage, Text
from ledger import batch, move, rebuild, retention, schema
from ledger import tables as t
from ledger.database import database_url, open_engine, writing
from ledger.facts import REBUILD, UNREADABLE, fact, set_fact
from ledger.retention import Retention
from tests.ledger.life import Book
from tests.ledger.test_projector import journals

__all__ = ["journals"]  # the fixture
NOW = months_from(0, 12 * 90)  # far behind everything that was recorded


class Shelf(Book):
    """A ledger whose time passes."""

    @classmethod
    async def on(cls, engine) -> Shelf:
        shelf = cls.__new__(cls)
        shelf.engine, shelf.positions, shelf.unreadable = engine, {}, 0
        shelf.positions, shelf.tops = await batch.prepare(engine, 64)
        return shelf

    async def age(self, keep: int, raw: int | None = None, *, most: int = 1_000_000) -> None:
        """What was told before these times goes (real ms), as a round does it; `most` steps at most."""
        old = retention.Before(keep=keep, raw=raw if raw is not None else keep, evidence=0)
        aging = Retention(self.engine, 64, Terms())
        aging._steps.extend(retention._round(old, 64, NOW))
        for _ in range(most):
            if not aging._steps:
                return
            await aging.step(NOW)

    async def rebuild(self) -> None:
        await rebuild.begin(self.engine)
        while await rebuild.step(self.engine, "CNY"):
            pass
        async with self.engine.connect() as connection:
            assert await fact(connection, UNREADABLE) == ""  # nothing broke on a row that was there already

    async def rows(self) -> dict[str, list[tuple]]:
        """All but the marks, which a rebuild leaves."""
        found = {}
        async with self.engine.connect() as connection:
            for table in t.metadata.sorted_tables:
                if table.name not in ("facts", "positions"):
                    columns = [c for c in table.columns if c.name not in ("r", "f", "m", "rooted")]
                    rows = await connection.execute(select(*columns).order_by(*table.primary_key.columns))
                    found[table.name] = [tuple(row) for row in rows]
        return found


@pytest.fixture
async def shelf(both, journals):
    return await Shelf.on(both)


def places(journals) -> list[tuple[int, int]]:
    return sorted((ms, seq) for page in journals.values() for ms, seq, *_ in page)


def split(journals, at: int) -> tuple[dict, dict]:
    """What was told before a time, and what later."""
    early = {p: [raw for raw in page if raw[0] < at] for p, page in journals.items()}
    late = {p: [raw for raw in page if raw[0] >= at] for p, page in journals.items()}
    return ({p: page for p, page in both.items() if page} for both in (early, late))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
async def test_a_rebuild_neither_brings_back_nor_loses(shelf, journals, share):
    """Whatever part of the day is too old: after the round, deriving anew gives the tables as they are."""
    await shelf.project(journals)
    whole = await shelf.rows()
    at = places(journals)[int((len(places(journals)) - 1) * share)][0] + (share == 1.0)

    await shelf.age(at)

    kept = await shelf.rows()
    assert all(row[1] >= at for name in ("journal", "timeline", "decisions") for row in kept[name])
    for name in ("buyers", "orders", "items", "owners", "coupons", "consents", "phones", "addresses", "audiences"):
        assert kept[name] == whole[name], name  # who is alive loses nothing but history
    assert len(kept["timeline"]) < len(whole["timeline"])
    await shelf.rebuild()
    assert await shelf.rows() == kept
    await shelf.rebuild()
    assert await shelf.rows() == kept


@pytest.mark.parametrize("seed", range(3))
async def test_time_passes_while_things_happen(shelf, journals, tmp_path, seed):
    """Pages, rounds that break off, rebuilds, in any order: what stays is what a ledger holds that was told all at once."""
    draw = random.Random(seed)
    whole = Book(tmp_path)
    await whole.open()
    await whole.project(journals)
    all_rows = await Shelf.rows(whole)
    await whole.close()
    times = sorted(draw.sample([ms for ms, _ in places(journals)], 3))
    rest = dict(journals)
    for at in times:
        early, rest = split(rest, at)
        if early:
            await shelf.project(early)
        await shelf.age(at - draw.randint(0, 300), most=draw.choice([2, 7, 1_000_000]))
        if draw.random() < 0.6:
            await shelf.rebuild()
    if rest:
        await shelf.project(rest)
    await shelf.rebuild()
    await shelf.age(times[-1])
    kept = await shelf.rows()
    for name in ("buyers", "orders", "items", "owners", "coupons", "consents", "phones", "addresses"):
        assert kept[name] == all_rows[name], name
    for name in ("timeline", "decisions", "journal"):
        assert kept[name] == [row for row in all_rows[name] if row[1] >= times[-1]], name
    gone = {row[0] for row in all_rows["messages"]} - {row[0] for row in kept["messages"]}
    assert [row for row in all_rows["messages"] if row[0] not in gone] == kept["messages"]
    assert [row for row in all_rows["history"] if row[4] not in gone] == kept["history"]
    await shelf.rebuild()
    assert await shelf.rows() == kept


async def test_the_raw_journal_may_go_earlier(shelf, journals):
    """With `raw_months` below `keep_months` the lines stay, though nothing is left to derive them from."""
    await shelf.project(journals)
    whole = await shelf.rows()
    middle = places(journals)[len(places(journals)) // 2][0]

    await shelf.age(0, raw=middle)

    kept = await shelf.rows()
    assert all(row[1] >= middle for row in kept.pop("journal"))
    whole.pop("journal")
    assert kept == whole
    await shelf.rebuild()
    found = await shelf.rows()
    found.pop("journal")
    assert found == whole


async def test_late_news_of_a_message_that_is_gone_makes_no_row(shelf, journals):
    await shelf.project(journals)
    end = places(journals)[-1][0] + 1
    await shelf.age(end)
    assert (await shelf.rows())["messages"] == []
    partition = min(journals)

    await shelf.project({partition: [(end + 5, 0, "status", b"\x94\xa1m\xa4sent\x01\xa0")]})

    assert (await shelf.rows())["messages"] == []


async def test_nothing_goes_while_tables_are_derived_anew(shelf, journals):
    """An entry that was not told once more yet would be lost."""
    await shelf.project(journals)
    whole = await shelf.rows()
    async with writing(shelf.engine) as connection:
        await set_fact(connection, REBUILD, "0::0")
    aging = Retention(shelf.engine, 64, Terms(keep=1))

    assert not await aging.step(NOW)

    assert await shelf.rows() == whole
    async with writing(shelf.engine) as connection:
        await set_fact(connection, REBUILD, "")
    while await aging.step(NOW):
        pass
    assert not (await shelf.rows())["journal"]
    assert (await shelf.rows())["consents"] == whole["consents"]
    assert not await aging.step(NOW + 1)  # an hour later again


async def test_what_was_adopted_does_not_come_back(shelf, journals):
    """After an adoption the journals of the store are read from their beginning: what went by age stays away."""
    await shelf.project(journals)
    await shelf.age(places(journals)[-1][0] + 1)
    kept = await shelf.rows()
    async with writing(shelf.engine) as connection:
        await connection.execute(update(t.positions).values(last_id=""))
    shelf.positions, shelf.tops = await batch.prepare(shelf.engine, 64)

    await shelf.project(journals)

    assert await shelf.rows() == kept


async def test_evidence_outlives_its_buyer_for_its_own_time(shelf, journals):
    await shelf.project(journals)
    async with writing(shelf.engine) as connection:
        await connection.execute(update(t.consents).values(kept_until=NOW + 10))
    async with writing(shelf.engine) as connection:
        await retention._evidence(connection, NOW + 9)
        assert await connection.scalar(select(t.consents.c.kept_until).limit(1))
        await retention._evidence(connection, NOW + 10)
        assert await connection.scalar(select(t.consents.c.kept_until).limit(1)) is None


async def test_a_move_takes_what_no_raw_entry_tells_any_more(journals, tmp_path):
    """From a ledger whose oldest entries are gone to another one: the same tables after the rebuild."""
    first = open_engine(database_url("sqlite:one.db", tmp_path), writer=True)
    await schema.migrate(first)
    one = await Shelf.on(first)
    await one.project(journals)
    await one.age(places(journals)[len(places(journals)) // 2][0])
    kept = await one.rows()
    await first.dispose()

    await move.move("sqlite:one.db", "sqlite:two.db", tmp_path)

    second = open_engine(database_url("sqlite:two.db", tmp_path), writer=True)
    two = await Shelf.on(second)
    assert await two.rows() == kept
    await two.rebuild()
    assert await two.rows() == kept
    await second.dispose()


async def test_what_would_go_is_told_and_is_what_goes(shelf, journals):
    await shelf.project(journals)
    terms = Terms(keep=1)
    told = await retention.due(shelf.engine, terms, NOW)
    before = {name: len(rows) for name, rows in (await shelf.rows()).items()}
    aging = Retention(shelf.engine, 64, terms)
    while await aging.step(NOW):
        pass
    after = {name: len(rows) for name, rows in (await shelf.rows()).items()}
    gone = {name: before[name] - after[name] for name in before}
    assert (told.raw, told.timeline, told.decisions) == (gone["journal"], gone["timeline"], gone["decisions"])
    assert (told.messages, told.tasks) == (gone["messages"], gone["tasks"])
    assert told.buyers == 1  # all the others became this one
    assert told.orders == before["orders"]


async def test_a_message_that_was_planned_twice_stands_as_it_was_left(shelf, journals):
    """It waited for its hour, and is in doubt: only its second planning is left, and tells nothing twice."""
    message = OutboundMessage("m_twice", "b_1", "h", "a", "to", "service", Text("words"), 5)
    planned = dump(TurnEntry(5, "address:a:to", b"", messages=[dump_message(message)]))
    doubt = dump(SendEntry("m_twice", "in_doubt", 30, 1, "a", "b_1", "service"))
    partition = min(journals)
    await shelf.project({partition: [(10, 0, "turn", planned), (20, 0, "turn", planned), (30, 0, "send", doubt)]})
    kept = await shelf.rows()
    assert [row[5] for row in kept["history"]] == ["queued", "queued", "in_doubt"]

    await shelf.age(0, raw=15)

    await shelf.rebuild()
    found = await shelf.rows()
    assert len(found.pop("journal")) == len(kept.pop("journal")) - 1
    assert found == kept
