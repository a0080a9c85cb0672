"""The contract, events, messages, decisions and tasks."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from console.api.answers import Decision, Message, Task
from tests.console.served import Served, until


def now(gw: Served) -> datetime:
    return datetime.fromisoformat(gw.sandbox("GET", "/clock").json["now"])


def rfc(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def envelope(gw: Served, order: str, id: str, **more) -> dict:
    at = rfc(now(gw))
    facts = {
        "id": order, "number": f"#{order}", "pay_state": "unpaid", "total": {"amount": "88.00", "currency": "CNY"}, "placed_at": at,
        "pay_url": "https://shop.example/pay", "items": [{"title": "衬衫", "qty": 1, "sku": "T-M", "price": {"amount": "88.00", "currency": "CNY"}}],
    }  # fmt: skip
    buyer = {"ref": f"r{order}", "phones": ["+8613922220000"], "locale": "zh-CN"}
    return {
        "type": "order.created",
        "id": id,
        "shop": "main",
        "occurred_at": at,
        "data": {"order": facts, "buyer": buyer},
        **more,
    }


# --- events -----------------------------------------------------------------------------------------------------------


def test_one_envelope_or_a_list_counted_exactly(gw: Served) -> None:
    """202 with how many are new and how many known: at once, within a list, and after they were handled."""
    one = envelope(gw, "8101", "ev-1")
    answer = gw.api("POST", "/events", one)
    assert (answer.status, answer.json) == (202, {"accepted": 1, "duplicates": 0})
    assert gw.api("POST", "/events", one).json == {"accepted": 0, "duplicates": 1}
    two, three = envelope(gw, "8102", "ev-2"), envelope(gw, "8103", "ev-3")
    assert gw.api("POST", "/events", [two, one, three, two]).json == {"accepted": 2, "duplicates": 2}
    order = until(lambda: gw.api("GET", "/orders/main/8101").json.get("number"), 10, "the order")
    assert order == "#8101"
    assert gw.api("POST", "/events", [one, two]).json == {"accepted": 0, "duplicates": 2}
    assert gw.get("/buyers", phone="+8613922220000")["items"][0]["orders"]


def test_faults_of_events(gw: Served) -> None:
    """The shop must be a configured one; a missing fact is named by its path; a list is taken whole or not at all."""
    good = envelope(gw, "8104", "ev-4")
    for body, field in (
        ({**good, "shop": "nowhere"}, "shop"), ({k: v for k, v in good.items() if k != "shop"}, "shop"), ({**good, "shop": 1}, "shop"),
        ({**good, "type": "order.dreamt"}, "type"), ({**good, "occurred_at": "later"}, "occurred_at"), ({**good, "data": None}, "data"),
        ({**good, "data": {**good["data"], "order": {**good["data"]["order"], "total": None}}}, "data.order.total"),
        ([good, {**good, "id": "ev-5", "shop": "nowhere"}], "shop"),
    ):  # fmt: skip
        answer = gw.api("POST", "/events", body)
        assert (answer.status, answer.kind) == (400, "bad-body"), body
        assert {f.removeprefix("data.") for f in answer.fields} == {field.removeprefix("data.")}
    assert (
        gw.api("POST", "/events", [good, {**good, "id": "ev-5", "shop": "nowhere"}])
        .json["detail"]
        .startswith("event 2")
    )
    for body in ([], 1, "x", None, [1], [[good]]):
        assert gw.api("POST", "/events", b"null" if body is None else body).status == 400
    assert gw.api("GET", "/orders/main/8104").status == 404
    assert gw.api("POST", "/events", [good] * 501).status == 400


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_from_plan_to_delivery(gw: Served) -> None:
    """202 with its id; readable at once; the documented shape; states forward with their times."""
    buyer = gw.buyer("messenger-main", "7720101")
    answer = gw.api(
        "POST",
        "/messages",
        {"buyer": buyer["id"], "purpose": "service", "text": "您的衬衫到店了", "accounts": ["messenger-main"]},
    )
    assert (answer.status, set(answer.json)) == (202, {"id"})
    path = f"/messages/{answer.json['id']}"
    first = gw.get(path)
    Message.model_validate(first)
    assert {
        "id",
        "buyer",
        "account",
        "to",
        "purpose",
        "state",
        "reason",
        "text",
        "parts",
        "cost",
        "again_of",
        "name",
        "history",
    } == set(first)
    gw.told("messenger-main", "您的衬衫到店了", "7720101")
    # The simulated phone reads what it was delivered a moment later; then nothing moves any more.
    final = until(lambda: (m := gw.get(path))["state"] == "read" and m, 10, "the reading")
    assert (final["buyer"], final["account"], final["to"], final["text"]) == (
        buyer["id"],
        "messenger-main",
        "7720101",
        "您的衬衫到店了",
    )
    assert [h["state"] for h in final["history"]][:3] == ["queued", "sending", "sent"]
    assert all(set(h) == {"state", "at", "reason"} for h in final["history"])
    assert final in gw.get("/messages", buyer=buyer["id"])["items"]
    assert final["id"] in [m["id"] for m in gw.all("/messages", 50, state=final["state"])]
    assert final["id"] not in [m["id"] for m in gw.all("/messages", 50, state="failed")]
    assert gw.get("/messages", broadcast="bc_none")["items"] == []
    decision = gw.get("/decisions", message=final["id"])["items"][0]
    Decision.model_validate(decision)
    assert {"message", "buyer", "source", "purpose", "outcome", "lane", "rules", "at"} <= set(decision)
    assert (decision["outcome"], decision["lane"], decision["source"]) == ("send", "messenger-main", "api:test-owner")
    assert {r["verdict"] for r in decision["rules"]} <= {"allow", "deny", "defer"}


def test_a_message_by_phone_reaches_a_number_never_seen(gw: Served) -> None:
    """By SMS, with its parts counted; the buyer is made."""
    body = {"phone": "+86 139 2222 0001", "purpose": "service", "text": "您的衬衫到店了", "accounts": ["sms-main"]}
    id = gw.api("POST", "/messages", body).json["id"]
    gw.told("sms-main", "您的衬衫到店了", "+8613922220001")
    message = gw.get(f"/messages/{id}")
    assert (message["account"], message["to"], message["parts"]) == ("sms-main", "+8613922220001", 1)
    assert gw.get("/buyers", phone="+8613922220001")["items"][0]["id"] == message["buyer"]


def test_marketing_without_consent_is_a_stored_decision(gw: Served) -> None:
    buyer = gw.buyer("messenger-main", "7720102")["id"]
    id = gw.api("POST", "/messages", {"buyer": buyer, "purpose": "marketing", "text": "会员日"}).json["id"]
    message = gw.get(f"/messages/{id}")
    assert (message["state"], message["reason"]) == ("skipped", "no_consent")
    decision = gw.get("/decisions", buyer=buyer, outcome="skip", rule="consent")["items"][0]
    assert (decision["message"], decision["reason"], decision["lane"]) == (id, "no_consent", None)
    assert any(r["rule"] == "consent" and r["verdict"] == "deny" for r in decision["rules"])
    assert gw.get("/decisions", buyer=buyer, outcome="defer")["items"] == []


def test_a_wording_with_its_variables(gw: Served) -> None:
    """A wording by its key; variables that are missing, unknown or of no use are named, not found out in the turn."""
    buyer = gw.buyer("messenger-main", "7720103")["id"]
    id = gw.api("POST", "/messages", {"buyer": buyer, "purpose": "service", "wording": "help"}).json["id"]
    assert until(lambda: gw.get(f"/messages/{id}")["text"], 5, "the words")
    base = {"buyer": buyer, "purpose": "service"}
    for body, field in (
        ({**base, "wording": "nonsense"}, "wording"), ({**base, "wording": "phone_code"}, "vars"), ({**base, "wording": "order_shipped", "vars": {"eta_at": "soon"}}, "vars"),
        ({**base, "wording": "help", "vars": {"x": "y"}}, "vars"), ({**base, "wording": "help", "vars": {"x": 1}}, "vars.x"),
        (base, "text"), ({**base, "text": "a", "wording": "help"}, "text"), ({**base, "text": ""}, "text"), ({**base, "text": "x" * 2001}, "text"),
        ({"purpose": "service", "text": "a"}, "buyer"), ({**base, "text": "a", "phone": "+8613922220001"}, "buyer"),
        ({"phone": "12", "purpose": "service", "text": "a"}, "phone"), ({**base, "text": "a", "accounts": ["nowhere"]}, "accounts"),
        ({**base, "text": "a", "accounts": "sms-main"}, "accounts"), ({**base, "text": "a", "purpose": "code"}, "purpose"),
        ({**base, "text": "a", "not_after": "soon"}, "not_after"), ({**base, "text": "a", "when": "now"}, "when"),
        ({**base, "text": "a", "accounts": []}, "accounts"),
    ):  # fmt: skip
        answer = gw.api("POST", "/messages", body)
        assert (answer.status, answer.fields) == (400, {field}), (body, answer.raw)
    assert gw.api("POST", "/messages", {**base, "buyer": "b_nobody", "text": "a"}).kind == "not-found"
    assert gw.api("GET", "/messages/m_nothing").kind == "not-found"


def test_not_after_is_kept(gw: Served) -> None:
    """A message whose time has passed is skipped as too late."""
    buyer = gw.buyer("messenger-main", "7720104")["id"]
    body = {"buyer": buyer, "purpose": "service", "text": "a", "not_after": rfc(now(gw) - timedelta(minutes=1))}
    id = gw.api("POST", "/messages", body).json["id"]
    assert (gw.get(f"/messages/{id}")["state"], gw.get(f"/messages/{id}")["reason"]) == ("skipped", "too_late")


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_tasks_are_found_and_completed(gw: Served) -> None:
    """A person asked for: an open task of the documented shape; completed once, twice the same, otherwise 409."""
    buyer = gw.buyer("messenger-main", "7720105", "人工")["id"]
    task = until(
        lambda: next((t for t in gw.get("/tasks", state="open")["items"] if t["buyer"] == buyer), None), 10, "the task"
    )
    Task.model_validate(task)
    assert {"id", "kind", "state", "buyer", "order", "due_at", "brief", "assignee", "outcome"} <= set(task)
    assert (task["kind"], task["state"], task["outcome"]) == ("handover", "open", None)
    assert task["id"] in [t["id"] for t in gw.all("/tasks", 2, kind="handover", state="open")]
    path = f"/tasks/{task['id']}/complete"
    for body, field in (
        ({}, "outcome"),
        ({"outcome": ""}, "outcome"),
        ({"outcome": 1}, "outcome"),
        ({"outcome": "x", "done": True}, "done"),
    ):
        assert gw.api("POST", path, body).fields == {field}
    done = gw.api("POST", path, {"outcome": "answered", "note": "尺码"})
    assert (done.status, done.json["state"], done.json["outcome"], done.json["note"]) == (
        200,
        "done",
        "answered",
        "尺码",
    )
    assert done.json["assignee"] == "test-owner"
    assert gw.api("POST", path, {"outcome": "answered"}).json == done.json
    other = gw.api("POST", path, {"outcome": "never mind"})
    assert (other.status, other.kind) == (409, "already-done")
    assert task["id"] not in [t["id"] for t in gw.get("/tasks", state="open")["items"]]
    assert task["id"] in [t["id"] for t in gw.get("/tasks", state="done", assignee="test-owner")["items"]]
    assert gw.api("POST", "/tasks/t_nothing/complete", {"outcome": "x"}).kind == "not-found"


@pytest.mark.parametrize("path", ["/orders/main/none", "/orders/nowhere/1"])
def test_orders_that_are_not_there(gw: Served, path: str) -> None:
    assert gw.api("GET", path).kind == "not-found"


# --- whose they are ---------------------------------------------------------------------------------------------------


def scanned(gw: Served, order: str, **more) -> dict:
    facts = {
        "id": f"s{order}",
        "carrier": "SF",
        "tracking_no": f"SF{order}",
        "state": "arrived_city",
        "scan_at": rfc(now(gw)),
    }
    return {
        "type": "shipment.updated", "id": f"scan-{order}", "shop": "main", "occurred_at": rfc(now(gw)),
        "data": {"order": {"id": order}, "buyer": None, "shipment": facts}, **more,
    }  # fmt: skip


def test_what_an_order_decides_is_its_buyers_once_known(gw: Served) -> None:
    """A parcel that waits for its half hour in the city shows a held line; nobody's is null, then the buyer is named."""
    assert gw.api("POST", "/events", scanned(gw, "8601")).status == 202

    def held() -> dict | None:
        items = gw.get("/decisions", order="8601", outcome="defer")["items"]
        return items[0] if items else None

    found = until(held, 10, "the held line")
    _ = Decision.model_validate(found)
    assert (found["buyer"], found["message"], found["source"]) == (None, None, "journey:parcel_in_city/1")
    assert [(rule["rule"], rule["verdict"]) for rule in found["rules"]] == [("in_city_hold", "defer")]
    waits = datetime.fromisoformat(found["rules"][0]["until"]) - datetime.fromisoformat(found["at"])
    assert waits == timedelta(minutes=30)
    assert gw.api("POST", "/events", envelope(gw, "8601", "ev-8601")).status == 202
    named = until(lambda: held()["buyer"], 10, "the buyer")
    assert named == gw.get("/buyers", phone="+8613922220000")["items"][0]["id"]

    def orders() -> bool:
        return "8601" in {o["id"] for o in gw.get(f"/buyers/{named}")["orders"]}

    until(orders, 10, "the order in the buyer's list")
    assert found["at"] in {one["at"] for one in gw.get("/decisions", buyer=named, outcome="defer")["items"]}


