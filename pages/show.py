"""What a buyer's pages show: card, coupons, orders, settings, own data. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from bot import club, qr, subjects
from bot.buyers import is_own
from bot.clock import rfc3339
from bot.events import Money, OrderBrief
from bot.handling import CampaignView
from bot.ids import show_member_number
from bot.orders import at_pickup_point
from bot.phones import mask
from bot.phrases import level_name, pick
from bot.records import Address, Buyer, Coupon, Order
from bot.visits import digest
from bot.wording import money
from pages.deps import HistoryAwayError
from pages.sheet import HEADERS
from pages.visit import Visit
from pages.words import say

SAME_OFFERS = "same-offers"
SIZES = ("XS", "S", "M", "L", "XL", "2XL", "3XL")
GENDERS = ("female", "male", "unsaid")
TYPES = ("wechat", "messenger", "twilio", "alibaba")


# --- the door ---------------------------------------------------------------------------------------------------------


def number_of(visit: Visit) -> str:
    """The number that a code goes to: the one that was proved last and that an SMS line reaches; "" for none."""
    numbers = sorted(visit.buyer.phones, key=lambda phone: -visit.buyer.proved_at.get(phone, 0))
    return next((phone for phone in numbers if visit.deps.lane_to(phone)), "")


async def doorstep(visit: Visit, opens: bool, *, fault: str = "", asks_fact: bool = False) -> web.Response:  # noqa: FBT001
    """What a link shows before its holder has proved anything: the shop, four digits of a card, and how to go on."""
    asked = await visit.deps.visits.asked(visit.buyer.id, visit.deps.clock.now())
    number, member = number_of(visit), visit.buyer.member
    joining = visit.link.kind == "join"
    return visit.show(
        "door",
        status=400 if fault else 200,
        joining=joining,
        opens=opens,
        tail=member.number[-4:] if member is not None and not joining else "",
        number_tail=(asked.phone if asked else number)[-4:],
        asked=asked is not None,
        fault=fault,
        asks_fact=asks_fact,
    )


# --- card, coupons ----------------------------------------------------------------------------------------------------


async def card(visit: Visit) -> web.Response:
    """The member card with its code for the till."""
    member = visit.buyer.member
    return visit.show(
        "card",
        member=member,
        number=show_member_number(member.number) if member else "",
        picture=qr.svg(member.number) if member else "",
        name=visit.buyer.name,
        said=visit.request.query.get("said", "") if member or visit.request.query.get("said") == "left" else "",
        asks=member is not None and is_open(visit.buyer),
        lines=lines_of(visit),
        **standing(visit),
    )


def standing(visit: Visit) -> dict[str, Any]:
    """What the card stands for: level, points and rights, the next level and how far it is. "" for what this shop does not keep."""
    member, rules, locale = visit.buyer.member, visit.deps.club, visit.locale
    if member is None:
        return {"level": "", "points": "", "rights": "", "above": None}
    level, above, missing = club.standing(member, rules, visit.deps.clock.now())
    shown = rules.graded or member.level != club.BASIC
    return {
        "level": level_name(level.key if level else member.level, locale, rules.names) if shown else "",
        "points": f"{member.points:,}",
        "rights": pick(level.rights, locale, visit.deps.shop.locale)[1] if level else "",
        "above": None
        if above is None
        else {
            "name": level_name(above.key, locale, rules.names),
            "rights": pick(above.rights, locale, visit.deps.shop.locale)[1],
            "missing": Money(missing, rules.currency),
            "share": _share(above.spend, missing),
        },
        "months": rules.within_months,
    }


def _share(whole: Decimal, missing: Decimal) -> int:
    """How much of a level's spend is there, in percent, rounded down."""
    return int((whole - missing) * 100 / whole) if whole else 100


def is_open(buyer: Buyer) -> bool:
    """Whether the question about marketing was never answered."""
    return all(address.consent.marketing == "unknown" and not address.opted_out for address in buyer.addresses)


def _offer(visit: Visit, campaign: CampaignView | None) -> str:
    """What a coupon is worth, in words."""
    locale = visit.locale
    if campaign is None:
        return ""
    value = _money(locale, campaign.value, campaign.currency)
    least = _money(locale, campaign.min_spend, campaign.currency)
    if campaign.kind == "amount_off" and value:
        return say(locale, "wallet.off_from" if least else "wallet.off", value=value, least=least)
    if campaign.kind == "percent_off" and campaign.value:
        return say(locale, "wallet.percent_from" if least else "wallet.percent", value=campaign.value, least=least)
    if campaign.kind == "free_shipping":
        return say(locale, "wallet.shipping_from" if least else "wallet.shipping", least=least)
    return ""


def _money(locale: str, amount: str, currency: str) -> str:
    return money(locale, Money(Decimal(amount), currency)) if amount else ""


def usable(visit: Visit) -> int:
    """How many coupons can be used now."""
    now = visit.deps.clock.now()
    return sum(one.state == "claimed" and not 0 < one.expires_at <= now for one in visit.buyer.coupons)


