"""`touchpoint ledger export` as an operator runs it: spans, forms, files, bad input."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc

import pytest

from bot.wording import Wordings
from ledger import exporting, schema
from ledger import tables as t
from ledger.database import database_url, open_engine, writing
from ledger.derive.state import blank
from ledger.storing import add
from tests.ledger.test_commands import touchpoint
from tests.ledger.test_projector import ROOT, write_config

DAY = 86_400_000
START = 1_767_196_800_000  # 2026-01-01 in Shanghai
PROOF = Wordings.load(ROOT / "templates").evidence("page_marketing", "zh-CN")


def answer(n: int, **more) -> dict:
    row = blank(t.consents, partition=n % 3, ms=n, seq=0, line=0, buyer=f"b_{n}", account="sms-main", topic="marketing")
    return row | {"address": "+8613900001234", "verdict": "granted", "at": START + n * DAY} | more


@pytest.fixture
async def config(tmp_path):
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await schema.migrate(engine)
    rows = [answer(n, wording=PROOF, source="page:settings", ip="203.0.114.7") for n in range(4)]
    rows += [answer(4, wording="=cmd|' /C calc'!A0", source="@x", browser='Mozilla, "5"\n0')]
    message = blank(t.messages, id="m_1", partition=0, buyer="b_1", text="＝1+1", created_at=START, state="sent")
    decision = blank(
        t.decisions,
        partition=0,
        ms=1,
        seq=0,
        line=0,
        outcome="skip",
        at=START,
        rules='[{"rule":"caps","verdict":"deny"}]',
    )
    line = blank(t.timeline, partition=0, ms=1, seq=0, line=0, buyer="b_1", at=START, kind="staff", summary="-2+3")
    async with writing(engine) as connection:
        for table, some in (
            (t.consents, rows),
            (t.messages, [message]),
            (t.decisions, [decision]),
            (t.timeline, [line]),
        ):
            await add(connection, table, some)
    await engine.dispose()
    return write_config(tmp_path, "redis://127.0.0.1:1")  # no store is asked


async def test_a_span_of_consents_for_a_spreadsheet(config, tmp_path):
    """Days are the shop's, both with it; nothing can be run; the file is its owner's."""
    out = tmp_path / "consents.csv"
    out.write_text("older")
    out.chmod(0o644)
    code, said = await touchpoint(
        config, "ledger", "export", "consents", "--since", "2026-01-02", "--until", "2026-01-05", "--out", str(out)
    )
    assert (code, said) == (0, f"4 rows in {out}\n")
    assert out.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(out.read_bytes().decode("utf-8-sig"), newline="")))
    assert sorted(row["at"] for row in rows) == [f"2026-01-0{n}T16:00:00Z" for n in range(1, 5)]
    found = {row["buyer"]: row for row in rows}
    assert found["b_1"]["wording"] == PROOF
    assert "小满衣橱" in found["b_1"]["shown"] or len(found["b_1"]["shown"]) > 5
    assert (found["b_1"]["ip"], found["b_1"]["address"]) == ("203.0.114.7", "+8613900001234")
    assert found["b_4"]["wording"] == "'=cmd|' /C calc'!A0"
    assert (found["b_4"]["source"], found["b_4"]["shown"]) == ("'@x", "")
    assert found["b_4"]["browser"] == 'Mozilla, "5"\n0'


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("messages", "text", "＝1+1"),
        ("decisions", "rules", [{"rule": "caps", "verdict": "deny"}]),
        ("timeline", "summary", "-2+3"),
    ],
)
async def test_json_lines_for_programs(config, tmp_path, kind, cell, value):
    """As they are; the same cells in CSV are marked as text."""
    out = tmp_path / "out"
    code, said = await touchpoint(config, "ledger", "export", kind, "--jsonl", "--out", str(out))
    assert code == 0, said
    [row] = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert row[cell] == value
    assert row[exporting.KINDS[kind].at] == "2025-12-31T16:00:00Z"
    code, said = await touchpoint(config, "ledger", "export", kind)
    assert code == 0
    assert "1 rows" in said
    assert ("'" + value if isinstance(value, str) else '""caps""') in said


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["orders"], "orders: there is no such export; there are: consents, messages, decisions, timeline"),
        (["consents", "--since", "yesterday"], "--since yesterday: must be a day or a time, such as 2026-11-01"),
        (["consents", "--until", "2026-02-30"], "--until 2026-02-30: must be a day"),
        (
            ["consents", "--since", "2026-02-02", "--until", "2026-02-01"],
            "--until 2026-02-01: lies before --since 2026-02-02",
        ),
        (["consents", "--out", "/nowhere/x.csv"], "/nowhere/x.csv: cannot be written (No such file or directory)"),
    ],
)
async def test_what_cannot_be_is_told(config, words, fault):
    code, said = await touchpoint(config, "ledger", "export", *words)
    assert code == 2
    assert fault in said
    assert "Traceback" not in said


async def test_a_long_history_takes_no_more_memory_and_misses_nothing(both, tmp_path):
    """Pages of equal times, on both databases: each row once, in flat memory."""
    count = 12_000
    async with writing(both) as connection:
        for first in range(0, count, 3_000):
            part = range(first, first + 3_000)
            await add(
                connection,
                t.messages,
                [
                    blank(t.messages, id=f"m_{n:06d}", partition=0, text="x" * 300, created_at=START + n // 5_000)
                    for n in part
                ],
            )
    path = tmp_path / "m.csv"
    tracemalloc.start()
    with path.open("w", newline="") as out:
        kind = exporting.KINDS["messages"]
        found = await exporting.export(both, kind, (0, exporting.LAST), out, lines=False, shown=str)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == count
    names = [row["id"] for row in csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))]
    assert names == [f"m_{n:06d}" for n in range(count)]
    assert peak < 8_000_000 < path.stat().st_size * 2
