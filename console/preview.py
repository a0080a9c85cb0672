"""What a broadcast would do if it began now: the same decision that each buyer's own turn will take, and nothing is kept.

Of an audience of up to MOST_WEIGHED every buyer is weighed. A larger one is counted by the ledger, account by account and reason by
reason, and as many of it are weighed for their words and what they lack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot import hours
from bot.broadcast_turns import held_out, variant_of
from bot.broadcasts import Broadcast, Recipient, Variant
from bot.costs import cost
from bot.events import Money, Ms
from bot.lint import LONGEST, Case, Lane, cases, field_fault, spoken
from bot.phrases import NoValueError, PhraseError, fill, lacks, parse, pick, values_of
from bot.policy import Decision, Plan, decide
from bot.reasons import SkipReason
from bot.records import Address, Buyer, Link
from bot.wording import with_brand
from console.api.broadcast_models import PreviewIn
from console.api.broadcast_shapes import findings
from console.api.shapes import money, when
from console.desk import Desk, Whole

MOST_WEIGHED = 1000


@dataclass(slots=True)
class Weighed:
    """One buyer's outcome."""

    buyer: Buyer
    outcome: str
    account: str = ""
    text: str = ""
    reason: str = ""
    until: Ms = 0
    values: Mapping[str, str] = field(default_factory=dict)


async def preview(desk: Desk, body: PreviewIn, by: str) -> dict[str, Any]:
    """The answer of POST /broadcasts/preview. Raises Refusal for a draft that is at fault otherwise than in its words."""
    made = await desk.drafted(body, by, await desk.get(body.id) if body.id else None)
    whole = await desk.crowd.whole(made, MOST_WEIGHED)
    weighed = await weigh(desk, made, whole.some)
    count, found = whole.count, desk.lint(made)
    going = spread(weighed, whole, made.accounts)
    longest = _longest(weighed, everybody=len(weighed) >= count)
    lanes = [desk.lanes[account] for account in made.accounts]
    return {
        "count": count,
        "looked_at": len(weighed),
        "holdout": round(count * made.holdout_percent / 100),
        "excluded": whole.excluded,
        **would(weighed, whole),
        "by_variant": whole.by_variant,
        "without_value": _without(made, weighed),
        "sample": [_shown(one) for one in weighed[: body.sample]],
        "cases": [
            _case(one, desk, desk.lanes[one.account], going.get(one.account, 0))
            for one in cases(made, lanes, desk.shop, longest)
        ],
        "faults": findings(one for one in found if one.level == "fault"),
        "warnings": findings(one for one in found if one.level == "warning"),
        "needs_approval": await desk.needs_approval(count),
        "alone": await desk.alone(by),
    }


def would(weighed: Sequence[Weighed], whole: Whole) -> dict[str, dict[str, int]]:
    """By account or reason: of each buyer's own decision, where all were weighed; else as the ledger counts the whole audience."""
    if _counted(weighed, whole):
        waits = {str(SkipReason.CAP_REACHED): whole.capped} if whole.capped else {}
        return {"would_send": whole.by_account, "would_wait": waits, "would_skip": whole.skipped}
    outcomes: dict[str, Counter[str]] = {"send": Counter(), "defer": Counter(), "skip": Counter()}
    for one in weighed:
        outcomes[one.outcome][one.account if one.outcome == "send" else one.reason] += 1
    return {f"would_{'wait' if name == 'defer' else name}": dict(counted) for name, counted in outcomes.items()}


def spread(weighed: Sequence[Weighed], whole: Whole, accounts: Sequence[str]) -> Mapping[str, int]:
    """How many would get it by each account, now or later: counted; where neither all were weighed nor the ledger counts, estimated."""
    if _counted(weighed, whole):
        return whole.by_account
    if not weighed:
        return dict.fromkeys(accounts, whole.count)
    going = Counter(one.account for one in weighed if one.outcome != "skip")
    return {account: round(whole.count * some / len(weighed)) for account, some in going.items()}


def _counted(weighed: Sequence[Weighed], whole: Whole) -> bool:
    """Whether the ledger says more than those who were weighed."""
    return len(weighed) < whole.count and bool(whole.by_account or whole.skipped)


async def weigh(desk: Desk, made: Broadcast, recipients: Sequence[Recipient]) -> list[Weighed]:
    """The outcome for each of these."""
    records = await desk.store.records({one.home for one in recipients})
    found = []
    for one in recipients:
        record = records.get(one.home)
        if isinstance(record, Link):
            record = await desk.queries.buyer_at(record.home)
        if isinstance(record, Buyer):
            variant = variant_of(made, one.variant, record.id)
            found.append(weigh_one(desk, made, record, variant))
    return found


