"""The contract, campaigns and coupons."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from console.api.answers import Campaign, Coupon
from tests.console.served import Served, until

MIN = {"title": "满300减50", "kind": "amount_off", "value": "50.00", "stock": 50}
CODE = re.compile(r"[A-HJ-NP-Z2-9]{12}")


def now(gw: Served) -> datetime:
    return datetime.fromisoformat(gw.sandbox("GET", "/clock").json["now"])


def rfc(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def made(gw: Served, key: str, **more) -> dict:
    answer = gw.api("POST", "/campaigns", {"key": key, **MIN, **more})
    assert answer.status == 201, answer.raw
    Campaign.model_validate(answer.json)
    return answer.json


def claim(gw: Served, key: str, buyer: str):
    return gw.api("POST", f"/campaigns/{key}/claims", {"buyer": buyer})


def test_a_campaign_in_full(gw: Served) -> None:
    """Every field as given, money with its currency, the numbers beside it; GET and the list say the same."""
    begins, ends = now(gw) - timedelta(days=1), now(gw) + timedelta(days=30)
    body = {
        "key": "RACE-50_A", "title": "跑团满减", "kind": "amount_off", "value": {"amount": "50.00", "currency": "CNY"},
        "min_spend": {"amount": "300.00", "currency": "CNY"}, "stock": 50, "per_buyer": 1, "starts_at": rfc(begins),
        "ends_at": rfc(ends), "valid_days": 30,
    }  # fmt: skip
    answer = gw.api("POST", "/campaigns", body)
    assert answer.status == 201
    assert answer.json == {**body, "claimed": 0, "redeemed": 0, "remaining": 50}
    assert gw.get("/campaigns/RACE-50_A") == answer.json
    assert answer.json in list(gw.all("/campaigns", 3))
    again = gw.api("POST", "/campaigns", body)
    assert (again.status, again.kind) == (409, "key-taken")
    assert gw.api("GET", "/campaigns/NOWHERE").kind == "not-found"


def test_values_of_each_kind(gw: Served) -> None:
    """Bare amounts take the brand's currency; percent is a string; free shipping and gifts have no value."""
    assert made(gw, "KIND1", value="50.00")["value"] == {"amount": "50.00", "currency": "CNY"}
    assert made(gw, "KIND2", min_spend="99")["min_spend"] == {"amount": "99", "currency": "CNY"}
    assert made(gw, "KIND3", kind="percent_off", value="10")["value"] == "10"
    assert made(gw, "KIND4", kind="free_shipping", value=None)["value"] is None
    assert made(gw, "KIND5", kind="gift", value=None)["value"] is None
    assert (
        made(gw, "KIND6", kind="add_on_price", value={"amount": "1.00", "currency": "USD"})["value"]["currency"]
        == "USD"
    )
    minimal = gw.api("POST", "/campaigns", {"key": "KIND7", "title": "x", "kind": "gift", "stock": 1}).json
    assert (
        minimal["per_buyer"],
        minimal["min_spend"],
        minimal["starts_at"],
        minimal["ends_at"],
        minimal["valid_days"],
    ) == (1, None, None, None, None)


