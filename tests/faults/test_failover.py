"""A primary ends under load: behind Sentinel, in a cluster. With `replicas_to_wait_for = 1` nothing acknowledged is lost.

While it is away its webhooks get 503 with Retry-After, within a second each; then everything goes on by itself.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Self

import aiohttp
import pytest

from bot import keys
from bot.errors import StoreError
from bot.redis_client import connect
from bot.redis_cluster import slot_of
from bot.store import Store
from bot.subjects import partition_of
from tests.faults.test_rolling import told_once
from tests.faults.world import World, running_world
from tests.stores import ClusterSet, Node, SentinelSet, wait_for

WAITS = "replicas_to_wait_for = 1"
LONGEST_OUTAGE_S = 20  # here it takes 3 s; a test machine may be slow at everything
KEY = "address:messenger-main:"


async def watch(
    world: World, buyers: list[str], until: asyncio.Event
) -> dict[str, list[tuple[float, int, float, str]]]:
    """Knocks for these buyers again and again: when, with what status, after how long, with what Retry-After."""
    seen: dict[str, list[tuple[float, int, float, str]]] = {buyer: [] for buyer in buyers}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

        async def one(buyer: str) -> None:
            while not until.is_set():
                at = time.monotonic()
                status, took, again = await world.knock(session, buyer)
                seen[buyer].append((at, status, took, again))
                await asyncio.sleep(0.1)

        await asyncio.gather(*(one(buyer) for buyer in buyers))
    return seen


async def taken_in_again(world: World, buyer: str, since: float) -> float:
    """How long after `since` a buyer's message was taken in (and nothing refused it any more)."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while (await world.knock(session, buyer))[0] != 200:
            assert time.monotonic() - since < LONGEST_OUTAGE_S, "it is not taken in any more"
            await asyncio.sleep(0.1)
    return time.monotonic() - since


def check_refusals(seen: list[tuple[float, int, float, str]]) -> int:
    """Every answer was a 200 or a 503 that says when to come again; how many were 503."""
    refused = [again for _, status, _, again in seen if status != 200]
    assert {status for _, status, _, _ in seen} <= {200, 503}
    assert all(again.isdecimal() for again in refused)
    return len(refused)


@pytest.mark.timeout(180)
async def test_a_clusters_primary_is_killed_under_load(tmp_path):
    """kill -9 of one of three: its slots are refused until its replica has them, the others' buyers notice nothing."""
    cluster = await asyncio.to_thread(ClusterSet().start)
    try:
        async with running_world(tmp_path, store=cluster, settings=WAITS) as world:
            first = cluster.nodes[0]  # holds slots 0 to 5460
            partitions = {str(n): partition_of(f"{KEY}{n}", 64) for n in range(9000, 9200)}
            slots = {buyer: slot_of(f"inbox:{{p{p:02d}}}") for buyer, p in partitions.items()}
            away = next(buyer for buyer, slot in slots.items() if slot < 5461)
            there = next(buyer for buyer, slot in slots.items() if slot > 11000)
            over = asyncio.Event()
            watching = asyncio.create_task(watch(world, [away, there], over))
            load = asyncio.create_task(world.load(30, 12, pause=1.0))
            await asyncio.sleep(2)
            first.kill()
            killed = time.monotonic()
            await asyncio.to_thread(
                wait_for, lambda: cluster.nodes[3].info("role") == "master", "the replica to take over"
            )
            failed_over = time.monotonic()
            first.start()  # as its supervisor would; it comes back as a replica, which the writes wait for
            outage = await taken_in_again(world, away, killed)
            await load
            over.set()
            seen = await watching
            await world.settle(60)
            world.check()
            told_once(world)
            assert len(world.acked) == 30 * 12
            assert check_refusals(seen[away]) > 0
            # A node that fails makes its neighbours agree on it; one that stays has no reason to refuse anybody.
            assert check_refusals(seen[there]) == 0, seen[there]
            assert all(p.poll() is None for p in world.processes.values())
            print(f"outage of the slots: {outage:.1f} s; fail-over after {failed_over - killed:.1f} s")
    finally:
        cluster.stop()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_the_primary_behind_sentinel_is_lost_under_load(tmp_path, how):
    """kill -9, or SIGSTOP past the vote and then SIGCONT: another one is primary, and the old one takes nothing with it."""
    store = await asyncio.to_thread(SentinelSet().start)
    try:
        async with running_world(tmp_path, store=store, settings=WAITS) as world:
            old = store.primary()
            over = asyncio.Event()
            watching = asyncio.create_task(watch(world, ["9000"], over))
            load = asyncio.create_task(world.load(30, 12, pause=1.0))
            await asyncio.sleep(2)
            old.kill() if how == "killed" else old.signal(signal.SIGSTOP)
            lost = time.monotonic()
            await asyncio.to_thread(wait_for, lambda: store.primary() is not old, "another primary")
            voted = time.monotonic()
            outage = await taken_in_again(world, "9000", lost)
            old.start() if how == "killed" else old.signal(signal.SIGCONT)
            await load
            over.set()
            seen = await watching
            await world.settle(60)
            world.check()
            told_once(world)
            assert len(world.acked) == 30 * 12
            assert check_refusals(seen["9000"]) > 0
            assert all(p.poll() is None for p in world.processes.values())
            print(f"outage {outage:.1f} s; another primary after {voted - lost:.1f} s")
    finally:
        store.stop()


