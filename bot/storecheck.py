"""Whether a Redis or Valkey server keeps what it acknowledges: asked at the start and each minute.

An unsafe server is refused with the very line to change. With `[redis] allow_unsafe = true` the gateway runs, and says
what it does not promise then. Every rule was measured: `appendfsync everysec` loses thousands of acknowledged writes at
a power cut, an evicting server throws queues away, a replica takes no writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import ResponseError

from bot.errors import ConfigError

REDIS_FLOOR, VALKEY_FLOOR = 7, 8  # major versions: flags of `#!lua` scripts


class Asks(Protocol):
    """What the check needs of a store: plain commands that raise StoreError."""

    async def servers(self, *args: Any) -> list[Any]:
        """A command's answer of every server that holds data."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what, the line that cures it, and the promise that is void until then."""

    what: str
    cure: str
    void: str

    def __str__(self) -> str:
        return f"redis.url: {self.what}; {self.cure}"


LOST = "what was acknowledged can be lost at a crash or a power cut"
REFUSED = "nothing can be taken in"
FORGOTTEN = "records, timers and messages disappear when memory is short"


def faults(info: Mapping[str, str], config: Mapping[str, str] | None, *, replicas: int = 0) -> list[Fault]:
    """What is unsafe, by the answers of INFO and CONFIG GET (None: the server does not tell its configuration)."""
    return [*_state(info), *_durability(info, config), *_memory(info, config), *_replicas(info, replicas)]


def _state(info: Mapping[str, str]) -> list[Fault]:
    found = []
    name, floor = ("Valkey", VALKEY_FLOOR) if "valkey_version" in info else ("Redis", REDIS_FLOOR)
    version = info.get("valkey_version") or info.get("redis_version") or "0"
    if int(version.partition(".")[0] or 0) < floor:
        cure = "install Redis 7.0 or newer, or Valkey 8 or newer"
        found.append(Fault(f"the server is {name} {version}", cure, REFUSED))
    if info.get("role", "master") != "master":
        found.append(Fault("the server is a replica", "give the URL of its primary", REFUSED))
    if info.get("loading", "0") != "0":
        found.append(Fault("the server is still loading its data", "wait until it is done", REFUSED))
    return found


def _durability(info: Mapping[str, str], config: Mapping[str, str] | None) -> list[Fault]:
    found = []
    if info.get("aof_enabled", "0") == "0":
        found.append(Fault("appendonly is off", 'set "appendonly yes" in its configuration', LOST))
    elif config is None:
        cure = "let this login run CONFIG GET, or set redis.allow_unsafe = true"
        found.append(Fault("whether appendfsync is always cannot be seen", cure, LOST))
    elif config.get("appendfsync") != "always":
        what = f"appendfsync is {config.get('appendfsync') or 'unknown'}"
        found.append(Fault(what, 'set "appendfsync always" in its configuration', LOST))
    elif config.get("no-appendfsync-on-rewrite", "no") != "no":
        cure = 'set "no-appendfsync-on-rewrite no" in its configuration'
        found.append(Fault("appendfsync pauses while the file is rewritten", cure, LOST))
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append(Fault("its last write to disk failed", "free space on its disk, then restart it", LOST))
    return found


def _memory(info: Mapping[str, str], config: Mapping[str, str] | None) -> list[Fault]:
    policy = info.get("maxmemory_policy") or (config or {}).get("maxmemory-policy") or "noeviction"
    if policy == "noeviction":
        return []
    return [Fault(f"maxmemory-policy is {policy}", 'set "maxmemory-policy noeviction" in its configuration', FORGOTTEN)]


def _replicas(info: Mapping[str, str], wanted: int) -> list[Fault]:
    there = int(info.get("connected_slaves") or 0)
    if there >= wanted:
        return []
    cure = f"connect {wanted}, or lower redis.replicas_to_wait_for"
    return [Fault(f"{there} of the {wanted} replicas to wait for are connected", cure, REFUSED)]


async def inspect(store: Asks, *, replicas: int = 0) -> list[Fault]:
    """Asks the server. Raises StoreError when it is away."""
    infos = [_texts(answer) for answer in await store.servers("INFO")]
    configs: list[dict[str, str]] | list[None]
    try:
        configs = [_texts(answer) for answer in await store.servers("CONFIG", "GET", "*append*")]
    except ResponseError:  # forbidden by an ACL, or renamed away by a host
        configs = [None] * len(infos)
    found = [
        fault for info, config in zip(infos, configs, strict=True) for fault in faults(info, config, replicas=replicas)
    ]
    return list(dict.fromkeys(found))


def fullest(infos: Sequence[Any]) -> dict[str, str]:
    """Of several servers' INFO memory, that of the one with the least room below its limit."""

    def share(info: Mapping[str, str]) -> float:
        limit = int(info.get("maxmemory") or 0)
        return int(info.get("used_memory") or 0) / limit if limit else 0.0

    return max(map(_texts, infos), key=share)


def _texts(answer: Any) -> dict[str, str]:
    """A reply as text by name, whether the client parsed it or not: INFO's lines, CONFIG GET's names and values."""
    if isinstance(answer, bytes):
        lines = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
        return {name: value for name, colon, value in lines if colon}
    if isinstance(answer, Mapping):
        return {_text(name): _text(value) for name, value in answer.items()}
    flat = [_text(part) for part in answer or ()]
    return dict(zip(flat[::2], flat[1::2], strict=False))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def refuse(found: list[Fault], *, allow_unsafe: bool) -> list[str]:
    """Raises ConfigError for an unsafe server; where that is allowed, answers what is then not promised."""
    if found and not allow_unsafe:
        raise ConfigError([str(fault) for fault in found])
    return [f"redis.allow_unsafe: {fault.what}: {fault.void}" for fault in found]
