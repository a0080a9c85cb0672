"""Provider calls: what may be repeated and what may not, against a socket that misbehaves."""

from __future__ import annotations

import asyncio
import gc
import time
import zlib

import pytest

from bot.errors import AccountError, ConnectError, InDoubtError, SendError, TemporaryError
from bot.http import MAX_BODY, PyreqwestHttp, begin_by
from tests.contracts.fake import Provider, Reply, closed_port

SECRET = "EAAB-page-token"


@pytest.fixture
async def http():
    client = PyreqwestHttp(timeout_s=0.6, connect_timeout_s=0.4)
    yield client
    await client.close()


async def test_a_whole_answer_comes_back_with_lower_case_names(http):
    """Status, header names in lower case, body: whatever the status."""
    async with Provider([Reply(429, b"slow", (("Retry-After", "7"),))]) as provider:
        found = await http.request("POST", f"{provider.url}/a", headers={"X-One": "1"}, body=b"hi")

    assert (found.status, found.headers["retry-after"], found.body) == (429, "7", b"slow")
    assert (
        provider.got[0].method,
        provider.got[0].target,
        provider.got[0].body,
        provider.got[0].headers["x-one"],
    ) == ("POST", "/a", b"hi", "1")


@pytest.mark.parametrize(
    "target", ["/v1/x?a=%2F%2b+b&c=%E5%8D%A1&d=a%3Db", "/a%20b/~c?Signature=aB%2Bc%3D&x=", "/?a=1&a=2&b"]
)
async def test_the_url_goes_out_as_given(http, target):
    """Signed queries would not survive another encoding."""
    async with Provider() as provider:
        await http.request("GET", provider.url + target)

    assert target == provider.got[0].target


async def test_nobody_listening_is_surely_unwritten(http):
    """A refused connection may be tried again."""
    with pytest.raises(ConnectError):
        await http.request("POST", f"http://127.0.0.1:{closed_port()}/?access_token={SECRET}", body=b"x")


async def test_a_name_that_does_not_resolve_is_surely_unwritten(http):
    """No address, no byte."""
    with pytest.raises(ConnectError):
        await http.request("POST", "http://nowhere.invalid/", body=b"x")


async def test_a_failed_tls_handshake_is_surely_unwritten(http):
    """The request goes out only after the handshake."""
    async with Provider([Reply(fault="close")]) as provider:
        with pytest.raises(ConnectError):
            await http.request("POST", provider.url.replace("http:", "https:"), body=b"x")

    assert provider.got == []


async def test_after_its_time_a_send_begins_no_call(http):
    """What an adapter still wanted to say must not come after somebody else has said it; another task has its own time."""
    async with Provider() as provider:

        async def late() -> None:
            begin_by.set(time.monotonic() - 0.001)
            with pytest.raises(TemporaryError, match="time of its claim"):
                await http.request("POST", provider.url, body=b"x")

        await asyncio.create_task(late())
        assert provider.got == []
        await http.request("POST", provider.url, body=b"x")
        assert len(provider.got) == 1


@pytest.mark.parametrize("fault", ["hang", "reset", "close", "half"])
async def test_whatever_happens_after_the_request_is_in_doubt(http, fault):
    """The provider has read it: it is never called safe to repeat, and it is sent once."""
    async with Provider([Reply(fault=fault)]) as provider:
        with pytest.raises(InDoubtError):
            await http.request("POST", f"{provider.url}/?access_token={SECRET}", body=b"x")

        assert len(provider.got) == 1


@pytest.mark.parametrize("fault", ["reset", "close"])
async def test_a_kept_connection_that_dies_under_a_request_is_in_doubt(http, fault):
    """The second request on a connection: still written, still not repeated."""
    async with Provider([Reply(), Reply(fault=fault)]) as provider:
        await http.request("POST", provider.url, body=b"one")
        with pytest.raises(InDoubtError):
            await http.request("POST", provider.url, body=b"two")

        assert [got.body for got in provider.got] == [b"one", b"two"]


