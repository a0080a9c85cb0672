"""Messages of a broadcast in the scripts that move them, on every kind of store: a stop holds in each, and counts move along."""

from __future__ import annotations

from typing import Any

import pytest

from bot import keys
from bot.broadcast_counts import added_up
from bot.broadcasts import Broadcast, Counts
from bot.change import Change, Claimed, QueuedMessage, Settlement, StatusChange
from bot.journal import UnplannedEntry, dump
from bot.store import Store
from tests.bot.test_store import NOW, owned

pytestmark = pytest.mark.every_store
BC, P, ACCOUNT = "bc_1", 5, "sms-main"
KEY = keys.broadcast(P, BC)
GOING = Broadcast(BC, "会员日", "marketing", (ACCOUNT,), {}, 0, "lin", state="sending", frozen=0)


@pytest.fixture
async def store(redis_client) -> Store:
    return await owned(redis_client)


async def planned(store: Store, *ids: str, bc: str = BC, purpose: str = "marketing", **fields: Any) -> set[str]:
    """Commits one message per id, each to a buyer of its own; answers those that the commit claimed."""
    change = Change(P, "address:sms-main:x", "b", "", b"")
    for id in ids:
        row = {"account": ACCOUNT, "to": f"to {id}", "state": "queued", "reason": "", **fields}
        change.messages.append(
            QueuedMessage(id, lane="lo", created_at=NOW, purpose=purpose, body=b"b", bc=f"{bc}\0" if bc else "", **row)
        )
    _, claimed = await store.commit([change], now=NOW)
    return claimed


async def stop(store: Store, state: str, version: int = 1) -> None:
    await store.scripts.run("broadcast_state", [KEY], [state, version])


async def counts(store: Store, id: str = BC) -> Counts:
    """What is counted here, without what has yet to be planned; it balances."""
    found = added_up(GOING, [await store.command("HGETALL", keys.broadcast(P, id))]).counts
    found.planned += found.pending + found.sent + found.failed + found.skipped + found.in_doubt
    return found


async def row(store: Store, id: str) -> tuple[str, str]:
    state, reason = await store.command("HMGET", keys.message(P, id), "s", "r")
    return state.decode(), reason.decode()


async def pull(store: Store) -> list[Claimed]:
    return await store.pull([(P, ACCOUNT, "lo", 10)], now=NOW)


async def sweep(store: Store, *, since: int = 0, offset: int = 0, most: int = 10) -> list[bytes]:
    return await store.scripts.run("broadcast_sweep", [keys.messages(P)], [keys.tag(P), BC, since, offset, most, NOW])


async def unpark(store: Store, most: int = 10) -> list[Any]:
    return await store.scripts.run("broadcast_unpark", [KEY, keys.parked(P, BC)], [keys.tag(P), most])


async def told(store: Store) -> int:
    """How many words of the journal tell that a message moved."""
    rows = await store.command("XRANGE", keys.journal(P), "-", "+")
    return sum(fields[b"k"] == b"status" for _, fields in rows)


# --- cancelled --------------------------------------------------------------------------------------------------------


async def test_what_a_turn_plans_after_the_cancel_is_skipped(store):
    """The turn had decided before it knew: its commit queues nothing and claims nothing; other messages go."""
    await stop(store, "cancelled")
    assert await planned(store, "m1", claim_at=NOW) == set()
    assert await planned(store, "m2", bc="", claim_at=NOW) == {"m2"}
    assert await row(store, "m1") == ("skipped", "cancelled")
    assert await pull(store) == []
    assert (await counts(store)).skipped_by_reason == {"cancelled": 1}
    assert await told(store) == 1


async def test_what_waits_for_its_hour_is_left_to_its_buyers_turn(store):
    """A row without an account is no message yet."""
    await stop(store, "cancelled")
    await planned(store, "m1", account="", to="")
    assert await row(store, "m1") == ("queued", "")
    assert (await sweep(store))[1:] == [b"m1"]
    assert (await counts(store)).pending == 1


async def test_what_stands_in_a_queue_is_skipped_when_it_is_its_turn(store):
    """Of that broadcast alone: one behind it goes."""
    await planned(store, "m1", to="one")
    await planned(store, "m2", to="one", bc="bc_2")
    await stop(store, "cancelled")
    assert [one.id for one in await pull(store)] == ["m2"]
    assert await row(store, "m1") == ("skipped", "cancelled")
    assert ((await counts(store)).skipped, (await counts(store)).pending) == (1, 0)
    assert ((await counts(store, "bc_2")).skipped, (await counts(store, "bc_2")).pending) == (0, 1)
    assert await told(store) == 1


