"""`privacy.keep_months` from webhook to every store: who fell silent goes, who is still a member, holds a coupon or writes stays."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from bot import keys, subjects
from bot.aging import AGAIN_MS, Aging
from bot.clock import DAY_MS, MINUTE_MS, SystemClock
from bot.codec import dump_entry
from bot.coupons import Campaign
from bot.errors import StoreError
from bot.events import Event, OrderBrief, StaffAsked
from bot.keeping import OPEN_MS, Terms, before, held_by, last_sign, may_go, months_from
from bot.records import Address, Awaited, Buyer, Consent, Coupon, Member, Merging, Task, Waiting
from ledger import commands, retention
from ledger import tables as t
from tests.bot.test_store import owned
from tests.gateway import rfc, running
from tests.ledger.test_erasure import order

KEEP = '[privacy]\nresponsible = "小满"\nquestions_to = "q@shop.example"\nkeep_months = 18\nevidence_months = 6\n[ledger]\nurl = "{}"\n'
SILENT, COUPON, LATER = "7720000000000001", "7720000000000002", "7720000000000003"
PHONE, MEMBER = "+8613911220001", "+8613911220002"
MONTH_S = 31 * 86_400
STAYS = {  # after two years of silence: of the installation and its partitions, of campaigns, of who is kept (docs/redis.md)
    *"aging clock clock:seen erasing:rewrite ledger:lease ledger:marks ledger:state meta metrics procs secret:codes secret:links".split(),
    *"bulk cardno dead idx inbox journal lease mail mailn mailseq tasks timers".split(),  # of tasks one that nobody closed
    *"camp campaigns claims code couponcode rec:address rec:order rec:phone".split(),
}


async def ask(gw, subject: str, action: str, by: str, **data) -> None:
    now = gw.gateway.clock.now()
    event = Event(f"{action}{subject}{now}", subject, "", now, now, StaffAsked(action, by, json.dumps(data).encode()))
    await gw.gateway.appender.append([dump_entry(event)])
    await gw.idle()


async def live(gw) -> None:
    """What happened long ago."""
    await gw.gateway.campaigns.create(
        Campaign("MAY", "五月券", "amount_off", 50, "20.00", "CNY", "99.00", valid_days=900, created_at=1)
    )
    await gw.gateway.campaigns.refresh()
    await order(gw, "1", {"address": f"messenger-main:{SILENT}", "name": "阮清和", "phones": [PHONE]})
    for psid in (SILENT, COUPON, LATER):
        await gw.say(psid, "你好，旧时的话")
        await gw.said(psid, 1)
    await ask(
        gw, f"address:messenger-main:{SILENT}", "consent", "clerk", account="messenger-main", id=SILENT,
        topic="marketing", verdict="granted", evidence="form-7",
    )  # fmt: skip
    await gw.say(COUPON, "领 MAY")
    await order(gw, "2", {"address": f"messenger-main:{LATER}", "name": "常在"})
    checkout = {
        "token": "ct1", "items": [{"title": "衬衫", "qty": 1}], "total": {"amount": "88.00", "currency": "CNY"},
        "recover_url": "https://shop.example/?key=1", "updated_at": rfc(time.time()),
    }  # fmt: skip
    facts = {"address": f"messenger-main:{SILENT}", "name": "阮清和"}
    assert (await gw.shop("checkout.updated", "c1", {"checkout": checkout, "buyer": facts}))[0] < 300
    await ask(
        gw,
        subjects.phone(MEMBER),
        "import_member",
        "import:x",
        phone=MEMBER,
        name="会员甲",
        number="",
        level="",
        points=0,
        joined_at=0,
    )
    await gw.gateway.store.command("XADD", keys.dead(3), "*", "b", f"a webhook of {PHONE}")
    await gw.idle()
    await gw.projected()


async def until(look, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)


async def months_pass(gw, months: int) -> None:
    """Time goes on for all processes, and everything that goes by age then is gone."""
    offset = gw.gateway.clock.offset() + months * MONTH_S * 1000
    await gw.idle()
    await gw.gateway.store.command("SET", keys.CLOCK, offset)
    gw.gateway.clock.set_offset(offset)  # the process follows by itself, but some seconds later
    await gw.idle()
    assert gw.gateway.clock.offset() == offset

    then = gw.gateway.clock.now()

    async def ended() -> bool:
        return gw.gateway.aging.rounds.done_at >= then - 3_600_000

    await until(ended, "a round ends")
    await gw.idle()

    async def erased() -> bool:
        store = gw.gateway.store
        waits = [await store.command("EXISTS", keys.erasures(p)) for p in range(store.partitions)]
        return not any(waits) and not await store.command("EXISTS", keys.ERASING)

    await until(erased, "the erasures end")
    await gw.projected()


async def wherever(gw, word: str) -> list[str]:
    """Where a word still stands: keys of Redis, tables of the ledger."""
    found = []
    store, needle = gw.gateway.store, word.encode()
    async for names in store.scan("*"):
        for name in names:
            kind = (await store.command("TYPE", name)).decode()
            read = {"string": ("GET",), "hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",)}
            read |= {"zset": ("ZRANGE", 0, -1), "stream": ("XRANGE", "-", "+")}
            if kind == "none":
                continue
            command, *rest = read[kind]
            body = await store.command(command, name, *rest)
            if needle in name or needle in _flat(body):
                found.append(name.decode())
    async with gw.gateway.history.connection() as connection:
        for table in t.metadata.sorted_tables:
            rows = [tuple(row) for row in await connection.execute(select(table))]
            if any(needle in _flat(row) for row in rows):
                found.append(table.name)
    return sorted(found)


async def left(gw) -> set[str]:
    """Kinds of keys that lie there for good, once what has a time of its own was swept."""
    gateway, found = gw.gateway, set[str]()
    for part in (gateway.housekeeping, gateway.codes, gateway.spend):
        await part.sweep(gateway.clock.now())
    async for names in gateway.store.scan("*"):
        for name in names:
            if await gateway.store.command("PTTL", name) == -1:
                kind, _, rest = name.decode().partition(":")
                found.add(f"rec:{rest.split(':')[1]}" if kind == "rec" else kind if "{" in rest else name.decode())
    return {"couponcode" if kind.startswith("couponcode:") else kind for kind in found}


async def stands(gw, word: str) -> list[str]:
    """The same without Redis' journals: they keep what the ledger holds for 48 real hours, which no clock of a test can move."""
    return [name for name in await wherever(gw, word) if not name.startswith("journal:")]


