"""One turn: from an event and the record it is about to what is to be committed. No I/O.

A turn goes `begin` (engine rules and the handler), any number of `resume` (effects that need an answer: coupon claims,
codes, card numbers), `finish` (effects applied, the change complete).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from bot import buyers, carts, identity, ids, merging, orders, subjects
from bot.apply import OWED, Applier
from bot.change import Change, Letter, StatusChange, Taken, status_changes, timer_changes
from bot.codec import dump_event, dump_record, load_event
from bot.effects import (
    ClaimCoupon,
    ClaimResult,
    CodeResult,
    Effect,
    IssueCard,
    OptOut,
    Resolution,
    SendCode,
    Skip,
)
from bot.errors import GatewayError
from bot.events import (
    Absorbed,
    AccountAlert,
    BuyerFacts,
    Event,
    Followed,
    Forwarded,
    IdentityClaimed,
    IdentityGranted,
    IdentityHeld,
    IdentityReleased,
    MergeAsked,
    MessageReceived,
    Ms,
    Scanned,
    ShopEvent,
    StaffAsked,
    StatusReported,
    Tapped,
    TimerDue,
    TouchAsked,
    Unfollowed,
)
from bot.handling import Facts, Turn
from bot.journal import dump
from bot.ports import Capabilities
from bot.reasons import Rule, SkipReason
from bot.records import AccountState, Address, Buyer, Cart, Link, Order, Parcel, Record, Timer, Waiting
from bot.routing import Keywords, Registry, route, words_of
from bot.run import Answered, AwaitQuiet, Issued, Quiet, Run, Unresolved, fired, start
from bot.speaking import Speaker

MAX_TOUCHES = 200
_ABOUT_THE_ADDRESS = (SkipReason.UNREACHABLE, SkipReason.OPTED_OUT, SkipReason.WINDOW_CLOSED)
HELD_EVENTS = 20


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
    ) -> None:
        self._facts = facts
        self._registry = registry
        self._keywords = keywords
        self._accounts = capabilities
        self._partitions = partitions
        self._release = release
        self._speaker = speaker
        self._apply = Applier(speaker=speaker, partitions=partitions)

    # --- begin ----------------------------------------------------------------------------------------------------

    def begin(self, taken: Taken, record: Record | None, now: Ms) -> Run:
        """Runs the engine's own rules and the handler; `run.open` lists what must be resolved before `finish`."""
        event = self._event(taken, now)
        run = start(taken, event, record, now)
        if record is not None and not isinstance(record, Link):
            run.before_timers = {name: timer.due for name, timer in record.timers.items()}
        self._dispatch(run, event)
        run.open = self._questions(run)
        return run

    def resume(self, run: Run, answers: Sequence[Answered]) -> None:
        """Takes the answers to `run.open` in order; their continuations may open further questions."""
        waiting = dict(zip(map(id, run.open), answers, strict=True))
        effects: list[Effect | AwaitQuiet] = []
        for effect in run.effects:
            answer = waiting.get(id(effect))
            if answer is None:
                effects.append(effect)
            elif isinstance(effect, AwaitQuiet):
                for event in merging.go_on(run, self._apply, quiet=answer == Quiet(yes=True)):
                    self._dispatch(run, event)
            elif isinstance(answer, Issued):
                self._apply.issue(run, effect, answer.number)
            elif isinstance(effect, ClaimCoupon | SendCode) and not isinstance(answer, Quiet):
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
            if not isinstance(effect, AwaitQuiet):
                self._apply.effect(run, effect)
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
            if isinstance(effect, ClaimCoupon | SendCode | AwaitQuiet) or (isinstance(effect, IssueCard) and no_card):
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
        if isinstance(body, StatusReported) and body.ref and self._status_by_ref(run, body):
            return
        if isinstance(run.record, Link):
            self._at_link(run, event, run.record)
            return
        kind = subjects.kind(run.taken.subject)
        if kind == "order":
            self._at_order(run, event)
        elif kind == "cart":
            self._at_cart(run, event)
        elif kind == "parcel":
            self._at_parcel(run, event)
        elif kind == "account":
            self._at_account(run, event)
        else:
            self._at_buyer(run, event)

    def _at_link(self, run: Run, event: Event, link: Link) -> None:
        match event.body:
            case IdentityClaimed(home=home) if home == link.home:
                self._apply.post(run, home, IdentityGranted(run.taken.subject))
            case MergeAsked(survivor=survivor) if survivor == link.home:
                pass
            case IdentityReleased():  # whoever writes from this number from now on is somebody new
                self._new_buyer(run, run.now)
            case IdentityClaimed() | MergeAsked() | IdentityGranted() | IdentityHeld() | Absorbed() | TouchAsked():
                self._apply.forward(run, structs.replace(event, subject=link.home))
            case StaffAsked(action="message"):
                self._apply.post(run, link.home, Forwarded(dump_event(self._speaker.moved(run, event, link))))
            case _:
                self._apply.post(run, link.home, Forwarded(dump_event(event)))

    # --- buyers ---------------------------------------------------------------------------------------------------

    def _at_buyer(self, run: Run, event: Event) -> None:
        subject = run.taken.subject
        if run.record is None and not self._make(run, event, subject):
            return
        buyer = run.record
        if not isinstance(buyer, Buyer):
            raise GatewayError(f"a {type(buyer).__name__} is kept where a buyer was expected")
        run.touched = True
        if buyer.merging is not None and not isinstance(event.body, StatusReported):
            merging.hold(run, buyer, event, buyer.merging)
            return
        if buyer.erased and not isinstance(event.body, IdentityClaimed | MergeAsked | TimerDue):
            if isinstance(event.body, TouchAsked) and event.body.notice:
                touch = event.body
                erased = Skip(touch.key, SkipReason.ERASED, Rule.ADDRESS, touch.purpose, touch.source)
                self._speaker.skip(run, erased, buyer)
            if not isinstance(event.body, MessageReceived | Tapped | Followed | Scanned):
                return
            buyer = self._new_buyer(run, run.now)
        buyers.forget_old(buyer, run.now)
        match event.body:
            case IdentityClaimed() | MergeAsked() | Absorbed() | IdentityGranted():
                self._identity(run, buyer, event)
            case IdentityHeld():
                self._handle(run, buyer, event, "event", _tag(event.body), buyers.waiting(buyer))
            case IdentityReleased():
                pass  # the number is this record's own home: it stays, and who writes from it is doubted
            case TimerDue() as due:
                self._timer(run, buyer, event, due)
            case TouchAsked() as touch:
                self._touch(run, buyer, event, touch)
            case StaffAsked() as asked:
                self._staff(run, buyer, event, asked)
            case StatusReported() as status:
                self._status(run, buyer, event, status)
            case ShopEvent() as shop:
                self._about_buyer(run, buyer, event, shop)
            case _:
                self._from_channel(run, buyer, event)
        if isinstance(run.record, Buyer) and run.record.owed and run.record.addresses:
            for owed in self._apply.take_owed(run, run.record):
                self._apply.post(run, run.record.home, owed)

    def _make(self, run: Run, event: Event, subject: str) -> bool:
        """A record where there was none. False: the event was passed on or needs none."""
        if isinstance(event.body, TimerDue | IdentityGranted | StatusReported | MergeAsked | Unfollowed):
            return False
        if isinstance(event.body, IdentityHeld | IdentityReleased):
            return False
        if isinstance(event.body, IdentityClaimed):
            run.record = Link(home=event.body.home, at=run.now)
            run.touched = True
            self._apply.post(run, event.body.home, IdentityGranted(subject))
            return False
        if subjects.kind(subject) == "address":
            account, id = subjects.split_address(subject)
            known = self._accounts.get(account)
            if known and known.address_is_phone:
                home = subjects.phone(id)
                run.record = Link(home=home, at=run.now)
                run.touched = True
                self._apply.post(run, home, Forwarded(dump_event(event)))
                return False
        self._new_buyer(run, event.received or run.now)
        return True

    def _new_buyer(self, run: Run, at: Ms) -> Buyer:
        subject = run.taken.subject
        run.record = buyer = buyers.new_buyer(subject, run.partition, at, str(at))
        for phone in buyer.phones:
            buyers.add_phone(buyer, phone, self._accounts)
        run.change.index.append((f"b:{buyer.id}", subject))
        run.touched = True
        return buyer

    def _identity(self, run: Run, buyer: Buyer, event: Event) -> None:
        before = {coupon.code for coupon in buyer.coupons}
        if isinstance(event.body, Absorbed):
            run.entry.before = dump_record(buyer)
        result = identity.handle(buyer, event.body, run.now)
        run.rekeyed = [(c.campaign, c.code, buyer.id) for c in buyer.coupons if c.code not in before]
        for subject, body in result.mails:
            self._apply.post(run, subject, body)
        if result.merging is not None:
            merging.begin(run, self._apply, buyer, result.merging)
            return
        if result.granted:
            identity.adopt(buyer, result.granted, self._accounts)
            for older in identity.index_lines(buyer):
                run.change.index.append(older)
            # The conversation that waits for this answer goes on where it was left.
            waiting = buyers.waiting(buyer)
            kind, _, number = result.granted.partition(":")
            if waiting is not None and kind == "phone":
                buyer.proved_at[number] = run.now
            self._handle(run, buyer, event, "event", _tag(event.body), waiting)

    def _timer(self, run: Run, buyer: Buyer, event: Event, due: TimerDue) -> None:
        held = fired(buyer.timers, due)
        if held is None:
            return
        if due.name == OWED:
            self._apply.expire_owed(run, buyer)
            return
        waiting = buyer.waiting.pop(due.name, None)
        if waiting is not None:
            run.deferred_id = waiting.id
            inner = load_event(waiting.event)
            run.event = inner
            self._again(run, buyer, inner, waiting)
            return
        # The address that the timer was set from, where the handler noted it.
        address = buyer.address(held.data.get("account", ""), held.data.get("to", ""))
        self._run_timer(run, due.name, held, self._turn(run, event, buyer, address))

    def _run_timer(self, run: Run, name: str, held: Timer, turn: Turn, record: str = "buyer") -> None:
        kind, _, arg = name.partition(":")
        self._run_handler(run, "timer", kind, structs.replace(turn, arg=arg, data=held.data), record)

    def _again(self, run: Run, buyer: Buyer, event: Event, waiting: Waiting) -> None:
        """The hour of a deferred message has come: what asked for it asks again."""
        if isinstance(event.body, TouchAsked):
            self._handle(run, buyer, event, "touch", event.body.notice, None)
        elif isinstance(event.body, StaffAsked):
            self._handle(run, buyer, event, "staff", event.body.action, None)
        elif isinstance(event.body, TimerDue):
            address = buyer.address(waiting.data.get("account", ""), waiting.data.get("to", ""))
            held = Timer(event.body.due, waiting.data)
            self._run_timer(run, event.body.name, held, self._turn(run, event, buyer, address))
        else:
            self._handle(run, buyer, event, "event", _tag(event.body), None)

    def _touch(self, run: Run, buyer: Buyer, event: Event, touch: TouchAsked) -> None:
        if touch.facts is not None:
            self._learn(run, buyer, touch.facts, touch.shop, f"shop:{touch.shop}:{touch.facts.consent_event}")
        if touch.brief is not None:
            buyers.remember_order(buyer, touch.brief)
        if not touch.notice:
            self._handle(run, buyer, event, "touch", "", None)
            return
        if not buyer.addresses and touch.purpose == "service":
            self._apply.owe(buyer, touch)
            return
        # One parcel may carry two orders: its buyer hears of it once.
        keys = [touch.key, *([f"{touch.notice}|{touch.parcel}"] if touch.parcel else [])]
        if any(key in buyer.touched for key in keys):
            again = Skip(touch.key, SkipReason.ALREADY_SENT, Rule.ALREADY_SENT, source=touch.source)
            self._speaker.skip(run, again, buyer)
            return
        buyer.touched.update(dict.fromkeys(keys, run.now))
        while len(buyer.touched) > MAX_TOUCHES:
            buyer.touched.pop(min(buyer.touched, key=lambda key: buyer.touched[key]))
        if touch.not_before_returning > run.now and buyers.bought_before(buyer, touch):
            name = f"wait:{touch.key}"
            buyer.waiting[name] = Waiting(event=dump_event(event), id="")
            buyer.timers[name] = Timer(due=touch.not_before_returning)
            return
        self._handle(run, buyer, event, "touch", touch.notice, None)

    def _staff(self, run: Run, buyer: Buyer, event: Event, asked: StaffAsked) -> None:
        if self._apply.staff(run, buyer, asked):
            return
        self._handle(run, buyer, event, "staff", asked.action, None)

    def _about_buyer(self, run: Run, buyer: Buyer, event: Event, shop: ShopEvent) -> None:
        if shop.kind == "privacy.redact_customer":
            self._apply.staff(run, buyer, StaffAsked("erase", f"shop:{shop.shop}"))
            return
        if shop.buyer is not None:
            self._learn(run, buyer, shop.buyer, shop.shop, f"shop:{shop.shop}:{event.id}")
        self._handle(run, buyer, event, "shop", shop.kind, None)

    def _learn(self, run: Run, buyer: Buyer, facts: BuyerFacts, shop: str, source: str) -> None:
        """What a shop says of the buyer, and claims of the identities that it names."""
        new = identity.unknown_subjects(buyer, facts, shop)  # before they are remembered as this buyer's
        buyers.learn_facts(buyer, facts, self._accounts, source)
        for subject in new:
            self._apply.post(run, subject, identity.claim(buyer, subject))

    def _status(self, run: Run, buyer: Buyer, event: Event, status: StatusReported) -> None:
        account, id = subjects.split_address(event.subject)
        address = buyer.address(account, id)
        if status.reason == SkipReason.UNREACHABLE and address is not None and address.last_in <= event.at:
            address.reachable = False
        if status.reason == SkipReason.WINDOW_CLOSED and address is not None:
            buyers.shut_windows(address, event.at, self._accounts[account])
        if status.reason == SkipReason.OPTED_OUT and address is not None:
            run.effects.append(OptOut(source=f"{account}:provider", blocks=not status.marketing_only))
            run.turn = self._turn(run, event, buyer, address)
        if status.ref:
            return  # the message itself was moved where it is kept
        for change in status_changes(status, account, id, event.at):
            run.change.statuses.append(change)

    def _status_by_ref(self, run: Run, status: StatusReported) -> bool:
        """True when nothing else of the event is left to do."""
        home, why = ids.partition_in(status.ref), status.reason or status.code
        if home == run.partition:
            if status.parts:
                run.billed.append((run.event.account, status.ref, status.parts))
            run.change.statuses.append(
                StatusChange(
                    "ref", status.ref, status.state, run.event.at, why, ids.digest(status.provider_id), status.parts
                )
            )
        elif home is not None and home < self._partitions:
            # A message is kept in the partition that its id names; its address may hash to another (a phone's link).
            run.change.mails.append(Letter(run.event.subject, b"", dump_event(run.event), home))
        return status.state != "failed" or status.reason not in _ABOUT_THE_ADDRESS

    def _from_channel(self, run: Run, buyer: Buyer, event: Event) -> None:
        account, id = subjects.split_address(event.subject)
        address = buyers.ensure_address(buyer, account, id)
        known = self._accounts.get(account)
        body = event.body
        if known is not None and known.address_is_phone and isinstance(body, MessageReceived | Tapped):
            recycled = buyers.may_be_recycled(buyer, id, run.now)  # before this sign of life
            address.doubted = address.doubted or recycled or not buyers.is_own(buyer, address, self._accounts)
        buyers.seen(address, event, known)
        if address.dialog.state and address.dialog.until and address.dialog.until < run.now:
            buyers.reset_dialog(address)
        if isinstance(body, MessageReceived | Tapped):
            self._said(run, buyer, address, event, sms=bool(known and known.sms))
            return
        self._handle(run, buyer, event, "event", _tag(body), address)

    def _said(self, run: Run, buyer: Buyer, address: Address, event: Event, *, sms: bool) -> None:
        found = route(event, address.dialog, self._keywords, "sms" if sms else "chat")
        body = event.body
        # STOP is a carrier's word, not a language; Latin answers in a dialog are names, sizes and codes.
        if not found.always and not (found.kind == "state" and found.text.isascii()):
            self._apply.follow_locale(buyer, address, event)
        if found.name != "fallback":
            address.dialog.misses = 0
        raw = words_of(body) if isinstance(body, MessageReceived) else getattr(body, "title", "")
        turn = Turn(event, buyer, run.now, self._facts, address, arg=found.arg, text=found.text, raw_text=raw.strip())
        if (address.staff_until > run.now or getattr(body, "overheard", False)) and not found.always:
            run.turn = turn
            return  # staff or another app own the conversation: the bot listens only
        if not self._run_handler(run, found.kind, found.name, turn):
            self._run_handler(run, "intent", "fallback", turn)

    # --- orders, carts, parcels, accounts -------------------------------------------------------------------------

    def _at_order(self, run: Run, event: Event) -> None:
        body = event.body
        order = run.record if isinstance(run.record, Order) else None
        if isinstance(body, ShopEvent):
            knew = order.buyer if order is not None else None
            run.record, became = orders.apply(order, event)
            run.touched = True
            self._shop_handler(run, event, body, "order", became)
            self._apply.inform(run, run.record, changed=bool(became) or run.record.buyer != knew)
        elif order is not None:
            self._other(run, event, order, "order")

    def _at_cart(self, run: Run, event: Event) -> None:
        body = event.body
        cart = run.record if isinstance(run.record, Cart) else None
        if isinstance(body, ShopEvent):
            run.record, became = carts.apply(cart, event)
            run.touched = True
            self._shop_handler(run, event, body, "cart", became)
        elif cart is not None:
            self._other(run, event, cart, "cart")

    def _shop_handler(self, run: Run, event: Event, body: ShopEvent, record: str, became: tuple[str, ...]) -> None:
        assert run.record is not None
        turn = structs.replace(self._turn(run, event, run.record, None), became=became)
        self._run_handler(run, "shop", body.kind, turn, record)

    def _other(self, run: Run, event: Event, record: Order | Cart, kind: str) -> None:
        body = event.body
        if isinstance(body, TimerDue):
            held = fired(record.timers, body)
            if held is None:
                return
            run.touched = True
            if body.name == OWED and isinstance(record, Order):
                self._apply.expire_owed(run, record)
            else:
                self._run_timer(run, body.name, held, self._turn(run, event, record, None), kind)
        elif isinstance(body, StaffAsked):
            run.touched = True
            if not self._apply.staff_task(run, record, body):
                self._run_handler(run, "staff", body.action, self._turn(run, event, record, None), kind)

    def _at_parcel(self, run: Run, event: Event) -> None:
        parcel = run.record if isinstance(run.record, Parcel) else Parcel(run.taken.subject, created_at=run.now)
        run.record = parcel
        run.touched = True
        body = event.body
        if isinstance(body, ShopEvent) and body.order is not None:
            parcel.order = subjects.order(body.shop, body.order.id)
        if not parcel.order:
            parcel.held = [*parcel.held, dump_event(event)][-HELD_EVENTS:]
            return
        waited, parcel.held = [load_event(held) for held in parcel.held], []
        linked = isinstance(body, ShopEvent) and body.kind == "shipment.linked"
        for one in waited if linked else (*waited, event):
            self._apply.forward(run, structs.replace(one, subject=parcel.order))

    def _at_account(self, run: Run, event: Event) -> None:
        state = run.record if isinstance(run.record, AccountState) else AccountState(event.account, created_at=run.now)
        if isinstance(event.body, AccountAlert):
            run.record = state
            run.touched = True
            state.alerts = [*state.alerts, f"{run.now} {event.body.kind} {event.body.detail}"][-20:]
            if event.body.kind in ("block", "unblock"):
                state.blocked = event.body.detail if event.body.kind == "block" else ""
        elif isinstance(event.body, ShopEvent) and event.body.kind in ("shop.disconnected", "privacy.redact_shop"):
            run.record = state
            run.touched = True
            state.disconnected_at = max(state.disconnected_at, event.at)

    # --- handlers -------------------------------------------------------------------------------------------------

    def _turn(self, run: Run, event: Event, record: Record, address: Address | None) -> Turn:
        return Turn(event=event, record=record, now=run.now, facts=self._facts, address=address)

    def _handle(self, run: Run, buyer: Buyer, event: Event, kind: str, name: str, address: Address | None) -> None:
        self._run_handler(run, kind, name, self._turn(run, event, buyer, address))

    def _run_handler(self, run: Run, kind: str, name: str, turn: Turn, record: str = "buyer") -> bool:
        run.turn = turn
        found = self._registry.find(kind, name, record)
        if found is None:
            return False
        run.handler, function = found
        run.entry.handler = run.handler.name
        run.effects.extend(function(turn))
        return True

    # --- close ----------------------------------------------------------------------------------------------------

    def _close(self, run: Run) -> None:
        record, change, entry = run.record, run.change, run.entry
        if record is not None and run.touched:
            if not isinstance(record, Link):
                change.timers = timer_changes(run.before_timers, {n: t.due for n, t in record.timers.items()})
            change.record = dump_record(record)
            entry.record = change.record
            entry.buyer = record.id if isinstance(record, Buyer) else ""
        entry.event = dump_event(run.event)
        entry.release = self._release
        change.journal = dump(entry)


def _tag(body: object) -> str:
    config = getattr(type(body), "__struct_config__", None)
    return str(config.tag) if config is not None else ""
