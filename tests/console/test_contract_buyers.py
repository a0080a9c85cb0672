"""The contract, buyers: look-ups, profile, merge, timeline, export, erasure."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from console.api.answers import Buyer, Export
from tests.console.served import Served, until

PHONE = "+8613900001234"
SHAPE = {
    "id", "name", "phones", "locale", "birthday", "gender", "sizes", "tags", "erased", "member", "addresses", "coupons",
    "orders", "stats",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


def join(gw: Served, id: str, phone: str) -> dict:
    """A buyer in Messenger who joins with a number that is proved by a code in a text message."""
    gw.say("messenger-main", "会员", id)
    gw.told("messenger-main", "手机", id)
    gw.say("messenger-main", phone, id)

    def code() -> str:
        for account in ("sms-main", "sms-cn"):
            shown = gw.sandbox("GET", gw.phone(account, phone) + "/messages").json["items"]
            for bubble in shown:
                if found := re.search(r"(?<!\d)(\d{6})(?!\d)", str(bubble.get("text", ""))):
                    return found[1]
        return ""

    gw.say("messenger-main", until(code, 10, "the code"), id)

    def member() -> dict | None:
        found = gw.get("/buyers", address=f"messenger-main:{id}")["items"]
        return found[0] if found and found[0]["member"] else None

    return until(member, 10, "the card")


def test_a_member_has_the_documented_shape(gw: Served) -> None:
    """Exactly the fields of the contract, typed; every look-up leads to the same buyer."""
    gw.sandbox("POST", "/shops/main/place", {"id": "7101", "buyer": {"ref": "c7", "phones": ["+8613911110001"]}})
    gw.sandbox("POST", "/shops/main/pay", {"order": "7101"})
    buyer = join(gw, "7700101", "+8613911110001")
    until(lambda: gw.get(f"/buyers/{buyer['id']}")["orders"], 10, "the order")
    buyer = gw.get(f"/buyers/{buyer['id']}")
    assert set(buyer) == SHAPE
    Buyer.model_validate(buyer, strict=False)
    assert buyer["phones"] == ["+8613911110001"]
    member = buyer["member"]
    assert set(member) == {"number", "level", "points", "joined_at", "source"}
    assert re.fullmatch(r"\d{4} \d{4} \d{4}", member["number"])
    digits = [int(d) for d in member["number"].replace(" ", "")]
    assert sum(d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits))) % 10 == 0
    assert (member["level"], member["points"], member["source"].partition(":")[0]) == ("basic", 0, "messenger-main")
    assert TIME.fullmatch(member["joined_at"])
    address = next(a for a in buyer["addresses"] if a["account"] == "messenger-main")
    assert set(address) == {"account", "id", "reachable", "window_closes_at", "consent", "opted_out"}
    assert set(address["consent"]) == {"service", "marketing", "calls"}
    assert set(address["consent"].values()) <= {"granted", "refused", "unknown"}
    assert TIME.fullmatch(address["window_closes_at"])
    order = buyer["orders"][0]
    assert order == {
        "id": "7101", "shop": "main", "number": "#7101", "pay": "paid", "ship": "none", "refund": "none",
        "total": {"amount": "188.00", "currency": "CNY"},
    }  # fmt: skip
    assert buyer["stats"]["orders"] == 1
    assert buyer["stats"]["spent"] == {"amount": "188.00", "currency": "CNY"}
    coupon = buyer["coupons"][0]
    assert set(coupon) == {"code", "campaign", "state", "expires_at"}
    assert (coupon["campaign"], coupon["state"]) == ("WELCOME", "claimed")
    for query in (
        "phone=%2B8613911110001", "phone=%2B86%20139%201111%200001", "phone=+86%20139%201111%200001", "phone=13911110001",
        f"member_no={quote(member['number'])}", f"member_no={member['number'].replace(' ', '')}",
        "address=messenger-main:7700101", "address=messenger-main%3A7700101", "address=sms-main:%2B8613911110001",
        f"q={quote(member['number'])}", "q=13911110001", f"q={buyer['id']}",
    ):  # fmt: skip
        found = gw.api("GET", f"/buyers?{query}").json
        assert [b["id"] for b in found["items"]] == [buyer["id"]], query
        assert found["next_cursor"] is None
    assert buyer["id"] in [b["id"] for b in gw.all("/members", 2)]
    page = gw.get("/members", limit="1")
    while page["next_cursor"]:  # no page is empty while there are more, whoever is left out
        assert len(page["items"]) == 1
        page = gw.get("/members", limit="1", cursor=page["next_cursor"])


def test_the_shop_s_own_club_moves_level_and_points(gw: Served) -> None:
    """`tier` beside the buyer's facts or in `member`; the newest version stands; who holds no card gets none by it."""
    phone = "+8613922224001"
    buyer = join(gw, "88201", phone)["id"]
    now = gw.sandbox("GET", "/clock").json["now"]

    def told(kind: str, at: str, **data: object) -> int:
        who = {"ref": "club-1", "phones": [phone], **data.pop("buyer", {})}
        body = {
            "type": kind,
            "id": f"club-{kind}-{at}",
            "shop": "main",
            "occurred_at": at,
            "data": {"buyer": who, **data},
        }
        return gw.api("POST", "/events", body).status

    def card() -> tuple[str, int]:
        found = gw.get(f"/buyers/{buyer}")["member"]
        return found["level"], found["points"]

    gw.api("POST", "/events", {
        "type": "buyer.updated", "id": "club-0", "shop": "main", "occurred_at": now,
        "data": {"buyer": {"ref": "club-1", "phones": [phone], "consent": {"sms": "unknown"}}},
    })  # fmt: skip
    assert told("member.tier_changed", "2026-12-01T01:00:00Z", member={"tier": "gold", "points": 120}) == 202
    until(lambda: card() == ("gold", 120), 10, "gold")
    assert told("member.points_changed", "2026-12-01T01:30:00Z", buyer={"tier": "gold", "points": 150}) == 202
    until(lambda: card() == ("gold", 150), 10, "the points")
    assert told("member.tier_changed", "2026-12-01T00:30:00Z", member={"tier": "silver", "points": 1}) == 202  # late
    assert told("member.points_changed", "2026-12-01T01:40:00Z", tier="platinum") == 202
    until(lambda: card() == ("platinum", 150), 10, "platinum")
    for wrong in ({"tier": "x", "points": -1}, {"tier": "x", "points": "many"}, {"tier": "x", "points": 1.5}, {}):
        assert told("member.points_changed", "2026-12-01T01:50:00Z", member=wrong) == 400, wrong


