"""The suite that every channel passes. An adapter's author writes one `ChannelCase`, never these tests.

    class TestMessenger(ChannelContract):
        case = CASE

`tests/contracts/README.md` explains the table.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError
from structlog.testing import capture_logs

import channels
from bot.config import AccountConfig
from bot.errors import (
    AccountError,
    ConnectError,
    ContentError,
    GatewayError,
    InDoubtError,
    PayloadError,
    ProviderDownError,
    SendError,
    SignatureError,
    ThrottledError,
)
from bot.events import Event
from bot.http import PyreqwestHttp
from bot.messages import OutboundMessage, Picture, Receipt, Text
from bot.ports import AsksLeave, Channel, ChannelType, HttpResponse, Parsed, RawRequest, Token, Toolkit, Verified
from tests.contracts.fake import Got, Provider, Reply, closed_port
from tests.contracts.mutations import ODD_BODIES, Mutator, json_mutations

NOW = 1_767_225_600_000
"""Real time of every test: 2026-01-01T00:00:00Z."""
NAME = "line-main"
"""The account under test."""
PUBLIC_URL = "https://shop.example"
DOCS = Path(__file__).parents[2] / "docs" / "channels"
HEADINGS = ("## What it can do", "## Set up", "## Settings", "## What comes in", "## What goes out", "## Errors")


# --- what an adapter's author fills in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fixture:
    """One recorded body and exactly what it means. Times of events: `at`; `received` is always NOW."""

    name: str
    body: bytes
    events: tuple[Event, ...] = ()
    ignored: tuple[str, ...] = ()
    request: RawRequest | None = None  # where `case.sign` cannot make it (status URL, query)


@dataclass(frozen=True, slots=True)
class SendCase:
    """A message, the provider's answers, and what must have gone over the wire: `check(got)` asserts on each request."""

    name: str
    message: OutboundMessage
    check: Callable[[list[Got]], None]
    receipt: Receipt
    replies: tuple[Reply, ...] = ()  # () is the case's `accepted`


@dataclass(frozen=True, slots=True)
class ErrorCase:
    """A provider's answer and the error it must become. `raises` exactly, not a parent of it."""

    name: str
    reply: Reply
    raises: type[SendError]
    code: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelCase:
    """All that the suite must know of a channel."""

    type: ChannelType
    config: Mapping[str, Any]  # as in config.toml, without type and api_base
    sign: Callable[[bytes, str], RawRequest]  # a good request with this body by this secret
    secret: str  # the current signing secret, as in `config`
    secret_field: str  # its key in `config`
    message: OutboundMessage  # a plain text that the provider takes
    accepted: Reply  # the provider's success
    fixtures: tuple[Fixture, ...] = ()
    sends: tuple[SendCase, ...] = ()
    unfit: tuple[OutboundMessage, ...] = ()  # ContentError before any call
    errors: tuple[ErrorCase, ...] = ()
    handshake: Callable[[str], RawRequest] | None = (
        None  # GET with this verify token/secret; None: the channel has none
    )
    handshake_secret: str = ""
    handshake_answer: bytes = b""
    signature_header: str = ""  # "" : the signature is elsewhere; then fill `unsigned`
    unsigned: Callable[[RawRequest], RawRequest] | None = None
    signs_body: bool = True  # a flipped byte of the body breaks the signature
    covered: Callable[[bytes], tuple[int, int]] | None = None  # the signed stretch of a body, where it is not all
    rotates: bool = True  # the secret may be a list
    vectors: tuple[tuple[RawRequest, bool], ...] = ()  # the provider's published examples, by `config`: good or not
    required: tuple[str, ...] = ()  # settings without which no start; secrets among them may not be empty either
    mutate: Mutator = json_mutations
    batch: Callable[[int], tuple[bytes, int]] | None = None  # a body of n items and how many events it gives
    on_500: type[SendError] | tuple[type[SendError], ...] = (InDoubtError, ProviderDownError)
    tokens: Mapping[str, str] = field(default_factory=dict)  # secrets beyond the config that may never show


