"""The command line and `serve`, with real processes on an embedded server."""

# ruff: noqa: S310  # only our own addresses are opened

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (ROOT / "config.toml").read_text(encoding="utf-8")


def touchpoint(*args: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bot", *args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped configuration on a free port, with data of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "config.toml"
    path.write_text(SHIPPED.replace("8080", str(port)).replace("processes = 0", "processes = 2"), encoding="utf-8")
    return path


def url_of(config: Path) -> str:
    return re.search(r'public_url = "([^"]+)"', config.read_text()).group(1)


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return json.load(answer)


@contextlib.contextmanager
def serving(config: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    out = (config.parent / "out").open("w")
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "serve", "--config", str(config)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, stdout=out, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        until(lambda: "ready after" in (config.parent / "out").read_text(), 60)
        process.took = time.monotonic() - started
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        out.close()


def say(config: Path, account: str, id: str, text: str) -> None:
    """A buyer writes on a simulated phone and gets an answer."""
    base = f"{url_of(config)}/sandbox/phones/{account}/{urllib.parse.quote(id)}"
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(f"{base}/say", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status in (200, 202, 204)
    until(lambda: len(str(get(f"{base}/messages"))) > len(text) + 200, 30)


def ledger_holds(config: Path, text: str) -> bool:
    """Whether a line of some timeline says so. Its tables are made beside the doors, so they may be missing at first."""
    with sqlite3.connect(config.parent / "var" / "ledger.db", timeout=10) as ledger:
        if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'timeline'").fetchone():
            return False
        return ledger.execute("SELECT count(*) FROM timeline WHERE summary = ?", (text,)).fetchone()[0] == 1


def until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def ready(config: Path) -> bool:
    try:
        return bool(get(f"{url_of(config)}/readyz")["ready"])
    except (OSError, ValueError):
        return False


def children(pid: int, role: str = "worker") -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if f" {role} " in line]


def test_adapters_as_json() -> None:
    """`adapters --json` is one list; every entry names its kind."""
    found = json.loads(touchpoint("adapters", "--json").stdout)
    assert {"kind", "name", "capabilities"} <= set(found[0])
    assert {("channel", "wechat"), ("channel", "messenger"), ("channel", "twilio"), ("shop", "standard")} <= {
        (one["kind"], one["name"]) for one in found
    }


def test_journeys_as_json() -> None:
    """`journeys --json` is one list of what runs."""
    found = json.loads(touchpoint("journeys", "--json").stdout)
    assert {"name", "trigger", "version", "enabled"} == set(found[0])


def test_faults_end_in_lines_and_a_code(config: Path) -> None:
    """A bad configuration: exit code 2, one line per fault on standard error, no traceback."""
    config.write_text(config.read_text().replace("[club]", "[clubb]").replace("[brand]", "[brand]\nnme = 1"))
    done = touchpoint("serve", "--config", str(config))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 2
    assert "Traceback" not in done.stderr


ENDS = """
import atexit, os, sys
atexit.register(os.abort)  # what pyreqwest's thread may do while Python ends
import bot.__main__ as cli
@cli.app.command()
def said(lines: int, code: int, words: str = "") -> None:
    print("\\n".join(str(n) for n in range(lines)))
    print("at last", file=sys.stderr, end="")
    if code < 0: raise RuntimeError("went wrong")
    sys.exit(words or code)
cli.main()
"""


BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}


def said(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ENDS, "said", *args]
    return subprocess.run(command, cwd=ROOT, env=BUFFERED, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("0",), 0, "at last"),
        (("3",), 3, "at last"),
        (("1", "--words", "no such file"), 1, "at lastno such file\n"),
    ],
)
def test_a_command_ends_with_its_code_and_all_its_words(args: tuple[str, ...], code: int, words: str) -> None:
    """Not taken down by Python, which a thread of the HTTP library may abort: whatever waits in a buffer is out before."""
    ended = said("20000", *args)
    assert (ended.returncode, ended.stderr) == (code, words)
    assert ended.stdout.splitlines() == [str(n) for n in range(20_000)]


def test_a_command_that_breaks_says_how() -> None:
    ended = said("1", "--", "-1")
    assert (ended.returncode, ended.stdout) == (1, "0\n")
    assert "went wrong" in ended.stderr


