"""The contract, sandbox: clock, phones, shop, faults; nonsense is a clear 4xx; nobody from outside gets in."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest

from tests.console.served import IDS, Served, until


def test_the_clock_runs_forward_for_all(gw: Served) -> None:
    """GET and POST answer {"now"}; every process has the new time when the POST answers."""
    before = datetime.fromisoformat(gw.sandbox("GET", "/clock").json["now"])
    moved = gw.sandbox("POST", "/clock", {"advance_s": 60})
    assert (moved.status, set(moved.json)) == (200, {"now"})
    after = datetime.fromisoformat(moved.json["now"])
    assert 60 <= (after - before).total_seconds() < 75
    for _ in range(6):
        assert datetime.fromisoformat(gw.sandbox("GET", "/clock").json["now"]) >= after
    assert gw.sandbox("POST", "/clock", {"advance_s": 0}).status == 200
    for body in (
        {"advance_s": -1},
        {"advance_s": "60"},
        {"advance_s": True},
        {"advance_s": 1e12},
        {"advance_s": None},
        {},
    ):
        answer = gw.sandbox("POST", "/clock", body)
        assert (answer.status, answer.fields) == (400, {"advance_s"}), body


def test_what_came_due_is_taken_up_when_the_clock_answers(gw: Served) -> None:
    """When the POST answers, no timer of any process is left that was due by then."""
    for _ in range(6):
        for _ in range(3):
            assert gw.sandbox("POST", "/shops/main/place", {}).status == 200
        until(lambda: gw.sandbox("GET", "/state.json").json["next_due"], 10, "the reminders")
        now = datetime.fromisoformat(gw.sandbox("POST", "/clock", {"advance_s": 11_000}).json["now"])
        due = gw.sandbox("GET", "/state.json").json["next_due"]
        assert not due or due > now.timestamp() * 1000


BROKEN = [
    b"{",
    b"[]",
    b"1",
    b"null",
    b'"x"',
    b"\xff",
    b'{"text": "\\ud800"}',
    b"[" * 100_000,
    b'{"advance_s": NaN}',
    b'{"advance_s": 1e999}',
]


@pytest.mark.parametrize(
    "path", ["/clock", "/faults/sms-main", "/shops/main/place", "/phones/sms-main/%2B8613900001234/say"]
)
@pytest.mark.parametrize("body", BROKEN, ids=lambda body: body[:20].decode("latin-1"))
def test_broken_bodies_are_refused(gw: Served, path: str, body: bytes) -> None:
    """A problem document and a 4xx, whatever the body."""
    if path.endswith("place") and body.startswith(b'{"'):
        return  # further keys are of no interest to the shop
    answer = gw.raw("POST", "/sandbox" + path, body, {"Content-Type": "application/json"})
    assert 400 <= answer.status < 500, (answer.status, answer.raw)
    assert answer.kind


@pytest.mark.parametrize("account", IDS)
def test_phones_show_what_was_said(gw: Served, account: str) -> None:
    """say {"text"} and what it leads to, on each account; tap takes a shown choice by label or payload."""
    id = {"wechat-main": "oFAKE0099", "messenger-main": "7740001"}.get(account, "+8613933330001")
    assert gw.sandbox("GET", gw.phone(account, id) + "/messages").json == {"items": [], "next_cursor": None}
    gw.say(account, "帮助", id)

    def answered() -> list[dict]:
        found = gw.sandbox("GET", gw.phone(account, id) + "/messages").json["items"]
        return [bubble for bubble in found if bubble["from"] == "shop"] if account != "sms-cn" else found

    until(answered, 10, "an answer")
    found = gw.sandbox("GET", gw.phone(account, id) + "/messages").json["items"]
    assert any(b["from"] == "buyer" and b["text"] == "帮助" for b in found)
    assert all({"n", "at", "from", "kind", "state"} <= set(bubble) for bubble in found)
    assert all(bubble["at"].endswith("Z") and datetime.fromisoformat(bubble["at"]) for bubble in found)
    for body in ({}, {"text": ""}, {"text": 1}, {"text": "a", "tap": "b"}, {"tap": []}, {"text": "x" * 4001}):
        answer = gw.sandbox("POST", gw.phone(account, id) + "/say", body)
        assert (answer.status, answer.fields) == (400, {"text"}), body


def test_a_tap_takes_a_choice(gw: Served) -> None:
    gw.say("messenger-main", "帮助", "7740002")
    shown = until(
        lambda: next(
            (
                b
                for b in gw.sandbox("GET", gw.phone("messenger-main", "7740002") + "/messages").json["items"]
                if b.get("choices")
            ),
            None,
        ),
        10,
        "choices",
    )
    choice = shown["choices"][1]
    assert gw.sandbox("POST", gw.phone("messenger-main", "7740002") + "/say", {"tap": choice["label"]}).status == 200
    until(
        lambda: len(gw.sandbox("GET", gw.phone("messenger-main", "7740002") + "/messages").json["items"]) >= 4,
        10,
        "the answer",
    )


def test_the_shop_does_all_its_deeds(gw: Served) -> None:
    """place, pay, ship, arrive, deliver, refund, cancel, abandon: each taken by the gateway, seen in the order."""
    placed = gw.sandbox("POST", "/shops/main/place", {})
    assert placed.status == 200
    order = placed.json["order"]
    for verb, name, state in (
        ("pay", "pay", "paid"), ("ship", "ship", "accepted"), ("arrive", "ship", "arrived_city"), ("deliver", "ship", "delivered"),
        ("refund", "refund", "requested"),
    ):  # fmt: skip
        assert gw.sandbox("POST", f"/shops/main/{verb}", {"order": order}).status == 200
        until(lambda name=name, state=state: gw.get(f"/orders/main/{order}")[name] == state, 10, verb)
    other = gw.sandbox("POST", "/shops/main/place", {}).json["order"]
    assert gw.sandbox("POST", "/shops/main/cancel", {"order": other}).status == 200
    until(lambda: gw.get(f"/orders/main/{other}")["closed"] == "cancelled", 10, "cancel")
    assert set(gw.sandbox("POST", "/shops/main/abandon", {}).json) >= {"cart", "status"}


def test_what_is_not_there_is_named(gw: Served) -> None:
    for method, path, body, kind in (
        ("GET", "/phones/nowhere/1/messages", None, "unknown-account"),
        ("GET", f"/phones/sms-main/{quote('nobody')}/messages", None, "unknown-phone"),
        ("POST", "/phones/messenger-main/abc/say", {"text": "x"}, "unknown-phone"),
        ("POST", "/shops/nowhere/place", {}, "unknown-account"),
        ("POST", "/shops/main/dance", {}, "unknown-verb"),
        ("POST", "/shops/main/pay", {"order": "nothing"}, "unknown-order"),
        ("POST", "/faults/nowhere", {"next": ["500"]}, "unknown-account"),
        ("GET", "/nothing", None, "not-found"),
    ):
        answer = gw.sandbox(method, path, body)
        assert (answer.status, answer.kind) == (404, kind), path
    assert gw.sandbox("DELETE", "/clock").kind == "wrong-method"


FAULTS = ("429", "500", "hang", "drop_after_accept", "duplicate")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_taken_and_lived_through(gw: Served, fault: str) -> None:
    """The next call fails as asked; the buyer is answered all the same, once (or shown in doubt after a hang)."""
    id = f"77500{FAULTS.index(fault):02}"
    assert gw.sandbox("POST", "/faults/messenger-main", {"next": [fault]}).json == {"planned": 1}
    gw.say("messenger-main", "帮助", id)
    buyer = until(lambda: gw.get("/buyers", address=f"messenger-main:{id}")["items"], 10, "the buyer")[0]["id"]
    taken = ("sent", "delivered", "read")
    final = taken if fault in ("429", "500", "duplicate") else (*taken, "in_doubt")

    def outcome() -> bool:
        return any(m["state"] in final for m in gw.get("/messages", buyer=buyer)["items"])

    until(outcome, 25, "an outcome")


def test_faults_are_checked(gw: Served) -> None:
    for body in ({}, {"next": []}, {"next": ["nonsense"]}, {"next": "500"}, {"next": [500]}, {"next": ["500"] * 1001}):
        answer = gw.sandbox("POST", "/faults/sms-main", body)
        assert (answer.status, answer.fields) == (400, {"next"}), body


def test_nobody_from_outside_gets_in(gw: Served) -> None:
    """What a proxy passes on, or another site's page, is refused: 403."""
    for path, method in (
        ("/clock", "GET"),
        ("/clock", "POST"),
        ("/phones/sms-main/%2B8613900001234/messages", "GET"),
        ("/faults/sms-main", "POST"),
    ):
        for header in (
            {"X-Forwarded-For": "203.0.113.9"},
            {"Forwarded": "for=203.0.113.9"},
            {"X-Real-IP": "203.0.113.9"},
        ):
            answer = gw.raw(method, "/sandbox" + path, b"{}" if method == "POST" else None, header)
            assert (answer.status, answer.kind) == (403, "sandbox-closed")
    answer = gw.raw("POST", "/sandbox/clock", b'{"advance_s": 1}', {"Origin": "https://evil.example"})
    assert (answer.status, answer.kind) == (403, "foreign-page")
