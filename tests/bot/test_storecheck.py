"""Unsafe servers are refused with the line to change."""

from __future__ import annotations

import pytest

from bot import storecheck
from bot.errors import ConfigError
from bot.redis_client import connect
from bot.store import Store
from tests.servers import Valkey
from tests.stores import ClusterSet, SentinelSet

SAFE = {
    "redis_version": "7.0.15",
    "role": "master",
    "loading": "0",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
}
CONFIG = {"appendfsync": "always", "no-appendfsync-on-rewrite": "no"}


def test_a_safe_server_has_no_faults() -> None:
    """Nothing is found on a Redis 7.0 or a Valkey 8 with the right settings."""
    assert storecheck.faults(SAFE, CONFIG) == []
    assert storecheck.faults({**SAFE, "redis_version": "7.2.4", "valkey_version": "8.0.1"}, CONFIG) == []


@pytest.mark.parametrize(
    ("info", "config", "cure"),
    [
        ({"redis_version": "6.2.1"}, {}, "install Redis 7.0"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, {}, "Valkey 8"),
        ({"role": "slave"}, {}, "primary"),
        ({"loading": "1"}, {}, "wait"),
        ({"aof_enabled": "0"}, {}, '"appendonly yes"'),
        ({}, {"appendfsync": "everysec"}, '"appendfsync always"'),
        ({}, {"no-appendfsync-on-rewrite": "yes"}, '"no-appendfsync-on-rewrite no"'),
        ({"aof_last_write_status": "err"}, {}, "free space"),
        ({"maxmemory_policy": "allkeys-lru"}, {}, '"maxmemory-policy noeviction"'),
        ({"cluster_enabled": "1"}, {}, '"redis+cluster://'),
    ],
)
def test_each_fault_names_its_cure(info: dict[str, str], config: dict[str, str], cure: str) -> None:
    """One wrong setting gives exactly one fault, whose line says what to change."""
    found = storecheck.faults({**SAFE, **info}, {**CONFIG, **config})
    assert len(found) == 1
    assert cure in str(found[0])
    with pytest.raises(ConfigError, match=r"redis\.url"):
        storecheck.refuse(found, allow_unsafe=False)


def test_all_faults_are_told_at_once() -> None:
    """Two faults, two lines; allowed, they name what is not promised."""
    found = storecheck.faults({**SAFE, "aof_enabled": "0", "maxmemory_policy": "volatile-ttl"}, CONFIG)
    with pytest.raises(ConfigError) as raised:
        storecheck.refuse(found, allow_unsafe=False)
    assert len(raised.value.faults) == 2
    lines = storecheck.refuse(found, allow_unsafe=True)
    assert "lost" in lines[0]
    assert "disappear" in lines[1]


def test_a_hidden_configuration_is_no_proof() -> None:
    """A server that refuses CONFIG GET is not taken for safe."""
    assert "CONFIG GET" in str(storecheck.faults(SAFE, None)[0])


def test_missing_replicas_are_named() -> None:
    """Waiting for replicas that are not there would refuse everything: said at the start."""
    assert "0 of the 2 replicas" in str(storecheck.faults(SAFE, CONFIG, replicas=2)[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), []),
        (("--appendfsync", "everysec"), ["appendfsync is everysec"]),
        (("--appendonly", "no"), ["appendonly is off"]),
        (("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"), ["maxmemory-policy is allkeys-lru"]),
    ],
)
async def test_real_servers(options: tuple[str, ...], words: list[str]) -> None:
    """The answers of a real server are read right."""
    server = Valkey(*options).start()
    client = connect(server.url)
    try:
        found = await storecheck.inspect(Store(client, 64, "test"))
        assert [fault.what for fault in found] == words
    finally:
        await client.aclose()
        server.stop()


async def test_a_login_without_config_get() -> None:
    """An ACL that forbids CONFIG is told apart from a server that is away."""
    server = Valkey().start()
    admin = connect(server.url)
    await admin.execute_command("ACL", "SETUSER", "default", "-config")
    try:
        found = await storecheck.inspect(Store(admin, 64, "test"))
        assert [fault.what for fault in found] == ["whether appendfsync is always cannot be seen"]
    finally:
        await admin.aclose()
        server.stop()


async def unsafe_words(store, url: str, **options: str) -> list[str]:
    """What is found after these settings were made on all its servers; they are taken back."""
    client = connect(url)
    try:
        for name, value in options.items():
            for server in store.nodes:
                if not server.sentinel:
                    server.ask("CONFIG", "SET", name.replace("_", "-"), value)
        return [fault.what for fault in await storecheck.inspect(Store(client, 64, "test"), url=url)]
    finally:
        await client.aclose()


async def test_a_real_sentinel_set_up() -> None:
    """Safe as the tests use it; a primary that would go on alone is refused; replicas that are asked for are counted."""
    store = SentinelSet(replicas=1).start()
    try:
        assert await unsafe_words(store, store.url) == []
        assert await unsafe_words(store, store.url, min_replicas_to_write="0") == ["min-replicas-to-write is 0"]
    finally:
        store.stop()


async def test_a_real_cluster() -> None:
    """Safe as the tests use it; one that stops as a whole is refused, and one of its servers given alone."""
    store = ClusterSet(replicas=False).start()
    try:
        assert await unsafe_words(store, store.url) == []
        one = f"redis://{store.nodes[0].address}"
        assert await unsafe_words(store, one) == ["the server is one of a cluster"]
        words = await unsafe_words(store, store.url, cluster_require_full_coverage="yes")
        assert words == ["cluster-require-full-coverage is yes"]
        client = connect(store.url)
        found = await storecheck.observe(Store(client, 64, "test"), url=store.url)
        await client.aclose()
        assert sum("no replica is connected" in note for note in found) == 3
    finally:
        store.stop()


def test_notes() -> None:
    """Memory that runs out, connections refused, keys evicted, a replica that is behind: told, not refused."""
    info = {
        "maxmemory": "100",
        "used_memory": "71",
        "evicted_keys": "3",
        "rejected_connections": "2",
        "connected_slaves": "1",
    }
    info["slave0"] = "ip=10.0.0.7,port=6379,state=online,offset=5,lag=9"
    found = storecheck.notes(info, kind="sentinel")
    for told in ("71%", "3 keys", "2 connections", "10.0.0.7:6379 is 9 s behind"):
        assert any(told in note for note in found), told
    assert storecheck.notes({"maxmemory": "100", "used_memory": "10"}) == []
    assert "no maxmemory" in storecheck.notes({})[0]
