"""How a text travels as SMS: encoding, units, parts, and where it may be cut. Pure.

GSM 03.38 without shift tables: 160 septets in one part, 153 in each of several; everything else is UCS-2, counted in
UTF-16 units: 70, or 67 each. The ten extension characters take two septets.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bot.messages import Text

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_ZWJ = "\u200d"
_HANGUL_LEADS = range(0x1100, 0x1160)
_HANGUL_TAILS = range(0x1160, 0x1200)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)


@dataclass(frozen=True, slots=True)
class Parts:
    """`encoding` is gsm7 or ucs2; `units` are septets or UTF-16 units."""

    encoding: str
    units: int
    parts: int


# --- counting ---------------------------------------------------------------------------------------------------------


def _septets(character: str) -> int:
    """What a character takes in GSM-7: 1, 2, or 0 when it has no place there."""
    if character in _BASIC:
        return 1
    return 2 if character in _EXTENSION else 0


def units16(text: str) -> int:
    """UTF-16 units: a character beyond the basic plane takes two."""
    return len(text) + sum(character > "\uffff" for character in text)


def segments(text: str) -> tuple[str, list[int]]:
    """The encoding, and the units of each part; an escape pair and a surrogate pair stay in one part."""
    sizes = [_septets(character) for character in text]
    if all(sizes):
        return "gsm7", _packed(sizes, 160, 153)
    return "ucs2", _packed([units16(character) for character in text], 70, 67)


def _packed(sizes: list[int], alone: int, each: int) -> list[int]:
    total = sum(sizes)
    if total <= alone:
        return [total]
    parts = [0]
    for size in sizes:
        if parts[-1] + size > each:
            parts.append(0)
        parts[-1] += size
    return parts


def count(text: str) -> Parts:
    """Encoding, units and parts of a text (an empty one still takes a part)."""
    encoding, parts = segments(text)
    return Parts(encoding, sum(parts), len(parts))


def count_mainland(text: str) -> Parts:
    """Mainland China's rule: every character counts one; 70 in one part, else 67 each; 【signature】 counts too."""
    units = len(text)
    return Parts("ucs2", units, 1 if units <= 70 else -(-units // 67))


def parts_of(text: str, *, mainland: bool = False) -> int:
    """The parts that a text is billed as, by the rule of mainland China or by the encoding's."""
    return (count_mainland(text) if mainland else count(text)).parts


def spelled_out(content: Text) -> str:
    """A text as a line without buttons sends it: choices that it does not name itself and links become lines."""
    lines = [content.text]
    if not content.numbered:
        lines += [f"{i} {choice.label}" for i, choice in enumerate(content.choices, 1)]
    lines += [f"{button.label} {button.url}" for button in content.buttons]
    return "\n".join(lines).strip()


# --- cutting ----------------------------------------------------------------------------------------------------------


def graphemes(text: str) -> list[str]:
    """A text cut into what a reader sees as characters: marks, joined emoji, flags and Hangul syllables stay whole.

    The rules of Unicode's annex 29 but for prepended marks and Indic conjuncts.
    """
    clusters: list[str] = []
    for character in text:
        if clusters and _belongs(clusters[-1], character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _belongs(cluster: str, character: str) -> bool:
    """Whether a character continues the cluster before it."""
    last = cluster[-1]
    if character < "\u0300":
        return last == "\r" and character == "\n"
    if unicodedata.category(cluster[0]) in ("Cc", "Zl", "Zp"):
        return False
    code = ord(character)
    if character in (_ZWJ, "\u200c") or code in _SKIN_TONES or code in _TAGS:
        return True
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Mc"):
        return True
    if last == _ZWJ and category == "So":
        return True
    if code in _FLAG_LETTERS:
        return len(cluster) == 1 and ord(last) in _FLAG_LETTERS
    return _same_syllable(ord(last), code)


def _same_syllable(last: int, code: int) -> bool:
    """Conjoining Hangul: leads before a syllable, vowels and tails after one."""
    if last in _HANGUL_LEADS:
        return code in _HANGUL_LEADS or code in _HANGUL_TAILS or 0xAC00 <= code <= 0xD7A3
    return code in _HANGUL_TAILS and (last in _HANGUL_TAILS or 0xAC00 <= last <= 0xD7A3)


def split(text: str, limit: int, *, size: Callable[[str], int] = len) -> list[str]:
    """Pieces of at most `limit` by `size`, cut at a line, sentence or word where one is near, never inside a grapheme.

    Blanks at a cut are dropped, and so are pieces of blanks alone. A grapheme larger than the limit is cut apart.
    """
    if size(text) <= limit:
        return [text]
    pieces: list[str] = []
    current: list[str] = []
    used = 0
    for cluster in _fitting(text, limit, size):
        while current and used + size(cluster) > limit:
            cut = _good_cut(current)
            pieces.append("".join(current[:cut]).rstrip())
            current = current[cut:]
            used = sum(map(size, current))
        current.append(cluster)
        used += size(cluster)
    pieces.append("".join(current))
    return [piece for piece in pieces if piece.strip()]


def _fitting(text: str, limit: int, size: Callable[[str], int]) -> Iterable[str]:
    for cluster in graphemes(text):
        if size(cluster) <= limit:
            yield cluster
        else:
            yield from cluster


def _good_cut(clusters: list[str]) -> int:
    """Where to cut: after the last line break, sentence or blank of the second half, else at the end."""
    for marks in (("\n", "\r\n"), ("。", "！", "？"), (" ", "，", "、", "\u3000")):
        for position in range(len(clusters) - 1, len(clusters) // 2, -1):
            if clusters[position] in marks:
                return position + 1
    return len(clusters)
