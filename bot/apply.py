"""Applies a turn's effects to its record and its change. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import structs

from bot import buyers, cards, erasing, ids, imported, keeping, keys, orders, subjects, wishes
from bot.change import Letter, StatusChange
from bot.clock import DAY_MS
from bot.codec import dump_event, load_event, pack
from bot.effects import (
    Await,
    AwaitStock,
    Cancel,
    ChangePhone,
    ClaimCoupon,
    ClaimResult,
    CloseTask,
    CodeResult,
    Effect,
    Enter,
    FindProducts,
    Hold,
    IssueCard,
    LearnIdentity,
    Leave,
    LeaveClub,
    Mail,
    Missed,
    Note,
    NoteProof,
    OpenTask,
    OptIn,
    OptOut,
    ProvePhone,
    Redeem,
    Remember,
    Revoke,
    Say,
    Schedule,
    SendCode,
    SetConsent,
    SetProfile,
    Skip,
    SpeakOf,
    StaffOwns,
    Tag,
    Tell,
    TellCode,
    Trust,
)
from bot.errors import GatewayError
from bot.events import Body, BroadcastDue, Event, IdentityReleased, MessageReceived, Ms, StaffAsked, TouchAsked
from bot.identity import claim
from bot.journal import NoteRecord
from bot.locales import detect
from bot.reasons import Rule, SkipReason
from bot.records import Address, Awaited, Buyer, Cart, Coupon, Dialog, Order, Task, Timer
from bot.run import Run
from bot.speaking import Speaker
from bot.touching import item_of, item_ref, others_of

MOST_OWED = 20
MAX_TOUCHES = 60
SAMPLE_TRIED_MS = 7 * DAY_MS
"""So long after a sample went out its buyer is asked how it was."""
OWED = "owed"
"""The engine's own timer: the next notice that is owed will be too late."""


