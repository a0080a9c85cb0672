"""The buyer's record: making one, its addresses and windows, what a shop says of a buyer, merging two into one. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from msgspec import structs

from bot import club, grants, ids, subjects
from bot.clock import DAY_MS
from bot.events import (
    BuyerFacts,
    Event,
    Followed,
    MessageReceived,
    Money,
    Ms,
    OrderBrief,
    Scanned,
    StaffAsked,
    Tapped,
    TouchAsked,
    Unfollowed,
)
from bot.journal import ConsentRecord
from bot.orders import PAID
from bot.phones import country_of
from bot.ports import Capabilities
from bot.records import Address, Buyer, Cart, Club, Consent, Coupon, Dialog, Order, SentCount, Window

MAX_ORDERS = 20
MAX_TOUCHED_DAYS = 60
RECYCLED_DAYS = 180


def new_buyer(subject: str, partition: int, at: Ms, seed: str) -> Buyer:
    """A buyer whose record is kept at `subject`; the same id when the same turn runs again."""
    buyer = Buyer(id=ids.derived("b", partition, f"{subject}|{seed}"), home=subject, created_at=at)
    match subjects.kind(subject):
        case "phone":
            buyer.phones.append(subject.partition(":")[2])
        case "email":
            buyer.emails.append(subject.partition(":")[2])
        case "shopper":
            buyer.shoppers.append(subject)
        case _:
            pass
    return buyer


def ensure_address(buyer: Buyer, account: str, id: str) -> Address:
    """The buyer's address on an account, added if it is new. Who said stop said it for new addresses too."""
    found = buyer.address(account, id)
    if found is None:
        found = Address(account=account, id=id, opted_out=any(a.opted_out for a in buyer.addresses))
        buyer.addresses.append(found)
    return found


def refuse(address: Address, at: Ms, source: str) -> None:
    """No marketing at this address, of no topic, by the buyer's own act."""
    consent = address.consent
    consent.marketing = consent.coupons = "refused"
    consent.at, consent.wording, consent.source = at, "", source


TOPICS = ("service", "marketing", "calls", "coupons")
Answer = tuple[str, str, str]
"""What an answer is about: account, id there, topic."""


def verdicts(buyer: Buyer) -> dict[Answer, str]:
    """What the buyer allows at every address."""
    return {(a.account, a.id, topic): getattr(a.consent, topic) for a in buyer.addresses for topic in TOPICS}


def new_answers(
    before: Mapping[Answer, str], given: Collection[Answer], buyer: Buyer, now: Ms, *, merged: bool = False
) -> list[ConsentRecord]:
    """The evidence of a turn: what changed by whatever path (a word, a page, a shop, staff), and what was `given` again.

    Addresses that came with a merge bring answers that were recorded under their former buyer.
    """
    known = {(account, id) for account, id, _ in before}
    found = []
    for (account, id, topic), verdict in verdicts(buyer).items():
        usual = "granted" if topic == "service" else "unknown"
        changed = verdict != before.get((account, id, topic), usual) and not (merged and (account, id) not in known)
        if not changed and (account, id, topic) not in given:
            continue
        address = buyer.address(account, id)
        assert address is not None
        consent, at, wording = address.consent, now, address.consent.wording
        if topic == "marketing":
            at = consent.at or now
        elif topic == "coupons" and verdict == "granted":
            at, wording = consent.coupons_at or now, consent.coupons_wording
        found.append(ConsentRecord(account, id, topic, verdict, at, wording, consent.source))
    return found


def evidence(buyer: Buyer, wanted: Collection[Sequence[str]] | None = None) -> list[ConsentRecord]:
    """What the record itself still proves of answers that were given: the last one of each topic at each address.

    `wanted`: account, address, topic and verdict of those alone.
    """
    found = []
    asked = None if wanted is None else set(map(tuple, wanted))
    for address in buyer.addresses:
        consent = address.consent
        for topic in TOPICS:
            verdict, at, wording = getattr(consent, topic), consent.at, consent.wording
            if topic == "coupons" and consent.coupons_at:
                at, wording = consent.coupons_at, consent.coupons_wording
            said = verdict != ("granted" if topic == "service" else "unknown")
            if at and said and (asked is None or (address.account, address.id, topic, verdict) in asked):
                found.append(ConsentRecord(address.account, address.id, topic, verdict, at, wording, consent.source))
    return found


