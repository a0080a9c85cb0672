"""How a text travels as SMS: encoding, units, parts, and where it may be cut. Pure.

GSM 03.38 without shift tables: 160 septets in one part, 153 in each of several; everything else is UCS-2, counted in
UTF-16 units: 70, or 67 each. The ten extension characters take two septets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
# A letter with what combines with it, flags, emoji joined by ZWJ: never cut inside.
_GRAPHEME = re.compile(
    r"\r\n|[\U0001F1E6-\U0001F1FF]{2}"
    r"|.[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u20d0-\u20ff\ufe00-\ufe0f"
    r"\U0001F3FB-\U0001F3FF\U000E0020-\U000E007F]*(?:\u200d.[\ufe00-\ufe0f\U0001F3FB-\U0001F3FF]*)*",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """`units` are septets (gsm7) or UTF-16 units (ucs2)."""

    encoding: str
    units: int
    parts: int


def _gsm_units(text: str) -> int | None:
    units = 0
    for character in text:
        if character in _BASIC:
            units += 1
        elif character in _EXTENSION:
            units += 2
        else:
            return None
    return units


def count(text: str) -> Parts:
    """Encoding, units and parts of a text (an empty one still takes a part)."""
    units = _gsm_units(text)
    if units is None:
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
        return Parts("ucs2", units, 1 if units <= 70 else _packed(text, 67, gsm=False))
    return Parts("gsm7", units, 1 if units <= 160 else _packed(text, 153, gsm=True))


def _packed(text: str, room: int, *, gsm: bool) -> int:
    """Parts when no character's units may be cut apart (an escape pair, a surrogate pair)."""
    parts, used = 1, 0
    for character in text:
        size = (2 if character in _EXTENSION else 1) if gsm else (2 if ord(character) > 0xFFFF else 1)
        if used + size > room:
            parts, used = parts + 1, 0
        used += size
    return parts


def count_mainland(text: str) -> Parts:
    """Mainland China's rule: every character counts one; 70 in one part, else 67 each; the signature counts."""
    units = len(text)
    return Parts("ucs2", units, 1 if units <= 70 else -(-units // 67))


def graphemes(text: str) -> list[str]:
    """A text cut into what a reader sees as characters."""
    return _GRAPHEME.findall(text)


def split(text: str, limit: int) -> list[str]:
    """Pieces of at most `limit` characters, cut at a line or word where one is near, never inside a grapheme."""
    if len(text) <= limit:
        return [text]
    pieces: list[str] = []
    current: list[str] = []
    length = 0
    for cluster in graphemes(text):
        if length + len(cluster) > limit and current:
            cut = _good_cut(current)
            pieces.append("".join(current[:cut]).rstrip())
            current = current[cut:]
            length = sum(map(len, current))
        current.append(cluster)
        length += len(cluster)
    pieces.append("".join(current))
    return [piece for piece in pieces if piece.strip()]


def _good_cut(clusters: list[str]) -> int:
    """Where to cut: after the last line break or blank of the second half, else at the end."""
    for marks in ("\n", "。！？", " ，、"):
        for position in range(len(clusters) - 1, len(clusters) // 2, -1):
            if clusters[position] in marks:
                return position + 1
    return len(clusters)
