"""Imported members in a running gateway: whose record they become, and where their card numbers lead."""

from __future__ import annotations

import json

from bot import bulk, ids, keys, subjects
from bot.events import Event, StaffAsked
from tests.gateway import Harness, running

PHONE = "+8613900007001"
SMS = """
[channels.sms-main]
type = "twilio"
account_sid = "ACa1b2c3d4e5f60718293a4b5c6d7e8f90"
auth_token = "0123456789abcdef0123456789abcdef"
from_number = "+15005550006"
"""


def row(phone: str = PHONE, **more) -> dict:
    empty = {
        "name": "",
        "level": "",
        "points": 0,
        "joined_at": 0,
        "birthday": "",
        "gender": "",
        "locale": "",
        "sizes": {},
        "tags": [],
    }
    return {**empty, "phone": phone, "consent": None, "number": "", **more}


async def imports(gw: Harness, *rows: dict) -> None:
    now = gw.gateway.clock.now()
    events = [
        Event(
            "",
            subjects.phone(one["phone"]),
            "",
            now,
            now,
            StaffAsked("import_member", "import:x.csv", json.dumps(one).encode()),
        )
        for one in rows
    ]
    await bulk.put_in(gw.gateway.store, events, lambda _: None)
    await gw.idle()


def elsewhere(gw: Harness, phone: str) -> str:
    """A valid number that names another partition than its buyer's."""
    return ids.member_number(
        (gw.gateway.store.partition(subjects.phone(phone)) + 1) % gw.gateway.store.partitions, 4711
    )


async def test_a_number_leads_to_its_buyer_whatever_partition_it_names(valkey, redis_client, tmp_path):
    """Looked up where it points, gone when the card is given back; taken by nobody else meanwhile."""
    async with running(valkey, tmp_path, extra=SMS) as gw:
        queries, number = gw.gateway.queries, elsewhere(gw, PHONE)
        await imports(gw, row(number=number, level="gold", points=7))
        buyer = await queries.buyer_by_member_no(ids.show_member_number(number))
        assert (buyer.home, buyer.member.level, buyer.member.points) == (subjects.phone(PHONE), "gold", 7)
        other = "+8613900007002"
        await imports(gw, row(other, number=number))
        second = await queries.buyer_by_phone(other)
        assert second.member.number not in ("", number)
        assert (await queries.buyer_by_member_no(number)).id == buyer.id
        body = StaffAsked("erase", "test")
        now = gw.gateway.clock.now()
        await bulk.put_in(gw.gateway.store, [Event("e", buyer.home, "", now, now, body)], lambda _: None)
        await gw.idle()
        assert await queries.buyer_by_member_no(number) is None


async def test_a_drawn_number_is_nobodys_already(valkey, redis_client, tmp_path):
    """The counter's next number came by an import: the one after it is given."""
    async with running(valkey, tmp_path, extra=SMS) as gw:
        store, other = gw.gateway.store, "+8613900007003"
        partition = store.partition(subjects.phone(other))
        drawn = ids.member_number(partition, int(await store.command("GET", keys.cards(partition)) or 0) + 1)
        await imports(gw, row(number=drawn), row(other))
        first, second = [await gw.gateway.queries.buyer_by_phone(phone) for phone in (PHONE, other)]
        assert first.member.number == drawn
        assert second.member.number not in ("", drawn)
        assert (await gw.gateway.queries.buyer_by_member_no(drawn)).id == first.id


async def test_a_buyer_who_is_there_stays_who_they_are(valkey, redis_client, tmp_path):
    """A chat buyer with this number, named by the shop: gaps are filled, their own words stay, nobody is written to."""
    async with running(valkey, tmp_path, extra=SMS) as gw:
        await gw.say("p9", "你好")
        told = len(await gw.said("p9", 1))
        order = {"id": "1", "number": "#1", "pay_state": "unpaid", "cod": True, "placed_at": "2026-01-01T00:00:00Z",
                 "total": {"amount": "1.00", "currency": "CNY"}}  # fmt: skip
        named = {"order": order, "buyer": {"name": "林", "phones": [PHONE], "address": "messenger-main:p9"}}
        assert (await gw.shop("order.created", "o1", named))[0] == 200
        await gw.idle()
        chat = await gw.gateway.queries.buyer_by_address("messenger-main", "p9")
        await imports(
            gw, row(name="Lin", birthday="01-02", tags=["vip"]), row(name="Lin", birthday="03-04", tags=["vip"])
        )
        buyer = await gw.gateway.queries.buyer_by_phone(PHONE)
        assert (buyer.id, buyer.name, buyer.birthday, buyer.tags) == (chat.id, "林", "01-02", ["vip"])
        assert buyer.member.source == "import:x.csv"
        assert len(gw.graph.texts("p9")) == told
