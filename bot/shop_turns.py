"""What an event means for an order, a cart, a parcel, a product, or an account itself. No I/O."""

from __future__ import annotations

from msgspec import structs

from bot import carts, club, keys, orders, products, subjects
from bot.apply import OWED, Applier
from bot.calls import Calls
from bot.codec import dump_event, load_event
from bot.events import AccountAlert, Event, ShopEvent, StaffAsked, TimerDue
from bot.records import AccountState, Cart, Order, Parcel, Product
from bot.run import Run, fired

HELD_EVENTS = 20
KINDS = ("order", "cart", "parcel", "product", "account")
"""The subjects whose records are kept here; every other subject is a buyer's."""


class ShopTurns:
    """The part of a turn that is about what shops, trackers and accounts report."""

    def __init__(self, *, calls: Calls, apply: Applier) -> None:
        self._calls = calls
        self._apply = apply

    def take(self, run: Run, event: Event, kind: str) -> None:
        """Applies the event to the record of a subject of one of `KINDS`."""
        match kind:
            case "order":
                self._order(run, event)
            case "cart":
                self._cart(run, event)
            case "parcel":
                self._parcel(run, event)
            case "product":
                self._product(run, event)
            case _:
                self._account(run, event)

    def _order(self, run: Run, event: Event) -> None:
        body = event.body
        order = run.record if isinstance(run.record, Order) else None
        if isinstance(body, ShopEvent) and body.kind in (club.ANSWERED, club.AGAIN):
            if order is not None:
                run.touched = True
                club.answered(order, body.data) if body.kind == club.ANSWERED else club.again(order)
        elif isinstance(body, ShopEvent):
            knew = order.buyer if order is not None else None
            run.record, became = orders.apply(order, event)
            run.touched = True
            self._shop_handler(run, event, body, "order", became)
            self._apply.inform(run, run.record, changed=bool(became) or run.record.buyer != knew)
            for subject, reasons in orders.came_back(run.record).items():
                pieces = {reason: str(count) for reason, count in reasons.items()}
                self._apply.post(run, subject, ShopEvent("product.returned", run.record.shop, data=pieces))
        elif order is not None:
            self._other(run, event, order, "order")
        if isinstance(run.record, Order) and run.touched:
            self._club(run, run.record)

    def _club(self, run: Run, order: Order) -> None:
        """What the club is to count of an order, as it stands after this turn."""
        rules = self._calls.facts.club
        if letter := club.offer(order, rules, run.now):
            self._apply.post(run, *letter)
        club.watch(order, rules)

    def _cart(self, run: Run, event: Event) -> None:
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
        turn = structs.replace(self._calls.turn(run, event, run.record, None), became=became)
        self._calls.handler(run, "shop", body.kind, turn, record)

    def _other(self, run: Run, event: Event, record: Order | Cart, kind: str) -> None:
        body = event.body
        if isinstance(body, TimerDue):
            held = fired(record.timers, body)
            if held is None:
                return
            run.touched = True
            if body.name == OWED and isinstance(record, Order):
                self._apply.expire_owed(run, record)
            elif body.name == club.TIMER and isinstance(record, Order):
                record.completed_at = body.due  # its parcels came long enough ago, and nobody says more of it
            else:
                self._calls.timer(run, body.name, held, self._calls.turn(run, event, record, None), kind)
        elif isinstance(body, StaffAsked):
            run.touched = True
            if not self._apply.staff_task(run, record, body):
                self._calls.handler(run, "staff", body.action, self._calls.turn(run, event, record, None), kind)

    def _parcel(self, run: Run, event: Event) -> None:
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

    def _product(self, run: Run, event: Event) -> None:
        body = event.body
        product = run.record if isinstance(run.record, Product) else None
        if not isinstance(body, ShopEvent):
            return
        if body.kind == "product.awaited":
            if product is not None:
                self._awaited(run, product, body)
            return
        there = products.stocked(product)
        before = products.entry(product)
        run.record = products.apply(product, event)
        run.touched = True
        if (after := products.entry(run.record)) != before:
            key = keys.catalogue(run.partition)
            run.change.rows += [(key, run.record.subject, after), (key, "#", "+")]
        if product is not None:  # of a new one nobody can have asked
            _came_back(run, run.record, products.stocked(run.record) - there)

    def _awaited(self, run: Run, product: Product, body: ShopEvent) -> None:
        key, sku = keys.awaited(run.partition, product.subject), body.data["sku"]
        since = str(run.now) if body.data["on"] else ""
        for buyer in body.data["buyers"].split(","):
            run.change.rows.append((key, f"{buyer}\0{sku}", since))
        meant = {variant.sku for variant in products.offered(product) if not sku or variant.sku == sku}
        if since and meant <= (there := products.stocked(product)):  # it came back between the question and the yes
            _came_back(run, product, meant & there)

    def _account(self, run: Run, event: Event) -> None:
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


def _came_back(run: Run, product: Product, skus: set[str]) -> None:
    """Who waits is told by a slow loop (`bot.restocks`): they may be too many for one turn."""
    if skus:
        field = f"{product.subject}\0{run.taken.lane}|{run.taken.entry}"
        run.change.rows.append((keys.restocked(run.partition), field, "\n".join(sorted(skus))))
