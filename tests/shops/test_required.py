"""Required facts: every event type as it should be, then with each fact taken away, blanked and damaged."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import PayloadError
from bot.metrics import IGNORED
from bot.strictjson import decode
from shops.standard.envelope import to_event
from shops.standard.required import FACTS
from tests.channels.lend import NOW
from tests.gateway import running
from tests.shops.events import KINDS, envelope
from tests.shops.test_standard import READING

# The table of the envelope's specification, written down a second time: the code's own table is what is tested.
REQUIRED = {
    "order.created": "order.id order.number order.total order.pay_state order.placed_at order.pay_url",
    "payment.failed": "order.id",
    "order.paid": "order.id order.paid_at order.total",
    "order.updated": "order.id",
    "order.cancelled": "order.id",
    "order.closed_unpaid": "order.id",
    "order.completed": "order.id",
    "shipment.created": "shipment.id order.id shipment.carrier shipment.tracking_no",
    "shipment.updated": "shipment.id shipment.state shipment.scan_at",
    **{f"refund.{s}": "refund.id order.id refund.amount refund.kind" for s in
       ("requested", "approved", "rejected", "succeeded", "closed")},
    "checkout.updated": "checkout.token checkout.items checkout.total",
    "cart.abandoned": "checkout.token checkout.items checkout.total",
    **{f"buyer.{s}": "buyer.ref buyer.phones buyer.consent" for s in ("created", "updated", "consent_changed")},
    **{f"member.{s}": "buyer.ref member.tier" for s in ("joined", "tier_changed", "points_changed")},
    **{f"coupon.{s}": "coupon.code coupon.value coupon.expires_at coupon.min_spend" for s in
       ("issued", "expiring", "redeemed")},
    "review.created": "order.id",
    "product.upserted": "product.id product.title",
    "product.removed": "product.id",
    "stock.changed": "product.id product.variants",
    "price.changed": "product.id product.variants",
    "privacy.data_request": "buyer.ref",
    "privacy.redact_customer": "buyer.ref",
}  # fmt: skip
CASES = [(kind, path) for kind in KINDS for path in REQUIRED.get(kind, "").split()]
MAY_BE_NULL = ("coupon.value", "coupon.min_spend")


def read(value: Any):
    return to_event(decode(json.dumps(value).encode()), READING, delivery_id="msg_1", received=NOW)


def fault(value: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        read(value)
    return caught.value.field


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_taken_in(kind):
    """A full event of each type, and one with its buyer unknown where that is allowed."""
    assert read(envelope(kind)).body.kind == kind
    value = copy.deepcopy(envelope(kind))
    if not any(path.startswith("buyer.") for path in REQUIRED.get(kind, "").split()):
        value["data"]["buyer"] = None
        assert read(value).body.buyer is None


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_a_missing_fact_is_named(kind, path):
    """Absent, null, blank, or its whole section gone: the field is named by its path."""
    section, name = path.split(".")
    for missing in ("absent", None, "", "  ", "section"):
        if path in MAY_BE_NULL and missing not in ("absent", "section"):
            continue
        value = copy.deepcopy(envelope(kind))
        if missing == "section":
            del value["data"][section]
        elif missing == "absent":
            del value["data"][section][name]
        else:
            value["data"][section][name] = missing
        named = fault(value)
        assert named == f"data.{path}" or (missing == "section" and named.startswith(f"data.{section}.")), (
            missing,
            named,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_all_other_facts_are_optional(kind):
    """An event of nothing but its required facts is taken in."""
    value = envelope(kind)
    wanted: dict[str, dict[str, Any]] = {}
    for path in REQUIRED.get(kind, "").split():
        section, name = path.split(".")
        wanted.setdefault(section, {})[name] = value["data"][section][name]
    assert read({**value, "data": wanted}).body.kind == kind


def test_the_tables_agree():
    """No type is forgotten in either; what is no order, parcel, cart, person or coupon needs nothing."""
    assert set(FACTS) == set(REQUIRED)
    assert {kind.partition(".")[0] for kind in KINDS if kind not in FACTS} <= {
        "product",
        "stock",
        "price",
        "privacy",
        "shop",
    }
    page = (Path(__file__).parents[2] / "docs" / "shops" / "standard.md").read_text()
    for kind, path in CASES:
        row = next(line for line in page.splitlines() if line.startswith("|") and f"`{kind}`" in line)
        assert f"`{path}`" in row, (kind, path)


@pytest.mark.parametrize("kind", ["order.created", "checkout.updated", "cart.abandoned"])
def test_a_named_buyer_can_be_reached(kind):
    """By number, e-mail or a chat address that the shop knows; a masked number counts, nobody named counts."""
    for buyer, good in (
        ({"phones": ["139****1234"]}, True),
        ({"email": "lin@example.test"}, True),
        ({"address": "messenger-main:p1"}, True),
        (None, True),
        ({"ref": "701", "name": "林小满"}, False),
        ({"phones": []}, False),
        ({"phones": ["", None]}, False),
        ({"phones": None, "email": " "}, False),
    ):
        value = copy.deepcopy(envelope(kind))
        value["data"]["buyer"] = buyer
        if good:
            read(value)
        else:
            assert fault(value) == "data.buyer.phones"


def test_who_needs_no_way_to_pay():
    """A paid order and cash on delivery; a blank pay_url of an unpaid one is missing."""
    value = copy.deepcopy(envelope("order.created"))
    order = value["data"]["order"]
    order["pay_url"] = None
    assert fault(value) == "data.order.pay_url"
    for changes in ({"pay_state": "paid"}, {"cod": True}, {"pay_state": "authorized"}):
        read({**value, "data": {**value["data"], "order": {**order, **changes}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(-1e9, 1e9) | st.text(max_size=9)
    | st.sampled_from(["2026-09-21T14:00:00Z", "unpaid", "https://s.example", "yes", "0001-01-01T00:00:00+14:00", -1]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("id amount currency items phones consent ship_to title total".split()), inner),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: str = "") -> list[str]:
    """The path of everything inside."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in pairs:
        found += places(inner, f"{path}.{name}".strip("."))
    return found


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_no_mutation_of_any_event_is_an_internal_error(data):
    """Anything put anywhere in any type: an event, or a refusal that names where."""
    value = copy.deepcopy(envelope(data.draw(st.sampled_from(KINDS))))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places(value))).split(".")
        here = value
        for step in way:
            here = here[int(step) if isinstance(here, list) else step]
        key = int(last) if isinstance(here, list) else last
        if data.draw(st.booleans()):
            here[key] = data.draw(JSON)
        else:
            del here[key]
        if not isinstance(value.get("data"), dict):
            break
    try:
        read(value)
    except PayloadError as error:
        refused = error.field
    else:
        return
    assert refused.partition(".")[0] in ("type", "id", "occurred_at", "timestamp", "version", "data")


async def test_the_answers_of_the_front_door(valkey, redis_client, tmp_path):
    """400 with the field in the problem's errors; an unknown type 200 and one more in the count."""
    async with running(valkey, tmp_path) as gw:
        value = envelope("order.paid")["data"]
        short = {**value, "order": {k: v for k, v in value["order"].items() if k != "paid_at"}}
        status, text = await gw.shop("order.paid", "e1", short)
        problem = json.loads(text)
        assert (status, problem["errors"][0]["field"]) == (400, "data.order.paid_at")
        assert "data.order.paid_at is missing" in problem["detail"]
        before = IGNORED.labels("main", "unknown type 'order.teleported'")._value.get()
        assert (await gw.shop("order.teleported", "e2", value))[0] == 200
        assert IGNORED.labels("main", "unknown type 'order.teleported'")._value.get() == before + 1
