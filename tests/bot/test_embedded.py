"""The embedded server, with real processes: one per data directory, adopted, restarted, never torn."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import embedded
from bot.embedded import LONGEST_SOCKET, EmbeddedServer
from bot.errors import ConfigError, StoreError

ROOT = Path(__file__).resolve().parents[2]

# Servers outlive the objects that started them: that is the point of some tests.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory; whatever server is on it ends with the test."""
    directory = tmp_path / "valkey"
    yield directory
    end_server(directory)


def pid_of(directory: Path) -> int:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        text = ask(directory, b"INFO server\r\n")
        if b"process_id:" in text:
            return int(text.split(b"process_id:")[1].split(b"\r\n")[0])
        time.sleep(0.01)
    raise AssertionError("the server does not answer")


def end_server(directory: Path) -> None:
    if ask(directory, b"PING\r\n"):
        pid = pid_of(directory)
        os.kill(pid, signal.SIGKILL)
        gone(directory)


def gone(directory: Path) -> None:
    end = time.monotonic() + 5
    while EmbeddedServer(directory).alive() and time.monotonic() < end:
        time.sleep(0.01)


def ask(directory: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(EmbeddedServer(directory).socket)
            connection.sendall(command)
            return connection.recv(65536)
        except OSError:
            return b""


def setting(directory: Path, name: str) -> str:
    return ask(directory, f"CONFIG GET {name}\r\n".encode()).decode().split("\r\n")[4]


def test_it_is_started_safe(data: Path) -> None:
    """What the promises need is set: synced on every write, nothing evicted, bounded memory, no snapshot, private."""
    server = EmbeddedServer(data, max_memory_mb=64)
    assert server.ensure() == f"unix://{data}/valkey.sock"
    expected = {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(64 << 20),
    }
    assert {name: setting(data, name) for name in expected} == expected
    assert setting(data, "save") == ""
    assert setting(data, "enable-debug-command") == "no"
    assert setting(data, "port") == "0"
    assert Path(server.socket).stat().st_mode & 0o077 == 0
    server.stop()
    assert not server.alive()


def test_memory_is_at_most_three_fifths(data: Path) -> None:
    """A greedy configuration is cut to 60 % of the machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    EmbeddedServer(data, max_memory_mb=10**7).ensure()
    assert int(setting(data, "maxmemory")) == int(total * 0.6)


def test_a_running_one_is_adopted_and_left_alone(data: Path) -> None:
    """The second starter gets the same server and does not end it."""
    first, second = EmbeddedServer(data), EmbeddedServer(data)
    first.ensure()
    pid = pid_of(data)
    second.ensure()
    assert second.process is None
    assert pid_of(data) == pid
    second.stop()
    assert pid_of(data) == pid


def test_the_one_that_took_the_place_of_its_own_is_stopped_in_the_end(data: Path) -> None:
    """Its server ended, and another process of the gateway was faster to start one: nobody leaves that behind."""
    first, second = EmbeddedServer(data), EmbeddedServer(data)
    first.ensure()
    assert first.process is not None
    first.process.kill()
    first.process.wait()
    second.ensure()
    assert second.process is not None
    try:
        first.stop()
        assert second.process.poll() is None
        first.stop(adopted=True)
        assert second.process.wait(10) == 0
    finally:
        second.stop()


def test_starts_at_once_give_one_server(data: Path) -> None:
    """Four processes start at the same moment: all get an answer, from one server."""
    program = (
        "import sys; from pathlib import Path; from bot.embedded import EmbeddedServer; "
        "s = EmbeddedServer(Path(sys.argv[1])); s.ensure(); print(s.process is not None)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(data)], stdout=subprocess.PIPE, env=env) for _ in range(4)
    ]
    said = [starter.communicate(timeout=30)[0].strip() for starter in starters]
    assert sorted(said) == [b"False", b"False", b"False", b"True"]
    assert "ready to accept" in (data / "valkey.log").read_text().lower()
    assert (data / "valkey.log").read_text().lower().count("server initialized") == 1


def test_kill_9_keeps_what_was_acknowledged(data: Path) -> None:
    """After kill -9 the lock is free, the next start reads the same data."""
    server = EmbeddedServer(data)
    server.ensure()
    assert ask(data, b"SET kept yes\r\n") == b"+OK\r\n"
    os.kill(pid_of(data), signal.SIGKILL)
    server.process.wait()
    assert not server.alive()
    server.ensure()
    assert ask(data, b"GET kept\r\n") == b"$3\r\nyes\r\n"


def test_it_outlives_its_starter(data: Path) -> None:
    """The lock belongs to the server: with its starter gone a second one is still not started."""
    program = "import sys; from pathlib import Path; from bot.embedded import EmbeddedServer; EmbeddedServer(Path(sys.argv[1])).ensure()"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", program, str(data)], check=True, timeout=30, env=env)
    pid = pid_of(data)
    server = EmbeddedServer(data)
    server.ensure()
    assert server.process is None
    assert pid_of(data) == pid


def test_a_stopped_one_is_waited_for_not_doubled(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs keeps its data: the starter gives up in plain words instead of starting a second."""
    monkeypatch.setattr(embedded, "START_S", 0.5)
    EmbeddedServer(data).ensure()
    pid = pid_of(data)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="does not answer"):
            EmbeddedServer(data).ensure()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert pid_of(data) == pid


def test_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    """Sockets of over 107 bytes cannot be: a private directory takes them, and it works."""
    directory = tmp_path / ("长" * 20) / ("d" * 60)
    server = EmbeddedServer(directory)
    try:
        server.ensure()
        assert len(server.socket.encode()) <= LONGEST_SOCKET
        assert Path(server.socket).parent.stat().st_mode & 0o077 == 0
        assert ask(directory, b"PING\r\n") == b"+PONG\r\n"
        assert setting(directory, "dir")
    finally:
        server.stop()


def test_a_short_socket_folder_of_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder under /tmp that others may write to is not used."""
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"touchpoint-{os.getuid()}"
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="this user alone"):
        _ = EmbeddedServer(tmp_path / ("d" * 120)).socket


def test_a_torn_tail_is_dropped_and_said(data: Path) -> None:
    """After a crash within a write the server starts, and `truncated` tells; a clean start after it does not."""
    server = EmbeddedServer(data)
    server.ensure()
    ask(data, b"SET kept yes\r\n")
    ask(data, b"SET torn " + b"x" * 100 + b"\r\n")
    assert not server.truncated()
    os.kill(pid_of(data), signal.SIGKILL)
    server.process.wait()
    tail = next((data / "appendonlydir").glob("*.incr.aof"))
    tail.write_bytes(tail.read_bytes()[:-20])
    server.ensure()
    assert server.truncated()
    assert ask(data, b"GET kept\r\n") == b"$3\r\nyes\r\n"
    assert ask(data, b"GET torn\r\n") == b"$-1\r\n"
    server.stop()
    server.ensure()
    assert not server.truncated()


def test_damaged_data_ends_in_words(data: Path) -> None:
    """Data damaged in the middle is not started; the reason is in the error."""
    server = EmbeddedServer(data)
    server.ensure()
    for number in range(50):
        ask(data, f"SET key{number} value\r\n".encode())
    server.stop()
    middle = next((data / "appendonlydir").glob("*.incr.aof"))
    body = bytearray(middle.read_bytes())
    body[len(body) // 2 : len(body) // 2 + 40] = b"?" * 40
    middle.write_bytes(bytes(body))
    with pytest.raises(StoreError, match="ended"):
        server.ensure()
    assert not server.alive()