def sent_by(answers: list[ConsentRecord], asked: StaffAsked) -> list[ConsentRecord]:
    """Answers that were given on a buyer's page, with the address and the browser that they came from."""
    if asked.by != "page" or not answers:
        return answers
    sender = json.loads(asked.data).get("sender", {})
    return [structs.replace(one, ip=sender.get("ip", ""), browser=sender.get("browser", "")) for one in answers]


def add_phone(buyer: Buyer, phone: str, accounts: Mapping[str, Capabilities]) -> None:
    """Adds a number, and the addresses by which SMS accounts reach it."""
    if phone not in buyer.phones:
        buyer.phones.append(phone)
    country = country_of(phone)
    for name, capabilities in accounts.items():
        if capabilities.address_is_phone and (not capabilities.countries or country in capabilities.countries):
            ensure_address(buyer, name, phone)


def open_window(address: Address, opener: str, at: Ms, capabilities: Capabilities) -> None:
    """What the buyer did opens (or renews) the channel's reply window."""
    rule = capabilities.windows.get(opener)
    if rule is None:
        return
    closes = at + rule.lasts_ms
    current = address.windows.get(opener)
    if current is None or closes >= current.closes_at:
        address.windows[opener] = Window(closes_at=closes, left=rule.quota)


def seen(address: Address, event: Event, capabilities: Capabilities | None) -> None:
    """A sign of life opens the reply window; leaving shuts all. Webhooks overtake each other: what was later counts."""
    body = event.body
    if isinstance(body, MessageReceived | Tapped | Followed | Scanned):
        address.last_in = max(address.last_in, event.at)
        address.reachable = address.reachable or event.at >= address.left_at
        if isinstance(body, Followed):
            address.followed_at = max(address.followed_at, event.at)
        if capabilities is not None and body.opener:
            open_window(address, body.opener, event.at, capabilities)
    elif isinstance(body, Unfollowed) and event.at >= address.last_in:
        address.reachable, address.left_at = False, event.at
        address.windows.clear()


def shut_windows(address: Address, at: Ms, capabilities: Capabilities) -> None:
    """The provider says that nothing may be sent: windows opened up to `at` are shut, whatever was counted here."""
    for opener, window in list(address.windows.items()):
        rule = capabilities.windows.get(opener)
        if rule is None or window.closes_at - rule.lasts_ms <= at:
            del address.windows[opener]


def change_phone(buyer: Buyer, phone: str, accounts: Mapping[str, Capabilities]) -> list[str]:
    """Makes `phone` the only number; answers those that are the buyer's no more. Their addresses go with them."""
    gone = [old for old in buyer.phones if old != phone]
    buyer.phones = [phone]
    buyer.proved_at = {phone: buyer.proved_at.get(phone, 0)}
    add_phone(buyer, phone, accounts)
    buyer.addresses = [a for a in buyer.addresses if a.account not in accounts or is_own(buyer, a, accounts)]
    return gone


def is_own(buyer: Buyer, address: Address, accounts: Mapping[str, Capabilities]) -> bool:
    """Whether an address by phone number is of a number that the buyer has (still)."""
    return not accounts[address.account].address_is_phone or not buyer.phones or address.id in buyer.phones


def may_be_recycled(buyer: Buyer, phone: str, now: Ms) -> bool:
    """Whether a number's card may be a former owner's: no order, proof or text from that number in 180 days."""
    if buyer.member is None:
        return False
    heard = [address.last_in for address in buyer.addresses if address.id == phone]
    last = max(buyer.last_order_at, buyer.member.joined_at, buyer.proved_at.get(phone, 0), *heard, 0)
    return now - last > RECYCLED_DAYS * DAY_MS


