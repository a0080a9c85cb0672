"""Rows of orders: lanes and goods from the order's record, and whose it is from the buyers' records."""

from __future__ import annotations

from decimal import Decimal

from bot import subjects
from bot.events import OrderBrief
from bot.records import Buyer, Order
from ledger import tables
from ledger.derive.buyers import survivor
from ledger.derive.entries import Entry, Turn
from ledger.derive.state import State, blank


def subject_of(brief: OrderBrief) -> str:
    """The subject of the order that a buyer's record remembers."""
    return subjects.order(brief.shop, brief.id)


def put(turn: Turn, order: Order, state: State) -> None:
    """The order as its record is now."""
    total = order.total
    state.orders.put(
        order.subject,
        blank(
            tables.orders,
            subject=order.subject,
            shop=order.shop,
            id=order.id,
            number=order.number,
            pay=order.pay.state or "unpaid",
            ship=order.ship_state,
            refund=order.refund_state,
            closed=order.closed,
            total=total.amount if total is not None else Decimal(0),
            currency=total.currency if total is not None else "",
            city=order.city,
            placed_at=order.placed_at,
            paid_at=order.paid_at,
            updated_at=turn.entry.at,
        ),
    )
    state.items[order.subject] = [
        {
            "subject": order.subject,
            "line": line,
            "sku": item.sku,
            "product": item.product_id,
            "title": item.title,
            "qty": item.qty,
            "price": item.price.amount if item.price is not None else Decimal(0),
            "paid_at": order.paid_at,
            "buyer": "",  # follows from `owners`
        }
        for line, item in enumerate(order.items)
    ]


def told(entry: Entry, buyer: Buyer, subject: str, state: State) -> None:
    """The order sent word to this buyer: it is theirs, or of whom they became, until it sends word to another."""
    owner = survivor(buyer.id, state)
    row = state.owners.get(subject)
    if row is None or (entry.ms, owner) >= (row["told_at"], row["buyer"]):
        state.owners.put(subject, blank(tables.owners, subject=subject, buyer=owner, told_at=entry.ms))


def remembered(buyer: Buyer, state: State) -> None:
    """Orders that a record brings along, from a merge or from before the ledger: theirs, unless word went to somebody."""
    owner = survivor(buyer.id, state)
    for brief in buyer.orders:
        subject = subject_of(brief)
        row = state.owners.get(subject)
        if row is None or (not row["told_at"] and owner > row["buyer"]):
            state.owners.put(subject, blank(tables.owners, subject=subject, buyer=owner))
