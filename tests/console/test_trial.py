"""Tests of a broadcast through a running gateway: listed addresses get them as they are, any other only by its own opt-in."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from bot import hours, ids, subjects
from bot.access import create_token
from bot.hours import local
from bot.records import Address, Buyer, Window
from ledger import tables as t
from tests.audiences import DAY, keep
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.console.test_api import Api
from tests.gateway import running

LISTED, OTHER = "+8613900007777", "+8613900001234"


@pytest.fixture
async def desk(valkey, redis_client, tmp_path):
    """A gateway with one listed number, and an API that may do everything."""
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _):
        extra = f'{account(base)}\n[broadcasts]\ntest_receivers = ["sms-main:{LISTED}"]\n'
        async with running(valkey, tmp_path, extra=extra, ledger=True) as gw:
            yield Api(gw, await create_token(gw.gateway.store, "tests", "owner")), twilio


async def somebody(gw, *addresses: tuple[str, str]) -> Buyer:
    """A buyer who agreed to nothing, reachable at each of these."""
    gateway = gw.gateway
    home, now = subjects.home(subjects.address(*addresses[0])), gateway.clock.now()
    buyer = Buyer(ids.new("b", gateway.store.partition(home)), home, now - DAY, name="小满", locale="zh-CN")
    for name, id in addresses:
        buyer.addresses.append(Address(name, id, windows={"message": Window(now + DAY)}, last_in=now))
        if name == "sms-main":
            buyer.phones.append(id)
    await keep(gateway.store, [buyer])
    return buyer


async def asked(api: Api, buyer: Buyer, *accounts: str) -> tuple[int, dict]:
    """The answer to a test for a buyer, by a draft for these accounts."""
    body = {
        "title": "会员日", "where": {"all": []}, "purpose": "marketing", "accounts": list(accounts), "text": {"zh-CN": "会员日"},
    }  # fmt: skip
    status, made = await api("POST", "/broadcasts", body)
    assert status == 201, made
    return await api("POST", f"/broadcasts/{made['id']}/test", {"to": [{"buyer": buyer.id}]})


async def tried(api: Api, buyer: Buyer, *accounts: str) -> tuple[str, str, str | None]:
    """What became of a test to a buyer: its purpose, its state, why."""
    status, answer = await asked(api, buyer, *accounts)
    assert status == 202, answer
    await api.harness.idle()
    found = (await api("GET", f"/messages/{answer['ids'][0]}"))[1]
    return found["purpose"], found["state"], found["reason"]


async def refused(api: Api, buyer: Buyer, *accounts: str) -> tuple[int, str]:
    """The status and the kind of problem with which a test is refused."""
    status, answer = await asked(api, buyer, *accounts)
    return status, answer["type"].rpartition("#")[2]


async def test_a_listed_number_gets_a_test_without_an_opt_in(desk):
    """It is the shop's own; an address of the same person that is not listed gets it as the marketing that it is."""
    api, twilio = desk
    owner = await somebody(api.harness, ("messenger-main", "7001"), ("sms-main", LISTED))
    assert await tried(api, owner, "sms-main") == ("service", "sent", None)
    assert [form["To"] for form in twilio.forms] == [LISTED]
    assert await tried(api, owner, "messenger-main", "sms-main") == ("marketing", "skipped", "no_consent")
    assert api.harness.graph.sent == []
    owner.addresses[0].windows["message"].closes_at = 1  # the chat is shut: it goes to the listed number, as a test
    await keep(api.harness.gateway.store, [owner])
    assert await tried(api, owner, "messenger-main", "sms-main") == ("service", "sent", None)
    owner.addresses[1].opted_out = True
    await keep(api.harness.gateway.store, [owner])
    assert await refused(api, owner, "sms-main") == (409, "opted-out")
    assert len(twilio.forms) == 2


async def test_of_two_numbers_only_one_is_listed(desk):
    """Which of them it would go to is decided later: so it is marketing to both."""
    api, twilio = desk
    owner = await somebody(api.harness, ("sms-main", OTHER), ("sms-main", LISTED))
    assert await tried(api, owner, "sms-main") == ("marketing", "skipped", "no_consent")
    assert twilio.forms == []


async def everybody(api: Api) -> int:
    return (await api("POST", "/segments/preview", {"where": {"all": []}}))[1]["count"]


