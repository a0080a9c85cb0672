"""The contract, broadcasts: made, previewed, tested, approved, sent to three simulated phones, and counted like the providers do."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.console.served import IDS, Answer, Served, serving, until

TEXT = {"zh-CN": "{{ name | default('您') }}，周三会员日，当天24点止。", "en": "Member day on Wednesday."}
SECTION = """[broadcasts]
approve_above = 3
undo_seconds = 0
link_hosts = ["shop.example"]
test_receivers = ["sms-main:+8613900007777", "sms-cn:+8613900007777"]

[broadcasts.templates.sms-cn.SMS_48001]
text = "${day}会员日：${item}会员价${price}元，当天24点止。拒收请回复R"

[channels.sms-main.prices]
currency = "USD"
per_part = { CN = "0.0359" }

[sandbox]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway where broadcasts to more than three must be approved."""
    folder: Path = tmp_path_factory.mktemp("broadcasts")
    with serving(folder, change=lambda text: text.replace("[sandbox]\n", SECTION)) as served:
        yield served


def draft(gw: Served, *, role: str = "marketing", **fields: Any) -> Answer:
    asked = {
        "title": "会员日",
        "where": {"all": []},
        "purpose": "marketing",
        "text": TEXT,
        "accounts": ["wechat-main", "messenger-main", "sms-main"],
        **fields,
    }
    return gw.api("POST", "/broadcasts", {name: value for name, value in asked.items() if value is not None}, role=role)


def made(gw: Served, **fields: Any) -> str:
    answer = draft(gw, **fields)
    assert answer.status == 201, answer.raw
    return answer.json["id"]


def opted_in(gw: Served, account: str, id: str) -> str:
    """A buyer who agreed to marketing on this phone; the ledger knows it."""
    buyer = gw.buyer(account, id, "恢复")["id"]
    consents = {"field": "consent.marketing", "op": "=", "value": "granted", "account": account}
    mine = {"all": [{"field": "buyer.id", "op": "=", "value": buyer}, consents]}
    until(
        lambda: gw.api("POST", "/broadcasts/preview", preview_of(where=mine)).json.get("count") == 1, 20, "the ledger"
    )
    return buyer


def preview_of(**fields: Any) -> dict[str, Any]:
    return {"purpose": "marketing", "text": TEXT, "accounts": ["wechat-main", "messenger-main", "sms-main"], **fields}


def only(*buyers: str) -> dict[str, Any]:
    return {"all": [{"field": "buyer.id", "op": "in", "value": list(buyers)}]}


def ended(gw: Served, id: str) -> dict[str, Any]:
    """The broadcast once it is done; the counts hold at every look."""

    def look() -> dict[str, Any] | None:
        found = gw.get(f"/broadcasts/{id}")
        counts = found["counts"]
        rest = counts["pending"] + counts["sent"] + counts["failed"] + counts["skipped"] + counts["in_doubt"]
        assert counts["planned"] == rest, found
        return found if found["state"] == "done" else None

    return until(look, 40, f"{id} to be done")


# --- drafts -----------------------------------------------------------------------------------------------------------


def test_a_draft_is_what_was_asked_for(shop: Served) -> None:
    answer = draft(
        shop, text={"zh-CN": "会员日", "en": " "}, holdout_percent=10, rate_per_second=20, exclude=["bought_in_2_days"],
        variants=[{"name": "b", "weight": 2, "text": {"zh-CN": "会员日到了"}}], send_at="2027-01-06T02:00:00Z",
        repeat={"weekday": "wed", "at": "10:00", "until": "2027-06-30T00:00:00Z"},
    )  # fmt: skip
    assert answer.status == 201
    found = answer.json
    assert shop.get(f"/broadcasts/{found['id']}") == {**found, "progress": found["progress"]}
    assert (found["state"], found["created_by"], found["version"]) == ("draft", "test-marketing", 1)
    assert found["text"] == {"zh-CN": "会员日"}
    assert found["repeat"] == {
        "weekday": "wed",
        "at": "10:00",
        "until": "2027-06-30T00:00:00Z",
        "next_at": None,
        "missed": 0,
    }
    assert found["variants"] == [
        {"name": "b", "weight": 2, "where": None, "text": {"zh-CN": "会员日到了"}, "counts": {}}
    ]
    assert found["counts"] == dict.fromkeys(found["counts"], 0)
    assert {one["rule"] for one in found["warnings"]} == {"missing_locale", "window"}
    assert found["id"] in [one["id"] for one in shop.all("/broadcasts", 2, state="draft")]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"where": None}, {"where"}),
        ({"segment": "sg_nothing", "where": None}, {"segment"}),
        ({"where": {"all": [{"field": "nothing", "op": "=", "value": 1}]}}, {"where.all[0].field"}),
        ({"accounts": []}, {"accounts"}),
        ({"accounts": ["fax"]}, {"accounts.0"}),
        ({"accounts": ["sms-cn"], "text": None}, {"templates.sms-cn"}),
        ({"text": {"fr": "Bonjour"}}, {"text.fr"}),
        ({"text": {"zh-CN": "{{ nmae }}"}}, {"text.zh-CN"}),
        ({"text": {"zh-CN": "会" * 700}}, {"text.zh-CN"}),
        ({"text": {"zh-CN": "看 https://evil.example/x"}}, {"text.zh-CN"}),
        ({"text": None}, {"text"}),
        ({"text": {"zh-CN": "{{ coupon }}"}}, {"text.zh-CN"}),
        ({"coupon": "NOTHING"}, {"coupon"}),
        ({"coupon": "WELCOME", "purpose": "service"}, {"purpose"}),
        ({"items": ["nothing"]}, {"items.0"}),
        ({"exclude": ["everybody"]}, {"exclude"}),
        ({"holdout_percent": 91}, {"holdout_percent"}),
        ({"rate_per_second": -1}, {"rate_per_second"}),
        ({"send_at": "tomorrow"}, {"send_at"}),
        ({"not_after": "2020-01-01T00:00:00Z"}, {"not_after"}),
        ({"repeat": {"weekday": "day", "at": "25:00"}}, {"repeat.weekday", "repeat.at"}),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, {"variants"}),
        ({"variants": [{"name": "a", "where": {"any": [{"field": "x"}]}}]}, {"variants.a.where.any[0].field", "variants"}),
        ({"templates": {"sms-cn": {"template_id": "SMS_1"}}}, {"templates.sms-cn"}),
        ({"purpose": "reply"}, {"purpose"}),
        ({"colour": "red"}, {"colour"}),
    ],
)  # fmt: skip
def test_every_fault_is_named_by_its_field(shop: Served, fields: dict[str, Any], named: set[str]) -> None:
    answer = draft(shop, **fields)
    assert (answer.status, answer.kind) == (400, "bad-body"), answer.raw
    assert answer.fields >= named, answer.json


def test_a_text_over_the_limit_names_length_and_limit(shop: Served) -> None:
    answer = draft(shop, text={"zh-CN": "会" * 700}, accounts=["wechat-main"])
    assert "2100 bytes" in answer.json["detail"]
    assert "wechat-main takes 2000" in answer.json["detail"]


def test_roles_and_repeats(shop: Served) -> None:
    """Marketing writes, everybody reads; the same Idempotency-Key makes no second draft."""
    for role in ("read-only", "service"):
        assert draft(shop, role=role).status == 403
        assert shop.api("GET", "/broadcasts", role=role).status == 200
    body = {"title": "once", "where": {"all": []}, "purpose": "marketing", "text": TEXT, "accounts": ["sms-main"]}
    ids = {shop.api("POST", "/broadcasts", body, Idempotency_Key="once").json["id"] for _ in range(2)}
    assert len(ids) == 1
    for path in ("/broadcasts/bc_none", "/broadcasts/bc_none/submit"):
        answer = shop.api("GET" if path.endswith("none") else "POST", path)
        assert (answer.status, answer.kind) == (404, "not-found")


def test_a_draft_changes_for_who_saw_it(shop: Served) -> None:
    """By version: the second of two people at once is told who was first."""
    id = made(shop)
    changed = shop.api("PATCH", f"/broadcasts/{id}", {"title": "新标题", "version": 1}, role="marketing")
    assert (changed.status, changed.json["title"], changed.json["version"]) == (200, "新标题", 2)
    assert changed.json["text"] == TEXT
    late = shop.api("PATCH", f"/broadcasts/{id}", {"title": "另一个", "version": 1})
    assert (late.status, late.kind) == (409, "changed-meanwhile")
    assert "test-marketing" in late.json["detail"]
    assert shop.api("PATCH", f"/broadcasts/{id}", {"text": {"zh-CN": "{{ x }}"}}).fields == {"text.zh-CN"}


def test_two_at_once(shop: Served) -> None:
    """Of two that submit at the same moment one does it; the other learns who did."""
    buyer = opted_in(shop, "messenger-main", "7100001")
    id = made(shop, where=only(buyer), send_at="2027-01-06T02:00:00Z")
    answers: list[Answer] = []
    work = [
        threading.Thread(target=lambda role=role: answers.append(shop.api("POST", f"/broadcasts/{id}/submit", {"version": 1}, role=role)))
        for role in ("owner", "marketing")
    ]  # fmt: skip
    shop.token("owner"), shop.token("marketing")
    for one in work:
        one.start()
    for one in work:
        one.join()
    assert sorted(answer.status for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status == 409)
    winner = shop.get(f"/broadcasts/{id}")["submitted_by"]
    assert winner in refused.json["detail"]


# --- preview ----------------------------------------------------------------------------------------------------------


def test_a_preview_weighs_each_buyer(shop: Served) -> None:
    """Who gets it by which channel, who is skipped and why, what lacks a value, parts and cost with long values; nothing is kept."""
    agreed = opted_in(shop, "messenger-main", "7100010")
    never = shop.buyer("messenger-main", "7100011")["id"]
    by_text = opted_in(shop, "sms-main", "+8613900007010")
    until(lambda: count_of(shop, only(never)) == 1, 20, "the ledger")
    before = len(list(shop.all("/broadcasts", 100)))
    text = {"zh-CN": "{{ name }}，会员日", "en": "{{ name }}, member day"}
    answer = shop.api("POST", "/broadcasts/preview", preview_of(where=only(agreed, never, by_text), text=TEXT))
    assert answer.status == 200, answer.raw
    found = answer.json
    assert (found["count"], found["looked_at"]) == (3, 3)
    assert found["would_send"] == {"messenger-main": 1, "sms-main": 1}
    assert found["would_skip"] == {"no_consent": 1}
    told = {one["buyer"]: one for one in found["sample"]}
    assert told[agreed]["text"] == "您，周三会员日，当天24点止。"
    assert told[by_text]["text"] == "【小满衣橱】您，周三会员日，当天24点止。 拒收请回复R"
    assert (told[never]["outcome"], told[never]["reason"]) == ("skip", "no_consent")
    [case] = [one for one in found["cases"] if one["account"] == "sms-main"]
    assert (case["parts"], case["per_part"]) == (1, {"amount": "0.0359", "currency": "USD"})
    assert case["cost"] == {"amount": "0.0359", "currency": "USD"}
    lacking = shop.api("POST", "/broadcasts/preview", preview_of(where=only(agreed, by_text), text=text)).json
    assert (lacking["without_value"], lacking["would_skip"]) == ({}, {})  # 朋友，会员日
    text = {"zh-CN": "{{ card }}，会员日", "en": "{{ card }}, member day"}
    lacking = shop.api("POST", "/broadcasts/preview", preview_of(where=only(agreed, by_text), text=text)).json
    assert lacking["without_value"] == {"card": 2}
    assert lacking["would_skip"] == {"missing_value": 2}
    bad = shop.api("POST", "/broadcasts/preview", preview_of(where=only(agreed), text={"zh-CN": "{{ x }}"})).json
    assert [one["rule"] for one in bad["faults"]] == ["syntax"]
    assert len(list(shop.all("/broadcasts", 100))) == before


def count_of(gw: Served, where: dict[str, Any]) -> int:
    return gw.api("POST", "/broadcasts/preview", preview_of(where=where)).json.get("count", 0)


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_the_member_day_on_three_phones(shop: Served) -> None:
    """Written, previewed, let go; it is on the three phones, once; counts and reasons are those of the providers' own lists."""
    phones = {"wechat-main": "oMemberDay1", "messenger-main": "7100020", "sms-main": "+8613900007020"}
    buyers = {account: opted_in(shop, account, id) for account, id in phones.items()}
    never = shop.buyer("messenger-main", "7100021")["id"]
    until(lambda: count_of(shop, only(never)) == 1, 20, "the ledger")
    id = made(shop, where=only(*list(buyers.values())[:3]))
    submitted = shop.api("POST", f"/broadcasts/{id}/submit", role="marketing")
    assert (submitted.status, submitted.json["state"], submitted.json["recipients"]) == (200, "scheduled", 3)
    done = ended(shop, id)
    assert (done["counts"]["planned"], done["counts"]["sent"]) == (3, 3)
    assert done["submitted_by"] == "test-marketing"
    words = "周三会员日，当天24点止。"
    for account, number in phones.items():
        shown = shop.sandbox("GET", shop.phone(account, number) + "/messages").json["items"]
        theirs = [b for b in shown if b["from"] == "shop" and words in str(b.get("text", ""))]
        assert len(theirs) == sum(done["by_account"][account].values()) == 1, account
    sms = shop.sandbox("GET", shop.phone("sms-main", phones["sms-main"]) + "/messages").json["items"]
    assert any(b.get("text", "").startswith("【小满衣橱】") and b["text"].endswith("拒收请回复R") for b in sms)
    # Who was just written to can be left alone, by the switch; the ledger knows it in a moment.
    alone = preview_of(where=only(*buyers.values()), exclude=["written_to_in_3_days"])
    until(
        lambda: shop.api("POST", "/broadcasts/preview", alone).json["excluded"] == {"written_to_in_3_days": 3},
        30,
        "the switch",
    )
    assert shop.api("POST", "/broadcasts/preview", alone).json["count"] == 0
    # The second broadcast of the day meets the cap: it waits; and who never agreed is skipped with the reason.
    other = made(shop, where=only(never))
    shop.api("POST", f"/broadcasts/{other}/submit", role="marketing")
    skipped = ended(shop, other)
    assert skipped["skipped_by_reason"] == {"no_consent": 1}
    listed = until(lambda: list(shop.all("/messages", 10, broadcast=other, state="skipped")), 20, "the message's row")
    assert [one["reason"] for one in listed] == ["no_consent"]


