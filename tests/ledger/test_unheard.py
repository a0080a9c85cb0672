"""`privacy.keep_months` holds for whom the ledger never heard of: silent since before it was adopted, by the store's own index."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from bot import keys, subjects
from bot.aging import AGAIN_MS, Aging
from bot.buyers import evidence
from bot.clock import SystemClock
from bot.codec import dump_record, load_event
from bot.events import BuyerFacts
from bot.everybody import EVERYBODY_MS, PAGE
from bot.keeping import Terms, last_news, months_from
from bot.records import Address, Buyer, Consent, Lane, Member, Order, Shipment
from bot.store import Store
from ledger import commands, retention
from ledger import tables as t
from ledger.database import reading, writing
from tests.bot.test_store import owned
from tests.gateway import running
from tests.ledger.test_aging import (
    COUPON,
    KEEP,
    LATER,
    MONTH_S,
    PHONE,
    SILENT,
    live,
    months_pass,
    nowhere,
    stands,
    until,
    wherever,
)


@pytest.mark.timeout(240)
async def test_who_fell_silent_before_the_ledger_was_there_goes_too(valkey, redis_client, tmp_path) -> None:
    """The journals of that time are gone with their 48 hours: the ledger has never heard of anybody."""
    async with running(valkey, tmp_path, extra=KEEP.format(f"sqlite:{tmp_path}/older.db"), ledger=True) as gw:
        await live(gw)
        buyers = {
            psid: await gw.gateway.queries.buyer_by_address("messenger-main", psid) for psid in (SILENT, COUPON, LATER)
        }
        store = gw.gateway.store
        await store.together([("XTRIM", keys.journal(p), "MAXLEN", 0) for p in range(64)])
        await store.together([("DEL", name) for name in (keys.LEDGER_MARKS, keys.LEDGER_STATE)])
        await store.command("HDEL", keys.META, "epoch")

    async with running(valkey, tmp_path, extra=KEEP.format(f"sqlite:{tmp_path}/ledger.db"), ledger=True) as gw:
        queries = gw.gateway.queries
        await gw.say("7720000000000009", "你好")
        await gw.idle()
        await gw.projected()  # the ledger's tables are made by now
        offset = gw.gateway.clock.offset() + 12 * MONTH_S * 1000
        await gw.gateway.store.command("SET", keys.CLOCK, offset)
        gw.gateway.clock.set_offset(offset)
        await gw.say(LATER, "还在")
        await gw.idle()
        assert "rec:{p" in str(await wherever(gw, PHONE))
        await months_pass(gw, 7)

        async def erased() -> bool:
            return (await queries.buyer(buyers[SILENT].id)).erased

        await until(erased, "the pass over all buyers comes to one of them")
        await until(lambda: nowhere(gw, PHONE), "what names the buyer goes")
        await until(lambda: nowhere(gw, "阮清和"), "what orders and carts told goes")
        assert await stands(gw, SILENT) == ["consents"]  # proof that the record alone had held
        for psid in (COUPON, LATER):
            assert (await queries.buyer_by_address("messenger-main", psid)).id == buyers[psid].id
        async with gw.gateway.history.connection() as connection:
            rows = [row for row in await connection.execute(select(t.consents)) if row.address == SILENT]
        [row] = rows
        consent = buyers[SILENT].addresses[0].consent
        assert (row.topic, row.verdict, row.at, row.wording, row.source) == (
            "marketing", "granted", consent.at, "form-7", "clerk",
        )  # fmt: skip
        assert abs(row.kept_until - months_from(gw.gateway.clock.now(), 6)) < 24 * 3_600_000
        records = await gw.gateway.store.records(subjects.order("main", id) for id in ("1", "2"))
        assert [record.buyer for record in records.values()] == [None, None]
        url, currency = gw.gateway.history.engine.url, gw.gateway.settings.brand.currency
        assert "derived anew" in await commands.rebuilt(gw.gateway.store, url, currency=currency)
        async with gw.gateway.history.connection() as connection:
            again = [row for row in await connection.execute(select(t.consents)) if row.address == SILENT]
        assert again == rows


# --- the pass ---------------------------------------------------------------------------------------------------------


class Deaf:
    """A ledger that has heard of nobody, but for what is named."""

    def __init__(self) -> None:
        self.proofs: set[tuple[str, str, str, str]] = set()
        self.orders: set[str] = set()
        self.asked_of: set[str] = set()

    async def silent(self, *_: object) -> list:
        return []

    old_orders = silent

    async def known_tasks(self, _: object) -> set:
        return set()

    async def proved(self, ids) -> set:
        self.asked_of |= set(ids)
        return self.proofs

    async def known_orders(self, _: object) -> set:
        return self.orders


class Shop:
    """Records of buyers and orders in a store, long ago."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.past = store, SystemClock(), Deaf()
        self.old = self.clock.now() - 20 * 31 * 86_400_000

    def aging(self, keep: int = 18) -> Aging:
        return Aging(self.store, self.clock, self.past, Terms(keep=keep, evidence=6))

    async def buyer(self, number: int, **fields) -> str:
        home = f"address:messenger-main:{number}"
        p = self.store.partition(home)
        consent = Consent(marketing="granted", at=self.old, wording="optin/zh-CN/1", source="keyword")
        addresses = [Address("messenger-main", str(number), consent=consent, last_in=self.old)]
        made = {"id": f"b_{number}", "home": home, "created_at": self.old, "addresses": addresses, **fields}
        await self.keep(p, home, Buyer(**made))
        await self.store.command("HSET", keys.index(p), f"b:b_{number}", home)
        return home

    async def keep(self, p: int, subject: str, record) -> None:
        await self.store.command("SET", keys.record(p, subject), dump_record(record))

    async def asked(self) -> dict[str, str]:
        """Who was asked to do what; the lanes are empty then."""
        found = {}
        for p in range(64):
            for entry, fields in await self.store.command("XRANGE", keys.bulk(p), "-", "+"):
                event = load_event(fields[b"b"])
                assert event.subject not in found, "asked twice"
                found[event.subject] = event.body.action
                await self.store.command("XDEL", keys.bulk(p), entry)
        return found

    async def round(self, aging: Aging, most: int = 3_000) -> None:
        aging.rounds.done_at = 0
        for _ in range(most):
            await aging.advance()
            if aging.rounds.done_at:
                return
        raise AssertionError("the round does not end")


