"""What the API asks of the ledger, on both databases: filters find exactly what they say, pages neither repeat nor leave out."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest
from sqlalchemy import insert

from bot import ids
from ledger import lookups
from ledger import tables as t
from ledger.database import reading, writing
from ledger.derive.state import blank

BUYERS = [ids.new("b", partition) for partition in (1, 2, 3)]
BASE = 1_796_090_400_000
RULES = ("marketing_hours", "frequency", "consent")


def place(n: int) -> dict[str, int]:
    return {"partition": n % 5, "ms": BASE + n, "seq": n % 3, "line": n % 2}


async def fill(engine, table, rows) -> None:
    async with writing(engine) as connection:
        await connection.execute(insert(table), [blank(table, **row) for row in rows])


async def whole(engine, read, limit=10_000, **filters):
    async with reading(engine) as connection:
        return await read(connection, limit=limit, **filters)


async def paged(engine, read, key, size, **filters):
    found, at = [], None
    while True:
        page = await whole(engine, read, limit=size, before=at, **filters)
        found += page
        if len(page) < size:
            return found
        at = key(page[-1])


@pytest.mark.parametrize("size", [1, 7, 60])
async def test_timelines(both, size) -> None:
    """Many lines of one moment, of several ids of one buyer."""
    rows = [
        {**place(n), "buyer": random.choice(BUYERS), "at": BASE + random.randrange(9), "kind": "k", "summary": f"{n}"}
        for n in range(120)
    ]
    await fill(both, t.timeline, rows)
    known = set(BUYERS[:2])
    found = await whole(both, lambda c, **f: lookups.timeline(c, known, before=None, **f))
    wanted = [r for r in rows if r["buyer"] in known]
    wanted.sort(key=lambda r: (r["at"], r["partition"], r["ms"], r["seq"], r["line"]), reverse=True)
    assert [row.summary for _, row in found] == [r["summary"] for r in wanted]
    pages = await paged(both, lambda c, **f: lookups.timeline(c, known, **f), lambda one: one[0], size)
    assert [row.summary for _, row in pages] == [r["summary"] for r in wanted]


async def test_messages(both) -> None:
    """By buyer, by an order of theirs that named nobody, by state, by broadcast."""
    rows = [
        {
            "id": ids.new("m", 1), "partition": 1, "buyer": random.choice([*BUYERS, ""]), "state": random.choice(["sent", "failed"]),
            "created_at": BASE + random.randrange(5), "broadcast": random.choice(["", "bc1"]), "purpose": "service", "text": "x",
            "order_subject": random.choice(["", "order:main:1", "order:main:2"]), "price": "0.05 CNY", "parts": 2,
        }
        for _ in range(90)
    ]  # fmt: skip
    await fill(both, t.messages, rows)
    await fill(
        both,
        t.owners,
        [{"subject": "order:main:1", "buyer": BUYERS[0]}, {"subject": "order:main:2", "buyer": BUYERS[1]}],
    )
    theirs = {"order:main:1": BUYERS[0], "order:main:2": BUYERS[1]}

    def whose(row):
        return row["buyer"] or theirs.get(row["order_subject"], "")

    for filters, keep in (
        ({}, lambda r: True),
        ({"buyers_wanted": [BUYERS[0]]}, lambda r: whose(r) == BUYERS[0]),
        (
            {"buyers_wanted": BUYERS[:2], "states": {"failed"}},
            lambda r: whose(r) in BUYERS[:2] and r["state"] == "failed",
        ),
        ({"broadcast": "bc1"}, lambda r: r["broadcast"] == "bc1"),
    ):
        wanted = sorted((r for r in rows if keep(r)), key=lambda r: (r["created_at"], r["id"]), reverse=True)
        for size in (1, 8, 1000):
            found = await paged(
                both, lookups.messages, lambda m: (m[0].message.created_at, m[0].message.id), size, **filters
            )
            assert [(m.message.id, m.message.buyer or owner) for m, owner in found] == [
                (r["id"], whose(r)) for r in wanted
            ]
    one = rows[0]["id"]
    await fill(
        both,
        t.history,
        [{**place(n), "message": one, "state": s, "at": BASE + n} for n, s in enumerate(("queued", "sent"))],
    )
    async with reading(both) as connection:
        found = await lookups.message(connection, one)
        assert await lookups.message(connection, "m_nothing") is None
    assert found is not None
    assert [step[0] for step in found[0].history] == ["queued", "sent"]
    assert found[0].message.price.amount == Decimal("0.05")


async def test_decisions(both) -> None:
    """Why was this not sent: by person, order, message, rule, outcome."""
    rows = []
    for n in range(150):
        rules = [{"rule": rule, "verdict": "deny", "detail": "", "until": 0} for rule in random.sample(RULES, 2)]
        rows.append(
            {
                **place(n), "message": f"m{n % 40}", "buyer": random.choice([*BUYERS, ""]), "at": BASE + random.randrange(7),
                "outcome": random.choice(["send", "skip"]), "order_id": random.choice(["", "7"]), "rules": json.dumps(rules, separators=(",", ":")),
                "order_subject": random.choice(["", "order:main:7"]), "purpose": "service",
            }
        )  # fmt: skip
    await fill(both, t.decisions, rows)
    await fill(both, t.owners, [{"subject": "order:main:7", "buyer": BUYERS[2]}])

    def whose(row):
        return row["buyer"] or (BUYERS[2] if row["order_subject"] else "")

    for filters, keep in (
        ({}, lambda r: True),
        ({"buyers_wanted": [BUYERS[2]]}, lambda r: whose(r) == BUYERS[2]),
        ({"same": {"order_id": "7", "outcome": "skip"}}, lambda r: r["order_id"] == "7" and r["outcome"] == "skip"),
        ({"same": {"message": "m3"}}, lambda r: r["message"] == "m3"),
        ({"rule": "frequency"}, lambda r: '"frequency"' in r["rules"]),
        ({"rule": "frequenc_"}, lambda r: False),
    ):
        wanted = sorted(
            (r for r in rows if keep(r)),
            key=lambda r: (r["at"], r["partition"], r["ms"], r["seq"], r["line"]),
            reverse=True,
        )
        for size in (3, 1000):
            found = await paged(both, lookups.decisions, lambda d: d.mark, size, **filters)
            assert [(d.decision.message, d.decision.buyer or d.owner) for d in found] == [
                (r["message"], whose(r)) for r in wanted
            ]
            assert all(d.decision.rules[0].verdict == "deny" for d in found)


async def test_orders_and_tasks(both) -> None:
    orders = [
        {"subject": f"order:main:{n}:ß", "shop": "main", "id": f"{n}:ß", "pay": random.choice(["paid", "unpaid"]), "placed_at": BASE + n % 4}
        for n in range(40)
    ]  # fmt: skip
    await fill(both, t.orders, orders)
    await fill(both, t.owners, [{"subject": o["subject"], "buyer": BUYERS[0]} for o in orders[:15]])
    tasks = [
        {"id": f"t{n}", "kind": "refund", "state": random.choice(["open", "done"]), "buyer": "", "created_at": BASE + n % 3, "order_subject": o["subject"]}
        for n, o in enumerate(orders)
    ]  # fmt: skip
    await fill(both, t.tasks, tasks)
    for filters, keep in (
        ({}, lambda r: True),
        ({"buyers_wanted": [BUYERS[0]]}, lambda r: r in orders[:15]),
        ({"same": {"pay": "paid"}}, lambda r: r["pay"] == "paid"),
    ):
        wanted = sorted(((r["placed_at"], r["subject"]) for r in orders if keep(r)), reverse=True)
        for size in (4, 1000):
            assert [one[0] for one in await paged(both, lookups.orders, lambda o: o[0], size, **filters)] == wanted
    found = await paged(
        both,
        lookups.tasks,
        lambda one: (one[0].created_at, one[0].id),
        3,
        buyers_wanted=[BUYERS[0]],
        same={"state": "open"},
    )
    wanted = [r for r in tasks[:15] if r["state"] == "open"]
    assert sorted((task.id, owner) for task, owner in found) == sorted((r["id"], BUYERS[0]) for r in wanted)


async def test_names(both) -> None:
    """A part of a name, however it is cased, wildcards taken as they are; erased and merged buyers are nobody."""
    names = {
        "小满": {},
        "Élodie 100%": {},
        "ÉLODIE_x": {},
        "100X": {},
        "gone élodie": {"erased": True},
        "was élodie": {"merged_into": "b"},
    }
    await fill(
        both,
        t.buyers,
        [{"id": f"b_{n}", "partition": 0, "name": name, **more} for n, (name, more) in enumerate(names.items())],
    )
    for part, wanted in (
        ("élodie", {1, 2}),
        ("満", set()),
        ("满", {0}),
        ("100%", {1}),
        ("_X", {2}),
        ("x", {2, 3}),
        ("", {0, 1, 2, 3}),
    ):
        async with reading(both) as connection:
            found = await lookups.buyers(connection, part=part, limit=10)
        assert {int(one.id[2:]) for one in found} == wanted, part
    async with reading(both) as connection:
        first = await lookups.buyers(connection, limit=2)
        assert [b.id for b in await lookups.buyers(connection, after=first[-1].id, limit=10)] == ["b_2", "b_3"]
        assert await lookups.buyers(connection, members=True, limit=10) == []
