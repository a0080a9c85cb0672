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

from bot import redis_urls
from bot.errors import ConfigError, StoreError, StoreRefusesError

NEARLY_FULL = 0.7
MOST_LAG_S = 2
ASKED = ("*append*", "min-replicas-to-write", "cluster-require-full-coverage")  # patterns of CONFIG GET
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
CUT_OFF = "a primary that was cut off goes on taking writes in, and loses them when it comes back"
ALL_STOP = "one server that is down stops all of them"
FORGOTTEN = "records, timers and messages disappear when memory is short"


def faults(
    info: Mapping[str, str], config: Mapping[str, str] | None, *, replicas: int = 0, kind: str = "one"
) -> list[Fault]:
    """What is unsafe, by the answers of INFO and CONFIG GET (None: the server does not tell its configuration).

    `kind`: one, sentinel or cluster, as the URL says.
    """
    found = [*_state(info), *_durability(info, config), *_memory(info, config), *_replicas(info, replicas)]
    return found + _several(info, config or {}, kind)


def _several(info: Mapping[str, str], config: Mapping[str, str], kind: str) -> list[Fault]:
    if kind == "one" and info.get("cluster_enabled", "0") == "1":
        cure = 'name some of its servers, as in "redis+cluster://host:6379,host:6379"'
        return [Fault("the server is one of a cluster", cure, REFUSED)]
    if kind == "sentinel" and config.get("min-replicas-to-write") == "0":
        cure = 'set "min-replicas-to-write 1" and "min-replicas-max-lag 2" in the configuration of all servers'
        return [Fault("min-replicas-to-write is 0", cure, CUT_OFF)]
    if kind == "cluster" and config.get("cluster-require-full-coverage") == "yes":
        cure = 'set "cluster-require-full-coverage no" in the configuration of all servers'
        return [Fault("cluster-require-full-coverage is yes", cure, ALL_STOP)]
    return []


def notes(info: Mapping[str, str], *, kind: str = "one") -> list[str]:
    """What is not unsafe, but should be known: memory, connections refused, replicas that are missing or behind."""
    found = []
    limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    if not limit:
        found.append(
            "no maxmemory is set: the system may end the server when memory is short; 60 % of the machine's is well"
        )
    elif used >= limit * NEARLY_FULL:
        found.append(f"{used / limit:.0%} of maxmemory is used: at 75 % nothing more is taken in; raise it")
    if int(info.get("evicted_keys") or 0):
        found.append(f"{info['evicted_keys']} keys were evicted since it started: records may be missing")
    if int(info.get("rejected_connections") or 0):
        found.append(f"{info['rejected_connections']} connections were refused since it started: raise maxclients")
    if kind != "one" and not int(info.get("connected_slaves") or 0):
        found.append("no replica is connected: when this server fails nobody takes over")
    for name, value in info.items():
        if name.startswith("slave") and name[5:].isdecimal():
            told = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            if int(told.get("lag") or 0) > MOST_LAG_S:
                found.append(f"replica {told.get('ip')}:{told.get('port')} is {told['lag']} s behind")
    return found


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


async def inspect(store: Asks, *, replicas: int = 0, url: str = "") -> list[Fault]:
    """Asks the server, or each primary of a cluster. Raises StoreError when one is away."""
    kind = kind_of(url)
    infos = [_texts(answer) for answer in await store.servers("INFO")]
    if kind != "one" and any(info.get("role", "master") != "master" for info in infos):
        raise StoreError("another server is becoming primary just now")
    configs: list[dict[str, str]] | list[None]
    try:
        configs = [_texts(answer) for answer in await store.servers("CONFIG", "GET", *ASKED)]
    except (ResponseError, StoreRefusesError):  # forbidden by an ACL, or renamed away by a host
        configs = [None] * len(infos)
    found = [
        fault
        for info, config in zip(infos, configs, strict=True)
        for fault in faults(info, config, replicas=replicas, kind=kind)
    ]
    return list(dict.fromkeys(found))


async def observe(store: Asks, *, url: str = "") -> list[str]:
    """The notes on each server, with its port where there are several. Raises StoreError when one is away."""
    infos = [_texts(answer) for answer in await store.servers("INFO")]
    return [
        f"port {info.get('tcp_port')}: {note}" if len(infos) > 1 else note
        for info in infos
        for note in notes(info, kind=kind_of(url))
    ]


def kind_of(url: str) -> str:
    """one, sentinel or cluster."""
    return redis_urls.parse(url).kind if url and not url.startswith("embedded:") else "one"


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
