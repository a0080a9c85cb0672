"""The sender's table of purposes, outcome by outcome: real store, leases and line; the provider's answers are in a list."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot import ids, keys, subjects
from bot.accounts import Line
from bot.change import Change, QueuedMessage, StatusChange
from bot.clock import DAY_MS, HOUR_MS, SystemClock
from bot.codec import dump_message, dump_record
from bot.errors import (
    AccountError,
    ConnectError,
    InDoubtError,
    ProviderDownError,
    RejectedError,
    SendError,
    TemporaryError,
    ThrottledError,
)
from bot.http import begin_by
from bot.leases import Leases
from bot.messages import OutboundMessage, Purpose, Receipt, Text, lane_of
from bot.ports import Capabilities
from bot.records import Address, Buyer, Consent
from bot.sender import REPLY_DOUBT_MS, SERVICE_DOUBT_MS, Sender
from bot.spend import Spend
from bot.store import Store

HOME, ACCOUNT = "address:chat:p1", "chat"
P = subjects.partition_of(HOME, 64)
PURPOSES: tuple[Purpose, ...] = ("reply", "code", "service", "marketing")
LATE = DAY_MS


class Provider:
    """Answers what stands in `answers`, then accepts."""

    capabilities = Capabilities(frozenset({"text"}), 0, watermarks=True)

    def __init__(self) -> None:
        self.answers: list[Exception] = []
        self.called: list[str] = []
        self.limits: list[float] = []
        self.pause: asyncio.Event | None = None

    async def send(self, message: OutboundMessage) -> Receipt:
        self.called.append(message.id)
        self.limits.append(begin_by.get())
        if self.pause is not None:
            await self.pause.wait()
        if self.answers:
            raise self.answers.pop(0)
        return Receipt(f"p_{message.id}")


class Desk:
    """One process's sender, moved by hand."""

    def __init__(self, client: Any) -> None:
        self.clock, self.provider = SystemClock(), Provider()
        self.store = Store(client, 64, "one")
        self.leases = Leases(self.store, self.clock, ttl_s=60)
        self.hints: set[tuple[int, str, str]] = set()
        self.planned: list[QueuedMessage] = []
        self.line = Line(self.provider, self.clock, per_second=10_000)  # type: ignore[arg-type]
        self.sender = Sender(
            store=self.store,
            lines={ACCOUNT: self.line},
            leases=self.leases,
            clock=self.clock,
            wake=asyncio.Event(),
            hints=self.hints,
            spend=Spend(self.store, {}, ZoneInfo("Asia/Shanghai")),
            broadcasts={},
        )

    async def plan(self, purpose: Purpose, *, claim_at: int = 0, **fields: Any) -> str:
        """A message that waits for its turn, or that its commit claims."""
        now = self.clock.now()
        made = OutboundMessage(
            **{
                "id": ids.new("m", P), "buyer": "b_1", "home": HOME, "account": ACCOUNT, "to": "p1", "purpose": purpose,
                "content": Text("x"), "created_at": now, **fields,
            }
        )  # fmt: skip
        lane = lane_of(purpose)
        row = QueuedMessage(made.id, ACCOUNT, "p1", lane, "queued", "", now, purpose, dump_message(made))
        row.claim_at = claim_at
        self.planned.append(row)
        await self.store.commit([Change(P, made.home, messages=[row])], now=now)
        self.hints.add((P, ACCOUNT, lane))
        return made.id

    async def turn(self) -> None:
        """Claims what is ready, calls, writes the outcomes."""
        self.line._shut_until = 0  # a pause of the line is another's test
        await self.sender._pull()
        while self.sender._tasks:
            await asyncio.wait(self.sender._tasks)
        await self.sender._write_outcomes()

    async def again(self, ms: int) -> None:
        """What waits for another attempt within so long goes now."""
        real = self.clock.real()
        _, hints, _ = await self.store.pump(now=self.clock.now(), real=real + ms, left_behind=0)
        self.hints.update(hints)
        await self.turn()

    async def row(self, id: str) -> tuple[str, str]:
        state, reason = await self.store.command("HMGET", keys.message(P, id), "s", "r")
        return state.decode(), reason.decode()

    async def waits(self) -> dict[str, int]:
        """Until when (real time) what is held back: "M" a message, "A" its address."""
        found = await self.store.command("ZRANGE", keys.later(P), 0, -1, "WITHSCORES")
        rows: Mapping[bytes, float] = found if isinstance(found, dict) else dict(_pairs(found))
        return {name.decode()[0]: int(at) for name, at in rows.items()}