async def wallet(visit: Visit) -> web.Response:
    """What the buyer holds, what is over, and what can be claimed now."""
    now, campaigns = visit.deps.clock.now(), {one.key: one for one in visit.deps.coupons.views()}

    def line(coupon: Coupon) -> dict[str, Any]:
        campaign = campaigns.get(coupon.campaign)
        over = coupon.state == "claimed" and 0 < coupon.expires_at <= now
        state = "expired" if over else coupon.state
        title = campaign.title if campaign else coupon.campaign
        return {
            "code": coupon.code,
            "state": state,
            "until": coupon.expires_at,
            "title": title,
            "offer": _offer(visit, campaign),
        }

    lines = [line(coupon) for coupon in reversed(visit.buyer.coupons)]
    held = {coupon.campaign for coupon in visit.buyer.coupons}
    gifts = {visit.deps.gift, *visit.deps.club.gifts}
    offers = [
        {"key": one.key, "title": one.title, "offer": _offer(visit, one), "left": one.remaining}
        for one in campaigns.values()
        if one.claimable(now) and one.key not in held and one.key not in gifts
    ]
    good = sorted((one for one in lines if one["state"] == "claimed"), key=lambda one: one["until"] or 1 << 62)
    said = visit.request.query.get("said", "")
    return visit.show(
        "wallet",
        good=good,
        over=[one for one in lines if one["state"] != "claimed"][:20],
        offers=offers,
        said=said if said in ("claimed", "missed") else "",
    )


# --- orders -----------------------------------------------------------------------------------------------------------


def state_of(order: OrderBrief) -> str:
    """Where an order stands: a word of `orders.state_…`."""
    if order.refund in ("requested", "approved"):
        return "refunding"
    if order.refund == "succeeded":
        return "refunded"
    if order.pay in ("cancelled", "closed_unpaid"):
        return "closed"
    if order.pay in ("unpaid", "authorized", "partially_paid"):
        return "unpaid"
    known = {
        "none": "packing", "label": "packing", "delivered": "delivered", "out_for_delivery": "out",
        "arrived_city": "city", "returned": "returned",
    }  # fmt: skip
    return known.get(order.ship, "moving")


async def orders(visit: Visit) -> web.Response:
    """The newest orders with their parcels."""
    briefs = sorted(visit.buyer.orders, key=lambda one: one.placed_at, reverse=True)
    found = await visit.deps.store.records(subjects.order(one.shop, one.id) for one in briefs)

    def line(brief: OrderBrief) -> dict[str, Any]:
        record = found.get(subjects.order(brief.shop, brief.id))
        order = record if isinstance(record, Order) else None
        state = state_of(brief)
        parcels = [
            {
                "carrier": one.carrier,
                "number": one.tracking_no,
                "state": _parcel(one.lane.state),
                "eta": one.eta if one.lane.state not in ("delivered", "returned") else 0,
                "place": one.place,
                "pickup": one.pickup_code if at_pickup_point(one) and one.lane.state != "delivered" else "",
                "link": web_link(one.tracking_url),
                "stuck": bool(one.exception),
            }
            for one in (order.shipments if order else ())
        ]
        return {
            "number": brief.number or brief.id, "title": brief.title, "total": brief.total, "at": brief.placed_at,
            "state": state, "parcels": parcels, "link": web_link(order.status_url) if order else "",
            "pay": web_link(order.pay_url) if order and state == "unpaid" else "",
        }  # fmt: skip

    return visit.show("orders", orders=[line(brief) for brief in briefs])


def _parcel(state: str) -> str:
    known = {"delivered": "delivered", "out_for_delivery": "out", "arrived_city": "city", "returned": "returned"}
    return known.get(state, "packing" if state in ("", "label") else "moving")


def web_link(url: str) -> str:
    """A link of a shop's, if it is one to a web page."""
    return url if url.startswith(("https://", "http://")) else ""


# --- settings ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Line:
    """One way to reach the buyer as the page shows it: one chat, or one number whatever accounts text to it."""

    key: str
    type: str
    name: str
    tail: str
    addresses: list[Address]
    topics: tuple[str, ...]

    def has(self, topic: str) -> bool:
        """Whether the buyer agreed here."""
        if topic == "service":
            return all(address.consent.service != "refused" for address in self.addresses)
        return any(
            getattr(address.consent, topic) == "granted" and not (topic == "marketing" and address.opted_out)
            for address in self.addresses
        )

    @property
    def blocked(self) -> bool:
        """The carrier lets nothing through."""
        return all(address.blocked for address in self.addresses)


def lines_of(visit: Visit) -> list[Line]:
    """The buyer's addresses, a number's together. Numbers that were given up are left out."""
    accounts = visit.deps.accounts
    able = {name: one.capabilities for name, one in accounts.items()}
    found: dict[str, Line] = {}
    for address in visit.buyer.addresses:
        account = accounts.get(address.account)
        if account is None or not is_own(visit.buyer, address, able):
            continue
        phone = account.capabilities.address_is_phone
        key = digest(f"line|{address.id}" if phone else f"line|{address.account}|{address.id}")[:12]
        if key in found:
            found[key].addresses.append(address)
            continue
        topics = ("marketing", "coupons", "service", "calls") if phone else ("marketing", "coupons", "service")
        kind = account.type if account.type in TYPES else "other"
        same = sum(one.type == account.type for one in accounts.values()) > 1 and not phone
        found[key] = Line(
            key,
            "sms" if phone else kind,
            account.name if same else "",
            address.id[-4:] if phone else "",
            [address],
            topics,
        )
    return sorted(found.values(), key=lambda one: (one.type == "sms", one.key))


