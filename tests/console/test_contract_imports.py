"""Imports on the command line, beside a running `serve`: what is good is taken, what is not is kept aside by its line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bot import ids
from tests.console.served import Served, until

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


# --- members ----------------------------------------------------------------------------------------------------------

MEMBERS = """手机号,姓名,会员卡号,等级,积分,入会时间,生日,性别,上装尺码,标签,营销同意,同意时间,同意文案,同意来源
{a},林小满,{good},gold,120,2024-05-01,1990-01-02,女,M,casual|formal,是,2026-01-01 10:00,我要收会员日消息,门店表格
{b},王五,8000 0000 0000,,5,2024/5/2,,,,,是,,,
{a},,,,300,2023-01-01,,,,vip,否,2026-02-01,,
1.39E+10,科学,,,,,,,,,,,,
{c},小朋友,,,,,2020-01-01,,,,,,,
12345,短号,,,,,,,,,,,,
{d},=cmd|' /C calc'!A1,,,,,,,,,,,,
"""


def members(gw: Served, tmp_path: Path, encoding: str, start: int) -> tuple[Path, list[str]]:
    phones = [f"1390000{start + n}" for n in range(4)]
    good = ids.show_member_number(ids.member_number(7, 900_000 + start))
    text = MEMBERS.format(a=phones[0], b=phones[1], c=phones[2], d=phones[3], good=good)
    path = tmp_path / "members.csv"
    path.write_bytes(text.encode(encoding))
    return path, [f"+86{phone}" for phone in phones] + [good]


@pytest.mark.timeout(240)
def test_members_from_another_system(gw: Served, tmp_path: Path) -> None:
    """Cards keep numbers that are ours; consent needs its proof; one number is one member; again changes nothing."""
    path, (a, b, c, d, good) = members(gw, tmp_path, "gbk", 4100)
    for told in (
        "3 members are new; 0 were buyers already",
        "0 members are new; 3 were buyers already, 3 of them with a card",
    ):
        done = gw.cli("members", "import", str(path))
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
        lin = gw.get("/buyers", phone=a)["items"][0]
        assert (lin["name"], lin["birthday"], lin["gender"], lin["sizes"]) == (
            "林小满",
            "1990-01-02",
            "female",
            {"top": "M"},
        )
        assert sorted(lin["tags"]) == ["casual", "formal", "vip"]
        card = lin["member"]
        assert (card["number"], card["level"], card["points"]) == (good, "gold", 300)
        assert card["joined_at"].startswith("2022-12-31T16:00")
        assert card["source"] == "import:members.csv"
        sms = [address for address in lin["addresses"] if address["id"] == a]
        assert sms
        assert {address["consent"]["marketing"] for address in sms} == {"refused"}
        wang = gw.get("/buyers", phone=b)["items"][0]
        assert wang["member"]["number"] not in ("8000 0000 0000", "")
        assert {one["consent"]["marketing"] for one in wang["addresses"]} == {"unknown"}
        assert {one["consent"]["service"] for one in wang["addresses"]} == {"granted"}
        assert gw.get("/buyers", member_no=good)["items"][0]["id"] == lin["id"]
        assert gw.get("/buyers", phone=c)["items"] == []
    for told in ("left unknown, service notices only", "its card number cannot be kept", "the same number as on line 2",
                 "line 5: phone was cut by the spreadsheet", "line 6: is under 14", "line 7: phone is not a mobile number"):  # fmt: skip
        assert told in done.stderr
    assert "13900004" not in done.stderr
    rejected = (tmp_path / "members.csv.rejected.csv").read_text(encoding="utf-8-sig")
    assert [line.split(",")[0] for line in rejected.splitlines()] == ["line", "5", "6", "7"]

    out = tmp_path / "out.csv"
    done = gw.cli("members", "export", str(out))
    assert done.returncode == 0, done.stderr
    assert out.stat().st_mode & 0o077 == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = {row["phone"]: row for row in csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig")))}
    assert (rows[a]["member_no"], rows[a]["points"], rows[a]["marketing"]) == (good, "300", "no")
    assert rows[d]["name"] == "'=cmd|' /C calc'!A1"
    assert rows[b]["marketing"] == ""
    again = gw.cli("members", "import", str(out), "--dry-run")
    assert again.returncode == 0, again.stderr
    assert " 0 members would be new" in f" {again.stdout}"


def test_proof_of_consent_is_kept_word_for_word(gw: Served, tmp_path: Path) -> None:
    """When, to which words, where: then marketing by SMS to that number; what the buyer says later counts."""
    path = tmp_path / "one.csv"
    phone = "+8613900004199"
    path.write_text(
        f"phone\tmarketing\tconsent_at\tconsent_wording\tconsent_source\n{phone}\tyes\t2026-01-01T10:00:00Z\tI want member days\tshop form 12\n",
        encoding="utf-16",
    )
    assert gw.cli("members", "import", str(path)).returncode == 0
    buyer = gw.get("/buyers", phone=phone)["items"][0]
    assert {a["consent"]["marketing"] for a in buyer["addresses"]} == {"granted"}
    held = gw.api("GET", f"/buyers/{buyer['id']}/export").raw.decode()
    for told in ("I want member days", "import:shop form 12"):
        assert told in held
    gw.say("sms-main", "TD", phone)
    until(lambda: gw.get("/buyers", phone=phone)["items"][0]["addresses"][0]["opted_out"], 10, "opted out")
    assert gw.cli("members", "import", str(path)).returncode == 0
    assert "granted" not in {a["consent"]["marketing"] for a in gw.get("/buyers", phone=phone)["items"][0]["addresses"]}


def test_codes_in_a_table_of_any_form(gw: Served, tmp_path: Path) -> None:
    gw.api("POST", "/campaigns", {"key": "SHEET1", "title": "x", "kind": "gift", "stock": 1})
    path = tmp_path / "codes.csv"
    path.write_bytes("券码;活动编号\nBBBBKKKKLLL2;SHEET1\nBBBBKKKKLLL3;SHEET1\n".encode("utf-16"))
    done = gw.cli("coupons", "import", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["SHEET1: 2 codes added"]
