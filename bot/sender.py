"""The sender: claims ready messages, checks once more, calls the provider, writes the outcome. By the table of purposes.

    purpose    in doubt                       tries
    reply      once more after 5 s            3, after 1 s and 5 s
    code       once more after 5 s            3 while it is valid
    service    once more after 60 s           1 s doubling to 1 h, until `not_after` (or a day), also while the account
               (never by a buyer's leave)     itself is refused (token, rights, balance): staff can mend that
    marketing  never                          as service; only when nothing was accepted

A claim is durable before the call; a call is never cancelled; only "nothing was written" and the provider's own refusal
are tried again without doubt. A claim lasts as long as a lease: what it has not begun by then it begins no more, since a
time-out of the provider later others take its message for one whose sender died.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from bot import ids, keys, sendnews
from bot.accounts import Line
from bot.broadcasts import SOURCE, Broadcast
from bot.change import Claimed, QueuedMessage, Settlement, because
from bot.claiming import Claiming
from bot.clock import DAY_MS, HOUR_MS, SystemClock
from bot.codec import CodecError, dump_entry, load_message
from bot.errors import (
    AccountError,
    ConnectError,
    InDoubtError,
    PartlyStoredError,
    PermanentError,
    ProviderDownError,
    SendError,
    StoreError,
    TemporaryError,
    ThrottledError,
)
from bot.events import Event, Ms
from bot.http import begin_by
from bot.journal import SendEntry, dump
from bot.lastcheck import refusal
from bot.leases import Leases
from bot.log import log_line, write_lines
from bot.messages import OutboundMessage, Receipt, lane_of
from bot.metrics import REDIS_TROUBLE, SENDS, child
from bot.orders import shop_subject
from bot.outlays import Outlays
from bot.reasons import FailureReason, SkipReason
from bot.records import Link, Record
from bot.spend import Spend
from bot.store import GATHER_S, SMALL_BATCH, Hint, Store

REPLY_TRIES = 3
REPLY_DOUBT_MS = 5_000
SERVICE_DOUBT_MS = 60_000
ACCOUNT_PAUSE_S = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Job:
    claimed: Claimed
    message: OutboundMessage
    begin_by: float = math.inf  # monotonic seconds: later its claim may be taken for one of a sender that died
    refusal: str = ""
    reserved: str = ""  # the day whose spend limit counts it


class Sender:
    """One sender per process, over the partitions that the process owns."""

    def __init__(
        self,
        *,
        store: Store,
        lines: Mapping[str, Line],
        leases: Leases,
        clock: SystemClock,
        wake: asyncio.Event,
        hints: set[Hint],
        spend: Spend,
        broadcasts: Mapping[str, Broadcast],
    ) -> None:
        """`broadcasts`: those where something may still happen."""
        self._store = store
        self._broadcasts = broadcasts
        self._outlays = Outlays(spend)
        self._lines = lines
        self._leases = leases
        self._clock = clock
        self._wake = wake
        self._hints = hints
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = Claiming(store=store, lines=lines, clock=clock, wake=wake, hints=hints, under_way=self._tasks)
        self._calling: set[str] = set()  # the messages that this process is sending
        self._settling: list[Settlement] = []
        self._settle_wake = asyncio.Event()
        self._events: list[Event] = []
        self._lines_out: list[bytes] = []  # one log line per message, written together with its batch's outcomes
        self._random = random.SystemRandom()
        self.stopping = False
        self._over = False  # nothing more can come that has an outcome
        self.idle = asyncio.Event()  # nothing more is pulled

    # --- loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pulls and sends until `stopping`; then waits for the calls that are under way."""
        settler = asyncio.create_task(self._settle_loop())
        try:
            while not self.stopping:
                try:
                    if not await self._pull():
                        await self._sleep()
                except StoreError as error:
                    REDIS_TROUBLE.labels("sender").inc()
                    log.warning("store away", detail=str(error))
                    await self._clock.sleep(0.2)
                except Exception:  # a bug must not end the sender
                    log.exception("pull failed")
                    await self._clock.sleep(1.0)
            # A commit that has asked for room may still claim: what goes out with nobody left to write its outcome goes twice.
            self.idle.set()
            while self._tasks or self._claiming.busy:
                await asyncio.wait(set(self._tasks)) if self._tasks else await self._clock.sleep(0.01)
        finally:
            self._over = True
            self._settle_wake.set()
        await settler

    async def _sleep(self) -> None:
        self._wake.clear()
        waits = [line.wait_s() for account, line in self._lines.items() if any(h[1] == account for h in self._hints)]
        timeout = min([0.5, *(w for w in waits if w > 0)]) if self._hints else 1.0
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return
        if len(self._hints) < SMALL_BATCH:
            await self._clock.sleep(GATHER_S)

    async def _pull(self) -> bool:
        wishes = await self._claiming.wishes()
        if not wishes:
            return False
        for _, account, _, most in wishes:
            self._lines[account].take(most)
        got: Counter[Hint] = Counter()
        jobs = []
        end = self._leases.lasting(self._clock.monotonic())
        try:
            claimed = await self._store.pull(wishes, now=self._clock.real(), virtual=self._clock.now())
            for one in claimed:
                try:
                    message = load_message(one.body)
                except CodecError:
                    self._unreadable(one)
                    continue
                got[one.partition, message.account, lane_of(message.purpose)] += 1
                self._lines[message.account].owe(message.parts)
                jobs.append(_Job(one, message, end))
        finally:
            for partition, account, lane, most in wishes:
                self._lines[account].give(most - got.get((partition, account, lane), 0))
        empty = {(p, account, lane) for p, account, lane, most in wishes if got[p, account, lane] < most}
        self._hints -= empty
        await self._begin(jobs)
        return bool(jobs or empty)  # a hint that led nowhere must not delay the next one

    def _unreadable(self, one: Claimed) -> None:
        log.error("message unreadable", id=one.id)
        self._settling.append(Settlement(one.partition, one.id, one.attempt, "failed", FailureReason.BUG))
        self._settle_wake.set()

    async def _begin(self, jobs: Sequence[_Job]) -> None:
        """The last check, then one task per message. A store that fails here costs no claim: they are given back."""
        try:
            await self._last_check(jobs)
            await self._outlays.reserve(jobs, self._clock.now())
        except StoreError as error:
            REDIS_TROUBLE.labels("sender").inc()
            log.warning("store away", detail=str(error))
            if self._store.scripts.apart and len(jobs) > 1:  # what only one of them asks for may be what is away
                for job in jobs:
                    await self._begin([job])
                return
            self._give_back(jobs)
            return
        except Exception:  # as above: a claim that was not used is nobody's loss
            log.exception("last check failed")
            self._give_back(jobs)
            return
        for job in jobs:
            task = asyncio.create_task(self._send(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # --- claimed by the commit itself -----------------------------------------------------------------------------

    async def reserve(self, wanted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """How many messages of each (account, lane) may go out now; each counts as in flight until `start` or `unused`."""
        if self.stopping or not self._leases.sure:
            return {}
        return await self._claiming.reserve(wanted)

    def unused(self, account: str, count: int) -> None:
        """Gives reserved sends back."""
        self._claiming.unused(account, count)

    async def start(self, claimed: Sequence[tuple[int, QueuedMessage]], since: float) -> None:
        """Sends messages that a commit has claimed, not before `since` (monotonic seconds)."""
        if not claimed:
            return
        try:
            jobs = [_job_of(partition, queued, self._leases.lasting(since)) for partition, queued in claimed]
            for job in jobs:
                self._lines[job.message.account].owe(job.message.parts)
            await self._begin(jobs)
        finally:
            self._claiming.held -= len(claimed)

    def unsure(self, asked: Sequence[tuple[int, QueuedMessage]]) -> None:
        """The commit's answer is lost: what it may have claimed was certainly not sent, and is queued again."""
        for partition, queued in asked:
            self.unused(queued.account, 1)
            self._unsent(_job_of(partition, queued))

    def _unsent(self, job: _Job) -> None:
        """A claim that was not used: it counts as no attempt."""
        self._settled(job, "queued", reason=FailureReason.THROTTLED, again_at=self._clock.real() + 200)

    # --- the last check -------------------------------------------------------------------------------------------

    async def _last_check(self, jobs: Sequence[_Job]) -> None:
        """Reads what must still hold, in one go: the order behind a touch, the consent behind marketing."""
        guards = [job.message.guard for job in jobs if job.message.guard is not None]
        wanted = {subject for guard in guards for subject in (guard.subject, shop_subject(guard))}
        wanted |= {job.message.home for job in jobs if job.message.purpose == "marketing" or job.message.grant}
        records: dict[str, Record] = {}
        if wanted:
            records = await self._store.records(wanted)
            homes = {r.home for r in records.values() if isinstance(r, Link)} - wanted
            records.update(await self._store.records(homes))
        now = self._clock.now()
        for job in jobs:
            job.refusal = refusal(job.message, records, now)

    def _give_back(self, jobs: Sequence[_Job]) -> None:
        """Claims that could not be checked are given back without having been used."""
        for job in jobs:
            self._lines[job.message.account].in_flight -= 1
            self._unsent(job)

    # --- one message ----------------------------------------------------------------------------------------------

    async def _send(self, job: _Job) -> None:
        message, line = job.message, self._lines[job.message.account]
        started = self._clock.monotonic()
        self._calling.add(message.id)
        outcome: Receipt | SendError
        try:
            standing = self._standing(message)
            if job.refusal or standing == "cancelled":
                self._settled(job, "skipped", reason=job.refusal or SkipReason.CANCELLED)
                return
            late = started >= job.begin_by or not self._leases.sure_of(job.claimed.partition)
            if standing == "paused" or late:
                # Staff stopped it since it was claimed, or somebody else may own the partition by now, or did while this
                # process stood still and has it sent already: the claim is given back without having been used.
                self._unsent(job)
                return
            begin_by.set(job.begin_by)  # of this task: also for the last of an adapter's several calls
            try:
                outcome = await line.channel.send(message)
            except SendError as error:
                outcome = error
            except Exception:  # an adapter's bug: what it had written is unknown
                log.exception("send failed", account=message.account)
                outcome = InDoubtError("the adapter failed", reason=FailureReason.BUG)
            self._outcome(job, line, outcome)
        finally:
            self._calling.discard(message.id)
            line.in_flight -= 1
            if self._hints:
                self._wake.set()
            ms = round((self._clock.monotonic() - started) * 1000, 1)
            self._lines_out.append(
                log_line("message", id=message.id, account=message.account, purpose=message.purpose, ms=ms)
            )

    def _standing(self, message: OutboundMessage) -> str:
        """The state of the broadcast that a message is of, as this process knows it; "" for any other message."""
        if not message.source.startswith(SOURCE):
            return ""
        broadcast = self._broadcasts.get(message.source.removeprefix(SOURCE))
        return broadcast.state if broadcast is not None else ""

    def _outcome(self, job: _Job, line: Line, outcome: Receipt | SendError) -> None:
        if isinstance(outcome, SendError):
            # The error's own words, which hold neither text nor address: the only place for a provider's request id.
            log.warning("not sent", id=job.message.id, account=job.message.account, code=outcome.code, why=str(outcome))
            self._events += sendnews.of(job.message, outcome, self._clock.now(), doubted=bool(job.claimed.doubts))
        match outcome:
            case Receipt():
                line.succeeded()
                line.ease(outcome.share_of_rate)
                self._settled(job, outcome.state, receipt=outcome)
            case ThrottledError():
                pause = outcome.retry_after_s or 1.0
                if outcome.whole_line:
                    line.pause(pause)
                self._settled(job, "queued", error=outcome, again_at=self._clock.real() + int(pause * 1000))
            case TemporaryError():
                if isinstance(outcome, ConnectError | ProviderDownError):
                    line.failed()
                self._try_again(job, outcome)
            case InDoubtError():
                line.failed()
                self._doubt(job, outcome)
            case AccountError():
                line.pause(outcome.pause_s or ACCOUNT_PAUSE_S)
                self._account_refused(job, outcome)
            case PermanentError():
                line.succeeded()
                self._settled(job, "failed", error=outcome)
            case _:
                self._settled(job, "failed", error=outcome)

    def _account_refused(self, job: _Job, error: AccountError) -> None:
        """The provider took nothing, and staff can mend it: what is not for this very minute waits for them."""
        if job.message.purpose in ("reply", "code"):
            self._settled(job, "failed", error=error)
        else:
            self._try_again(job, error, at_least_s=error.pause_s or ACCOUNT_PAUSE_S)

    def _try_again(self, job: _Job, error: SendError, *, at_least_s: float = 0) -> None:
        now, real = self._clock.now(), self._clock.real()
        tries = job.claimed.tries
        message = job.message
        if isinstance(error, TemporaryError) and 0 < error.most_tries <= tries:
            self._settled(job, "failed", error=error)
            return
        if message.purpose in ("reply", "code"):
            delay = (1000, 5000)[min(tries, 2) - 1]
            if tries >= REPLY_TRIES:
                self._settled(job, "failed", error=error)
                return
        else:
            delay = int(min(1000 * 2**tries, HOUR_MS) * (0.75 + self._random.random() / 2) + at_least_s * 1000)
            end = message.not_after or message.created_at + DAY_MS
            if now + delay > end:
                self._settled(job, "failed", error=error)
                return
        self._settled(job, "queued", error=error, again_at=real + delay)

    def _doubt(self, job: _Job, error: SendError) -> None:
        message, real = job.message, self._clock.real()
        again = hold = 0
        if message.purpose in ("reply", "code"):
            again = hold = real + REPLY_DOUBT_MS
        elif (
            message.purpose == "service"
            and not message.grant
            and (not message.not_after or self._clock.now() + SERVICE_DOUBT_MS <= message.not_after)
        ):
            again = real + SERVICE_DOUBT_MS
        if job.claimed.doubts:
            again = 0  # once is enough
        self._settled(job, "in_doubt", error=error, again_at=again, hold_until=hold)

    async def left_behind(self, found: Sequence[tuple[int, str]]) -> None:
        """Messages whose sender died between claim and outcome: they are in doubt, by their purpose's rule.

        After a pause of the whole process, or a clock that was put forward, its own look left behind: they are not.
        """
        own = self._calling.union(item.id for item in self._settling)
        for partition, id in found:
            if id in own:
                continue
            key = keys.message(partition, id)
            body, attempt, tries, doubts, state, reason = await self._store.command(
                "HMGET", key, "b", "t", "free", "doubts", "s", "r"
            )
            if body is None:
                await self._store.command("ZREM", keys.sending(partition), id)
                continue
            if state != b"sending":  # a receipt was faster than the outcome: what is left is to free its address
                now = self._clock.now()
                told = Settlement(partition, id, int(attempt), state.decode(), (reason or b"").decode(), at=now)
                self._settling.append(told)
                self._settle_wake.set()
                continue
            claimed = Claimed(partition, id, int(attempt), body, int(attempt) - int(tries or 0), int(doubts or 0))
            try:
                self._doubt(_Job(claimed, load_message(body)), InDoubtError("its sender died"))
            except CodecError:
                self._unreadable(claimed)

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _settled(
        self,
        job: _Job,
        state: str,
        *,
        reason: str = "",
        error: SendError | None = None,
        receipt: Receipt | None = None,
        again_at: Ms = 0,
        hold_until: Ms = 0,
    ) -> None:
        message, claimed = job.message, job.claimed
        reason = reason or (str(error.reason) if error else "")
        if state in ("failed", "skipped") and claimed.doubts:
            state = "in_doubt"  # an earlier call may have been taken: that this one was not does not undo it
        if message.grant and state in ("failed", "skipped"):
            self._events += sendnews.of_grant(message, error, self._clock.now())
        child(SENDS, message.account, reason or state).inc()
        provider = receipt.provider_id if receipt else ""
        self._outlays.bill(job, state, receipt)
        entry = SendEntry(
            id=message.id,
            state=state,
            at=self._clock.now(),
            attempt=claimed.attempt,
            account=message.account,
            buyer=message.buyer,
            purpose=message.purpose,
            reason=reason,
            code=error.code if error else "",
            provider_id=provider,
            parts=receipt.parts if receipt else 0,
        )
        line = self._lines.get(message.account)
        self._settling.append(
            Settlement(
                claimed.partition,
                claimed.id,
                claimed.attempt,
                state,
                because(reason, error.code if error else ""),
                ids.digest(provider),
                again_at,
                hold_until,
                unread=bool(receipt and line and line.channel.capabilities.watermarks),
                at=self._clock.now(),
                journal=dump(entry),
                parts=receipt.parts if receipt else 0,
            )
        )
        self._settle_wake.set()

    async def _settle_loop(self) -> None:
        """Writes outcomes in batches; an outcome is kept until it is written, however long Redis is away."""
        while not (self._over and not (self._settling or self._events)):
            if not self._settling and not self._events:
                self._settle_wake.clear()
                try:
                    await asyncio.wait_for(self._settle_wake.wait(), 0.5)
                except TimeoutError:
                    continue
            if len(self._settling) < SMALL_BATCH:
                await self._clock.sleep(GATHER_S)
            write_lines(self._lines_out)
            self._lines_out.clear()
            try:
                # First: what was not accepted is free again before another attempt is claimed.
                await self._store.unless_away(self._outlays.write(self._clock.now()))
                await self._write_outcomes()
                await self._write_events()
            except StoreError as error:
                REDIS_TROUBLE.labels("settle").inc()
                log.warning("store away", detail=str(error))
                await self._clock.sleep(0.2)
            except Exception:  # a bug must not end it: outcomes would pile up unwritten
                log.exception("settling failed")
                await self._clock.sleep(1.0)

    async def _write_outcomes(self) -> None:
        batch = self._settling[:256]
        if not batch:
            return
        try:
            found = await self._store.settle(batch, today=self._clock.now())
        except PartlyStoredError as error:
            # Those whose server is away go last: the others need not wait for it.
            self._settling[: len(batch)] = []
            self._settling += [batch[i] for i in sorted(error.failed)]
            self._hints |= error.ready
            self._wake.set()
            raise
        except Exception as error:
            if isinstance(error, StoreError):
                raise
            log.exception("outcomes refused", items=len(batch))
            found = await self._settle_each(batch)
        del self._settling[: len(batch)]
        if found:
            self._hints |= found
            self._wake.set()

    async def _settle_each(self, items: Sequence[Settlement]) -> set[Hint]:
        """One by one: an outcome that cannot be written must not hold up the others."""
        found: set[Hint] = set()
        for item in items:
            try:
                found |= await self._store.settle([item], today=self._clock.now())
            except StoreError:
                raise
            except Exception:
                log.exception("outcome not written", id=item.id, state=item.state)
        return found

    async def _write_events(self) -> None:
        events = self._events[:256]
        if events:
            await self._store.append([dump_entry(event) for event in events])
            del self._events[: len(events)]


def _job_of(partition: int, queued: QueuedMessage, end: float = math.inf) -> _Job:
    claimed = Claimed(partition, queued.id, 1, queued.body)
    return _Job(claimed, queued.message or load_message(queued.body), end)