def _pairs(found: list[Any]) -> list[tuple[bytes, float]]:
    if found and isinstance(found[0], list | tuple):
        return [(name, float(at)) for name, at in found]
    return [(name, float(at)) for name, at in zip(found[::2], found[1::2], strict=True)]


@pytest.fixture
async def desk(redis_client) -> Desk:
    made = Desk(redis_client)
    await made.leases.renew()
    return made


async def outcome(
    desk: Desk, purpose: Purpose, *errors: Exception, **fields: Any
) -> tuple[str, dict[str, tuple[int, int]]]:
    """The state after one attempt, and between how many ms from now what is held back goes on."""
    id = await desk.plan(purpose, **fields)
    desk.provider.answers = list(errors)
    before = desk.clock.real()
    await desk.turn()
    after = desk.clock.real()
    waits = await desk.waits()
    return (await desk.row(id))[0], {name: (at - after, at - before) for name, at in waits.items()}


def about(span: tuple[int, int], low: float, high: float) -> bool:
    """Whether a time that was taken within `span` of now can be between `low` and `high` later."""
    return span[0] <= high and span[1] >= low


# --- in doubt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["reply", "code"])
async def test_an_answer_in_doubt_goes_once_more_and_holds_its_address(desk, purpose):
    """What follows it must not overtake it."""
    state, waits = await outcome(desk, purpose, InDoubtError("no answer"))
    assert state == "in_doubt"
    assert about(waits["M"], REPLY_DOUBT_MS, REPLY_DOUBT_MS)
    assert about(waits["A"], REPLY_DOUBT_MS, REPLY_DOUBT_MS)


async def test_a_notice_in_doubt_waits_a_minute_for_word_of_it(desk):
    """Its address is free meanwhile."""
    state, waits = await outcome(desk, "service", InDoubtError("no answer"))
    assert (state, set(waits)) == ("in_doubt", {"M"})
    assert about(waits["M"], SERVICE_DOUBT_MS, SERVICE_DOUBT_MS)


async def test_a_notice_that_would_be_too_late_does_not_go_again(desk):
    """In a minute its time is over."""
    now = desk.clock.now()
    assert await outcome(desk, "service", InDoubtError("x"), not_after=now + SERVICE_DOUBT_MS - 1) == ("in_doubt", {})
    assert (await outcome(desk, "service", InDoubtError("x"), not_after=now + 2 * SERVICE_DOUBT_MS))[1]


@pytest.mark.parametrize("error", [InDoubtError("no answer"), RuntimeError("an adapter's bug")])
async def test_marketing_in_doubt_never_goes_again(desk, error):
    """Whatever becomes of it."""
    id = await desk.plan("marketing", home="")
    desk.provider.answers = [error]
    desk.sender._last_check = _unchecked  # type: ignore[method-assign]  # who agreed is another test's
    await desk.turn()
    assert ((await desk.row(id))[0], await desk.waits()) == ("in_doubt", {})
    await desk.again(LATE)
    assert desk.provider.called == [id]


async def _unchecked(jobs: Any) -> None:
    del jobs


@pytest.mark.parametrize("purpose", ["reply", "code", "service"])
@pytest.mark.parametrize("second", [InDoubtError("again"), RejectedError("no"), RuntimeError("bug")])
async def test_twice_is_enough_and_the_doubt_stays(desk, purpose, second):
    """The second attempt is the last; that it was refused does not undo the first."""
    id = await desk.plan(purpose)
    desk.provider.answers = [InDoubtError("no answer"), second]
    await desk.turn()
    await desk.again(LATE)
    assert desk.provider.called == [id, id]
    assert (await desk.row(id))[0] == "in_doubt"
    assert "M" not in await desk.waits()
    await desk.again(LATE)
    assert desk.provider.called == [id, id]


