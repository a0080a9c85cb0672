"""May this be sent, now, on which address, and why (not): a pure function over the buyer's record.

purpose    hours, caps             opt-out               staff own the chat   window
reply      exempt                  its one confirmation  held back            needed
code       exempt, own limits      allowed               allowed              none (SMS)
service    service hours, cap      unless blocked        allowed              needed, else the next lane
marketing  marketing hours, caps   refused, opt-in       waits                needed, else the next lane
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

import msgspec
from msgspec import Struct

from bot import grants, hours
from bot.buyers import is_own
from bot.clock import DAY_MS
from bot.events import Ms
from bot.hours import Hours
from bot.journal import RuleVerdict
from bot.messages import Purpose
from bot.ports import Capabilities
from bot.reasons import Rule, SkipReason
from bot.records import Address, Buyer

MOST_WAITING = 10


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What the shop configured. `notices` holds (wording key, account) pairs that have an approved template.

    `subscriptions`: of these, the templates that each need a leave of the buyer for every use.
    """

    accounts: Mapping[str, Capabilities]
    timezone: tzinfo
    marketing_hours: Hours = field(default_factory=lambda: hours.parse("09:00-20:30"))
    service_hours: Hours = field(default_factory=lambda: hours.parse("08:00-22:00"))
    marketing_per_week: int = 2
    marketing_per_day: int = 1
    service_per_day: int = 6
    order_of_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notices: frozenset[tuple[str, str]] = frozenset()
    subscriptions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    used_up: Mapping[str, Ms] = field(default_factory=dict)  # account → until when its spend limit lets nothing out


class Plan(Struct, frozen=True):
    """One message that somebody wants sent."""

    purpose: Purpose
    buyer: Buyer
    now: Ms
    key: str = ""
    reply_to: Address | None = None
    only: tuple[str, ...] = ()
    not_after: Ms = 0
    confirms_opt_out: bool = False
    needs_window: bool = False  # never by SMS, never by a template without the buyer's leave (review invitations)
    spares_texts: bool = False  # never by SMS, but by a template
    templates: frozenset[str] = frozenset()  # accounts for which this very message brings an approved template
    topic: str = (
        ""  # "coupons", or a product's subject: that the buyer asked for this is enough, without consent to all
    )


class Decision(Struct):
    """The answer, with every rule that was weighed. `opener` is the window that the message uses up, if it has a quota.

    `grant`: the template of which it takes one leave.
    """

    outcome: str
    address: Address | None = None
    opener: str = ""
    notice: bool = False
    grant: str = ""
    reason: str = ""
    until: Ms = 0
    rules: list[RuleVerdict] = msgspec.field(default_factory=list)

    def note(self, rule: Rule, verdict: str, detail: str = "", until: Ms = 0) -> None:
        """Records a rule's verdict."""
        self.rules.append(RuleVerdict(str(rule), verdict, detail, until))


def decide(plan: Plan, settings: PolicySettings) -> Decision:
    """The decision. Never raises; the same plan and settings give the same answer."""
    decision = Decision("send")
    if plan.buyer.erased:
        return _skip(decision, Rule.ADDRESS, SkipReason.ERASED)
    if plan.not_after and plan.now > plan.not_after:
        return _skip(decision, Rule.NOT_AFTER, SkipReason.TOO_LATE)
    if not _lane(plan, settings, decision):
        return decision
    if plan.purpose in ("service", "marketing"):
        _held(plan, decision)
        _caps(plan, settings, decision)
        if decision.outcome != "skip":
            _hours(plan, settings, decision)
        if decision.outcome == "defer" and plan.not_after and decision.until > plan.not_after:
            # A cap that frees too late is still the cap's doing: staff look for what they could change.
            capped = decision.reason == SkipReason.CAP_REACHED
            return _skip(decision, Rule.NOT_AFTER, SkipReason.CAP_REACHED if capped else SkipReason.TOO_LATE)
        if decision.outcome == "defer" and plan.purpose == "marketing" and len(plan.buyer.waiting) >= MOST_WAITING:
            # What waits is kept in the buyer's record, which every turn reads and writes.
            rule = Rule(next(one.rule for one in reversed(decision.rules) if one.verdict == "defer"))
            return _skip(decision, rule, SkipReason.CAP_REACHED, f"{MOST_WAITING} messages wait already")
    return decision


def _skip(decision: Decision, rule: Rule, reason: SkipReason, detail: str = "") -> Decision:
    decision.outcome, decision.reason = "skip", str(reason)
    decision.note(rule, "deny", detail)
    return decision


# --- the address ------------------------------------------------------------------------------------------------------