def test_a_command_whose_reader_is_gone_ends_quietly() -> None:
    command = [sys.executable, "-c", ENDS, "said", "3", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=BUFFERED, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ended:
        ended.stdout.close()  # type: ignore[union-attr]
        assert ended.stderr.read() == b"at last"  # type: ignore[union-attr]
    assert ended.returncode == 1


def test_a_token_without_a_running_gateway(config: Path) -> None:
    """The token stands alone on the last line; the server started for the command ends with it."""
    done = touchpoint("token", "create", "ci", "--role", "owner", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"tp_[\w-]{43}", done.stdout.splitlines()[-1])
    assert not EmbeddedServer(config.parent / "var" / "valkey").alive()


def test_a_wrong_role_is_refused(config: Path) -> None:
    """A role that does not exist: the roles that do."""
    done = touchpoint("token", "create", "ci", "--role", "boss", "--config", str(config))
    assert done.returncode == 2
    assert "read-only" in done.stderr


def test_an_unsafe_server_is_refused(config: Path) -> None:
    """A worker on a server that syncs once a second does not start, and says what to change."""
    from tests.servers import Valkey

    valkey = Valkey("--appendfsync", "everysec").start()
    config.write_text(config.read_text().replace("embedded:var/valkey", valkey.url))
    try:
        done = touchpoint("serve", "--config", str(config))
        assert done.returncode == 1
        assert "appendfsync always" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        valkey.stop()


def test_a_second_serve_on_the_same_data_says_so(config: Path) -> None:
    """Two serves share the data and its port, and the second says so; a Touchpoint with other data is refused the port."""
    with serving(config):
        other = config.parent / "other.toml"
        port = int(url_of(config).rpartition(":")[2])
        other.write_text(config.read_text().replace("embedded:var/valkey", "embedded:var/other"))
        refused = touchpoint("serve", "--config", str(other))
        assert refused.returncode == 1
        assert f"server.port = {port}: another Touchpoint listens there" in refused.stderr
        assert "make run CONFIG=" in refused.stderr
        assert not EmbeddedServer(config.parent / "var" / "other").alive()
        (config.parent / "beside").mkdir()
        beside = config.parent / "beside" / "config.toml"
        beside.write_text(config.read_text().replace("embedded:var/valkey", f"embedded:{config.parent}/var/valkey"))
        with serving(beside) as process:
            assert "another serve runs on" in (beside.parent / "out").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(12) == 0
        until(lambda: ready(config), 15)


def test_a_port_that_another_program_has(config: Path) -> None:
    """One line with the port and the way round; nothing is started."""
    port = int(url_of(config).rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        done = touchpoint("serve", "--config", str(config))
    assert done.returncode == 1
    assert f"server.port = {port}: another program listens there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not EmbeddedServer(config.parent / "var" / "valkey").alive()


def test_a_public_sandbox_opens_only_with_its_token(config: Path) -> None:
    """Bound to all addresses: this machine needs no token; through another address only the printed one opens."""
    config.write_text(config.read_text().replace('host = "127.0.0.1"', 'host = "0.0.0.0"'))
    with serving(config):
        said = (config.parent / "out").read_text()
        token = re.search(r"/sandbox/\?token=([\w-]{20,})", said).group(1)
        assert "others can reach this machine" in said
        assert "ssh -L" not in said
        away = {"X-Forwarded-For": "203.0.113.9"}
        page = f"{url_of(config)}/sandbox/"
        assert status_of(page, away) == 403
        assert status_of(f"{page}?token=wrong", away) == 403
        assert status_of(f"{page}?token={token}", away) == 200
        assert status_of(page, {}) == 200


def status_of(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=3) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_serve_from_start_to_end(config: Path) -> None:
    """Ready with its URLs; a token made beside it works; a killed process and a killed server come back; SIGTERM ends all."""
    data = config.parent / "var" / "valkey"
    with serving(config, DISPLAY="") as process:
        said = (config.parent / "out").read_text()
        for words in (
            f"{url_of(config)}/sandbox/",
            f"{url_of(config)}/console/",
            "THE SANDBOX IS ON",
            "ssh -L",
            "ledger    sqlite:var/ledger.db",
        ):
            assert words in said
        token = touchpoint("token", "create", "ci", "--role", "owner", "--config", str(config)).stdout.splitlines()[-1]
        request = urllib.request.Request(
            f"{url_of(config)}/api/v1/campaigns", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=3) as answer:
            assert answer.status == 200
        say(config, "sms-main", "+15005550123", "hush this text")
        say(config, "messenger-main", "9001", "会员 hush")
        until(lambda: ledger_holds(config, "会员 hush"), 30)  # by the projector, a process of its own
        first = children(process.pid)
        assert len(first) == 2
        (projector,) = children(process.pid, "projector")
        own = os.getpriority(os.PRIO_PROCESS, first[0])
        until(
            lambda: os.getpriority(os.PRIO_PROCESS, projector) == min(own + 10, 19), 10
        )  # it makes way for the workers
        os.kill(first[0], signal.SIGKILL)
        until(lambda: len(set(children(process.pid)) - set(first)) == 1, 30)
        until(lambda: ready(config), 40)
        server = int((data / "valkey.pid").read_text())
        os.kill(server, signal.SIGKILL)
        until(lambda: "the embedded server ended" in (config.parent / "out").read_text(), 30)
        until(lambda: ready(config), 40)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(12) == 0
        assert time.monotonic() - asked < 11
    assert not EmbeddedServer(data).alive()
    logs = (config.parent / "out").read_text()
    assert '"event":"message"' in logs
    for hidden in ("hush", "5005550123", "app-secret", "sandboxAccessKeySecret", "a1b2c3d4e5f6", token):
        assert hidden not in logs