def test_lookups_that_find_nobody(gw: Served) -> None:
    for query in ("phone=%2B8613999999999", "member_no=8000 0000 0000", "address=messenger-main:1", "q=nobody-at-all"):
        assert gw.api("GET", "/buyers?" + quote(query, safe="=%")).json == {"items": [], "next_cursor": None}
    for query, field in (
        ("phone=abc", "phone"),
        ("phone=12", "phone"),
        ("address=x", "address"),
        ("address=x:", "address"),
    ):
        answer = gw.api("GET", f"/buyers?{query}")
        assert (answer.status, answer.fields) == (400, {field})
    assert gw.api("GET", "/buyers?phone=13911110001&q=x").status == 400
    for id in ("b_x", "b_00aaaaaaaaaaaaaaaaaa", "m_0000000000000000aa", "%20", "b_zz0000000000000000"):
        assert gw.api("GET", f"/buyers/{id}").kind == "not-found"


def test_profile_and_tags_are_read_back_at_once(gw: Served) -> None:
    """PATCH answers the buyer as it is; the next GET, by any process, says the same."""
    path = f"/buyers/{gw.buyer('messenger-main', '7700102')['id']}"
    wanted = {
        "name": "苏晴",
        "birthday": "1990-01-02",
        "gender": "female",
        "locale": "en",
        "sizes": {"top": "M"},
        "tags": ["casual"],
    }
    answer = gw.api("PATCH", path, wanted)
    assert answer.status == 200
    assert {name: answer.json[name] for name in wanted} == wanted
    for _ in range(4):
        assert gw.get(path) == answer.json
    assert gw.api("PATCH", path, {"birthday": "02-29", "sizes": {"shoe": "38"}}).json["sizes"] == {
        "top": "M",
        "shoe": "38",
    }
    cleared = gw.api("PATCH", path, {"birthday": None, "gender": None, "tags": [], "sizes": {"top": ""}}).json
    assert (cleared["birthday"], cleared["gender"], cleared["tags"], cleared["sizes"]) == (
        None,
        None,
        [],
        {"shoe": "38"},
    )
    assert gw.api("PATCH", path, {}).json == cleared
    assert [b["name"] for b in gw.get("/buyers", q="苏")["items"]] == ["苏晴"]
    for body, field in (
        ({"birthday": "1990-02-30"}, "birthday"), ({"birthday": "13-01"}, "birthday"), ({"gender": "x"}, "gender"),
        ({"tags": "a"}, "tags"), ({"tags": [1]}, "tags.0"), ({"sizes": {"top": 1}}, "sizes.top"), ({"name": "x" * 61}, "name"),
        ({"locale": "fr"}, "locale"), ({"phones": []}, "phones"), ({"id": "b_1"}, "id"),
    ):  # fmt: skip
        refused = gw.api("PATCH", path, body)
        assert (refused.status, refused.fields) == (400, {field}), body