def test_a_second_person_approves_many(shop: Served) -> None:
    """Above the limit it waits; who submitted it may not approve it; the other may, with the count that is true."""
    buyers = [opted_in(shop, "messenger-main", f"710003{n}") for n in range(4)]
    id = made(shop, where=only(*buyers), send_at="2027-01-06T02:00:00Z")
    shop.token("owner")
    submitted = shop.api("POST", f"/broadcasts/{id}/submit", {"confirm": 4}, role="marketing").json
    assert submitted["state"] == "awaiting_approval"
    own = shop.api("POST", f"/broadcasts/{id}/approve", {"confirm": 4}, role="marketing")
    assert (own.status, own.kind) == (409, "second-person")
    assert shop.api("POST", f"/broadcasts/{id}/approve", role="service").status == 403
    wrong = shop.api("POST", f"/broadcasts/{id}/approve", {"confirm": 5})
    assert (wrong.status, wrong.kind, wrong.fields) == (409, "other-count", {"confirm"})
    approved = shop.api("POST", f"/broadcasts/{id}/approve", {"confirm": 4})
    assert (approved.json["state"], approved.json["approved_by"]) == ("scheduled", "test-owner")
    assert [(one["state"], one["by"]) for one in approved.json["history"]] == [
        ("draft", "test-marketing"), ("awaiting_approval", "test-marketing"), ("scheduled", "test-owner"),
    ]  # fmt: skip
    assert approved.json["history"][1]["at"] == approved.json["submitted_at"] <= approved.json["approved_at"]
    undone = shop.api("POST", f"/broadcasts/{id}/withdraw")
    assert [undone.json[name] for name in ("state", "submitted_by", "submitted_at", "approved_at")] == [
        "draft",
        None,
        None,
        None,
    ]
    blank = shop.api("POST", f"/broadcasts/{id}/cancel", b"\t")
    assert (blank.status, blank.kind) == (400, "bad-body")  # no body is one thing, a body that is no JSON another
    cancelled = shop.api("POST", f"/broadcasts/{id}/cancel")
    assert cancelled.json["state"] == "cancelled"
    again = shop.api("POST", f"/broadcasts/{id}/resume")
    assert (again.status, again.kind) == (409, "wrong-state")
    assert "test-owner" in again.json["detail"]


