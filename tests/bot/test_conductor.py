"""The conductor by hand, on a real store: it ends, stops and repeats broadcasts by what the partitions' counters say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from bot import conductor, keys
from bot.broadcast_life import Rules
from bot.broadcasting import HOME, Broadcasts
from bot.broadcasts import Broadcast, Repeat
from bot.clock import SystemClock
from bot.conductor import LEAST, SHARE, Conductor
from bot.errors import LedgerError, NotYetError, RequestError
from bot.store import Store
from tests.bot.test_store import owned

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = 86_400_000


class Audience:
    """Whom it is for: a size, or what is wrong."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = [2]
        self.asked = 0
        self.forgotten: list[str] = []

    async def freeze(self, broadcast: Broadcast, positions: Mapping[int, str]) -> int:
        del broadcast
        assert len(positions) == 64
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def forget(self, broadcast: str) -> None:
        self.forgotten.append(broadcast)


class Desk:
    """One process: its store, its view of broadcasts, its conductor."""

    def __init__(self, store: Store, rules: Rules, audience: Audience | None = None) -> None:
        self.store, self.clock, self.audience = store, SystemClock(), audience or Audience()
        self.broadcasts = Broadcasts(store, self.clock, rules)
        self.conductor = Conductor(
            store=store,
            broadcasts=self.broadcasts,
            audiences=self.audience,  # type: ignore[arg-type]
            clock=self.clock,
            hints=set(),
            wake_sender=asyncio.Event(),
        )

    async def submit(self, recipients: int = 2, **fields: Any) -> str:
        wanted = {
            "title": "会员日",
            "purpose": "marketing",
            "accounts": ("sms-main",),
            "text": {"zh-CN": "好"},
            **fields,
        }
        made = await self.broadcasts.create(Broadcast(id="", created_at=0, created_by="lin", **wanted))
        return (await self.broadcasts.submit(made.id, "lin", recipients=recipients)).id

    async def advance(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            await self.conductor.advance()
            if running := list(self.conductor._freezing.values()):
                await asyncio.wait(running)

    async def sending(self, **fields: Any) -> str:
        """One whose audience of two is frozen and planned everywhere, and whose messages wait."""
        id = await self.submit(**fields)
        await self.advance(3)
        assert (await self.broadcasts.get(id)).frozen == 2
        wanted = [("HSET", keys.broadcast(p, id), "end", "1") for p in range(64)]
        await self.store.together(wanted)
        await self.counted(id, planned=2, open=2)
        return id

    async def counted(self, id: str, **counters: int) -> None:
        """What one partition counts; the rest of what was planned is open."""
        pairs = [part for pair in counters.items() for part in pair]
        await self.store.command("HSET", keys.broadcast(3, id), *pairs)

    async def state(self, id: str) -> tuple[str, str]:
        found = await self.broadcasts.get(id)
        return found.state, found.why


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch):
    """It looks at each broadcast once a second: here each time that it is asked."""
    monkeypatch.setattr(conductor, "LOOK_S", 0.0)


@pytest.fixture
async def desk(redis_client) -> Desk:
    return Desk(await owned(redis_client), Rules(SHANGHAI))


# --- begin ------------------------------------------------------------------------------------------------------------


async def test_who_has_the_first_partition_conducts(redis_client, desk):
    """Others keep their view fresh and do nothing."""
    id = await desk.submit()
    fence = desk.store.fences.pop(HOME)
    await desk.advance(3)
    assert (await desk.state(id))[0] == "scheduled"
    desk.store.fences[HOME] = fence
    await desk.advance(3)
    assert ((await desk.state(id))[0], (await desk.broadcasts.get(id)).frozen) == ("sending", 2)


async def test_an_audience_that_cannot_be_had_yet_is_asked_for_again(desk):
    """The ledger is behind, or away: it begins when it can."""
    desk.audience.answers = [NotYetError("behind"), LedgerError("away"), 2]
    id = await desk.submit()
    await desk.advance(6)
    assert (desk.audience.asked, (await desk.broadcasts.get(id)).frozen) == (3, 2)


