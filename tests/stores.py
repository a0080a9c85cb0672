"""Every kind of store that is promised, as real servers: one, whoever the sentinels call primary, a cluster.

Each has a `url` for `[redis] url`, `start()` and `stop()`; data lies in throw-away directories, processes end by their pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import hiredis

from tests.servers import Redis7, Valkey, free_port, redis_binary, valkey_binary

KINDS = ("embedded", "redis", "sentinel", "cluster")
DURABLE = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]


class Store(Protocol):
    """What tests know of a store."""

    url: str

    def stop(self) -> None:
        """Ends its servers and removes their data."""


class Guards(Protocol):
    """How servers are guarded: `tests.guarded.Guarded`."""

    def options(self) -> list[str]:
        """Of a server that holds data; its port is `--tls-port`."""

    def sentinel_lines(self) -> str:
        """Of a sentinel's file."""

    def opened(self, connection: socket.socket) -> socket.socket:
        """A connection over which commands are heard."""

    def login(self, *, sentinel: bool) -> tuple[str, ...]:
        """The AUTH command that they want."""


class Node:
    """One server on a port of loopback; `kill` is kill -9, `start` again reads the same data."""

    def __init__(
        self, binary: Callable[[], str], *options: str, sentinel: str = "", guards: Guards | None = None
    ) -> None:
        self.binary, self.options, self.sentinel, self.guards = binary, options, sentinel, guards
        self.directory = Path(tempfile.mkdtemp(prefix="tps"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Node:
        port, guards = ("tls-port" if self.guards else "port"), self.guards
        common = [f"--{port}", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        if self.sentinel:  # it writes into its file what it finds out
            file = self.directory / "sentinel.conf"
            if not file.exists():
                more = guards.sentinel_lines() if guards else ""
                file.write_text(f"{port} {self.port}\nbind 127.0.0.1\ndir {self.directory}\n{self.sentinel}{more}")
            command = [self.binary(), str(file), "--sentinel"]
        else:
            command = [self.binary(), *common, *DURABLE, *self.options, *(guards.options() if guards else ())]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: self.ask("PING") == b"PONG", f"{self.address} to start")
        return self

    def ask(self, *command: str | int) -> object:
        """One answer, or None where there is none; an error reply is raised."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as plain:
            plain.settimeout(5)
            if self.guards is None:
                return _answer(plain, command)
            with self.guards.opened(plain) as connection:
                _answer(connection, self.guards.login(sentinel=bool(self.sentinel)))
                return _answer(connection, command)
        return None

    def info(self, field: str) -> str:
        """One field of INFO."""
        text = self.ask("INFO")
        lines = text.decode().splitlines() if isinstance(text, bytes) else []
        return next((line.partition(":")[2] for line in lines if line.startswith(f"{field}:")), "")

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _answer(connection: socket.socket, command: Sequence[str | int]) -> object:
    reader = hiredis.Reader(protocolError=RuntimeError, replyError=RuntimeError)
    connection.sendall(hiredis.pack_command(tuple(map(str, command))))
    while (answer := reader.gets()) is False:
        data = connection.recv(65536)
        if not data:
            return None
        reader.feed(data)
    if isinstance(answer, Exception):
        raise answer
    return answer


def wait_for(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Until something is true; an error on the way counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(RuntimeError):
            if true():
                return
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


class _Several:
    """Servers that are stopped together."""

    nodes: list[Node]
    servers: list[Node]  # those that hold data
    began = False

    def kill(self) -> None:
        """kill -9 of all that hold data."""
        for node in self.servers:
            node.kill()

    def pause(self) -> None:
        for node in self.servers:
            node.signal(signal.SIGSTOP)

    def resume(self) -> None:
        for node in self.servers:
            node.signal(signal.SIGCONT)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class SentinelSet(_Several):
    """A primary, two replicas, three sentinels that call it `tp` and give it two seconds."""

    def __init__(
        self, binary: Callable[[], str] = valkey_binary, *, replicas: int = 2, guards: Guards | None = None
    ) -> None:
        safe = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0"]
        safe += ["--repl-ping-replica-period", "1"]
        first = Node(binary, *safe, guards=guards)
        self.servers = [first] + [
            Node(binary, *safe, "--replicaof", "127.0.0.1", str(first.port), guards=guards) for _ in range(replicas)
        ]
        watch = (
            f"sentinel monitor tp 127.0.0.1 {first.port} 2\nsentinel down-after-milliseconds tp 2000\n"
            "sentinel failover-timeout tp 4000\nsentinel parallel-syncs tp 2\n"
        )
        self.sentinels = [Node(binary, sentinel=watch, guards=guards) for _ in range(3)]
        self.nodes = self.servers + self.sentinels
        self.url = f"redis+sentinel://{','.join(node.address for node in self.sentinels)}/tp"

    def start(self) -> SentinelSet:
        for node in self.servers:
            node.start()
        if self.began:
            self._linked()
            return self
        self.began = True
        self._linked()
        for node in self.sentinels:
            node.start()
        for node in self.sentinels:  # until it knows all others it could not have one elected
            wait_for(
                lambda node=node: b"slaves=%d,sentinels=3" % (len(self.servers) - 1) in node.ask("INFO"), "sentinels"
            )
        return self

    def _linked(self) -> None:
        """Until one server is primary of all others."""
        rest = str(len(self.servers) - 1)
        wait_for(lambda: any(node.info("connected_slaves") == rest for node in self.servers), "the replicas")
        wait_for(
            lambda: sum(node.info("master_link_status") == "up" for node in self.servers) == int(rest), "their links"
        )

    def primary(self) -> Node:
        """The server that is primary by its own word and the first sentinel's."""
        found = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tp")
        port = int(found[1])  # type: ignore[index]
        return next(node for node in self.servers if node.port == port)


class ClusterSet(_Several):
    """Three primaries with a replica each; a server counts as failed after two seconds."""

    def __init__(
        self, binary: Callable[[], str] = redis_binary, *, replicas: bool = True, guards: Guards | None = None
    ) -> None:
        options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ]
        options += [
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
            "--cluster-replica-validity-factor",
            "0",
        ]
        self.servers = self.nodes = [Node(binary, *options, guards=guards) for _ in range(6 if replicas else 3)]
        self.url = f"redis+cluster://{','.join(node.address for node in self.nodes[:3])}"

    def start(self) -> ClusterSet:
        for node in self.nodes:
            node.start()
        if self.began:
            self._agreed()
            return self
        self.began = True
        first, *others = self.nodes
        for index, node in enumerate(self.nodes[:3]):
            last = 16383 if index == 2 else (index + 1) * 5461 - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", index * 5461, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        wait_for(lambda: self._met(first, others), "the cluster to meet")
        ids = [node.ask("CLUSTER", "MYID") for node in self.nodes]
        for index, node in enumerate(self.nodes[3:]):
            wait_for(
                lambda node=node, index=index: node.ask("CLUSTER", "REPLICATE", ids[index].decode()) == b"OK",
                "a replica",
            )
        self._agreed()
        for node in self.nodes[3:]:
            wait_for(lambda node=node: node.info("master_link_status") == "up", "a replica's link")
        for node in self.nodes[: len(self.nodes) - 3]:
            wait_for(lambda node=node: node.info("connected_slaves") == "1", "a primary's replica")
        return self

    def _agreed(self) -> None:
        for node in self.nodes:
            wait_for(lambda node=node: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster's state")

    def _met(self, first: Node, others: Sequence[Node]) -> bool:
        """Whether all know all; those that do not are told again: a meeting that takes longer than the time-out is forgotten."""
        if all(self._known(node) == len(self.nodes) for node in self.nodes):
            return True
        for node in others:
            if self._known(node) < len(self.nodes):
                node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        time.sleep(0.3)
        return False

    @staticmethod
    def _known(node: Node) -> int:
        text = node.ask("CLUSTER", "NODES")
        lines = text.decode().splitlines() if isinstance(text, bytes) else []
        return sum("handshake" not in line for line in lines)

    def primaries(self) -> list[Node]:
        """The servers that hold slots and say so."""
        return [node for node in self.nodes if node.process.poll() is None and node.info("role") == "master"]


def start(kind: str) -> Valkey | SentinelSet | ClusterSet:
    """One store of a kind, running and empty; one that does not come up leaves no servers behind."""
    made: Sequence[Callable[[], Valkey | SentinelSet | ClusterSet]] = (Valkey, Redis7, SentinelSet, ClusterSet)
    store = made[KINDS.index(kind)]()
    try:
        return store.start()
    except BaseException:
        store.stop()
        raise