def test_an_audience_that_outgrew_the_limit_needs_another_person(shop: Served) -> None:
    """Who sees two and submits does not let four go alone: the segment was changed in between."""
    buyers = [opted_in(shop, "messenger-main", f"710019{n}") for n in range(4)]
    segment = shop.api("POST", "/segments", {"name": "两人", "where": only(*buyers[:2])}).json["id"]
    begin = datetime.fromisoformat(shop.sandbox("GET", "/clock").json["now"]) + timedelta(minutes=1)
    id = made(shop, where=None, segment=segment, accounts=["messenger-main"], send_at=begin.isoformat())
    shop.token("owner")
    assert shop.api("POST", f"/broadcasts/{id}/submit", role="marketing").json["state"] == "scheduled"
    assert shop.api("PATCH", f"/segments/{segment}", {"where": only(*buyers)}, role="marketing").status == 200
    shop.sandbox("POST", "/clock", {"advance_s": 61})
    until(lambda: shop.get(f"/broadcasts/{id}")["state"] == "paused", 20, "it to stop")
    assert "grown to 4" in shop.get(f"/broadcasts/{id}")["why"]
    own = shop.api("POST", f"/broadcasts/{id}/resume", {"confirm": 4}, role="marketing")
    assert (own.status, own.kind) == (409, "second-person")
    going = shop.api("POST", f"/broadcasts/{id}/resume").json
    assert (going["state"], going["approved_by"], going["recipients"]) == ("sending", "test-owner", 4)
    assert ended(shop, id)["counts"]["sent"] == 4