async def settings(visit: Visit) -> web.Response:
    """What may be sent where; unticked unless the buyer said yes."""
    said = visit.request.query.get("said", "")
    return visit.show(
        "settings",
        lines=lines_of(visit),
        same_offers=SAME_OFFERS in visit.buyer.tags,
        said=said if said in ("saved", "stopped", "profile") else "",
        agreed=any(line.has("marketing") or line.has("coupons") for line in lines_of(visit)),
    )


async def profile(visit: Visit) -> web.Response:
    """What the buyer tells of themselves."""
    buyer = visit.buyer
    month, _, day = buyer.birthday[-5:].partition("-")
    given = {"name": buyer.name, "month": month, "day": day, "gender": buyer.gender, "top": buyer.sizes.get("top", "")}
    return show_profile(visit, given, {})


def show_profile(visit: Visit, given: dict[str, str], faults: dict[str, str]) -> web.Response:
    """The form, with what was typed and what is wrong with it."""
    sizes = SIZES if given["top"] in ("", *SIZES) else (*SIZES, given["top"])
    return visit.show(
        "profile",
        status=400 if faults else 200,
        given=given,
        faults={"name": "", "birthday": "", "top": "", **faults},
        wrong=list(faults.items()),
        sizes=sizes,
        genders=GENDERS,
    )


async def sample(visit: Visit) -> web.Response:
    """Asking for a sample or a fitting."""
    given = {"item": "", "size": visit.buyer.sizes.get("top", ""), "note": ""}
    return show_sample(visit, given, {}, done=visit.request.query.get("said") == "sent")


def show_sample(visit: Visit, given: dict[str, str], faults: dict[str, str], *, done: bool = False) -> web.Response:
    """The form, with what was typed and what is wrong with it."""
    return visit.show("sample", status=400 if faults else 200, given=given, faults={"item": "", **faults}, done=done)


# --- own data ---------------------------------------------------------------------------------------------------------


async def data(visit: Visit) -> web.Response:
    """What is held, in short; the whole as a file; leaving and erasing."""
    buyer = visit.buyer
    return visit.show(
        "data",
        buyer=buyer,
        phones=[mask(phone) for phone in buyer.phones],
        number=show_member_number(buyer.member.number) if buyer.member else "",
        coupons=usable(visit),
        standing=standing(visit),
        lines=lines_of(visit),
        said=visit.request.query.get("said", "") if visit.request.query.get("said") == "kept" else "",
    )


async def erase(visit: Visit) -> web.Response:
    """What erasing destroys, before it does."""
    return show_erase(visit, fault=False)


def show_erase(visit: Visit, *, fault: bool) -> web.Response:
    """The question, and whether it was answered without the tick."""
    buyer = visit.buyer
    coupons = usable(visit)
    open_orders = sum(state_of(order) not in ("delivered", "closed", "refunded", "returned") for order in buyer.orders)
    return visit.show(
        "erase", status=400 if fault else 200, buyer=buyer, coupons=coupons, open_orders=open_orders, fault=fault
    )


async def leave(visit: Visit) -> web.Response:
    """What giving the card back removes, before it does."""
    return visit.show("leave", buyer=visit.buyer)


async def export(visit: Visit) -> web.StreamResponse:
    """Everything that is held of the buyer, as a JSON file; without the history while the ledger is away, which it says."""
    buyer = visit.buyer
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="my-data.json"'}
    try:
        return await visit.deps.export(visit.request, buyer, headers)
    except HistoryAwayError:
        pass  # before a byte of it was written
    found = await visit.deps.store.records(subjects.order(one.shop, one.id) for one in buyer.orders)
    whole = {
        "history": "not to be had just now; please try again later",
        "made_at": rfc3339(visit.deps.clock.now()),
        "buyer": plain(buyer),
        "orders": [plain(one) for one in found.values()],
    }
    return web.Response(
        body=msgspec.json.format(msgspec.json.encode(whole)),
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )


def plain(record: object) -> Any:
    """A record as it is stored, every field, without the gateway's own bookkeeping."""
    found: dict[str, Any] = msgspec.to_builtins(record, enc_hook=str, builtin_types=(bytes,))
    for name in ("timers", "waiting", "owed", "told", "known", "touched", "tallies", "merging"):
        found.pop(name, None)
    return found


# --- the way out ------------------------------------------------------------------------------------------------------


async def way_out(visit: Visit) -> web.Response:
    """One button that ends all marketing."""
    return visit.show("out", done=visit.request.query.get("said") == "stopped")


PAGES: Sequence[str] = ("card", "wallet", "orders", "settings")
"""What the bar on top leads to."""