def request(
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    query: Iterable[tuple[str, str]] = (),
    target: str = f"/channels/{NAME}/webhook",
    purpose: str = "webhook",
) -> RawRequest:
    """A request as intake would hand it over. `target` includes the raw query where the signature covers the URL."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return RawRequest(
        method=method,
        target=target,
        url=PUBLIC_URL + target,
        headers=CIMultiDictProxy(CIMultiDict(pairs)),
        query=tuple(query),
        body=body,
        remote="127.0.0.1",
        received_at=NOW,
        purpose=purpose,
    )


# --- ports, as small as they can be ------------------------------------------------------------------------------------


class FixedClock:
    """Stands still."""

    def now(self) -> int:
        return NOW

    def real(self) -> int:
        return NOW

    async def sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)


class FixedTokens:
    """Every access token is `token`; a refused one is fetched again once."""

    token = "ACCESS-TOKEN-1"  # no secret

    async def get(self, key: str, fetch: Callable[[bool], Awaitable[Token]], *, failed: str = "") -> str:
        del key
        return (await fetch(True)).value if failed == self.token else self.token


class NoHttp:
    """Any call is a failure of the test."""

    async def request(self, method: str, url: str, **_: Any) -> HttpResponse:
        raise AssertionError(f"{method} {url.partition('?')[0]} although nothing should be called")


def build(case: ChannelCase, http: Any = None, **changes: Any) -> Channel:
    """The adapter by its case's configuration with `changes`."""
    config = configured(case, **changes)
    return case.type.build(NAME, config, toolkit(http or NoHttp(), {NAME: config}))


def configured(case: ChannelCase, **changes: Any) -> AccountConfig:
    """The case's settings, validated."""
    return case.type.config.model_validate({"type": case.type.name, **case.config, **changes})


def toolkit(http: Any, siblings: Mapping[str, AccountConfig]) -> Toolkit:
    """What an adapter is lent."""
    return Toolkit(http=http, tokens=FixedTokens(), clock=FixedClock(), public_url=PUBLIC_URL, siblings=siblings)


# --- the suite -----------------------------------------------------------------------------------------------------------


