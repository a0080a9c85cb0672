"""What `serve` looks at before it starts: whether another serve is on its data, and who has its port.

The processes share their port (`SO_REUSEPORT`), so the system would let any second gateway join it without a word, and
hand it half of the webhooks. That is right for a second serve on the same data, as in a rolling restart, and for nobody else.
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


def join(directory: Path) -> tuple[int, bool]:
    """Marks an embedded server's data as served by this process, until it ends. Answers the mark, and whether it is alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = os.open(directory / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    fcntl.flock(mark, fcntl.LOCK_SH)
    return mark, alone


def is_last(mark: int) -> bool:
    """Whether no other serve has its mark on the same data; from then on none comes until this process ends."""
    if mark < 0:
        return False
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_port(host: str, port: int, *, shared: bool) -> None:
    """Raises ConfigError where the port cannot be had. `shared`: another serve on the same data may have it too."""
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