def test_a_task_that_an_order_opened_names_its_buyer(gw: Served) -> None:
    """A refund's task says whose order it is, in the list, in the answer of its completion, and in the export."""
    assert gw.api("POST", "/events", envelope(gw, "8602", "ev-8602")).status == 202
    refund = {"id": "r8602", "amount": {"amount": "88.00", "currency": "CNY"}, "kind": "refund_only"}
    body = {"order": {"id": "8602"}, "buyer": None, "refund": refund}
    event = {"type": "refund.requested", "id": "ev-r8602", "shop": "main", "occurred_at": rfc(now(gw)), "data": body}
    assert gw.api("POST", "/events", event).status == 202

    def opened() -> dict | None:
        return next((t for t in gw.get("/tasks", kind="refund", state="open")["items"] if t["order"] == "8602"), None)

    task = until(opened, 10, "the task")
    buyer = gw.get("/buyers", phone="+8613922220000")["items"][0]["id"]
    assert task["buyer"] == buyer
    until(lambda: "8602" in {o["id"] for o in gw.get(f"/buyers/{buyer}")["orders"]}, 10, "the order in the list")
    assert task["id"] in {t["id"] for t in gw.get(f"/buyers/{buyer}/export")["tasks"]}
    done = gw.api("POST", f"/tasks/{task['id']}/complete", {"outcome": "refunded"})
    assert (done.status, done.json["buyer"]) == (200, buyer)
