"""Identifiers: random, sortable by nothing, each carrying the partition of its record.

`b_07k3…`: kind, two base-32 digits of the partition, 16 random ones (80 bits). The partition in the id is what lets a
look-up go straight to the right keys on a cluster. A member number is 12 digits: 8, three digits of the partition,
seven of a scrambled counter, and a Luhn digit.
"""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

HOLD = "h"  # the kind of a decision that a touch waits: it has no message yet
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [_ALPHABET[n & 31] + _ALPHABET[n >> 5] for n in range(1024)]
_DIGITS = frozenset(_ALPHABET)
_STANDARD = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_MESSAGE = re.compile(r"m_[0-9a-z]{18}", re.ASCII)
_SCRAMBLE = 7_368_787  # coprime to 10^7: consecutive cards do not look consecutive
_SHIFT = 2_718_281


def new(kind: str, partition: int) -> str:
    """A new id of a kind (`b` buyer, `m` message, `t` task) at a partition."""
    return _spelled(kind, partition, secrets.randbits(80))


def derived(kind: str, partition: int, seed: str) -> str:
    """The id that follows from `seed`: the same for a turn that runs twice."""
    return _spelled(kind, partition, int.from_bytes(blake2b(seed.encode(), digest_size=10).digest(), "big"))


def _spelled(kind: str, partition: int, body: int) -> str:
    digits = "".join([_PAIRS[(body >> shift) & 1023] for shift in range(0, 80, 10)])
    return f"{kind}_{_ALPHABET[partition >> 5]}{_ALPHABET[partition & 31]}{digits}"


def partition_in(id: str) -> int | None:
    """The partition that an id carries, or None for something that is no id of ours."""
    body = id.partition("_")[2]
    if len(body) != 18:
        return None
    try:
        return _ALPHABET.index(body[0]) * 32 + _ALPHABET.index(body[1])
    except ValueError:
        return None


def as_bits(id: str) -> int | None:
    """The 90 bits of an id (partition and random part), None for something that is no id of ours."""
    body = id.partition("_")[2]
    if len(body) != 18 or any(digit not in _ALPHABET for digit in body):
        return None
    number = 0
    for digit in body:
        number = number << 5 | _ALPHABET.index(digit)
    return number


def draw(id: str) -> int:
    """Thirty random bits of an id, 0 for something that is no id of ours: for whatever is drawn among buyers by chance."""
    last = id[-6:]
    if len(id) != 20 or not set(last) <= _DIGITS:
        return 0
    return int(last.translate(_STANDARD), 32)


def from_bits(kind: str, number: int) -> str:
    """The id with these bits."""
    return f"{kind}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(85, -5, -5))


def is_message(text: str) -> bool:
    """Whether a text has the shape of a message's id: what a provider gives back may be anybody's."""
    return _MESSAGE.fullmatch(text) is not None


def luhn_digit(digits: str) -> str:
    """The check digit that completes `digits` (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit)
        if position % 2 == 0:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return str(-total % 10)


def member_number(partition: int, count: int) -> str:
    """The member number of the `count`-th card of a partition."""
    serial = (count * _SCRAMBLE + _SHIFT) % 10_000_000
    body = f"8{partition:03d}{serial:07d}"
    return body + luhn_digit(body)


def member_partition(number: str) -> int | None:
    """The partition of a member number (spaces allowed), or None if it is not a valid one."""
    digits = number.replace(" ", "").replace("-", "")
    if len(digits) != 12 or not (digits.isascii() and digits.isdigit()) or digits[0] != "8":
        return None
    if luhn_digit(digits[:-1]) != digits[-1]:
        return None
    return int(digits[1:4])


def show_member_number(number: str) -> str:
    """Grouped by four, as printed."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def share(seed: str, whole: int) -> int:
    """A number from 0 to below `whole` that follows from `seed`, spread evenly over seeds."""
    return int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big") % whole


def digest(id: str) -> bytes:
    """The 8 bytes by which a repeated event is recognised at its subject's home; none for an event without an id."""
    return blake2b(id.encode(), digest_size=8).digest() if id else b""
