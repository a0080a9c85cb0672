"""What the engine asks of adapters, and what it lends them. Values and protocols only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct
from multidict import CIMultiDictProxy

from bot import fastjson
from bot.config import AccountConfig
from bot.errors import RepeatedHeaderError
from bot.events import Event, Ms
from bot.messages import OutboundMessage, Receipt


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came in. `url` is the configured public URL + the raw target, never built from Host headers.

    `purpose` is "webhook" or "status" (`/channels/{account}/status`). `query` and `form_pairs` keep repeats and blanks.
    """

    method: str
    target: str  # raw path and query, as on the wire
    url: str
    headers: CIMultiDictProxy[str]
    query: tuple[tuple[str, str], ...]
    body: bytes
    remote: str
    received_at: Ms
    purpose: str = "webhook"

    def param(self, name: str) -> str:
        """A query parameter's first value, or ""."""
        return next((v for k, v in self.query if k == name), "")

    def header(self, name: str) -> str:
        """A header that may stand once at most, or "". Raises RepeatedHeaderError: which would count is a guess."""
        values = self.headers.getall(name, [])
        if len(values) > 1:
            raise RepeatedHeaderError(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


class Verified(Struct, frozen=True):
    """What only `verify` returns and `parse` takes: the request, proved; `body` is decrypted where the provider encrypts.

    `form` holds decoded form pairs where the body is a form.
    """

    request: RawRequest
    body: bytes
    form: tuple[tuple[str, str], ...] = ()


class Parsed(Struct, frozen=True):
    """The events of one request, and the kinds that were understood but are of no use (counted)."""

    events: Sequence[Event] = ()
    ignored: Sequence[str] = ()
    answer: Answer | None = None  # instead of `accepted`, where the provider wants to read something special


class Source(Protocol):
    """What channels, shops and trackers share. Built once per account; holds no state between calls."""

    @property
    def name(self) -> str:
        """The account's name: the URL part."""
        ...

    @property
    def accepted(self) -> Answer:
        """The provider's own "we have it"."""
        ...

    @property
    def max_body(self) -> int:
        """Cap of a body in bytes."""
        ...

    def challenge(self, request: RawRequest) -> Answer:
        """Answers a GET handshake. Raises SignatureError (answered 403)."""
        ...

    def verify(self, request: RawRequest) -> Verified:
        """Proves the raw bytes, decrypts. Raises SignatureError (401)."""
        ...

    def parse(self, verified: Verified) -> Parsed:
        """Pure. Raises PayloadError."""
        ...


@dataclass(frozen=True, slots=True)
class WindowRule:
    """What an opener allows: for `lasts_ms`, `quota` messages (-1: any number)."""

    lasts_ms: int
    quota: int = -1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel can do. The engine plans by it; an adapter raises ContentError for anything else.

    `contents`: names of content tags taken natively ("text", "picture", "card", "receipt", "notice"); others are sent
    as their text. `windows` empty: may always write. `text_limit` per message in characters, or in bytes of UTF-8 where
    `limit_in_bytes`; 0 none.
    """

    contents: frozenset[str]
    text_limit: int
    limit_in_bytes: bool = False
    windows: Mapping[str, WindowRule] = field(default_factory=dict)
    window_margin_ms: int = 0  # a window counts as shut this long before it is
    address_is_phone: bool = False
    hands_over_phone: bool = False  # can offer the buyer's own number (still to be proved by code)
    free_text: bool = True
    choices: int = 0  # choices shown natively; 0: numbered lines in the text
    settles_doubt: bool = False  # a status callback or echo tells what became of a send
    watermarks: bool = False  # statuses may name "all up to"
    sms: bool = False  # wordings use their SMS variant; parts are counted
    countries: frozenset[str] = frozenset()  # of the numbers that an SMS line reaches; empty: any
    mainland_parts: bool = False  # every character counts one, ASCII too (mainland China)
    rate_per_second: float = 50.0
    subscriptions: bool = False  # notices of which each needs a leave of the buyer's own (`AsksLeave`)


@dataclass(frozen=True, slots=True)
class SignedPage:
    """What a page of ours needs for the provider's own button on it.

    `script` is the provider's, `config` what it is called with, `sources` what a page's policy must let in besides, by directive.
    """

    script: str
    config: Mapping[str, object]
    sources: Mapping[str, str]


@runtime_checkable
class AsksLeave(Protocol):
    """A line whose provider shows, on a page of ours in its own app, the button by which a buyer gives leave for a notice."""

    def is_inside(self, browser: str) -> bool:
        """Whether a browser is the provider's app, where the button works."""
        ...

    async def sign(self, url: str) -> SignedPage:
        """Signs the page at exactly this URL. Raises SendError."""
        ...


class Channel(Source, Protocol):
    """One configured line of a messaging provider."""

    @property
    def capabilities(self) -> Capabilities:
        """What this line can do."""
        ...

    async def send(self, message: OutboundMessage) -> Receipt:
        """Hands one message to the provider. Raises a SendError of the closed tree; never retries by itself."""
        ...

    async def check(self) -> str:
        """Reaches the provider with this account's secrets; one plain line. Raises SendError."""
        ...


class Clock(Protocol):
    """The gateway's time. In the sandbox `now` is virtual; `real` never is."""

    def now(self) -> Ms:
        """Virtual time."""
        ...

    def real(self) -> Ms:
        """Wall-clock time: signatures, tokens, HTTP."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Really sleeps."""
        ...


LONGEST_PAUSE_S = 3600.0


class HttpResponse(Struct, frozen=True):
    """A whole response; redirects are never followed."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json_object(self) -> Mapping[str, Any] | None:
        """The JSON object of the body, None for anything else."""
        try:
            value = fastjson.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def retry_after_s(self) -> float:
        """The seconds of Retry-After, an hour at most; 0 where it is missing, or a date."""
        value = self.headers.get("retry-after", "")
        return min(float(value), LONGEST_PAUSE_S) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0


class Http(Protocol):
    """Provider calls. Raises ConnectError (nothing written) or InDoubtError; any HTTP status is an answer."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 8.0,
    ) -> HttpResponse:
        """One request, never repeated. The URL is sent as given (no re-encoding)."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the real time at which it should no longer be used."""

    value: str
    expires_at: Ms


class Tokens(Protocol):
    """Access tokens shared by all processes, with one refresher at a time (fenced lock in Redis)."""

    async def get(self, key: str, fetch: Callable[[bool], Awaitable[Token]], *, failed: str = "") -> str:
        """The shared token. `fetch(force)` gets a new one from the provider.

        With `failed`, the token that was just refused: if the shared one differs by now it is returned; else one caller
        fetches un-forced, and forced only if that gives the same token again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Toolkit:
    """What an adapter gets when it is built."""

    http: Http
    tokens: Tokens
    clock: Clock
    public_url: str
    siblings: Mapping[str, AccountConfig]  # accounts of the same type, this one included
    country: str = "CN"
    timezone: str = "Asia/Shanghai"
    virtual_offset: Callable[[], Ms] = lambda: 0


@dataclass(frozen=True, slots=True)
class ChannelType:
    """A channel package's entry in `channels.ALL`."""

    name: str
    config: type[AccountConfig]
    build: Callable[[str, AccountConfig, Toolkit], Channel]
    title: str
    capabilities: Capabilities  # of every line of it; settings change at most a line's rate


@dataclass(frozen=True, slots=True)
class ShopType:
    """A shop package's entry in `shops.ALL` (and, alike, a tracker's in `trackers.ALL`)."""

    name: str
    config: type[AccountConfig]
    build: Callable[[str, AccountConfig, Toolkit], Source]
    title: str
