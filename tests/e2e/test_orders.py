"""Orders through a running gateway: calls for large ones, any order of arrival, and the last check before a send."""

from __future__ import annotations

import itertools
import time
from datetime import datetime

import pytest

from bot.access import create_token
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.console.test_api import Api
from tests.gateway import rfc, running
from tests.shops.events import ITEM, MONEY

LARGE = {"amount": "2000.00", "currency": "CNY"}


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, policy='large_order = "1000.00"', ledger=True) as harness:
        yield harness


@pytest.fixture
async def api(gw):
    return Api(gw, await create_token(gw.gateway.store, "tests", "owner"))


def order(id: str = "5001", *, buyer: dict | None, total: dict = MONEY, **facts) -> dict:
    now = rfc(time.time())
    known = {"id": id, "number": f"#{id}", "total": total, "items": [ITEM], "placed_at": now, "paid_at": now, **facts}
    return {"order": {"pay_url": f"https://shop.example/pay/{id}", **known}, "buyer": buyer}


PSID = {"address": "messenger-main:p1"}


async def large_order(gw, api, *, calls: bool = True) -> None:
    """A buyer who chats, agrees to calls or not, and places a large order; two hours pass."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    (buyer,) = (await api("GET", "/buyers?address=messenger-main:p1"))[1]["items"]
    if calls:
        body = {"account": "messenger-main", "id": "p1", "topic": "calls", "verdict": "granted", "evidence": "form 7"}
        assert (await api("POST", f"/buyers/{buyer['id']}/consents", body))[0] == 202
    status, _ = await gw.shop("order.created", "e1", order(buyer=PSID, total=LARGE, pay_state="unpaid"))
    assert status == 200
    await gw.advance(2 * 3600 + 5)


def reminders(gw) -> list[str]:
    return [text for text in gw.graph.texts("p1") if "待付款" in text]


async def only_task(api) -> dict:
    (task,) = (await api("GET", "/tasks?kind=phone_call"))[1]["items"]
    return task


async def past(gw, task: dict) -> None:
    """Moves the clock past the task's slot."""
    due = datetime.fromisoformat(task["due_at"]).timestamp()
    await gw.advance(due - gw.gateway.clock.now() / 1000 + 5)


async def test_nobody_calls_and_the_message_goes(gw, api):
    """A task with order and amount until the slot's end; then it has expired and the buyer is written to."""
    await large_order(gw, api)
    task = await only_task(api)
    assert (task["state"], task["order"]) == ("open", "5001")
    assert "2000" in task["brief"]
    assert reminders(gw) == []
    await past(gw, task)
    await gw.said("p1", 2)
    assert len(reminders(gw)) == 1
    assert (await only_task(api))["state"] == "expired"


async def test_a_call_is_made_and_no_message_goes(gw, api):
    """Completed by the API before the slot's end."""
    await large_order(gw, api)
    task = await only_task(api)
    status, _ = await api("POST", f"/tasks/{task['id']}/complete", {"outcome": "will_pay", "note": "tonight"})
    assert status == 200
    await past(gw, task)
    await gw.idle()
    assert reminders(gw) == []
    assert (await only_task(api))["outcome"] == "will_pay"
    found = (await api("GET", "/decisions?order=5001&outcome=skip"))[1]["items"]
    assert [one["rules"][0]["rule"] for one in found] == ["reason_holds"]


async def test_no_consent_for_calls(gw, api):
    """The message at the usual time, and no task."""
    await large_order(gw, api, calls=False)
    await gw.said("p1", 2)
    assert len(reminders(gw)) == 1
    assert (await api("GET", "/tasks?kind=phone_call"))[1]["items"] == []


async def test_paid_meanwhile(gw, api):
    """Neither a call nor a message; thanks."""
    await large_order(gw, api)
    task = await only_task(api)
    await gw.shop("order.paid", "e2", order(buyer=PSID, total=LARGE, pay_state="paid"))
    await gw.said("p1", 2)
    assert (await only_task(api))["state"] == "done"
    await past(gw, task)
    await gw.idle()
    assert reminders(gw) == []


