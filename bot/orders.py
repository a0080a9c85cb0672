"""An order's life: facts folded into its record, in any order of arrival. Pure.

Lanes pay, each shipment and each refund are independent; a fact applies where its version is not older, and a rank never
falls. So any arrival order of created, paid, shipped and cancelled ends in the same record.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import structs

from bot import subjects
from bot.clock import HOUR_MS
from bot.events import (
    BuyerFacts,
    Event,
    Guard,
    Money,
    Ms,
    OrderBrief,
    OrderFacts,
    RefundFacts,
    ShipmentFacts,
    ShopEvent,
)
from bot.records import SHIP_RANK, AccountState, Cart, Lane, Order, Record, RefundCase, Shipment

PAY_RANK: dict[str, int] = {
    "": -1,
    "unpaid": 0,
    "authorized": 1,
    "partially_paid": 2,
    "paid": 3,
    "partially_refunded": 4,
    "refunded": 5,
}
REFUND_RANK: dict[str, int] = {"": -1, "requested": 0, "approved": 1, "rejected": 1, "succeeded": 2, "closed": 2}
FRESH_MS: dict[str, Ms] = {
    "order": 24 * HOUR_MS,
    "payment": 24 * HOUR_MS,
    "shipment": 48 * HOUR_MS,
    "delivered": 72 * HOUR_MS,
    "refund": 72 * HOUR_MS,
    "cart": 72 * HOUR_MS,
    "completed": 72 * HOUR_MS,
}
UNPAID = ("unpaid", "authorized", "partially_paid")
PAID = ("paid", "partially_refunded", "refunded")
OPEN_REFUND = ("requested", "approved")
PICKUP = "pickup_point"
# A cancelled parcel no longer moves; one that is out for delivery after all was not.
_PARCEL_RANK: dict[str, int] = SHIP_RANK | {"": -2, "cancelled": SHIP_RANK["arrived_city"]}
_CLOSES = {"order.cancelled": "cancelled", "order.closed_unpaid": "closed_unpaid"}


def apply(order: Order | None, event: Event) -> tuple[Order, tuple[str, ...]]:
    """The order after a shop event, and what it became.

    Values: "created", "checkout", "pay:paid", "closed:cancelled", "shipped:<id>", "ship:<state>:<id>", "pickup:<id>" (out for
    delivery, and now in a locker), "exception:<id>", "cleared:<id>", "refund:<state>:<id>", "completed", "reviewed". Never blanks a known fact. `became` is empty when the event told nothing new.
    """
    body = event.body
    assert isinstance(body, ShopEvent)
    _, shop, id = event.subject.split(":", 2)
    became: list[str] = []
    if order is None:
        order = Order(id=id, shop=shop, subject=event.subject, created_at=event.at)
    order.created_at = min(order.created_at, event.at)
    had_facts, had_checkout = bool(order.placed_at), bool(order.checkout)
    if body.order is not None:
        _facts(order, body.order, _version(body, event))
    if body.buyer is not None:
        order.buyer = join_buyer(order.buyer, body.buyer, order.known, _version(body, event), event.id)
    if body.checkout is not None:
        order.checkout = order.checkout or body.checkout.token
    if not had_facts and order.placed_at:
        became.append("created")
    if order.checkout and not had_checkout:
        became.append("checkout")
    _pay(order, body, event, became)
    if body.shipment is not None:
        _ship(order, body.shipment, body, event, became)
    if body.refund is not None:
        _refund(order, body.refund, body, event, became)
    if body.kind == "order.completed":
        happened = body.occurred_at or event.at
        became += [] if order.completed_at else ["completed"]
        order.completed_at = min(order.completed_at or happened, happened)
    if body.kind == "review.created" and not order.reviewed:
        order.reviewed = True
        became.append("reviewed")
    return order, tuple(became)


_ORDER_FACTS = (
    "number", "pay_url", "status_url", "city", "placed_at", "paid_at", "pay_expires_at", "ship_by", "total", "items", "cod"
)  # fmt: skip
_SHIPMENT_FACTS = ("carrier", "tracking_no", "tracking_url", "city", "place", "pickup_code", "eta")


def _facts(order: Order, facts: OrderFacts, version: Ms) -> None:
    _learn(order, order.known, facts, _ORDER_FACTS, version)


def _learn(target: object, known: dict[str, Ms], facts: object, names: Sequence[str], version: Ms) -> None:
    """Takes over the facts that are there and not older than the known ones; nothing known is blanked."""
    for name in names:
        value = getattr(facts, name)
        if (value or value is False) and version >= known.get(name, 0):
            setattr(target, name, value)
            known[name] = version


_BUYER_FACTS = ("ref", "name", "email", "locale", "is_new", "address")
MOST_PHONES = 5


def join_buyer(
    known: BuyerFacts | None, new: BuyerFacts, versions: dict[str, Ms], version: Ms, event_id: str
) -> BuyerFacts:
    """What is known of the buyer, each fact in its newest version, the newest numbers first.

    Consent follows the newer answer, of two at one time the refusal; with it goes the event that said so.
    """
    joined = known or BuyerFacts()
    changes: dict[str, object] = {}
    for name in _BUYER_FACTS:
        value, fact = getattr(new, name), f"buyer.{name}"
        if value not in ("", None) and version >= versions.get(fact, 0):
            changes[name] = value
            versions[fact] = version
    newer = all(version >= versions.get(f"phone:{phone}", 0) for phone in joined.phones)
    for phone in new.phones:
        versions[f"phone:{phone}"] = max(version, versions.get(f"phone:{phone}", 0))
    phones = dict.fromkeys((*new.phones, *joined.phones) if newer else (*joined.phones, *new.phones))
    changes["phones"] = tuple(sorted(phones, key=lambda phone: -versions.get(f"phone:{phone}", 0)))[:MOST_PHONES]
    order = {"unknown": 0, "yes": 1, "no": 2}
    answer = (new.consent_at, order[new.sms_consent])
    if order[new.sms_consent] and (
        not order[joined.sms_consent] or answer > (joined.consent_at, order[joined.sms_consent])
    ):
        changes |= {"sms_consent": new.sms_consent, "consent_at": new.consent_at, "consent_event": event_id}
    return structs.replace(joined, **changes)


def _version(body: ShopEvent, event: Event) -> Ms:
    return body.version or body.occurred_at or event.at


def _advance(lane: Lane, state: str, ranks: dict[str, int], version: Ms, seq: int) -> bool:
    """Whether the lane's state changed: by a higher rank; in the same rank by a newer version. A rank never falls."""
    here, there = ranks.get(lane.state, -1), ranks.get(state, -1)
    if (there, seq, version, state) <= (here, lane.seq, lane.version, lane.state):
        return False
    changed = state != lane.state
    lane.state, lane.seq, lane.version = state, seq, version
    return changed