def learn_facts(buyer: Buyer, facts: BuyerFacts, accounts: Mapping[str, Capabilities], source: str) -> None:
    """What a shop says of the buyer fills gaps; it never overwrites what the buyer said.

    `consent.sms` yes or no with a time counts for SMS addresses only, unless the buyer answered later; a yes for the
    numbers that it came with. Level and points of a card follow the shop's own club, in its newest version.
    """
    if facts.name and not buyer.name:
        buyer.name = facts.name
    if facts.locale and not buyer.locale:
        buyer.locale = facts.locale
    for phone in facts.phones:
        if not buyer.phones or phone in buyer.phones:
            add_phone(buyer, phone, accounts)
    if facts.email and facts.email not in buyer.emails and len(buyer.emails) < 5:
        buyer.emails.append(facts.email)
    if facts.club_at and (buyer.club is None or facts.club_at > buyer.club.at):
        points = facts.points if facts.points is not None or buyer.club is None else buyer.club.points
        buyer.club = Club(facts.club_at, facts.tier, points)
        heed_club(buyer)
    if facts.sms_consent == "unknown" or not facts.consent_at:
        return
    for address in buyer.addresses:
        capabilities = accounts.get(address.account)
        if capabilities and capabilities.sms and facts.consent_at > address.consent.at:
            if facts.sms_consent == "no":
                refuse(address, facts.consent_at, source)
            elif not facts.phones or address.id in facts.phones:
                address.consent.marketing, address.consent.at = "granted", facts.consent_at
                address.consent.wording, address.consent.source = "shop", source


def heed_club(buyer: Buyer) -> None:
    """A card's level and points are what the shop's own club says, where it says anything."""
    if buyer.club is not None and buyer.member is not None:
        buyer.member.level = buyer.club.tier
        buyer.member.points = buyer.member.points if buyer.club.points is None else buyer.club.points


def remember_order(buyer: Buyer, brief: OrderBrief) -> None:
    """Keeps the newest 20 orders, and the sums over all. News of one that was forgotten is of an order counted before."""
    known = next((o for o in buyer.orders if o.id == brief.id and o.shop == brief.shop), None)
    if known is None and len(buyer.orders) == MAX_ORDERS and brief.placed_at <= buyer.orders[0].placed_at:
        return
    was_paid = known is not None and known.pay == "paid"
    if known is not None:
        buyer.orders[buyer.orders.index(known)] = brief
    else:
        buyer.orders.append(brief)
        buyer.orders.sort(key=lambda o: o.placed_at)
        del buyer.orders[:-MAX_ORDERS]
    # The first news of an order may not say when it was placed.
    buyer.last_order_at = max(buyer.last_order_at, brief.placed_at)
    if brief.pay == "paid" and not was_paid:
        _count_order(buyer, 1, brief.total)


def _count_order(buyer: Buyer, orders: int, amount: Money | None) -> None:
    buyer.orders_count += orders
    if amount is not None:
        spent = Decimal(buyer.spent.get(amount.currency, "0")) + amount.amount
        buyer.spent[amount.currency] = str(spent)


def bought_before(buyer: Buyer, touch: TouchAsked) -> bool:
    """Whether the buyer had bought before the order of this touch: the shop's word, else what the gateway remembers."""
    if touch.facts is not None and touch.facts.is_new is not None:
        return not touch.facts.is_new
    this = (touch.brief.shop, touch.brief.id) if touch.brief is not None else ()
    return any(order.pay in PAID and (order.shop, order.id) != this for order in buyer.orders)


def forget_old(buyer: Buyer, now: Ms) -> None:
    """Drops what no rule looks at any more, so that the record stays small."""
    if buyer.touched and (limit := now - MAX_TOUCHED_DAYS * DAY_MS) > min(buyer.touched.values()):
        buyer.touched = {key: at for key, at in buyer.touched.items() if at > limit}
    sent = buyer.sent
    if sent.marketing:
        sent.marketing = [at for at in sent.marketing if at > now - 7 * DAY_MS]
    if sent.service:
        sent.service = [at for at in sent.service if at > now - 2 * DAY_MS]