def test_a_campaign_that_never_ends(gw: Served) -> None:
    """The last second of 9999, as some systems write it: kept, listed, and claimed in the chat in the shop's words."""
    phone = gw.phone("messenger-main", "7710109") + "/messages"

    def won() -> list[str]:
        found = gw.sandbox("GET", phone).json["items"]
        return [bubble["text"] for bubble in found if bubble["from"] == "shop" and "领到了" in bubble["text"]]

    for count, end in enumerate(("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"), 1):
        assert made(gw, f"NEVER{count}", ends_at=end)["ends_at"][:4] == "9999"
        gw.say("messenger-main", f"领 NEVER{count}", "7710109")
        until(lambda count=count: len(won()) == count, 10, f"NEVER{count}")
    assert {"NEVER1", "NEVER2"} <= {campaign["key"] for campaign in gw.all("/campaigns", 50)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "a"}, "key"), ({"key": "lower"}, "key"), ({"key": "A" * 33}, "key"), ({"key": "A"}, "key"), ({"key": "空"}, "key"),
        ({"title": ""}, "title"), ({"title": None}, "title"), ({"kind": "half_off"}, "kind"), ({"value": None}, "value"),
        ({"value": "-1"}, "value"), ({"value": "1,5"}, "value"), ({"value": 50}, "value"), ({"value": "0"}, "value"),
        ({"kind": "percent_off", "value": "101"}, "value"), ({"kind": "percent_off", "value": "0"}, "value"),
        ({"kind": "percent_off", "value": {"amount": "10", "currency": "CNY"}}, "value"),
        ({"value": {"amount": "50", "currency": "ZZZ"}}, "value.currency"), ({"value": {"amount": "50"}}, "value.currency"),
        ({"min_spend": {"amount": "300", "currency": "USD"}}, "min_spend"), ({"min_spend": "10"}, "min_spend"),
        ({"stock": -1}, "stock"), ({"stock": "50"}, "stock"), ({"stock": 1.5}, "stock"), ({"stock": True}, "stock"), ({"stock": None}, "stock"),
        ({"per_buyer": 0}, "per_buyer"), ({"valid_days": 0}, "valid_days"), ({"starts_at": "tomorrow"}, "starts_at"), ({"starts_at": 0}, "starts_at"), ({"ends_at": "1790000000"}, "ends_at"),
        ({"starts_at": "2026-10-01T00:00:00"}, "starts_at"), ({"starts_at": "2026-10-02T00:00:00Z", "ends_at": "2026-10-01T00:00:00Z"}, "ends_at"),
        ({"codes": ["SHORT"]}, "codes.0"), ({"codes": ["ABCDEFGHJKL0"]}, "codes.0"), ({"codes": ["ABCD-EFGH-JKL"]}, "codes.0"),
        ({"codes": ["abcdefghjklm"]}, "codes.0"), ({"codes": ["ABCDEFGHJKLM"]}, "codes"), ({"codes": "ABCDEFGHJKLM"}, "codes"),
        ({"stock": 2, "codes": ["ABCDEFGHJKLM", "ABCDEFGHJKLM"]}, "codes"), ({"claimed": 3}, "claimed"),
    ],
)  # fmt: skip
def test_faults_of_a_campaign(gw: Served, change: dict, field: str) -> None:
    answer = gw.api("POST", "/campaigns", {"key": "FAULT", **MIN, **change})
    assert (answer.status, answer.kind) == (400, "bad-body")
    assert answer.fields == {field}
    assert gw.api("GET", "/campaigns/FAULT").status == 404


def test_claims_and_redemptions(gw: Served) -> None:
    """201, then 200 with the same code; redeemed once per order; the numbers follow; the wallet says the same."""
    made(gw, "CLAIM1", stock=2, valid_days=30)
    buyer = gw.buyer("messenger-main", "7710101")["id"]
    first = claim(gw, "CLAIM1", buyer)
    assert first.status == 201
    Coupon.model_validate(first.json)
    coupon = first.json
    assert CODE.fullmatch(coupon["code"])
    assert (coupon["campaign"], coupon["state"], coupon["buyer"], coupon["order"]) == ("CLAIM1", "claimed", buyer, None)
    life = datetime.fromisoformat(coupon["expires_at"]) - now(gw)
    assert timedelta(days=29, hours=23) < life <= timedelta(days=30)
    again = claim(gw, "CLAIM1", buyer)
    assert (again.status, again.json) == (200, coupon)
    numbers = gw.get("/campaigns/CLAIM1")
    assert (numbers["stock"], numbers["claimed"], numbers["redeemed"], numbers["remaining"]) == (2, 1, 0, 1)
    wallet = gw.get(f"/buyers/{buyer}")["coupons"]
    assert wallet == [{name: coupon[name] for name in ("code", "campaign", "state", "expires_at")}]
    assert gw.get(f"/coupons/{coupon['code']}") == coupon
    path = f"/coupons/{coupon['code']}/redeem"
    used = gw.api("POST", path, {"order": "5001"})
    assert (used.status, used.json["state"], used.json["order"]) == (200, "redeemed", "5001")
    same = gw.api("POST", path, {"order": "5001"})
    assert (same.status, same.json) == (200, used.json)
    other = gw.api("POST", path, {"order": "5002"})
    assert (other.status, other.kind) == (409, "already-redeemed")
    assert gw.get("/campaigns/CLAIM1")["redeemed"] == 1
    assert gw.get(f"/buyers/{buyer}")["coupons"][0]["state"] == "redeemed"
    assert claim(gw, "CLAIM1", buyer).json["state"] == "redeemed"
    assert gw.api("POST", "/coupons/ABCDEFGHJKLM/redeem", {"order": "1"}).kind == "not-found"
    assert gw.api("GET", "/coupons/ABCDEFGHJKLM").kind == "not-found"
    assert gw.api("GET", "/coupons/%F0%9F%98%80").kind == "not-found"
    for body, field in (
        ({}, "order"),
        ({"order": ""}, "order"),
        ({"order": 5001}, "order"),
        ({"order": "1", "x": 1}, "x"),
    ):
        assert gw.api("POST", path, body).fields == {field}


