"""The API's reads of the past, on both databases: complete at once, honest when the ledger is behind, clear when it is away."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from datetime import datetime

import pytest

from bot import ids, keys
from bot.access import create_token
from ledger.projector import Projector
from tests.gateway import rfc, running


@pytest.fixture
async def gw(valkey, redis_client, tmp_path, ledger_url):
    async with running(valkey, tmp_path, extra=f'[ledger]\nurl = "{ledger_url}"\n', ledger=True) as harness:
        yield harness


async def api(gw, path: str, status: int = 200, *, method: str = "GET", body=None, header: str = ""):
    token = await create_token(gw.gateway.store, "reads", "owner")
    async with gw.session.request(
        method, f"{gw.base}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert answer.status == status, (path, await answer.text())
        if header:
            return answer.headers.get(header)
        return await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()


async def buyer_of(gw, psid: str) -> dict:
    return (await api(gw, f"/buyers?address=messenger-main:{psid}"))["items"][0]


async def order(gw, id: str, psid: str, kind: str = "order.created", **more) -> None:
    facts = {
        "id": id, "number": f"#{id}", "pay_state": "unpaid", "total": {"amount": "88.00", "currency": "CNY"}, "placed_at": rfc(time.time()),
        "pay_url": "https://shop.example/pay", "items": [{"title": "衬衫", "qty": 1}], **more,
    }  # fmt: skip
    buyer = {"address": f"messenger-main:{psid}", "name": f"Élodie {psid}"}
    status, text = await gw.shop(kind, f"{kind}-{id}", {"order": facts, "buyer": buyer})
    assert status < 300, text


async def test_what_was_just_done_is_in_every_list(gw) -> None:
    """No waiting in between: each answer holds what happened before its question."""
    for number in range(3):
        psid = f"700200000000{number}"
        await gw.say(psid, "你好")
        await gw.said(psid, 1)
        await gw.idle()
        buyer = await buyer_of(gw, psid)
        path = f"/buyers/{buyer['id']}"
        assert [b["id"] for b in (await api(gw, "/buyers"))["items"]].count(buyer["id"]) == 1
        await api(gw, path, method="PATCH", body={"name": f"林 {number}", "tags": ["a"]})
        assert [b["name"] for b in (await api(gw, f"/buyers?q=林 {number}"))["items"]] == [f"林 {number}"]
        lines = (await api(gw, f"{path}/timeline"))["items"]
        assert lines[0]["kind"] == "staff"
        assert "message.received" in {line["kind"] for line in lines}
        sent = {"buyer": buyer["id"], "purpose": "service", "text": "到店了"}
        id = (await api(gw, "/messages", 202, method="POST", body=sent))["id"]
        assert id in [m["id"] for m in (await api(gw, f"/messages?buyer={buyer['id']}"))["items"]]
        assert [d["outcome"] for d in (await api(gw, f"/decisions?message={id}"))["items"]] == ["send"]
        await order(gw, f"9{number}", psid)
        await gw.idle()
        [found] = (await api(gw, f"/orders?buyer={buyer['id']}"))["items"]
        assert (found["id"], found["buyer"]) == (f"9{number}", buyer["id"])


async def test_orders_are_listed_by_what_they_are(gw) -> None:
    await gw.say("7003", "你好")
    await gw.said("7003", 1)
    for number in range(7):
        await order(gw, f"a{number}", "7003")
    await order(gw, "a1", "7003", "order.paid", pay_state="paid", paid_at=rfc(time.time()))
    await gw.idle()
    whole = [o["id"] for o in (await api(gw, "/orders?limit=200"))["items"]]
    assert sorted(whole) == [f"a{n}" for n in range(7)]
    paged, cursor = [], ""
    while cursor is not None:
        page = await api(gw, f"/orders?limit=2&cursor={cursor}")
        paged += [o["id"] for o in page["items"]]
        cursor = page["next_cursor"]
    assert paged == whole
    assert [o["id"] for o in (await api(gw, "/orders?pay=paid"))["items"]] == ["a1"]
    assert [o["id"] for o in (await api(gw, "/orders?number=%23a3&shop=main"))["items"]] == ["a3"]
    assert (await api(gw, "/orders?shop=other"))["items"] == []
    assert (await api(gw, "/orders?pay=maybe", 400))["errors"][0]["field"] == "pay"


async def test_why_it_was_not_sent(gw) -> None:
    """Found by person, order, message, rule and outcome, and any of them together."""
    await gw.say("7004", "你好")
    await gw.said("7004", 1)
    await gw.idle()
    buyer = (await buyer_of(gw, "7004"))["id"]
    body = {"buyer": buyer, "purpose": "marketing", "text": "上新了"}
    id = (await api(gw, "/messages", 202, method="POST", body=body))["id"]
    [found] = (await api(gw, f"/decisions?buyer={buyer}&outcome=skip"))["items"]
    assert (found["message"], found["reason"]) == (id, "no_consent")
    rule = next(r["rule"] for r in found["rules"] if r["verdict"] == "deny")
    for query in (f"message={id}", f"buyer={buyer}&rule={rule}&outcome=skip", f"rule={rule}&outcome=skip"):
        assert (await api(gw, f"/decisions?{query}"))["items"] == [found]
    assert (await api(gw, f"/decisions?buyer={buyer}&outcome=skip&order=1"))["items"] == []
    await order(gw, "b1", "7004", "order.paid", pay_state="paid", paid_at=rfc(time.time()))
    await gw.idle()
    about = (await api(gw, "/decisions?order=b1"))["items"]
    assert about
    assert {d["order"] for d in about} == {"b1"}


async def test_a_message_that_redis_forgot_is_found_in_the_ledger(gw) -> None:
    """Alone and in lists, with its words, states and times."""
    await gw.say("7005", "你好")
    await gw.said("7005", 1)
    await gw.idle()
    buyer = (await buyer_of(gw, "7005"))["id"]
    [now] = (await api(gw, f"/messages?buyer={buyer}"))["items"]
    partition = ids.partition_in(now["id"])
    client = gw.gateway.store.client
    await client.delete(keys.message(partition, now["id"]))
    await client.zrem(keys.messages(partition), now["id"])
    then = await api(gw, f"/messages/{now['id']}")
    assert {name: then[name] for name in then if name != "history"} == {n: now[n] for n in now if n != "history"}
    assert [h["state"] for h in then["history"]] == ["queued", "sent"]
    assert (await api(gw, f"/messages?buyer={buyer}"))["items"] == [then]
    assert (await api(gw, f"/messages?buyer={buyer}&state=sent"))["items"] == [then]
    unknown = ids.new("m", partition)
    assert (await api(gw, f"/messages/{unknown}", 404))["type"].endswith("#not-found")


async def test_the_evidence_of_consents_as_csv(gw) -> None:
    """Every answer, by whatever path, with what was shown; no cell is a formula."""
    await gw.say("7006", "退订")
    await gw.say("7006", "恢复")
    await gw.idle()
    buyer = (await buyer_of(gw, "7006"))["id"]
    body = {"account": "messenger-main", "id": "7006", "topic": "calls", "verdict": "granted", "evidence": "=1+1, form"}
    await api(gw, f"/buyers/{buyer}/consents", 202, method="POST", body=body)
    rows = list(csv.DictReader(io.StringIO(await api(gw, f"/reports/consents?buyer={buyer}"))))
    marketing = [(r["topic"], r["verdict"]) for r in rows if r["topic"] == "marketing"]
    assert marketing == [("marketing", "refused"), ("marketing", "granted")]
    assert (rows[-1]["topic"], rows[-1]["wording"], rows[-1]["source"]) == ("calls", "'=1+1, form", "reads")
    assert all(datetime.fromisoformat(row["at"]) for row in rows)
    assert rows == list(csv.DictReader(io.StringIO(await api(gw, "/reports/consents"))))
    exported = (await api(gw, f"/buyers/{buyer}/export"))["consent_evidence"]
    assert [(e["topic"], e["verdict"], e["at"]) for e in exported] == [
        (r["topic"], r["verdict"], r["at"]) for r in rows
    ]


async def test_a_ledger_that_is_behind_says_so(valkey, redis_client, tmp_path, ledger_url) -> None:
    """The projector rests: lists answer with what is known, and up to when that is all."""
    async with running(valkey, tmp_path, extra=f'[ledger]\nurl = "{ledger_url}"\n') as gw:
        projector = Projector(gw.gateway.store, gw.gateway.history.engine.url, "rests", currency="CNY")
        running_one = asyncio.create_task(projector.run())
        await gw.say("7007", "你好")
        await gw.said("7007", 1)
        await gw.idle()
        await gw.projected()
        buyer = (await buyer_of(gw, "7007"))["id"]
        assert await api(gw, f"/messages?buyer={buyer}", header="X-History-Until") is None
        projector.stop()
        await running_one
        before = datetime.now().astimezone()
        await gw.say("7007", "优惠券")
        await gw.said("7007", 2)
        await gw.idle()
        assert len((await api(gw, f"/messages?buyer={buyer}"))["items"]) == 1
        until = await api(gw, f"/messages?buyer={buyer}", header="X-History-Until")
        assert datetime.fromisoformat(until) <= before
        again = Projector(gw.gateway.store, gw.gateway.history.engine.url, "again", currency="CNY")
        running_again = asyncio.create_task(again.run())
        await gw.projected()
        assert len((await api(gw, f"/messages?buyer={buyer}"))["items"]) == 2
        again.stop()
        await running_again


@pytest.mark.parametrize("url", ["sqlite:config.toml/ledger.db", "postgresql://nobody:secret@127.0.0.1:1/nothing"])
async def test_without_a_ledger_single_things_are_there(valkey, redis_client, tmp_path, url) -> None:
    """Lists answer 503 and say why; buyers, messages, orders by their ids are told, and chats go on."""
    async with running(valkey, tmp_path, extra=f'[ledger]\nurl = "{url}"\n') as gw:
        await gw.say("7008", "你好")
        await gw.said("7008", 1)
        await order(gw, "c1", "7008")
        await gw.idle()
        buyer = await buyer_of(gw, "7008")
        assert (await api(gw, f"/buyers/{buyer['id']}"))["orders"]
        assert (await api(gw, "/orders/main/c1"))["buyer"] == buyer["id"]
        body = {"buyer": buyer["id"], "purpose": "service", "text": "到店了"}
        id = (await api(gw, "/messages", 202, method="POST", body=body))["id"]
        assert (await api(gw, f"/messages/{id}"))["id"] == id
        for path in (
            "/buyers", "/buyers?q=Élodie", "/members", "/messages", "/decisions", "/orders", "/tasks", "/reports/consents",
            f"/buyers/{buyer['id']}/timeline", f"/buyers/{buyer['id']}/export",
        ):  # fmt: skip
            problem = await api(gw, path, 503)
            assert problem["type"].endswith("#no-history"), path
            assert "secret" not in str(problem)