def _stricter(one: Consent, other: Consent) -> Consent:
    order = {"refused": 0, "unknown": 1, "granted": 2}
    newer = one if one.at >= other.at else other
    coupons = one if one.coupons_at >= other.coupons_at else other
    return Consent(
        service=min(one.service, other.service, key=order.__getitem__),
        marketing=min(one.marketing, other.marketing, key=order.__getitem__),
        calls=min(one.calls, other.calls, key=order.__getitem__),
        coupons=min(one.coupons, other.coupons, key=order.__getitem__),
        coupons_at=coupons.coupons_at,
        coupons_wording=coupons.coupons_wording,
        at=newer.at,
        wording=newer.wording,
        source=newer.source,
    )


def _join_address(mine: Address, theirs: Address) -> None:
    mine.reachable = mine.reachable and theirs.reachable
    mine.blocked = mine.blocked or theirs.blocked
    mine.consent = _stricter(mine.consent, theirs.consent)
    for opener, window in theirs.windows.items():
        if opener not in mine.windows or mine.windows[opener].closes_at < window.closes_at:
            mine.windows[opener] = window
    if theirs.last_in > mine.last_in:
        mine.dialog = theirs.dialog
    mine.last_in = max(mine.last_in, theirs.last_in)
    mine.last_out = max(mine.last_out, theirs.last_out)
    mine.staff_until = max(mine.staff_until, theirs.staff_until)
    mine.left_at = max(mine.left_at, theirs.left_at)
    grants.join(mine, theirs.grants)


def merge(survivor: Buyer, loser: Buyer) -> None:
    """Takes a merged buyer's record into the older one.

    Consent the stricter, caps the sum, dialog the newer, card the older number (both resolve). An opt-out of either holds
    for all addresses of the survivor, as if it had been said there: an older consent is not revived by a later START.
    """
    out = next((a for a in (*survivor.addresses, *loser.addresses) if a.opted_out), None)
    for theirs in loser.addresses:
        mine = survivor.address(theirs.account, theirs.id)
        if mine is None:
            survivor.addresses.append(theirs)
        else:
            _join_address(mine, theirs)
    if out is not None:
        at, source = out.consent.at, out.consent.source
        for address in survivor.addresses:
            if not address.opted_out:
                address.opted_out = True
                refuse(address, at, source)
    survivor.name = survivor.name or loser.name
    survivor.locale = survivor.locale or loser.locale
    survivor.timezone = survivor.timezone or loser.timezone
    survivor.birthday = survivor.birthday or loser.birthday
    survivor.gender = survivor.gender or loser.gender
    survivor.sizes = {**loser.sizes, **survivor.sizes}
    for name in ("phones", "emails", "shoppers", "tags"):
        mine_list, their_list = getattr(survivor, name), getattr(loser, name)
        mine_list.extend(x for x in their_list if x not in mine_list)
    _merge_card(survivor, loser)
    survivor.club = max(filter(None, (survivor.club, loser.club)), key=lambda told: told.at, default=None)
    heed_club(survivor)
    _merge_wallet(survivor, loser)
    _merge_orders(survivor, loser)
    survivor.sent = SentCount(
        marketing=sorted([*survivor.sent.marketing, *loser.sent.marketing]),
        service=sorted([*survivor.sent.service, *loser.sent.service]),
    )
    survivor.touched = {**loser.touched, **survivor.touched}
    survivor.owed.extend(loser.owed)
    survivor.timers = {**loser.timers, **survivor.timers}
    # What waits carries an id of the loser's partition: it gets a new one here.
    waiting = {name: structs.replace(held, id="") for name, held in loser.waiting.items()}
    survivor.waiting = {**waiting, **survivor.waiting}
    survivor.tasks = {**loser.tasks, **survivor.tasks}
    for name, count in loser.tallies.items():
        survivor.tallies[name] = max(survivor.tallies.get(name, 0), count)
    for phone, at in loser.proved_at.items():
        survivor.proved_at[phone] = max(survivor.proved_at.get(phone, 0), at)
    asked = {(one.product, one.sku) for one in survivor.awaits}
    survivor.awaits.extend(one for one in loser.awaits if (one.product, one.sku) not in asked)
    survivor.about = survivor.about or loser.about
    survivor.uncounted = list(dict.fromkeys((*survivor.uncounted, *loser.uncounted)))[-club.MOST_UNCOUNTED :]
    survivor.merged.extend([loser.id, *loser.merged])
    survivor.revoked = max(survivor.revoked, loser.revoked) + 1  # who could open one's pages must not open the other's