def test_each_refusal_of_a_claim(gw: Served) -> None:
    buyer = gw.buyer("messenger-main", "7710102")["id"]
    made(gw, "REF1", stock=0)
    made(gw, "REF2", starts_at=rfc(now(gw) + timedelta(hours=1)))
    made(gw, "REF3", ends_at=rfc(now(gw) - timedelta(hours=1)))
    for key, kind in (("REF1", "sold-out"), ("REF2", "not-started"), ("REF3", "ended")):
        answer = claim(gw, key, buyer)
        assert (answer.status, answer.kind) == (409, kind)
    assert claim(gw, "NOWHERE", buyer).kind == "not-found"
    nobody = claim(gw, "REF1", "b_nobody")
    assert (nobody.status, nobody.fields) == (404, {"buyer"})
    assert gw.api("POST", "/campaigns/REF1/claims", {"buyer": 1}).fields == {"buyer"}


def test_a_change_counts_at_once_in_every_process(gw: Served) -> None:
    """PATCH: bounds, title, limits; never below what is claimed; the very next claim goes by it."""
    buyer = gw.buyer("messenger-main", "7710103")["id"]
    made(gw, "PATCH1", stock=3)
    for _ in range(3):
        assert gw.api("PATCH", "/campaigns/PATCH1", {"starts_at": rfc(now(gw) + timedelta(hours=1))}).status == 200
        assert claim(gw, "PATCH1", buyer).kind == "not-started"
    body = {
        "starts_at": None,
        "title": "新的",
        "ends_at": rfc(now(gw) + timedelta(days=2)),
        "valid_days": 1,
        "per_buyer": 2,
        "min_spend": "60",
    }
    changed = gw.api("PATCH", "/campaigns/PATCH1", body)
    assert changed.status == 200
    assert {**body, "min_spend": {"amount": "60", "currency": "CNY"}}.items() <= changed.json.items()
    assert claim(gw, "PATCH1", buyer).status == 201
    refused = gw.api("PATCH", "/campaigns/PATCH1", {"stock": 0})
    assert (refused.status, refused.kind, refused.fields) == (409, "already-claimed", {"stock"})
    assert gw.api("PATCH", "/campaigns/PATCH1", {"stock": 1}).json["remaining"] == 0
    for change, field in (
        ({"key": "X1"}, "key"),
        ({"kind": "gift"}, "kind"),
        ({"stock": "2"}, "stock"),
        ({"min_spend": "1"}, "min_spend"),
    ):
        answer = gw.api("PATCH", "/campaigns/PATCH1", change)
        assert (answer.status, answer.fields) == (400, {field})
    assert gw.api("PATCH", "/campaigns/PATCH1", {"starts_at": body["ends_at"]}).fields == {"ends_at"}
    assert gw.api("PATCH", "/campaigns/NOWHERE", {"stock": 1}).kind == "not-found"