@pytest.fixture
async def shop(redis_client) -> Shop:
    return Shop(await owned(redis_client))


@pytest.mark.every_store
async def test_all_are_found_once_a_day(shop):
    """In every partition, more of them than a page; who is not silent, holds a card, is erased or merged is not asked."""
    silent = {await shop.buyer(n) for n in range(90)}
    for n in range(90, 95):
        await shop.buyer(n, member=Member("8012"))
    await shop.buyer(95, addresses=[Address("messenger-main", "95", last_in=shop.clock.now())])
    await shop.store.command("HSET", keys.index(1), "b:b_x", "erased:b_x")
    await shop.store.command("HSET", keys.index(2), "b:b_y", "address:messenger-main:nobody")
    crowded = keys.index(shop.store.partition("address:messenger-main:1"))
    await shop.store.together([("HSET", crowded, f"m:{n}", "address:messenger-main:1") for n in range(6 * PAGE)])
    aging = shop.aging()
    await shop.round(aging)
    assert await shop.asked() == dict.fromkeys(silent, "age")
    shop.clock.set_offset(AGAIN_MS + 1)
    await shop.round(aging)
    assert await shop.asked() == {}  # the next pass is tomorrow's
    shop.clock.set_offset(EVERYBODY_MS + AGAIN_MS)
    await shop.round(aging)
    assert len(await shop.asked()) == 90


async def test_nobody_is_looked_for_where_everything_is_kept(shop):
    await shop.buyer(1)
    aging = shop.aging(keep=0)
    for _ in range(60):
        await aging.advance()
    assert (await shop.asked(), await shop.store.command("EXISTS", keys.AGING)) == ({}, 0)


@pytest.mark.every_store
async def test_a_pass_that_broke_off_goes_on(shop):
    """The next process begins with the partition that was not done; the partitions before it are left alone."""
    silent = {await shop.buyer(n) for n in range(80)}
    first, found = shop.aging(), dict[str, str]()
    while int(await shop.store.command("HGET", keys.AGING, "next") or 0) < 20:
        await first.advance()
    found |= await shop.asked()
    done = int(await shop.store.command("HGET", keys.AGING, "next"))
    assert done < 64
    assert {shop.store.partition(home) for home in found} <= set(range(done + 1))
    await shop.round(shop.aging())
    rest = await shop.asked()
    assert found.keys() | rest.keys() == silent
    assert {shop.store.partition(home) for home in rest} <= set(range(done, 64))


async def test_a_surprise_is_no_end_of_a_round(shop):
    """Whatever it is: the round begins again a minute later."""
    await shop.buyer(1)
    shop.past.proofs = None  # a bug
    aging = shop.aging()
    with pytest.raises(TypeError):
        await shop.round(aging)
    for _ in range(90):
        await aging.advance()
    assert aging.rounds.done_at == 0
    shop.past.proofs = set()
    shop.clock.set_offset(61_000)
    await shop.round(aging)
    assert len(await shop.asked()) == 1


