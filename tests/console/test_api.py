"""The REST API through a running gateway."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.access import COOKIE, create_token, open_session
from console.web.words import WORDS
from tests.gateway import projecting, running
from tests.shops.events import ORDER


class Api:
    def __init__(self, harness, token):
        self.harness, self.token = harness, token

    async def __call__(self, method, path, body=None, *, token=None, **headers):
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **headers}
        url = f"{self.harness.base}/api/v1{path}"
        async with self.harness.session.request(
            method, url, json=body, headers=headers, allow_redirects=False
        ) as answer:
            raw = await answer.read()
            return answer.status, (await answer.json(content_type=None)) if raw else None


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, ledger=True) as harness:
        yield harness


@pytest.fixture
async def api(gw):
    return Api(gw, await create_token(gw.gateway.store, "tests", "owner"))


CAMPAIGN = {
    "key": "RACE50",
    "title": "满300减50",
    "kind": "amount_off",
    "value": "50.00",
    "min_spend": {"amount": "300.00", "currency": "CNY"},
    "stock": 2,
    "valid_days": 30,
}


async def buyer_of(gw, api, psid="p1"):
    await gw.say(psid, "你好")
    await gw.said(psid, 1)
    status, found = await api("GET", f"/buyers?address=messenger-main:{psid}")
    assert status == 200
    return found["items"][0]


async def test_without_a_token_or_with_too_small_a_role_nothing_is_done(gw, api):
    """401 without, 403 with a role that may not."""
    assert (await api("GET", "/campaigns", token="wrong"))[0] == 401
    reader = await create_token(gw.gateway.store, "reader", "read-only")
    status, problem = await api("POST", "/campaigns", CAMPAIGN, token=reader)
    assert (status, problem["status"]) == (403, 403)
    assert (await api("GET", "/campaigns", token=reader))[0] == 200


async def test_a_campaign_is_claimed_shown_redeemed(gw, api):
    """Create, claim twice (the same coupon), redeem once per order, sold out in its words."""
    status, made = await api("POST", "/campaigns", CAMPAIGN)
    assert status == 201
    assert made["value"] == {"amount": "50.00", "currency": "CNY"}
    assert (await api("POST", "/campaigns", CAMPAIGN))[0] == 409
    buyer = await buyer_of(gw, api)
    status, coupon = await api("POST", "/campaigns/RACE50/claims", {"buyer": buyer["id"]})
    assert (status, coupon["state"]) == (201, "claimed")
    status, again = await api("POST", "/campaigns/RACE50/claims", {"buyer": buyer["id"]})
    assert (status, again["code"]) == (200, coupon["code"])
    await gw.idle()
    assert (await api("GET", f"/buyers/{buyer['id']}"))[1]["coupons"][0]["code"] == coupon["code"]
    assert (await api("POST", f"/coupons/{coupon['code']}/redeem", {"order": "5001"}))[0] == 200
    assert (await api("POST", f"/coupons/{coupon['code']}/redeem", {"order": "5001"}))[0] == 200
    status, problem = await api("POST", f"/coupons/{coupon['code']}/redeem", {"order": "5002"})
    assert (status, problem["type"].rpartition("#")[2]) == (409, "already-redeemed")
    assert (await api("GET", "/campaigns/RACE50"))[1]["redeemed"] == 1
    for psid in ("p2", "p3"):
        other = await buyer_of(gw, api, psid)
        status, answer = await api("POST", "/campaigns/RACE50/claims", {"buyer": other["id"]})
    assert (status, answer["type"].rpartition("#")[2]) == (409, "sold-out")


async def test_faults_name_their_field(api):
    """What is wrong and where."""
    for body, field in (
        ({**CAMPAIGN, "kind": "percent_off", "value": "150"}, "value"),
        ({**CAMPAIGN, "stock": -1}, "stock"),
        ({**CAMPAIGN, "colour": "red"}, "colour"),
        ({**CAMPAIGN, "codes": ["ABCDEFGHJKLM"]}, "codes"),
    ):
        status, problem = await api("POST", "/campaigns", body)
        assert status == 400
        assert problem["errors"][0]["field"] == field


async def test_an_idempotency_key_gives_the_same_answer_once(gw, api):
    """The same key and body: the same answer, one effect; another body: 409."""
    headers = {"Idempotency-Key": "k1"}
    first = await api("POST", "/campaigns", CAMPAIGN, **headers)
    again = await api("POST", "/campaigns", CAMPAIGN, **headers)
    assert first == again
    assert (await api("POST", "/campaigns", {**CAMPAIGN, "stock": 3}, **headers))[0] == 409


async def test_a_message_goes_by_policy_and_tells_its_state(gw, api):
    """202 with an id, then sent with its history; marketing without consent is skipped with its reason."""
    buyer = await buyer_of(gw, api)
    status, planned = await api(
        "POST", "/messages", {"buyer": buyer["id"], "purpose": "service", "text": "您的衬衫到店了"}
    )
    assert status == 202
    assert "您的衬衫到店了" in (await gw.said("p1", 2))[1]
    await gw.idle()
    _, message = await api("GET", f"/messages/{planned['id']}")
    assert (message["state"], message["buyer"]) == ("sent", buyer["id"])
    assert [line["state"] for line in message["history"]] == ["queued", "sending", "sent"]
    _, refused = await api("POST", "/messages", {"buyer": buyer["id"], "purpose": "marketing", "text": "会员日"})
    await gw.idle()
    _, message = await api("GET", f"/messages/{refused['id']}")
    assert (message["state"], message["reason"]) == ("skipped", "no_consent")
    _, decisions = await api("GET", f"/decisions?message={refused['id']}")
    assert decisions["items"][0]["rules"][0]["rule"] == "consent"


async def test_events_by_token_are_accepted_once(gw, api):
    """The same envelope again counts as a duplicate and does nothing; an unknown shop is named."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    envelope = {
        "type": "order.created",
        "id": "e1",
        "shop": "main",
        "occurred_at": now,
        "data": {"order": {**ORDER, "id": "77", "placed_at": now}},
    }
    assert await api("POST", "/events", envelope) == (202, {"accepted": 1, "duplicates": 0})
    await gw.idle()
    assert await api("POST", "/events", [envelope]) == (202, {"accepted": 0, "duplicates": 1})
    assert (await api("GET", "/orders/main/77"))[1]["pay"] == "unpaid"
    assert (await api("POST", "/events", {**envelope, "shop": "nowhere"}))[0] == 400


