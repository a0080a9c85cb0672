"""The shipped config.toml, served by the command line as any operator would, with a client that knows only HTTP."""

# only our own addresses are opened

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from bot.embedded import EmbeddedServer, directory_of
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (ROOT / "config.toml").read_text(encoding="utf-8")
PATIENCE_S = 30
IDS = {
    "wechat-main": "oSandboxLinXiaoman01",
    "messenger-main": "7001002003004005",
    "sms-main": "+8613900001234",
    "sms-cn": "+8613900001234",
}


@dataclass(slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def kind(self) -> str:
        """The kind of a problem."""
        assert self.headers.get_content_type() == "application/problem+json", (self.status, self.raw)
        found = self.json
        assert {"type", "title", "status", "detail"} <= set(found)
        assert found["status"] == self.status
        return found["type"].rpartition("#")[2]

    @property
    def fields(self) -> set[str]:
        return {error["field"] for error in self.json.get("errors", ())}


@dataclass(slots=True)
class Served:
    """A running gateway: its address, its files, its tokens."""

    port: int
    config: Path
    tokens: dict[str, str] = field(default_factory=dict)

    def cli(self, *args: str, timeout: float = 50, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bot", *args, "--config", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        return subprocess.run(
            command,
            cwd=self.config.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def token(self, role: str = "owner") -> str:
        if role not in self.tokens:
            done = self.cli("token", "create", f"test-{role}", "--role", role)
            assert done.returncode == 0, done.stderr
            self.tokens[role] = done.stdout.splitlines()[-1]
        return self.tokens[role]

    def raw(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, *, role: str = "owner", **headers: str) -> Answer:
        """A call of /api/v1; header names are given with `_` for `-`."""
        sent = {"Authorization": f"Bearer {self.token(role)}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = None
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        answer = self.raw(method, "/api/v1" + path, raw, sent)
        end = time.monotonic() + PATIENCE_S
        while answer.status == 503 and answer.kind == "no-history" and time.monotonic() < end:
            time.sleep(0.2)  # the first start prepares the ledger beside the doors: asked again, as Retry-After says
            answer = self.raw(method, "/api/v1" + path, raw, sent)
        assert answer.status < 500 or answer.status in (501, 503), (method, path, answer.status, answer.raw[:300])
        if answer.status >= 400:
            _ = answer.kind
        return answer

    def get(self, path: str, **params: str) -> Any:
        query = "?" + urllib.parse.urlencode(params) if params else ""
        answer = self.api("GET", path + query)
        assert answer.status == 200, (path, answer.status, answer.raw)
        return answer.json

    def all(self, path: str, limit: int, **params: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = ""
        while cursor is not None:
            found = self.get(path, limit=str(limit), **params, **({"cursor": cursor} if cursor else {}))
            assert set(found) == {"items", "next_cursor"}
            assert len(found["items"]) <= limit
            yield from found["items"]
            cursor = found["next_cursor"]

    def forget_guesses(self) -> None:
        """Takes the lock-outs of sign-ins off, which otherwise last a quarter of an hour."""
        names = self.redis("KEYS", "guesses:*")
        if names:
            self.redis("DEL", *names)

    def redis(self, *command: str) -> Any:
        """A command to the gateway's own store."""
        server = EmbeddedServer(directory_of("embedded:var/valkey", self.config.parent))
        with redis.Redis(unix_socket_path=server.socket) as client:
            return client.execute_command(*command)

    # --- sandbox --------------------------------------------------------------------------------------------------

    def sandbox(self, method: str, path: str, body: Any = None) -> Answer:
        raw = None if body is None else json.dumps(body).encode()
        return self.raw(method, "/sandbox" + path, raw, {"Content-Type": "application/json"} if raw else {})

    def phone(self, account: str, id: str = "") -> str:
        return f"/phones/{account}/{urllib.parse.quote(id or IDS[account], safe='')}"

    def say(self, account: str, text: str, id: str = "") -> None:
        answer = self.sandbox("POST", self.phone(account, id) + "/say", {"text": text})
        assert answer.status == 200, answer.raw

    def told(self, account: str, words: str, id: str = "", seconds: float = 10) -> dict[str, Any]:
        """The shop's bubble that holds these words, once it is there."""

        def look() -> dict[str, Any] | None:
            found = self.sandbox("GET", self.phone(account, id) + "/messages").json["items"]
            return next((b for b in found if b["from"] == "shop" and words in str(b.get("text", ""))), None)

        return until(look, seconds, words)

    def buyer(self, account: str, id: str, text: str = "你好") -> dict[str, Any]:
        """The buyer who has just written from an address."""
        self.say(account, text, id)

        def look() -> dict[str, Any] | None:
            found = self.get("/buyers", address=f"{account}:{id}")["items"]
            return found[0] if found else None

        return until(look, 10, f"{account}:{id}")

    def delivered(self, buyer: str) -> None:
        """Waits until nothing moves any more of what this buyer was told."""
        moving = {"queued", "sending", "sent"}
        until(lambda: not moving & {m["state"] for m in self.get("/messages", buyer=buyer)["items"]}, 30, "the end")


def until(look: Any, seconds: float, what: str = "it") -> Any:
    """What `look` finds, once it finds anything: within some seconds on a machine of our own, with patience on others."""
    end = time.monotonic() + max(seconds, PATIENCE_S)
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come in time"
        time.sleep(0.05)


@contextlib.contextmanager
def serving(folder: Path, *, processes: int = 2, change: Any = lambda text: text) -> Iterator[Served]:
    """`serve` with the shipped configuration on a free port and with data of its own."""
    port = free_port()
    config = folder / "config.toml"
    text = SHIPPED.replace("8080", str(port)).replace("processes = 0", f"processes = {processes}")
    config.write_text(change(text), encoding="utf-8")
    out = folder / "out"
    with out.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve", "--config", str(config)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            until(lambda: re.search("ready after", out.read_text()) or process.poll() is not None, 40, "serve")
            assert process.poll() is None, out.read_text()
            yield Served(port, config)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
