"""Addresses of stores, taken apart."""

from __future__ import annotations

import pytest

from bot.redis_urls import parse


def test_a_sentinel_set_up() -> None:
    """Login, hosts with and without port, service, database; the sentinels' own login is not the servers'."""
    found = parse("rediss+sentinel://me:h%40sh@a,b:1234,[::1]:5/my%20tp/2?sentinel_password=s&ssl_ca_certs=/x")
    assert found.kind == "sentinel"
    assert found.nodes == (("a", 26379), ("b", 1234), ("::1", 5))
    assert (found.service, found.sentinel_login) == ("my tp", ("", "s"))
    assert found.server("::1", 5) == "rediss://me:h%40sh@[::1]:5/2?ssl_ca_certs=%2Fx"


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
