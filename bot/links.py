"""Links to a buyer's pages, `/b/<36 letters and digits>`: whose, what for, until when, sealed so that nobody can read or make one.

    1 digit of 62     the key that sealed it
    35 digits of 62   208 bits: 72 of a tag (HMAC-SHA256 over what follows, in clear), 136 hidden by a stream drawn from the tag

The tag is also the nonce (a synthetic one, as in SIV: it depends on all of the content), so no two contents share a stream and
a changed bit anywhere is found. Hidden: 90 bits of the buyer's id, 4 of the kind, 12 of how often links of this buyer were
revoked, 30 of the second at which it ends. A log that keeps a link keeps nothing of a person.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bot import keys
from bot.clock import DAY_MS, HOUR_MS
from bot.errors import GatewayError
from bot.events import Ms
from bot.ids import as_bits, from_bits
from bot.store import Store

Kind: TypeAlias = Literal["chat", "text", "out", "join"]
"""chat: given in a chat, opens in the first browser within the hour. text: by SMS, shows little until a code proves more.
out: nothing but the way out of marketing. join: for who typed a number on the page for joining, until its code comes."""

KINDS: tuple[Kind, ...] = ("chat", "text", "out", "join")
LIFE_MS: dict[Kind, Ms] = {"chat": 7 * DAY_MS, "text": 30 * DAY_MS, "out": 180 * DAY_MS, "join": HOUR_MS}
OPENS_MS = HOUR_MS
ROTATE_MS = 30 * DAY_MS
KEEP_MS = ROTATE_MS + max(LIFE_MS.values()) + DAY_MS
EPOCH_S = 1_767_225_600  # 2026-01-01: 30 bits of seconds reach to 2060
REVOKED_MASK = (1 << 12) - 1
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 36
_TAG, _BODY = 9, 17


class LinkError(GatewayError):
    """No link of ours, or one whose key is gone."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says. `revoked`: how often links of the buyer had been revoked when it was made (modulo 4096)."""

    kind: Kind
    buyer: str
    revoked: int
    ends_at: Ms

    @property
    def made_at(self) -> Ms:
        """When it was given out."""
        return self.ends_at - LIFE_MS[self.kind]


def seal(link: Link, key_id: str, key: bytes) -> str:
    """The token of a link. Raises LinkError for a buyer's id that is none of ours."""
    buyer = as_bits(link.buyer)
    if buyer is None:
        raise LinkError("not the id of a buyer")
    ends = min(max(0, link.ends_at // 1000 - EPOCH_S), (1 << 30) - 1)
    bits = ((buyer << 4 | KINDS.index(link.kind)) << 12 | link.revoked & REVOKED_MASK) << 30 | ends
    clear = bits.to_bytes(_BODY, "big")
    tag = _tag(key, clear)
    return key_id + _digits(int.from_bytes(tag + _hidden(key, tag, clear), "big"))


def unseal(token: str, key: bytes) -> Link:
    """What a token says. Raises LinkError for one that this key did not seal."""
    number = 0
    for digit in token[1:]:
        number = number * 62 + DIGITS.index(digit)
    if number >> (_TAG + _BODY) * 8:
        raise LinkError("not a link")
    raw = number.to_bytes(_TAG + _BODY, "big")
    tag = raw[:_TAG]
    clear = _hidden(key, tag, raw[_TAG:])
    if not hmac.compare_digest(_tag(key, clear), tag):
        raise LinkError("not a link")
    bits = int.from_bytes(clear, "big")
    kind = bits >> 42 & 15
    if kind >= len(KINDS):
        raise LinkError("a kind of link that this release does not know")
    ends_at = ((bits & (1 << 30) - 1) + EPOCH_S) * 1000
    return Link(KINDS[kind], from_bits("b", bits >> 46), bits >> 30 & REVOKED_MASK, ends_at)


def _tag(key: bytes, clear: bytes) -> bytes:
    return hmac.digest(key, b"tag" + clear, "sha256")[:_TAG]


def _hidden(key: bytes, tag: bytes, body: bytes) -> bytes:
    stream = hashlib.blake2b(tag, key=key, person=b"stream", digest_size=_BODY).digest()
    return bytes(one ^ other for one, other in zip(body, stream, strict=True))


def _digits(number: int) -> str:
    found = []
    for _ in range(LENGTH - 1):
        number, digit = divmod(number, 62)
        found.append(DIGITS[digit])
    return "".join(reversed(found))


def has_shape(token: str) -> bool:
    """Whether a text could be a link at all."""
    return len(token) == LENGTH and token.isascii() and token.isalnum()


class Links:
    """Makes and reads links with the keys that all processes share; a new key each 30 days, old ones as long as their links live."""

    def __init__(self, store: Store, base: str = "") -> None:
        self._store = store
        self.base = base.rstrip("/")
        self._keys: dict[str, tuple[Ms, bytes]] = {}
        self._current = ""

    async def start(self, real: Ms) -> None:
        """Loads the keys; makes the first where there is none, or the next where it is time."""
        await self.refresh()
        if not self._current or real - self._keys[self._current][0] >= ROTATE_MS:
            await self.rotate(real)

    async def refresh(self) -> None:
        """Reads the keys that there are now."""
        found = await self._store.command("HGETALL", keys.LINK_KEYS)
        self._keys = {}
        for name, value in found.items():
            made, _, key = value.partition(b" ")
            self._keys[name.decode()] = (int(made), bytes.fromhex(key.decode()))
        self._current = max(self._keys, key=lambda name: self._keys[name][0], default="")

    async def rotate(self, real: Ms, *, forget: bool = False) -> None:
        """Seals with a new key from now on. `forget`: every link that was given out so far stops working."""
        following = DIGITS[(DIGITS.index(self._current) + 1) % len(DIGITS)] if self._current else DIGITS[0]
        made = max(real, self._keys[self._current][0] + 1) if self._current else real
        await self._store.command("HSETNX", keys.LINK_KEYS, following, f"{made} {secrets.token_hex(32)}")
        await self.refresh()
        old = [
            name
            for name, (made, _) in self._keys.items()
            if name != self._current and (forget or made < real - KEEP_MS)
        ]
        if old:
            await self._store.command("HDEL", keys.LINK_KEYS, *old)
            await self.refresh()

    def token(self, kind: Kind, buyer: str, revoked: int, now: Ms) -> str:
        """A new link's token; "" where none can be made (no key, no id of ours)."""
        if not self._current:
            return ""
        try:
            link = Link(kind, buyer, revoked, now + LIFE_MS[kind])
            return seal(link, self._current, self._keys[self._current][1])
        except LinkError:
            return ""

    def url(self, kind: Kind, buyer: str, revoked: int, now: Ms) -> str:
        """A new link; "" where the gateway has no public address."""
        token = self.token(kind, buyer, revoked, now) if self.base else ""
        return f"{self.base}/b/{token}" if token else ""

    async def read(self, token: str) -> Link:
        """What a link says, whether or not it still holds. Raises LinkError, StoreError."""
        if not has_shape(token):
            raise LinkError("not a link")
        if token[0] not in self._keys:  # made by another process, with a key of this minute
            await self.refresh()
        if token[0] not in self._keys:
            raise LinkError("its key is gone")
        return unseal(token, self._keys[token[0]][1])
