"""Conditions: what SQL finds is what plain Python finds over the same rows; every fault is told with its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import shops
from ledger.segments import Moment, SegmentError, parse, parse_text, where_of
from ledger.segments.conditions import Known
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS, Field, read_qualifier
from ledger.segments.preview import find
from tests.ledger import plain
from tests.ledger.shopfuls import Shopful

CASES = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shopful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopful]:
    """400 invented buyers in each database."""
    folder = tmp_path_factory.mktemp("shopful")
    url = "sqlite:ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgresql").database()
    made = Shopful(url, folder, 400)
    made.people = made.run(_read(made))  # type: ignore[attr-defined]
    yield made
    made.close()


async def _read(shopful: Shopful) -> plain.People:
    async with shopful.engine.connect() as connection:
        return await plain.read(connection, shopful.now, shopful.zone)


def inside(shopful: Shopful, where: Any) -> set[str]:
    async def ask() -> set[str]:
        from sqlalchemy import select

        from ledger import tables

        moment = Moment(shopful.now, shopful.zone, "CNY")
        async with shopful.engine.connect() as connection:
            asked = select(tables.buyers.c.id).where(where_of(parse(where), moment))
            return set((await connection.execute(asked)).scalars())

    return shopful.run(ask())


# --- every field, every operator --------------------------------------------------------------------------------------

DAYS = st.sampled_from((0, 1, 3, 7, 14, 30, 60, 90, 365, 1000))
TIMES = st.one_of(
    DAYS.map(lambda n: {"days": n}),
    st.integers(0, 1100).map(lambda n: plain.utc(shops.NOW - n * plain.DAY)[:10]),
    st.integers(0, 1100).map(lambda n: plain.utc(shops.NOW - n * plain.DAY - 12_345)),
)
WORDS = {
    "buyer.id": ("b_00nobody", "b_"),
    "buyer.name": ("林", "陈小", "小满", "x"),
    "buyer.tags": [*shops.TAGS[:6], "unheard of"],
    "buyer.size": shops.SIZES,
    "member.level": ("basic", "silver", "gold"),
    "member.source": ("wechat-main:keyword", "wechat", "messenger"),
    "channels.account": shops.ACCOUNTS,
    "orders.city": shops.CITIES[:8],
    "orders.shop": ("main", "other"),
    "items.sku": ("p0000-M", "p0001-L", "p0002-S"),
    "items.product": ("p0000", "p0001", "p0002", "p0003"),
    "items.title": ("衬衫", "T恤 1", "1", "连衣裙"),
    "coupons.campaign": shops.CAMPAIGNS[:5],
    "messages.broadcast": shops.BROADCASTS,
}
QUALIFIERS = {
    "account": st.sampled_from(shops.ACCOUNTS),
    "shop": st.sampled_from(("main", "other")),
    "since": TIMES,
    "until": TIMES,
    "campaign": st.sampled_from(shops.CAMPAIGNS[:4]),
    "kind": st.sampled_from(("top", "shoe", 'a"b')),
    "purpose": st.sampled_from(("marketing", "service")),
}
STATES = {
    "coupons.campaign": ("claimed", "redeemed", "expired", "any"),
    "messages.broadcast": ("sent", "delivered", "failed", "reached", "any"),
}


def values(field: Field, op: str) -> st.SearchStrategy[Any]:
    if op == "known":
        return st.booleans()
    if op in ("within", "not_within"):
        return DAYS.map(lambda n: {"days": n})
    one = _one(field)
    if op in ("in", "not_in", "all"):
        return st.lists(one, min_size=1, max_size=4)
    if op == "between":
        pair = st.lists(one, min_size=2, max_size=2)
        return pair if field.type == "date" else pair.map(lambda p: sorted(p, key=float))
    return one


def _one(field: Field) -> st.SearchStrategy[Any]:
    match field.type:
        case "number" | "days":
            return st.integers(field.least, min(field.most, 400)) | st.integers(field.least, min(field.most, 5))
        case "money":
            return st.sampled_from(("0", "99.5", "180", "200.0001", "350.00", "1200"))
        case "yes/no":
            return st.booleans()
        case "date":
            return TIMES
        case "choice":
            return st.sampled_from(field.choices)
        case _:
            return st.sampled_from(tuple(WORDS[field.name]))


@st.composite
def a_test(draw: st.DrawFn, name: str = "") -> dict[str, Any]:
    field = FIELDS[name or draw(st.sampled_from(sorted(FIELDS)))]
    op = draw(st.sampled_from(OPERATORS[field.type]))
    found = {"field": field.name, "op": op, "value": draw(values(field, op))}
    for qualifier in draw(st.lists(st.sampled_from(field.qualifiers), unique=True)) if field.qualifiers else []:
        wanted = st.sampled_from(STATES[field.name]) if qualifier == "state" else QUALIFIERS[qualifier]
        found[qualifier] = draw(wanted)
    return found


def _groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = st.lists(inner, max_size=3)
    return st.one_of(*(parts.map(lambda p, how=how: {how: p}) for how in ("all", "any", "none"))) | inner.map(
        lambda one: {"not": one}
    )


WHERE = st.recursive(a_test(), _groups, max_leaves=4).map(lambda w: w if "field" not in w else {"all": [w]})


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_each_field_means_the_same_in_sql(shopful: Shopful, name: str) -> None:
    @settings(CASES, max_examples=15)
    @given(a_test(name))
    def each(test: dict[str, Any]) -> None:
        assert inside(shopful, {"all": [test]}) == shopful.people.inside(test)  # type: ignore[attr-defined]

    each()


@CASES
@given(where=WHERE)
def test_groups_mean_the_same_in_sql(shopful: Shopful, where: dict[str, Any]) -> None:
    assert inside(shopful, where) == shopful.people.inside(where)  # type: ignore[attr-defined]


def test_the_plain_evaluation_knows_every_field() -> None:
    assert set(plain.FIELDS) == set(FIELDS)


def test_everybody_is_everybody_who_is_left(shopful: Shopful) -> None:
    """An empty all holds everybody but who was erased or merged; an empty any nobody."""
    left = {b["id"] for b in shopful.people.buyers.values() if not b["erased"] and not b["merged_into"]}  # type: ignore[attr-defined]

    assert inside(shopful, {"all": []}) == left
    assert 0 < len(left) < 400
    assert inside(shopful, {"any": []}) == set()


@pytest.mark.parametrize(
    "where", [{"all": []}, {"all": [{"field": "orders.count", "op": ">=", "value": 2}]}, {"any": []}]
)
def test_count_and_sample(shopful: Shopful, where: Any) -> None:
    """The sample is of those counted, as many as may be, and the same again."""

    async def look(seed: str) -> Any:
        async with shopful.engine.connect() as connection:
            return await find(connection, where_of(parse(where), Moment(shopful.now, shopful.zone)), seed)

    everyone = inside(shopful, where)
    first, again, other = (shopful.run(look(seed)) for seed in ("a", "a", "b"))

    assert first.count == len(everyone)
    assert len(set(first.sample)) == len(first.sample) == min(10, len(everyone))
    assert set(first.sample) <= everyone
    assert first == again
    assert not everyone or first.sample != other.sample


NAMES = {"b_00wild1": "50%_off😀林", "b_00wild2": "50xyoff林", "b_00wild3": "ＡＢＣ", "b_00wild4": "abc"}


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        ("contains", "%", {"b_00wild1"}),
        ("contains", "0%_o", {"b_00wild1"}),
        ("starts_with", "50_", set()),
        ("starts_with", "50%_off😀", {"b_00wild1"}),
        ("contains", "😀林", {"b_00wild1"}),
        ("=", "ABC", set()),
        ("starts_with", "Ａ", {"b_00wild3"}),
    ],
)
def test_a_text_means_its_characters(shopful: Shopful, op: str, value: str, found: set[str]) -> None:
    """No wildcards, no folding of case or width, letters outside the basic plane count as one."""

    async def write(*, there: bool) -> None:
        from sqlalchemy import delete, insert

        from ledger import tables

        async with shopful.engine.begin() as connection:
            await connection.execute(delete(tables.buyers).where(tables.buyers.c.id.in_(NAMES)))
            if there:
                rows = [{"id": id, "partition": 0, "name": name, "created_at": 1} for id, name in NAMES.items()]
                await connection.execute(insert(tables.buyers), rows)

    shopful.run(write(there=True))
    try:
        asked = inside(shopful, {"all": [{"field": "buyer.name", "op": op, "value": value}]})
    finally:
        shopful.run(write(there=False))
    assert asked & set(NAMES) == found


def test_the_longest_lists_are_taken_by_both_databases(shopful: Shopful) -> None:
    """Two thousand values, in lists beside the buyer and of the buyer."""
    tags = [{"field": "buyer.tags", "op": "in", "value": [f"t{n}" for n in range(499)] + ["casual"]}] * 2
    none = [
        {"field": name, "op": "not_in", "value": [f"x{n}" for n in range(500)]} for name in ("buyer.id", "items.sku")
    ]

    assert inside(shopful, {"all": [*tags, *none]}) == inside(
        shopful, {"all": [{"field": "buyer.tags", "op": "=", "value": "casual"}]}
    )


def test_a_day_is_the_shops_also_where_the_clock_changes() -> None:
    """From midnight to midnight of the shop's time zone: 23 or 25 hours long twice a year."""
    hour = 3_600_000
    for day, hours in (("2026-03-29", 23), ("2026-07-01", 24), ("2026-10-25", 25)):
        found = read_qualifier("since", day)
        moment = Moment(shops.NOW, ZoneInfo("Europe/Berlin"))
        assert found.end(moment) - found.at(moment) == hours * hour
        assert found.at(Moment(shops.NOW, ZoneInfo("Asia/Shanghai"))) == found.at(Moment(0, UTC)) - 8 * hour