def test_what_a_draft_names_may_be_gone_when_it_is_submitted(shop: Served) -> None:
    """A segment that was deleted, a beginning that is over: named, and nothing is let go."""
    segment = shop.api("POST", "/segments", {"name": "旧", "where": {"all": []}}).json["id"]
    id = made(shop, where=None, segment=segment)
    assert shop.api("DELETE", f"/segments/{segment}").status == 200
    gone = shop.api("POST", f"/broadcasts/{id}/submit")
    assert (gone.status, gone.kind, gone.fields) == (400, "bad-body", {"segment"})
    now = datetime.fromisoformat(shop.sandbox("GET", "/clock").json["now"])
    over = draft(shop, send_at=(now - timedelta(days=365)).isoformat())
    assert (over.status, over.kind, over.fields) == (400, "bad-body", {"send_at"})
    assert draft(shop, send_at=(now - timedelta(minutes=2)).isoformat()).status == 201  # callers' clocks differ
    late = made(shop, send_at=(now + timedelta(minutes=1)).isoformat())
    shop.sandbox("POST", "/clock", {"advance_s": 1200})
    assert shop.api("POST", f"/broadcasts/{late}/submit").fields == {"send_at"}
    assert {shop.get(f"/broadcasts/{one}")["state"] for one in (id, late)} == {"draft"}
    assert shop.api("PATCH", f"/broadcasts/{late}", {"text": {"zh-CN": "改"}}).status == 200
    assert shop.api("PATCH", f"/broadcasts/{late}", {"send_at": None}).json["send_at"] is None


