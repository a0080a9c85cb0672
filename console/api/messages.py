"""Events, messages, decisions and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot import ids, keys
from bot.clock import HOUR_MS
from bot.errors import PayloadError
from bot.events import Event
from bot.journal import DecisionRecord
from bot.queries import Place, StoredMessage, decision_place, order_of
from bot.records import Task
from console.api import shapes
from console.api.http import Call
from console.api.refusals import Refusal
from console.api.shared import append, ask, cursor_of, ms, orders_of, page, place_of, whereabouts

MOST_EVENTS = 500


async def post_events(call: Call) -> tuple[int, Any]:
    """POST /events: one envelope or a list."""
    values = call.body if isinstance(call.body, list) else [call.body]
    if not values or len(values) > MOST_EVENTS:
        raise Refusal(400, "bad-body", f"send 1 to {MOST_EVENTS} events")
    events = []
    for value in values:
        shop = value.get("shop") if isinstance(value, dict) else None
        read = call.deps.envelopes.get(shop) if isinstance(shop, str) else None
        if read is None:
            raise Refusal(400, "bad-body", f"shop must be one of {', '.join(call.deps.envelopes)}", field_name="shop")
        try:
            events.append(read(value, received=call.deps.clock.now()))
        except PayloadError as error:
            raise Refusal(400, "bad-body", error.detail, field_name=error.field) from error
    repeated = await _repeats(call, events)
    await append(call, events)
    return 202, {"accepted": repeated.count(False), "duplicates": repeated.count(True)}


async def _repeats(call: Call, events: Sequence[Event]) -> list[bool]:
    """For the answer only: whether an event is a repeat the turn itself decides.

    The turn may not have come yet when the repeat arrives, so what was posted here is noted for an hour.
    """
    store = call.deps.store
    done = await store.seen(events, now=call.deps.clock.now())
    notes = [("SET", keys.posted(event.id), 1, "NX", "PX", HOUR_MS) for event in events]
    fresh = await store.together(notes)
    return [seen or not new for seen, new in zip(done, fresh, strict=True)]


async def post_message(call: Call) -> tuple[int, Any]:
    """POST /messages: policy decides like for any other."""
    body = call.body
    if (body.text is None) == (body.wording is None):
        raise Refusal(400, "bad-body", "give text or wording, one of them", field_name="text")
    if (body.buyer is None) == (body.phone is None):
        raise Refusal(400, "bad-body", "give buyer or phone, one of them", field_name="buyer")
    if body.wording is not None:
        if body.wording not in call.deps.wordings.keys:
            raise Refusal(400, "bad-body", f"wording: there is no wording {body.wording}", field_name="wording")
        if fault := call.deps.wordings.fault(body.wording, body.vars):
            raise Refusal(400, "bad-body", f"vars: {fault}", field_name="vars")
    for account in body.accounts or ():
        if account not in call.deps.accounts:
            raise Refusal(400, "bad-body", f"accounts: there is no account {account}", field_name="accounts")
    if body.purpose == "marketing" and call.caller.role == "service":
        raise Refusal(403, "not-allowed", "the role service may not send marketing")
    home = await _home_of(call)
    store = call.deps.store
    partition = store.partition(home)
    id = ids.derived("m", partition, call.once) if call.once else ids.new("m", partition)
    data = {
        "id": id,
        "purpose": body.purpose,
        "text": body.text or "",
        "wording": body.wording or "",
        "vars": body.vars,
        "accounts": body.accounts or [],
        "not_after": ms(body.not_after),
    }
    await ask(call, home, "message", data, id)
    return 202, {"id": id}


async def _home_of(call: Call) -> str:
    body = call.body
    if body.buyer is not None:
        found = await call.deps.queries.buyer(body.buyer)
        if found is None or found.erased:
            raise Refusal(404, "not-found", "buyer: there is no buyer with this id", field_name="buyer")
        return found.home
    number = call.deps.parse_phone(body.phone)
    if not number:
        raise Refusal(400, "bad-body", "phone: not a phone number", field_name="phone")
    known = await call.deps.queries.buyer_by_phone(number)
    return known.home if known is not None else f"phone:{number}"


async def get_message(call: Call) -> tuple[int, Any]:
    """GET /messages/{id}."""
    found = await call.deps.queries.message(call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no message with this id (yet)")
    return 200, shapes.message(found, await _whose(call, found.message.home))


async def list_messages(call: Call) -> tuple[int, Any]:
    """GET /messages."""
    state, partitions = call.query("state"), None
    source = f"broadcast:{call.query('broadcast')}" if call.query("broadcast") else ""
    known, theirs = set[str](), set[str]()
    if buyer := call.query("buyer"):
        known, theirs, partitions = await _reach(call, buyer)
    found = await call.deps.queries.messages(
        lambda m: (
            (not known or m.message.buyer in known or (not m.message.buyer and m.message.home in theirs))
            and (not state or m.state == state)
            and (not source or m.message.source == source)
        ),
        partitions=partitions,
        before=place_of(call),
        limit=call.limit + 1,
    )
    whose = await call.deps.queries.buyers_of(m.message.home for m in found if not m.message.buyer)

    def show(one: StoredMessage) -> dict[str, Any]:
        return shapes.message(one, whose.get(one.message.home, ""))

    return 200, page(found, call.limit, lambda m: cursor_of((m.message.created_at, m.message.id)), show)


async def list_decisions(call: Call) -> tuple[int, Any]:
    """GET /decisions."""
    wanted = {name: call.query(name) for name in ("message", "order", "outcome")}
    rule, partitions = call.query("rule"), None
    known, theirs = set[str](), set[str]()
    if buyer := call.query("buyer"):
        known, theirs, partitions = await _reach(call, buyer)
    if wanted["message"]:
        there = ids.partition_in(wanted["message"])
        partitions = [there] if there is not None and there < call.deps.store.partitions else []
    found = await call.deps.queries.decisions(
        lambda d: (
            all(not value or getattr(d, name) == value for name, value in wanted.items())
            and (not known or d.buyer in known or (not d.buyer and order_of(d) in theirs))
            and (not rule or any(r.rule == rule for r in d.rules))
        ),
        partitions=partitions,
        before=place_of(call),
        limit=call.limit + 1,
    )
    whose = await call.deps.queries.buyers_of(order for d in found if not d.buyer and (order := order_of(d)))

    def show(one: DecisionRecord) -> dict[str, Any]:
        return shapes.decision(one, whose.get(order_of(one), ""))

    return 200, page(found, call.limit, lambda d: cursor_of(decision_place(d)), show)


async def _reach(call: Call, buyer: str) -> tuple[set[str], set[str], list[int]]:
    """Every id that a buyer ever had, the subjects of the buyer's orders, and the partitions where their history is."""
    known, partitions = await whereabouts(call, buyer)
    theirs = await orders_of(call, buyer)
    return known, theirs, sorted({*partitions, *map(call.deps.store.partition, theirs)})