async def test_whom_nobody_knows_does_not_become_a_buyer_by_a_test(desk):
    """A listed number gets it, a mistyped one nothing: neither is a buyer then, in no count, and who answers becomes one by that."""
    api, twilio = desk
    gw = api.harness
    body = {
        "title": "会员日",
        "where": {"all": []},
        "purpose": "marketing",
        "accounts": ["sms-main"],
        "text": {"zh-CN": "会员日到了"},
    }
    made = (await api("POST", "/broadcasts", body))[1]["id"]
    told = {}
    for phone in (LISTED, OTHER):
        status, answer = await api("POST", f"/broadcasts/{made}/test", {"to": [{"phone": phone}]})
        assert status == 202
        await gw.idle()
        told[phone] = (await api("GET", f"/messages/{answer['ids'][0]}"))[1]
    assert [(one["state"], one["reason"], one["buyer"]) for one in told.values()] == [
        ("sent", None, None),
        ("skipped", "no_consent", None),
    ]
    assert [form["To"] for form in twilio.forms] == [LISTED]
    await gw.projected()
    assert await everybody(api) == 0
    for phone in (LISTED, OTHER):
        assert (await api("GET", f"/buyers?phone={phone.replace('+', '%2B')}"))[1]["items"] == []
        assert await gw.gateway.store.record(f"phone:{phone}") is None
    [decision] = (await api("GET", f"/decisions?message={told[LISTED]['id']}"))[1]["items"]
    assert (decision["outcome"], decision["source"], decision["buyer"]) == ("send", f"test:{made}", None)


async def test_a_test_to_whom_nobody_knows_waits_for_no_hour(valkey, redis_client, tmp_path):
    """Nothing is kept in which it could wait: by night it is skipped, and says so."""
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _):
        extra = f'{account(base)}\n[broadcasts]\ntest_receivers = ["sms-main:{LISTED}"]\n'
        async with running(valkey, tmp_path, extra=extra, ledger=True) as gw:
            speaker = gw.gateway.worker._turns._speaker
            speaker.policy = replace(speaker.policy, service_hours=hours.parse(_closed(gw.gateway.clock.now())))
            api = Api(gw, await create_token(gw.gateway.store, "tests", "owner"))
            body = {
                "title": "x",
                "where": {"all": []},
                "purpose": "marketing",
                "accounts": ["sms-main"],
                "text": {"zh-CN": "会员日"},
            }
            made = (await api("POST", "/broadcasts", body))[1]["id"]
            _, answer = await api("POST", f"/broadcasts/{made}/test", {"to": [{"phone": LISTED}]})
            await gw.idle()
            found = (await api("GET", f"/messages/{answer['ids'][0]}"))[1]
            assert (found["state"], found["reason"], twilio.forms) == ("skipped", "too_late", [])
            assert await gw.gateway.store.record(f"phone:{LISTED}") is None


async def test_who_asks_to_be_erased_is_also_gone_from_tests_before(desk):
    """The number of a test to nobody is that of a buyer later: it goes with the buyer, from Redis and the ledger."""
    api, _ = desk
    gw = api.harness
    body = {
        "title": "x",
        "where": {"all": []},
        "purpose": "marketing",
        "accounts": ["sms-main"],
        "text": {"zh-CN": "会员日到了"},
    }
    made = (await api("POST", "/broadcasts", body))[1]["id"]
    _, answer = await api("POST", f"/broadcasts/{made}/test", {"to": [{"phone": LISTED}]})
    await gw.idle()
    buyer = await somebody(gw, ("messenger-main", "7001"), ("sms-main", LISTED))
    await gw.projected()
    assert (await api("DELETE", f"/buyers/{buyer.id}"))[0] == 202
    end = time.monotonic() + 60
    while await gw.gateway.store.command("EXISTS", "erasing"):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    found = (await api("GET", f"/messages/{answer['ids'][0]}"))[1]
    assert (found["state"], found["to"], found["text"]) == ("sent", None, "")
    async with gw.gateway.history.connection() as connection:
        row = (await connection.execute(select(t.messages).where(t.messages.c.id == answer["ids"][0]))).one()
    assert (row.address, row.text) == ("", "")


def _closed(now: int) -> str:
    """Hours that begin in two hours from now, where the shop is."""
    here = (local(now, ZoneInfo("Asia/Shanghai")).hour + 2) % 24
    return f"{here:02d}:00-{here:02d}:30"