# --- tests ------------------------------------------------------------------------------------------------------------


def test_tests_respect_consent_and_are_not_counted(shop: Served) -> None:
    """A listed number gets it at once; anybody else by consent only; who said stop never."""
    id = made(shop, text={"zh-CN": "{{ name }}，试一下会员日"}, accounts=["sms-main", "messenger-main"])
    answer = shop.api("POST", f"/broadcasts/{id}/test", {"to": [{"phone": "139 0000 7777"}]}, role="marketing")
    assert answer.status == 202, answer.raw
    shop.told("sms-main", "试一下会员日", "+8613900007777", 20)
    [decision] = shop.get("/decisions", message=answer.json["ids"][0])["items"]
    assert (decision["source"], decision["purpose"]) == (f"test:{id}", "service")

    stranger = shop.buyer("messenger-main", "7100040")["id"]
    asked = shop.api("POST", f"/broadcasts/{id}/test", {"to": [{"buyer": stranger}]}, role="marketing").json["ids"]
    found = until(lambda: settled(shop, asked[0]), 20, "the test to a stranger")
    assert (found["state"], found["reason"], found["purpose"]) == ("skipped", "no_consent", "marketing")

    shop.say("sms-main", "R", "+8613900007777")
    until(lambda: opted_out(shop, "+8613900007777"), 20, "the opt-out")
    refused = shop.api("POST", f"/broadcasts/{id}/test", {"to": [{"phone": "+8613900007777"}]}, role="marketing")
    assert (refused.status, refused.kind) == (409, "opted-out")
    assert shop.get(f"/broadcasts/{id}")["counts"]["planned"] == 0
    for to, field in (
        ({"phone": "12"}, "to.0.phone"), ({"buyer": "b_none"}, "to.0.buyer"), ({"address": "fax:1"}, "to.0.address"), ({}, "to.0"),
    ):  # fmt: skip
        answer = shop.api("POST", f"/broadcasts/{id}/test", {"to": [to]}, role="marketing")
        assert answer.status in (400, 404)
        assert answer.fields == {field}


