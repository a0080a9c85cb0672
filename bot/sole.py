"""What `serve` makes sure of before it starts: no other serve on its data, nobody else on its port.

The processes share their port (`SO_REUSEPORT`), so the system would let a second gateway join it without a word, and
hand it half of the webhooks.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

from bot.errors import ConfigError

ASK_S = 2.0


def hold(directory: Path, url: str) -> int:
    """Holds an embedded server's data for this serve, until the process ends. Answers the lock's descriptor.

    Raises ConfigError where another serve holds it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise ConfigError(
            [f'redis.url = "{url}": another serve (process {holder}) runs on this data; use that one, or stop it first']
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def check_port(host: str, port: int, *, shared: bool) -> None:
    """Raises ConfigError where the port cannot be had. `shared`: another serve on the same Redis may hold it too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise ConfigError([f"server.port = {port}: this user may not listen below 1024; take 8080"]) from error
        except socket.gaierror as error:
            raise ConfigError([f'server.host = "{host}": is no address of this machine; take "127.0.0.1"']) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError([f'server.host = "{host}": {error.strerror}; take "127.0.0.1"']) from error
            raise ConfigError([_taken(port)]) from error


def _taken(port: int) -> str:
    other = port + 1 if port < 65535 else port - 1
    who = "another Touchpoint" if _is_ours(port) else "another program"
    return (
        f"server.port = {port}: {who} listens there; stop it, or take another port: "
        f"sed s/{port}/{other}/g config.toml > config-{other}.toml && make run CONFIG=config-{other}.toml"
    )


def _is_ours(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=ASK_S) as answer:
            return "partitions_served" in json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code == 503
    except (OSError, ValueError):
        return False