async def test_a_doubt_that_must_not_go_any_more_stays_one(desk):
    """Its reason went between the two attempts: it is not "skipped"."""
    id = await desk.plan("service", not_after=desk.clock.now() + HOUR_MS)
    desk.provider.answers = [InDoubtError("no answer")]
    await desk.turn()
    desk.clock.set_offset(2 * HOUR_MS)
    await desk.again(LATE)
    assert (desk.provider.called, (await desk.row(id))[0]) == ([id], "in_doubt")


# --- tried again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["reply", "code"])
async def test_an_answer_has_three_tries(desk, purpose):
    """After a second, after five; then it is too old to be one."""
    id = await desk.plan(purpose)
    desk.provider.answers = [ConnectError("away")] * 3
    for delay in (1000, 5000):
        before = desk.clock.real()
        await desk.turn()
        waits = await desk.waits()
        assert (await desk.row(id))[0] == "queued"
        assert before + delay <= waits["A"] <= desk.clock.real() + delay
        _, hints, _ = await desk.store.pump(now=desk.clock.now(), real=desk.clock.real() + delay, left_behind=0)
        desk.hints.update(hints)
    await desk.turn()
    assert (await desk.row(id), await desk.waits()) == (("failed", "no_connection"), {})
    assert len(desk.provider.called) == 3


async def test_a_notice_is_tried_for_a_day_or_until_its_time(desk):
    """With ever longer pauses, and not once more where the next would come too late."""
    now = desk.clock.now()
    state, waits = await outcome(desk, "service", ProviderDownError("500"))
    assert state == "queued"
    assert about(waits["M"], 1500, 2500)
    assert (await outcome(desk, "service", ProviderDownError("500"), created_at=now - DAY_MS))[0] == "failed"
    assert (await outcome(desk, "service", ProviderDownError("500"), not_after=now + 1000))[0] == "failed"
    assert (await outcome(desk, "service", ProviderDownError("500"), not_after=now + HOUR_MS))[0] == "queued"


async def test_an_error_may_allow_fewer_tries(desk):
    """As the adapter knows its provider."""
    error = TemporaryError("once more at most", most_tries=2)
    id = await desk.plan("service")
    desk.provider.answers = [error, error]
    await desk.turn()
    assert (await desk.row(id))[0] == "queued"
    await desk.again(LATE)
    assert (await desk.row(id))[0] == "failed"


async def test_a_pause_that_the_provider_asks_for_costs_no_attempt(desk):
    """Four times throttled, and it still has its three tries; the line waits as long."""
    id = await desk.plan("reply")
    desk.provider.answers = [*[ThrottledError("slow down", retry_after_s=7)] * 4, *[ConnectError("away")] * 2]
    for number in range(6):
        before = desk.clock.real()
        await desk.again(LATE)
        assert (await desk.row(id))[0] == "queued"
        if number < 4:
            assert 6 < desk.line.wait_s() <= 7
            assert before + 7000 <= (await desk.waits())["A"] <= desk.clock.real() + 7000
    await desk.again(LATE)
    assert (await desk.row(id))[0] == "sent"


async def test_a_limit_of_one_number_holds_up_no_other(desk):
    """The provider says whose limit it is: the line goes on."""
    state, waits = await outcome(desk, "service", ThrottledError("slow down", retry_after_s=7, whole_line=False))
    assert (state, set(waits), desk.line.wait_s()) == ("queued", {"M"}, 0)


