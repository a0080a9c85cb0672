"""Failures that Twilio tells by callback and that may pass: a notice is sent again, as a message that names the first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from bot.access import create_token
from bot.hours import local, parse
from tests.e2e.texting import BUYER, Sms, texting
from tests.gateway import rfc

HOUR = 3600
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
async def sms(valkey, redis_client, tmp_path):
    async with texting(valkey, tmp_path) as found:
        yield found


async def post(sms: Sms, **more: object) -> str:
    """A service notice by the API; the id of its message."""
    token = await create_token(sms.harness.gateway.store, "tests", "owner")
    body = {"phone": BUYER, "purpose": "service", "text": "您的衬衫到店了", "accounts": ["sms-main"], **more}
    headers = {"Authorization": f"Bearer {token}"}
    async with sms.harness.session.post(f"{sms.harness.base}/api/v1/messages", json=body, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def fails(sms: Sms, n: int, code: str = "30003", state: str = "undelivered") -> None:
    """Twilio tells twice that the n-th text came to nothing."""
    await sms.said(n + 1)
    await sms.harness.idle()
    for _ in range(2):
        await sms.status(state, sms.twilio.forms[n], ErrorCode=code)
        await sms.harness.idle()
    end = time.monotonic() + 5
    while (await sms.message(n))["state"] != "failed":
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def later(sms: Sms, hours: float, texts: int) -> None:
    """So much later exactly so many texts have been handed over."""
    await sms.harness.advance(hours * HOUR)
    await asyncio.sleep(1.3)  # timers are due within a second
    await sms.harness.idle()
    assert len(sms.twilio.forms) == texts


async def test_an_unreachable_handset_is_tried_after_1_6_and_24_hours(sms):
    """30003: four messages at most, each naming the one before; what failed stays failed; repeats change nothing."""
    first = await post(sms)
    for n, hours in enumerate((1, 6, 24)):
        await fails(sms, n)
        await later(sms, hours - 0.1, n + 1)
        await later(sms, 0.2, n + 2)
        await sms.status("undelivered", sms.twilio.forms[n], ErrorCode="30003")
        await later(sms, 0.01, n + 2)
    await fails(sms, 3)
    await later(sms, 48, 4)
    found = [await sms.message(n) for n in range(4)]
    assert {form["Body"] for form in sms.twilio.forms} == {found[0]["text"]}
    assert [m["again_of"] for m in found] == [None, *(m["id"] for m in found[:3])]
    assert found[0]["id"] == first
    assert [m["state"] for m in found] == ["failed"] * 4
    assert [step["state"] for step in found[0]["history"]] == ["queued", "sending", "sent", "failed"]
    assert [(d["outcome"], d["source"]) for m in found for d in await sms.decisions(m["id"])] == [
        ("send", "api:tests")
    ] * 4


async def test_a_carriers_nameless_error_is_tried_once(sms):
    await post(sms)
    await fails(sms, 0, "30008", "failed")
    await later(sms, 0.1, 2)
    await fails(sms, 1, "30008", "failed")
    await later(sms, 48, 2)


async def test_it_is_not_sent_again_once_it_arrived_or_its_time_is_over(sms):
    """A late `delivered` outranks the failure; after `not_after` nothing is tried; other failures are final."""
    await post(sms)
    await fails(sms, 0)
    await sms.status("delivered", sms.twilio.forms[0])
    await later(sms, 2, 1)
    await post(sms, not_after=rfc(sms.harness.gateway.clock.now() / 1000 + 0.9 * HOUR))
    await fails(sms, 1)
    await later(sms, 2, 2)
    await post(sms)
    await fails(sms, 2, "30007")
    await later(sms, 2, 3)
    assert not [m for m in await sms.listed() if m["again_of"]]  # not even planned


async def test_an_opt_out_meanwhile_is_heeded(sms):
    """STOP blocks the number: the second attempt is a skipped message with its reason."""
    first = await post(sms)
    await fails(sms, 0)
    await sms.say("STOP", OptOutType="STOP")
    await later(sms, 2, 1)
    again = next(m for m in await sms.listed() if m["again_of"] == first)
    assert (again["state"], again["reason"]) == ("skipped", "blocked")


async def test_marketing_and_answers_are_never_sent_again(sms):
    await sms.say("START")
    await sms.said(1)
    await post(sms, purpose="marketing")
    await fails(sms, 1)
    await fails(sms, 0)
    await later(sms, 48, 2)


async def test_at_night_it_waits_for_the_morning(valkey, redis_client, tmp_path):
    """The second attempt keeps service hours, and is the same message when the hour comes."""
    async with texting(valkey, tmp_path) as sms:
        await post(sms)
        await fails(sms, 0)
        speaker, clock = sms.harness.gateway.worker._turns._speaker, sms.harness.gateway.clock
        opens, shuts = (local(clock.now() + h * HOUR * 1000, SHANGHAI).strftime("%H:%M") for h in (3, 0.5))
        speaker.policy = replace(speaker.policy, service_hours=parse(f"{opens}-{shuts}"))
        await later(sms, 2, 1)
        again = next(m for m in await sms.listed() if m["again_of"])
        assert again["state"] == "queued"
        await later(sms, 1.1, 2)
        assert (await sms.message(1))["id"] == again["id"]
        assert [d["outcome"] for d in await sms.decisions(again["id"])] == ["send", "defer"]
