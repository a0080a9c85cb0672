"""The ledger's part of an erasure on a ledger made by hand: the person leaves every table, what counts stays, others lose nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, select

from bot.erasing import Wanted
from bot.journal import ConsentRecord, NoteRecord, SendEntry, TurnEntry, dump
from ledger import batch, schema
from ledger import tables as t
from ledger.database import database_url, open_engine, writing
from ledger.facts import EPOCH, set_fact
from ledger.forgetting import Forgetting
from ledger.reading import History
from tests.ledger import test_scrub as person

NOW, PHONE = person.NOW, person.PHONE
OWN = [person.HOME, PHONE, person.OPENID, person.CARD, "阮清和", "1987-06-05", "203.0.113.9", person.SHOPPER]
CHANGED_HANDS = dump(
    person.turn(person.OTHER_HOME, "b_other", event=person.said(person.OTHER_HOME, f"now I have {PHONE}"))
)


def mine(at: int) -> TurnEntry:
    return person.turn(
        person.HOME, "b_me", record=person.dump_record(person.me()), decisions=[person.decision("b_me", f"to {PHONE}")],
        messages=[person.message("b_me", person.OPENID, person.HOME)], tasks=[person.task("b_me", person.HOME, f"call {PHONE}")],
        notes=[NoteRecord("said", f"你好 {at}")],
        consents=[ConsentRecord("chat", person.OPENID, "marketing", "granted", NOW, ip="203.0.113.9")],
    )  # fmt: skip


def theirs() -> TurnEntry:
    """Somebody else's, whose words, work and decisions name the person."""
    home = person.OTHER_HOME
    consents = [ConsentRecord("chat", person.OTHER_OPENID, "marketing", "granted", NOW, wording="w")]
    other = person.Buyer("b_other", home, 1, name="王五", phones=[person.OTHER_PHONE])
    return person.turn(
        home, "b_other", event=person.said(home, f"ask {PHONE}, that is my sister"), record=person.dump_record(other),
        decisions=[person.decision("b_other", f"not {PHONE}")], notes=[NoteRecord("noted", "hi")], consents=consents,
        messages=[person.message("b_other", person.OTHER_OPENID, home, id="m_2", words=f"您问的是 {PHONE}")],
        tasks=[person.task("b_other", home, f"ring {PHONE}", id="t_2")],
    )  # fmt: skip


@pytest.fixture
async def history(tmp_path):
    url = database_url("sqlite:ledger.db", tmp_path)
    engine = open_engine(url, writer=True)
    await schema.migrate(engine)
    async with writing(engine) as connection:
        await set_fact(connection, EPOCH, "pair")
    await batch.prepare(engine, 2)
    sent = dump(SendEntry("m_1", "sent", NOW, 1, "chat", "b_me", "service", provider_id="wamid", parts=1))
    page = [
        (4, 0, "of a later release", person.pack({"of": PHONE})),
        (5, 0, "turn", dump(mine(5))),
        (6, 0, "send", sent),
        (7, 0, "turn", dump(theirs())),
        (9, 0, "turn", CHANGED_HANDS),
    ]
    await batch.project(engine, {1: page}, epoch="pair", positions={1: ""}, tops={1: 0}, currency="CNY")
    async with writing(engine) as connection:
        for buyer, home in (("b_me", person.HOME), ("b_other", person.OTHER_HOME)):
            row = {"broadcast": "bc_1", "partition": 1, "buyer": buyer, "home": home}
            await connection.execute(insert(t.audiences).values(row))
    await engine.dispose()
    found = History(url)
    yield found
    await found.close()


def wanted(**fields) -> Wanted:
    of = person.PERSON
    return Wanted(
        id="b_me", ids=sorted(of.ids), subjects=sorted(of.subjects), words=sorted(of.words), orders=sorted(of.orders),
        heads={1: "8-0"}, **fields,
    )  # fmt: skip


