"""Addresses of stores, taken apart."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from bot.redis_urls import parse


def test_a_sentinel_set_up(tmp_path: Path) -> None:
    """Login, hosts with and without port, service, database; the sentinels' own login is not the servers'."""
    ca = tmp_path / "ca"
    ca.touch()
    found = parse(f"rediss+sentinel://me:h%40sh@a,b:1234,[::1]:5/my%20tp/2?sentinel_password=s&ssl_ca_certs={ca}")
    assert found.kind == "sentinel"
    assert found.nodes == (("a", 26379), ("b", 1234), ("::1", 5))
    assert (found.service, found.sentinel_login) == ("my tp", ("", "s"))
    assert found.server("::1", 5) == f"rediss://me:h%40sh@[::1]:5/2?ssl_ca_certs={quote(str(ca), safe='')}"


def test_a_cluster() -> None:
    """Any of its servers will do; it has no database."""
    found = parse("redis+cluster://:hush@a:1,b/")
    assert (found.kind, found.nodes) == ("cluster", (("a", 1), ("b", 6379)))
    assert found.server("c", 7) == "redis://:hush@c:7/0"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "unix:///run/r.sock", "rediss://u:p@h"])
def test_one_server_is_left_as_it_is(url: str) -> None:
    """redis-py reads it."""
    assert (parse(url).kind, parse(url).url) == ("one", url)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://", "redis+cluster://a b", "redis+cluster://a,,b", "http://x", "redis+sentinel://h/"]
)
def test_nonsense_is_refused(url: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match=r"must|as in"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://h?ssl_ca_cert=/x", "ssl_ca_cert is not known: .*ssl_ca_certs"),
        ("redis+sentinel://h/tp?sentinel_pasword=s", "sentinel_pasword is not known: .*sentinel_password"),
        ("redis://h?sentinel_password=s", r"for redis\+sentinel:// alone"),
        ("redis+cluster://h?ssl_ca_certs=/x", 'needs TLS: begin it with "rediss"'),
        ("rediss://h?ssl_ca_certs=/not/there", "names /not/there, which is no file"),
        ("rediss://h?ssl_ca_certs=/", "names /, which is no file"),
        ("redis://:hu?Sh1@h", "^behind its .* is written %3F$"),
        ("rediss://h?ssl_certfile=", "has no value"),
        ("rediss+cluster://h?ssl_cert_reqs=sometimes", "one of required, optional, none"),
    ],
)
def test_options_that_do_nothing_are_refused(url: str, words: str) -> None:
    """A name with a slip in it, one for something else, a file that is not there: each with what would be right."""
    with pytest.raises(ValueError, match=words):
        parse(url)
