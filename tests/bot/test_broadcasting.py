"""Broadcasts on a real Valkey: their life, two staff at once, weekly rounds under clocks that jump."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bot import broadcast_life as life
from bot import keys
from bot.broadcast_life import Rules
from bot.broadcasting import Broadcasts
from bot.broadcasts import Broadcast, Repeat
from bot.clock import SystemClock
from bot.errors import ChangedError, StateError, UnknownBroadcastError
from bot.journal import BroadcastEntry
from bot.store import Store

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
NOW = 1_790_000_000_000
DAY = 86_400_000


def draft(**fields) -> Broadcast:
    wanted = {"title": "会员日", "purpose": "marketing", "accounts": ("sms-main",), "text": {"zh-CN": "好"}, **fields}
    return Broadcast(id="", created_at=NOW, created_by="lin", **wanted)


def service(client, **rules) -> Broadcasts:
    return Broadcasts(Store(client, 64, "one"), SystemClock(), Rules(SHANGHAI, **rules))


@pytest.fixture
async def broadcasts(redis_client) -> Broadcasts:
    return service(redis_client)


async def test_what_is_made_is_found_and_listed(broadcasts):
    one = await broadcasts.create(draft())
    two = await broadcasts.create(draft(title="上新"))
    assert (one.state, one.version) == ("draft", 1)
    assert await broadcasts.get(one.id) == one
    assert {b.id for b in await broadcasts.list()} == {one.id, two.id}
    with pytest.raises(UnknownBroadcastError):
        await broadcasts.get("bc_nothing")


async def test_of_two_who_submit_at_once_one_is_told_so(redis_client, valkey, broadcasts):
    made = await broadcasts.create(draft())
    asked = [broadcasts.submit(made.id, f"staff {n}", recipients=5) for n in range(6)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in found if isinstance(one, StateError)]
    [won] = [one for one in found if isinstance(one, Broadcast)]
    assert (len(refused), refused[0].status, won.state) == (5, 409, "scheduled")
    assert "scheduled" in refused[0].detail
    assert (await broadcasts.get(made.id)).submitted_by == won.submitted_by


async def test_who_saw_an_older_version_changes_nothing(broadcasts):
    made = await broadcasts.create(draft())
    changed = await broadcasts.update(structs.replace(made, title="双十一", state="done", approved_by="me"), "lin")
    assert (changed.title, changed.state, changed.approved_by, changed.version) == ("双十一", "draft", "", 2)
    with pytest.raises(ChangedError):
        await broadcasts.update(structs.replace(made, title="旧"), "wang")
    with pytest.raises(ChangedError):
        await broadcasts.submit(made.id, "wang", recipients=1, version=1)
    assert (await broadcasts.get(made.id)).title == "双十一"


async def test_above_the_limit_somebody_else_approves(redis_client):
    broadcasts = service(redis_client, approve_above=100, undo_ms=30_000)
    few = await broadcasts.create(draft())
    assert (await broadcasts.submit(few.id, "lin", recipients=100)).state == "scheduled"
    many = await broadcasts.create(draft())
    assert (await broadcasts.submit(many.id, "lin", recipients=101)).state == "awaiting_approval"
    with pytest.raises(StateError):
        await broadcasts.approve(many.id, "lin")
    approved = await broadcasts.approve(many.id, "wang")
    assert (approved.state, approved.approved_by) == ("scheduled", "wang")
    left = approved.undo_until - SystemClock().now()
    assert 25_000 < left <= 30_000
    assert not life.due(approved, approved.undo_until - 1)
    assert life.due(approved, approved.undo_until)
    back = await broadcasts.withdraw(many.id, "lin")
    assert (back.state, back.approved_by, back.submitted_by) == ("draft", "", "")
    await broadcasts.submit(many.id, "lin", recipients=101)
    assert (await broadcasts.approve(many.id, "lin", alone=True)).state == "scheduled"


async def test_who_did_what_and_when_stays_with_it(redis_client):
    """Every state that it came into, not every change; a weekly round begins its own; of very many the first and the newest."""
    broadcasts = service(redis_client, approve_above=100)
    made = await broadcasts.create(draft())
    await broadcasts.update(structs.replace(made, title="双十一"), "wang")
    asked = await broadcasts.submit(made.id, "lin", recipients=101)
    assert 0 <= asked.changed_at - asked.submitted_at < 10_000  # two looks at the clock
    assert asked.approved_at == 0
    await broadcasts.withdraw(made.id, "lin")
    assert (await broadcasts.get(made.id)).submitted_at == 0
    await broadcasts.submit(made.id, "lin", recipients=101)
    approved = await broadcasts.approve(made.id, "wang")
    assert approved.approved_by == "wang"
    assert 0 <= approved.changed_at - approved.approved_at < 10_000
    await broadcasts.pause(made.id, "wang", why="too many failed")
    ended = await broadcasts.cancel(made.id, "lin")
    assert [(one.state, one.by, one.why) for one in ended.stages] == [
        ("draft", "lin", ""), ("awaiting_approval", "lin", ""), ("draft", "lin", ""), ("awaiting_approval", "lin", ""),
        ("scheduled", "wang", ""), ("paused", "wang", "too many failed"), ("cancelled", "lin", "staff"),
    ]  # fmt: skip
    assert [one.at for one in ended.stages] == sorted(one.at for one in ended.stages)
    weekly = structs.replace(approved, repeat=Repeat(weekday=1, minute=600))
    assert life.round_of(weekly, NOW).stages == ()
    many = approved
    for n in range(150):
        many = structs.replace(many, state=("paused", "scheduled")[n % 2], changed_at=NOW + n)
        many.stages = life.passed(many)
    assert (len(many.stages), many.stages[0].state, many.stages[-1].at) == (100, "draft", NOW + 149)


async def test_only_what_its_state_allows(broadcasts):
    made = await broadcasts.create(draft())
    for asked in (
        broadcasts.pause(made.id, "lin"),
        broadcasts.resume(made.id, "lin"),
        broadcasts.approve(made.id, "w"),
    ):
        with pytest.raises(StateError):
            await asked
    await broadcasts.submit(made.id, "lin", recipients=1)
    with pytest.raises(StateError):
        await broadcasts.update(await broadcasts.get(made.id), "lin")
    assert (await broadcasts.pause(made.id, "lin")).state == "paused"
    assert (await broadcasts.resume(made.id, "lin")).state == "scheduled"
    ended = await broadcasts.cancel(made.id, "lin")
    assert (ended.state, ended.why, ended.done_at > 0) == ("cancelled", "staff", True)
    with pytest.raises(StateError):
        await broadcasts.cancel(made.id, "lin")


async def test_each_change_is_in_the_journal_with_who_made_it(redis_client, broadcasts):
    made = await broadcasts.create(draft())
    await broadcasts.submit(made.id, "wang", recipients=1)
    rows = await redis_client.xrange(keys.journal(0))
    told = [msgspec.msgpack.decode(row[b"b"], type=BroadcastEntry) for _, row in rows if row[b"k"] == b"broadcast"]
    assert [(one.id, one.state, one.version, one.by) for one in told] == [
        (made.id, "draft", 1, "lin"),
        (made.id, "scheduled", 2, "wang"),
    ]
    assert msgspec.msgpack.decode(told[1].body, type=Broadcast) == await broadcasts.get(made.id)


async def test_every_process_learns_what_is_live(redis_client, broadcasts):
    other = service(redis_client)
    made = await broadcasts.create(draft())
    await other.refresh()
    assert other.live == {}
    await broadcasts.submit(made.id, "lin", recipients=1)
    await other.refresh()
    assert other.live[made.id].state == "scheduled"
    await broadcasts.pause(made.id, "lin")
    await other.refresh()
    assert other.live[made.id].state == "paused"
    await broadcasts.cancel(made.id, "lin")
    await other.refresh()
    assert other.live == {}


async def test_a_partition_heeds_the_newest_word_only(redis_client, broadcasts):
    """Of two processes that tell it, the one that was overtaken changes nothing."""
    made = await broadcasts.create(draft())
    await broadcasts.submit(made.id, "lin", recipients=1)
    paused = await broadcasts.pause(made.id, "lin")
    await broadcasts.resume(made.id, "lin")
    await broadcasts.tell(paused)
    assert await redis_client.hget(keys.broadcast(17, made.id), "st") == b"scheduled"


# --- weekly -----------------------------------------------------------------------------------------------------------


def at(zone: ZoneInfo, *when: int) -> int:
    return int(datetime(*when, tzinfo=zone).timestamp() * 1000)


def weekly(repeat: Repeat, now: int, zone: ZoneInfo) -> Broadcast:
    return life.submit(draft(repeat=repeat), "lin", now, Rules(zone), recipients=1)


def test_rounds_keep_to_the_wall_clock_when_the_clocks_change():
    """2026-10-25 Berlin's clocks go back: the round before is at 10:00 as is the one after, 7 days and an hour later."""
    it = weekly(Repeat(weekday=6, minute=600), at(BERLIN, 2026, 10, 17, 12, 0), BERLIN)
    assert it.next_at == at(BERLIN, 2026, 10, 18, 10, 0)
    made, missed, following = life.rounds(it, it.next_at + 5, BERLIN)
    assert (made, missed, following) == (it.next_at, 0, at(BERLIN, 2026, 10, 25, 10, 0))
    assert following - made == 7 * DAY + 3_600_000


