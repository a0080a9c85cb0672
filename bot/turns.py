"""One turn: from an event and the record it is about to what is to be committed. No I/O.

A turn goes `begin` (engine rules and the handler), any number of `resume` (effects that need an answer: coupon claims,
codes, card numbers), `finish` (effects applied, the change complete).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import structs

from bot import buyers, cards, ids, merging, naming, resending, subjects
from bot.apply import Applier
from bot.broadcast_turns import BroadcastTurns
from bot.broadcasts import Broadcast
from bot.buyer_turns import BuyerTurns
from bot.calls import Calls
from bot.change import Change, Letter, StatusChange, Taken, because, timer_changes
from bot.codec import dump_event, dump_record, load_event
from bot.effects import (
    ClaimCoupon,
    ClaimResult,
    CodeResult,
    Effect,
    FindProducts,
    IssueCard,
    Resolution,
    SendCode,
)
from bot.errors import GatewayError
from bot.events import (
    Absorbed,
    BroadcastDue,
    Event,
    Forwarded,
    IdentityClaimed,
    IdentityGranted,
    IdentityHeld,
    IdentityReleased,
    MergeAsked,
    Ms,
    StaffAsked,
    StatusReported,
    TimerDue,
    TouchAsked,
)
from bot.handling import Facts
from bot.journal import dump
from bot.ports import Capabilities
from bot.reasons import SkipReason
from bot.records import Buyer, Link, Product, Record
from bot.routing import Keywords, Registry
from bot.run import (
    Answered,
    AwaitQuiet,
    FindSent,
    Issued,
    LookedUp,
    LookUp,
    Named,
    NameItems,
    Question,
    Quiet,
    Recall,
    Recalled,
    Run,
    Sent,
    Unresolved,
    start,
)
from bot.shop_turns import KINDS, ShopTurns
from bot.speaking import Speaker

_ABOUT_THE_ADDRESS = (SkipReason.UNREACHABLE, SkipReason.OPTED_OUT, SkipReason.WINDOW_CLOSED)


class Turns:
    """Decides what each event means for its record."""

    def __init__(
        self,
        *,
        facts: Facts,
        registry: Registry,
        keywords: Keywords,
        speaker: Speaker,
        capabilities: Mapping[str, Capabilities],
        partitions: int,
        release: str = "",
        broadcasts: Mapping[str, Broadcast] = MappingProxyType({}),
        spread_ms: Ms = 0,
    ) -> None:
        self._accounts = capabilities
        self._partitions = partitions
        self._release = release
        self._speaker = speaker
        self._apply = Applier(speaker=speaker, partitions=partitions)
        calls = Calls(facts=facts, registry=registry)
        self._shop = ShopTurns(calls=calls, apply=self._apply)
        self._broadcasts = BroadcastTurns(
            apply=self._apply, speaker=speaker, broadcasts=broadcasts, spread_ms=spread_ms
        )
        self._buyer = BuyerTurns(
            calls=calls,
            apply=self._apply,
            speaker=speaker,
            keywords=keywords,
            capabilities=capabilities,
            broadcasts=self._broadcasts,
        )

    # --- begin ----------------------------------------------------------------------------------------------------

    def begin(self, taken: Taken, record: Record | None, now: Ms) -> Run:
        """Runs the engine's own rules and the handler; `run.open` lists what must be resolved before `finish`."""
        event = self._event(taken, now)
        run = start(taken, event, record, now)
        if record is not None and not isinstance(record, Link):
            run.before_timers = {name: timer.due for name, timer in record.timers.items()}
        if isinstance(record, Buyer):
            run.before_answers = buyers.verdicts(record)
        self._dispatch(run, event)
        run.open = self._questions(run)
        return run

    def resume(self, run: Run, answers: Sequence[Answered]) -> None:
        """Takes the answers to `run.open` in order; their continuations may open further questions."""
        waiting = dict(zip(map(id, run.open), answers, strict=True))
        effects: list[Effect | Question] = []
        for effect in run.effects:
            answer = waiting.get(id(effect))
            if answer is None:
                effects.append(effect)
            elif isinstance(effect, AwaitQuiet):
                for event in merging.go_on(run, self._apply, quiet=answer == Quiet(yes=True)):
                    self._dispatch(run, event)
            elif isinstance(effect, Recall):
                if isinstance(answer, Recalled) and (say := resending.go_on(run, effect, answer)):
                    effects.append(say)
            elif isinstance(effect, LookUp):
                if isinstance(answer, LookedUp):
                    self._broadcasts.go_on(run, effect.due, answer.broadcast)
            elif isinstance(effect, FindSent):
                if isinstance(answer, Sent) and answer.id:
                    self._found(run, effect.status, answer.id)
            elif isinstance(effect, NameItems):
                if isinstance(answer, Named):
                    self._dispatch(run, naming.named(effect.event, answer.names))
            elif isinstance(answer, Issued):
                cards.issue(run, effect, answer.number)
            elif isinstance(effect, ClaimCoupon | SendCode | FindProducts) and not isinstance(
                answer, Quiet | Recalled | LookedUp | Named | Sent
            ):
                if isinstance(answer, CodeResult):
                    self._apply.queue_code(run, answer)
                elif isinstance(answer, ClaimResult) and isinstance(run.record, Buyer):
                    answer = self._apply.coupon(run.record, answer, run.now)
                    if answer.outcome == "won":
                        run.claims.append(answer)
                effects.extend(self._continue(run, effect.then, answer))
        run.effects = effects
        run.open = self._questions(run)

    def finish(self, run: Run) -> Change:
        """Applies the effects in order and completes the change."""
        for effect in run.effects:
            if not isinstance(effect, Question):
                self._apply.effect(run, effect)
        self._apply.tell_news(run)
        # A deferred message that its handler does not want any more has ended too.
        self._apply.settle(run, run.deferred_id, SkipReason.REASON_GONE)
        self._close(run)
        return run.change

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of the channel accounts."""
        return tuple(self._accounts)

    def _questions(self, run: Run) -> list[Unresolved]:
        """The effects that wait for shared state. A card is drawn only for a buyer who has none."""
        no_card = isinstance(run.record, Buyer) and run.record.member is None
        wanted: list[Unresolved] = []
        for effect in run.effects:
            if isinstance(effect, ClaimCoupon | SendCode | FindProducts | Question) or (
                isinstance(effect, IssueCard) and no_card
            ):
                wanted.append(effect)
                no_card = no_card and not isinstance(effect, IssueCard)
        return wanted

    def _continue(self, run: Run, then: str, answer: Resolution) -> Sequence[Effect]:
        if run.handler is None or run.turn is None:
            return ()
        if then not in run.handler.continuations:
            raise GatewayError(f"handler {run.handler.name} has no continuation {then}")
        return run.handler.continuations[then](run.turn, answer)

    def _event(self, taken: Taken, now: Ms) -> Event:
        if taken.timer:
            return Event("", taken.subject, "", taken.due, now, TimerDue(taken.timer, taken.due))
        return load_event(taken.body)

    # --- dispatch -------------------------------------------------------------------------------------------------

    def _dispatch(self, run: Run, event: Event) -> None:
        body = event.body
        if isinstance(body, Forwarded):
            inner = load_event(body.event)
            run.event = inner
            self._dispatch(run, inner)
            return
        if isinstance(body, StatusReported) and body.ref and self._status_by_ref(run, event, body):
            return
        if isinstance(run.record, Link):
            self._at_link(run, event, run.record)
            return
        kind = subjects.kind(run.taken.subject)
        if kind == "card" and isinstance(body, StaffAsked):
            cards.pointed(run, body)
        elif kind in ("order", "cart") and not run.named and (items := naming.nameless(event)):
            run.named = True
            run.effects.append(NameItems(event, run.taken.subject.split(":", 2)[1], items))
        elif kind in KINDS:
            self._shop.take(run, event, kind)
        else:
            self._buyer.take(run, event)

    def _at_link(self, run: Run, event: Event, link: Link) -> None:
        match event.body:
            case IdentityClaimed(home=home) if home == link.home:
                self._apply.post(run, home, IdentityGranted(run.taken.subject))
            case MergeAsked(survivor=survivor) if survivor == link.home:
                pass
            case IdentityReleased():  # whoever writes from this number from now on is somebody new
                self._buyer.new_buyer(run, run.now)
            case IdentityClaimed() | MergeAsked() | IdentityGranted() | IdentityHeld() | Absorbed() | TouchAsked():
                self._apply.forward(run, structs.replace(event, subject=link.home))
            case BroadcastDue() as due:
                self._broadcasts.pass_on(run, link, event, due)
            case StaffAsked(action="message"):
                self._apply.post(run, link.home, Forwarded(dump_event(self._speaker.moved(run, event, link))))
            case _:
                self._apply.post(run, link.home, Forwarded(dump_event(event)))

    def _found(self, run: Run, status: StatusReported, id: str) -> None:
        """A notice's result has found its message."""
        told = structs.replace(status, ref=id, template="")
        self._status_by_ref(run, structs.replace(run.event, body=told), told)
        self._buyer.found(run, id)

    def _status_by_ref(self, run: Run, event: Event, status: StatusReported) -> bool:
        """True when nothing else of the event is left to do."""
        home, why = ids.partition_in(status.ref), because(status.reason, status.code)
        if home == run.partition:
            if status.parts:
                run.billed.append((event.account, status.ref, status.parts))
            run.change.statuses.append(
                StatusChange(
                    "ref", status.ref, status.state, event.at, why, ids.digest(status.provider_id), status.parts
                )
            )
        elif home is not None and home < self._partitions:
            # A message is kept in the partition that its id names; its address may hash to another (a phone's link).
            run.change.mails.append(Letter(event.subject, b"", dump_event(event), home))
        if subjects.partition_of(run.taken.subject, self._partitions) != run.partition:
            return True  # that copy: it moves the message, and its buyer hears of it where the address leads
        return status.state != "failed" or not (status.reason in _ABOUT_THE_ADDRESS or status.again_after_s)

    # --- close ----------------------------------------------------------------------------------------------------

    def _close(self, run: Run) -> None:
        record, change, entry = run.record, run.change, run.entry
        if record is not None and run.touched and not run.guest:
            if not isinstance(record, Link):
                change.timers = timer_changes(run.before_timers, {n: t.due for n, t in record.timers.items()})
            change.record = dump_record(record)
            # A product's history is its events: the journal is not filled with its whole state at each sale.
            entry.record = b"" if isinstance(record, Product) else change.record
            if isinstance(record, Buyer):
                entry.buyer = record.id
                body = run.event.body
                answers = buyers.new_answers(
                    run.before_answers, run.answered, record, run.now, merged=isinstance(body, Absorbed)
                )
                answers = buyers.sent_by(answers, body) if isinstance(body, StaffAsked) else answers
                entry.consents = [*run.evidence, *answers, *run.leaves]
        entry.event = dump_event(run.event)
        entry.release = self._release
        change.journal = dump(entry)