async def test_conditions_that_no_longer_hold_stop_it_and_tell_staff(desk):
    """Its segment was thrown away since."""
    desk.audience.answers = [RequestError("there is no segment with this id")]
    id = await desk.submit()
    await desk.advance(3)
    state, why = await desk.state(id)
    assert (state, "no segment" in why, desk.audience.asked) == ("paused", True, 1)
    assert await desk.store.command("HLEN", keys.tasks(HOME)) == 1


@pytest.mark.parametrize(("size", "state"), [(10, "sending"), (11, "paused")])
async def test_an_audience_above_what_needs_no_approval_waits_for_staff(redis_client, size, state):
    """It was ten when it was submitted."""
    desk = Desk(await owned(redis_client), Rules(SHANGHAI, approve_above=10))
    desk.audience.answers = [size]
    id = await desk.submit(recipients=10)
    await desk.advance(3)
    assert (await desk.state(id))[0] == state
    assert (await desk.broadcasts.get(id)).frozen == size
    # Where it stands still, nothing is handed to a sender anywhere.
    told = await desk.store.command("HGET", keys.broadcast(3, id), "st")
    assert told == (b"paused" if state == "paused" else None)


# --- end --------------------------------------------------------------------------------------------------------------


async def test_it_is_done_when_nothing_is_pending(desk):
    """And its audience is thrown away."""
    id = await desk.sending()
    await desk.advance()
    assert (await desk.state(id))[0] == "sending"
    await desk.counted(id, open=1, sent=1)
    await desk.advance()
    assert (await desk.state(id))[0] == "sending"
    await desk.counted(id, open=0, sent=1, in_doubt=1)
    await desk.store.command("HDEL", keys.broadcast(9, id), "end")  # one partition has yet to look at its part
    await desk.advance()
    assert (await desk.state(id))[0] == "sending"
    await desk.store.command("HSET", keys.broadcast(9, id), "end", "1")
    await desk.advance()
    assert ((await desk.state(id))[0], desk.audience.forgotten) == ("done", [id])


async def test_a_service_notice_in_doubt_may_still_go_once_more(desk, monkeypatch):
    """So it is not done before that is over; a doubt that comes meanwhile counts from its own time."""
    monkeypatch.setattr(conductor, "DOUBT_S", 3600.0)
    id = await desk.sending(purpose="service")
    await desk.counted(id, open=0, sent=1, in_doubt=1)
    await desk.advance(2)
    assert (await desk.state(id))[0] == "sending"
    monkeypatch.setattr(conductor, "DOUBT_S", -1.0)
    await desk.advance()
    assert (await desk.state(id))[0] == "done"


async def test_what_was_cancelled_is_over_when_all_is_accounted_for(desk):
    """Until then every process goes on clearing it away."""
    id = await desk.sending()
    await desk.broadcasts.cancel(id, "lin")
    await desk.advance(2)
    assert (await desk.broadcasts.get(id)).done_at == 0
    await desk.counted(id, open=0, skipped=2)
    await desk.advance()
    assert (await desk.broadcasts.get(id)).done_at > 0
    assert desk.audience.forgotten == [id]
    await desk.advance()
    assert desk.broadcasts.live == {}


# --- stop by itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "failed", "stops"),
    [
        (LEAST - 1, LEAST - 1, False),  # too few to say anything
        (LEAST, int(SHARE * LEAST), False),  # a fifth is not more than a fifth
        (LEAST, int(SHARE * LEAST) + 1, True),
        (10 * LEAST, 2 * LEAST, False),
    ],
)
async def test_many_failures_stop_it(desk, ended, failed, stops):
    """More than a fifth of the last fifty or more; staff get a task, and nothing more is claimed anywhere."""
    id = await desk.sending()
    await desk.counted(id, planned=20 * LEAST, open=20 * LEAST - ended, sent=ended - failed, failed=failed)
    await desk.advance()
    state, why = await desk.state(id)
    assert (state, why) == (("paused", f"{failed} of the last {ended} failed") if stops else ("sending", ""))
    assert await desk.store.command("HLEN", keys.tasks(HOME)) == stops
    assert (await desk.store.command("HGET", keys.broadcast(9, id), "st") == b"paused") is stops


