"""What imports take of a row and what they refuse, cell by cell; a member's row never speaks over the buyer."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import ids, imported, member_export, member_import, product_import
from bot.events import VariantFacts
from bot.phones import parse as parse_phone
from bot.ports import Capabilities
from bot.records import Address, Buyer, Consent, Member

ZONE = ZoneInfo("Asia/Shanghai")
NOW = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
PHONE = "+8613900001234"
GOOD = ids.member_number(3, 77)
SMS = Capabilities(frozenset({"text"}), 0, address_is_phone=True, sms=True)
LINES = {"sms": SMS, "chat": Capabilities(frozenset({"text"}), 0)}


def members(tmp_path: Path, text: str) -> member_import.MemberList:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    return member_import.read(path, lambda typed: parse_phone(typed, "CN"), ZONE, NOW)


def one(tmp_path: Path, **cells: str) -> member_import.MemberList:
    row = {"phone": "13900001234", **cells}
    return members(tmp_path, ",".join(row) + "\n" + ",".join(f'"{cell}"' for cell in row.values()) + "\n")


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [
        ("phone", "", "phone is missing"),
        ("phone", "1.39E+10", "cut by the spreadsheet"),
        ("phone", "139****1234", "not a mobile number"),
        ("phone", "010-12345678", "not a mobile number"),
        ("points", "many", "points"),
        ("points", "-5", "points"),
        ("gender", "x", "gender"),
        ("locale", "fr", "locale"),
        ("birthday", "13-40", "birthday"),
        ("birthday", "1880-01-02", "cannot be"),
        ("birthday", "2015-01-02", "under 14"),
        ("joined_at", "yesterday", "joined_at"),
        ("joined_at", "2027-01-01", "future"),
        ("marketing", "perhaps", "marketing"),
        ("consent_at", "2027-01-01", "future"),
        ("name", "x" * 61, "60 characters"),
    ],
)
def test_a_cell_at_fault_keeps_its_row_aside(tmp_path, column, cell, told):
    found = one(tmp_path, **{"tags": "x", column: cell})
    assert found.members == {}
    ((row, reason),) = found.sheet.rejected
    assert row.line == 2
    assert told in reason


@pytest.mark.parametrize(
    ("column", "cell", "name", "value"),
    [
        ("phone", "+86 139 0000 1234", "phone", PHONE),
        ("phone", "13900001234.0", "phone", PHONE),
        ("phone", "'13900001234", "phone", PHONE),
        ("birthday", "1990/1/2", "birthday", "1990-01-02"),
        ("birthday", "19900102", "birthday", "1990-01-02"),
        ("birthday", "1月2日", "birthday", "01-02"),
        ("birthday", "2012-10-01", "birthday", "2012-10-01"),
        ("joined_at", "2026/5/1 8:00", "joined_at", int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)),
        ("joined_at", "2026年5月1日", "joined_at", int(datetime(2026, 4, 30, 16, tzinfo=UTC).timestamp() * 1000)),
        ("joined_at", "2026-05-01T00:00:00Z", "joined_at", int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)),
        ("points", "1,250", "points", 1250),
        ("gender", "女", "gender", "female"),
        ("member_no", f" {ids.show_member_number(GOOD)} ", "number", GOOD),
        ("member_no", "VIP-001", "number", ""),
        ("tags", "a|b、a", "tags", ["a", "b"]),
    ],
)
def test_cells_as_people_write_them(tmp_path, column, cell, name, value):
    found = one(tmp_path, **{column: cell})
    assert found.members[PHONE][name] == value


@pytest.mark.parametrize(
    "missing", [(), ("consent_at",), ("consent_wording",), ("consent_source",), ("consent_at", "consent_source")]
)
def test_a_yes_needs_its_whole_proof(tmp_path, missing):
    proof = {"consent_at": "2026-01-01", "consent_wording": "我要收会员日消息", "consent_source": "门店"}
    found = one(tmp_path, marketing="是", **{name: text for name, text in proof.items() if name not in missing})
    consent = found.members[PHONE]["consent"]
    assert (consent is None) is bool(missing)
    assert found.unproved == bool(missing)
    if consent:
        assert (consent["verdict"], consent["wording"], consent["source"]) == (
            "granted",
            "我要收会员日消息",
            "import:门店",
        )


def test_rows_of_one_number_are_one_member(tmp_path):
    """The first says more; the more points, the earlier day, all tags, and a no count."""
    found = members(
        tmp_path,
        "phone,name,points,joined_at,tags,marketing,consent_at,consent_wording,consent_source,member_no\n"
        f"13900001234,林,5,2026-01-01,a,是,2026-01-01,w,s,\n+8613900001234,Lin,9,2025-01-01,b,否,,,,{GOOD}\n13900001235,,,,,,,,,{GOOD}\n",
    )  # fmt: skip
    said = found.members[PHONE]
    assert (said["name"], said["points"], said["tags"], said["number"]) == ("林", 9, ["a", "b"], GOOD)
    assert said["consent"]["verdict"] == "refused"
    assert datetime.fromtimestamp(said["joined_at"] / 1000, ZONE).year == 2025
    assert (found.joined, found.renumbered) == (1, 1)
    assert found.members["+8613900001235"]["number"] == ""


# --- what a record makes of it ----------------------------------------------------------------------------------------

CONSENTS = st.sampled_from(
    [None, {"verdict": "refused", "at": NOW - 5, "wording": "", "source": "import:x"}, {"verdict": "granted", "at": NOW - 5, "wording": "w", "source": "import:x"}]
)  # fmt: skip
ROWS = st.fixed_dictionaries(
    {"phone": st.just(PHONE), "name": st.sampled_from(["", "林"]), "birthday": st.sampled_from(["", "01-02"]), "tags": st.just(["vip"]),
     "sizes": st.sampled_from([{}, {"top": "L"}]), "points": st.integers(0, 9), "level": st.sampled_from(["", "gold"]), "joined_at": st.sampled_from([0, 7]),
     "consent": CONSENTS}
)  # fmt: skip
BUYERS = st.builds(
    Buyer,
    id=st.just("b"),
    home=st.just(f"phone:{PHONE}"),
    created_at=st.just(1),
    name=st.sampled_from(["", "Lin"]),
    sizes=st.sampled_from([{}, {"top": "M"}]),
    member=st.sampled_from([None, Member("1", points=3, joined_at=9, source="wechat:keyword"), Member("1", points=3, joined_at=9, source="import:a.csv")]),
    addresses=st.lists(
        st.builds(
            Address, st.sampled_from(["sms", "chat"]), st.sampled_from([PHONE, "p1"]), opted_out=st.booleans(),
            consent=st.builds(Consent, marketing=st.sampled_from(["granted", "refused", "unknown"]), at=st.sampled_from([0, NOW - 9, NOW])),
        ),
        max_size=3,
        unique_by=lambda address: (address.account, address.id),
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(BUYERS, ROWS)
def test_an_import_never_speaks_over_the_buyer(buyer, row):
    """Twice is once; what was said, a later answer, an opt-out and another address stay; a yes comes with its proof alone."""
    before = copy.deepcopy(buyer)
    imported.take(buyer, row, LINES)
    once = copy.deepcopy(buyer)
    imported.take(buyer, row, LINES)
    assert buyer == once
    assert buyer.name == (before.name or row["name"])
    assert buyer.sizes.get("top") == (before.sizes.get("top") or row["sizes"].get("top"))
    if before.member is not None and not before.member.source.startswith("import:"):
        assert buyer.member == before.member
    for address in buyer.addresses:
        known = before.address(address.account, address.id)
        was = known.consent if known is not None else Consent()
        if (address.account, address.id) != ("sms", PHONE) or was.at >= NOW - 5:
            assert address.consent == was
        if address.consent.marketing == "granted" and was.marketing != "granted":
            assert row["consent"]["verdict"] == "granted"
            assert not address.opted_out
            assert (address.consent.wording, address.consent.source, address.consent.at) == ("w", "import:x", NOW - 5)


def test_what_is_exported_is_imported_again(tmp_path):
    """Every cell that the import knows comes back as it was."""
    buyer = Buyer(
        "b_1", f"phone:{PHONE}", 1, name="=林", phones=[PHONE], birthday="01-02", gender="female", locale="zh-CN", sizes={"top": "M", "shoe": "38"},
        tags=["vip", "casual"], member=Member(GOOD, "gold", 12, 1_700_000_000_000, "import:x"),
        addresses=[Address("sms", PHONE, consent=Consent(marketing="granted", at=1_790_000_000_000, wording="w", source="import:door"))],
    )  # fmt: skip
    path = tmp_path / "m.csv"
    with member_export.opened(path, bom=True) as out:
        out.write(
            ",".join([*member_import.COLUMNS, *member_export.MORE])
            + "\r\n"
            + ",".join(member_export.row_of(buyer))
            + "\r\n"
        )
    said = member_import.read(path, lambda typed: parse_phone(typed, "CN"), ZONE, NOW).members[PHONE]
    assert (said["name"], said["birthday"], said["gender"], said["sizes"]) == (
        "=林",
        "01-02",
        "female",
        {"top": "M", "shoe": "38"},
    )
    assert (said["number"], said["level"], said["points"], said["joined_at"]) == (GOOD, "gold", 12, 1_700_000_000_000)
    assert said["tags"] == ["vip", "casual"]
    assert said["consent"] == {"verdict": "granted", "at": 1_790_000_000_000, "wording": "w", "source": "import:door"}


# --- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["1,大衣,,,A,S,abc,1"], "price 'abc'"),
        (["1,大衣,,,A,S,-5,1"], "price '-5'"),
        (["1,大衣,,,A,S,1,1.5"], "stock '1.5'"),
        (["1,大衣,,,,S,1,1"], "sku is missing"),
        (["1,大衣,,,A,S,1,1", "1,大衣,,,A,M,1,1"], "stands on a line above"),
        (["1,大衣,,,A,S,1,1", "1,外套,,,B,M,1,1"], "one product has one title"),
        (["1,大衣,七个汉字的短名,,A,S,1,1"], "short_title has 7"),
        (["1,大衣,,ftp://x,A,S,1,1"], "web address"),
        ([",大衣,,,A,S,1,1"], "id is missing"),
        ([f"1,{'长' * 201},,,A,S,1,1"], "title has 201"),
    ],
)
def test_a_product_row_at_fault(tmp_path, rows, told):
    path = tmp_path / "p.csv"
    path.write_text("id,title,short_title,url,sku,size,price,stock\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = product_import.read(path, "CNY")
    ((row, reason),) = found.sheet.rejected
    assert row.line == 1 + len(rows)
    assert told in reason
    assert len(found.products) == len(rows) - 1


@pytest.mark.parametrize(
    ("price", "stock", "amount", "pieces"),
    [("￥1,188.50", "1,000", "1188.50", 1000), ("899元", "3件", "899", 3), ("12.5", "-4", "12.5", 0), ("", "", None, None), ("5", "7.0", "5", 7)],
)  # fmt: skip
def test_prices_and_stocks_as_shops_write_them(tmp_path, price, stock, amount, pieces):
    path = tmp_path / "p.csv"
    path.write_text(f'id;title;sku;price;stock;currency\n1;x;A;"{price}";"{stock}";usd\n', encoding="utf-8")
    (variant,) = product_import.read(path, "CNY").products["1"].variants
    assert isinstance(variant, VariantFacts)
    assert (variant.price and variant.price.amount) == (amount and Decimal(amount))
    assert variant.price is None or variant.price.currency == "USD"
    assert variant.stock == pieces
