"""Imports on the command line, beside a running `serve`: what is good is taken, what is not is kept aside by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.served import Served

SHEET = """商品编号,商品名称,短标题,分类,SKU,尺码,颜色,售价,库存,身高,体重
SHIRT,亚麻宽松衬衫,亚麻衬衫,上装|夏,LS-S,S,白,188,0,155-160,43-50
SHIRT,,,,LS-M,M,白,"￥1,188.50",7,160-165,50-57
COAT,"羊毛双面大衣
秋冬新款",双面大衣,外套,WC-M,M,驼色,899.00,3件,,
BAD-1,坏库存衫,,,BX,M,白,88,许多,,
BAD-2,这个短标题太长了的,这个短标题太长了,,BY,M,白,88,1,,
,没有编号,,,BZ,M,白,88,1,,
"""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk", "utf-16"])
def test_products_from_a_spreadsheet(gw: Served, tmp_path: Path, encoding: str) -> None:
    """Any encoding; again and again; the rows at fault with their lines and reasons in a file beside."""
    prefix = encoding.upper()
    path = tmp_path / "products.csv"
    text = SHEET.replace("SHIRT", f"{prefix}-SHIRT").replace("COAT", f"{prefix}-COAT").replace("LS-", f"{prefix}-LS-")
    path.write_bytes(text.encode(encoding))
    dry = gw.cli("products", "import", str(path), "--dry-run")
    assert dry.returncode == 1
    assert "2 products would be new" in dry.stdout
    assert gw.api("GET", f"/products/{prefix}-SHIRT").status == 404
    for told in ("2 products are new, 0 changed, with 3 variants", "0 products are new, 2 changed, with 3 variants"):
        done = gw.cli("products", "import", str(path))
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
        shirt = gw.get(f"/products/{prefix}-SHIRT")
        assert (shirt["title"], shirt["short_title"], shirt["categories"]) == (
            "亚麻宽松衬衫",
            "亚麻衬衫",
            ["上装", "夏"],
        )
        assert [(v["sku"], v["options"]["size"], v["price"]["amount"], v["stock"]) for v in shirt["variants"]] == [
            (f"{prefix}-LS-S", "S", "188", 0),
            (f"{prefix}-LS-M", "M", "1188.50", 7),
        ]
        assert shirt["size_chart"][1] == {"size": "M", "measures": {"height": "160-165", "weight": "50-57"}}
        assert gw.get(f"/products/{prefix}-COAT")["title"].startswith("羊毛双面大衣")
    aside = tmp_path / "products.csv.rejected.csv"
    rows = aside.read_text(encoding="utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows] == ["line", "6", "7", "8"]
    for reason in ("stock '许多' must be a whole number", "short_title has 8 characters", "id is missing"):
        assert reason in done.stderr
        assert reason in aside.read_text(encoding="utf-8-sig")


def test_an_import_changes_what_it_says_and_nothing_else(gw: Served, tmp_path: Path) -> None:
    """A sheet of stocks alone; an unknown product needs a title; what the sheet leaves out stays offered."""
    put = {"title": "库存表测试衫", "variants": [{"sku": "ST-A", "stock": 1}, {"sku": "ST-B", "stock": 1}]}
    assert gw.api("PUT", "/products/st-1", put).status == 201
    path = tmp_path / "stock.csv"
    path.write_text("id;sku;stock;warehouse\nst-1;ST-A;25;east\nst-2;ST-C;4;east\n", encoding="utf-8")
    done = gw.cli("products", "import", str(path))
    assert done.returncode == 0, done.stderr
    assert {v["sku"]: v["stock"] for v in gw.get("/products/st-1")["variants"]} == {"ST-A": 25, "ST-B": 1}
    assert "column 'warehouse': not known" in done.stderr
    assert "title is missing: there is no product 'st-2' yet" in done.stderr


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (b"", (), "must name columns"),
        (b"sku,stock\nA,1\n", (), "no column for id"),
        (b"id,title\n1,x\n", ("--shop", "nobody"), "must be one of the configured shops: main"),
        (None, (), "cannot be read"),
    ],
)
def test_what_cannot_be_imported_at_all(gw: Served, tmp_path: Path, content, options, told: str) -> None:
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_bytes(content)
    done = gw.cli("products", "import", str(path), *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