def candidates(plan: Plan, settings: PolicySettings) -> list[Address]:
    """The addresses to try: where the message came from for a reply, else the shop's order of channels, recent first."""
    if plan.reply_to is not None:
        return [plan.reply_to] if plan.reply_to.account in settings.accounts else []
    order = plan.only or tuple(settings.order_of_channels.get(plan.purpose, ()))
    rank = {account: position for position, account in enumerate(order)}
    known = [
        a
        for a in plan.buyer.addresses
        if a.account in settings.accounts
        and (not plan.only or a.account in plan.only)
        and is_own(plan.buyer, a, settings.accounts)  # a number given up may be another's by now
    ]
    # Without a configured order: open chats before SMS (they cost nothing), the latest used first.
    return sorted(
        known,
        key=lambda a: (rank.get(a.account, len(rank)), settings.accounts[a.account].address_is_phone, -a.last_in),
    )


_WORTH = {
    SkipReason.NO_ADDRESS: 0,
    SkipReason.UNREACHABLE: 1,
    SkipReason.NO_TEMPLATE: 2,
    SkipReason.WINDOW_CLOSED: 3,
    SkipReason.QUOTA_USED: 4,
    SkipReason.SPEND_LIMIT: 5,
    SkipReason.NO_CONSENT: 6,
    SkipReason.STAFF_OWN: 7,
    SkipReason.OPTED_OUT: 8,
    SkipReason.BLOCKED: 9,
}
"""Of the reasons of several lanes, the one to tell staff is the one nearest to the buyer's own will."""


def _lane(plan: Plan, settings: PolicySettings, decision: Decision) -> bool:
    best: tuple[Rule, SkipReason, str] = (Rule.ADDRESS, SkipReason.NO_ADDRESS, "")
    for address in candidates(plan, settings):
        refused = _refused(plan, settings, decision, address)
        if refused is None:
            decision.address = address
            decision.note(Rule.CHANNEL, "allow", address.account)
            return True
        if _WORTH[refused[1]] >= _WORTH[best[1]]:
            best = (*refused, address.account)
        decision.note(refused[0], "deny", address.account)
    decision.outcome, decision.reason = "skip", str(best[1])
    if not decision.rules:
        decision.note(best[0], "deny")
    return False


def _refused(
    plan: Plan, settings: PolicySettings, decision: Decision, address: Address
) -> tuple[Rule, SkipReason] | None:
    """Why this address cannot be used, or None."""
    able = settings.accounts[address.account]
    if (plan.needs_window or plan.spares_texts) and not (able.windows and able.free_text):
        return Rule.WINDOW, SkipReason.WINDOW_CLOSED  # whatever the buyer agreed to there
    if address.blocked and not plan.confirms_opt_out:
        return Rule.BLOCKED, SkipReason.BLOCKED
    if not address.reachable and not _granted(plan, settings, address):
        return Rule.REACHABLE, SkipReason.UNREACHABLE
    if plan.purpose == "marketing":
        if address.opted_out:
            return Rule.OPT_OUT, SkipReason.OPTED_OUT
        if not agreed(address, plan.topic) and not _awaits(plan, address):
            return Rule.CONSENT, SkipReason.NO_CONSENT
    if plan.purpose == "service" and address.consent.service == "refused":
        return Rule.CONSENT, SkipReason.OPTED_OUT
    if plan.purpose == "reply" and address.staff_until > plan.now and not plan.confirms_opt_out:
        return Rule.STAFF_OWN, SkipReason.STAFF_OWN
    if settings.used_up.get(address.account, 0) > plan.now:
        return Rule.SPEND, SkipReason.SPEND_LIMIT
    return _window(plan, settings, decision, address, able)


def agreed(address: Address, topic: str = "") -> bool:
    """Whether the buyer agreed at this address to marketing, or at least to this one topic of it."""
    consent = address.consent
    return consent.marketing == "granted" or (topic == "coupons" and consent.coupons == "granted")


def _awaits(plan: Plan, address: Address) -> bool:
    """Whether the buyer asked at this address to be told that this product is back."""
    here = (plan.topic, address.account, address.id)
    return any((one.product, one.account, one.to) == here for one in plan.buyer.awaits)


def _window(
    plan: Plan, settings: PolicySettings, decision: Decision, address: Address, able: Capabilities
) -> tuple[Rule, SkipReason] | None:
    has_notice = (plan.key, address.account) in settings.notices or address.account in plan.templates
    if not able.free_text:
        if not has_notice:
            return Rule.TEMPLATE, SkipReason.NO_TEMPLATE
        decision.notice = True
        return None
    if not able.windows:
        return None
    opener, used_up = best_window(address, able, plan.now) if address.reachable else ("", False)
    if opener:
        decision.opener = opener
        return None
    shut = (Rule.QUOTA, SkipReason.QUOTA_USED) if used_up else (Rule.WINDOW, SkipReason.WINDOW_CLOSED)
    if (plan.key, address.account) in settings.subscriptions:
        decision.grant = _granted(plan, settings, address)
        if not decision.grant:
            return Rule.GRANT, shut[1]
        decision.notice = True
        decision.note(Rule.GRANT, "allow", f"{grants.left(address, decision.grant)} left")
        return None
    if has_notice and plan.purpose == "service" and not plan.needs_window:
        decision.notice = True
        return None
    return shut