# --- faults -----------------------------------------------------------------------------------------------------------

ONE = {"field": "orders.count", "op": ">=", "value": 1}


@pytest.mark.parametrize(
    ("where", "path", "words"),
    [
        ([], "where", "must be"),
        ({}, "where", "is empty"),
        (ONE, "where", "must be a group"),
        ({"all": {}}, "where.all", "must be a list"),
        ({"all": [], "any": []}, "where", "holds all and any: one of them"),
        ({"al": []}, "where.al", "did you mean all?"),
        ({"all": [7]}, "where.all[0]", "must be"),
        ({"all": [ONE, {"any": [ONE, {"field": "order.count"}]}]}, "where.all[1].any[1].field", "did you mean orders.count?"),
        ({"all": [{"field": "zzz", "op": "=", "value": 1}]}, "where.all[0].field", "GET /api/v1/segments/fields lists them"),
        ({"all": [{"op": "=", "value": 1}]}, "where.all[0].field", "is missing"),
        ({"all": [{**ONE, "op": "contains"}]}, "where.all[0].op", "it takes =, !=, <"),
        ({"all": [{"field": "orders.count", "value": 1}]}, "where.all[0].op", "is missing"),
        ({"all": [{"field": "orders.count", "op": "="}]}, "where.all[0].value", "is missing"),
        ({"all": [ONE, ONE, {**ONE, "value": "1"}]}, "where.all[2].value", "must be a whole number, such as 1, not 1"),
        ({"all": [{**ONE, "value": True}]}, "where.all[0].value", "must be a whole number"),
        ({"all": [{**ONE, "value": 2**40}]}, "where.all[0].value", "must be from 0 to 1000000000"),
        ({"all": [{**ONE, "op": "between", "value": [3, 1]}]}, "where.all[0].value", "from the lower to the higher"),
        ({"all": [{**ONE, "op": "between", "value": [1]}]}, "where.all[0].value", "a list of two"),
        ({"all": [{**ONE, "since": "yesterday"}]}, "where.all[0].since", "must be a day"),
        ({"all": [{**ONE, "sinc": {"days": 1}}]}, "where.all[0].sinc", "there are: field, op, value, since, until, shop"),
        ({"all": [{**ONE, "account": "x"}]}, "where.all[0].account", "takes no account"),
        ({"all": [{"field": "buyer.gender", "op": "in", "value": ["female", "f"]}]}, "where.all[0].value[1]", "f is none of female"),
        ({"all": [{"field": "buyer.tags", "op": "in", "value": []}]}, "where.all[0].value", "one or more"),
        ({"all": [{"field": "buyer.tags", "op": "in", "value": ["x"] * 501}]}, "where.all[0].value", "500 at most"),
        ({"all": [{"field": "buyer.tags", "op": "=", "value": "x" * 201}]}, "where.all[0].value", "200 at most"),
        ({"all": [{"field": "buyer.tags", "op": "=", "value": "a\x00"}]}, "where.all[0].value", "NUL"),
        ({"all": [{"field": "buyer.tags", "op": "=", "value": "\ud800"}]}, "where.all[0].value", "UTF-8"),
        ({"all": [{"field": "orders.spent", "op": ">", "value": "1.00001"}]}, "where.all[0].value", "must be an amount"),
        ({"all": [{"field": "orders.last", "op": "before", "value": "2026-02-30"}]}, "where.all[0].value", "no such day"),
        ({"all": [{"field": "orders.last", "op": "within", "value": {"days": -1}}]}, "where.all[0].value.days", "from 0"),
        ({"all": [{"field": "member.is", "op": "=", "value": "yes"}]}, "where.all[0].value", "true or false"),
        ({"all": [ONE] * 101}, "where.all", "holds 101 conditions"),
        ({"all": [{"any": [ONE] * 60}, {"any": [ONE] * 60}]}, "where.all[1].any[40]", "over 100 conditions"),
        ({"not": {"not": {"not": {"not": {"not": {"not": ONE}}}}}}, "where.not.not.not.not.not.not", "nested deeper than 6"),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_place(where: Any, path: str, words: str) -> None:
    with pytest.raises(SegmentError) as told:
        parse(where)

    assert [place for place, _ in told.value.faults] == [path]
    assert words in told.value.faults[0][1]


def test_all_faults_are_told_at_once() -> None:
    bad = [{**ONE, "value": -1}, {**ONE, "op": "has"}, {"field": "order.count", "op": "=", "value": 1}]

    with pytest.raises(SegmentError) as told:
        parse({"all": bad})

    assert [place for place, _ in told.value.faults] == [
        "where.all[0].value",
        "where.all[1].op",
        "where.all[2].field",
    ]


def test_lists_are_limited_over_the_whole_segment() -> None:
    """A database takes some thirty thousand values; a segment may hold two thousand."""
    listed = {"field": "buyer.tags", "op": "in", "value": [f"t{n}" for n in range(500)]}
    parse({"all": [listed] * 4})

    with pytest.raises(SegmentError, match="over 2000 values together"):
        parse({"all": [listed] * 5})


def test_names_of_accounts_and_shops_are_known_ones() -> None:
    """A misspelt account would quietly match nobody."""
    known = Known(accounts=frozenset({"sms-main"}), shops=frozenset({"main"}))
    parse({"all": [{"field": "consent.calls", "op": "=", "value": "granted", "account": "sms-main"}]}, known=known)

    for term, path in (
        ({"field": "consent.calls", "op": "=", "value": "granted", "account": "sms-mian"}, "where.all[0].account"),
        ({"field": "channels.account", "op": "in", "value": ["sms-mian"]}, "where.all[0].value"),
        ({"field": "orders.shop", "op": "=", "value": "mian"}, "where.all[0].value"),
    ):
        with pytest.raises(SegmentError, match="did you mean") as told:
            parse({"all": [term]}, known=known)
        assert told.value.faults[0][0] == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("all", "any", "none", "not", "field", "op", "value", "since", "account", "x")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def faults_of(where: Any) -> list[tuple[str, str]] | None:
    try:
        parse(where)
    except SegmentError as error:
        return error.faults
    return None


def _spoilt(where: Any) -> st.SearchStrategy[Any]:
    """The same JSON with one scalar in it replaced."""
    text = json.dumps(where)
    spots = [n for n, char in enumerate(text) if char in "0123456789"]
    bad = st.sampled_from(('""', "null", "[]", "{}", "-1", "1e3", '"x"'))
    if not spots:
        return st.just(where)
    return st.tuples(st.sampled_from(spots), bad).map(lambda at: _loaded(text[: at[0]] + at[1] + text[at[0] + 1 :]))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@settings(max_examples=250, deadline=None)
@given(JSON | WHERE.flatmap(_spoilt))
def test_nonsense_is_refused_with_a_place(where: Any) -> None:
    """Whatever it is: conditions, or a list of faults; never anything else."""
    faults = faults_of(where)
    assert faults is None or (faults and all(path.startswith("where") and words for path, words in faults))


def test_text_that_is_no_json_is_a_fault() -> None:
    for text in ("", "{", '{"all": [], "all": []}', '{"all": [NaN]}', "\ud800"):
        with pytest.raises(SegmentError) as told:
            parse_text(text)
        assert told.value.faults[0][0] == "where"
