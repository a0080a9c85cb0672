"""Audiences: frozen once and for all, read by partition, previewed; on both databases, against plain Python over the same rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import case, func, insert, select, update

from bot.broadcasts import Broadcast, Template, Variant
from bot.errors import NotYetError
from bot.events import Money
from bot.ports import Capabilities, WindowRule
from bot.products import ItemView
from ledger import tables
from ledger.audiences import LedgerAudiences
from ledger.database import writing
from ledger.segments import Moment, SegmentError
from tests.ledger import plain
from tests.ledger.shopfuls import Shopful

DAY = plain.DAY
ACCOUNTS = {
    "wechat-main": Capabilities(
        frozenset(), 0, windows={"message": WindowRule(48 * 3_600_000)}, window_margin_ms=60_000
    ),
    "messenger-main": Capabilities(frozenset(), 0, windows={"message": WindowRule(24 * 3_600_000)}),
    "sms-main": Capabilities(frozenset(), 0, address_is_phone=True, sms=True),
    "sms-cn": Capabilities(frozenset(), 0, address_is_phone=True, sms=True, free_text=False),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shopful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopful]:
    folder = tmp_path_factory.mktemp("shopful")
    url = "sqlite:ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgresql").database()
    made = Shopful(url, folder, 600, seed=7)

    async def views(refs: Any) -> dict[str, ItemView]:
        prices = {"p0001": "259.00", "p0001-OTHER": "259.00", "p0003": "200.00"}
        return {
            ref: ItemView(ref, "main", ref[:5], "外套", price=Money(Decimal(price), "CNY"))
            for ref, price in prices.items()
            if ref in refs
        }

    made.audiences = LedgerAudiences(  # type: ignore[attr-defined]
        made.url, moment=lambda: Moment(made.now, made.zone, "CNY"), accounts=ACCOUNTS, views=views
    )
    made.people = made.run(_read(made))  # type: ignore[attr-defined]
    yield made
    made.run(made.audiences.close())  # type: ignore[attr-defined]
    made.close()


async def _read(shopful: Shopful) -> plain.People:
    async with shopful.engine.connect() as connection:
        return await plain.read(connection, shopful.now, shopful.zone)


def a_broadcast(id: str, **more: Any) -> Broadcast:
    where = json.dumps(more.pop("where", {"all": []}))
    accounts = more.pop("accounts", ("wechat-main", "sms-main"))
    return Broadcast(
        id, "会员日", more.pop("purpose", "marketing"), accounts, {"zh-CN": "x"}, 0, "staff", where=where, **more
    )


def frozen(shopful: Any, broadcast: Broadcast, positions: Any = None) -> dict[str, tuple[str, str]]:
    """The audience, read in pages of seven: id → (home, variant)."""
    size = shopful.run(shopful.audiences.freeze(broadcast, positions or {}))
    found: dict[str, tuple[str, str]] = {}
    for partition in range(64):
        after = ""
        while page := shopful.run(shopful.audiences.page(broadcast.id, partition, after, 7)):
            assert [one.buyer for one in page] == sorted(one.buyer for one in page)
            after = page[-1].buyer
            found.update({one.buyer: (one.home, one.variant) for one in page})
    assert len(found) == size
    return found


MEMBERS = {"all": [{"field": "member.is", "op": "=", "value": True}]}


def test_the_audience_is_the_segment(shopful: Any) -> None:
    found = frozen(shopful, a_broadcast("c_1", where=MEMBERS))

    assert set(found) == shopful.people.inside(MEMBERS)
    assert all(home == shopful.people.buyers[id]["home"] for id, (home, _) in found.items())


def test_a_frozen_audience_never_changes(shopful: Any) -> None:
    """Called again after a crash, by whatever conditions and whoever came since: the same people. Also an empty one."""
    broadcast, nobody = a_broadcast("c_2", where=MEMBERS), a_broadcast("c_3", where={"any": []})
    before = frozen(shopful, broadcast)
    assert frozen(shopful, nobody) == {}

    async def change(members: int) -> None:
        async with writing(shopful.engine) as connection:
            row = {"id": "b_00" + "z" * 16, "partition": 0, "home": "phone:+1", "member_no": "8", "created_at": 1}
            if members:
                await connection.execute(insert(tables.buyers), row)
            else:
                await connection.execute(tables.buyers.delete().where(tables.buyers.c.id == row["id"]))

    shopful.run(change(1))
    try:
        assert frozen(shopful, a_broadcast("c_2")) == before
        assert frozen(shopful, a_broadcast("c_3")) == {}
        assert "b_00" + "z" * 16 in frozen(shopful, a_broadcast("c_4", where=MEMBERS))
    finally:
        shopful.run(change(0))


def test_it_waits_for_the_projection(shopful: Any) -> None:
    async def project(last: str) -> None:
        async with writing(shopful.engine) as connection:
            await connection.execute(tables.positions.delete())
            await connection.execute(insert(tables.positions), [{"partition": 3, "last_id": last}])

    shopful.run(project("1700000000000-5"))
    late = a_broadcast("c_5")
    with pytest.raises(NotYetError, match="last entries of 2 partitions"):
        frozen(shopful, late, {3: "1700000000000-6", 4: "9-0", 5: "0-0"})
    assert shopful.run(_rows(shopful, "c_5")) == 0

    shopful.run(project("1700000000000-6"))
    assert len(frozen(shopful, late, {3: "1700000000000-6", 5: ""})) == len(shopful.people.inside({"all": []}))


async def _rows(shopful: Any, broadcast: str) -> int:
    mine = select(func.count()).select_from(tables.audiences).where(tables.audiences.c.broadcast == broadcast)
    async with shopful.engine.connect() as connection:
        return int((await connection.execute(mine)).scalar_one())


def test_it_is_forgotten(shopful: Any) -> None:
    broadcast = a_broadcast("c_6")
    frozen(shopful, broadcast)
    frozen(shopful, a_broadcast("c_7", where=MEMBERS))

    shopful.run(shopful.audiences.forget("c_6"))

    assert shopful.run(_rows(shopful, "c_6")) == 0
    assert shopful.run(_rows(shopful, "c_7")) > 0
    assert frozen(shopful, a_broadcast("c_6", where=MEMBERS)).keys() == frozen(shopful, a_broadcast("c_7")).keys()


def test_variants_by_segment_then_by_weight(shopful: Any) -> None:
    """Whom a variant's own segment holds gets that one; the rest share by weight; each broadcast draws anew, and the same again."""
    vip = {"all": [{"field": "orders.count", "op": ">=", "value": 2}]}
    variants = (Variant("loyal", where=json.dumps(vip)), Variant("a", weight=3), Variant("b", weight=1))
    found = frozen(shopful, a_broadcast("c_8", variants=variants))
    loyal = shopful.people.inside(vip)
    rest = Counter(variant for id, (_, variant) in found.items() if id not in loyal)

    assert {variant for id, (_, variant) in found.items() if id in loyal} == {"loyal"}
    assert set(rest) == {"a", "b"}
    assert 0.15 < rest["b"] / sum(rest.values()) < 0.35
    preview = shopful.run(shopful.audiences.preview(a_broadcast("c_8", variants=variants)))
    assert preview.by_variant == Counter(variant for _, variant in found.values())
    shopful.run(shopful.audiences.forget("c_8"))
    assert frozen(shopful, a_broadcast("c_8", variants=variants)) == found
    other = frozen(shopful, a_broadcast("c_9", variants=variants))
    moved = sum(found[id] != other[id] for id in found if id not in loyal)
    assert 0.2 < moved / sum(rest.values()) < 0.6  # 3/8 if both draws are independent