def _merge_orders(survivor: Buyer, loser: Buyer) -> None:
    """The newest orders of both, and the sums; a paid order that both were told of counts once."""
    for currency, amount in loser.spent.items():
        _count_order(survivor, 0, Money(Decimal(amount), currency))
    survivor.orders_count += loser.orders_count
    for brief in loser.orders:
        known = next((o for o in survivor.orders if o.id == brief.id and o.shop == brief.shop), None)
        if known is None:
            survivor.orders.append(brief)
        elif known.pay == brief.pay == "paid":
            _count_order(survivor, -1, _negative(brief.total))
    survivor.orders.sort(key=lambda o: o.placed_at)
    del survivor.orders[:-MAX_ORDERS]
    survivor.last_order_at = max(survivor.last_order_at, loser.last_order_at)


def _negative(amount: Money | None) -> Money | None:
    return Money(-amount.amount, amount.currency) if amount is not None else None


def _merge_card(survivor: Buyer, loser: Buyer) -> None:
    if loser.member is None:
        return
    if survivor.member is None:
        survivor.member = loser.member
        return
    old, new = sorted((survivor.member, loser.member), key=lambda m: m.joined_at)
    club.adopt(old)
    club.adopt(new)
    old.points += new.points
    old.granted = tuple(dict.fromkeys((*old.granted, *new.granted)))
    for month, amount in new.spend.items():
        old.spend[month] = str(Decimal(old.spend.get(month, "0")) + Decimal(amount))
    old.older = (*old.older, *new.numbers)
    survivor.member = old


def _merge_wallet(survivor: Buyer, loser: Buyer) -> None:
    held: dict[str, Coupon] = {c.code: c for c in survivor.coupons}
    for coupon in loser.coupons:
        held.setdefault(coupon.code, coupon)
    survivor.coupons = list(held.values())


def reset_dialog(address: Address) -> None:
    """Ends the dialog; the last numbered question stays answerable."""
    address.dialog = Dialog(asked=address.dialog.asked, misses=address.dialog.misses)


def erase(buyer: Buyer) -> Buyer:
    """What is left of a buyer who asked to be forgotten: the id and the fact."""
    return Buyer(id=buyer.id, home=buyer.home, created_at=0, erased=True)


def waiting(buyer: Buyer) -> Address | None:
    """Where a conversation waits for an identity to be settled."""
    return next((address for address in buyer.addresses if address.dialog.state.endswith(".wait")), None)


def forget(record: Order | Cart) -> None:
    """The buyer of an order or cart was erased: it keeps its goods and amounts, and nobody is told of it any more.

    Its links lead to pages about the buyer.
    """
    record.buyer = None
    record.known = {fact: version for fact, version in record.known.items() if not fact.startswith("phone:")}
    if isinstance(record, Cart):
        record.recover_url = ""
        return
    record.owed, record.pay_url, record.status_url = [], "", ""
    if record.credit is not None:
        record.credit.home, record.credit.card, record.credit.closed = "", "", "erased"
    for task in record.tasks.values():
        task.brief = task.note = ""
    for shipment in record.shipments:
        shipment.tracking_url = shipment.pickup_code = ""
