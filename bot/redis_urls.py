"""The addresses of stores: one server, a Sentinel set-up, a cluster. Checked when settings are read, used by the clients.

    unix://path                                         one server on its socket
    redis://[login@]host[:port][/db]                    one server; rediss:// with TLS
    redis+sentinel://[login@]host[:port][,…]/service    whichever server the sentinels call primary; rediss+sentinel://
    redis+cluster://[login@]host[:port][,…]             a Redis or Valkey Cluster, by some of its nodes; rediss+cluster://

The login is that of the servers. Sentinels have their own: `?sentinel_username=…&sentinel_password=…`. What else may stand
behind the question mark goes to redis-py: `OPTIONS`, and with TLS `TLS_OPTIONS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SENTINEL_PORT, REDIS_PORT = 26379, 6379
OPTIONS = ("client_name", "db", "health_check_interval", "password", "username")
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = (*TLS_FILES, "ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname", "ssl_password")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
CERT_REQS = ("required", "optional", "none")
_SCHEME = re.compile(r"(?P<base>rediss?)\+(?P<kind>sentinel|cluster)://")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """One store's address, taken apart. `url` is that of a single server; several are reached by `nodes`."""

    kind: Literal["one", "sentinel", "cluster"]
    url: str = ""
    base: str = "redis"
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    login: str = ""
    db: int = 0
    query: str = ""
    sentinel_login: tuple[str, str] = ("", "")

    def server(self, host: str, port: int) -> str:
        """The URL of one of its servers, with the login and options of all."""
        login = f"{self.login}@" if self.login else ""
        name = f"[{host}]" if ":" in host else host
        return f"{self.base}://{login}{name}:{port}/{self.db}{'?' if self.query else ''}{self.query}"


def parse(url: str) -> StoreUrl:
    """Takes an address apart. Raises ValueError, which says what would be right."""
    if not re.match(r"(unix://.|rediss?(\+(sentinel|cluster))?://.)", url):
        raise ValueError(
            'must begin with "embedded:" and a folder, "redis://", "rediss://", "redis+sentinel://", "redis+cluster://" or "unix://"'
        )
    _check_options(url)
    several = _SCHEME.match(url)
    if several is None:
        try:
            _ = urlsplit(url).port if url.startswith("redis") else 0
        except ValueError:
            raise ValueError("its port must be a number, as in redis://host:6379/0") from None
        return StoreUrl("one", url)
    kind: Literal["sentinel", "cluster"] = "sentinel" if several["kind"] == "sentinel" else "cluster"
    rest, _, query = url[several.end() :].partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    example = f"redis+{kind}://host:{SENTINEL_PORT if kind == 'sentinel' else REDIS_PORT}"
    nodes = tuple(_port(one, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT, example) for one in hosts.split(","))
    options = dict(parse_qsl(query))
    sentinel_login = (options.pop(SENTINEL_OPTIONS[0], ""), options.pop(SENTINEL_OPTIONS[1], ""))
    service, db = _path(kind, path)
    return StoreUrl(
        kind,
        base=several["base"],
        nodes=nodes,
        service=service,
        login=login,
        db=db,
        query=urlencode(options),
        sentinel_login=sentinel_login,
    )


def _check_options(url: str) -> None:
    """What stands behind the question mark: known, with a value, and files that are there. Raises ValueError."""
    scheme, query = url.partition("://")[0], url.partition("?")[2]
    tls, sentinel = scheme.startswith("rediss"), scheme.endswith("+sentinel")
    known = (*OPTIONS, *(TLS_OPTIONS if tls else ()), *(SENTINEL_OPTIONS if sentinel else ()))
    for name, value in parse_qsl(query, keep_blank_values=True):
        if not re.fullmatch(r"[a-z_]+", name):  # it may be the end of a password: not to be shown
            raise ValueError(
                'behind its "?" stand options, as in ?ssl_ca_certs=FILE; a "?" in a password is written %3F'
            )
        if name in TLS_OPTIONS and not tls:
            raise ValueError(f'its option {name} needs TLS: begin it with "rediss" instead of "redis"')
        if name in SENTINEL_OPTIONS and not sentinel:
            raise ValueError(f"its option {name} is for redis+sentinel:// alone")
        if name not in known:
            raise ValueError(f"its option {name} is not known: {', '.join(known)} are")
        if not value:
            raise ValueError(f"its option {name} has no value")
        if name in TLS_FILES and not _readable(value):
            raise ValueError(f"its option {name} names {value}, which is no file that can be read here")
        if name == "ssl_cert_reqs" and value not in CERT_REQS:
            raise ValueError(f"its option ssl_cert_reqs must be one of {', '.join(CERT_REQS)}")


def _readable(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return True
    except OSError:
        return False


def _path(kind: str, path: str) -> tuple[str, int]:
    service, _, db = path.partition("/")
    if kind == "cluster":
        if service.strip("0"):
            raise ValueError("a cluster has no service and no database: end it after the last host")
        return "", 0
    if not service:
        raise ValueError("must end with the name that the sentinels know, as in redis+sentinel://host:26379/mymaster")
    if db and not db.isdecimal():
        raise ValueError("its database must be a number, as in redis+sentinel://host:26379/mymaster/0")
    return unquote(service), int(db or 0)


def _port(text: str, default: int, example: str) -> tuple[str, int]:
    """A host and its port. IPv6 addresses stand in brackets."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/\s]+))(?::(?P<port>\d{1,5}))?", text)
    if found is None or not 0 < int(found["port"] or default) < 65536:
        raise ValueError(f"its port must be a number, and its hosts parted by commas, as in {example}")
    return found["six"] or found["host"], int(found["port"] or default)
