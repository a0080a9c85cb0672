"""`json.loads`, faster for what is ordinary.

What msgspec reads, it reads as the standard library does (the last of repeated keys counts, whole numbers stay whole);
what it does not (NaN, half a surrogate pair, UTF-16, numbers out of range), is given to the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder()


def loads(body: bytes, otherwise: Callable[[bytes], Any] = json.loads) -> Any:
    """The value; `otherwise` reads what is not ordinary. Raises ValueError or RecursionError."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return otherwise(body)