def settled(gw: Served, id: str) -> dict[str, Any] | None:
    answer = gw.api("GET", f"/messages/{id}")
    return answer.json if answer.status == 200 and answer.json["state"] not in ("queued", "sending") else None


def opted_out(gw: Served, number: str) -> bool:
    found = gw.get("/buyers", phone=number)["items"]
    return any(a["opted_out"] for one in found for a in one["addresses"])


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_the_command_line_does_the_same(shop: Served, tmp_path: Path) -> None:
    """Beside the running gateway: from a file to the phone, with the count, exit codes and JSON."""
    buyer = opted_in(shop, "messenger-main", "7100050")
    file = tmp_path / "day.json"
    body = {
        "title": "命令行", "where": only(buyer), "purpose": "marketing", "text": {"zh-CN": "命令行会员日"}, "accounts": ["messenger-main"],
    }  # fmt: skip
    file.write_text(json.dumps(body, ensure_ascii=False))
    id = run(shop, "create", str(file), "--json")["id"]
    silent = shop.cli("broadcast", "submit", id)
    assert (silent.returncode, "--confirm 1" in silent.stderr) == (2, True)
    assert shop.cli("broadcast", "submit", id, "--confirm", "2").returncode == 4
    assert run(shop, "submit", id, "--confirm", "1", "--by", "小林", "--json")["submitted_by"] == "小林"
    watched = shop.cli("broadcast", "watch", id)
    assert watched.returncode == 0, watched.stderr
    assert "sent 1" in watched.stdout
    assert "done: 1 of 1" in watched.stderr
    shop.told("messenger-main", "命令行会员日", "7100050")
    assert shop.cli("broadcast", "pause", id).returncode == 4


