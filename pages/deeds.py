"""What a buyer does on the pages: every change is a POST, and is asked of the buyer's record like any other event."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from bot.buyers import may_be_recycled
from bot.visits import Asked
from pages import show
from pages.sender import sender_of
from pages.visit import Door, Visit, ask, remember, see, stop

_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LONGEST_NAME = 30


# --- being let in -----------------------------------------------------------------------------------------------------


async def open_first(visit: Visit, door: Door) -> web.Response:
    """The first tap on a fresh link of a chat."""
    if not await door.opens(visit) or not await visit.deps.visits.open_first(
        visit.buyer.id, visit.token, visit.deps.clock.real()
    ):
        return await show.doorstep(visit, opens=False, fault="opened")
    return await visit.let_in()


async def send_code(visit: Visit, door: Door) -> web.Response:
    """A code goes to the buyer's number."""
    number = show.number_of(visit)
    if not number:
        return await show.doorstep(visit, opens=await door.opens(visit), fault="no_lane")
    fault = await draw_code(visit, number)
    if fault:
        return await show.doorstep(visit, opens=await door.opens(visit), fault=fault)
    return visit.go()


async def draw_code(visit: Visit, number: str) -> str:
    """Draws a code and has it sent; "" or why none goes out."""
    deps, lane = visit.deps, visit.deps.lane_to(number)
    if not lane:
        return "no_lane"
    found = await deps.codes.request(number, deps.clock.now(), asker=f"page:{visit.buyer.id}")
    if found.outcome != "sent":
        return "too_many" if found.outcome == "too_many" else "no_lane"
    await deps.visits.ask_code(visit.buyer.id, Asked(number, found.digest, found.expires_at))
    wording = "phone_code" if visit.link.kind == "join" else "page_code"
    data = {"phone": number, "account": lane, "otp": found.code, "until": found.expires_at, "wording": wording}
    await visit.ask("page_code", data)
    return ""


async def prove(visit: Visit, door: Door) -> web.Response:
    """The six digits; and the card's birthday, where its number may have changed hands."""
    deps, buyer = visit.deps, visit.buyer
    opens = await door.opens(visit)
    tried = await deps.visits.try_code(buyer.id, deps.clock.now())
    digits = "".join(c for c in visit.one("code") if c.isascii() and c.isdigit())
    if tried.asked is None:
        return await show.doorstep(visit, opens=opens, fault="code_over")
    if not deps.codes.check(tried.asked.phone, digits, tried.asked.digest):
        return await show.doorstep(visit, opens=opens, fault="code_wrong", asks_fact=bool(visit.one("birthday")))
    if may_be_recycled(buyer, tried.asked.phone, deps.clock.now()):
        if not buyer.birthday or await deps.visits.wrong_facts(buyer.id) >= 2:
            return await show.doorstep(visit, opens=opens, fault="staff")
        given = birthday_of(visit.one("month"), visit.one("day"))
        if not given:
            return await show.doorstep(visit, opens=opens, fault="fact", asks_fact=True)
        if not await deps.visits.try_fact(buyer.id) or given != buyer.birthday[-5:]:
            return await show.doorstep(visit, opens=opens, fault="fact_wrong", asks_fact=True)
    await deps.visits.used(buyer.id)
    await deps.codes.proved(tried.asked.phone, deps.clock.now())
    if visit.link.kind == "join":
        return await joined(visit, tried.asked.phone)
    await visit.ask("page_proved", {"phone": tried.asked.phone})
    return await visit.let_in()


async def joined(visit: Visit, phone: str) -> web.Response:
    """The number is proved: the card at once, and a link of the buyer's own to go on with."""
    source = "page:join"
    await visit.ask("page_join", {"phone": phone, "source": source, "locale": visit.locale})
    deps = visit.deps
    buyer = await deps.queries.buyer(visit.buyer.id) or visit.buyer
    token = deps.links.token("chat", buyer.id, buyer.revoked, deps.clock.now())
    await deps.visits.open_first(buyer.id, token, deps.clock.real())
    secret = await deps.visits.let_in(buyer, deps.clock.real())
    answer = see(f"/b/{token}?said=joined")
    remember(answer, deps, secret)
    return answer


def birthday_of(month: str, day: str) -> str:
    """`01-02` of two numbers, "" for no such day."""
    if not (month.isascii() and month.isdigit() and day.isascii() and day.isdigit()):
        return ""
    m, d = int(month[:3]), int(day[:3])
    return f"{m:02d}-{d:02d}" if 1 <= m <= 12 and 1 <= d <= _DAYS[m - 1] else ""


# --- settings ---------------------------------------------------------------------------------------------------------