async def test_a_buyer_can_be_changed_exported_and_erased(gw, api):
    """PATCH, export, then DELETE: nothing but the id is left."""
    buyer = await buyer_of(gw, api)
    path = f"/buyers/{buyer['id']}"
    status, changed = await api("PATCH", path, {"name": "林小满", "tags": ["casual"]})
    assert (status, changed["name"]) == (200, "林小满")
    await gw.idle()
    assert (await api("GET", path))[1]["tags"] == ["casual"]
    _, exported = await api("GET", f"{path}/export")
    assert exported["buyer"]["id"] == buyer["id"]
    assert exported["messages"]
    assert (await api("DELETE", path))[0] == 202
    await gw.idle()
    assert (await api("GET", path))[1] == {"id": buyer["id"], "erased": True}


async def test_tasks_are_listed_and_completed(gw, api):
    """A person asked for: one open task; completing it twice is harmless."""
    await gw.say("p1", "人工")
    await gw.said("p1", 1)
    await gw.idle()
    _, tasks = await api("GET", "/tasks?state=open")
    assert [t["kind"] for t in tasks["items"]] == ["handover"]
    path = f"/tasks/{tasks['items'][0]['id']}/complete"
    assert (await api("POST", path, {"outcome": "answered"}))[1]["state"] == "done"
    await gw.idle()
    assert (await api("POST", path, {"outcome": "answered"}))[0] == 200
    assert (await api("GET", "/tasks?state=open"))[1]["items"] == []


async def test_the_timeline_is_newest_first(gw, api):
    """What happened to a buyer, from Redis for now."""
    buyer = await buyer_of(gw, api)
    await gw.idle()
    _, found = await api("GET", f"/buyers/{buyer['id']}/timeline")
    assert found["items"]
    assert {"at", "kind", "summary", "ref"} == set(found["items"][0])


async def test_a_page_that_needs_the_ledger_says_in_words_that_it_is_away(valkey, redis_client, tmp_path):
    """Not a problem document in English, which is for programs."""
    async with running(valkey, tmp_path) as gw:  # nothing makes the ledger's tables
        cookie = await open_session(gw.gateway.store, await create_token(gw.gateway.store, "lin", "owner"))
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        async with gw.session.get(f"{gw.base}/console/segments?lang=zh-CN", headers=headers) as answer:
            page = await answer.text()
    assert (answer.status, answer.content_type) == (503, "text/html")
    assert WORDS["zh-CN"]["trouble"]["away_title"] in page


async def test_what_could_not_be_done_just_now_is_not_kept_under_its_key(valkey, redis_client, tmp_path, monkeypatch):
    """A 503 is no answer that a repeat should get for two days; a call whose process died gives its key free; the rest is kept."""

    async def died(*_) -> None:
        """Before it could say that it was done."""

    async with running(valkey, tmp_path) as gw:
        api = Api(gw, await create_token(gw.gateway.store, "tests", "owner"))
        asked = {"where": {"all": []}}
        status, problem = await api("POST", "/segments/preview", asked, **{"Idempotency-Key": "k1"})
        assert status == 503, problem
        with monkeypatch.context() as killed:
            killed.setattr("console.api.once._free", died)
            killed.setattr("console.api.once.HELD_MS", 300)
            for _ in range(2):
                assert (await api("POST", "/segments/preview", asked, **{"Idempotency-Key": "k2"}))[0] == 503
        async with projecting(gw.gateway):
            end = time.monotonic() + 30
            while (await api("POST", "/segments/preview", asked, **{"Idempotency-Key": "k1"}))[0] == 503:
                assert time.monotonic() < end
                await asyncio.sleep(0.1)
            assert (await api("POST", "/segments/preview", asked, **{"Idempotency-Key": "k1"}))[0] == 200
        text = {"phone": "+8613900001234", "purpose": "service", "text": "您的衬衫到店了"}
        gw.gateway.door.shut("test", "nothing is stored just now")
        assert (await api("POST", "/messages", text, **{"Idempotency-Key": "k4"}))[0] == 503
        gw.gateway.door.open("test")
        assert (await api("POST", "/messages", text, **{"Idempotency-Key": "k4"}))[0] == 202
        assert (await api("POST", "/campaigns", CAMPAIGN, **{"Idempotency-Key": "k3"}))[0] == 201
        lives = [await redis_client.pttl(name) for name in await redis_client.keys("idem*")]
        assert max(lives) > 47 * 3_600_000