@pytest.mark.parametrize("way", ["pull", "sweep", "settle"])
async def test_what_an_earlier_call_may_have_sent_stays_in_doubt(store, way):
    """A service notice whose first call had no answer waits for its second: cancelled, it is not "skipped"."""
    await planned(store, "m1", purpose="service")
    await pull(store)
    await store.settle([Settlement(P, "m1", 1, "in_doubt", "no_answer", again_at=NOW + 5)], today=NOW)
    assert (await counts(store)).in_doubt == 1
    await store.pump(now=NOW, real=NOW + 6, left_behind=0)
    assert (await counts(store)).pending == 1
    if way == "settle":
        [second] = await pull(store)
        assert second.doubts == 1
    await stop(store, "cancelled")
    match way:
        case "pull":
            assert await pull(store) == []
        case "sweep":
            assert await sweep(store) == [-1]
        case _:
            await store.settle([Settlement(P, "m1", 2, "queued", "no_connection", again_at=NOW + 9)], today=NOW)
    assert await row(store, "m1") == ("in_doubt", "cancelled")
    found = await counts(store)
    assert (found.in_doubt, found.skipped, found.pending) == (1, 0, 0)


async def test_what_was_to_be_tried_again_is_not_after_the_cancel(store):
    """Nothing was accepted: it is skipped, and no other attempt is planned."""
    await planned(store, "m1")
    await pull(store)
    await stop(store, "cancelled")
    await store.settle([Settlement(P, "m1", 1, "queued", "no_connection", again_at=NOW + 5)], today=NOW)
    assert await row(store, "m1") == ("skipped", "cancelled")
    assert (await store.pump(now=NOW, real=NOW + 6, left_behind=0))[1] == set()
    assert (await counts(store)).skipped_by_reason == {"cancelled": 1}


async def test_the_sweep_takes_what_is_queued_and_nothing_else(store):
    """Piece by piece: not what is being sent, was sent, is another broadcast's or no broadcast's, or is older than its start."""
    await planned(store, "m1", "m2", "m3")
    await planned(store, "m4", bc="bc_2")
    await planned(store, "m5", bc="")
    taken = {one.id for one in await store.pull([(P, ACCOUNT, "lo", 2)], now=NOW)}
    assert taken == {"m1", "m2"}
    await store.settle([Settlement(P, "m1", 1, "sent")], today=NOW)
    await stop(store, "cancelled")
    assert await sweep(store, since=NOW + 1) == [-1]
    assert await row(store, "m3") == ("queued", "")
    assert (await sweep(store, most=2))[0] == 2
    assert await sweep(store, offset=2) == [-1]
    assert {one.id for one in await pull(store)} == {"m4", "m5"}  # what was skipped stands in its queue no longer
    states = {id: (await row(store, id))[0] for id in ("m1", "m2", "m3", "m4", "m5")}
    assert states == {"m1": "sent", "m2": "sending", "m3": "skipped", "m4": "sending", "m5": "sending"}
    found = await counts(store)
    assert (found.sent, found.skipped, found.pending) == (1, 1, 1)
    assert await told(store) == 1


async def test_what_a_merge_took_along_is_named_to_its_survivor(store):
    """Its row ended here as merged; the record that has it now is told that the broadcast was cancelled."""
    await planned(store, "m1", account="", to="")
    change = Change(P, "address:sms-main:x", "b", "", b"")
    change.statuses.append(StatusChange("ref", "m1", "skipped", NOW, "merged"))
    await store.commit([change], now=NOW)
    await stop(store, "cancelled")
    assert (await sweep(store))[1:] == [b"m1"]
    assert (await store.command("HGET", KEY, "forwarded"), await row(store, "m1")) == (b"1", ("skipped", "merged"))


async def test_what_waited_for_its_hour_counts_once(store):
    """Its row is written anew under the same id: pending stays one, wherever it goes in the end."""
    await planned(store, "m1", "m2", account="", to="")
    assert (await counts(store)).pending == 2
    await planned(store, "m1")
    await planned(store, "m2", account="", to="", state="skipped", reason="no_consent")
    found = await counts(store)
    assert (found.pending, found.skipped_by_reason) == (1, {"no_consent": 1})
    assert [one.id for one in await pull(store)] == ["m1"]


# --- paused -----------------------------------------------------------------------------------------------------------


