"""Spend limits through the front door: what is over a limit does not go out, is recorded with its reason, and staff hear of it."""

from __future__ import annotations

import asyncio
import time

from bot.records import AccountState
from tests.e2e.texting import BUYER, Sms, post_alibaba, ship, texting

LIMIT = 'daily_spend_limit = "0.08"'  # Twilio answers that each text had 2 parts: 0.0718


async def alerts(sms: Sms, account: str, count: int) -> list[str]:
    """What the account's own record says, once there are so many."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        record = await sms.harness.gateway.store.record(f"account:{account}")
        found = [line.partition(" ")[2] for line in record.alerts] if isinstance(record, AccountState) else []
        if len(found) >= count:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def test_at_the_limit_replies_stop_and_staff_are_told(valkey, redis_client, tmp_path):
    """One reply fits; the provider's count uses the limit up; the next is skipped by its rule; tomorrow it goes on."""
    async with texting(valkey, tmp_path, twilio_more=LIMIT) as sms:
        await sms.say("帮助")
        await sms.said(1)
        await sms.settled(["sent"])
        assert await alerts(sms, "sms-main", 1) == ["spend 100 % of daily_spend_limit: 0.0718 of 0.08 USD"]
        await sms.say("帮助")
        await sms.settled(["sent", "skipped"])
        skipped = [m for m in await sms.listed() if m["state"] == "skipped"]
        assert [(m["reason"], m["account"], m["cost"]) for m in skipped] == [("spend_limit", None, "unknown")]
        decision = (await sms.decisions(skipped[0]["id"]))[0]
        assert (decision["outcome"], decision["reason"]) == ("skip", "spend_limit")
        assert [(r["rule"], r["verdict"]) for r in decision["rules"]] == [("spend", "deny")]
        metrics = await sms.metrics('touchpoint_spend_alerts_total{account="sms-main",percent="100",window="day"}')
        assert metrics >= 1
        await sms.harness.advance(86_400)
        await asyncio.sleep(1.2)
        await sms.say("帮助")
        await sms.said(2)


async def test_a_decision_shows_what_was_planned(valkey, redis_client, tmp_path):
    """A text's parts and cost stand in its decision; 80 % is told before 100 %."""
    async with texting(valkey, tmp_path, twilio_more='monthly_budget = "0.1795"') as sms:
        for n in (1, 2):
            await sms.say("帮助")
            await sms.said(n)
            await sms.settled(["sent"] * n)
        found = await sms.message()
        rules = (await sms.decisions(found["id"]))[0]["rules"]
        assert next(r["detail"] for r in rules if r["rule"] == "spend") in ("1 part, 0.0359 USD", "2 parts, 0.0718 USD")
        assert await alerts(sms, "sms-main", 1) == ["spend 80 % of monthly_budget: 0.1436 of 0.1795 USD"]


async def test_another_account_takes_over(valkey, redis_client, tmp_path):
    """A notice goes by the next account of the order when the first has spent its limit."""
    async with texting(valkey, tmp_path, alibaba_more='daily_spend_limit = "0.045"') as sms:
        await ship(sms)
        end = time.monotonic() + 5
        while not sms.alibaba.calls and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert len(sms.alibaba.calls) == 1
        await alerts(sms, "sms-cn", 1)
        await ship(sms, order="5002")
        bodies = await sms.said(3)
        assert any("SF5002" in body for body in bodies)
        assert len(sms.alibaba.calls) == 1


async def test_what_a_burst_would_spend_stays_within_the_limit(valkey, redis_client, tmp_path):
    """Thirty buyers at once: the reservations let out what fits, all else is skipped(spend_limit)."""
    async with texting(valkey, tmp_path, twilio_more='daily_spend_limit = "0.4"\nrate_per_second = 500') as sms:
        sms.twilio.parts = 1
        buyers = [f"+86139000010{n:02d}" for n in range(30)]
        await asyncio.gather(*(sms.say("START", From=buyer) for buyer in buyers))
        await sms.harness.idle()
        end = time.monotonic() + 8
        while (states := await sms.states()).count("queued") + states.count("sending") and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert set(states) == {"sent", "skipped"}
        assert states.count("sent") == len(sms.twilio.forms) >= 3
        spent = int(
            await redis_client.hget(f"spend:{{sms-main}}:{sms.harness.gateway.spend.day(int(time.time() * 1000))}", "t")
        )
        assert 300_000 < spent <= 400_000


async def test_a_code_goes_by_a_line_that_may_still_spend(valkey, redis_client, tmp_path):
    """At the limit no code is promised that will not come: the buyer is told so at once."""
    async with texting(valkey, tmp_path, twilio_more=LIMIT) as sms:
        await sms.say("帮助")
        await sms.said(1)
        await alerts(sms, "sms-main", 1)
        await sms.harness.say("p1", "会员")
        await sms.harness.said("p1", 1)
        await sms.harness.say("p1", "13900005678")
        told = await sms.harness.said("p1", 2)
        assert "发不出验证码" in told[1]
        assert len(sms.twilio.forms) == 1


async def test_a_receipt_uses_up_the_limit(valkey, redis_client, tmp_path):
    """Alibaba Cloud's receipt says two parts where one was planned: the day's sum follows it."""
    async with texting(valkey, tmp_path, alibaba_more='daily_spend_limit = "1"') as sms:
        await ship(sms)
        end = time.monotonic() + 5
        while not sms.alibaba.calls and time.monotonic() < end:
            await asyncio.sleep(0.02)
        report = {
            "phone_number": BUYER.removeprefix("+86"), "success": True, "biz_id": "x", "sms_size": "2",
            "out_id": sms.alibaba.calls[0][1]["OutId"],
        }  # fmt: skip
        name = f"spend:{{sms-cn}}:{sms.harness.gateway.spend.day(int(time.time() * 1000))}"
        assert int(await redis_client.hget(name, "t")) == 45_000
        assert (await post_alibaba(sms, report))[0] == 200
        await sms.harness.idle()
        assert int(await redis_client.hget(name, "t")) == 90_000