def weigh_one(desk: Desk, made: Broadcast, buyer: Buyer, variant: Variant | None = None) -> Weighed:
    """What one buyer would get now, or why not."""
    now = max(desk.clock.now(), made.send_at)
    if held_out(made, buyer.id):
        return Weighed(buyer, "skip", reason=SkipReason.HOLDOUT)
    plan = Plan(
        made.purpose,
        buyer,
        now,
        key=f"broadcast/{made.id}",
        only=made.accounts,
        not_after=made.not_after,
        templates=frozenset(made.templates),
    )
    decision = decide(plan, desk.policy)
    address = decision.address
    if decision.outcome == "skip" or address is None:
        return Weighed(buyer, "skip", reason=decision.reason or SkipReason.NO_ADDRESS)
    return _worded(desk, made, buyer, variant, decision, address, now)


def _worded(
    desk: Desk, made: Broadcast, buyer: Buyer, variant: Variant | None, decision: Decision, address: Address, now: Ms
) -> Weighed:
    lane = desk.lanes[address.account]
    locale = address.locale or buyer.locale or desk.shop.locale
    zone = hours.zone(address.timezone or buyer.timezone, desk.policy.timezone)
    given = {"stop": LONGEST["stop"], **made.given}  # a link of everybody's own, made when it is sent
    values = values_of(
        buyer,
        locale,
        now=now,
        zone=zone,
        brand=desk.shop.called(locale),
        campaign=made.coupon,
        given=given,
        levels=desk.shop.levels,
    )
    try:
        text = said(made, lane, desk, locale, values, variant)
    except NoValueError:
        return Weighed(buyer, "skip", address.account, reason=SkipReason.MISSING_VALUE, values=values)
    except PhraseError:
        text = ""  # told among the faults
    return Weighed(buyer, decision.outcome, address.account, text, decision.reason, decision.until, values)


def said(
    made: Broadcast, lane: Lane, desk: Desk, locale: str, values: Mapping[str, str], variant: Variant | None = None
) -> str:
    """The text as it would leave by a lane. Raises NoValueError; PhraseError for a text that cannot be read."""
    if not lane.able.free_text:
        template = made.templates.get(lane.account)
        approved = lane.templates.get(template.template_id) if template else None
        if template is None or approved is None:
            return ""
        fields = {name: fill(source, values) for name, source in template.fields.items()}
        for name, text in fields.items():
            if field_fault(text, approved.longest):
                raise NoValueError(name)
        return with_brand(approved.filled(fields), lane.signature or desk.shop.brand, "zh-CN")
    texts = {**made.text, **(variant.text if variant else {})}
    used, source = pick(texts, locale, desk.shop.locale)
    return spoken(fill(source, values), lane, desk.shop, used or locale, made.purpose)


def _without(made: Broadcast, weighed: Sequence[Weighed]) -> dict[str, int]:
    """How many of those who were weighed lack a value for a variable without a fallback."""
    sources = [*made.text.values(), *(text for v in made.variants for text in v.text.values())]
    sources += [source for template in made.templates.values() for source in template.fields.values()]
    bare = {name for source in sources for name in _bare(source)}
    counted = {name: sum(lacks(name, one.values) for one in weighed if one.values) for name in sorted(bare)}
    return {name: count for name, count in counted.items() if count}


def _bare(source: str) -> frozenset[str]:
    try:
        return parse(source).bare
    except PhraseError:
        return frozenset()


def _longest(weighed: Sequence[Weighed], *, everybody: bool) -> dict[str, str]:
    """The longest value that each variable has among them; of a part of the audience at least the usual long one."""
    found: dict[str, str] = {} if everybody else dict(LONGEST)
    for one in weighed:
        for name, value in one.values.items():
            if name in LONGEST and len(value) > len(found.get(name, "")):
                found[name] = value
    return {name: value for name, value in found.items() if value}


def _shown(one: Weighed) -> dict[str, Any]:
    return {
        "buyer": one.buyer.id,
        "name": one.buyer.name,
        "outcome": one.outcome,
        "account": one.account or None,
        "text": one.text or None,
        "reason": one.reason or None,
        "until": when(one.until),
    }


def _case(one: Case, desk: Desk, lane: Lane, going: int) -> dict[str, Any]:
    price = _price(lane, desk.country)
    whole = cost(price, one.parts * going) if going else None
    return {
        "account": one.account,
        "locale": one.locale or None,
        "variant": one.variant or None,
        "text": one.text,
        "length": one.units,
        "unit": "bytes" if lane.able.limit_in_bytes else "characters",
        "limit": one.limit or None,
        "parts": one.parts or None,
        "encoding": one.encoding or None,
        "per_part": (money(price) or "unknown") if lane.able.sms else None,
        "cost": (money(whole) or "unknown") if lane.able.sms else None,
    }


def _price(lane: Lane, country: str) -> Money | None:
    """What a part costs in the shop's country, else the dearest that is listed."""
    if lane.tariff is None:
        return None
    amount = lane.tariff.per_part.get(country) or max(lane.tariff.per_part.values(), default=None)
    return Money(amount, lane.tariff.currency) if amount is not None else None
