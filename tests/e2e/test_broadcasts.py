"""A broadcast from the draft to the provider's own list, through the whole gateway."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from bot import keys, worker
from bot.broadcasts import Broadcast, Repeat
from bot.codec import dump_entry
from bot.events import Event, IdentityClaimed, StaffAsked
from bot.hours import day_start, local
from bot.records import Link
from bot.replay import replay
from tests.audiences import buyer_of, keep
from tests.e2e.broadcasting import shop_on

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shop_of(valkey, redis_client, tmp_path):
    return lambda **kwargs: shop_on(valkey, tmp_path, **kwargs)


@pytest.fixture
async def shop(shop_of):
    async with shop_of() as it:
        yield it


async def test_each_buyer_of_the_audience_gets_it_once_in_their_own_words(shop):
    buyers = await shop.buyers(60)
    made = await shop.submit(buyers)
    counts = await shop.until(made.id, "done")
    assert (counts.planned, counts.sent, counts.pending) == (60, 60, 0)
    told = sorted(body["recipient"]["id"] for body in shop.gw.graph.sent)
    assert told == sorted(buyer.addresses[0].id for buyer in buyers)
    assert shop.gw.graph.texts("7003") == ["会员日到了，买家7003"]
    assert counts.by_account == {"messenger-main": {"sent": 60}}


async def test_who_may_not_be_written_to_is_skipped_with_the_reason(shop):
    now = shop.gw.gateway.clock.now()
    willing = await shop.buyers(3)
    asked = await shop.buyers(2, first=7100, consent="unknown")
    refused = await shop.buyers(1, first=7200, consent="refused")
    out, late, gone = await shop.buyers(3, first=7300)
    out.addresses[0].opted_out = True
    late.addresses[0].windows["message"].closes_at = now - 1
    gone.erased = True
    await keep(shop.gw.gateway.store, [out, late, gone])
    counts = await shop.until((await shop.submit([*willing, *asked, *refused, out, late, gone])).id, "done")
    assert (counts.planned, counts.sent, counts.skipped) == (9, 3, 6)
    assert counts.skipped_by_reason == {"no_consent": 3, "opted_out": 1, "window_closed": 1, "erased": 1}
    assert len(shop.gw.graph.sent) == 3


async def test_a_buyer_without_a_record_is_nobody(shop):
    [there] = await shop.buyers(1)
    absent = buyer_of(shop.gw.gateway.store, 7999, shop.gw.gateway.clock.now())
    counts = await shop.until((await shop.submit([there, absent])).id, "done")
    assert (counts.sent, counts.skipped_by_reason) == (1, {"erased": 1})
    assert await shop.gw.gateway.store.record(absent.home) is None


async def test_the_audience_is_the_one_of_the_start(shop):
    buyers = await shop.buyers(40)
    shop.gw.graph.delay = 0.02
    made = await shop.submit(buyers)
    await wait_for(lambda: shop.gw.graph.sent)
    shop.audiences.write(shop.gw.gateway.store, await shop.buyers(5, first=7900))
    counts = await shop.until(made.id, "done")
    assert (counts.planned, counts.sent) == (40, 40)
    assert {body["recipient"]["id"] for body in shop.gw.graph.sent} == {b.addresses[0].id for b in buyers}


async def wait_for(what, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
    return found


# --- stopped --------------------------------------------------------------------------------------------------------------


async def test_paused_nothing_goes_and_resumed_the_rest_goes_once(shop):
    shop.gw.graph.delay = 0.05
    made = await shop.submit(await shop.buyers(400))
    await wait_for(lambda: len(shop.gw.graph.sent) > 20)
    began = time.monotonic()
    await shop.broadcasts.pause(made.id, "lin")
    assert time.monotonic() - began < 5  # a tenth of a second on a calm machine
    await asyncio.sleep(0.3)  # calls that were under way end
    sent = len(shop.gw.graph.sent)
    await asyncio.sleep(0.6)
    counts = await shop.look(made.id)
    assert len(shop.gw.graph.sent) == sent == counts.sent
    assert counts.pending == 400 - sent
    await shop.broadcasts.resume(made.id, "lin")
    counts = await shop.until(made.id, "done")
    told = [body["recipient"]["id"] for body in shop.gw.graph.sent]
    assert (counts.sent, len(told), len(set(told))) == (400, 400, 400)


async def test_cancelled_the_rest_is_skipped_whatever_it_waits_for(shop_of):
    async with shop_of(policy="marketing_per_day = 1") as shop:
        store, clock = shop.gw.gateway.store, shop.gw.gateway.clock
        capped = await shop.buyers(30, first=8000)
        for buyer in capped:  # they wait for tomorrow
            buyer.sent.marketing.append(clock.now() - 1000)
        await keep(store, capped)
        shop.gw.graph.delay = 0.05
        made = await shop.submit([*capped, *await shop.buyers(600)])
        await wait_for(lambda: len(shop.gw.graph.sent) > 20)
        await shop.broadcasts.cancel(made.id, "lin")
        answered = time.monotonic()
        counts = await shop.until(made.id, "cancelled")
        sent = len(shop.gw.graph.sent)
        assert (counts.planned, counts.pending, counts.sent) == (630, 0, sent)
        assert counts.skipped_by_reason == {"cancelled": 630 - sent}
        assert sent < 600
        await asyncio.sleep(max(0, answered + 1.5 - time.monotonic()))
        assert len(shop.gw.graph.sent) == sent
        for buyer in capped:
            kept = await store.record(buyer.home)
            assert (kept.waiting, kept.timers) == ({}, {})


async def test_a_cancel_whose_process_died_before_it_told_anybody_is_told_by_the_others(shop):
    shop.gw.graph.delay = 0.05
    made = await shop.submit(await shop.buyers(300))
    await wait_for(lambda: len(shop.gw.graph.sent) > 20)

    async def died(*_):
        raise RuntimeError("killed")

    tell, shop.broadcasts.tell = shop.broadcasts.tell, died
    with pytest.raises(RuntimeError):
        await shop.broadcasts.cancel(made.id, "lin")
    shop.broadcasts.tell = tell
    counts = await shop.until(made.id, "cancelled")
    assert counts.skipped_by_reason == {"cancelled": 300 - len(shop.gw.graph.sent)}


@pytest.mark.parametrize("how", ["pause", "cancel"])
async def test_what_is_claimed_already_when_staff_stop_it_is_not_sent(shop, monkeypatch, how):
    """Between the claim and the call: paused it goes later, and once; cancelled it is skipped."""
    sender = shop.gw.gateway.sender
    begin, began, id = sender._begin, asyncio.Event(), asyncio.get_running_loop().create_future()

    async def stopped_meanwhile(jobs):
        if jobs and not began.is_set():
            began.set()
            await getattr(shop.broadcasts, how)(await id, "lin")
        await begin(jobs)

    monkeypatch.setattr(sender, "_begin", stopped_meanwhile)
    made = await shop.submit(await shop.buyers(40))
    id.set_result(made.id)
    await asyncio.wait_for(began.wait(), 60)
    if how == "pause":
        await shop.gw.idle()
        assert (shop.gw.graph.sent, (await shop.look(made.id)).pending) == ([], 40)
        await shop.broadcasts.resume(made.id, "lin")
        assert (await shop.until(made.id, "done")).sent == len(shop.gw.graph.sent) == 40
    else:
        assert (await shop.until(made.id, "cancelled")).skipped_by_reason == {"cancelled": 40}
        assert shop.gw.graph.sent == []


async def test_a_stop_on_the_way_is_heeded(shop):
    """Queued already, and the buyer says stop: the last check refuses it."""
    buyers = await shop.buyers(40)
    line = shop.gw.gateway.lines["messenger-main"]
    line.pause(3600)
    made = await shop.submit(buyers)
    await wait_for_async(lambda: shop.look(made.id), lambda counts: counts.planned == 40)
    await wait_queued(shop, 40)
    for buyer in buyers[:10]:
        await shop.gw.say(buyer.addresses[0].id, "退订")
    await wait_for_async(
        lambda: shop.gw.gateway.store.records(b.home for b in buyers[:10]),
        lambda found: all(r.addresses[0].opted_out for r in found.values()),
    )
    line._shut_until = 0
    counts = await shop.until(made.id, "done")
    assert (counts.sent, counts.skipped_by_reason) == (30, {"opted_out": 10})
    told = {body["recipient"]["id"] for body in shop.gw.graph.sent if "会员日" in str(body)}
    assert told == {b.addresses[0].id for b in buyers[10:]}


async def wait_for_async(ask, enough, seconds: float = 60):
    end = time.monotonic() + seconds
    while not enough(found := await ask()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.01)
    return found


async def wait_queued(shop, count: int) -> None:
    """Until so many messages wait in the queues of their addresses."""
    store = shop.gw.gateway.store

    async def queued() -> int:
        found = await store.together([("LLEN", f"ready:{keys.tag(p)}:messenger-main:lo") for p in range(64)])
        return sum(found)

    await wait_for_async(queued, lambda waiting: waiting >= count)


async def test_it_stops_itself_when_many_of_the_last_fail_and_tells_staff(shop):
    shop.gw.graph.script = [""] * 60 + ["window"] * 600
    # It looks once a second: as fast as it can, this audience would be through before.
    made = await shop.submit(await shop.buyers(600), rate_per_second=150)
    counts = await shop.until(made.id, "paused")
    kept = await shop.broadcasts.get(made.id)
    assert "failed" in kept.why
    assert counts.pending > 0
    assert counts.failed_by_reason == {"window_closed": counts.failed}
    tasks = await shop.gw.gateway.store.command("HVALS", keys.tasks(0))
    assert any(made.title.encode() in task for task in tasks)
    # Staff have seen these failures and let it go on: they do not stop it again.
    shop.gw.graph.script = []
    await shop.broadcasts.resume(made.id, "lin")
    counts = await shop.until(made.id, "done")
    assert counts.sent + counts.failed == 600


async def test_it_stops_itself_when_the_account_can_send_nothing(shop):
    made = await shop.submit(await shop.buyers(30))
    shop.gw.graph.script = ["token"] * 1000
    counts = await shop.until(made.id, "paused")
    assert "account" in (await shop.broadcasts.get(made.id)).why
    assert (counts.pending, counts.sent, counts.failed) == (30, 0, 0)


async def test_what_is_in_doubt_is_listed_and_never_sent_again(shop):
    shop.gw.graph.script = ["drop", "", "drop", "", "drop"]
    made = await shop.submit(await shop.buyers(30))
    counts = await shop.until(made.id, "done", seconds=60)
    told = [body["recipient"]["id"] for body in shop.gw.graph.sent]
    assert (counts.sent, counts.in_doubt) == (27, 3)
    assert len(told) == len(set(told)) == 30


# --- hours, weeks ---------------------------------------------------------------------------------------------------------


async def test_who_is_asleep_hears_of_it_in_the_morning_not_all_at_nine(shop_of):
    """Each begins at a minute of their own within half an hour of the opening, and one whose place is awake at once."""
    async with shop_of(marketing_hours="09:00-20:30") as shop:
        clock = shop.gw.gateway.clock
        zone = shop.gw.gateway.settings.zone
        night = opening(clock, zone) + 13 * HOUR  # 22:00
        clock.set_offset(night - clock.real())
        buyers = await shop.buyers(60)
        for buyer in buyers:
            buyer.addresses[0].windows["message"].closes_at = night + 3 * 24 * HOUR
        abroad = buyers[0]
        abroad.addresses[0].timezone = "America/New_York"
        await keep(shop.gw.gateway.store, buyers)
        made = await shop.submit(buyers)
        await wait_for_async(lambda: shop.look(made.id), lambda counts: counts.sent == 1)
        await shop.gw.idle(20)
        assert [body["recipient"]["id"] for body in shop.gw.graph.sent] == [abroad.addresses[0].id]
        records = await shop.gw.gateway.store.records(b.home for b in buyers[1:])
        due = sorted(timer.due for record in records.values() for timer in record.timers.values())
        opens = night + 11 * HOUR
        assert opens <= due[0]
        assert due[-1] < opens + HOUR // 2
        assert len({at // 60_000 for at in due}) > 15
        clock.set_offset(opens + HOUR // 4 - clock.real())
        await wait_for_async(lambda: shop.look(made.id), lambda counts: counts.sent > 10)
        await shop.gw.idle(20)
        quarter = sum(at <= opens + HOUR // 4 for at in due) + 1
        assert quarter <= (await shop.look(made.id)).sent <= quarter + 5
        clock.set_offset(opens + HOUR - clock.real())
        assert (await shop.until(made.id, "done")).sent == 60


HOUR = 3_600_000


def opening(clock, zone) -> int:
    """09:00 of tomorrow."""
    return day_start(clock.now(), zone, 1) + 9 * HOUR


async def test_a_weekly_one_is_a_broadcast_each_week_and_a_week_that_was_slept_through_is_noted(shop_of):
    async with shop_of(policy="marketing_per_week = 0\nmarketing_per_day = 0") as shop:
        clock, zone = shop.gw.gateway.clock, shop.gw.gateway.settings.zone
        start = opening(clock, zone)
        buyers = await shop.buyers(5)
        for buyer in buyers:
            buyer.addresses[0].windows["message"].closes_at = start + 100 * 24 * HOUR
        await keep(shop.gw.gateway.store, buyers)
        weekday = local(start, zone).weekday()
        made = await shop.submit(buyers, repeat=Repeat(weekday=weekday, minute=540))
        assert (await shop.broadcasts.get(made.id)).next_at == start
        clock.set_offset(start + 1000 - clock.real())
        [first] = await rounds_of(shop, made.id, 1)
        assert (await shop.until(first.id, "done")).sent == 5
        clock.set_offset(start + 22 * 24 * HOUR - clock.real())  # two rounds and a late third are slept through
        await wait_for_async(lambda: shop.broadcasts.get(made.id), lambda kept: kept.missed == 3)
        clock.set_offset(start + 28 * 24 * HOUR + 1000 - clock.real())
        second, first = await rounds_of(shop, made.id, 2)
        assert (second.round, first.round, second.parent) == (2, 1, made.id)
        assert (await shop.until(second.id, "done")).sent == 5
        assert len(shop.gw.graph.sent) == 10
        await shop.broadcasts.cancel(made.id, "lin")
        clock.set_offset(start + 35 * 24 * HOUR + 1000 - clock.real())
        await asyncio.sleep(1)
        assert len([b for b in await shop.broadcasts.list() if b.parent == made.id]) == 2


async def rounds_of(shop, id: str, count: int) -> list[Broadcast]:
    async def made() -> list[Broadcast]:
        return [b for b in await shop.broadcasts.list() if b.parent == id]

    return await wait_for_async(made, lambda found: len(found) == count)


async def test_a_rate_is_kept_to(shop):
    made = await shop.submit(await shop.buyers(60), rate_per_second=20)
    began = time.monotonic()
    counts = await shop.until(made.id, "done")
    assert counts.sent == 60
    assert time.monotonic() - began > 2.2  # 60 at 20 a second, half a second of them at once


# --- one buyer in two places ----------------------------------------------------------------------------------------------


async def test_two_of_the_audience_who_turn_out_to_be_one_hear_of_it_once(shop):
    """A link passes it on to the survivor, who has had it."""
    store = shop.gw.gateway.store
    older, younger = await shop.buyers(2)
    older.created_at -= 1000
    await keep(store, [older, younger])
    await shop.gw.gateway.store.append([dump_entry(claim_of(older, younger, shop.gw.gateway.clock.now()))])
    await wait_for_async(lambda: store.record(younger.home), lambda record: isinstance(record, Link))
    await shop.gw.idle(10)
    made = await shop.submit([older, younger])
    counts = await shop.until(made.id, "done")
    assert (counts.planned, counts.sent, counts.skipped_by_reason) == (2, 1, {"already_sent": 1})
    assert len(shop.gw.graph.sent) == 1


async def test_what_waits_for_its_hour_survives_a_merge_and_is_counted_once(shop_of):
    async with shop_of(marketing_hours="09:00-20:30") as shop:
        store, clock = shop.gw.gateway.store, shop.gw.gateway.clock
        night = opening(clock, shop.gw.gateway.settings.zone) + 13 * HOUR
        clock.set_offset(night - clock.real())
        older, younger, third, fourth = await shop.buyers(4)
        for n, buyer in enumerate((older, younger, third, fourth)):
            buyer.created_at -= 1000 * (10 - n)
            buyer.addresses[0].windows["message"].closes_at = night + 3 * 24 * HOUR
        await keep(store, [older, younger, third, fourth])
        made = await shop.submit([younger, third, fourth])  # not the older one, who will survive
        held = [b.home for b in (younger, third, fourth)]
        await wait_for_async(
            lambda: store.records(held), lambda found: all(record.waiting for record in found.values())
        )
        for loser in (younger, third):
            await store.append([dump_entry(claim_of(older, loser, clock.now()))])
            await wait_for_async(lambda loser=loser: store.record(loser.home), lambda record: isinstance(record, Link))
        counts = await shop.look(made.id)
        assert (counts.planned, counts.pending) == (3, 3)
        clock.set_offset(night + 12 * HOUR - clock.real())
        counts = await shop.until(made.id, "done")
        assert (counts.sent, counts.skipped_by_reason) == (2, {"already_sent": 1})
        assert len(shop.gw.graph.sent) == 2


async def test_what_waits_after_a_merge_is_cancelled_or_erased_with_the_rest(shop_of):
    async with shop_of(marketing_hours="09:00-20:30") as shop:
        store, clock = shop.gw.gateway.store, shop.gw.gateway.clock
        night = opening(clock, shop.gw.gateway.settings.zone) + 13 * HOUR
        clock.set_offset(night - clock.real())
        older, younger, other, otherer, alone = await shop.buyers(5)
        for buyer in (older, younger, other, otherer, alone):
            buyer.addresses[0].windows["message"].closes_at = night + 3 * 24 * HOUR
        older.created_at, other.created_at = 1000, 1000
        await keep(store, [older, younger, other, otherer, alone])
        made = await shop.submit([younger, otherer, alone])
        held = [b.home for b in (younger, otherer, alone)]
        await wait_for_async(lambda: store.records(held), lambda found: all(r.waiting for r in found.values()))
        for survivor, loser in ((older, younger), (other, otherer)):
            await store.append([dump_entry(claim_of(survivor, loser, clock.now()))])
            await wait_for_async(lambda loser=loser: store.record(loser.home), lambda r: isinstance(r, Link))
            await wait_for_async(lambda s=survivor: store.record(s.home), lambda r: r.waiting)
        erase = StaffAsked("erase", "test")
        for gone in (other, alone):
            await shop.gw.gateway.erasure.begin(await store.record(gone.home))
            await store.append([dump_entry(Event("", gone.home, "", clock.now(), clock.now(), erase))])
        await wait_for_async(
            lambda: shop.look(made.id), lambda counts: counts.skipped_by_reason.get("erased") == 2, seconds=30
        )
        await shop.broadcasts.cancel(made.id, "lin")
        counts = await shop.until(made.id, "cancelled")
        assert (counts.planned, counts.skipped_by_reason) == (3, {"erased": 2, "cancelled": 1})
        assert shop.gw.graph.sent == []


def claim_of(survivor, loser, now: int) -> Event:
    """The older record says that the younger one's home is its own: a merge."""
    body = IdentityClaimed(survivor.home, survivor.id, survivor.created_at, loser.home)
    return Event("", loser.home, "", now, now, body)


