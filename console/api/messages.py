"""Events, messages, decisions and tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import ids, keys
from bot.clock import HOUR_MS
from bot.errors import PayloadError
from bot.events import Event
from bot.queries import Place, StoredMessage, message_place
from bot.records import Task
from console.api import shapes
from console.api.http import Call
from console.api.past import as_now, past
from console.api.refusals import Refusal
from console.api.shared import (
    append,
    ask,
    cursor_of,
    cursor_of_mark,
    mark_of,
    ms,
    orders_of,
    page,
    place_of,
    whereabouts,
)  # fmt: skip
from ledger import lookups

T = TypeVar("T")
Rows: TypeAlias = list[tuple[T, str]]
"""What was found, each with whose order it is, where it names no buyer."""
MOST_EVENTS = 500
MOST_PAGES = 20  # of the ledger that one page looks through for what is still as it was projected


async def post_events(call: Call) -> tuple[int, Any]:
    """POST /events: one envelope or a list."""
    values = call.body if isinstance(call.body, list) else [call.body]
    if not values or len(values) > MOST_EVENTS:
        raise Refusal(400, "bad-body", f"send 1 to {MOST_EVENTS} events")
    events = []
    for number, value in enumerate(values, 1):
        which = f"event {number} of the list: " if isinstance(call.body, list) else ""
        shop = value.get("shop") if isinstance(value, dict) else None
        read = call.deps.envelopes.get(shop) if isinstance(shop, str) else None
        if read is None:
            words = f"{which}shop must be one of {', '.join(call.deps.envelopes)}"
            raise Refusal(400, "bad-body", words, field_name="shop")
        try:
            events.append(read(value, received=call.deps.clock.now()))
        except PayloadError as error:
            raise Refusal(400, "bad-body", which + error.detail, field_name=error.field) from error
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
        if body.purpose != "marketing" and call.deps.wordings.is_marketing(body.wording):
            words = f"purpose: {body.wording} is marketing: it goes to who opted in, with purpose marketing"
            raise Refusal(400, "bad-body", words, field_name="purpose")
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
    """GET /messages/{id}: as it is now, else as the ledger knows it."""
    id = call.request.match_info["id"]
    found = await call.deps.queries.message(id)
    if found is not None:
        owner = await _whose(call, found.message.home)
        return 200, shapes.message(found, owner, await _name(call, found.message.buyer or owner))
    if ids.partition_in(id) is not None:
        async with call.deps.history.connection() as connection:
            if (past_one := await lookups.message(connection, id)) is not None:
                found, owner = past_one
                return 200, shapes.message(found, owner, await _name(call, found.message.buyer or owner))
    raise Refusal(404, "not-found", "there is no message with this id (yet)")


async def _name(call: Call, buyer: str) -> str:
    known = await call.deps.queries.buyer(buyer) if buyer else None
    return known.name if known is not None else ""


async def list_messages(call: Call) -> tuple[int, Any]:
    """GET /messages: those that the ledger finds, each as it is now."""
    known, partitions = await _reach(call)
    state, broadcast, reason = call.query("state"), call.query("broadcast"), call.query("reason")
    # The ledger is not told of a claim: what is being sent is queued there.
    states = {"queued": {"queued"}, "sending": {"queued"}}.get(state, {state} if state else set())
    names: dict[str, str] = {}

    async def now(rows: Rows[StoredMessage]) -> Rows[StoredMessage]:
        async with call.deps.history.connection() as connection:
            names.update(await lookups.names(connection, {found.message.buyer or owner for found, owner in rows}))
        return await as_now(call, rows)

    return await _as_they_are(
        call,
        partitions,
        lambda connection, before: lookups.messages(
            connection,
            buyers_wanted=known,
            states=states,
            broadcast=broadcast,
            reason=reason,
            before=before,
            limit=call.limit + 1,
        ),
        now,
        keep=lambda found: (not state or found.state == state) and _because(found.reason, reason),
        place=message_place,
        shape=lambda found, owner: shapes.message(found, owner, names.get(found.message.buyer or owner, "")),
    )


def _because(found: str, wanted: str) -> bool:
    """Whether a reason, with the provider's code or without, is the one that is asked for."""
    return not wanted or found == wanted or found.partition(":")[0] == wanted


async def _as_they_are(
    call: Call,
    partitions: Sequence[int] | None,
    look: Callable[[AsyncConnection, Place | None], Awaitable[Rows[T]]],
    now: Callable[[Rows[T]], Awaitable[Rows[T]]],
    *,
    keep: Callable[[T], bool],
    place: Callable[[T], Place],
    shape: Callable[[T, str], Any],
) -> tuple[int, Any]:
    """A page of what the ledger finds, each as it is now. What is not asked for any more is made up for by what comes next."""
    before = place_of(call)
    found: Rows[T] = []
    async with past(call, partitions) as connection:
        for _ in range(MOST_PAGES):
            rows = await look(connection, before)
            found += [one for one in await now(rows) if keep(one[0])]
            before = place(rows[-1][0]) if len(rows) > call.limit else None
            if before is None or len(found) > call.limit:
                break
    return 200, page(
        found,
        call.limit,
        lambda one: cursor_of(place(one[0])),
        lambda one: shape(*one),
        goes_on=cursor_of(before) if before else "",
    )


async def list_decisions(call: Call) -> tuple[int, Any]:
    """GET /decisions."""
    before = mark_of(call)
    known, partitions = await _reach(call)
    if message := call.query("message"):
        there = ids.partition_in(message)
        partitions = [there] if there is not None and there < call.deps.store.partitions else []
    columns = {"message": "message", "order": "order_id", "outcome": "outcome"}
    same = {column: value for name, column in columns.items() if (value := call.query(name))}
    async with past(call, partitions) as connection:
        found = await lookups.decisions(
            connection, buyers_wanted=known, same=same, rule=call.query("rule"), before=before, limit=call.limit + 1
        )
    return 200, page(
        found, call.limit, lambda d: cursor_of_mark(d.mark), lambda d: shapes.decision(d.decision, d.owner)
    )


async def _reach(call: Call) -> tuple[set[str], list[int] | None]:
    """Every id that the buyer asked for ever had, and the partitions where their history is. None: nobody was asked for."""
    buyer = call.query("buyer")
    if not buyer:
        return set(), None
    known, partitions = await whereabouts(call, buyer)
    theirs = await orders_of(call, buyer)
    return known, sorted({*partitions, *map(call.deps.store.partition, theirs)})


async def _whose(call: Call, home: str) -> str:
    """Whose order has this subject; "" for nobody's, or none."""
    return (await call.deps.queries.buyers_of([home])).get(home, "")


async def list_tasks(call: Call) -> tuple[int, Any]:
    """GET /tasks: those that the ledger finds, each as it is now."""
    known, partitions = await _reach(call)
    same = {name: value for name in ("state", "kind", "assignee") if (value := call.query(name))}

    async def now(rows: Rows[Task]) -> Rows[Task]:
        here = await call.deps.queries.tasks_by_id([task.id for task, _ in rows])
        return [(here.get(task.id, task), owner) for task, owner in rows]

    return await _as_they_are(
        call,
        partitions,
        lambda connection, before: lookups.tasks(
            connection, buyers_wanted=known, same=same, before=before, limit=call.limit + 1
        ),
        now,
        keep=lambda found: all(getattr(found, name) == value for name, value in same.items()),
        place=_task_place,
        shape=shapes.task,
    )


def _task_place(task: Task) -> Place:
    return task.created_at, task.id


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
