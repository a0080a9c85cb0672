"""Tests of a broadcast through a running gateway: listed addresses get them as they are, any other only by its own opt-in."""

from __future__ import annotations

import pytest

from bot import ids, subjects
from bot.access import create_token
from bot.records import Address, Buyer, Window
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