@dataclass(slots=True)
class Applier:
    """Turns effects into writes. Effects that need an answer have been replaced by their continuations before."""

    speaker: Speaker
    partitions: int

    def effect(self, run: Run, effect: Effect) -> None:
        """Applies one effect. Raises GatewayError where a handler asks what its record cannot do."""
        record = run.record
        match effect:
            case Schedule() | Cancel():
                self._timer(run, effect)
            case Mail():
                self.post(run, effect.subject, effect.body)
            case Tell():
                self._tell(run, effect.touch)
            case OpenTask():
                self._open_task(run, effect)
            case CloseTask():
                self._close_task(run, effect)
            case Note():
                run.entry.notes.append(NoteRecord(effect.kind, effect.summary))
            case Skip():
                self.speaker.skip(run, effect, record if isinstance(record, Buyer) else None)
            case Hold():
                self.speaker.hold(run, effect)
            case IssueCard() | ClaimCoupon() | SendCode() | FindProducts():
                pass  # resolved before
            case _:
                if not isinstance(record, Buyer):
                    raise GatewayError(f"{type(effect).__name__} needs a buyer's record")
                self._on_buyer(run, record, effect)

    def _on_buyer(self, run: Run, buyer: Buyer, effect: Effect) -> None:
        match effect:
            case Say():
                if self.speaker.say(run, buyer, effect):
                    for follows in effect.after:
                        self.effect(run, follows)
            case Enter() | Leave() | Missed() | StaffOwns() | Trust():
                self._dialog(run, buyer, effect)
            case LeaveClub():
                cards.leave(run, buyer)
            case ProvePhone():
                identity = subjects.phone(effect.phone)
                self.post(run, identity, claim(buyer, identity, proved=True, fact=effect.fact))
            case ChangePhone():
                buyer.revoked += 1
                for gone in buyers.change_phone(buyer, effect.phone, self.speaker.policy.accounts):
                    if subjects.phone(gone) != buyer.home:
                        self.post(run, subjects.phone(gone), IdentityReleased(buyer.home))
            case LearnIdentity():
                for identity in effect.subjects:
                    if identity != buyer.home:
                        self.post(run, identity, claim(buyer, identity))
            case SetProfile():
                _set_profile(buyer, effect)
            case TellCode() | NoteProof() | Revoke():
                self._page(run, buyer, effect)
            case Tag():
                _tag(buyer, effect)
            case SetConsent():
                self._consent(run, buyer, effect)
            case OptOut() | OptIn():
                self._opt(run, buyer, effect)
            case Remember():
                value = effect.by if effect.replace else buyer.tallies.get(effect.name, 0) + effect.by
                buyer.tallies[effect.name] = value
            case Await():
                run.change.index.append((f"w:{effect.topic}:{buyer.id}", buyer.home if effect.on else ""))
            case SpeakOf():
                buyer.about = effect.item
            case AwaitStock():
                self._await_stock(run, buyer, effect)
            case Redeem():
                for coupon in buyer.coupons:
                    if coupon.code == effect.code:
                        coupon.state, coupon.order = "redeemed", effect.order
            case _:
                raise GatewayError(f"no way to apply {type(effect).__name__}")

    def _await_stock(self, run: Run, buyer: Buyer, effect: AwaitStock) -> None:
        address = self._address(run)
        letters = wishes.drop(buyer, effect.product, effect.sku) if not effect.on else []
        if effect.on and address is not None:
            shown = self.speaker.wordings.evidence(effect.wording, address.locale or buyer.locale)
            wish = Awaited(effect.product, effect.sku, run.now, address.account, address.id, shown)
            letters = wishes.wish(buyer, wish)
        self._post_all(run, letters)

    def _post_all(self, run: Run, letters: wishes.Letters) -> None:
        for subject, body in letters:
            self.post(run, subject, body)

    # --- timers, mail, tasks --------------------------------------------------------------------------------------

    def _timer(self, run: Run, effect: Schedule | Cancel) -> None:
        record = run.record
        if record is None or not hasattr(record, "timers"):
            raise GatewayError("this record keeps no timers")
        if isinstance(effect, Cancel):
            record.timers.pop(effect.name, None)
            if isinstance(record, Buyer):
                record.waiting.pop(effect.name, None)
            return
        data = dict(effect.data)
        if run.turn is not None and run.turn.address is not None:
            data.setdefault("account", run.turn.address.account)
            data.setdefault("to", run.turn.address.id)
        record.timers[effect.name] = Timer(due=effect.at, data=data)

    def settle(self, run: Run, id: str, reason: SkipReason) -> None:
        """Ends a held message ("" is none) as skipped."""
        if id:
            run.change.statuses.append(StatusChange("ref", id, "skipped", run.now, str(reason)))

    def touch(self, buyer: Buyer, names: Iterable[str], now: Ms) -> None:
        """Notes what was said to a buyer, so that it is not said again."""
        buyer.touched.update(dict.fromkeys(names, now))
        while len(buyer.touched) > MAX_TOUCHES:
            buyer.touched.pop(min(buyer.touched, key=lambda key: buyer.touched[key]))

    def post(self, run: Run, subject: str, body: Body) -> None:
        """Mails something new to a record."""
        self.forward(run, Event("", subject, run.event.account, run.now, run.now, body))

    def forward(self, run: Run, event: Event) -> None:
        """Mails an event to the record that it is about."""
        home = subjects.home(event.subject)
        partition = subjects.partition_of(home, self.partitions)
        run.change.mails.append(Letter(home, b"", dump_event(event), partition))

    def _tell(self, run: Run, touch: TouchAsked) -> None:
        record = run.record
        if not isinstance(record, Order | Cart):
            raise GatewayError("only orders and carts ask for touches")
        if touch.key in record.told:
            return
        record.told.append(touch.key)
        subject = orders.identity(record.buyer, record.shop)
        if isinstance(record, Order):
            touch = structs.replace(touch, brief=orders.brief(record))
        touch = structs.replace(touch, facts=record.buyer, shop=record.shop, item=item_ref(record))
        if subject:
            run.news_for = ""  # the touch brings the news of its order along
            self.post(run, subject, touch)
        elif isinstance(record, Order):
            self.owe(record, touch)
        else:
            self._nobody(run, touch)

    def inform(self, run: Run, order: Order, *, changed: bool) -> None:
        """Settles what an order owes once somebody is known, and keeps the buyer's list of orders current."""
        subject = orders.identity(order.buyer, order.shop)
        if not subject:
            return
        for touch in self.take_owed(run, order):
            known = {**touch.vars, **_named(order)} if "item" not in touch.vars else touch.vars
            self.post(run, subject, structs.replace(touch, vars=known, brief=orders.brief(order), facts=order.buyer))
        if changed:
            run.news_for = subject

    def tell_news(self, run: Run) -> None:
        """Mails what is new of an order to its buyer's record, unless a touch of the same turn has brought it."""
        if run.news_for and isinstance(order := run.record, Order):
            news = TouchAsked(brief=orders.brief(order), facts=order.buyer, shop=order.shop, item=item_ref(order))
            self.post(run, run.news_for, news)

    # --- notices that nobody can be sent yet ------------------------------------------------------------------------

    def owe(self, record: Order | Buyer, touch: TouchAsked) -> None:
        """Keeps a notice until somebody can be reached, or its time has passed."""
        record.owed = [*record.owed, touch][-MOST_OWED:]
        _watch_owed(record)

    def take_owed(self, run: Run, record: Order | Buyer) -> list[TouchAsked]:
        """All that is owed, now that somebody can be reached; what is too late is recorded as such."""
        self.expire_owed(run, record)
        owed, record.owed = record.owed, []
        _watch_owed(record)
        return owed

    def expire_owed(self, run: Run, record: Order | Buyer) -> None:
        """Records what nobody could be told in time."""
        late = [touch for touch in record.owed if touch.not_after < run.now]
        record.owed = [touch for touch in record.owed if touch.not_after >= run.now]
        for touch in late:
            self._nobody(run, touch)
        _watch_owed(record)

    def _nobody(self, run: Run, touch: TouchAsked) -> None:
        order = touch.brief.id if touch.brief is not None else ""
        skip = Skip(touch.key, SkipReason.NO_ADDRESS, Rule.ADDRESS, touch.purpose, touch.source, order)
        self.speaker.skip(run, skip, run.record if isinstance(run.record, Buyer) else None)

    def _open_task(self, run: Run, effect: OpenTask) -> None:
        record = run.record
        if not isinstance(record, Buyer | Order):
            raise GatewayError("tasks are opened by buyers and orders")
        key = effect.key or effect.kind
        if key in record.tasks:
            return
        task = Task(
            id=ids.derived("t", run.partition, f"{run.taken.subject}|{key}|{run.taken.entry}|{run.now}"),
            kind=effect.kind,
            key=key,
            home=run.taken.subject,
            brief=effect.brief,
            created_at=run.now,
            buyer=record.id if isinstance(record, Buyer) else "",
            order=effect.order,
            due_at=effect.due_at,
        )
        record.tasks[key] = task
        self._write_task(run, task)

    def _close_task(self, run: Run, effect: CloseTask) -> None:
        if isinstance(run.record, Buyer | Order) and (task := run.record.tasks.pop(effect.key, None)):
            task.state, task.outcome = effect.state, effect.outcome
            self._write_task(run, task)

    def _write_task(self, run: Run, task: Task) -> None:
        body = pack(task)
        run.change.tasks.append((task.id, body))
        run.entry.tasks.append(body)

    # --- conversation ---------------------------------------------------------------------------------------------

    def _address(self, run: Run) -> Address | None:
        return run.turn.address if run.turn is not None else None

    def _dialog(self, run: Run, buyer: Buyer, effect: Enter | Leave | Missed | StaffOwns | Trust) -> None:
        address = self._address(run) or _latest(buyer)
        if address is None:
            return
        dialog = address.dialog
        match effect:
            case Enter():
                if effect.pause and dialog.state and not dialog.paused and dialog.state != effect.state:
                    dialog.paused, dialog.paused_data = dialog.state, dialog.data
                if dialog.state != effect.state:
                    dialog.tries = 0
                dialog.state, dialog.data = effect.state, dict(effect.data)
                dialog.until = run.now + effect.timeout_s * 1000
                dialog.misses = 0
            case Leave(resume=True) if dialog.paused:
                until = run.now + Enter("").timeout_s * 1000
                address.dialog = Dialog(dialog.paused, dialog.paused_data, until, asked=dialog.asked)
            case Leave():
                address.dialog = Dialog(asked=dialog.asked)
            case Missed():
                if dialog.state:
                    dialog.tries += 1
                else:
                    dialog.misses += 1
            case Trust():
                address.doubted = False
            case StaffOwns():
                address.staff_until = effect.until

    def follow_locale(self, buyer: Buyer, address: Address, event: Event) -> None:
        """The locale follows the language that the buyer writes in."""
        if isinstance(event.body, MessageReceived) and event.body.kind == "text":
            seen = detect(event.body.text)
            if seen and seen != address.locale:
                address.locale = seen
                buyer.locale = seen

    # --- membership, consent --------------------------------------------------------------------------------------

    def coupon(self, buyer: Buyer, result: ClaimResult, now: Ms) -> ClaimResult:
        """Puts a claimed coupon into the wallet. What the wallet has not seen was won now, by an attempt that died."""
        if result.outcome not in ("won", "again") or any(c.code == result.code for c in buyer.coupons):
            return result
        buyer.coupons.append(
            Coupon(code=result.code, campaign=result.campaign, expires_at=result.expires_at, claimed_at=now)
        )
        return structs.replace(result, outcome="won") if result.outcome == "again" else result

    def _consent(self, run: Run, buyer: Buyer, effect: SetConsent) -> None:
        address = buyer.address(effect.account, effect.to) if effect.account else self._address(run)
        if address is None:
            return
        locale = effect.locale or address.locale or buyer.locale
        wording = self.speaker.wordings.evidence(effect.wording, locale)
        consent = address.consent
        setattr(consent, effect.topic, effect.verdict)
        if effect.topic == "coupons":
            consent.coupons_at, consent.coupons_wording = run.now, wording
        else:
            consent.at, consent.wording, consent.source = run.now, wording, effect.source
        run.answered.add((address.account, address.id, effect.topic))
        summary = f"{effect.topic} {effect.verdict} ({wording}, {effect.source})"
        run.entry.notes.append(NoteRecord("consent", summary))

    def _opt(self, run: Run, buyer: Buyer, effect: OptOut | OptIn) -> None:
        here = self._address(run)
        if isinstance(effect, OptIn) and effect.account:
            here = buyer.address(effect.account, effect.to)
        if isinstance(effect, OptOut):
            self._post_all(run, wishes.drop_all(buyer))
            for address in buyer.addresses:
                address.opted_out = True
                buyers.refuse(address, run.now, effect.source)
                run.answered.add((address.account, address.id, "marketing"))
            if here is not None and effect.blocks:
                here.blocked = True
        else:
            for address in buyer.addresses:
                address.opted_out = False
            if here is not None:
                here.blocked = here.blocked and bool(effect.account)  # a carrier lifts its block by a text alone
                here.consent.marketing, here.consent.at = "granted", run.now
                locale = effect.locale or here.locale or buyer.locale
                here.consent.wording = self.speaker.wordings.evidence(effect.wording, locale)
                here.consent.source = effect.source
                run.answered.add((here.account, here.id, "marketing"))
        kind = "opt_out" if isinstance(effect, OptOut) else "opt_in"
        run.entry.notes.append(NoteRecord(kind, effect.source))

    # --- codes ----------------------------------------------------------------------------------------------------

    def queue_code(self, run: Run, result: CodeResult) -> None:
        """Plans the message that carries a phone code."""
        if result.outcome == "sent" and isinstance(run.record, Buyer):
            self.speaker.send_code(run, run.record, result)

    # --- pages ----------------------------------------------------------------------------------------------------

    def _page(self, run: Run, buyer: Buyer, effect: TellCode | NoteProof | Revoke) -> None:
        match effect:
            case TellCode():
                data = {"account": effect.account, "otp": effect.otp, "wording": effect.wording}
                result = CodeResult("sent", effect.phone, expires_at=effect.expires_at, data=data)
                self.speaker.send_code(run, buyer, result)
            case NoteProof():
                if effect.phone in buyer.phones:
                    buyer.proved_at[effect.phone] = run.now
            case Revoke():
                buyer.revoked += 1

    # --- staff ----------------------------------------------------------------------------------------------------

    def staff(self, run: Run, buyer: Buyer, asked: StaffAsked) -> bool:
        """What the REST API and the console ask of a record itself. False: a handler's business."""
        data = json.loads(asked.data)
        match asked.action:
            case "patch":
                for name in ("name", "birthday", "gender", "locale", "timezone"):
                    if name in data:
                        setattr(buyer, name, data[name] or "")
                if "sizes" in data:  # an empty object takes all back, an empty value one
                    sizes = {**buyer.sizes, **data["sizes"]} if data["sizes"] else {}
                    buyer.sizes = {part: size for part, size in sizes.items() if size}
                buyer.tags = list(dict.fromkeys(data.get("tags", buyer.tags)))
            case "redeem":
                self._on_buyer(run, buyer, Redeem(data["code"], data["order"]))
            case "coupon":
                result = ClaimResult("won", data["campaign"], data["code"], data["expires_at"])
                self.coupon(buyer, result, run.now)
            case "erase":
                self._erase(run, buyer, erasing.wanted(buyer))
            case "age":
                if not keeping.may_go(buyer, data["before"], run.now):
                    return True  # a sign of life came first
                run.evidence = buyers.evidence(buyer, data.get("tell", ()))  # proof outlives the record
                wanted = erasing.wanted(buyer)
                wanted.aged, wanted.evidence_until = True, data["evidence_until"]
                self._erase(run, buyer, wanted)
            case "merge":
                self.post(run, data["into"], claim(buyer, data["into"]))
            case "consent":
                address = buyers.ensure_address(buyer, data["account"], data["id"])
                run.answered.add((address.account, address.id, data["topic"]))
                setattr(address.consent, data["topic"], data["verdict"])
                address.consent.at, address.consent.wording, address.consent.source = (
                    run.now,
                    data["evidence"],
                    asked.by,
                )
            case "import_member":
                imported.take(buyer, data, self.speaker.policy.accounts)
            case "complete_task":
                return self.staff_task(run, buyer, asked)
            case "take":
                for address in buyer.addresses:
                    address.staff_until = data.get("until", 0)
            case "release":
                for address in buyer.addresses:
                    address.staff_until = 0
            case _:
                return False
        run.entry.notes.append(NoteRecord("staff", f"{asked.action} by {asked.by}"))
        return asked.action not in ("coupon", "import_member")  # a handler goes on: reminds of the end, issues the card

    def _erase(self, run: Run, buyer: Buyer, wanted: erasing.Wanted) -> None:
        run.change.rows.append((keys.erasures(run.partition), buyer.id, erasing.dump(wanted)))
        _end_broadcasts(run, buyer)
        cards.forget(run, buyer)
        self._on_buyer(run, buyer, Await("coupons", on=False))
        self._post_all(run, wishes.drop_all(buyer))
        run.record = buyers.erase(buyer)

    def staff_task(self, run: Run, record: Buyer | Order | Cart, asked: StaffAsked) -> bool:
        """Staff completed a task of this record, or its buyer is to be forgotten."""
        if asked.action == "forget" and isinstance(record, Order | Cart):
            buyers.forget(record)
            return True
        if asked.action != "complete_task" or isinstance(record, Cart):
            return False
        data = json.loads(asked.data)
        for key, task in list(record.tasks.items()):
            if task.id == data["id"]:
                del record.tasks[key]
                task.state, task.outcome, task.note, task.assignee = (
                    "done",
                    data["outcome"],
                    data.get("note", ""),
                    asked.by,
                )
                self._write_task(run, task)
                run.entry.notes.append(NoteRecord("task", f"{task.kind} done: {task.outcome}"))
                if (task.kind, task.outcome) == ("sample", "sent"):
                    record.timers[f"sample:{task.id}"] = Timer(due=run.now + SAMPLE_TRIED_MS)
        return isinstance(record, Buyer)