def test_a_saved_segment_counts_too(shopful: Any) -> None:
    async def save() -> None:
        async with writing(shopful.engine) as connection:
            row = {"id": "s_1", "name": "members", "definition": json.dumps(MEMBERS)}
            await connection.execute(insert(tables.segments), row)

    shopful.run(save())
    women = {"all": [{"field": "buyer.gender", "op": "=", "value": "female"}]}
    found = frozen(shopful, a_broadcast("c_10", where=women, segment="s_1"))

    assert set(found) == shopful.people.inside(women) & shopful.people.inside(MEMBERS)
    with pytest.raises(SegmentError, match="segment: there is no segment with this id"):
        frozen(shopful, a_broadcast("c_11", segment="s_2"))


# --- exclusions -------------------------------------------------------------------------------------------------------

BOUGHT = {"field": "orders.count", "op": ">=", "value": 1}
EXCLUDED: dict[str, Any] = {
    "bought_in_2_days": {**BOUGHT, "since": {"days": 2}},
    "bought_in_1_week": {**BOUGHT, "since": {"days": 7}},
    "bought_in_2_weeks": {**BOUGHT, "since": {"days": 14}},
    "last_order_over_1_year": {"field": "orders.last", "op": "before", "value": {"days": 365}},
    "written_to_in_7_days": {"field": "messages.last_marketing", "op": "within", "value": {"days": 7}},
    "written_to_in_30_days": {"field": "messages.last_marketing", "op": "within", "value": {"days": 30}},
}


