"""Whose request it is, with proxies in front: their word counts if they are trusted, and what a sender writes of itself never does."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.access import MOST_GUESSES
from bot.proxies import Proxies, network
from tests.gateway import running

CDN = ("104.16.0.0/13", "2400:cb00::/32")
BEHIND = Proxies(tuple(map(ip_network, ("127.0.0.1/32", "::1/128", "10.0.0.0/8", *CDN))))


@pytest.mark.parametrize(
    ("remote", "told", "found"),
    [
        ("203.0.114.9", ["1.1.1.1"], "203.0.114.9"),  # no proxy of ours: what it says of itself is its own word
        ("127.0.0.1", ["203.0.114.7"], "203.0.114.7"),
        ("::ffff:127.0.0.1", ["203.0.114.7"], "203.0.114.7"),  # IPv4 over an IPv6 socket
        ("127.0.0.1", ["127.0.0.1, 203.0.114.7"], "203.0.114.7"),  # the sender had written one already
        ("127.0.0.1", ["10.0.0.9, 203.0.114.7, 104.16.1.1, 10.0.0.5"], "203.0.114.7"),  # CDN, balancer, nginx
        ("127.0.0.1", ["9.9.9.9", "203.0.114.7"], "203.0.114.7"),  # a proxy that adds a line of its own
        ("10.0.0.2", ["203.0.114.7:4711"], "203.0.114.7"),
        ("10.0.0.2", ['"[2001:db8::7]:4711"'], "2001:db8::7"),
        ("::1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("127.0.0.1", [], "127.0.0.1"),  # the proxy itself asks: whether we live
        ("127.0.0.1", ["10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", ["203.0.114.7, unknown"], ""),
        ("127.0.0.1", ["203.0.114.7, <script>"], ""),
        ("", ["203.0.114.7"], ""),
    ],
)  # fmt: skip
def test_whose_request_it_is(remote: str, told: list[str], found: str) -> None:
    assert BEHIND.sender(remote, told) == found


def test_without_proxies_nobody_is_believed() -> None:
    for remote in ("127.0.0.1", "10.0.0.1", "203.0.114.9"):
        assert Proxies().sender(remote, ["1.1.1.1"]) == remote


outside = st.ip_addresses().filter(lambda a: not BEHIND.trusts(str(a)) and not getattr(a, "ipv4_mapped", None)).map(str)
ours = st.sampled_from(["10.0.0.1", "10.9.9.9", "104.17.0.1", "2400:cb00::1"])


@given(
    lie=st.lists(outside | ours | st.text(max_size=12), max_size=30), sender=outside, hops=st.lists(ours, max_size=4)
)
def test_nothing_that_a_sender_writes_moves_its_address(lie: list[str], sender: str, hops: list[str]) -> None:
    """Each proxy appends whom it saw: whatever stood there before changes nothing."""
    told = ",".join([*lie, sender, *hops])
    assert BEHIND.sender("127.0.0.1", [told]) == str(ip_address(sender))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nginx", "must be an address or a network"), ("10.0.0.0/33", "must be an address or a network"), ("", "must be an address or a network"),
        ("10.0.0.1/8", "write 10.0.0.0/8"), ("0.0.0.0/0", "half the internet"), ("::/0", "half the internet"), ("16.0.0.0/4", "half the internet"),
        (8080, "must be a text"),
    ],
)  # fmt: skip
def test_a_network_that_is_none_says_what_would_be_right(text: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        network(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.0/8", "fc00::/7", *CDN])
def test_networks_of_proxies(text: str) -> None:
    assert network(text) == ip_network(text)


async def test_each_sender_behind_a_proxy_has_guesses_of_its_own(valkey, redis_client, tmp_path):
    """Who guesses tokens is shut out alone, and does not get in by naming others; a trusted proxy only is believed."""
    async with running(valkey, tmp_path, server='trusted_proxies = ["127.0.0.1", "::1"]') as gw:

        async def guess(*passed_on: str) -> int:
            headers = [("Sec-Fetch-Site", "same-origin"), *(("X-Forwarded-For", one) for one in passed_on)]
            async with gw.session.post(f"{gw.base}/console/sign-in", data={"token": "tp_x"}, headers=headers) as answer:
                return answer.status

        for n in range(MOST_GUESSES):
            assert await guess(f"203.0.114.{n + 1}, 198.51.100.7") == 401  # what it claims to be changes nothing
        assert await guess("198.51.100.7") == 429
        assert await guess("9.9.9.9", "198.51.100.7") == 429
        assert await guess("198.51.100.8") == 401
