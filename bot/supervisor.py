"""`serve`: keeps the embedded server and the gateway processes alive. Light: imports nothing of the web or the engine.

Children are started by exec (`python -m bot worker`), never forked. A dead child is restarted with a growing pause, and
its partitions are freed at once, since a dead process sends nothing any more. If this process dies, they end by themselves.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bot.embedded import SCHEME, EmbeddedServer, directory_of
from bot.errors import ConfigError, StoreError
from bot.sole import check_port, is_last, join

if TYPE_CHECKING:
    from bot.settings import Settings

STOP_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
STEADY_S = 30.0
PROJECTOR_AFTER_S = 3.0
ADOPTED_S = 1.0
READY_S = 30.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(slots=True)
class _Child:
    index: int
    role: str = "worker"
    owner: str = ""
    process: subprocess.Popen[bytes] | None = None
    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    restart_at: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Runs until SIGTERM or SIGINT."""

    settings: Settings
    token: str = ""
    stopping: bool = False
    children: list[_Child] = field(default_factory=list)
    mark: int = -1  # on the embedded server's data, while this process lives
    server: EmbeddedServer | None = None
    server_pause_s: float = FIRST_PAUSE_S
    server_look_at: float = 0.0
    server_started_at: float = 0.0

    def run(self) -> int:
        """Starts everything, says where it is, and watches. Answers the exit code."""
        self._guard_sandbox()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        started = time.monotonic()
        self._look_around()
        self._start_server()
        count = self.settings.server.processes or os.cpu_count() or 1
        self.children = [_Child(index) for index in range(count)]
        for child in self.children:
            self._start(child)
        # Buyers first: what is copied into the ledger waits well. It also makes way whenever a worker wants the processor.
        self.children.append(_Child(count, "projector", restart_at=started + PROJECTOR_AFTER_S))
        announced = False
        while not self.stopping:
            self._watch()
            if not announced and self._ready():
                announced = True
                self._announce(time.monotonic() - started)
            elif not announced and time.monotonic() - started > READY_S:
                announced = True
                print("not ready after 30 s; see the messages above", file=sys.stderr)
            time.sleep(0.05 if not announced else 0.2)
        return self._end()

    def _guard_sandbox(self) -> None:
        """A sandbox that others can reach opens only with a token made for this run."""
        public = self.settings.server.host not in LOOPBACK
        if self.settings.sandbox.enabled and public and not self.token:
            self.token = secrets.token_urlsafe(16)
            os.environ["TOUCHPOINT_SANDBOX_TOKEN"] = self.token

    def _look_around(self) -> None:
        """Tells of another serve on the same data; refuses a port that somebody else has."""
        section, url = self.settings.server, self.settings.redis.url
        alone = False
        if url.startswith(SCHEME):
            self.mark, alone = join(directory_of(url, self.settings.root))
            if not alone:
                print(
                    f"another serve runs on {url.removeprefix(SCHEME)} already: the two share its work, as in a rolling "
                    "restart. Not meant? Ctrl-C ends this one and leaves the other.",
                    flush=True,
                )
        end = time.monotonic() + STOP_S
        while True:
            try:
                check_port(section.host, section.port, shared=not alone)
            except ConfigError:
                # The processes of a serve that was killed are on their way out: its server is there, and no serve.
                if (
                    not (alone and EmbeddedServer(directory_of(url, self.settings.root)).alive())
                    or time.monotonic() > end
                ):
                    raise
                time.sleep(0.1)
            else:
                return

    def _stop(self, *_: object) -> None:
        self.stopping = True

    # --- the embedded server --------------------------------------------------------------------------------------

    def _start_server(self) -> None:
        url = self.settings.redis.url
        if not url.startswith(SCHEME):
            from bot.release import check_store  # noqa: PLC0415  # not for the embedded server: keeps the start light

            check_store(self.settings)
            return
        directory = directory_of(url, self.settings.root)
        self.server = EmbeddedServer(directory, max_memory_mb=self.settings.redis.max_memory_mb)
        self.server.ensure()
        self._warn_of_truncation()

    def _warn_of_truncation(self) -> None:
        if self.server is not None and self.server.process is not None and self.server.truncated():
            log = self.server.directory / "valkey.log"
            print(f"WARNING: the server dropped the damaged end of its data; see {log}", file=sys.stderr, flush=True)

    def _watch_server(self) -> None:
        server, now = self.server, time.monotonic()
        if server is None or now < self.server_look_at:
            return
        if server.process is None:  # adopted: no child of ours, so it is asked
            self.server_look_at = now + ADOPTED_S
            if server.alive():
                return
        elif server.process.poll() is None:
            return
        print(f"the embedded server ended ({server.last_words()}); starting it again", file=sys.stderr, flush=True)
        steady = now - self.server_started_at > STEADY_S
        self.server_pause_s = FIRST_PAUSE_S if steady else min(self.server_pause_s * 2, LONGEST_PAUSE_S)
        try:
            server.ensure()
            self._warn_of_truncation()
        except StoreError as error:
            print(str(error), file=sys.stderr, flush=True)
        # On a full disk it starts and ends at the next write: the growing pause keeps that from being a loop.
        self.server_started_at = time.monotonic()
        self.server_look_at = self.server_started_at + self.server_pause_s

    # --- children -------------------------------------------------------------------------------------------------

    def _start(self, child: _Child) -> None:
        child.owner = f"{os.uname().nodename}-{os.getpid()}-{child.index}-{secrets.token_hex(3)}"
        command = [sys.executable, "-m", "bot", child.role, "--config", str(self.settings.path.resolve())]
        command += ["--owner", child.owner, "--tied"]
        # -m finds the package from the checkout, wherever serve was called.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([_ROOT, os.environ.get("PYTHONPATH", "")])}
        # Tied to the other end of its stdin: it ends when this process does, be it by kill -9.
        child.process = subprocess.Popen(command, env=env, start_new_session=True, stdin=subprocess.PIPE)  # noqa: S603  # our own program
        child.started_at = time.monotonic()

    def _watch(self) -> None:
        self._watch_server()
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.restart_at:
                    self._start(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            if now - child.started_at > STEADY_S:
                child.pause_s = FIRST_PAUSE_S
            name = "the projector" if child.role == "projector" else f"process {child.index}"
            print(f"{name} ended ({_words(code)}); starting it again", file=sys.stderr, flush=True)
            if child.process.stdin is not None:
                child.process.stdin.close()
            self._free(child.owner)
            child.process, child.restart_at = None, now + child.pause_s
            child.pause_s = min(child.pause_s * 2, LONGEST_PAUSE_S)

    def _free(self, owner: str) -> None:
        """The dead process's partitions need not wait for their leases to end."""
        from bot.release import free_owner  # noqa: PLC0415  # only when something died: keeps the start light

        with contextlib.suppress(StoreError, OSError):
            free_owner(self.settings, owner)

    # --- words ----------------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.settings.local_url}/readyz", timeout=1) as answer:  # noqa: S310  # our own address
                return bool(json.load(answer)["ready"])
        except (urllib.error.URLError, OSError, ValueError, KeyError):
            return False

    def _announce(self, took: float) -> None:
        lines = [
            f"{self.settings.brand.name}: ready after {took:.1f} s with {len(self.children) - 1} processes",
            f"home      {self.settings.local_url}/",
        ]
        if self.settings.sandbox.enabled:
            suffix = f"?token={self.token}" if self.token else ""
            lines += [
                f"sandbox   {self.settings.local_url}/sandbox/{suffix}",
                "THE SANDBOX IS ON: providers may be simulated and the clock may be moved. Turn it off to go live.",
            ]
            if self.token:
                lines.append(
                    "others can reach this machine: from elsewhere the sandbox opens only with the token above, made for this run"
                )
        lines.append(f"console   {self.settings.local_url}/console/ (a way in: touchpoint staff add NAME --role owner)")
        lines.append(f"API       {self.settings.local_url}/api/v1/openapi.json")
        lines.append(f"ledger    {_without_password(self.settings.ledger.url)}")
        if (
            not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
            and self.settings.server.host in LOOPBACK
        ):
            port = self.settings.server.port
            here = f"ssh -L {port}:127.0.0.1:{port} {getpass.getuser()}@{os.uname().nodename}"
            lines.append(f"no screen here? On your own machine: {here}")
        print("\n".join(lines), flush=True)

    # --- the end --------------------------------------------------------------------------------------------------

    def _end(self) -> int:
        print("stopping: finishing what is under way", flush=True)
        alive = [child.process for child in self.children if child.process is not None and child.process.poll() is None]
        for process in alive:
            process.terminate()
        end = time.monotonic() + STOP_S
        for process in alive:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.server is not None:
            self.server.stop(adopted=is_last(self.mark))
        return 0


def _without_password(url: str) -> str:
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://{rest}" if at else url


def _words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


_ROOT = str(Path(__file__).resolve().parent.parent)