@pytest.mark.parametrize("name", EXCLUDED)
def test_each_switch_leaves_out_whom_it_says(shopful: Any, name: str) -> None:
    left_out = shopful.people.inside({"all": [EXCLUDED[name]]})

    found = frozen(shopful, a_broadcast(f"c_{name}", exclude=(name,)))
    preview = shopful.run(shopful.audiences.preview(a_broadcast("c_x", exclude=(name,))))

    assert left_out
    assert set(found) == shopful.people.inside({"all": []}) - left_out
    assert preview.excluded == {name: len(left_out)}
    assert (preview.matched, preview.count) == (len(found) + len(left_out), len(found))


def test_who_bought_the_same_item(shopful: Any) -> None:
    """Where the broadcast names items, only who bought one of these, in any size, is left out."""
    item = next(i for items in shopful.people.items.values() for i in items if i["product"] == "p0001" and i["paid_at"])
    at = shopful.now - DAY

    async def buy(when: int) -> None:
        async with writing(shopful.engine) as connection:
            mine = tables.items.c.subject == item["subject"]
            await connection.execute(
                update(tables.items).where(mine, tables.items.c.line == item["line"]).values(paid_at=when)
            )

    shopful.run(buy(at))
    try:
        found = frozen(shopful, a_broadcast("c_same", exclude=("bought_in_2_days",), items=("p0001",)))
        size = frozen(shopful, a_broadcast("c_size", exclude=("bought_in_2_days",), items=("p0001-OTHER",)))
        others = frozen(shopful, a_broadcast("c_same2", exclude=("bought_in_2_days",), items=("p0399-XXL",)))
    finally:
        shopful.run(buy(item["paid_at"]))

    assert item["buyer"] not in found
    assert size == found
    assert item["buyer"] in others


def test_nothing_dear_to_who_spends_little(shopful: Any) -> None:
    little = shopful.people.inside({"all": [{"field": "orders.average", "op": "<", "value": "100"}]})
    everybody = shopful.people.inside({"all": []})
    switch = ("average_order_under_100",)

    assert little
    assert set(frozen(shopful, a_broadcast("c_dear", exclude=switch, items=("p0001",)))) == everybody - little
    assert set(frozen(shopful, a_broadcast("c_both", exclude=switch, items=("p0003", "p0001")))) == everybody - little
    for n, items in enumerate((("p0002",), ("p0003",), ("p0002", "p0003"), ())):  # over 200 is more than 200
        assert set(frozen(shopful, a_broadcast(f"c_cheap{n}", exclude=switch, items=items))) == everybody


def test_a_switch_that_is_none_is_told(shopful: Any) -> None:
    with pytest.raises(
        SegmentError, match=r"exclude\[1\]: there is no exclusion of this name; did you mean bought_in_2_days"
    ) as told:
        shopful.run(shopful.audiences.preview(a_broadcast("c_x", exclude=("bought_in_1_week", "bougt_in_2_days"))))
    assert told.value.faults[0][0] == "exclude[1]"


# --- previews ---------------------------------------------------------------------------------------------------------


