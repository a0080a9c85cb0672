"""What an event means for a buyer's record: from a channel, a shop, staff, a timer, another record. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import structs

from bot import buyers, club, grants, identity, merging, orders, subjects
from bot.apply import OWED, Applier
from bot.broadcast_turns import BroadcastTurns
from bot.broadcasts import TEST
from bot.calls import Calls, tag_of
from bot.change import status_changes
from bot.codec import dump_event, dump_record, load_event
from bot.effects import OptOut, Skip
from bot.errors import GatewayError
from bot.events import (
    Absorbed,
    BroadcastDue,
    BroadcastEnded,
    BuyerFacts,
    Event,
    Followed,
    Forwarded,
    GrantChanged,
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
from bot.handling import Turn
from bot.journal import ConsentRecord, NoteRecord
from bot.ports import Capabilities
from bot.reasons import Rule, SkipReason
from bot.records import Address, Buyer, Link, Timer, Waiting
from bot.resending import TIMER as AGAIN
from bot.routing import Keywords, route, words_of
from bot.run import FindSent, Recall, Run, fired
from bot.speaking import Speaker

REDACT = "privacy.redact_customer"
TEST_MS: Ms = 600_000
"""So soon a test goes to whom nobody knows, or not at all."""


class BuyerTurns:
    """The part of a turn that is about a buyer."""

    def __init__(
        self,
        *,
        calls: Calls,
        apply: Applier,
        speaker: Speaker,
        keywords: Keywords,
        capabilities: Mapping[str, Capabilities],
        broadcasts: BroadcastTurns,
    ) -> None:
        self._calls = calls
        self._broadcasts = broadcasts
        self._apply = apply
        self._speaker = speaker
        self._keywords = keywords
        self._accounts = capabilities

    def take(self, run: Run, event: Event) -> None:
        """Makes the record where there is none yet, and does what the event asks."""
        subject = run.taken.subject
        if run.record is None and not self._make(run, event, subject):
            return
        buyer = run.record
        if not isinstance(buyer, Buyer):
            raise GatewayError(f"a {type(buyer).__name__} is kept where a buyer was expected")
        run.touched = True
        if run.guest:
            event = _at_once(event, run.now)  # nothing could wait for its hour
        if buyer.merging is not None and not isinstance(event.body, StatusReported):
            merging.hold(run, buyer, event, buyer.merging)
            return
        if isinstance(event.body, BroadcastDue):
            buyers.forget_old(buyer, run.now)
            self._broadcasts.come(run, event.body)
            return
        if buyer.erased and not isinstance(event.body, IdentityClaimed | MergeAsked | TimerDue):
            if isinstance(event.body, TouchAsked) and event.body.notice:
                touch = event.body
                erased = Skip(touch.key, SkipReason.ERASED, Rule.ADDRESS, touch.purpose, touch.source)
                self._speaker.skip(run, erased, buyer)
            if not isinstance(event.body, MessageReceived | Tapped | Followed | Scanned):
                return
            buyer = self.new_buyer(run, run.now)
        buyers.forget_old(buyer, run.now)
        match event.body:
            case IdentityClaimed() | MergeAsked() | Absorbed() | IdentityGranted():
                self._identity(run, buyer, event)
            case IdentityHeld():
                self._calls.handle(run, buyer, event, "event", tag_of(event.body), buyers.waiting(buyer))
            case IdentityReleased():
                pass  # the number is this record's own home: it stays, and who writes from it is doubted
            case TimerDue() as due:
                self._timer(run, buyer, event, due)
            case TouchAsked() as touch:
                self._touch(run, buyer, event, touch)
            case BroadcastEnded(broadcast=ended):
                self._broadcasts.ended(run, buyer, ended)
            case StaffAsked() as asked:
                self._staff(run, buyer, event, asked)
            case StatusReported() as status:
                self._status(run, buyer, event, status)
            case GrantChanged() as leave:
                self._leave(run, buyer, event, leave)
            case ShopEvent() as shop:
                self._about_buyer(run, buyer, event, shop)
            case _:
                self._from_channel(run, buyer, event)
        if isinstance(run.record, Buyer) and run.record.owed and run.record.addresses:
            for owed in self._apply.take_owed(run, run.record):
                self._apply.post(run, run.record.home, owed)
        if isinstance(run.record, Buyer) and run.record.member is not None:
            self._ask_again(run, run.record)

    def _make(self, run: Run, event: Event, subject: str) -> bool:
        """A record where there was none. False: the event was passed on or needs none."""
        if isinstance(event.body, TimerDue | IdentityGranted | StatusReported | MergeAsked | Unfollowed):
            return False
        if isinstance(event.body, IdentityHeld | IdentityReleased | BroadcastEnded):
            return False
        if isinstance(event.body, GrantChanged) and event.body.change != "given":
            return False
        if isinstance(event.body, BroadcastDue):
            self._broadcasts.come(run, event.body)  # to nobody: recorded as such
            return False
        if isinstance(event.body, ShopEvent) and event.body.kind == REDACT:
            self._redact_elsewhere(run, event, event.body, subject)
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
        buyer = self.new_buyer(run, event.received or run.now)
        if isinstance(event.body, StaffAsked) and _is_test(event.body):
            # Whom staff try a text on does not become a buyer by it, nor does a number that they mistyped.
            buyer.id, run.guest = "", True
            run.change.index.clear()
        return True

    def new_buyer(self, run: Run, at: Ms) -> Buyer:
        """A record for somebody whom nobody knew at this subject."""
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
        if isinstance(event.body, Absorbed):
            self._settle(run, buyer)
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
            self._calls.handle(run, buyer, event, "event", tag_of(event.body), waiting)

    def _timer(self, run: Run, buyer: Buyer, event: Event, due: TimerDue) -> None:
        held = fired(buyer.timers, due)
        if held is None:
            return
        if due.name == OWED:
            self._apply.expire_owed(run, buyer)
            return
        if due.name == club.TIMER:
            self._settle(run, buyer)
            return
        waiting = buyer.waiting.pop(due.name, None)
        if waiting is not None:
            run.deferred_id = waiting.id
            inner = load_event(waiting.event)
            run.event = inner
            self._again(run, buyer, inner, waiting)
            return
        self._due(run, buyer, event, due.name, held)

    def _due(self, run: Run, buyer: Buyer, event: Event, name: str, held: Timer) -> None:
        # The address that the timer was set from, where the handler noted it.
        address = buyer.address(held.data.get("account", ""), held.data.get("to", ""))
        turn = self._calls.turn(run, event, buyer, address)
        kind, _, arg = name.partition(":")
        if kind == AGAIN:
            run.turn, run.touched = turn, True
            run.effects.append(Recall(arg))
        else:
            self._calls.timer(run, name, held, turn)

    def _again(self, run: Run, buyer: Buyer, event: Event, waiting: Waiting) -> None:
        """The hour of a deferred message has come: what asked for it asks again."""
        if isinstance(event.body, TouchAsked):
            self._calls.handle(run, buyer, event, "touch", event.body.notice, None)
        elif isinstance(event.body, BroadcastDue):
            self._broadcasts.come(run, event.body, waiting)
        elif isinstance(event.body, StaffAsked):
            self._calls.handle(run, buyer, event, "staff", event.body.action, None)
        elif isinstance(event.body, TimerDue):
            self._due(run, buyer, event, event.body.name, Timer(event.body.due, waiting.data))
        else:
            self._calls.handle(run, buyer, event, "event", tag_of(event.body), None)

    def _touch(self, run: Run, buyer: Buyer, event: Event, touch: TouchAsked) -> None:
        if touch.facts is not None:
            self._learn(run, buyer, touch.facts, touch.shop, f"shop:{touch.shop}:{touch.facts.consent_event}")
        buyer.about = touch.item or buyer.about
        if touch.brief is not None:
            buyers.remember_order(buyer, touch.brief)
            self._calls.handle(run, buyer, event, "touch", "", None)
        if not touch.notice:
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
        self._apply.touch(buyer, keys, run.now)
        if touch.not_before_returning > run.now and buyers.bought_before(buyer, touch):
            name = f"wait:{touch.key}"
            buyer.waiting[name] = Waiting(event=dump_event(event), id="")
            buyer.timers[name] = Timer(due=touch.not_before_returning)
            return
        self._calls.handle(run, buyer, event, "touch", touch.notice, None)

    def _staff(self, run: Run, buyer: Buyer, event: Event, asked: StaffAsked) -> None:
        if self._apply.staff(run, buyer, asked):
            return
        self._calls.handle(run, buyer, event, "staff", asked.action, None)

    def _about_buyer(self, run: Run, buyer: Buyer, event: Event, shop: ShopEvent) -> None:
        if shop.kind == REDACT:
            if shop.buyer is not None and shop.buyer.ref:  # what was kept by this reference is looked for, too
                buyer.shoppers = [*buyer.shoppers, subjects.shopper(shop.shop, shop.buyer.ref)]
            self._apply.staff(run, buyer, StaffAsked("erase", f"shop:{shop.shop}"))
            return
        if shop.kind == club.OFFERED:
            self._count(run, buyer, shop)
            return
        if shop.buyer is not None:
            self._learn(run, buyer, shop.buyer, shop.shop, f"shop:{shop.shop}:{event.id}")
        self._calls.handle(run, buyer, event, "shop", shop.kind, None)

    # --- the club -------------------------------------------------------------------------------------------------

    def _count(self, run: Run, buyer: Buyer, offered: ShopEvent) -> None:
        """Counts what a completed order brought, or what went back of it, and answers the order."""
        assert offered.order is not None
        found = club.count(buyer, offered, self._calls.facts.club, run.now)
        self._apply.post(run, subjects.order(offered.shop, offered.order.id), found.answer)
        run.entry.notes += [NoteRecord(kind, words) for kind, words in found.notes]
        if found.notice is not None:
            self._apply.post(run, buyer.home, found.notice)
        self._gifts(run, buyer, found.levels)

    def _settle(self, run: Run, buyer: Buyer) -> None:
        """The card's level anew: two cards are one now, or a month is over."""
        before = buyer.member.level if buyer.member is not None else ""
        risen = club.settle(buyer, self._calls.facts.club, run.now)
        if buyer.member is not None:
            run.entry.notes += [NoteRecord(kind, words) for kind, words in club.level_note(before, buyer.member.level)]
        self._gifts(run, buyer, risen)

    def _gifts(self, run: Run, buyer: Buyer, levels: list[str]) -> None:
        for level in filter(None, map(self._calls.facts.club.find, levels)):
            if level.gift and club.given(level.key) not in buyer.tallies:
                self._apply.post(run, buyer.home, club.gift_touch(level, run.now))

    def _ask_again(self, run: Run, buyer: Buyer) -> None:
        """Orders that were completed before there was a card to count them on: its day says whether they count after all."""
        waiting, buyer.uncounted = buyer.uncounted, []
        for subject in waiting:
            self._apply.post(run, subject, ShopEvent(club.AGAIN, subject.split(":", 2)[1], occurred_at=run.now))

    def _redact_elsewhere(self, run: Run, event: Event, shop: ShopEvent, subject: str) -> None:
        """Nobody is known by the shop's reference: whom its orders were told to is found by what they named besides."""
        facts = shop.buyer
        if facts is None or subjects.kind(subject) != "shopper":
            return
        known = orders.identity(structs.replace(facts, ref=""), shop.shop)
        if known:
            self._apply.forward(run, structs.replace(event, subject=known))

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
            run.turn = self._calls.turn(run, event, buyer, address)
        if status.ref:
            if status.state == "failed" and status.again_after_s:
                run.effects.append(Recall(status.ref, status.again_after_s))
            return  # the message itself was moved where it is kept
        for change in status_changes(status, account, id, event.at):
            run.change.statuses.append(change)
        if status.template and address is not None and (grant := address.grants.get(status.template)) and grant.out:
            run.effects.append(FindSent(tuple(grant.out), status))

    def found(self, run: Run, message: str) -> None:
        """The result of a notice that took a leave is known."""
        if isinstance(buyer := run.record, Buyer):
            for address in buyer.addresses:
                grants.told(address, message)

    def _leave(self, run: Run, buyer: Buyer, event: Event, leave: GrantChanged) -> None:
        """A yes or a no to single notices, as the provider tells of it, and what became of one."""
        account, id = subjects.split_address(event.subject)
        address = buyers.ensure_address(buyer, account, id)
        changed = grants.change(address, leave, event.at)
        if leave.change in ("given", "taken"):
            verdict = "granted" if leave.change == "given" else "refused"
            source, topic = f"{account}:{leave.source}", f"notice:{leave.template}"
            run.leaves.append(ConsentRecord(account, id, topic, verdict, event.at, "", source))
        if changed:
            words = f"notice {leave.template} {leave.change}, {grants.left(address, leave.template)} left"
            run.entry.notes.append(NoteRecord("consent", words))

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
        self._calls.handle(run, buyer, event, "event", tag_of(body), address)

    def _said(self, run: Run, buyer: Buyer, address: Address, event: Event, *, sms: bool) -> None:
        found = route(event, address.dialog, self._keywords, "sms" if sms else "chat")
        body = event.body
        # STOP is a carrier's word, not a language; Latin answers in a dialog are names, sizes and codes.
        if not found.always and not (found.kind == "state" and found.text.isascii()):
            self._apply.follow_locale(buyer, address, event)
        if found.name != "fallback":
            address.dialog.misses = 0
        raw = words_of(body) if isinstance(body, MessageReceived) else getattr(body, "title", "")
        turn = Turn(
            event, buyer, run.now, self._calls.facts, address, arg=found.arg, text=found.text, raw_text=raw.strip()
        )
        if (address.staff_until > run.now or getattr(body, "overheard", False)) and not found.always:
            run.turn = turn
            return  # staff or another app own the conversation: the bot listens only
        if not self._calls.handler(run, found.kind, found.name, turn):
            self._calls.handler(run, "intent", "fallback", turn)


def _is_test(asked: StaffAsked) -> bool:
    """Whether staff try a broadcast's text (`console.trial`)."""
    return asked.action == "message" and str(json.loads(asked.data).get("source", "")).startswith(TEST)


def _at_once(event: Event, now: Ms) -> Event:
    """A test that goes within minutes or is skipped."""
    assert isinstance(event.body, StaffAsked)
    data = {**json.loads(event.body.data), "not_after": now + TEST_MS}
    return structs.replace(event, body=structs.replace(event.body, data=json.dumps(data).encode()))