def _granted(plan: Plan, settings: PolicySettings, address: Address) -> str:
    """The template by which this may go without a window, since the buyer gave leave for one more of it; "" for none.

    It reaches who does not follow the account, too. Marketing needs the buyer's consent besides, as everywhere.
    """
    template = settings.subscriptions.get((plan.key, address.account), "")
    wanted = template and plan.purpose in ("service", "marketing")
    return template if wanted and grants.left(address, template) else ""


def best_window(address: Address, able: Capabilities, now: Ms) -> tuple[str, bool]:
    """The open window to use (one without a quota, else the one that shuts first), and whether only a quota is in the way."""
    found: list[tuple[bool, Ms, str]] = []
    used_up = False
    for opener, window in address.windows.items():
        if opener not in able.windows or window.closes_at - able.window_margin_ms <= now:
            continue
        if window.left == 0:
            used_up = True
            continue
        found.append((window.left >= 0, window.closes_at, opener))
    return (min(found)[2], False) if found else ("", used_up)


# --- caps and hours ---------------------------------------------------------------------------------------------------


def zone_of(plan: Plan, settings: PolicySettings, address: Address | None) -> tzinfo:
    """The buyer's time zone: of the address, of the buyer, else the shop's."""
    name = (address.timezone if address else "") or plan.buyer.timezone
    return hours.zone(name, settings.timezone)


def _held(plan: Plan, decision: Decision) -> None:
    """Marketing waits while staff own any conversation of the buyer, on whatever lane it would go."""
    until = max((address.staff_until for address in plan.buyer.addresses), default=0)
    if plan.purpose == "marketing" and until > plan.now:
        decision.outcome, decision.reason, decision.until = "defer", str(SkipReason.STAFF_OWN), until
        decision.note(Rule.STAFF_OWN, "defer", "", until)


def _caps(plan: Plan, settings: PolicySettings, decision: Decision) -> None:
    where = zone_of(plan, settings, decision.address)
    today = hours.day_start(plan.now, where)
    tomorrow = hours.day_start(plan.now, where, 1)
    sent = plan.buyer.sent
    if plan.purpose == "service":
        count = sum(at >= today for at in sent.service)
        if settings.service_per_day and count >= settings.service_per_day:
            _skip(
                decision, Rule.SERVICE_PER_DAY, SkipReason.CAP_REACHED, f"{count} of {settings.service_per_day} today"
            )
            return
        decision.note(Rule.SERVICE_PER_DAY, "allow", f"{count} of {settings.service_per_day} today")
        return
    week = [at for at in sent.marketing if at > plan.now - 7 * DAY_MS]
    count = sum(at >= today for at in week)
    if settings.marketing_per_week and len(week) >= settings.marketing_per_week:
        frees = sorted(week)[-settings.marketing_per_week] + 7 * DAY_MS
        _cap(decision, Rule.MARKETING_PER_WEEK, f"{len(week)} of {settings.marketing_per_week} this week", frees)
    elif settings.marketing_per_day and count >= settings.marketing_per_day:
        _cap(decision, Rule.MARKETING_PER_DAY, f"{count} of {settings.marketing_per_day} today", tomorrow)
    else:
        decision.note(Rule.MARKETING_PER_WEEK, "allow", f"{len(week)} of {settings.marketing_per_week} this week")
        decision.note(Rule.MARKETING_PER_DAY, "allow", f"{count} of {settings.marketing_per_day} today")


def _cap(decision: Decision, rule: Rule, detail: str, until: Ms) -> None:
    decision.outcome, decision.reason = "defer", str(SkipReason.CAP_REACHED)
    decision.until = max(decision.until, until)
    decision.note(rule, "defer", detail, until)


def _hours(plan: Plan, settings: PolicySettings, decision: Decision) -> None:
    marketing = plan.purpose == "marketing"
    rule = Rule.MARKETING_HOURS if marketing else Rule.SERVICE_HOURS
    allowed = settings.marketing_hours if marketing else settings.service_hours
    where = zone_of(plan, settings, decision.address)
    start = max(plan.now, decision.until)
    opens = hours.next_open(allowed, start, where)
    if opens > plan.now:
        decision.outcome, decision.until = "defer", opens
        if opens > start:
            decision.note(rule, "defer", f"{allowed}, {hours.local(opens, where):%H:%M}", opens)
    else:
        decision.note(rule, "allow", str(allowed))