# --- safeguards -----------------------------------------------------------------------------------------------------------


async def test_an_audience_that_grew_above_what_needs_no_approval_waits_for_staff(shop):
    shop.broadcasts.rules = replace(shop.broadcasts.rules, approve_above=10)
    buyers = await shop.buyers(12)
    made = await shop.submit(buyers, recipients=10)  # what the preview showed
    counts = await shop.until(made.id, "paused")
    assert "grown to 12" in (await shop.broadcasts.get(made.id)).why
    assert (counts.planned, counts.sent) == (12, 0)
    await shop.broadcasts.resume(made.id, "wang")
    assert (await shop.until(made.id, "done")).sent == 12


async def test_a_turn_that_breaks_is_counted_as_failed_and_pending_again_when_replayed(shop, monkeypatch):
    """A record that cannot be read: its entry is buried, the broadcast ends; mended and replayed, it is sent."""
    monkeypatch.setattr(worker, "BACK_OFF_S", (0.05, 0.05))
    store = shop.gw.gateway.store
    good, damaged = await shop.buyers(2)
    name = keys.record(store.partition(damaged.home), damaged.home)
    body = await store.command("GET", name)
    await store.command("SET", name, b"\xff damaged")
    made = await shop.submit([good, damaged])
    counts = await shop.until(made.id, "done")
    assert (counts.sent, counts.failed, counts.failed_by_reason) == (1, 1, {"bug": 1})
    await store.command("SET", name, body)
    p = store.partition(damaged.home)
    [(entry, _)] = await store.command("XRANGE", keys.dead(p), "-", "+")
    await replay(store, f"{p}/{entry.decode()}")
    counts = await wait_for_async(lambda: shop.look(made.id), lambda counts: counts.pending == 0)
    await shop.gw.idle(20)
    assert ((await shop.look(made.id)).sent, (await shop.look(made.id)).failed) == (2, 0)


async def test_planning_waits_for_memory_before_buyers_are_turned_away(shop):
    gateway = shop.gw.gateway
    gateway.watch_memory({"maxmemory": 100, "used_memory": 66})
    assert gateway.planner.short_of_memory
    assert not gateway.door.is_shut_for("memory")
    used = int((await gateway.store.command("INFO", "memory"))["used_memory"])
    await gateway.store.command("CONFIG", "SET", "maxmemory", int(used / 0.85))
    try:
        await wait_for(lambda: gateway.door.is_shut_for("memory"))  # it was looked at since
        made = await shop.submit(await shop.buyers(20))
        await wait_for(lambda: gateway.planner.held_up)
        assert shop.gw.graph.sent == []
        assert (await shop.look(made.id)).pending == 20
    finally:
        await gateway.store.command("CONFIG", "SET", "maxmemory", 0)
    assert (await shop.until(made.id, "done")).sent == 20