def test_a_time_that_the_clocks_skip_comes_after_the_gap_and_one_that_comes_twice_comes_once():
    spring = weekly(
        Repeat(weekday=6, minute=150), at(BERLIN, 2026, 3, 23, 0, 0), BERLIN
    )  # 02:30 on the 29th does not exist
    assert spring.next_at == at(BERLIN, 2026, 3, 29, 3, 30)
    assert life.rounds(spring, spring.next_at, BERLIN)[2] == at(BERLIN, 2026, 4, 5, 2, 30)
    autumn = weekly(Repeat(weekday=6, minute=150), at(BERLIN, 2026, 10, 20, 0, 0), BERLIN)  # 02:30 on the 25th is twice
    assert autumn.next_at == at(BERLIN, 2026, 10, 25, 2, 30)
    assert life.rounds(autumn, autumn.next_at, BERLIN)[2] == at(BERLIN, 2026, 11, 1, 2, 30)


def test_rounds_that_were_missed_are_counted_and_not_made_up():
    it = weekly(Repeat(weekday=1, minute=600), at(SHANGHAI, 2026, 10, 5, 0, 0), SHANGHAI)
    late = it.next_at + 21 * DAY + life.LATE_MS
    made, missed, following = life.rounds(it, late, SHANGHAI)
    assert (made, missed, following) == (it.next_at + 21 * DAY, 3, it.next_at + 28 * DAY)
    assert life.rounds(it, late + 1, SHANGHAI) == (0, 4, it.next_at + 28 * DAY)