async def test_paused_messages_stand_aside_and_come_back_in_order(store):
    """What is behind them goes; going on, each stands again at the head of its queue, once."""
    await planned(store, "m1", to="one")
    await planned(store, "m2", to="one", bc="bc_2")
    await planned(store, "m3", to="two")
    await stop(store, "paused")
    assert [one.id for one in await pull(store)] == ["m2"]
    assert (await counts(store)).pending == 2
    assert await unpark(store) == [0]  # not while it stands still
    assert await store.command("LLEN", keys.parked(P, BC)) == 2
    await stop(store, "sending", 2)
    left, *ready = await unpark(store)
    assert (left, ready) == (0, [b"sms-main", b"lo"])  # "one" is busy with m2
    assert [one.id for one in await pull(store)] == ["m3"]
    await store.settle([Settlement(P, "m2", 1, "sent")], today=NOW)
    assert [one.id for one in await pull(store)] == ["m1"]
    assert (await counts(store)).pending == 2


async def test_what_ended_while_it_stood_aside_does_not_come_back(store):
    """Its buyer was erased meanwhile."""
    await planned(store, "m1", "m2")
    await stop(store, "paused")
    assert await pull(store) == []
    args = [keys.tag(P), "m1", ACCOUNT, "to m1", b"bare", NOW]
    assert await store.scripts.run("erase_message", [keys.message(P, "m1")], args) == 1
    assert (await counts(store)).skipped_by_reason == {"erased": 1}
    await stop(store, "sending", 2)
    assert (await unpark(store, most=1))[0] == 1
    await unpark(store)
    assert [one.id for one in await pull(store)] == ["m2"]


# --- planned ----------------------------------------------------------------------------------------------------------


async def test_a_page_is_planned_once_by_the_owner_while_it_goes(store):
    """Not by a former owner, not from another place, not while it stands still, not after the last page."""
    page = [("address:sms-main:x", b"event")]

    async def plan(cursor: str, following: str, *, last: bool = False) -> int:
        return await store.plan(P, BC, cursor, following, page, last=last)

    fence = store.fences[P]
    store.fences[P] = fence - 1
    assert await plan("", "b_1") == 0
    store.fences[P] = fence
    assert await plan("", "b_1") == 1
    assert await plan("", "b_1") == 2  # its answer was lost, and it is asked again
    for state, version in (("paused", 1), ("cancelled", 2)):
        await stop(store, state, version)
        assert await plan("b_1", "b_2") == 3
    await stop(store, "sending", 3)
    assert await plan("b_1", "b_2", last=True) == 1
    assert await plan("b_2", "b_3") == 2
    assert await store.command("XLEN", keys.bulk(P)) == 2
    assert await store.command("HMGET", KEY, "planned", "events", "end") == [b"2", b"2", b"1"]


# --- counted ----------------------------------------------------------------------------------------------------------


async def test_each_outcome_moves_its_counter_once(store):
    """However often it is told: sent, delivered after sent, sent after delivered, the same row committed again."""
    await planned(store, "m1", "m2")
    await pull(store)
    for _ in range(2):
        await store.settle([Settlement(P, "m1", 1, "sent", provider=b"one")], today=NOW)
    for state in ("delivered", "delivered", "sent"):
        change = Change(P, "address:sms-main:x", "b", "", b"")
        change.statuses.append(StatusChange("provider", b"one", state, NOW, ""))
        await store.commit([change], now=NOW)
    found = await counts(store)
    assert (found.sent, found.delivered, found.pending) == (1, 1, 1)
    assert found.by_account == {ACCOUNT: {"delivered": 1}}
    await store.settle([Settlement(P, "m2", 1, "failed", "rejected:30007")], today=NOW)
    found = await counts(store)
    assert (found.sent, found.failed, found.pending, found.failed_by_reason) == (1, 1, 0, {"rejected": 1})
    assert found.failed_by_code == {"rejected:30007": 1}


async def test_a_failure_that_was_none_takes_its_code_back(store):
    """A late `delivered` of what the provider had reported as failed."""
    await planned(store, "m1", "m2")
    await pull(store)
    for id in ("m1", "m2"):
        await store.settle([Settlement(P, id, 1, "failed", "rejected:30007", provider=id.encode())], today=NOW)
    assert (await counts(store)).failed_by_code == {"rejected:30007": 2}
    for id in ("m1", "m2"):
        change = Change(P, "address:sms-main:x", "b", "", b"")
        change.statuses.append(StatusChange("provider", id.encode(), "delivered", NOW, ""))
        await store.commit([change], now=NOW)
        found = await counts(store)
        assert sum(found.failed_by_code.values()) == found.failed
    assert (found.delivered, found.failed_by_code) == (2, {})