def _named(order: Order) -> dict[str, str]:
    """What the order holds, as the variables of a touch: a parcel may be heard of before the order itself."""
    item, others = item_of(order.items), others_of(order.items)
    return {name: value for name, value in (("item", item), ("others", str(others) if others else "")) if value}


def _watch_owed(record: Order | Buyer) -> None:
    """The timer by which the next owed notice is too late."""
    if record.owed:
        record.timers[OWED] = Timer(due=min(touch.not_after for touch in record.owed) + 1)
    else:
        record.timers.pop(OWED, None)


def _end_broadcasts(run: Run, buyer: Buyer) -> None:
    """What of a broadcast waits here since a merge has no row yet: it ends with the buyer. What has one ends with its row."""
    for waiting in buyer.waiting.values():
        body = load_event(waiting.event).body
        if isinstance(body, BroadcastDue) and not waiting.id:
            for counter in ("arrived", "skipped", "skipped:erased"):
                run.tally(body.broadcast, counter, 1)


def _set_profile(buyer: Buyer, effect: SetProfile) -> None:
    name, _, part = effect.field.partition(":")
    if name == "size":
        if effect.value:
            buyer.sizes[part] = effect.value
        else:
            buyer.sizes.pop(part, None)
    elif name in ("name", "birthday", "gender", "locale", "timezone"):
        setattr(buyer, name, effect.value)
    else:
        raise GatewayError(f"a buyer has no profile field {effect.field}")


def _tag(buyer: Buyer, effect: Tag) -> None:
    if effect.remove:
        buyer.tags = [tag for tag in buyer.tags if tag != effect.tag]
    elif effect.tag not in buyer.tags:
        buyer.tags.append(effect.tag)


def _latest(buyer: Buyer) -> Address | None:
    """The address that the buyer last wrote from."""
    return max(buyer.addresses, key=lambda a: a.last_in, default=None)
