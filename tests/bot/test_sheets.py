"""Tables from files: every encoding and separator that spreadsheets write, and what is wrong kept aside by its line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import sheets

COLUMNS = {"id": ("商品编号", "货号"), "title": ("商品名称", "标题"), "stock": ("库存", "庫存")}
CELLS = st.text(
    st.characters(codec="gb18030", exclude_categories=("Cs", "Cc", "Cn", "Co"), exclude_characters="\ufffd\ufeff")
    | st.sampled_from(',;\t"\n'),
    max_size=12,
).map(str.strip)


def written(rows, header, encoding: str, separator: str, bom: bytes = b"", end: str = "\r\n") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerows([header, *rows])
    return bom + out.getvalue().encode(encoding)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize(
    "header", [("id", "title", "stock"), ("货号", "商品名称", "库存（件）"), (" ID ", "Title", "STOCK")]
)
@pytest.mark.parametrize(
    ("encoding", "bom"),
    [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("gbk", b""), ("gb18030", b""), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-16-le", b"")],
)  # fmt: skip
def test_each_way_to_write_a_table(tmp_path: Path, encoding, bom, header, separator, end):
    """The same rows come out of every file; a line break inside quotation marks belongs to its cell."""
    rows = [("31", "亚麻衬衫\n宽松，夏", "3"), ("32", '说"好"的大衣;,\t', "0")]
    path = tmp_path / "products.csv"
    path.write_bytes(written(rows, header, encoding, separator, bom, end))
    sheet = sheets.read(path, COLUMNS, needs=[("id",)])
    assert [(row["id"], row["title"], row["stock"]) for row in sheet.rows] == [
        tuple(c.strip() for c in r) for r in rows
    ]
    assert [row.line for row in sheet.rows] == [2, 4]
    assert sheet.separator == separator
    assert sheet.rejected == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), min_size=1, max_size=6),
    st.sampled_from(
        [("utf-8", b"\xef\xbb\xbf"), ("utf-8", b""), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]
    ),
    st.sampled_from(",;\t"),
)
def test_what_is_written_is_read(tmp_path: Path, rows, kind, separator):
    encoding, bom = kind
    path = tmp_path / "table.csv"
    path.write_bytes(written(rows, ("商品编号", "标题", "库存"), encoding, separator, bom))
    sheet = sheets.read(path, COLUMNS)
    got = [(row["id"], row["title"], row["stock"]) for row in sheet.rows]
    want = [tuple(cell.replace("\r\n", "\n") for cell in row) for row in rows]
    assert [tuple(c.replace("\r\n", "\n") for c in row) for row in got] == want


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", "商品编号,标题\n".encode(), "商品编号,标题\n".encode("gbk"), b"\xff\xfei\0d\0"]),
)
def test_no_file_breaks_it(tmp_path: Path, noise, start):
    """Any bytes: a table, or one plain line that says what is missing."""
    path = tmp_path / "noise.csv"
    path.write_bytes(start + noise)
    told = ""
    try:
        sheets.read(path, COLUMNS)
    except sheets.SheetError as error:
        told = str(error)
    assert "\n" not in told


def test_rows_at_fault_are_kept_aside_and_can_be_mended(tmp_path: Path):
    """By their lines, with the reason; the file of them is imported again like any other."""
    path = tmp_path / "p.csv"
    path.write_bytes("id,title,stock,note\n1,好,3,x\n2,a,b,c,d\n\n3,坏\ufffd,1,\n4,尾,5,y\n".encode())
    sheet = sheets.read(path, COLUMNS)
    assert [row["id"] for row in sheet.rows] == ["1", "4"]
    assert sheet.unknown == ("note",)
    sheet.reject(sheet.rows[1], "stock is too high")
    aside = sheet.put_aside()
    text = aside.read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == "line,reason,id,title,stock,note"
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == ["3", "5", "6"]
    again = sheets.read(aside, COLUMNS)
    assert [row["id"] for row in again.rows] == ["4"]
    assert again.unknown == ("note",)
    sheet.rejected.clear()
    assert sheet.put_aside() is None
    assert not aside.exists()


def test_an_open_quotation_mark_says_what_it_took(tmp_path: Path):
    path = tmp_path / "p.csv"
    path.write_text('id,title\n1,a\n2,"b\n3,c\n4,d\n')
    sheet = sheets.read(path, COLUMNS)
    assert [row["id"] for row in sheet.rows] == ["1"]
    ((row, reason),) = sheet.rejected
    assert row.line == 3
    assert "never closed" in reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "name columns"),
        ("a,b\n1,2\n", "name columns"),
        ("title\nx\n", "no column for id"),
        ("id,货号,title\n", "twice"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path: Path, text, told):
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(sheets.SheetError, match=told):
        sheets.read(path, COLUMNS, needs=[("id",)])


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\tx", "＝1+1"])
def test_no_cell_runs_as_a_formula(cell):
    """Marked as text, and read back as it was; numbers with a sign stay numbers."""
    assert sheets.safe(cell) == f"'{cell}"
    assert sheets.unsafe(sheets.safe(cell)) == cell
    for harmless in ("+8613900001234", "-5", "林小满", "'quoted", ""):
        assert sheets.safe(harmless) == harmless
        assert sheets.unsafe(harmless) == harmless