async def test_an_account_that_refuses_is_counted_for_who_watches(store):
    """It sends nothing and fails nothing: only this number tells."""
    await planned(store, "m1", "m2")
    await pull(store)
    await store.settle(
        [
            Settlement(P, "m1", 1, "queued", "account:190", again_at=NOW + 5),
            Settlement(P, "m2", 1, "queued", "no_connection", again_at=NOW + 5),
        ],
        today=NOW,
    )
    assert await store.command("HGET", KEY, "refused") == b"1"
    assert (await counts(store)).pending == 2


async def test_a_message_under_way_is_not_erased(store):
    """Its sender may be calling: it is cleared in the next pass, whatever became of it."""
    await planned(store, "m1")
    await pull(store)
    args = [keys.tag(P), "m1", ACCOUNT, "to m1", b"bare", NOW]
    assert await store.scripts.run("erase_message", [keys.message(P, "m1")], args) == 0
    assert await row(store, "m1") == ("sending", "")
    await store.settle([Settlement(P, "m1", 1, "sent")], today=NOW)
    assert await store.scripts.run("erase_message", [keys.message(P, "m1")], args) == 1
    assert await row(store, "m1") == ("sent", "")
    assert await store.command("HMGET", keys.message(P, "m1"), "b", "to") == [b"bare", b""]
    assert (await counts(store)).sent == 1


async def test_a_turn_that_breaks_has_failed_where_it_counted(store):
    """Planned here, passed on to here, or waiting for its hour here."""
    await store.plan(P, BC, "", "b_1", [("address:sms-main:x", b"event")], last=True)
    [(entry, _)] = await store.command("XRANGE", keys.bulk(P), "-", "+")

    async def bury(entry: bytes, passed_on: str = "", held: str = "") -> None:
        names = [keys.bulk(P), keys.dead(P), keys.tries(P)]
        await store.scripts.run("bury", names, [entry, "broken", 3, NOW, keys.tag(P), passed_on, held])

    await bury(entry)
    assert ((await counts(store)).failed, (await counts(store)).pending) == (1, 0)
    await bury(entry)  # told again: it is gone
    assert (await counts(store)).failed == 1
    await planned(store, "m1", account="", to="")
    for passed_on, held in ((BC, ""), ("", "m1"), ("", "m1")):
        entry = await store.command("XADD", keys.bulk(P), "*", "s", "x", "d", "", "b", b"event")
        await bury(entry, passed_on, held)
    assert await row(store, "m1") == ("failed", "bug")
    found = await counts(store)
    # One was counted as pending where it came from, which is another partition: here it arrived, and failed.
    assert (found.failed, found.pending, await store.command("HGET", KEY, "arrived")) == (3, -1, b"1")


# --- never planned ----------------------------------------------------------------------------------------------------


async def pass_over(store: Store, cursor: str, *buyers: str, last: bool = False) -> int:
    told = [dump(UnplannedEntry(NOW, BC, "marketing", list(buyers)))] if buyers else []
    return await store.pass_over(P, BC, cursor, max(buyers, default=cursor), told, {"a": len(buyers)}, last=last)


async def test_the_rest_of_a_cancelled_one_is_told_once(store):
    """Page by page from its cursor on; whoever comes second with the same page changes nothing."""
    assert await pass_over(store, "", "b1", "b2") == 3  # it is not cancelled
    await stop(store, "cancelled")
    assert [await pass_over(store, "", "b1", "b2") for _ in range(2)] == [1, 2]
    assert await pass_over(store, "b2", "b3", last=True) == 1
    assert await pass_over(store, "b3", last=True) == 2
    found = await counts(store)
    assert (found.skipped, found.skipped_by_reason) == (3, {"cancelled": 3})
    assert (found.by_account, found.by_variant) == ({"": {"skipped": 3}}, {"a": {"skipped": 3}})
    rows = await store.command("XRANGE", keys.journal(P), "-", "+")
    assert [fields[b"k"] for _, fields in rows] == [b"unplanned"] * 2
    planned_here = await store.command("HGET", KEY, "planned")
    assert int(planned_here) == 3


async def test_another_owner_of_the_partition_tells_it(store):
    await stop(store, "cancelled")
    store.fences[P] -= 1
    assert await pass_over(store, "", "b1") == 0
    assert await store.command("XLEN", keys.journal(P)) == 0