async def test_paid_while_the_reminder_waits_for_the_line(gw):
    """The account rests for a moment when the reminder is due; the payment comes first, and the reminder never leaves."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.shop("order.created", "e1", order(buyer=PSID, pay_state="unpaid"))
    await gw.idle()
    gw.gateway.lines["messenger-main"].pause(1.5)
    gw.gateway.clock.set_offset(gw.gateway.clock.offset() + 2 * 3600_000 + 5_000)
    await gw.waiting("messenger-main")
    await gw.shop("order.paid", "e2", order(buyer=PSID, pay_state="paid"))
    texts = await gw.said("p1", 2)
    await gw.idle()
    assert "谢谢您第一次选择我们" in texts[1]
    assert reminders(gw) == []
    found = await gw.gateway.queries.decisions(lambda one: one.key == "payment_reminder")
    assert [one.outcome for one in found] == ["send"]  # it was planned; the last check stopped it


async def test_each_notice_on_the_best_address(valkey, redis_client, tmp_path):
    """The chat while its window is open, the number after that; each notice once."""
    twilio = TwilioPeer()
    known = {**PSID, "phones": ["+8613900001234"]}
    shipment = {"id": "s1", "carrier": "顺丰", "tracking_no": "SF1"}
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as gw:
        await gw.say("p1", "你好")
        await gw.said("p1", 1)
        await gw.shop("order.paid", "e1", order(buyer=known, pay_state="paid"))
        assert "谢谢您第一次选择我们" in (await gw.said("p1", 2))[1]
        await gw.advance(25 * 3600)
        for _ in range(2):
            await gw.shop("shipment.created", "e2", {"order": {"id": "5001"}, "shipment": shipment})
        await gw.idle()
        assert ["已发出" in form["Body"] for form in twilio.forms] == [True]
        assert len(gw.graph.texts("p1")) == 2


async def test_any_order_of_arrival(valkey, redis_client, tmp_path):
    """Created, paid, shipped, cancelled in all 24 orders, each told twice: the same end, the same messages, no reminder.

    Half of the orders name their buyer in one event only, so that it becomes known late.
    """
    twilio = TwilioPeer()
    kinds = ("order.created", "order.paid", "shipment.created", "order.cancelled")
    parcel = {"carrier": "顺丰", "tracking_no": ""}
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as gw:
        for n, arrivals in enumerate(itertools.permutations(kinds)):
            id, phone = str(6000 + n), f"+86139000{n:05d}"
            named = {"phones": [phone]}
            for step, kind in enumerate((*arrivals, arrivals[n % 4])):
                buyer = named if n % 2 == 0 or kind == "order.created" else None
                data = order(id, buyer=buyer, pay_state="unpaid" if kind == "order.created" else "", reason="customer")
                data["shipment"] = {"id": f"s{id}", **parcel, "tracking_no": f"SF{id}"} if "shipment" in kind else None
                status, text = await gw.shop(kind, f"{kind}{id}", data)
                assert status == 200, (step, text)
        await gw.idle(20)
        await gw.advance(3 * 3600)
        await gw.advance(24 * 3600)
        await gw.idle()
        ends = set()
        for n in range(24):
            id, phone = str(6000 + n), f"+86139000{n:05d}"
            record = (await gw.gateway.store.records({f"order:main:{id}"}))[f"order:main:{id}"]
            ends.add((record.pay.state, record.closed, record.ship_state, len(record.told), tuple(record.timers)))
            told = "\n".join(sorted(form["Body"] for form in twilio.forms if form["To"] == phone))
            assert (told.count("已收到付款"), told.count("已发出"), told.count("\n")) == (1, 1, 1), (n, told)
    assert ends == {("paid", "cancelled", "label", 2, ())}