def test_a_merged_id_leads_to_the_survivor(gw: Served) -> None:
    """308 with the same path and query at the older buyer; both histories in one timeline; both ids find messages."""
    old = gw.buyer("messenger-main", "7700103")
    new = gw.buyer("messenger-main", "7700104")
    answer = gw.api("POST", f"/buyers/{old['id']}/merge", {"into": new["id"]})
    assert (answer.status, set(answer.json["merging"])) == (202, {old["id"], new["id"]})
    for rest, method, body in (("", "GET", None), ("/timeline?limit=3", "GET", None), ("", "PATCH", {"name": "x"})):
        moved = gw.api(method, f"/buyers/{new['id']}{rest}", body)
        assert (moved.status, moved.json["type"].rpartition("#")[2]) == (308, "merged")
        assert moved.headers["Location"] == f"/api/v1/buyers/{old['id']}{rest}"
    survivor = gw.get(f"/buyers/{old['id']}")
    assert {a["id"] for a in survivor["addresses"]} == {"7700103", "7700104"}
    assert gw.get("/buyers", address="messenger-main:7700104")["items"][0]["id"] == old["id"]
    lines = gw.get(f"/buyers/{old['id']}/timeline", limit="200")["items"]
    assert sum(line["kind"] == "message.received" for line in lines) == 2
    assert {m["to"] for m in gw.get("/messages", buyer=old["id"])["items"]} >= {"7700103", "7700104"}
    assert gw.get("/messages", buyer=new["id"])["items"]
    same = gw.api("POST", f"/buyers/{old['id']}/merge", {"into": new["id"]})
    assert (same.status, same.kind) == (409, "same-buyer")
    assert gw.api("POST", f"/buyers/{old['id']}/merge", {"into": "b_nobody"}).kind == "not-found"


def test_the_timeline_is_whole_newest_first_and_paged(gw: Served) -> None:
    buyer = gw.buyer("messenger-main", "7700105", "你好")
    gw.say("messenger-main", "优惠券", "7700105")
    gw.told("messenger-main", "", "7700105")
    gw.api("PATCH", f"/buyers/{buyer['id']}", {"tags": ["x"]})
    path = f"/buyers/{buyer['id']}/timeline"
    gw.delivered(buyer["id"])
    until(lambda: {"message.sent", "staff"} <= {line["kind"] for line in gw.get(path)["items"]}, 20, "the send")
    lines = gw.get(path, limit="200")["items"]
    assert all(set(line) == {"at", "kind", "summary", "ref"} for line in lines)
    times = [datetime.fromisoformat(line["at"]) for line in lines]
    assert times == sorted(times, reverse=True)
    assert {"message.received", "decision.send", "message.sent", "staff"} <= {line["kind"] for line in lines}
    for size in (1, 2, 3):
        assert list(gw.all(path, size)) == lines


def test_consent_given_elsewhere_is_recorded_with_its_evidence(gw: Served) -> None:
    buyer = gw.buyer("messenger-main", "7700106")
    path = f"/buyers/{buyer['id']}"
    body = {
        "account": "messenger-main",
        "id": "7700106",
        "topic": "marketing",
        "verdict": "granted",
        "evidence": "form 12",
    }
    assert gw.api("POST", f"{path}/consents", body).status == 202
    assert gw.get(path)["addresses"][0]["consent"]["marketing"] == "granted"
    evidence = gw.get(f"{path}/export")["consent_evidence"][0]
    assert (evidence["wording"], evidence["source"]) == ("form 12", "test-owner")
    assert gw.api("POST", f"{path}/consents", {**body, "account": "nowhere"}).fields == {"account"}
    assert gw.api("POST", f"{path}/consents", {**body, "id": "1"}).kind == "not-found"


def test_the_export_holds_everything(gw: Served) -> None:
    """Profile, addresses, orders, coupons, messages with words, decisions, timeline, and the record itself."""
    gw.sandbox(
        "POST",
        "/shops/main/place",
        {"id": "7107", "buyer": {"ref": "c77", "phones": ["+8613911110007"], "email": "lin@example.test"}},
    )
    gw.sandbox("POST", "/shops/main/pay", {"order": "7107"})
    buyer = join(gw, "7700107", "+8613911110007")
    until(lambda: gw.get(f"/buyers/{buyer['id']}")["orders"], 10, "the order")
    found = gw.get(f"/buyers/{buyer['id']}/export")
    Export.model_validate(found)
    text = str(found)
    for part in ("+8613911110007", "7700107", "lin@example.test", "main:c77", "WELCOME", "#7107", "手机"):
        assert part in text, part
    assert found["buyer"] == gw.get(f"/buyers/{buyer['id']}")
    assert found["orders"][0]["id"] == "7107"
    assert found["decisions"]
    assert found["timeline"]