async def test_what_a_newer_release_wrote_is_passed_over(shop):
    home, other = await shop.buyer(1), await shop.buyer(2)
    await shop.store.command("SET", keys.record(shop.store.partition(home), home), b"\xffnewer")
    await shop.round(shop.aging())
    assert await shop.asked() == {other: "age"}


async def test_no_more_than_some_are_erased_at_a_time(shop):
    await shop.buyer(1)
    await shop.store.together([("HSET", keys.ERASING, f"b_e{n}", "x") for n in range(20)])
    aging = shop.aging()
    for _ in range(120):
        await aging.advance()
    assert (await shop.asked(), aging.rounds.done_at) == ({}, 0)
    await shop.store.command("DEL", keys.ERASING)
    await shop.round(aging)
    assert len(await shop.asked()) == 1


async def test_only_proof_that_the_ledger_lacks_is_told(shop):
    homes = [await shop.buyer(1, merged=["b_former"]), await shop.buyer(2)]
    shop.past.proofs = {("messenger-main", "1", "marketing", "granted")}
    await shop.round(shop.aging())
    told = {}
    for home in homes:
        p = shop.store.partition(home)
        [(_, fields)] = await shop.store.command("XRANGE", keys.bulk(p), "-", "+")
        told[home] = load_event(fields[b"b"]).body.data
    assert shop.past.asked_of == {"b_1", "b_former", "b_2"}
    assert b'"tell": []' in told[homes[0]]
    assert b'"tell": [["messenger-main", "2", "marketing", "granted"]]' in told[homes[1]]


async def test_orders_forget_their_buyers_by_their_own_time_too(shop):
    facts = BuyerFacts(name="阮清和")

    async def order(id: str, **fields) -> str:
        subject = subjects.order("main", id)
        made = {"id": id, "shop": "main", "subject": subject, "buyer": facts, "created_at": shop.old, **fields}
        await shop.keep(shop.store.partition(subject), subject, Order(**made))
        return subject

    old, heard = await order("1"), await order("2")
    await order("3", buyer=None)
    for n, fields in enumerate(
        [
            {"paid_at": shop.clock.now()},
            {"placed_at": shop.clock.now()},
            {"known": {"status_url": shop.clock.now()}},
            {"pay": Lane("paid", shop.clock.now())},
            {"shipments": [Shipment(id="s", lane=Lane("delivered", shop.clock.now()))]},
        ]
    ):
        await order(f"1{n}", **fields)
    shop.past.orders = {heard}
    await shop.round(shop.aging())
    assert await shop.asked() == {old: "forget"}


async def test_the_ledger_says_what_it_holds(both):
    """On both databases: answers of these buyers, and which orders it ever heard of."""
    async with writing(both) as connection:
        answer = {
            "partition": 1,
            "ms": 1,
            "seq": 0,
            "buyer": "b_1",
            "account": "a",
            "address": "x",
            "topic": "calls",
            "verdict": "refused",
        }
        await connection.execute(insert(t.consents), [{**answer, "line": n, "buyer": f"b_{n}"} for n in (1, 2)])
        await connection.execute(insert(t.orders), {"subject": "order:main:1", "shop": "main", "id": "1"})
    async with reading(both) as connection:
        assert await retention.proved(connection, ["b_1", "b_3"]) == {("a", "x", "calls", "refused")}
        assert await retention.proved(connection, ["b_3"]) == set()
        assert await retention.known(connection, t.orders, ["order:main:1", "order:main:2"]) == {"order:main:1"}


def test_what_a_record_proves() -> None:
    def said(**consent) -> list[tuple]:
        buyer = Buyer(id="b", home="h", created_at=0, addresses=[Address("a", "1", consent=Consent(**consent))])
        return [(one.topic, one.verdict, one.at, one.wording, one.source) for one in evidence(buyer)]

    assert said() == said(marketing="granted") == []  # nobody knows when, so it proves nothing
    assert said(marketing="granted", at=5, wording="w", source="s") == [("marketing", "granted", 5, "w", "s")]
    assert said(service="refused", calls="refused", at=5) == [
        ("service", "refused", 5, "", ""),
        ("calls", "refused", 5, "", ""),
    ]
    both = said(
        coupons="granted", coupons_at=7, coupons_wording="c", marketing="refused", at=5, wording="w", source="s"
    )
    assert both == [("marketing", "refused", 5, "w", "s"), ("coupons", "granted", 7, "c", "s")]
    found = Buyer(
        id="b", home="h", created_at=0, addresses=[Address("a", "1", consent=Consent("refused", "granted", at=5))]
    )
    asked = [("a", "1", "service", "refused"), ("a", "1", "marketing", "refused")]  # the second has changed since
    assert [one.topic for one in evidence(found, asked)] == ["service"]
    assert evidence(found, ()) == []
    assert last_news(Order(id="1", shop="m", subject="x")) == 0
