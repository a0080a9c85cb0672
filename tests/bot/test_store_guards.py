"""Stores with TLS, passwords and ACL users: real servers (Debian's Redis), and what is said when one does not let us in."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.errors import StoreError, StoreRefusesError
from bot.redis_client import connect
from bot.store import Store
from tests.gateway import running
from tests.guarded import DEFAULT_SECRET, USER, Authority, Guarded
from tests.servers import ROOT, redis_binary
from tests.stores import ClusterSet, Node, SentinelSet

pytestmark = pytest.mark.timeout(120)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Authority:
    """Another authority, of whom the servers know nothing."""
    return Authority(folder, "stranger")


@pytest.fixture(scope="module")
def guarded(authority: Authority) -> Guarded:
    return Guarded(authority, authority.certificate("server"))


@contextmanager
def one(guards: Guarded | None = None) -> Iterator[Node]:
    node = Node(redis_binary, guards=guards)
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture(scope="module")
def server(guarded: Guarded) -> Iterator[Node]:
    with one(guarded) as node:
        yield node


@pytest.fixture(scope="module")
def sentinels(guarded: Guarded) -> Iterator[SentinelSet]:
    store = SentinelSet(redis_binary, replicas=1, guards=guarded)
    try:
        yield store.start()
    finally:
        store.stop()


@pytest.fixture(scope="module")
def cluster(guarded: Guarded) -> Iterator[ClusterSet]:
    store = ClusterSet(replicas=False, guards=guarded)
    try:
        yield store.start()
    finally:
        store.stop()


async def refusal(url: str) -> str:
    """What is said by a store that must not let this address in."""
    client = connect(url)
    try:
        with pytest.raises(StoreRefusesError) as found:
            await Store(client, 64, "test").servers("INFO")
        with pytest.raises(StoreRefusesError):  # the way of the scripts
            await Store(client, 64, "test").lease({0: "k"}, 1000)
    finally:
        await client.aclose()
    assert found.value.outward == "Redis does not let the gateway in"
    return str(found.value)


class Address:
    """A store's address, as `running` asks for it."""

    def __init__(self, url: str) -> None:
        self.url = url


async def answers_a_buyer(url: str, tmp_path: Path) -> None:
    async with running(Address(url), tmp_path) as gw:
        end = dt.datetime.now() + dt.timedelta(seconds=20)
        message = gw.item("p1", mid="m_first", text="帮助")
        while (await gw.post_messenger(message))[0] != 200:  # a provider comes again as well
            assert dt.datetime.now() < end
        assert await gw.said("p1", 1)
        await gw.idle()


# --- a buyer is answered over it ------------------------------------------------------------------------------------------


async def test_one_server_over_tls(server, guarded, tmp_path):
    """By an ACL user whose password holds every sign of a URL."""
    await answers_a_buyer(guarded.url(f"redis://{server.address}"), tmp_path)


async def test_sentinels_with_a_password_of_their_own(sentinels, guarded, tmp_path):
    """TLS to them and to the servers; another primary is found in the same way."""
    url = guarded.url(sentinels.url)
    await answers_a_buyer(url, tmp_path)
    client = connect(url)
    before = sentinels.primary()
    await Store(client, 64, "test").servers("PING")
    sentinels.sentinels[0].ask("SENTINEL", "FAILOVER", "tp")
    end = dt.datetime.now() + dt.timedelta(seconds=30)
    while True:
        try:
            [info] = await Store(client, 64, "test").servers("INFO")
            if sentinels.primary() is not before and info["tcp_port"] != before.port:
                break
        except StoreRefusesError:
            raise
        except StoreError:
            await asyncio.sleep(0.1)
        assert dt.datetime.now() < end
    await client.aclose()


async def test_a_cluster_over_tls(cluster, guarded, tmp_path):
    """Each server's address comes from another one, by TLS as well."""
    await answers_a_buyer(guarded.url(cluster.url), tmp_path)


async def test_a_certificate_of_our_own(authority, tmp_path):
    """`tls-auth-clients yes`, the default: with one it is let in, without one it says what is missing."""
    both = Guarded(authority, authority.certificate("strict"), both=True)
    ours = authority.certificate("gateway")
    with one(both) as node:
        url = f"redis://{node.address}"
        client = connect(both.url(url, ssl_certfile=str(ours[0]), ssl_keyfile=str(ours[1])))
        assert await Store(client, 64, "test").servers("PING")
        await client.aclose()
        missing = await refusal(both.url(url))  # the server's word for it is at times overtaken by the connection's end
        assert "wants a certificate of ours" in missing
        assert "name one in redis.url, as in ?ssl_certfile=" in missing
        wrong = both.url(url, ssl_certfile=str(ours[0]), ssl_keyfile=str(both.files[1]))
        assert "ssl_keyfile in redis.url is not the key of ssl_certfile" in await refusal(wrong)


# --- refused, and what to change ------------------------------------------------------------------------------------------