async def test_failures_of_long_ago_do_not_hide_those_of_now(desk):
    """A thousand went well, then nothing does: the last fifty tell."""
    id = await desk.sending()
    for ended, failed in ((1000, 0), (1040, 40), (1049, 49)):
        await desk.counted(id, planned=5000, open=5000 - ended, sent=ended - failed, failed=failed)
        await desk.advance()
        assert (await desk.state(id))[0] == "sending"
    await desk.counted(id, open=5000 - 1060, sent=1000, failed=60)
    await desk.advance()
    assert (await desk.state(id)) == ("paused", "60 of the last 60 failed")


async def test_what_staff_have_seen_does_not_stop_it_again(desk):
    """They let it go on: only what fails from then on counts."""
    id = await desk.sending()
    await desk.counted(id, planned=500, open=440, failed=60)
    await desk.advance()
    assert (await desk.state(id))[0] == "paused"
    await desk.broadcasts.resume(id, "lin")
    await desk.advance()
    await desk.counted(id, open=391, failed=109)
    await desk.advance()
    assert (await desk.state(id))[0] == "sending"
    await desk.counted(id, open=390, failed=110)
    await desk.advance()
    assert (await desk.state(id)) == ("paused", "50 of the last 50 failed")


async def test_an_account_that_can_send_nothing_stops_it_at_once(desk):
    """Each time that it does, until staff let it go on, and not for what they have seen."""
    id = await desk.sending()
    await desk.counted(id, refused=1)
    await desk.advance()
    state, why = await desk.state(id)
    assert (state, "account" in why) == ("paused", True)
    await desk.broadcasts.resume(id, "lin")
    await desk.advance()
    assert (await desk.state(id))[0] == "sending"
    await desk.counted(id, refused=2)
    await desk.advance()
    assert (await desk.state(id))[0] == "paused"


# --- weekly -----------------------------------------------------------------------------------------------------------


async def test_a_round_of_a_cancelled_weekly_one_does_not_begin(desk):
    """It was made, and waits for its own beginning."""
    parent = await desk.submit(repeat=Repeat(weekday=1, minute=600))
    weekly = await desk.broadcasts.get(parent)
    due = conductor.life.round_of(weekly, desk.clock.now() + DAY)
    await desk.broadcasts.add(due, "engine")
    await desk.broadcasts.cancel(parent, "lin")
    desk.clock.set_offset(2 * DAY)
    await desk.advance(3)
    assert await desk.state(due.id) == ("cancelled", "its weekly broadcast was cancelled")
    assert desk.audience.asked == 0


async def test_two_conductors_make_a_round_once(redis_client, desk):
    """Whoever comes to it: its id follows from its time."""
    other = Desk(desk.store, Rules(SHANGHAI))
    parent = await desk.submit(repeat=Repeat(weekday=1, minute=600))
    for one in (desk, other):
        one.clock.set_offset((await desk.broadcasts.get(parent)).next_at - desk.clock.real() + 1000)
    await asyncio.gather(desk.advance(2), other.advance(2))
    rounds = [one for one in await desk.broadcasts.list() if one.parent == parent]
    assert (len(rounds), (await desk.broadcasts.get(parent)).round) == (1, 1)


# --- every process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paused", "cancelled", "sending"])
async def test_what_a_dead_process_could_not_tell_is_told_by_the_others(desk, state):
    """Staff's word was kept, and its process died before any partition knew."""
    id = await desk.sending()
    kept = await desk.broadcasts.get(id)
    pauses = 0 if state == "cancelled" else 1
    await desk.broadcasts.change(id, lambda one: structs.replace(one, state=state, pauses=pauses), "lin")
    assert await desk.store.command("HGET", keys.broadcast(40, id), "st") is None
    await desk.advance()
    told = await desk.store.command("HMGET", keys.broadcast(40, id), "st", "sv")
    assert told == [state.encode(), str(kept.version + 1).encode()]
