"""A cluster whose servers come, go and hand slots over: what is refused is refused whole, what goes on goes on."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot import keys
from bot.change import Change, Commit
from bot.errors import PartlyStoredError, StoreError
from bot.redis_client import connect
from bot.redis_cluster import key_of, slot_of
from bot.store import Store
from tests.stores import ClusterSet, Node, wait_for

NOW = 1_790_000_000_000


@pytest.fixture(scope="module")
def cluster():
    it = ClusterSet(replicas=False).start()
    yield it
    it.stop()


@pytest.fixture
async def store(cluster):
    for node in cluster.nodes:  # one that was killed is known again
        wait_for(lambda node=node: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster's state")
    client = connect(cluster.url)
    await client.flushall()
    found = Store(client, 64, "one")
    for p, (fence, _, _) in (await found.lease(dict.fromkeys(range(64), "k"), 60_000)).items():
        found.fences[p], found.cursors[p] = fence, ["0", "0"]
    yield found
    await client.aclose()


def holder(cluster: ClusterSet, key: str) -> Node:
    """The server that has a key's slot."""
    for start, end, (_, port, *_), *_ in cluster.nodes[0].ask("CLUSTER", "SLOTS"):
        if start <= slot_of(key) <= end:
            return next(node for node in cluster.nodes if node.port == port)
    raise AssertionError("no server has it")


def subject_in(store: Store, partition: int) -> str:
    return next(f"phone:{n}" for n in range(100_000) if store.partition(f"phone:{n}") == partition)


def test_keys_of_commands() -> None:
    """The key that decides where a command goes."""
    assert key_of(("XREAD", "COUNT", 1, "STREAMS", "inbox:{p01}", "bulk:{p01}", "0", "0")) == "inbox:{p01}"
    assert key_of(("EVALSHA", "abc", 2, "lease:{p01}", "guard:{p01}")) == "lease:{p01}"
    assert key_of(("CONFIG GET", "*")) is None
    for key in ("inbox:{p07}", "camp:{c:KEY}", "procs", "odd:{}", "a{b"):
        assert slot_of(keys.guard(key)) == slot_of(key), key


async def test_no_call_of_the_store_crosses_slots(store):
    """Every batch over all 64 partitions goes through: none has keys of two slots, and none touches one undeclared."""
    entries = [(subject_in(store, p), p.to_bytes(8, "big"), b"body") for p in range(64)]
    await store.append(entries)
    await store.look(sorted(store.fences))
    taken = []
    while len(taken) < 64:
        more, _ = await store.take(sorted(store.fences), inbox=64, bulk=64)
        assert more
        taken += more
    changes = [Change(t.partition, t.subject, t.lane, t.entry, t.digest, record=b"r", journal=b"j") for t in taken]
    outcomes, _ = await store.commit(changes, now=NOW)
    assert {outcome for outcome, _ in outcomes} == {Commit.DONE}
    letters = [(p, (p + 1) % 64, 1, subject_in(store, p), b"", b"x") for p in range(64)]
    await store.deliver(letters)
    await store.deliver(letters)
    assert sum(await store.together([("XLEN", f"inbox:{{p{p:02d}}}") for p in range(64)])) == 64
    assert await store.pump(now=NOW, real=NOW, left_behind=0) == (0, set(), [])
    assert await store.ready_lanes(["a", "b"]) == set()
    assert len(await store.raw_records([t.subject for t in taken])) == 64
    assert {name async for page in store.scan("rec:*") for name in page} >= {
        b"rec:{p00}:" + subject_in(store, 0).encode()
    }


async def test_a_server_that_is_away_stops_its_own_slots_only(cluster, store):
    """kill -9 of one of three: its entries are refused at once, the others are taken; back again, all without a restart."""
    dead = holder(cluster, "inbox:{p00}")
    lost = {p for p in range(64) if holder(cluster, f"inbox:{{p{p:02d}}}") is dead}
    assert 0 < len(lost) < 64
    entries = [(subject_in(store, p), b"", b"body") for p in range(64)]
    dead.kill()
    try:
        with pytest.raises(PartlyStoredError) as caught:
            await store.append(entries)
        assert caught.value.failed == {p for p in range(64) if p in lost}
        began = time.monotonic()
        with pytest.raises(StoreError):
            await store.append([entries[min(lost)]])
        assert time.monotonic() - began < 1
        taken, _ = await store.take(sorted(store.fences), inbox=64, bulk=64)
        assert {t.partition for t in taken} == set(range(64)) - lost
        outcomes, _ = await store.commit(
            [Change(p, subject_in(store, p), record=b"r") for p in (min(lost), min(set(range(64)) - lost))], now=NOW
        )
        assert [outcome for outcome, _ in outcomes] == [Commit.UNKNOWN, Commit.DONE]
        answers = await store.lease(dict.fromkeys(range(64), "k"), 60_000)
        assert set(answers) == set(range(64)) - lost
    finally:
        dead.start()
    end = time.monotonic() + 20
    while True:
        try:
            await store.append(entries)
            break
        except StoreError:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_a_slot_on_the_move_is_refused_whole_and_found_where_it_goes(cluster, store):
    """While keys are handed over, nothing of the slot is written by halves; then the new holder is found by itself."""
    partition = 5
    name = f"inbox:{{p{partition:02d}}}"
    source = holder(cluster, name)
    target = next(node for node in cluster.nodes if node is not source)
    slot = slot_of(name)
    entry = (subject_in(store, partition), b"12345678", b"body")
    await store.append([entry])
    [taken], _ = await store.take([partition], inbox=1, bulk=1)
    change = Change(partition, taken.subject, taken.lane, taken.entry, taken.digest, record=b"r", journal=b"j")

    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID").decode())
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID").decode())
    with pytest.raises(StoreError):
        await store.append([entry])
    with pytest.raises(StoreError):
        await store.commit([change], now=NOW)
    moved = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000)
    for key in moved:
        source.ask("MIGRATE", "127.0.0.1", target.port, key.decode(), 0, 5000)
        with pytest.raises(StoreError):
            await store.commit([change], now=NOW)
    for node in (target, source, *cluster.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID").decode())

    [(outcome, _)], _ = await store.commit([change], now=NOW)
    assert outcome is Commit.DONE
    assert await store.command("XLEN", name) == 0
    assert (await store.raw_records([taken.subject]))[taken.subject] == b"r"
    wait_for(lambda: holder(cluster, name) is target, "the layout")


async def _later(store: Store, subject: str) -> None:
    await asyncio.sleep(0.2)
    await store.append([(subject, b"", b"body")])


async def test_an_idle_look_sees_what_others_write(cluster, store):
    """What another process appends is found within the time to wait, without a command that waits on several slots."""
    client = connect(cluster.url)
    other = Store(client, 64, "two")
    writing = asyncio.ensure_future(_later(other, subject_in(store, 9)))
    store.dirty.clear()
    began = time.monotonic()
    await store.look(sorted(store.fences), block_ms=5000)
    assert store.dirty == {9}
    assert time.monotonic() - began < 4
    await writing
    await client.aclose()
