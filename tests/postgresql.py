"""A real PostgreSQL for tests: one server per test session on a unix socket, a database of its own for each test."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

UNPACKED = Path(__file__).resolve().parents[1] / "var" / "tools" / "postgresql"
FAST = {  # what a crash would lose is of no use to anybody
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "jit": "off",
    "timezone": "GMT",
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "log_statement": "none",
    "max_wal_size": "2GB",
}


def programs() -> Path:
    """The folder of `postgres`, `initdb` and `pg_dump`. Missing is a failure, never a skip."""
    for root in (Path("/"), UNPACKED):
        for found in sorted(root.glob("usr/lib/postgresql/*/bin"), reverse=True):
            if all((found / name).exists() for name in ("postgres", "initdb", "psql", "pg_dump")):
                return found
    raise RuntimeError("there is no PostgreSQL for the tests: run `make var/tools/.postgresql`")


class Postgresql:
    """One server in a directory of its own; `kill` is kill -9, `start` again reads the same data.

    The server refuses to run as root, so root starts it as `nobody`, who owns the directory.
    """

    def __init__(self, **options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tpp"))
        self.options = {**FAST, **options}
        self.process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        nobody = pwd.getpwnam("nobody")
        self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
        self._programs = self._reachable(programs())
        libraries = [UNPACKED / part for part in ("usr/lib", "lib")]
        found = [str(p) for part in libraries for p in (part, *part.glob("*-linux-gnu")) if p.is_dir()]
        self._env = {**os.environ, "LC_ALL": "C.UTF-8"}
        if not self._programs.is_relative_to("/usr"):
            self._env["LD_LIBRARY_PATH"] = ":".join(self._moved(Path(p)) for p in found)

    def _reachable(self, bin: Path) -> Path:
        """The same programs where `nobody` may read them: a checkout below /root is closed to others."""
        self._copied = False
        if not self._as or bin.is_relative_to("/usr"):
            return bin
        look = subprocess.run(["/usr/bin/test", "-x", str(bin / "postgres")], **self._as, check=False)
        if look.returncode == 0:
            return bin
        shutil.copytree(UNPACKED, self.directory / "programs", symlinks=True)
        self._copied = True
        return self.directory / "programs" / bin.relative_to(UNPACKED)

    def _moved(self, path: Path) -> str:
        return str(self.directory / "programs" / path.relative_to(UNPACKED)) if self._copied else str(path)

    def run(self, program: str, *args: str) -> str:
        """What one of the programs prints (pg_dump, say)."""
        command = [str(self._programs / program), *args]
        done = subprocess.run(
            command, **self._as, env=self._env, cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout

    def start(self) -> Postgresql:
        data = self.directory / "data"
        if not data.exists():
            self.run(
                "initdb",
                "-D",
                str(data),
                "-A",
                "trust",
                "-U",
                "postgres",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (
                self.process is None or self.process.poll() is not None
            ):  # after a kill, its sessions may still be ending
                self._launch(data)
            if self._ready(data / "postmaster.pid"):
                return self
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'log').read_text()[-2000:]}")

    def _launch(self, data: Path) -> None:
        settings = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(data), "-k", str(self.directory), *settings]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, **self._as, env=self._env, cwd=self.directory, stdout=log, stderr=log
            )

    def _ready(self, file: Path) -> bool:
        """Whether the file that the server keeps of itself is this one's, and its last line says so."""
        assert self.process is not None
        lines = file.read_text().split("\n") if file.exists() else [""]
        return lines[0] == str(self.process.pid) and any(line.strip() == "ready" for line in lines)

    def url(self, database: str) -> str:
        """As `[ledger] url` takes it."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def database(self) -> str:
        """The URL of a new empty database."""
        name = f"t{next(self._names)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Removes a database, whoever is still connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {name_of(url)} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql prints of one statement: a row a line, columns between bars."""
        return self.run("psql", "-XAtq", "-h", str(self.directory), "-U", "postgres", "-d", database, "-c", statement)

    def dump(self, url: str) -> str:
        """Everything a database holds, as pg_dump writes it (bytes as hex)."""
        return self.run("pg_dump", "-h", str(self.directory), "-U", "postgres", name_of(url))

    def kill(self) -> None:
        """kill -9 of the server; its sessions end with it."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ends the server and removes its data."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown: sessions are ended
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def name_of(url: str) -> str:
    """The database of a URL."""
    return url.rpartition("?")[0].rpartition("/")[2]
