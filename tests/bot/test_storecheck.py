"""Unsafe servers are refused with the line to change."""

from __future__ import annotations

import pytest

from bot import storecheck
from bot.errors import ConfigError
from bot.redis_client import connect
from bot.store import Store
from tests.servers import Valkey

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