def dump(config: Path) -> dict[bytes, bytes]:
    """Every key of the server with all that it holds, but for the simulated world outside."""
    client = redis.Redis(unix_socket_path=str(config.parent / "var" / "valkey" / "valkey.sock"))
    found = {}
    for name in client.scan_iter(count=1000):
        if name.startswith(b"sandbox:"):
            continue
        match client.type(name):
            case b"string":
                found[name] = client.get(name)
            case b"hash":
                found[name] = repr(client.hgetall(name)).encode()
            case b"list":
                found[name] = repr(client.lrange(name, 0, -1)).encode()
            case b"set":
                found[name] = repr(client.smembers(name)).encode()
            case b"zset":
                found[name] = repr(client.zrange(name, 0, -1)).encode()
            case b"stream":
                found[name] = repr(client.xrange(name)).encode()
    client.close()
    return found


def holding(gw: Served, *words: str) -> list[tuple[bytes, str]]:
    needles = [(word, word.encode(), repr(word.encode())[2:-1].encode()) for word in words]
    return [
        (name, word)
        for name, value in dump(gw.config).items()
        for word, plain, shown in needles
        if plain in name or plain in value or shown in name or shown in value
    ]


@pytest.mark.timeout(150)
def test_an_erased_buyer_is_gone_from_every_key(gw: Served) -> None:
    """202, then the id and `erased: true` and nothing else; no key holds the number, the name or the channel's id."""
    id, phone, name, email = "7700108", "+8613911110008", "阮清和", "ruan@example.test"
    facts = {"ref": "c7788", "name": name, "phones": [phone], "email": email, "locale": "zh-CN"}
    gw.sandbox("POST", "/shops/main/place", {"id": "7108", "buyer": facts})
    gw.sandbox("POST", "/shops/main/abandon", {"token": "ck7108", "buyer": facts})
    buyer = join(gw, id, phone)
    path = f"/buyers/{buyer['id']}"
    until(lambda: gw.get(path)["orders"], 10, "the order")
    gw.say("messenger-main", f"我是{name}，请找人工", id)
    gw.say("messenger-main", "人工", id)
    # A merge that waits for what is on its way holds the question back for a minute at most; a task from before it names
    # the id of then, by which the buyer is found, too.
    mine = {"buyer": buyer["id"]}
    until(lambda: gw.get("/tasks", state="open", **mine)["items"], 75, "a task")
    tasks = {task["id"] for task in gw.get("/tasks", **mine)["items"]}
    gw.api("PATCH", path, {"name": name}, Idempotency_Key="erase-me")
    gw.api("POST", "/messages", {"buyer": buyer["id"], "purpose": "service", "text": f"{name}您好"})
    dozing = gw.api("POST", "/messages", {"buyer": buyer["id"], "purpose": "marketing", "text": f"{name}来看看"}).json[
        "id"
    ]
    code = gw.get(path)["coupons"][0]["code"]
    assert {word for _, word in holding(gw, phone, name, id, email)} == {phone, name, id, email}
    answer = gw.api("DELETE", path)
    assert (answer.status, answer.json) == (202, {"id": buyer["id"], "erasing": True})
    assert gw.get(path) == {"id": buyer["id"], "erased": True}
    end = time.monotonic() + 40
    while (left := holding(gw, phone, name, id, email)) and time.monotonic() < end:
        time.sleep(0.3)
    assert not left
    # what stays: the id and the fact, states without words, the coupon as used stock, the order without its buyer
    assert gw.get(path) == {"id": buyer["id"], "erased": True}
    assert gw.api("DELETE", path).status == 202
    for method, rest, body in (
        ("PATCH", "", {"name": "x"}),
        ("GET", "/export", None),
        ("POST", "/merge", {"into": "b_x"}),
    ):
        refused = gw.api(method, path + rest, body)
        assert (refused.status, refused.kind) == (410, "erased")
    assert gw.get("/buyers", phone=phone)["items"] == gw.get("/buyers", q=name)["items"] == []
    assert buyer["id"] not in [b["id"] for b in gw.all("/buyers", 50)]
    messages = gw.get("/messages", buyer=buyer["id"])["items"]
    assert messages
    assert {(m["text"], m["to"]) for m in messages} == {("", None)}
    assert gw.get(f"/messages/{dozing}")["state"] == "skipped"
    assert gw.get(f"/coupons/{code}")["campaign"] == "WELCOME"
    assert gw.get("/orders/main/7108")["number"] == "#7108"
    assert {t["id"]: t["brief"] for t in gw.all("/tasks", 50) if t["id"] in tasks} == dict.fromkeys(tasks, "")
    # who writes again is somebody new
    again = gw.buyer("messenger-main", id)
    assert again["id"] != buyer["id"]
    assert gw.get(path) == {"id": buyer["id"], "erased": True}