async def nowhere(gw, word: str) -> bool:
    return not await stands(gw, word)


def _flat(value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return b"|".join(_flat(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"|".join(map(_flat, value))
    return str(value).encode()


@pytest.mark.timeout(180)
async def test_who_fell_silent_goes_and_who_did_not_stays(valkey, redis_client, tmp_path, ledger_url) -> None:
    async with running(valkey, tmp_path, extra=KEEP.format(ledger_url), ledger=True) as gw:
        await live(gw)
        queries = gw.gateway.queries
        buyers = {psid: await queries.buyer_by_address("messenger-main", psid) for psid in (SILENT, COUPON, LATER)}
        member = await queries.buyer_by_phone(MEMBER)
        assert member.member is not None
        await months_pass(gw, 12)
        assert "rec:{p" in str(await wherever(gw, PHONE))  # a year is not too long
        await gw.say(LATER, "还在")
        await gw.idle()
        await gw.projected()
        settings, engine = gw.gateway.settings, gw.gateway.history.engine
        early = await commands.due(gw.gateway.store, engine.url, settings.terms)
        assert [line.rpartition(": ")[2] for line in early[:1]] == ["0 entries"]
        later = await retention.due(engine, settings.terms, gw.gateway.clock.now() + 7 * MONTH_S * 1000)
        assert (later.buyers, later.orders, later.evidence) == (1, 2, 0)
        assert later.raw > 10

        await months_pass(gw, 7)

        # The silent one is nowhere but in the evidence of what was agreed to, for its own time.
        assert await wherever(gw, PHONE) == []
        await until(lambda: nowhere(gw, "阮清和"), "what orders and carts told goes")
        assert await stands(gw, SILENT) == ["consents"]
        assert (await queries.buyer(buyers[SILENT].id)).erased
        for psid in (COUPON, LATER):
            assert (await queries.buyer_by_address("messenger-main", psid)).id == buyers[psid].id
        assert (await queries.buyer(member.id)).member.number == member.member.number
        # Old words are gone of everybody; what was said later is there. Orders keep goods and amounts.
        await until(lambda: nowhere(gw, "旧时的话"), "old words go")
        assert await stands(gw, "还在")
        async with gw.gateway.history.connection() as connection:
            totals = {row.id: (str(row.total), row.buyer) for row in await connection.execute(select(t.orders))}
            kept = list(await connection.scalars(select(t.consents.c.kept_until).where(t.consents.c.address == SILENT)))
        assert totals == {"1": ("88", ""), "2": ("88", buyers[LATER].id)}
        records = await gw.gateway.store.records(subjects.order("main", id) for id in ("1", "2"))
        assert [record.buyer for record in records.values()] == [None, None]
        assert await gw.gateway.store.command("XLEN", keys.dead(3)) == 0
        assert await gw.gateway.store.record("cart:main:ct1") is None
        assert len(kept) == 1
        assert abs(kept[0] - months_from(gw.gateway.clock.now(), 6)) < 12 * 3_600_000

        url, currency = gw.gateway.history.engine.url, settings.brand.currency
        async with gw.gateway.history.connection() as connection:
            rows = sorted(map(tuple, await connection.execute(select(t.consents))))
        assert "derived anew" in await commands.rebuilt(gw.gateway.store, url, currency=currency)
        async with gw.gateway.history.connection() as connection:
            assert sorted(map(tuple, await connection.execute(select(t.consents)))) == rows
        assert (await queries.buyer(buyers[SILENT].id)).erased
        await months_pass(gw, 7)  # the evidence's time is over as well

        async def forgotten() -> bool:
            return "consents" not in await wherever(gw, SILENT)

        await until(forgotten, "the evidence goes")
        assert await left(gw) <= STAYS


@pytest.mark.timeout(120)
async def test_a_sign_of_life_that_comes_first_holds(valkey, redis_client, tmp_path) -> None:
    """The buyer writes while the word that the time is over lies in the lane: the turn looks again."""
    url = f"sqlite:{tmp_path}/ledger.db"
    async with running(valkey, tmp_path, extra=KEEP.format(url).replace("keep_months = 18", "")) as gw:
        await gw.say(SILENT, "你好")
        await gw.said(SILENT, 1)
        await gw.idle()
        now = gw.gateway.clock.now()
        home = f"address:messenger-main:{SILENT}"
        await ask(gw, home, "age", "retention", before=now - 60_000, evidence_until=0)
        assert not (await gw.gateway.queries.buyer_at(home)).erased
        await ask(gw, home, "age", "retention", before=now + 60_000, evidence_until=0)
        found = await gw.gateway.queries.buyer_at(home)
        assert found is None or found.erased


# --- the rule ---------------------------------------------------------------------------------------------------------

MS = st.integers(0, 10**13)
BUYERS = st.builds(
    Buyer,
    id=st.just("b"),
    home=st.just("h"),
    created_at=MS,
    last_order_at=MS,
    addresses=st.lists(st.builds(Address, account=st.just("a"), id=st.text(), last_in=MS, followed_at=MS), max_size=3),
    member=st.none() | st.just(Member("8012")),
    coupons=st.lists(
        st.builds(
            Coupon,
            code=st.text(),
            campaign=st.text(),
            state=st.sampled_from(["claimed", "redeemed", "expired"]),
            expires_at=MS,
            claimed_at=MS,
        ),
        max_size=3,
    ),
    orders=st.lists(
        st.builds(
            OrderBrief,
            id=st.text(),
            shop=st.text(),
            pay=st.sampled_from(["unpaid", "paid"]),
            ship=st.sampled_from(["none", "in_transit", "delivered"]),
            placed_at=MS,
        ),
        max_size=3,
    ),
    erased=st.booleans(),
)


@given(BUYERS, MS, st.integers(0, 10**12))
def test_nobody_goes_who_gave_a_sign_or_holds_something(buyer, silent_since, since) -> None:
    now = silent_since + since
    goes = may_go(buyer, silent_since, now)
    assert goes == (not buyer.erased and last_sign(buyer) < silent_since and not held_by(buyer, now))
    if goes:
        assert buyer.member is None
        assert all(one.last_in < silent_since for one in buyer.addresses)
        assert not [c for c in buyer.coupons if c.state == "claimed" and (c.expires_at > now or not c.expires_at)]
        assert not [
            o for o in buyer.orders if o.pay == "paid" and o.ship != "delivered" and now - o.placed_at <= OPEN_MS
        ]


NOW = 1_790_000_000_000
PLACED = NOW - 500 * DAY_MS  # long ago; what is under way was placed within a year
BOUGHT = {"id": "1", "shop": "main", "pay": "paid", "placed_at": NOW - 300 * DAY_MS}


@pytest.mark.parametrize(
    ("held", "by"),
    [
        ({}, ""),
        ({"member": Member("8012")}, "member card"),
        ({"coupons": [Coupon("A", "MAY")]}, "coupon"),  # without an end
        ({"coupons": [Coupon("A", "MAY", expires_at=NOW + 1)]}, "coupon"),
        ({"coupons": [Coupon("A", "MAY", expires_at=NOW)]}, ""),
        ({"coupons": [Coupon("A", "MAY", "redeemed"), Coupon("B", "MAY", "expired")]}, ""),
        ({"orders": [OrderBrief(**BOUGHT, ship="in_transit")]}, "order"),
        ({"orders": [OrderBrief(**{**BOUGHT, "pay": "authorized"})]}, "order"),
        ({"orders": [OrderBrief(**BOUGHT, ship="delivered")]}, ""),
        ({"orders": [OrderBrief(**BOUGHT, ship="returned")]}, ""),
        ({"orders": [OrderBrief(**BOUGHT, ship="delivered", refund="requested")]}, "order"),
        ({"orders": [OrderBrief(**BOUGHT, ship="delivered", refund="succeeded")]}, ""),
        ({"orders": [OrderBrief(**{**BOUGHT, "placed_at": NOW - OPEN_MS - 1}, ship="in_transit")]}, ""),
        ({"waiting": {"w": Waiting(b"", "m_1")}}, "message"),
        ({"merging": Merging("h2", "phone:+1", NOW)}, "message"),
    ],
)
def test_what_holds_a_silent_buyers_record(held, by) -> None:
    """Each thing that is still to come, by itself; without it the record goes."""
    buyer = Buyer("b", "h", PLACED, **held)
    assert held_by(buyer, NOW) == by
    assert may_go(buyer, NOW, NOW) == (not by)


@pytest.mark.parametrize(
    "sign",
    [
        {"last_order_at": NOW},
        {"left_club_at": NOW},
        {"proved_at": {"+1": NOW}},
        {"addresses": [Address("a", "1"), Address("a", "2", last_in=NOW)]},
        {"addresses": [Address("a", "1", followed_at=NOW)]},
        {"addresses": [Address("a", "1", consent=Consent(at=NOW))]},
        {"addresses": [Address("a", "1", consent=Consent(coupons_at=NOW))]},
        {"orders": [OrderBrief(**{**BOUGHT, "pay": "unpaid", "placed_at": NOW})]},
        {"orders": [OrderBrief(**BOUGHT, ship="delivered", paid_at=NOW)]},
        {"coupons": [Coupon("A", "MAY", "redeemed", claimed_at=NOW)]},
        {"tasks": {"t": Task("t", "parcel", "t", "h", "", NOW)}},
        {"awaits": [Awaited("product:main:1", "", NOW, "a", "1", "w")]},
    ],
)
def test_what_is_a_sign_of_life(sign) -> None:
    """Each by itself, to the instant."""
    buyer = Buyer("b", "h", PLACED, **sign)
    assert last_sign(buyer) == NOW
    assert may_go(buyer, NOW + 1, NOW + 1)
    assert not may_go(buyer, NOW, NOW + 1)


def test_who_is_erased_goes_no_second_time() -> None:
    """The empty record that an erasure leaves."""
    assert not may_go(Buyer("b", "h", PLACED, erased=True), NOW, NOW)


@given(st.integers(17 * 10**11, 4 * 10**12), st.integers(-600, 600))
def test_months_are_those_of_the_calendar(at, months) -> None:
    there = months_from(at, months)
    assert abs((there - at) / DAY_MS - months * 30.436875) < 4
    assert abs(months_from(there, -months) - at) <= 3 * DAY_MS


def test_the_raw_journal_goes_with_the_rest_or_earlier() -> None:
    now = months_from(0, 600)
    assert before(Terms(keep=18), now).raw == before(Terms(keep=18), now).keep == months_from(now, -18)
    assert before(Terms(keep=18, raw=6), now).raw == months_from(now, -6)
    assert before(Terms(keep=6, raw=18), now).raw == months_from(now, -6)
    assert before(Terms(), now).raw == 0


class Bare:
    """A ledger that knows of nothing old; the store is away at the first look."""

    def __init__(self) -> None:
        self.looks = 0

    async def silent(self, *_: object) -> list:
        self.looks += 1
        if self.looks == 1:
            raise StoreError("Redis: away")
        return []

    old_orders = silent

    async def known_tasks(self, _: object) -> set:
        return set()

    known_orders = proved = known_tasks


async def test_a_round_that_breaks_off_is_none(redis_client) -> None:
    """Where the store was away the next round begins a minute later, not after the hours of one that is done."""
    clock, past = SystemClock(), Bare()
    aging = Aging(await owned(redis_client), clock, past, Terms(keep=18))
    with pytest.raises(StoreError):
        await aging.advance()
    for _ in range(30):
        await aging.advance()
    assert (aging.rounds.done_at, past.looks) == (0, 1)
    clock.set_offset(MINUTE_MS + 1000)
    assert clock.offset() < AGAIN_MS
    for _ in range(30):
        await aging.advance()
    assert aging.rounds.done_at > 0
