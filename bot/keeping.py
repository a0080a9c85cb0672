"""How long things are kept: since when somebody is silent, and what holds a silent buyer's record back. Pure.

What is older than the shop says it keeps goes by itself (`privacy.keep_months`): history by its own age, people by the time
since they last gave a sign of life.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime

from bot.clock import DAY_MS, moment
from bot.events import Ms, OrderBrief
from bot.records import Buyer, Cart, Order, Parcel, Record

OPEN_MS: Ms = 366 * DAY_MS
"""An order that nobody ever says is finished counts as under way for so long after it was placed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Months: `keep` history and silent buyers, `raw` the raw journal (`keep` at most), `evidence` of consents after that. 0: for ever."""

    keep: int = 0
    raw: int = 0
    evidence: int = 0


@dataclass(frozen=True, slots=True)
class Before:
    """What is older than these times goes (0: nothing does); `evidence` of who goes now is kept until then."""

    keep: Ms
    raw: Ms
    evidence: Ms


def before(terms: Terms, now: Ms) -> Before:
    """The times at which the terms are over."""
    raw = min((months for months in (terms.raw, terms.keep) if months), default=0)
    return Before(
        keep=months_from(now, -terms.keep) if terms.keep else 0,
        raw=months_from(now, -raw) if raw else 0,
        evidence=months_from(now, terms.evidence) if terms.evidence else 0,
    )


def months_from(at: Ms, months: int) -> Ms:
    """The same day and time so many months later or earlier; the last day of a month where it has no such day."""
    then: datetime = moment(at)
    years, month = divmod(then.year * 12 + then.month - 1 + months, 12)
    day = min(then.day, monthrange(years, month + 1)[1])
    return int(then.replace(year=years, month=month + 1, day=day).timestamp() * 1000)


def last_sign(buyer: Buyer) -> Ms:
    """The last sign of life: a message, an order, an answer, a coupon taken, a number proved, work of staff."""
    signs = [buyer.created_at, buyer.left_club_at, buyer.last_order_at, *buyer.proved_at.values()]
    for address in buyer.addresses:
        signs += (address.last_in, address.followed_at, address.consent.at, address.consent.coupons_at)
    signs += [max(order.placed_at, order.paid_at) for order in buyer.orders]
    signs += [coupon.claimed_at for coupon in buyer.coupons]
    signs += [task.created_at for task in buyer.tasks.values()]
    signs += [awaited.at for awaited in buyer.awaits]
    return max(signs)


def held_by(buyer: Buyer, now: Ms) -> str:
    """What keeps a silent buyer's record: "member card", "coupon", "order", "message" or "" for nothing."""
    if buyer.member is not None:
        return "member card"
    if any(one.state == "claimed" and (not one.expires_at or one.expires_at > now) for one in buyer.coupons):
        return "coupon"
    if any(_is_open(order, now) for order in buyer.orders):
        return "order"
    return "message" if buyer.waiting or buyer.owed or buyer.merging is not None else ""


def _is_open(order: OrderBrief, now: Ms) -> bool:
    """Whether something of it is still to come: goods, or money back."""
    if now - order.placed_at > OPEN_MS:
        return False
    return order.refund in ("requested", "approved") or (
        order.pay in ("paid", "authorized") and order.ship not in ("delivered", "returned")
    )


def may_go(buyer: Buyer, silent_since: Ms, now: Ms) -> bool:
    """Whether a buyer gave no sign of life since then, and nothing keeps the record."""
    return not buyer.erased and last_sign(buyer) < silent_since and not held_by(buyer, now)


def names_somebody(record: Record | None) -> bool:
    """Whether an order still says whose it is."""
    return isinstance(record, Order) and bool(record.buyer or record.owed or record.pay_url or record.status_url)


def last_news(order: Order) -> Ms:
    """When the shop last told of an order, as its record knows."""
    lanes = [order.pay, *(shipment.lane for shipment in order.shipments), *(refund.lane for refund in order.refunds)]
    times = (order.created_at, order.placed_at, order.paid_at)
    return max(*times, *order.known.values(), *(lane.version for lane in lanes))


def is_over(record: Record | None, older_than: Ms) -> bool:
    """Whether a cart or a parcel of its own was last told of before then."""
    if isinstance(record, Cart):
        return max(record.updated_at, record.created_at, record.started_at) < older_than
    return isinstance(record, Parcel) and record.created_at < older_than