async def _whose(call: Call, home: str) -> str:
    """Whose order has this subject; "" for nobody's, or none."""
    return (await call.deps.queries.buyers_of([home])).get(home, "")


def _task_place(task: Task) -> Place:
    return task.created_at, task.id


async def list_tasks(call: Call) -> tuple[int, Any]:
    """GET /tasks."""
    wanted = {name: call.query(name) for name in ("state", "kind", "assignee")}
    before = place_of(call)
    found = [
        t
        for t in await call.deps.queries.tasks()
        if all(not value or getattr(t, name) == value for name, value in wanted.items()) and _task_place(t) < before
    ]
    whose = await call.deps.queries.buyers_of(t.home for t in found[: call.limit] if not t.buyer)

    def show(one: Task) -> dict[str, Any]:
        return shapes.task(one, whose.get(one.home, ""))

    return 200, page(found, call.limit, lambda t: cursor_of(_task_place(t)), show)


async def complete_task(call: Call) -> tuple[int, Any]:
    """POST /tasks/{id}/complete: again with the same outcome is the same answer."""
    found = await call.deps.queries.task(call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no task with this id")
    if found.state != "open":
        if found.state == "done" and found.outcome == call.body.outcome:
            return 200, shapes.task(found, await _whose(call, found.home))
        raise Refusal(409, "already-done", f"this task is {found.state}")
    data = {"id": found.id, "outcome": call.body.outcome, "note": call.body.note}
    await ask(call, found.home, "complete_task", data, f"complete|{found.id}|{call.body.outcome}")
    now = await call.deps.queries.task(found.id)
    if now is None or now.state == "open":  # its turn waits behind others
        found.state, found.outcome, found.note = "done", call.body.outcome, call.body.note
        found.assignee, now = call.caller.name, found
    if now.outcome != call.body.outcome:
        raise Refusal(409, "already-done", f"this task is {now.state}")
    return 200, shapes.task(now, await _whose(call, now.home))
