"""Segments through the API of the shipped gateway: what happened in chat and shops is found, saved and changed by two staff."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from console.api import answers as out
from tests.console.served import Served

ONE = {"field": "orders.count", "op": ">=", "value": 1}


def preview(gw: Served, *tests: Any) -> Any:
    answer = gw.api("POST", "/segments/preview", {"where": {"all": list(tests)}})
    assert answer.status == 200, answer.raw
    assert out.SegmentPreview.model_validate_json(answer.raw)
    return answer.json


def only(gw: Served, buyer: dict[str, Any], *tests: Any) -> int:
    """Whether (1) or not (0) the buyer is in a segment."""
    return int(preview(gw, {"field": "buyer.id", "op": "=", "value": buyer["id"]}, *tests)["count"])


def test_what_has_just_happened_is_found(gw: Served) -> None:
    """An order paid a moment ago, a tag set a moment ago: the answer waits for the ledger."""
    buyer = gw.buyer("messenger-main", f"88{secrets.randbelow(10**12)}", "你好")
    assert only(gw, buyer) == 1
    assert only(gw, buyer, ONE) == 0
    gw.api("PATCH", f"/buyers/{buyer['id']}", {"tags": ["casual"], "birthday": "1990-01-02", "sizes": {"top": "M"}})

    id = pay(gw, buyer)
    found = _until_in(gw, buyer, {"field": "items.sku", "op": "in", "value": [f"{id}-M"]})
    assert found["sample"][0]["id"] == buyer["id"]
    assert out.Buyer.model_validate(found["sample"][0])
    assert found["as_of"] is not None
    for test in (
        ONE,
        {"field": "buyer.tags", "op": "all", "value": ["casual"]},
        {"field": "buyer.size", "op": "=", "value": "M"},
        {"field": "buyer.age", "op": ">=", "value": 18},
        {"field": "orders.spent", "op": "between", "value": ["259.00", "259"]},
        {"field": "orders.city", "op": "=", "value": "上海市"},
        {"field": "channels.account", "op": "=", "value": "messenger-main"},
        {"field": "channels.window_open", "op": "=", "value": True, "account": "messenger-main"},
        {"field": "consent.marketing", "op": "!=", "value": "granted"},
        {"none": [{"field": "member.is", "op": "=", "value": True}]},
    ):
        assert only(gw, buyer, test) == 1, test


def pay(gw: Served, buyer: dict[str, Any]) -> str:
    """An order of 259.00 for one coat, paid; its id."""
    id = f"seg{secrets.randbelow(10**12)}"
    order = {
        "id": id, "number": f"#{id}", "pay_state": "paid", "total": {"amount": "259.00", "currency": "CNY"},
        "placed_at": "2026-01-01T02:00:00Z", "paid_at": "2026-01-01T02:05:00Z", "ship_to": {"city": "上海市"},
        "items": [{"title": "外套", "qty": 1, "sku": f"{id}-M", "price": {"amount": "259.00", "currency": "CNY"}}],
    }  # fmt: skip
    address = f"messenger-main:{buyer['addresses'][0]['id']}"
    envelope = {
        "type": "order.paid", "id": f"{id}-paid", "shop": "main", "occurred_at": "2026-01-01T02:05:00Z",
        "data": {"order": order, "buyer": {"ref": id, "address": address}},
    }  # fmt: skip
    assert gw.api("POST", "/events", envelope).status == 202

    return id


def _until_in(gw: Served, buyer: dict[str, Any], test: Any) -> Any:
    from tests.console.served import until

    where = [{"field": "buyer.id", "op": "=", "value": buyer["id"]}, test]
    return until(lambda: found if (found := preview(gw, *where))["count"] else None, 10, "the order")


def test_scores_are_drawn_when_asked(gw: Served) -> None:
    """Who ordered three times stands above who ordered once, as soon as the bounds are drawn anew."""
    from tests.console.served import until

    once, often = (gw.buyer("messenger-main", f"89{secrets.randbelow(10**12)}", "你好") for _ in range(2))
    for buyer in (once, often, often, often):
        pay(gw, buyer)
    _until_in(gw, often, {"field": "orders.count", "op": "=", "value": 3})
    assert gw.api("POST", "/segments/scores").json == {"asked": True}

    until(lambda: only(gw, often, {"field": "rfm.f", "op": ">", "value": 1}), 20, "the scores")
    assert only(gw, once, {"field": "rfm.f", "op": "=", "value": 1}) == 1


def test_the_fields_are_told(gw: Served) -> None:
    """Each with what a form needs to ask it."""
    fields = gw.get("/segments/fields")
    assert out.Page[out.SegmentField].model_validate(fields)
    by_name = {field["name"]: field for field in fields["items"]}
    assert len(by_name) > 45
    assert by_name["orders.count"]["operators"] == ["=", "!=", "<", "<=", ">", ">=", "between"]
    assert by_name["buyer.gender"]["choices"] == ["female", "male", "unsaid", ""]
    assert {q["name"] for q in by_name["items.sku"]["qualifiers"]} == {"since", "until"}
    switches = gw.get("/segments/exclusions")
    assert out.Page[out.ExclusionOut].model_validate(switches)
    assert "bought_in_2_days" in {switch["name"] for switch in switches["items"]}


def test_faults_are_told_with_their_paths(gw: Served) -> None:
    bad = {"all": [ONE, {"field": "order.count", "op": "=", "value": 1}, {**ONE, "value": "many"}]}
    for method, path, body in (
        ("POST", "/segments/preview", {"where": bad}),
        ("POST", "/segments", {"name": "x", "where": bad}),
    ):
        answer = gw.api(method, path, body)
        assert (answer.status, answer.kind) == (400, "bad-body")
        assert answer.fields == {"where.all[1].field", "where.all[2].value"}
        assert "did you mean orders.count?" in answer.json["detail"]
    misspelt = {"all": [{"field": "consent.calls", "op": "=", "value": "granted", "account": "sms-mian"}]}
    assert "did you mean sms-main?" in gw.api("POST", "/segments/preview", {"where": misspelt}).json["detail"]


@pytest.mark.parametrize("where", [None, [], "x", 7, {}, {"all": [], "any": []}, {"all": None}, {"all": [[[[]]]]}])
def test_nonsense_is_a_bad_body(gw: Served, where: Any) -> None:
    answer = gw.api("POST", "/segments/preview", {"where": where})
    assert (answer.status, answer.kind) == (400, "bad-body")
    assert all(field.startswith("where") for field in answer.fields)


def test_a_segment_is_saved_listed_changed_and_deleted(gw: Served) -> None:
    where = {"all": [ONE]}
    made = gw.api("POST", "/segments", {"name": "  买过的  ", "where": where})
    assert made.status == 201
    segment = made.json
    assert out.Segment.model_validate(segment)
    assert (segment["name"], segment["where"], segment["version"]) == ("买过的", where, 1)
    assert segment["created_by"] == "test-owner"
    other = gw.api("POST", "/segments", {"name": "all", "where": {"all": []}}).json

    listed = [one["id"] for one in gw.all("/segments", 1)]
    assert listed.index(other["id"]) < listed.index(segment["id"])
    assert gw.get(f"/segments/{segment['id']}") == segment

    changed = gw.api("PATCH", f"/segments/{segment['id']}", {"where": {"any": [ONE]}, "version": 1}).json
    assert (changed["where"], changed["version"], changed["name"]) == ({"any": [ONE]}, 2, "买过的")
    assert gw.api("DELETE", f"/segments/{segment['id']}?version=2").json == {"id": segment["id"], "deleted": True}
    assert gw.api("GET", f"/segments/{segment['id']}").kind == "not-found"
    assert gw.api("DELETE", f"/segments/{segment['id']}").kind == "not-found"
    assert gw.api("PATCH", f"/segments/{segment['id']}", {"name": "x"}).kind == "not-found"


def test_two_staff_do_not_overwrite_each_other(gw: Served) -> None:
    """Both read version 1; who comes second is told who was first."""
    id = gw.api("POST", "/segments", {"name": "both", "where": {"all": []}}).json["id"]
    first = gw.api("PATCH", f"/segments/{id}", {"name": "mine", "version": 1}, role="marketing")
    second = gw.api("PATCH", f"/segments/{id}", {"name": "yours", "version": 1})

    assert first.status == 200
    assert (second.status, second.kind) == (409, "changed-meanwhile")
    assert "test-marketing changed it meanwhile: it is at version 2, not 1" in second.json["detail"]
    assert gw.api("DELETE", f"/segments/{id}?version=1").kind == "changed-meanwhile"
    assert gw.get(f"/segments/{id}")["name"] == "mine"
    assert gw.api("PATCH", f"/segments/{id}", {"name": "whatever"}).json["version"] == 3


def test_only_marketing_saves(gw: Served) -> None:
    body = {"name": "x", "where": {"all": []}}
    for role in ("service", "read-only"):
        assert gw.api("POST", "/segments", body, role=role).status == 403
        assert gw.api("POST", "/segments/preview", {"where": {"all": []}}, role=role).status == 200
    made = gw.api("POST", "/segments", body, role="marketing", Idempotency_Key="once")
    again = gw.api("POST", "/segments", body, role="marketing", Idempotency_Key="once")
    assert made.json == again.json