def test_the_last_round_is_the_last():
    first = at(SHANGHAI, 2026, 10, 6, 10, 0)
    it = weekly(Repeat(weekday=1, minute=600, until=first + 8 * DAY), first - DAY, SHANGHAI)
    assert life.rounds(it, first, SHANGHAI)[2] == first + 7 * DAY
    it.next_at = first + 7 * DAY
    assert life.rounds(it, first + 7 * DAY, SHANGHAI) == (first + 7 * DAY, 0, 0)


@given(
    zone=st.sampled_from([SHANGHAI, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
    weekday=st.integers(0, 6),
    minute=st.integers(0, 1439),
    jumps=st.lists(st.integers(0, 40 * DAY) | st.integers(0, 3_600_000), max_size=25),
)
def test_no_round_comes_twice_however_the_clock_jumps(zone, weekday, minute, jumps):
    """Every round of the time that passed was made or counted as missed, once."""
    now = at(zone, 2026, 3, 1, 12, 0)
    it = weekly(Repeat(weekday=weekday, minute=minute), now, zone)
    seen: list[int] = []
    passed = 0
    for jump in jumps:
        now += jump
        made, missed, following = life.rounds(it, now, zone)
        passed += missed + bool(made)
        if made:
            seen.append(made)
        assert following > now
        it.next_at = following
    assert seen == sorted(set(seen))
    for one in seen:
        here = datetime.fromtimestamp(one / 1000, zone)
        assert here.weekday() == weekday
    weeks, count, when = it.repeat, 0, life.occurrence(it.repeat, at(zone, 2026, 3, 1, 12, 0), zone)
    while when <= now:
        count, when = count + 1, life.occurrence(weeks, when + 1, zone)
    assert count == passed


# --- audiences that grow ----------------------------------------------------------------------------------------------


def test_an_audience_that_grew_needs_somebody_s_word_again():
    """Above the limit without an approval; over twice what was approved; never a round of a weekly one that was approved."""
    rules = Rules(SHANGHAI, approve_above=500)
    free = draft(recipients=400)
    assert not life.outgrown(free, 500, rules)
    assert "grown to 501" in life.outgrown(free, 501, rules)
    assert not life.outgrown(free, 10**6, Rules(SHANGHAI))
    approved = structs.replace(free, recipients=600, approved_by="wang")
    assert not life.outgrown(approved, 1200, rules)
    assert "from the 600" in life.outgrown(approved, 1201, rules)
    assert not life.outgrown(structs.replace(approved, parent="bc_1"), 10**6, rules)


def test_whoever_lets_it_go_on_is_not_who_submitted_it():
    rules = Rules(SHANGHAI, approve_above=500)
    held = structs.replace(
        draft(recipients=400), state="paused", submitted_by="lin", started_at=NOW, frozen=900, why="grown"
    )
    with pytest.raises(StateError):
        life.resume(held, "lin", NOW, rules, looked_at=(0, 0, 0))
    for by, alone in (("wang", False), ("lin", True)):
        going = life.resume(held, by, NOW, rules, looked_at=(0, 0, 0), alone=alone)
        assert (going.state, going.approved_by, going.recipients) == ("sending", by, 900)
        assert not life.outgrown(going, 900, rules)
    within = life.resume(structs.replace(held, frozen=450), "lin", NOW, rules, looked_at=(0, 0, 0))
    assert (within.state, within.approved_by) == ("sending", "")