@pytest.mark.parametrize(
    ("purpose", "state"), [("reply", "failed"), ("code", "failed"), ("service", "queued"), ("marketing", "queued")]
)
async def test_what_can_wait_waits_until_staff_have_mended_the_account(desk, purpose, state):
    """A dead token: an answer is over, a notice goes when there is a new one."""
    desk.sender._last_check = _unchecked  # type: ignore[method-assign]
    found, waits = await outcome(desk, purpose, AccountError("token"))
    assert found == state
    assert not waits or about(waits["M"], 61_500, 62_500)
    assert 50 < desk.line.wait_s() <= 60


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_what_is_refused_for_good_has_failed(desk, purpose):
    """No purpose changes that."""
    desk.sender._last_check = _unchecked  # type: ignore[method-assign]
    assert await outcome(desk, purpose, RejectedError("no")) == ("failed", {})
    assert await outcome(desk, purpose, SendError("what is this")) == ("failed", {})


# --- before the call --------------------------------------------------------------------------------------------------


async def test_nothing_is_called_while_the_lease_is_not_sure(desk):
    """Somebody else may own the partition by now: the claim is given back as if it had not been."""
    wanted = {(ACCOUNT, "hi"): 1}
    assert await desk.sender.reserve(wanted) == wanted
    desk.sender.unused(ACCOUNT, 1)
    desk.leases._sure_until = 0
    assert await desk.sender.reserve(wanted) == {}
    id = await desk.plan("reply")
    assert await desk.sender.reserve(wanted) == {}
    await desk.turn()
    assert (desk.provider.called, await desk.row(id)) == ([], ("queued", "throttled"))
    await desk.leases.renew()
    await desk.again(LATE)
    assert (desk.provider.called, (await desk.row(id))[0]) == ([id], "sent")
    assert desk.line.in_flight == 0
    assert await desk.sender.reserve(wanted) == wanted
    desk.sender.unused(ACCOUNT, 1)
    desk.sender.stopping = True
    assert await desk.sender.reserve(wanted) == {}


class Pausable(SystemClock):
    """A clock that a test lets run ahead: what a process finds that was stopped, or starved of CPU, for so long."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@pytest.mark.parametrize(("stood_s", "calls"), [(40, 1), (50, 0)])  # a lease holds for certain for 48 of its 60 s
@pytest.mark.parametrize("claimed_by", ["pull", "commit"])
async def test_a_claim_that_was_slept_over_is_not_sent(redis_client, claimed_by, stood_s, calls):
    """The process stood still after its claim; awake, its lease is sure again. Another may have sent the message since."""
    desk = Desk(redis_client)
    clock = desk.clock = desk.leases._clock = desk.sender._clock = Pausable()
    await desk.leases.renew()

    async def stands_still(jobs: Any) -> None:
        del jobs
        clock.ahead_s = stood_s
        await desk.leases.renew()
        assert desk.leases.sure_of(P)

    desk.sender._last_check = stands_still  # type: ignore[method-assign]
    if claimed_by == "pull":
        id = await desk.plan("reply")
        await desk.turn()
    else:
        assert await desk.sender.reserve({(ACCOUNT, "hi"): 1}) == {(ACCOUNT, "hi"): 1}
        since, id = clock.monotonic(), await desk.plan("reply", claim_at=desk.clock.real())
        row = desk.planned[-1]
        await desk.sender.start([(P, row)], since)
        await desk.turn()
    assert desk.provider.called == [id] * calls
    assert (await desk.row(id))[0] == ("sent" if calls else "queued")
    assert (desk.line.in_flight, desk.sender._claiming.busy) == (0, False)


async def test_an_adapters_calls_end_before_its_claim_is_taken_for_dead(desk):
    """A token, a picture, a text of several pieces: each call could take the provider's whole time-out."""
    began = desk.clock.monotonic()
    await desk.plan("reply")
    await desk.turn()
    [limit] = desk.provider.limits
    assert began + 48 <= limit <= desk.clock.monotonic() + 48
    assert begin_by.get() == math.inf  # of that send alone


