"""Test sends of a broadcast: never counted among its messages, marked by their source `test:<id>`.

Addresses that the configuration lists (`[broadcasts] test_receivers`) are the shop's own people: they get a test as a service
message. Anybody else gets it as the marketing that it is: only with a recorded opt-in, within hours and caps. Who said stop
gets none, listed or not. Nobody becomes a buyer by a test: what it asks of a record that is not there leaves none behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bot import ids, subjects
from bot.broadcasts import TEST, Broadcast, Script
from bot.codec import dump_entry
from bot.events import Event, Ms, StaffAsked
from bot.intake import Appender
from bot.lint import LONGEST
from bot.phrases import OF_ITEMS, values_of
from bot.records import Address, Buyer
from console.api.broadcast_models import ReceiverIn, TrialIn
from console.api.refusals import Refusal
from console.desk import Desk


@dataclass(frozen=True, slots=True)
class Trial:
    """One message to ask for: of the record `home`, by the staff action `message` with `data`."""

    home: str
    id: str
    data: dict[str, Any]


async def trials(desk: Desk, id: str, body: TrialIn, *, seed: str = "") -> list[Trial]:
    """The tests that a body asks for. Raises Refusal naming the receiver at fault. `seed`: repeats of it have the same ids."""
    made = await desk.get(id)
    if body.variant and body.variant not in {variant.name for variant in made.variants}:
        raise Refusal(400, "bad-body", f"variant: there is none named {body.variant}", field_name="variant")
    found = []
    for number, receiver in enumerate(body.to):
        found.append(
            await _trial(desk, made, receiver, body.variant, f"to.{number}", f"{seed}|{number}" if seed else "")
        )
    return found


async def _trial(desk: Desk, made: Broadcast, to: ReceiverIn, variant: str, where: str, seed: str) -> Trial:
    buyer, home, accounts, id = await _whom(desk, made, to, where)
    known = [a for a in buyer.addresses if a.account in accounts and (not id or a.id == id)]
    if any(a.opted_out for a in known):
        raise Refusal(409, "opted-out", f"{where}: said stop; only they can start again", field_name=where)
    account = _account(desk, accounts, known)
    # Whatever else is listed of the same buyer: what the configuration does not list needs an opt-in of its own.
    listed = [f"{a.account}:{a.id}" in desk.receivers for a in known if a.account == account] or [
        f"{account}:{id}" in desk.receivers
    ]
    partition = desk.store.partition(home)
    message = ids.derived("m", partition, f"{seed}|test") if seed else ids.new("m", partition)
    data = {
        "id": message,
        "purpose": "service" if all(listed) else "marketing",
        "accounts": [account],
        "source": f"{TEST}{made.id}",
        "script": msgspec.to_builtins(_script(desk, made, buyer, variant)),
    }
    return Trial(home, message, data)


async def _whom(desk: Desk, made: Broadcast, to: ReceiverIn, where: str) -> tuple[Buyer, str, tuple[str, ...], str]:
    """The buyer (one without anything, where nobody is known), the record's subject, the accounts, the id there."""
    accounts, id = made.accounts, ""
    if to.buyer is not None:
        found = await desk.queries.buyer(to.buyer)
        if found is None or found.erased:
            raise Refusal(
                404, "not-found", f"{where}.buyer: there is no buyer with this id", field_name=f"{where}.buyer"
            )
        return found, found.home, accounts, ""
    if to.phone is not None:
        id = desk.parse_phone(to.phone)
        if not id:
            raise Refusal(400, "bad-body", f"{where}.phone: not a phone number", field_name=f"{where}.phone")
        accounts = tuple(a for a in accounts if desk.lanes[a].able.address_is_phone)
        if not accounts:
            raise Refusal(
                400, "bad-body", f"{where}.phone: none of its accounts sends texts", field_name=f"{where}.phone"
            )
    else:
        account, _, id = (to.address or "").partition(":")
        if account not in accounts or not id:
            words = f"must be ACCOUNT:ID with one of its accounts: {', '.join(accounts)}"
            raise Refusal(400, "bad-body", f"{where}.address: {words}", field_name=f"{where}.address")
        accounts = (account,)
    home = subjects.home(subjects.address(accounts[0], id))
    known = await desk.queries.buyer_at(home)
    return known or Buyer(id="", home=home, created_at=0), known.home if known else home, accounts, id


def _account(desk: Desk, accounts: tuple[str, ...], known: list[Address]) -> str:
    """The first of the accounts where the receiver is known and can be written to now, else the first."""
    now = desk.clock.now()
    there = {
        a.account
        for a in known
        if not desk.lanes[a.account].able.windows or any(w.closes_at > now and w.left for w in a.windows.values())
    }
    return next((a for a in accounts if a in there), accounts[0])


def _script(desk: Desk, made: Broadcast, buyer: Buyer, variant: str) -> Script:
    """The words as they are, with something long for each variable that has no value for the receiver."""
    zone, now = desk.policy.timezone, desk.clock.now()
    own = values_of(buyer, desk.shop.locale, now=now, zone=zone, brand="", campaign=made.coupon, given=made.given)
    long = {**LONGEST, **{name: LONGEST[name.rstrip("0123456789")] for name in OF_ITEMS}}
    lacking = {name: value for name, value in long.items() if not own.get(name)}
    chosen = next((v.text for v in made.variants if v.name == variant), {})
    return Script({**made.text, **chosen}, made.templates, {**lacking, **made.given}, made.coupon, 0)


async def send(appender: Appender, planned: Sequence[Trial], by: str, now: Ms) -> None:
    """Asks each record for its test; durable when this returns."""
    events = [
        Event(one.id, one.home, "api", now, now, StaffAsked("message", by, json.dumps(one.data).encode()))
        for one in planned
    ]
    await appender.append([dump_entry(event) for event in events])