@pytest.mark.timeout(240)
def test_the_command_line_shows_and_refuses(shop: Served, tmp_path: Path) -> None:
    """The preview in words, the list, what is wrong by its field; never a traceback."""
    id = made(shop, title="给命令行看")
    told = shop.cli("broadcast", "preview", id)
    assert told.returncode == 0, told.stderr
    assert re.search(r"reaches \d+ buyers", told.stdout)
    assert "longest by sms-main" in told.stdout
    assert id in [one["id"] for one in run(shop, "list", "--state", "draft", "--json")]
    assert shop.cli("broadcast", "show", "bc_none").returncode == 3
    file = tmp_path / "bad.toml"
    file.write_text(
        'title = "x"\npurpose = "marketing"\naccounts = ["fax"]\n[where]\nall = []\n[text]\nzh-CN = "{{ x }}"\n'
    )
    bad = shop.cli("broadcast", "create", str(file))
    assert bad.returncode == 2
    assert "accounts.0: there is no account fax" in bad.stderr
    assert "text.zh-CN: there is no variable x" in bad.stderr
    assert "Traceback" not in bad.stderr


def run(gw: Served, *args: str) -> Any:
    done: subprocess.CompletedProcess[str] = gw.cli("broadcast", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
def test_the_only_one_types_the_count(tmp_path: Path) -> None:
    """Nobody else could approve: the count of its recipients lets it go."""
    with serving(
        tmp_path, change=lambda text: text.replace("[sandbox]\n", "[broadcasts]\napprove_above = 0\n\n[sandbox]\n")
    ) as gw:
        buyer = opted_in(gw, "messenger-main", IDS["messenger-main"])
        id = made(gw, role="owner", where=only(buyer), accounts=["messenger-main"])
        assert gw.api("POST", f"/broadcasts/{id}/submit").json["state"] == "awaiting_approval"
        bare = gw.api("POST", f"/broadcasts/{id}/approve")
        assert (bare.status, bare.kind) == (409, "second-person")
        assert "confirm = 1" in bare.json["detail"]
        assert bare.fields == {"confirm"}
        scheduled = gw.api("POST", f"/broadcasts/{id}/approve", {"confirm": 1}).json
        assert scheduled["state"] == "scheduled"
        assert scheduled["undo_until"] > scheduled["created_at"]
        undone = gw.api("POST", f"/broadcasts/{id}/withdraw").json
        assert undone["state"] == "draft"
        assert gw.api("POST", f"/broadcasts/{id}/submit", {"confirm": 1}).json["state"] == "scheduled"
        _lets_a_grown_one_go_on(gw, buyer)


def _lets_a_grown_one_go_on(gw: Served, buyer: str) -> None:
    """Submitted for nobody, grown to one: the count once more, at the terminal."""
    segment = gw.api("POST", "/segments", {"name": "谁", "where": only("b_nobody")}).json["id"]
    begin = datetime.fromisoformat(gw.sandbox("GET", "/clock").json["now"]) + timedelta(minutes=1)
    id = made(gw, role="owner", where=None, segment=segment, accounts=["messenger-main"], send_at=begin.isoformat())
    assert gw.api("POST", f"/broadcasts/{id}/submit").json["state"] == "scheduled"
    assert gw.api("PATCH", f"/segments/{segment}", {"where": only(buyer)}).status == 200
    gw.sandbox("POST", "/clock", {"advance_s": 61})
    until(lambda: gw.get(f"/broadcasts/{id}")["state"] == "paused", 20, "it to stop")
    bare = gw.cli("broadcast", "resume", id, "--by", "test-owner")
    assert (bare.returncode, "confirm = 1" in bare.stderr) == (4, True), bare
    going = gw.cli("broadcast", "resume", id, "--by", "test-owner", "--confirm", "1", "--json")
    assert json.loads(going.stdout)["state"] in ("sending", "done"), going