PUT_LOGIN = "put the right one before the host in redis.url, as in redis://user:password@host"
SET_SENTINEL = "set the right one in redis.url, as in ?sentinel_password=… (and sentinel_username)"
NAME_CA = "name the file of the authority that signed it in redis.url, as in ?ssl_ca_certs=/etc/redis/ca.crt"


async def test_a_wrong_login(server, sentinels, cluster, guarded):
    """Of the server, whoever it is found by; of the sentinels; none at all."""
    for url in (f"redis://{server.address}", sentinels.url, cluster.url):
        assert (
            await refusal(guarded.url(url, secret="guessed"))
            == f"Redis: the server refuses the user or the password; {PUT_LOGIN}"
        )
        assert await refusal(guarded.url(url, secret="")) == f"Redis: the server wants a login; {PUT_LOGIN}"
    wrong = await refusal(guarded.url(sentinels.url, sentinel="guessed"))
    assert wrong == f"Redis: the sentinels refuse the user or the password; {SET_SENTINEL}"
    assert (
        await refusal(guarded.url(sentinels.url, sentinel="")) == f"Redis: the sentinels want a login; {SET_SENTINEL}"
    )


async def test_a_login_that_may_not_enough(server, guarded):
    """It is told from a server that is away, with what the server says it lacks."""
    server.ask("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection")
    found = await refusal(guarded.url(f"redis://{server.address}", user="reader", secret="pw"))
    assert "this login may not do what is needed" in found
    assert "ACL SETUSER name ~* &* +@all" in found


async def test_an_authority_that_nobody_knows_here(server, sentinels, cluster, guarded, stranger):
    """The system's own authorities, or one that signed something else."""
    for url in (f"redis://{server.address}", sentinels.url, cluster.url):
        whose = "their" if "sentinel" in url else "its"
        for known in ("", str(stranger.file)):
            found = await refusal(guarded.url(url, ssl_ca_certs=known))
            assert found.startswith(f"Redis: {whose} certificate is signed by nobody known here: ")
            assert found.endswith(NAME_CA)


async def test_a_certificate_that_ended_or_is_for_another_host(authority):
    """Each says which, and where the new one belongs."""
    for guards, words in (
        (Guarded(authority, authority.certificate("old", ends=-DAY)), ("its certificate has expired", "tls-cert-file")),
        (
            Guarded(authority, authority.certificate("other", host="redis.shop.example")),
            ("its certificate is for another host", "'127.0.0.1'", "name in redis.url the host"),
        ),
    ):
        with one(guards) as node:
            found = await refusal(guards.url(f"redis://{node.address}"))
            assert all(word in found for word in words), found


async def test_tls_to_a_server_that_speaks_none(plain_server, guarded):
    """With the start of the address that would be right; and a login where there is none."""
    found = await refusal(guarded.url(f"redis://{plain_server}", secret=""))
    plain = "begin redis.url with redis instead of rediss, or name the port that speaks TLS"
    assert found == f"Redis: the server does not answer TLS; if it speaks none, {plain}"
    assert (
        await refusal(f"redis://:hush@{plain_server}") == "Redis: it has no password; take the login out of redis.url"
    )


async def test_no_tls_to_a_server_that_wants_it(server):
    """It ends the connection without a word."""
    found = await refusal(f"redis://{server.address}")
    assert found.startswith(
        "Redis: the server closes the connection at once; if it speaks TLS alone, begin redis.url with rediss"
    )


@pytest.fixture(scope="module")
def plain_server() -> Iterator[str]:
    with one() as node:
        yield node.address


def touchpoint(command: str, url: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[brand]\nname = "t"\nprivacy_url = "https://shop.example/p"\n[server]\nport = 1\n[redis]\nurl = "{url}"\n'
    )
    line = [sys.executable, "-m", "bot", command, "--config", str(config)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_check_and_serve_end_with_the_line_to_change(server, guarded, stranger, tmp_path, command):
    """Neither waits for a server that will not let them in, and no secret is shown."""
    url = f"redis://{server.address}"
    wrong = touchpoint(command, guarded.url(url, user=USER, secret="guessed-it"), tmp_path)
    assert wrong.returncode == 1
    assert PUT_LOGIN in wrong.stderr
    assert "guessed-it" not in wrong.stderr + wrong.stdout
    unknown = touchpoint(command, guarded.url(url, ssl_ca_certs=str(stranger.file)), tmp_path)
    assert unknown.returncode == 1
    assert NAME_CA in unknown.stderr
    absent = touchpoint(command, guarded.url(url, ssl_ca_certs="/not/there.crt"), tmp_path)
    assert absent.returncode != 0
    assert "ssl_ca_certs names /not/there.crt, which is no file that can be read here" in absent.stderr + absent.stdout


def test_check_is_content_with_a_guarded_server(server, guarded, tmp_path):
    """The default user, too: a password without a name."""
    told = touchpoint("check", guarded.url(f"redis://{server.address}", user="", secret=DEFAULT_SECRET), tmp_path)
    assert "redis: keeps what it acknowledges" in told.stdout, told