async def save_settings(visit: Visit, _door: Door) -> web.Response:
    """What was ticked or unticked by hand; what stood there unchanged is no answer, however old the page is."""
    lines = {line.key: line for line in show.lines_of(visit)}
    was, ticked = set(visit.form.get("was", ())), set(visit.form.get("tick", ()))
    changes = []
    for mark in sorted(was ^ ticked):
        key, _, topic = mark.partition(".")
        line = lines.get(key)
        if line is None or topic not in line.topics:
            continue
        verdict = "granted" if mark in ticked else "refused"
        changes += [[one.account, one.id, topic, verdict] for one in line.addresses]
    data: dict[str, Any] = {"page": visit.one("page", 20) or "settings", "locale": visit.locale, "changes": changes}
    if ("same" in visit.form) != ("was_same" in visit.form):
        data["same_offers"] = "same" in visit.form
    if changes or "same_offers" in data:
        await visit.ask("page_consent", {**data, "sender": sender_of(visit.request)})
    return visit.go("/settings?said=saved")


async def end_marketing(visit: Visit, _: Door) -> web.Response:
    """One tap ends all marketing. Also for who has only the link, as by RFC 8058: a link that leaks can do no harm by it."""
    page = "settings" if visit.known else "unsubscribe"
    await visit.ask("page_stop", {"page": page, "sender": sender_of(visit.request)})
    return visit.go("/settings?said=stopped" if visit.known else "/stop?said=stopped")


async def save_profile(visit: Visit, _: Door) -> web.Response:
    """What the buyer tells of themselves."""
    given = {name: visit.one(name) for name in ("name", "month", "day", "gender", "top")}
    faults = {}
    if len(given["name"]) > LONGEST_NAME or "http" in given["name"].lower() or not given["name"].isprintable():
        faults["name"] = "name_fault"
    birthday = birthday_of(given["month"], given["day"])
    if (given["month"] or given["day"]) and not birthday:
        faults["birthday"] = "birthday_fault"
    if given["gender"] not in ("", *show.GENDERS):
        given["gender"] = ""
    if not re.fullmatch(r"[0-9A-Z]{0,4}", given["top"]):
        faults["top"] = "top_fault"
    if faults:
        return show.show_profile(visit, given, faults)
    kept = visit.buyer.birthday if birthday and visit.buyer.birthday.endswith(birthday) else birthday
    fields = {"name": given["name"], "birthday": kept, "gender": given["gender"], "size:top": given["top"]}
    await visit.ask("page_profile", {"fields": fields})
    return visit.go("/settings?said=profile")


async def ask_sample(visit: Visit, _: Door) -> web.Response:
    """A sample or a fitting is asked for: staff get a task."""
    given = {"item": visit.one("item", 60), "size": visit.one("size", 20), "note": visit.one("note", 200)}
    if not given["item"]:
        return show.show_sample(visit, given, {"item": "item_fault"})
    brief = "; ".join(value for value in given.values() if value)
    await visit.ask("page_sample", {"item": given["item"].casefold(), "brief": brief})
    return visit.go("/sample?said=sent")


# --- coupons, own data ------------------------------------------------------------------------------------------------


async def claim(visit: Visit, _: Door) -> web.Response:
    """A coupon of a campaign that is open."""
    key = visit.one("campaign", 32)
    held = {coupon.code for coupon in visit.buyer.coupons}
    await visit.ask("page_claim", {"campaign": key})
    buyer = await visit.deps.queries.buyer(visit.buyer.id) or visit.buyer
    won = any(coupon.campaign == key and coupon.code not in held for coupon in buyer.coupons)
    return visit.go(f"/wallet?said={'claimed' if won else 'missed'}")


async def leave_club(visit: Visit, _: Door) -> web.Response:
    """The card is given back."""
    await visit.ask("page_leave", {})
    return visit.go("?said=left")


async def erase(visit: Visit, _: Door) -> web.Response:
    """Everything that is held of the buyer goes."""
    if visit.one("sure") != "yes":
        return show.show_erase(visit, fault=True)
    await visit.deps.erasure.begin(visit.buyer)
    await visit.deps.visits.forget(visit.buyer.id)
    await ask(visit.deps, visit.buyer.home, "erase", {})
    return stop(visit.request, visit.deps, "erased", visit.locale)


async def sign_out(visit: Visit, _: Door) -> web.Response:
    """This browser only."""
    await visit.deps.visits.leave(visit.buyer, visit.secret)
    return visit.go()


async def revoke(visit: Visit, _: Door) -> web.Response:
    """Every browser, and every link that was given out so far."""
    await visit.ask("page_revoke", {})
    await visit.deps.visits.forget(visit.buyer.id)
    return stop(visit.request, visit.deps, "revoked", visit.locale)