def test_stock_holds_against_a_crowd(gw: Served) -> None:
    """Forty claims at once for a stock of seven: seven coupons, all different, the rest sold out."""
    made(gw, "CROWD", stock=7)
    buyers = [gw.buyer("messenger-main", f"77102{n:02}")["id"] for n in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: claim(gw, "CROWD", buyers[n % 10]), range(40)))
    codes = {a.json["code"] for a in answers if a.status in (200, 201)}
    assert len(codes) == sum(a.status == 201 for a in answers) == 7
    assert {a.kind for a in answers if a.status == 409} == {"sold-out"}
    assert gw.get("/campaigns/CROWD")["remaining"] == 0


def test_own_codes_are_given_in_order_and_belong_to_one_campaign(gw: Served) -> None:
    """A pool of own codes: stock may be left out; no code leads to two campaigns; the stock never exceeds the pool."""
    pool = ["AAAABBBBCCC2", "AAAABBBBCCC3", "AAAABBBBCCC4"]
    answer = gw.api("POST", "/campaigns", {"key": "POOL1", "title": "x", "kind": "gift", "codes": pool})
    assert (answer.status, answer.json["stock"]) == (201, 3)
    taken = gw.api(
        "POST", "/campaigns", {"key": "POOL2", "title": "x", "kind": "gift", "codes": ["ZZZZBBBBCCC2", pool[1]]}
    )
    assert (taken.status, taken.kind, taken.fields) == (409, "codes-taken", {"codes"})
    assert gw.api("GET", "/campaigns/POOL2").status == 404
    assert (
        gw.api("POST", "/campaigns", {"key": "POOL2", "title": "x", "kind": "gift", "codes": ["ZZZZBBBBCCC2"]}).status
        == 201
    )
    assert gw.api("GET", f"/coupons/{pool[0]}").kind == "not-found"
    got = [claim(gw, "POOL1", gw.buyer("messenger-main", f"771030{n}")["id"]) for n in range(4)]
    assert [a.json["code"] for a in got[:3]] == pool
    assert got[3].kind == "sold-out"
    more = gw.api("PATCH", "/campaigns/POOL1", {"stock": 4})
    assert (more.status, more.kind) == (409, "too-few-codes")


def test_a_coupon_expires_after_its_days_else_with_its_campaign(gw: Served) -> None:
    """`valid_days` after the claim, else `ends_at`, else never; an expired one is shown and refused as such."""
    buyer = gw.buyer("messenger-main", "7710104")["id"]
    ends = rfc((now(gw) + timedelta(minutes=5)).replace(microsecond=0))
    made(gw, "EXP1", ends_at=ends)
    made(gw, "EXP2")
    coupon = claim(gw, "EXP1", buyer).json
    assert coupon["expires_at"] == ends
    assert claim(gw, "EXP2", buyer).json["expires_at"] is None
    gw.sandbox("POST", "/clock", {"advance_s": 301})
    assert gw.get(f"/coupons/{coupon['code']}")["state"] == "expired"
    assert {c["state"] for c in gw.get(f"/buyers/{buyer}")["coupons"]} == {"expired", "claimed"}
    refused = gw.api("POST", f"/coupons/{coupon['code']}/redeem", {"order": "1"})
    assert (refused.status, refused.kind) == (409, "expired")


def test_a_campaign_made_by_api_is_claimed_in_chat(gw: Served) -> None:
    """`领 KEY` right after the campaign was made; the code in the answer is the one in the API."""
    gw.buyer("messenger-main", "7710105")
    made(gw, "CHAT1")
    gw.say("messenger-main", "领 chat1", "7710105")
    bubble = until(
        lambda: next(
            (
                b
                for b in gw.sandbox("GET", gw.phone("messenger-main", "7710105") + "/messages").json["items"]
                if CODE.search(str(b.get("text")))
            ),
            None,
        ),
        10,
        "the code",
    )
    assert gw.get(f"/coupons/{CODE.search(bubble['text'])[0]}")["campaign"] == "CHAT1"