class Cable:
    """What a replica hears of its primary goes through here, until it is cut: then both still believe in each other."""

    def __init__(self, port: int) -> None:
        self._upstream, self._whole, self.port = port, True, 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def cut(self) -> None:
        """From here on nothing gets through, in either direction."""
        self._whole = False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer), return_exceptions=True)
        back.close()
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._whole:
                writer.write(data)


@pytest.mark.timeout(180)
async def test_without_waiting_for_replicas_a_fail_over_loses_what_was_acknowledged():
    """The control: the only replica is cut off unseen, events come in, the primary is killed, the replica takes over.

    Who asked for a replica's word had no acknowledgement and comes again; who did not is told "taken in", and it is gone.
    """
    store = await asyncio.to_thread(SentinelSet(replicas=1).start)
    client = connect(store.url)
    waiting, hasty = Store(client, 64, "waiting", replicas=1), Store(client, 64, "hasty")
    old, replica = store.servers
    lane = keys.inbox(hasty.partition(f"{KEY}1"))

    def held(node: Node) -> int:
        return int(node.ask("XLEN", lane))

    def linked(port: int) -> bool:
        return replica.info("master_port") == str(port) and replica.info("master_link_status") == "up"

    try:
        async with Cable(old.port) as cable:
            for server in store.servers:  # how long a primary trusts in a replica that says nothing: 2 s, or this
                server.ask("CONFIG", "SET", "min-replicas-max-lag", 60)
            # Sentinel would lead it back to the primary itself, but not in the first seconds.
            replica.ask("REPLICAOF", "127.0.0.1", cable.port)
            await asyncio.to_thread(wait_for, lambda: linked(cable.port), "the replica behind the cable")
            await asyncio.to_thread(wait_for, lambda: old.info("connected_slaves") == "1", "the replica to be counted")
            await waiting.append([(f"{KEY}1", b"", b"with the replica's word")])
            assert held(replica) == 1
            cable.cut()
            with pytest.raises(StoreError, match="only 0 of 1 replicas confirmed"):
                await waiting.append([(f"{KEY}1", b"", b"refused")])
            await hasty.append([(f"{KEY}1", b"", b"acknowledged")])
            assert held(old) == 3
            assert linked(cable.port)
            old.kill()
            await asyncio.to_thread(wait_for, lambda: replica.info("role") == "master", "the replica to take over", 60)
        assert held(replica) == 1  # what was acknowledged without it is gone
    finally:
        await client.aclose()
        store.stop()