def _pay(order: Order, body: ShopEvent, event: Event, became: list[str]) -> None:
    state = body.order.pay_state if body.order is not None else ""
    if body.kind == "order.paid":
        state = "paid"
    elif body.kind == "order.created" and not state:
        state = "unpaid"
    if state and _advance(order.pay, state, PAY_RANK, _version(body, event), body.seq):
        became.append(f"pay:{state}")
    if state in PAID and "paid_at" not in order.known:
        happened = body.occurred_at or event.at
        order.paid_at = min(order.paid_at or happened, happened)
    closes = _CLOSES.get(body.kind, "")
    # Both may come, in any order: "cancelled" stays, as somebody decided it.
    if closes and (not order.closed or closes < order.closed):
        order.closed = closes
        became.append(f"closed:{closes}")


def _ship(order: Order, facts: ShipmentFacts, body: ShopEvent, event: Event, became: list[str]) -> None:
    shipment = next((s for s in order.shipments if s.id == facts.id), None)
    if shipment is None:
        shipment = Shipment(id=facts.id)
        order.shipments.append(shipment)
        order.shipments.sort(key=lambda s: s.id)
        became.append(f"shipped:{facts.id}")
    version = facts.scan_at or _version(body, event)
    _learn(shipment, shipment.known, facts, _SHIPMENT_FACTS, version)
    state = facts.state or ("label" if body.kind == "shipment.created" else "")
    if state == "exception":
        _exception(shipment, facts.reason or "unknown", version, became)
    elif state and state != "unknown":
        known = shipment.lane.state, shipment.reason
        if _advance(shipment.lane, state, _PARCEL_RANK, version, body.seq):
            shipment.reason = facts.reason
            if state == "delivered":
                shipment.delivered_at = facts.scan_at or body.occurred_at or event.at
            became.append(f"ship:{state}:{facts.id}")
        elif (state, version) == (shipment.lane.state, shipment.lane.version):
            shipment.reason = facts.reason or shipment.reason
            if (state, PICKUP) == ("out_for_delivery", shipment.reason) != known:
                became.append(f"pickup:{facts.id}")
    if shipment.exception and _goes_on(shipment) and shipment.lane.version >= shipment.exception_at:
        shipment.exception = ""
        became.append(f"cleared:{facts.id}")