async def test_nothing_overtakes_what_waits_already(desk):
    """What a commit would claim at once: not where messages wait, of this lane or of answers; not beyond the room there is."""
    hi, lo = (ACCOUNT, "hi"), (ACCOUNT, "lo")
    assert await desk.sender.reserve({hi: 2, lo: 3, ("fax", "hi"): 1}) == {hi: 2, lo: 3}
    assert desk.line.in_flight == 5
    desk.sender.unused(ACCOUNT, 5)
    desk.hints.add((P, *lo))
    assert await desk.sender.reserve({hi: 1, lo: 1}) == {hi: 1}
    desk.sender.unused(ACCOUNT, 1)
    desk.hints.add((P, *hi))
    assert await desk.sender.reserve({hi: 1, lo: 1}) == {}
    desk.hints.discard((P, *lo))
    assert await desk.sender.reserve({lo: 1}) == {}  # answers wait: bulk does not go before them
    desk.hints.clear()
    desk.line.most_in_flight = 1
    assert await desk.sender.reserve({hi: 3}) == {hi: 1}
    desk.line.pause(9)
    assert await desk.sender.reserve({hi: 1}) == {}


async def test_marketing_is_checked_against_the_record_as_it_is(desk):
    """Nobody is there who agreed: no call. Somebody is, and it goes."""
    id = await desk.plan("marketing")
    await desk.turn()
    assert (desk.provider.called, await desk.row(id)) == ([], ("skipped", "no_consent"))
    agreed = Address(ACCOUNT, "p1", consent=Consent(marketing="granted"))
    record = dump_record(Buyer("b_1", HOME, 1, addresses=[agreed]))
    await desk.store.commit([Change(P, HOME, record=record)], now=desk.clock.now())
    id = await desk.plan("marketing")
    await desk.turn()
    assert (desk.provider.called, (await desk.row(id))[0]) == ([id], "sent")


# --- a sender that died -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "waits"), [("reply", {"M", "A"}), ("code", {"M", "A"}), ("service", {"M"}), ("marketing", set())]
)
async def test_what_a_dead_sender_left_is_in_doubt(desk, purpose, waits):
    """It may have been calling; by its purpose it goes once more or never."""
    id = await desk.plan(purpose)
    await desk.store.pull([(P, ACCOUNT, lane_of(purpose), 1)], now=desk.clock.real() - 60_000)
    *_, found = await desk.store.pump(now=desk.clock.now(), real=desk.clock.real(), left_behind=desk.clock.real() - 1)
    assert found == [(P, id)]
    await desk.sender.left_behind(found)
    await desk.sender._write_outcomes()
    assert ((await desk.row(id))[0], set(await desk.waits())) == ("in_doubt", waits)


async def test_what_this_process_is_sending_is_not_left_behind(desk):
    """After a pause, or when the clock was put forward, its own look finds it: the answer is still to come."""
    id = await desk.plan("reply")
    desk.provider.pause = asyncio.Event()
    await desk.sender._pull()
    await asyncio.sleep(0)
    assert desk.provider.called == [id]
    await desk.sender.left_behind([(P, id)])
    await desk.sender._write_outcomes()
    assert (await desk.row(id))[0] == "sending"
    desk.provider.pause.set()
    await asyncio.wait(desk.sender._tasks)
    await desk.sender.left_behind([(P, id)])  # answered, and not written yet
    await desk.sender._write_outcomes()
    assert ((await desk.row(id))[0], await desk.waits()) == ("sent", {})
    told = await desk.store.command("XRANGE", keys.journal(P), "-", "+")
    assert [fields[b"k"] for _, fields in told] == [b"send"]  # the ledger hears of no doubt


async def test_what_an_echo_settled_since_is_no_doubt(desk):
    """Found left behind, and delivered before it was looked at."""
    id = await desk.plan("service")
    await desk.store.pull([(P, ACCOUNT, "lo", 1)], now=1)
    change = Change(P, HOME)
    change.statuses.append(StatusChange("ref", id, "delivered", desk.clock.now(), ""))
    await desk.store.commit([change], now=desk.clock.now())
    await desk.sender.left_behind([(P, id)])
    await desk.sender._write_outcomes()
    assert ((await desk.row(id))[0], await desk.waits()) == ("delivered", {})
    told = await desk.store.command("XRANGE", keys.journal(P), "-", "+")
    assert [fields[b"k"] for _, fields in told] == [b"status"]  # the ledger hears of no doubt
    assert await desk.store.command("ZCARD", keys.sending(P)) == 0