class ChannelContract:
    """Inherit and set `case`."""

    case: ClassVar[ChannelCase]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per row of the case's tables."""
        for name, rows in (
            ("fixture", self.case.fixtures),
            ("send", self.case.sends),
            ("unfit", self.case.unfit),
            ("error", self.case.errors),
            ("vector", self.case.vectors),
            ("needed", self.case.required),
        ):
            if name in metafunc.fixturenames:
                ids = [getattr(row, "name", str(number)) for number, row in enumerate(rows)]
                metafunc.parametrize(name, rows, ids=ids)

    @pytest.fixture
    def channel(self) -> Channel:
        return build(self.case)

    @pytest.fixture
    async def http(self) -> Any:
        client = PyreqwestHttp(timeout_s=0.5, connect_timeout_s=0.3)
        yield client
        await client.close()

    # --- entry -----------------------------------------------------------------------------------------------------

    def test_it_is_listed(self) -> None:
        """`channels.ALL` names it once, and accounts of its type are built by it."""
        assert [one for one in channels.ALL if one.name == self.case.type.name] == [self.case.type]

    def test_it_is_documented(self) -> None:
        """`docs/channels/<name>.md` has the fixed headings and names every setting."""
        text = (DOCS / f"{self.case.type.name}.md").read_text()

        assert [one for one in HEADINGS if one not in text] == []
        own = set(self.case.type.config.model_fields) - set(AccountConfig.model_fields)
        assert [name for name in sorted(own) if f"`{name}`" not in text] == []

    def test_required_settings(self, needed: str) -> None:
        """Without it, or with an empty one, there is no start: no secret never means "accept all"."""
        rest = {key: value for key, value in self.case.config.items() if key != needed}
        with pytest.raises(ValidationError):
            self.case.type.config.model_validate({"type": self.case.type.name, **rest})
        with pytest.raises(ValidationError):
            configured(self.case, **{needed: ""})

    def test_unknown_settings_are_faults(self) -> None:
        """A misspelt key does not pass in silence."""
        with pytest.raises(ValidationError):
            configured(self.case, misspelt="x")

    def test_leave_can_be_asked_for_where_notices_need_it(self, channel: Channel) -> None:
        """A line with subscription notices signs the pages on which buyers allow them, and no other line says that it does."""
        assert channel.capabilities.subscriptions == isinstance(channel, AsksLeave)
        assert channel.capabilities == self.case.type.capabilities or not channel.capabilities.subscriptions

    # --- verify ----------------------------------------------------------------------------------------------------

    def test_a_good_request_passes(self, channel: Channel) -> None:
        """What the provider signed is accepted, whatever it says."""
        for body in self._bodies():
            assert isinstance(channel.verify(self.case.sign(body, self.case.secret)), Verified)

    def test_a_flipped_byte_fails(self, channel: Channel) -> None:
        """Any one byte of the body, changed after signing."""
        if not self.case.signs_body:
            pytest.skip("this provider's signature does not cover the body")
        body = self._bodies()[0]
        good = self.case.sign(body, self.case.secret)
        start, end = self.case.covered(good.body) if self.case.covered else (0, len(good.body))
        for at in {start, start + 1, (start + end) // 2, end - 1}:
            flipped = good.body[:at] + bytes([good.body[at] ^ 1]) + good.body[at + 1 :]
            with pytest.raises((SignatureError, PayloadError)):
                channel.verify(replace(good, body=flipped))
        others = (b"",) if self.case.covered else (good.body + b"\n", good.body[:-1], b"")
        for other in others:
            with pytest.raises((SignatureError, PayloadError)):
                channel.verify(replace(good, body=other))

    def test_a_request_without_signature_fails(self, channel: Channel) -> None:
        """Missing, empty, malformed, doubled, or another one in any of its characters."""
        good = self.case.sign(self._bodies()[0], self.case.secret)
        for bad in self._unsigned(good):
            with pytest.raises(SignatureError):
                channel.verify(bad)

    def test_another_accounts_secret_fails(self, channel: Channel) -> None:
        """A good signature by somebody else's secret proves nothing."""
        with pytest.raises(SignatureError):
            channel.verify(self.case.sign(self._bodies()[0], other_secret(self.case.secret)))

    def test_rotation(self) -> None:
        """Current and previous secret pass, a retired one fails."""
        if not self.case.rotates:
            pytest.skip("this secret is no list")
        retired, new = self.case.secret, other_secret(self.case.secret)
        body = self._bodies()[0]
        both = build(self.case, **{self.case.secret_field: [new, retired]})
        assert both.verify(self.case.sign(body, new)).body
        assert both.verify(self.case.sign(body, retired)).body
        after = build(self.case, **{self.case.secret_field: [new]})
        with pytest.raises(SignatureError):
            after.verify(self.case.sign(body, retired))

    def test_odd_bodies_are_verified_on_their_raw_bytes(self, channel: Channel) -> None:
        """Odd Unicode, blanks, key order, no JSON at all: nothing is re-encoded before the check."""
        if not self.case.signs_body:
            pytest.skip("this provider's signature does not cover the body")
        for body in (b'{"b": 1,\n "a":"\\u00e9 \\/ caf\xc3\xa9"}', b"\xff\xfe\x00", b" {} "):
            assert isinstance(channel.verify(self.case.sign(body, self.case.secret)), Verified)

    def test_published_vectors(self, channel: Channel, vector: tuple[RawRequest, bool]) -> None:
        """The provider's own examples."""
        raw, good = vector
        if good:
            assert isinstance(channel.verify(raw), Verified)
        else:
            with pytest.raises(SignatureError):
                channel.verify(raw)

    def test_handshake(self, channel: Channel) -> None:
        """The challenge comes back verbatim for the right token only."""
        if self.case.handshake is None:
            with pytest.raises(SignatureError):
                channel.challenge(request(method="GET", query=(("echo", "1"),)))
            return
        answer = channel.challenge(self.case.handshake(self.case.handshake_secret))
        assert (answer.status, answer.body) == (200, self.case.handshake_answer)
        assert answer.content_type == "text/plain"
        for wrong in (other_secret(self.case.handshake_secret), "", "é\ud83c"):
            with pytest.raises(SignatureError):
                channel.challenge(self.case.handshake(wrong))
        with pytest.raises(SignatureError):
            channel.challenge(request(method="GET"))

    # --- parse -----------------------------------------------------------------------------------------------------

    def test_fixture(self, channel: Channel, fixture: Fixture) -> None:
        """Exactly these events, and exactly these counted."""
        parsed = self._parse(channel, fixture)

        assert list(parsed.events) == list(fixture.events)
        assert tuple(parsed.ignored) == fixture.ignored

    def test_parsing_twice_gives_the_same(self, channel: Channel, fixture: Fixture) -> None:
        """A repeated webhook gives equal events with equal ids, whenever it comes; no state is kept between calls."""
        raw = self._raw(fixture)
        first = channel.parse(channel.verify(raw))
        later = channel.parse(channel.verify(replace(raw, received_at=NOW + 60_000)))

        assert channel.parse(channel.verify(raw)).events == first.events
        assert [e.id for e in later.events] == [e.id for e in first.events]

    def test_ids_are_unique(self, channel: Channel) -> None:
        """Within and across fixtures (statuses have none: they need no dedup)."""
        ids = [event.id for one in self.case.fixtures for event in self._parse(channel, one).events if event.id]

        assert len(ids) == len(set(ids))

    def test_times_are_milliseconds(self, channel: Channel, fixture: Fixture) -> None:
        """Between 2020 and 2100, and `received` is when the request came in."""
        for event in self._parse(channel, fixture).events:
            assert 1_577_836_800_000 <= event.at < 4_102_444_800_000
            assert event.received == NOW

    def test_a_batch_of_n_gives_n(self, channel: Channel) -> None:
        """Nothing of a batch is left behind."""
        if self.case.batch is None:
            pytest.skip("this provider sends one item per request")
        for items in (1, 2, 50, 1000):
            body, expected = self.case.batch(items)
            parsed = channel.parse(channel.verify(self.case.sign(body, self.case.secret)))
            assert len(parsed.events) == expected
            assert len({event.id for event in parsed.events}) == expected

    def test_every_mutation_of_a_fixture_is_survived(self, channel: Channel, fixture: Fixture) -> None:
        """Keys gone, null, of another type, nested to death: events or PayloadError, nothing else."""
        for body in self.case.mutate(fixture.body):
            self._survives(channel, body, fixture)

    def test_odd_bodies_are_survived(self, channel: Channel) -> None:
        """Empty, wrong type, duplicate keys, NaN, huge numbers, nesting bombs."""
        for body in ODD_BODIES:
            self._survives(channel, body)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
    def test_random_bytes_are_survived(self, body: bytes) -> None:
        """Whatever comes well signed."""
        self._survives(build(self.case), body)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_damaged_fixtures_are_survived(self, data: st.DataObject) -> None:
        """A recorded body with a stretch cut out, doubled or overwritten."""
        body = data.draw(st.sampled_from(self._bodies()))
        start = data.draw(st.integers(0, max(0, len(body) - 1)))
        end = data.draw(st.integers(start, len(body)))
        middle = data.draw(st.sampled_from([b"", body[start:end] * 2]) | st.binary(max_size=8))
        self._survives(build(self.case), body[:start] + middle + body[end:])

    # --- send ------------------------------------------------------------------------------------------------------

    async def test_send(self, send: SendCase, http: Any) -> None:
        """Exactly the recorded requests, and a receipt with the provider's ids."""
        async with Provider(list(send.replies or (self.case.accepted,))) as provider:
            receipt = await build(self.case, http, api_base=provider.url).send(send.message)

        send.check(provider.got)
        assert receipt == send.receipt

    async def test_unfit_content_is_refused_before_any_call(self, unfit: OutboundMessage) -> None:
        """ContentError, and not a byte went out."""
        with pytest.raises(ContentError) as caught:
            await build(self.case, NoHttp()).send(unfit)

        self._silent(f"{caught.value!r}")

    async def test_error(self, error: ErrorCase, http: Any) -> None:
        """Each row of the provider's error table becomes exactly its class."""
        async with Provider([error.reply]) as provider:
            with pytest.raises(SendError) as caught:
                await build(self.case, http, api_base=provider.url).send(self.case.message)

        assert type(caught.value) is error.raises, repr(caught.value)
        if error.code is not None:
            assert caught.value.code == error.code
        if error.retry_after_s is not None:
            assert isinstance(caught.value, ThrottledError)
            assert caught.value.retry_after_s == error.retry_after_s
        self._silent(f"{caught.value!r} {caught.value.code} {caught.value.__cause__!r}")

    async def test_429_asks_for_a_pause(self, http: Any) -> None:
        """ThrottledError, with a finite pause whatever Retry-After says."""
        for value in ("7", "", "soon", "9" * 400, "-5", "Wed, 21 Oct 2026 07:28:00 GMT"):
            answer = Reply(429, b"<html>slow down</html>", (("Retry-After", value),))
            async with Provider([answer]) as provider:
                with pytest.raises(ThrottledError) as caught:
                    await build(self.case, http, api_base=provider.url).send(self.case.message)
            assert 0 <= caught.value.retry_after_s <= 3600
            assert value != "7" or caught.value.retry_after_s == 7

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_5xx_is_never_a_refusal(self, status: int, http: Any) -> None:
        """In doubt, or down where the provider documents that it took nothing."""
        for body in (b"", b"<html>bad gateway</html>", b"{}", b"null"):
            async with Provider([Reply(status, body)]) as provider:
                with pytest.raises(self.case.on_500):
                    await build(self.case, http, api_base=provider.url).send(self.case.message)

    @pytest.mark.parametrize(
        "body", [b"<html>welcome</html>", b"", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"error":"x"}']
    )
    async def test_a_200_that_says_nothing_is_in_doubt(self, body: bytes, http: Any) -> None:
        """HTML, nothing, nonsense: the provider may or may not have taken it."""
        async with Provider([Reply(200, body)]) as provider:
            with pytest.raises(InDoubtError):
                await build(self.case, http, api_base=provider.url).send(self.case.message)

    @pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405])
    async def test_a_status_without_words_is_some_send_error(self, status: int, http: Any) -> None:
        """Proxies and wrong addresses answer, too; a refusal is not taken for an acceptance."""
        async with Provider([Reply(status, b"<html>no</html>")]) as provider:
            with pytest.raises(SendError):
                await build(self.case, http, api_base=provider.url).send(self.case.message)

    @pytest.mark.parametrize("fault", ["hang", "reset", "close", "half"])
    async def test_a_broken_answer_is_in_doubt(self, fault: Any, http: Any) -> None:
        """The request was written: whether it was taken is unknown, and it is not sent twice."""
        async with Provider([Reply(fault=fault)]) as provider:
            with pytest.raises(InDoubtError) as caught:
                await build(self.case, http, api_base=provider.url).send(self.case.message)

        assert len(provider.got) == 1
        self._silent(f"{caught.value!r} {caught.value.__cause__!r}")

    async def test_no_connection_is_safe_to_repeat(self, http: Any) -> None:
        """Nothing was written."""
        with pytest.raises(ConnectError):
            await build(self.case, http, api_base=f"http://127.0.0.1:{closed_port()}").send(self.case.message)

    async def test_only_the_configured_host_is_called(self, http: Any) -> None:
        """`api_base` moves every call: sends and the check."""
        hosts: list[str] = []

        class Watching:
            async def request(self, method: str, url: str, **rest: Any) -> HttpResponse:
                hosts.append(url.split("/")[2])
                return await http.request(method, url, **rest)

        async with Provider([self.case.accepted]) as provider:
            channel = build(self.case, Watching(), api_base=provider.url)
            await channel.send(self.case.message)
            with contextlib.suppress(SendError):
                await channel.check()
        assert set(hosts) == {provider.url.removeprefix("http://")}

    async def test_sends_at_once_equal_sends_in_turn(self, http: Any) -> None:
        """No state is kept between calls."""
        messages = [msgspec.structs.replace(self.case.message, id=f"m_00{'0' * 15}{n}") for n in range(8)]
        async with Provider([self.case.accepted]) as provider:
            channel = build(self.case, http, api_base=provider.url)
            for message in messages:
                await channel.send(message)
            in_turn = sorted(_essence(got) for got in provider.got)
            provider.got.clear()
            await asyncio.gather(*(channel.send(message) for message in messages))
            assert sorted(_essence(got) for got in provider.got) == in_turn

    async def test_check_says_one_plain_line_or_a_send_error(self, http: Any) -> None:
        """Whatever the provider answers."""
        for answer in (
            self.case.accepted,
            Reply(200, b"[]"),
            Reply(200, b"<html>"),
            Reply(500, b""),
            Reply(fault="close"),
        ):
            async with Provider([answer]) as provider:
                try:
                    line = await build(self.case, http, api_base=provider.url).check()
                except SendError as error:
                    self._silent(repr(error))
                else:
                    assert line
                    assert "\n" not in line
                    self._silent(line)

    async def test_nothing_personal_is_logged(self, http: Any, caplog: pytest.LogCaptureFixture) -> None:
        """No secret, text or address in any log line or error, on any path."""
        caplog.set_level(logging.DEBUG)
        with capture_logs() as lines:
            for answer in (self.case.accepted, *(row.reply for row in self.case.errors), Reply(fault="reset")):
                async with Provider([answer]) as provider:
                    try:
                        await build(self.case, http, api_base=provider.url).send(self.case.message)
                    except SendError as error:
                        self._silent(repr(error))
            channel = build(self.case)
            for fixture in self.case.fixtures:
                self._parse(channel, fixture)
        self._silent(f"{lines}{caplog.text}")

    def test_capabilities_are_sound(self, channel: Channel) -> None:
        """Limits are positive, text is always taken, the provider's own yes is a 2xx."""
        able = channel.capabilities
        assert {"text", "notice"} & able.contents
        assert able.contents <= {"text", "picture", "card", "receipt", "notice"}
        assert able.rate_per_second > 0
        assert 0 <= able.choices <= 13
        assert all(rule.lasts_ms > able.window_margin_ms for rule in able.windows.values())
        assert 200 <= channel.accepted.status < 300
        assert channel.max_body >= 64 * 1024
        assert channel.name == NAME

    # --- small helpers -----------------------------------------------------------------------------------------------

    def _bodies(self) -> list[bytes]:
        return [fixture.body for fixture in self.case.fixtures if fixture.request is None]

    def _raw(self, fixture: Fixture) -> RawRequest:
        return fixture.request or self.case.sign(fixture.body, self.case.secret)

    def _parse(self, channel: Channel, fixture: Fixture) -> Parsed:
        return channel.parse(channel.verify(self._raw(fixture)))

    def _survives(self, channel: Channel, body: bytes, fixture: Fixture | None = None) -> None:
        del fixture
        try:
            verified = channel.verify(self.case.sign(body, self.case.secret))
            parsed = channel.parse(verified)
        except (PayloadError, SignatureError):
            return
        for event in parsed.events:
            again = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)
            assert again == event
            assert event.subject.split(":")[0] in ("address", "account", "phone")
            event.id.encode()
        assert all(isinstance(one, str) and len(one) <= 80 for one in parsed.ignored)

    def _unsigned(self, good: RawRequest) -> Iterator[RawRequest]:
        if self.case.unsigned is not None:
            yield self.case.unsigned(good)
            return
        name = self.case.signature_header
        rest = [(key, value) for key, value in good.headers.items() if key.lower() != name.lower()]
        signature = good.headers[name]
        others = [[signature[:n] + ("1" if c == "0" else "0") + signature[n + 1 :]] for n, c in enumerate(signature)]
        for values in (
            [],
            [""],
            ["x"],
            [signature[:-1]],
            [signature + "0"],
            [signature, signature],
            ["é" * 71],
            *others,
        ):
            pairs = [*rest, *((name, value) for value in values)]
            yield replace(good, headers=CIMultiDictProxy(CIMultiDict(pairs)))

    def _silent(self, said: str) -> None:
        message = self.case.message
        texts = [message.content.text] if isinstance(message.content, Text) else []
        held = [str(v) for k, v in self.case.config.items() if "secret" in k or "token" in k or "key" in k]
        forbidden = [message.to, self.case.secret, *texts, *held, *self.case.tokens.values(), FixedTokens.token]
        assert [one for one in forbidden if one and len(one) > 3 and one in said] == []


def other_secret(secret: str) -> str:
    """Another secret of the same shape."""
    return "".join(chr(ord(c) ^ 1) if c.isascii() and c.isalnum() and chr(ord(c) ^ 1).isalnum() else c for c in secret)


def _essence(got: Got) -> tuple[str, str, bytes]:
    return got.method, got.path, got.body


__all__ = [
    "NAME",
    "NOW",
    "AccountError",
    "ChannelCase",
    "ChannelContract",
    "ErrorCase",
    "Fixture",
    "GatewayError",
    "Picture",
    "SendCase",
    "build",
    "configured",
    "other_secret",
    "request",
    "toolkit",
]