def expected(shopful: Any, broadcast: Broadcast) -> tuple[Counter[str], Counter[tuple[str, str]], Counter[str]]:
    """Skips, lanes and reachable of everybody, buyer by buyer."""
    people: plain.People = shopful.people
    skips: Counter[str] = Counter()
    lanes: Counter[tuple[str, str]] = Counter()
    reachable: Counter[str] = Counter()
    nearest = ["no_address", "unreachable", "no_template", "window_closed", "no_consent", "opted_out", "blocked"]
    for id in people.inside({"all": []}):
        able, why = set(), ["no_address"]
        for a in people.addresses[id]:
            if a["account"] not in broadcast.accounts:
                continue
            reason = _why(broadcast, a, people.now)
            able |= set() if reason else {a["account"]}
            why.append(reason or "no_address")
        if not able:
            skips[max(why, key=nearest.index)] += 1
            continue
        lanes[min(able, key=broadcast.accounts.index), people.buyers[id]["locale"]] += 1
        reachable.update(able)
    return skips, lanes, reachable


def _why(broadcast: Broadcast, a: dict[str, Any], now: int) -> str:
    able, marketing = ACCOUNTS[a["account"]], broadcast.purpose == "marketing"
    templated = a["account"] in broadcast.templates
    for wrong, reason in (
        (a["blocked"], "blocked"),
        (not a["reachable"], "unreachable"),
        (marketing and a["opted_out"], "opted_out"),
        (marketing and a["marketing"] != "granted", "no_consent"),
        (not marketing and a["service"] == "refused", "opted_out"),
        (not able.free_text and not templated, "no_template"),
        (able.windows and not templated and a["window_closes_at"] - able.window_margin_ms <= now, "window_closed"),
    ):
        if wrong:
            return reason
    return ""


@pytest.mark.parametrize(
    ("accounts", "more"),
    [
        (("wechat-main", "sms-main"), {}),
        (("sms-cn", "wechat-main", "messenger-main"), {}),
        (("sms-cn", "wechat-main"), {"templates": {"sms-cn": Template("SMS_1")}}),
        (("wechat-main", "sms-cn"), {"purpose": "service"}),
        ((), {}),
    ],
)
def test_a_preview_tells_where_it_would_go(shopful: Any, accounts: tuple[str, ...], more: Any) -> None:
    broadcast = a_broadcast("c_p", accounts=accounts, **more)
    skips, lanes, reachable = expected(shopful, broadcast)

    preview = shopful.run(shopful.audiences.preview(broadcast))

    assert preview.skipped == skips
    assert preview.lanes == lanes
    assert preview.reachable == reachable
    everybody = shopful.people.inside({"all": []})
    assert preview.count == len(everybody) == preview.sendable + sum(preview.skipped.values())
    assert preview.by_locale == Counter(shopful.people.buyers[id]["locale"] for id in everybody)
    assert set(preview.sample) <= everybody


def test_a_preview_counts_who_is_over_the_cap(shopful: Any) -> None:
    """Two in the last seven days, or one today: they wait."""
    people: plain.People = shopful.people
    id = next(
        b for b in sorted(people.inside({"all": []}))
        if any(a["account"] == "sms-main" and plain.marketable(people, a) for a in people.addresses[b])
        and not people.buyers[b]["last_marketing_at"]
    )  # fmt: skip
    only = {"all": [{"field": "buyer.id", "op": "=", "value": id}]}
    broadcast = a_broadcast("c_cap", where=only, accounts=("sms-main",))
    assert shopful.run(shopful.audiences.preview(broadcast)).capped == 0

    async def told(days: int) -> None:
        async with writing(shopful.engine) as connection:
            row = {"id": f"m_{days}", "partition": 0, "buyer": id, "purpose": "marketing", "state": "sent"}
            at = shopful.now - days * DAY
            await connection.execute(insert(tables.messages), {**row, "created_at": at})
            last = case((tables.buyers.c.last_marketing_at > at, tables.buyers.c.last_marketing_at), else_=at)
            mine = update(tables.buyers).where(tables.buyers.c.id == id)
            await connection.execute(mine.values(last_marketing_at=last))  # as the projection would

    shopful.run(told(2))
    shopful.run(told(8))
    assert shopful.run(shopful.audiences.preview(broadcast)).capped == 0
    shopful.run(told(5))
    assert shopful.run(shopful.audiences.preview(broadcast)).capped == 1