async def rows(history: History) -> dict[str, list]:
    async with history.connection() as connection:
        return {
            table.name: sorted(map(tuple, await connection.execute(select(table))), key=repr)
            for table in t.metadata.sorted_tables
        }


def telling(found: dict[str, list]) -> set[str]:
    """The tables that name the person."""
    bytes_of = {
        name: b"\n".join(x if isinstance(x, bytes) else str(x).encode() for row in every for x in row)
        for name, every in found.items()
    }
    return {name for name, data in bytes_of.items() if any(word.encode() in data for word in OWN)}


async def test_the_person_leaves_every_table_and_what_counts_stays(history):
    """What came after the head belongs to whoever has the number now."""
    before = await rows(history)
    assert {
        "journal",
        "buyers",
        "phones",
        "addresses",
        "consents",
        "decisions",
        "messages",
        "tasks",
        "audiences",
    } <= telling(before)

    for _ in range(2):  # as often as an erasure is broken off
        await Forgetting(history).forget(wanted())

        found = await rows(history)
        assert [row[-1] for row in found["journal"] if row[1] == 9] == [CHANGED_HANDS]
        for name in ("journal", "timeline"):
            found[name] = [row for row in found[name] if row[1] != 9]
        assert telling(found) == set()
        assert [row[1] for row in found["journal"]] == [5, 6, 7]  # what cannot be read goes whole
        for name in ("messages", "history", "decisions", "tasks", "coupons", "audiences", "buyers"):
            assert len(found[name]) == len(before[name]), name
    async with history.connection() as connection:
        states = dict(tuple(row) for row in await connection.execute(select(t.messages.c.id, t.messages.c.state)))
        assert states == {"m_1": "sent", "m_2": "queued"}
        work = dict(tuple(row) for row in await connection.execute(select(t.tasks.c.id, t.tasks.c.state)))
        assert work == {"t_1": "expired", "t_2": "open"}
        summaries = set(await connection.scalars(select(t.timeline.c.summary)))
        assert {"hi", "parcel open"} <= summaries
        names = dict(tuple(row) for row in await connection.execute(select(t.buyers.c.id, t.buyers.c.name)))
        assert (names["b_me"], names["b_other"]) == ("", "王五")
        homes = dict(tuple(row) for row in await connection.execute(select(t.audiences.c.buyer, t.audiences.c.home)))
        assert homes == {"b_me": "", "b_other": person.OTHER_HOME}
        assert list(await connection.scalars(select(t.consents.c.buyer))) == ["b_other"]
        assert set(await connection.scalars(select(t.timeline.c.buyer))) == {"b_other"}


async def test_who_falls_silent_leaves_the_evidence_for_its_time(history):
    """Of the consents alone; who then asks to be erased takes that, too."""
    await Forgetting(history).forget(wanted(aged=True, evidence_until=NOW + 5))
    assert telling(await rows(history)) - {"journal", "timeline"} == {"consents"}
    async with history.connection() as connection:
        kept = dict(tuple(row) for row in await connection.execute(select(t.consents.c.buyer, t.consents.c.kept_until)))
    assert kept == {"b_me": NOW + 5, "b_other": 0}
    await Forgetting(history).forget(wanted(aged=True, evidence_until=NOW + 99))  # once more does not put its end off
    async with history.connection() as connection:
        assert NOW + 99 not in set(await connection.scalars(select(t.consents.c.kept_until)))
    await Forgetting(history).forget(Wanted("b_new", ["b_new"], [], [person.OPENID], [], heads={1: "8-0"}))
    assert telling(await rows(history)) - {"journal", "timeline"} == set()


async def test_rows_that_outlived_their_entries_forget_the_person_as_well(history):
    """The raw journal goes earlier where the shop says so: what was derived from it is the person's all the same."""
    engine = open_engine(history.engine.url, writer=True)
    async with writing(engine) as connection:
        await connection.execute(delete(t.journal))
    await engine.dispose()

    await Forgetting(history).forget(wanted())

    found = await rows(history)
    assert telling({name: [row for row in every if "b_other" not in row] for name, every in found.items()}) == set()