def _goes_on(shipment: Shipment) -> bool:
    return _PARCEL_RANK.get(shipment.lane.state, 0) >= SHIP_RANK["out_for_delivery"]


def _exception(shipment: Shipment, reason: str, version: Ms, became: list[str]) -> None:
    """A flag, not a rank. One that is older than the parcel's going on is history."""
    if version <= shipment.exception_at or (_goes_on(shipment) and shipment.lane.version >= version):
        shipment.exception_at = max(shipment.exception_at, version)
        return
    shipment.exception, shipment.exception_at = reason, version
    became.append(f"exception:{shipment.id}")


def _refund(order: Order, facts: RefundFacts, body: ShopEvent, event: Event, became: list[str]) -> None:
    case = next((r for r in order.refunds if r.id == facts.id), None)
    if case is None:
        case = RefundCase(id=facts.id)
        order.refunds.append(case)
        order.refunds.sort(key=lambda r: r.id)
    version = _version(body, event)
    _learn(case, case.known, facts, ("amount", "kind", "items"), version)
    state = body.kind.partition(".")[2]
    if _advance(case.lane, state, REFUND_RANK, version, body.seq):
        became.append(f"refund:{state}:{facts.id}")


def came_back(order: Order) -> dict[str, dict[str, int]]:
    """By the subjects of products: how many pieces came back, by reason. Each refund counts once, when its items are known."""
    products = {item.sku: item.product_id for item in order.items if item.sku and item.product_id}
    found: dict[str, dict[str, int]] = {}
    for case in order.refunds:
        if case.counted or not products or not case.items:
            continue
        case.counted = True
        for item in case.items:
            if item.reason and item.sku in products:
                reasons = found.setdefault(subjects.product(order.shop, products[item.sku]), {})
                reasons[item.reason] = reasons.get(item.reason, 0) + item.qty
    return found


# --- questions --------------------------------------------------------------------------------------------------------


def is_paid(order: Order) -> bool:
    """Whether money has come in (refunded orders were paid too)."""
    return order.pay.state in PAID


def kept(order: Order) -> Money | None:
    """What the shop keeps of a completed order's price: paid (at the door, too), less what went back; nothing of a cancelled one.

    None for one that is not completed, not paid, or whose price is not known. A refund counts once it has succeeded; an exchange
    is none, nor is one in another currency than the order's.
    """
    total = order.total
    if not order.completed_at or total is None or not (is_paid(order) or order.cod):
        return None
    if order.closed == "cancelled" or order.pay.state == "refunded":
        return Money(Decimal(0), total.currency)
    back = Decimal(0)
    for case in order.refunds:
        if case.lane.state == "succeeded" and case.kind != "exchange" and case.amount is not None:
            back += case.amount.amount if case.amount.currency == total.currency else 0
    return Money(max(total.amount - max(back, Decimal(0)), Decimal(0)), total.currency)


def waits_for_payment(order: Order) -> bool:
    """Whether a payment reminder has a reason."""
    return order.pay.state in UNPAID and not order.closed and not order.cod