async def test_an_idle_connection_that_the_provider_closed_loses_and_doubles_nothing(http):
    """Each of 40 requests to a server that closes after every answer ends in one state that is true."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            seen.append(await reader.readexactly(size))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    seen: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    unwritten: list[bytes] = []
    for number in range(40):
        body = b"%d" % number
        try:
            await http.request("POST", url, body=body)
        except ConnectError:
            unwritten.append(body)
        except InDoubtError:
            pass
    server.close()

    assert len(seen) == len(set(seen))
    assert not set(unwritten) & set(seen)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_answers(http, status):
    """A redirected send would go somewhere that nobody configured."""
    async with Provider([Reply(status, b"", (("Location", "/elsewhere"),))]) as provider:
        found = await http.request("POST", provider.url, body=b"x")

    assert status == found.status
    assert len(provider.got) == 1


async def test_a_proxy_of_the_environment_is_not_used(http, monkeypatch):
    """Only a configured proxy may see tokens."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    client = PyreqwestHttp(timeout_s=1.0)
    async with Provider() as provider:
        found = await client.request("GET", provider.url)
    await client.close()

    assert found.status == 200


async def test_a_proxy_of_the_environment_is_used_where_asked_for(monkeypatch):
    """`proxy=True` hands the request to it."""
    async with Provider([Reply(200, b"by proxy")]) as provider:
        monkeypatch.setenv("HTTP_PROXY", provider.url)
        monkeypatch.setenv("http_proxy", provider.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        client = PyreqwestHttp(timeout_s=1.0, proxy=True)
        found = await client.request("GET", "http://graph.example/v1")
        await client.close()

    assert found.body == b"by proxy"


async def test_a_cancelled_caller_does_not_cancel_the_call(http):
    """The request is out anyway: the connection stays open for its answer and nothing is left behind."""
    async with Provider([Reply(delay_s=0.2)]) as provider:
        call = asyncio.create_task(http.request("POST", provider.url, body=b"x"))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert (len(http._running), provider.open) == (1, 1)
        await asyncio.sleep(0.25)
        assert (len(http._running), provider.open) == (0, 1)  # answered; the connection is kept


async def test_a_call_that_fails_after_its_caller_left_is_quiet(http, caplog):
    """Nobody is there to take the error: no warning of a forgotten exception."""
    async with Provider([Reply(fault="close", delay_s=0.1)]) as provider:
        call = asyncio.create_task(http.request("POST", provider.url, body=b"x"))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.sleep(0.2)

    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_closing_waits_for_calls_under_way():
    """A stop does not cut a send."""
    client = PyreqwestHttp(timeout_s=2.0)
    async with Provider() as provider:
        call = asyncio.create_task(client.request("POST", provider.url, body=b"x"))
        await asyncio.sleep(0)
        await client.close()

        assert (await call).status == 200


async def test_a_closed_client_has_surely_not_written():
    """Nothing goes out after the end."""
    client = PyreqwestHttp()
    await client.close()
    with pytest.raises(ConnectError):
        await client.request("GET", "http://127.0.0.1:1/")


async def test_an_endless_answer_is_cut(http):
    """At 4 MiB, without holding the rest in memory."""
    async with Provider([Reply(fault="huge")]) as provider:
        with pytest.raises(InDoubtError, match="4 MiB"):
            await http.request("GET", provider.url)


async def test_a_compressed_bomb_is_cut(http):
    """The cap counts what comes out."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(b"\0" * (MAX_BODY * 4)) + packer.flush()
    async with Provider([Reply(200, bomb, (("Content-Encoding", "gzip"),))]) as provider:
        try:
            found = await http.request("GET", provider.url)
        except InDoubtError:
            return
    assert len(found.body) <= MAX_BODY


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("no url", {}),
        ("ftp://127.0.0.1/", {}),
        ("http://127.0.0.1:99999/", {}),
        ("http://127.0.0.1:1/", {"Authorization": f"Bearer {SECRET}\nX: y"}),
    ],
)
async def test_what_can_be_no_request_is_the_accounts_fault(http, url, headers):
    """And the text of the library, which holds the header, stays inside."""
    with pytest.raises(AccountError) as caught:
        await http.request("POST", url, headers=headers)

    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("fault", ["hang", "reset", "close", "half"])
async def test_no_error_shows_the_url(http, fault, caplog):
    """URLs hold tokens: not in the error, not in its chain, not in a log."""
    async with Provider([Reply(fault=fault)]) as provider:
        with pytest.raises(SendError) as caught:
            await http.request("POST", f"{provider.url}/?access_token={SECRET}", body=b"x")

    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
    assert caught.value.__suppress_context__


async def test_the_time_limit_of_one_call_counts(http):
    """`timeout_s` shortens the client's own."""
    async with Provider([Reply(fault="hang")]) as provider:
        started = asyncio.get_running_loop().time()
        with pytest.raises(InDoubtError):
            await http.request("GET", provider.url, timeout_s=0.1)

        assert asyncio.get_running_loop().time() - started < 0.5
