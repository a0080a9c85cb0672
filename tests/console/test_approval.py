"""Who lets a broadcast go, through a running gateway: a second person, or who is alone by the count; what was seen must still hold."""

from __future__ import annotations

import time

import pytest

from bot.access import create_token
from tests.console.test_api import Api
from tests.gateway import running


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    """Broadcasts to more than one need approval; two buyers agreed to marketing."""
    limit = "[broadcasts]\napprove_above = 1\nundo_seconds = 600\n"
    async with running(valkey, tmp_path, extra=limit, ledger=True) as harness:
        for psid in ("7001", "7002"):
            await harness.say(psid, "恢复")
            await harness.said(psid, 1)
        await harness.idle()
        await harness.projected()
        yield harness


async def desk_of(gw, *names: str) -> list[Api]:
    return [Api(gw, await create_token(gw.gateway.store, name, "marketing")) for name in names]


async def draft(api: Api) -> str:
    body = {
        "title": "会员日", "where": {"all": []}, "purpose": "marketing", "accounts": ["messenger-main"], "text": {"zh-CN": "周三上新"},
    }  # fmt: skip
    status, made = await api("POST", "/broadcasts", body)
    assert status == 201, made
    return made["id"]


def kind(answer: dict) -> str:
    return answer["type"].rpartition("#")[2]


async def test_where_two_may_approve_the_second_does(gw):
    """Who submitted it cannot, typed count or not; nothing begins before."""
    lin, wang = await desk_of(gw, "lin", "wang")
    id = await draft(lin)
    status, made = await lin("POST", f"/broadcasts/{id}/submit", {"confirm": 2})
    assert (status, made["state"], made["recipients"]) == (200, "awaiting_approval", 2)
    for body in ({}, {"confirm": 2}):
        status, answer = await lin("POST", f"/broadcasts/{id}/approve", body)
        assert (status, kind(answer)) == (409, "second-person")
    status, answer = await wang("POST", f"/broadcasts/{id}/approve", {"confirm": 3})
    assert (status, kind(answer)) == (409, "other-count")
    status, answer = await wang("POST", f"/broadcasts/{id}/approve", {"version": made["version"] - 1})
    assert (status, kind(answer)) == (409, "changed-meanwhile")
    status, approved = await wang("POST", f"/broadcasts/{id}/approve", {"version": made["version"]})
    assert (status, approved["state"], approved["approved_by"]) == (200, "scheduled", "wang")
    await gw.idle()
    assert not any("周三上新" in text for text in gw.graph.texts())


async def test_who_is_alone_types_the_count(gw):
    """Of those whom it reaches at that moment: at the submission, or to approve it."""
    [lin] = await desk_of(gw, "lin")
    await create_token(gw.gateway.store, "eyes", "service")  # may not approve, so lin is alone
    id = await draft(lin)
    status, answer = await lin("POST", f"/broadcasts/{id}/submit", {"confirm": 1})
    assert (status, kind(answer)) == (409, "other-count")
    assert (await lin("GET", f"/broadcasts/{id}"))[1]["state"] == "draft"
    assert (await lin("POST", f"/broadcasts/{id}/submit", {}))[1]["state"] == "awaiting_approval"
    status, answer = await lin("POST", f"/broadcasts/{id}/approve", {})
    assert (status, kind(answer), "confirm = 2" in answer["detail"]) == (409, "second-person", True)
    status, answer = await lin("POST", f"/broadcasts/{id}/approve", {"confirm": 1})
    assert (status, kind(answer)) == (409, "other-count")
    assert (await lin("POST", f"/broadcasts/{id}/approve", {"confirm": 2}))[1]["state"] == "scheduled"
    assert (await lin("POST", f"/broadcasts/{id}/withdraw", {}))[1]["state"] == "draft"
    assert (await lin("POST", f"/broadcasts/{id}/submit", {"confirm": 2}))[1]["state"] == "scheduled"


async def test_what_a_draft_names_must_be_there_when_it_is_let_go(gw):
    """The item it names has another price by now, then it is sold no more."""
    [lin] = await desk_of(gw, "lin")
    [owner] = [Api(gw, await create_token(gw.gateway.store, "shop", "owner"))]

    async def sold_at(amount: str) -> None:
        price = {"amount": amount, "currency": "CNY"}
        product = {
            "title": "亚麻衬衫",
            "short_title": "亚麻",
            "variants": [{"sku": "P1-M", "price": price, "stock": 3}],
        }
        status, answer = await owner("PUT", "/products/p1", product)
        assert status < 300, answer
        await gw.idle()

    await sold_at("188.00")
    body = {
        "title": "会员日", "where": {"all": []}, "purpose": "marketing", "accounts": ["messenger-main"],
        "items": ["p1"], "text": {"zh-CN": "{{ item }}会员价{{ price }}元"}, "send_at": "2030-01-06T02:00:00Z",
    }  # fmt: skip
    status, made = await lin("POST", "/broadcasts", body)
    assert status == 201, made
    await sold_at("99.00")
    status, answer = await lin("POST", f"/broadcasts/{made['id']}/submit", {"version": made["version"]})
    assert status == 200, answer
    assert (await gw.gateway.broadcasts.get(made["id"])).given["price"] == "99"
    assert (await lin("POST", f"/broadcasts/{made['id']}/withdraw", {}))[0] == 200
    status, answer = await gw.shop("product.removed", "e9", {"product": {"id": "p1"}}, at=time.time() + 10)
    assert status == 200, answer
    await gw.idle()
    status, answer = await lin("POST", f"/broadcasts/{made['id']}/submit", {})
    assert (status, [one["field"] for one in answer.get("errors", [])]) == (400, ["items.0"]), answer