def may_invite_review(order: Order, shipment_id: str) -> bool:
    """Whether a parcel's buyer may be asked what they think: it was delivered, nothing is open, none is written yet.

    Trouble that is over counts for nothing: whoever received is asked, not only the happy ones.
    """
    delivered = any(s.id == shipment_id and s.lane.state == "delivered" for s in order.shipments)
    stuck = any(shipment.exception for shipment in order.shipments)
    open_refund = any(case.lane.state in OPEN_REFUND for case in order.refunds)
    return delivered and not (stuck or open_refund or order.reviewed)


def at_pickup_point(shipment: Shipment) -> bool:
    """Whether the parcel lies in a locker or station: the carrier says so, or its place came with its last state."""
    told = any(shipment.known.get(fact) == shipment.lane.version for fact in ("place", "pickup_code"))
    return shipment.reason == PICKUP or (not shipment.reason and told)


def is_fresh(event: Event, kind: str, now: Ms) -> bool:
    """Whether an event is young enough to tell the buyer; an older one changes state only (backfills, replays)."""
    body = event.body
    happened = body.occurred_at if isinstance(body, ShopEvent) and body.occurred_at else event.at
    return now - happened <= FRESH_MS.get(kind, 24 * HOUR_MS)


def brief(order: Order) -> OrderBrief:
    """The order as its buyer's record remembers it."""
    pay = order.closed if order.closed and not is_paid(order) else order.pay.state or "unpaid"
    return OrderBrief(
        id=order.id,
        shop=order.shop,
        number=order.number,
        pay=pay,
        ship=order.ship_state,
        refund=order.refund_state,
        total=order.total,
        title=order.items[0].title if order.items else "",
        placed_at=order.placed_at,
        paid_at=order.paid_at,
        stuck=any(shipment.exception for shipment in order.shipments),
    )


def identity(facts: BuyerFacts | None, shop: str) -> str:
    """The best identity to write to: a chat address the shop knows, phone, shopper, e-mail; "" for none."""
    if facts is None:
        return ""
    if facts.address and ":" in facts.address:
        return subjects.address(*facts.address.split(":", 1))
    if facts.phones:
        return subjects.phone(facts.phones[0])
    if facts.ref:
        return subjects.shopper(shop, facts.ref)
    return subjects.email(facts.email) if facts.email else ""


def lane_state(record: Record, lane: str) -> str:
    """The state of a lane that a guard names. An unpaid order that was closed is "closed"."""
    if isinstance(record, Cart):
        return record.state
    if not isinstance(record, Order):
        return ""
    kind, _, id = lane.partition(":")
    if kind == "pay":
        return "closed" if order_is_shut(record) else record.pay.state
    if kind == "ship":
        if not id:
            return record.ship_state
        return next((s.lane.state for s in record.shipments if s.id == id), "")
    if kind == "kept":
        found = kept(record)
        return str(found.amount) if found is not None else ""
    if kind == "review":
        return "due" if may_invite_review(record, id) else "stopped"
    if not id:
        return record.refund_state
    return next((r.lane.state for r in record.refunds if r.id == id), "")


def order_is_shut(order: Order) -> bool:
    """Cancelled or closed before it was paid."""
    return bool(order.closed) and not is_paid(order)


def still_holds(guard: Guard, record: Record | None, shop: Record | None = None) -> bool:
    """Whether the reason of a touch is still there. A record that is gone has no reasons, nor one whose shop has gone since."""
    if record is None or lane_state(record, guard.lane) not in guard.values:
        return False
    return not isinstance(shop, AccountState) or _last_news(record) > shop.disconnected_at


def shop_subject(guard: Guard) -> str:
    """The subject of the shop whose order or cart a touch rests on."""
    return subjects.account(guard.subject.split(":", 2)[1])


def _last_news(record: Record) -> Ms:
    """When the shop last told something of an order or cart."""
    if isinstance(record, Cart):
        return record.updated_at
    if not isinstance(record, Order):
        return 0
    lanes = [record.pay, *(s.lane for s in record.shipments), *(r.lane for r in record.refunds)]
    return max(record.created_at, *record.known.values(), *(lane.version for lane in lanes))
