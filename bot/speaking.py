"""From a `Say` to a message in the outbox: policy decides, wording renders, the decision is recorded. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from msgspec import structs

from bot import grants, hours, ids, phrases, sms
from bot.broadcasts import SOURCE, Script
from bot.change import QueuedMessage
from bot.codec import dump_event, dump_message
from bot.costs import Tariff, cost
from bot.effects import CodeResult, Hold, Say, Skip
from bot.events import Event, Money, Ms, StaffAsked
from bot.ids import show_member_number
from bot.journal import DecisionRecord
from bot.lint import FIELD_CHARACTERS, Approved, field_fault
from bot.messages import Choice, Content, Notice, NoticeKind, OutboundMessage, Picture, State, Text, lane_of
from bot.phrases import NoValueError
from bot.policy import Decision, Plan, PolicySettings, decide, zone_of
from bot.reasons import Rule, SkipReason
from bot.records import Address, Buyer, Link, Timer, Waiting
from bot.run import Run
from bot.wording import Filling, Medium, NoVariantError, Rendered, Wordings, filled, with_brand, with_way_out


@dataclass(frozen=True, slots=True)
class NoticeTemplate:
    """An approved provider template for a wording on an account: field name → what fills it."""

    template_id: str
    fields: Mapping[str, Filling]
    kind: NoticeKind = "template"


@dataclass(slots=True)
class Speaker:
    """Plans messages for buyers."""

    wordings: Wordings
    policy: PolicySettings
    brand: str
    locale: str
    notices: Mapping[tuple[str, str], NoticeTemplate] = field(default_factory=dict)
    tariffs: Mapping[str, Tariff] = field(default_factory=dict)  # by account, where prices are configured
    brands: Mapping[str, str] = field(default_factory=dict)  # by locale, where it has another name there
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: phrases.LEVELS)  # names by key and locale
    rights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # what levels give, as above
    stop_link: Callable[[Buyer, Ms], str] = lambda *_: ""  # to a page that ends marketing; "" without a public address

    # --- saying ---------------------------------------------------------------------------------------------------

    def say(self, run: Run, buyer: Buyer, effect: Say) -> bool:
        """Decides and plans one message; records the decision whatever it is. True: it is on its way."""
        address = run.turn.address if run.turn is not None else None
        explicit = buyer.address(effect.account, effect.to) if effect.account and effect.to else None
        reply_to = explicit or (address if effect.purpose == "reply" else None)
        only = effect.accounts or ((effect.account,) if effect.account else ())
        if effect.purpose == "reply" and reply_to is None:
            reply_to = max(buyer.addresses, key=lambda a: a.last_in, default=None)
        plan = Plan(
            purpose=effect.purpose,
            buyer=buyer,
            now=run.now,
            key=effect.key,
            reply_to=reply_to,
            only=only,
            not_after=effect.not_after,
            confirms_opt_out=effect.confirms_opt_out,
            needs_window=effect.needs_window,
            spares_texts=effect.spares_texts,
            templates=frozenset(effect.script.templates) if effect.script else frozenset(),
            topic=effect.topic,
        )
        decision = decide(plan, self.policy)
        if effect.script and decision.outcome == "defer":
            decision.until = self._spread(plan, effect.script.spread_ms, decision)
        id = run.deferred_id or effect.id or ids.derived("m", run.partition, self._seed(run, buyer))
        run.deferred_id = ""
        self._record(run, buyer, effect, decision, id)
        if decision.outcome == "send":
            self._plan(run, buyer, effect, decision, id)
        elif decision.outcome == "defer":
            self._defer(run, buyer, effect, decision, id)
        else:
            self._row(run, buyer, effect, decision, id, "skipped")
        return decision.outcome == "send"

    def _seed(self, run: Run, buyer: Buyer) -> str:
        count = len(run.entry.decisions)
        return f"{buyer.id}|{run.taken.lane}|{run.taken.entry}|{run.event.id}|{count}"

    def _record(self, run: Run, buyer: Buyer, effect: Say, decision: Decision, id: str) -> None:
        run.entry.decisions.append(
            DecisionRecord(
                message=id,
                buyer=buyer.id,
                purpose=effect.purpose,
                outcome=decision.outcome,
                at=run.now,
                source=_source(run, effect),
                key=effect.key,
                account=decision.address.account if decision.address else "",
                reason=decision.reason,
                order=effect.order,
                until=decision.until,
                rules=decision.rules,
            )
        )

    def _spread(self, plan: Plan, spread: Ms, decision: Decision) -> Ms:
        """Those who wait for the same hour begin one after another from there on, each at a minute that stays the same."""
        if not spread:
            return decision.until
        at = decision.until + ids.share(f"{plan.key}|{plan.buyer.id}", spread)
        marketing = plan.purpose == "marketing"
        allowed = self.policy.marketing_hours if marketing else self.policy.service_hours
        still = hours.is_open(allowed, at, zone_of(plan, self.policy, decision.address))
        return at if still and not 0 < plan.not_after < at else decision.until

    def _defer(self, run: Run, buyer: Buyer, effect: Say, decision: Decision, id: str) -> None:
        """The event that asked is kept, and asks again at the hour: conditions are then weighed anew."""
        name = f"wait:{id}"
        data = dict(run.turn.data) if run.turn is not None else {}
        buyer.waiting[name] = Waiting(event=dump_event(run.event), id=id, data=data)
        buyer.timers[name] = Timer(due=decision.until)
        self._row(run, buyer, effect, decision, id, "queued", held=True)

    # --- the message ----------------------------------------------------------------------------------------------

    def _plan(self, run: Run, buyer: Buyer, effect: Say, decision: Decision, id: str) -> None:
        address = decision.address
        assert address is not None
        try:
            message = self._message(run, buyer, effect, decision, address, id)
        except (NoVariantError, NoValueError) as error:
            decision.outcome, decision.reason = "skip", SkipReason.WINDOW_CLOSED
            if isinstance(error, NoValueError):
                decision.reason = SkipReason.MISSING_VALUE
                decision.note(Rule.WORDING, "deny", error.args[0])
            recorded = run.entry.decisions[-1]
            recorded.outcome, recorded.reason = decision.outcome, decision.reason
            self._row(run, buyer, effect, decision, id, "skipped")
            return
        if decision.opener and (window := address.windows[decision.opener]).left > 0:
            window.left -= 1
        if decision.grant:
            grants.use(address, decision.grant, id)
        if (planned := cost(message.price, message.parts)) is not None:
            detail = f"{message.parts} part{'s' * (message.parts > 1)}, {planned.amount} {planned.currency}"
            decision.note(Rule.SPEND, "allow", detail)
        address.last_out = run.now
        if effect.purpose == "marketing":
            buyer.sent.marketing.append(run.now)
        elif effect.purpose == "service":
            buyer.sent.service.append(run.now)
        self._keep(run, message)

    def _message(
        self, run: Run, buyer: Buyer, effect: Say, decision: Decision, address: Address, id: str
    ) -> OutboundMessage:
        able = self.policy.accounts[address.account]
        locale = address.locale or buyer.locale or self.locale
        asked: dict[str, str] = {}
        if effect.script is not None:
            content: Content = self._scripted(run, buyer, effect, effect.script, decision, locale)
        else:
            values = self._values(buyer, effect, locale)
            content, asked = self._content(effect, decision, address, locale, values, sms_lane=able.sms)
        if asked:
            address.dialog.asked = asked
        parts, price = self._billed(address.account, address.id, content)
        return OutboundMessage(
            id=id,
            buyer=buyer.id,
            home=buyer.home,
            account=address.account,
            to=address.id,
            purpose=effect.purpose,
            content=content,
            created_at=run.now,
            key=effect.key,
            source=_source(run, effect),
            locale=locale,
            not_after=effect.not_after,
            guard=effect.guard,
            order=effect.order,
            parts=parts,
            touch=effect.touch,
            topic=effect.topic,
            window_opener=decision.opener,
            price=price,
            again_of=effect.again_of,
            again=effect.again,
            variant=effect.variant,
            grant=grants.oldest(address, decision.grant) if decision.grant else 0,
        )

    def _scripted(
        self, run: Run, buyer: Buyer, effect: Say, script: Script, decision: Decision, locale: str
    ) -> Content:
        """The words of a broadcast for this buyer, in the language that they read.

        Raises NoValueError for a variable without a value, or with one that an approved template would not take.
        """
        address = decision.address
        assert address is not None
        spoken, text = phrases.pick(script.text, locale, self.locale)
        values = phrases.values_of(
            buyer,
            spoken or locale,
            now=run.now,
            zone=hours.zone(address.timezone or buyer.timezone, self.policy.timezone),
            brand=self._brand(spoken or locale),
            campaign=script.coupon,
            given={"stop": self.stop_link(buyer, run.now), **script.given},
            levels=self.levels,
        )
        if decision.notice:
            template = script.templates[address.account]
            fields = {name: _phrase(source).fill(values) for name, source in template.fields.items()}
            for name, value in fields.items():
                if field_fault(value, template.longest or FIELD_CHARACTERS):
                    raise NoValueError(name)
            whole = with_brand(Approved(template.text).filled(fields), self._brand("zh-CN"), "zh-CN")
            return Notice(template.template_id, fields, text=whole)
        text = _phrase(text).fill(values)
        return Text(self._closed(text, effect, spoken, sms_lane=self.policy.accounts[address.account].sms))

    def _closed(self, text: str, effect: Say, locale: str, *, sms_lane: bool) -> str:
        """Free words by SMS name the shop, and marketing the way out."""
        if not sms_lane:
            return text
        text = with_brand(text, self._brand(locale), locale)
        return with_way_out(text, locale) if effect.purpose == "marketing" else text

    def _billed(self, account: str, to: str, content: Content) -> tuple[int, Money | None]:
        """The parts of a text message and what one of them costs; (0, None) for anything else."""
        able = self.policy.accounts[account]
        if not able.sms or not isinstance(content, Text | Notice):
            return 0, None
        text = sms.spelled_out(content) if isinstance(content, Text) else content.text
        tariff = self.tariffs.get(account)
        return sms.parts_of(text, mainland=able.mainland_parts), tariff.price(to) if tariff else None

    def _brand(self, locale: str) -> str:
        return self.brands.get(locale, self.brand)

    def _values(self, buyer: Buyer, effect: Say, locale: str) -> dict[str, Any]:
        card = show_member_number(buyer.member.number) if buyer.member else ""
        named = {}
        if level := str(effect.vars.get("level", "")):
            named["level"] = phrases.level_name(level, locale, self.levels)
        if level := str(effect.vars.get("rights", "")):
            named["rights"] = phrases.pick(self.rights.get(level, {}), locale, self.locale)[1]
        return {
            "brand": self._brand(locale),
            "tz": self.policy.timezone,
            "name": buyer.name,
            "card": card,
            **effect.vars,
            **named,
        }

    def _content(
        self,
        effect: Say,
        decision: Decision,
        address: Address,
        locale: str,
        values: Mapping[str, Any],
        *,
        sms_lane: bool,
    ) -> tuple[Content, dict[str, str]]:
        """The content, and the digits that answer its question."""
        medium: Medium = "sms" if sms_lane else "chat"
        if effect.content is not None:
            return _with_card(effect.content, str(values["card"])), {}
        if effect.text:
            return Text(self._closed(effect.text, effect, locale, sms_lane=sms_lane)), {}
        rendered = self.wordings.render(effect.key, locale, values, medium)
        if decision.notice:
            return self._notice(effect.key, address.account, values, rendered), {}
        choices = (*rendered.choices, *effect.choices)
        able = self.policy.accounts[address.account]
        text, numbered = rendered.text, rendered.numbered
        if choices and not numbered and able.choices < len(choices):
            text, numbered = _number(text, choices), True
        asked = {str(i + 1): choice.payload for i, choice in enumerate(choices)}
        return Text(text, choices, numbered, ask_phone=effect.ask_phone and able.hands_over_phone), asked

    def _notice(self, key: str, account: str, values: Mapping[str, Any], rendered: Rendered) -> Notice:
        template = self.notices[key, account]
        fields = {name: filled(text, values) for name, text in template.fields.items()}
        return Notice(template.template_id, fields, text=rendered.text, kind=template.kind)

    # --- rows -----------------------------------------------------------------------------------------------------

    def _keep(
        self, run: Run, message: OutboundMessage, state: State = "queued", reason: str = "", *, queue: bool = True
    ) -> None:
        """The message's row; without `queue` it is in no address's queue: held or skipped."""
        body = dump_message(message)
        run.entry.messages.append(body)
        account, to = (message.account, message.to) if queue else ("", "")
        lane = lane_of(message.purpose)
        queued = QueuedMessage(
            message.id, account, to, lane, state, reason, message.created_at, message.purpose, body, message
        )
        if message.source.startswith(SOURCE):
            queued.bc = f"{message.source.removeprefix(SOURCE)}\0{message.variant}"
        run.change.messages.append(queued)

    def _row(
        self, run: Run, buyer: Buyer, effect: Say, decision: Decision, id: str, state: State, *, held: bool = False
    ) -> None:
        """A message that is not to be sent now still has its row: every planned message ends in one state."""
        address = decision.address
        message = OutboundMessage(
            id=id,
            buyer=buyer.id,
            home=buyer.home,
            account=address.account if address else "",
            to=address.id if address else "",
            purpose=effect.purpose,
            content=Text(effect.text),
            created_at=run.now,
            key=effect.key,
            source=effect.source,
            order=effect.order,
            touch=effect.touch,
            not_after=effect.not_after,
            again_of=effect.again_of,
            again=effect.again,
            variant=effect.variant,
        )
        self._keep(run, message, state, "" if held else decision.reason, queue=False)

    def moved(self, run: Run, event: Event, link: Link) -> Event:
        """A message by the API whose buyer lives elsewhere by now: its id, which names this partition, ends as skipped.

        The event goes on without an id, and its message gets one at the survivor: statuses find a message by its id's partition.
        """
        body = event.body
        assert isinstance(body, StaffAsked)
        asked = json.loads(body.data)
        id = asked.get("id", "")
        if ids.partition_in(id) != run.partition:
            return event
        key, text = asked.get("wording", ""), asked.get("text", "")
        say = Say(key=key, purpose=asked["purpose"], source=f"api:{body.by}", text=text)
        decision = Decision("skip", reason=SkipReason.MERGED)
        decision.note(Rule.ADDRESS, "deny")
        somebody = Buyer(id=link.buyer, home=link.home, created_at=0)
        self._record(run, somebody, say, decision, id)
        self._row(run, somebody, say, decision, id, "skipped")
        return structs.replace(event, body=structs.replace(body, data=json.dumps({**asked, "id": ""}).encode()))

    def skip(self, run: Run, skip: Skip, buyer: Buyer | None) -> None:
        """Records a touch that was not even planned, with its reason, as a skipped message."""
        effect = Say(key=skip.key, purpose=skip.purpose, source=skip.source, order=skip.order, variant=skip.variant)
        decision = Decision("skip", reason=skip.reason)
        decision.note(skip.rule, "deny", skip.detail)
        somebody = buyer or Buyer(id="", home=run.taken.subject, created_at=0)
        id = run.deferred_id or ids.derived("m", run.partition, self._seed(run, somebody) + "skip")
        run.deferred_id = ""
        self._record(run, somebody, effect, decision, id)
        self._row(run, somebody, effect, decision, id, "skipped")

    def hold(self, run: Run, hold: Hold) -> None:
        """Records that a touch waits: there is no message of it yet, so the decision has an id of its own kind."""
        effect = Say(key=hold.key, purpose=hold.purpose, source=hold.source, order=hold.order)
        decision = Decision("defer", until=hold.until)
        decision.note(hold.rule, "defer", until=hold.until)
        nobody = Buyer(id="", home=run.taken.subject, created_at=0)
        id = ids.derived(ids.HOLD, run.partition, self._seed(run, nobody) + "hold")
        self._record(run, nobody, effect, decision, id)

    # --- codes ----------------------------------------------------------------------------------------------------

    def send_code(self, run: Run, buyer: Buyer, result: CodeResult) -> None:
        """Plans the text message that carries a phone code, to a number that is not the buyer's yet."""
        account, key = result.data["account"], result.data.get("wording", "phone_code")
        if not self.policy.accounts[account].free_text and (key, account) not in self.notices:
            key = "phone_code"  # the template for codes that every such line has
        locale = buyer.locale or self.locale
        zone = self.policy.timezone
        values = {"brand": self._brand(locale), "tz": zone, "name": "", "card": "", "otp": result.data["otp"]}
        rendered = self.wordings.render(key, locale, values, "sms")
        content: Content = Text(rendered.text)
        if not self.policy.accounts[account].free_text:
            content = self._notice(key, account, values, rendered)
        id = ids.derived("m", run.partition, self._seed(run, buyer) + "code")
        parts, price = self._billed(account, result.phone, content)
        message = OutboundMessage(
            id=id,
            buyer=buyer.id,
            home=buyer.home,
            account=account,
            to=result.phone,
            purpose="code",
            content=content,
            created_at=run.now,
            key=key,
            source="engine:code",
            locale=locale,
            not_after=result.expires_at,
            parts=parts,
            price=price,
        )
        decision = Decision("send", reason="")
        self._record(run, buyer, Say(key, purpose="code", source="engine:code"), decision, id)
        run.entry.decisions[-1].account = account
        self._keep(run, message)


@lru_cache(maxsize=512)
def _phrase(source: str) -> phrases.Phrase:
    """A text that staff wrote, read once: the same serves a hundred thousand buyers."""
    return phrases.parse(source)


def _source(run: Run, effect: Say) -> str:
    """What asked for the message: a journey's step, or the handler itself."""
    return effect.source or (f"handler:{run.handler.name}" if run.handler else "")


def _number(text: str, choices: tuple[Choice, ...]) -> str:
    lines = [f"{i + 1} {choice.label}" for i, choice in enumerate(choices)]
    return "\n".join([text, *lines])


def _with_card(content: Content, card: str) -> Content:
    """A card's QR picture is asked for before the number is drawn."""
    if isinstance(content, Picture):
        return Picture(content.qr.replace("{card}", card.replace(" ", "")), content.alt.replace("{card}", card))
    return content
