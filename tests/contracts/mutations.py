"""What a body can turn into: keys gone, null, of another type, nested to death, random. All of it is still well signed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

Mutator = Callable[[bytes], Iterator[bytes]]

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "x",
    "12",
    "\x00\ud83c ",
    "9" * 400,
    [],
    {},
    [None, 1, "x", [], {}],
    {"id": {}, "x": [1]},
)
ODD_BODIES: tuple[bytes, ...] = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"\xff\xfe",
    b"\x00",
    b"NaN",
    b'{"a":NaN,"b":Infinity,"c":1e999}',
    b'{"object":"page","object":null}',
    b'{"n":' + b"9" * 10_000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"object":"page","entry":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b"\xef\xbb\xbf{}",
    b"<xml>" * 20_000,
    b"<xml><a/></xml>",
    b"<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>",
    b"a=1&a=2&=&%zz=%ff&b",
)


def json_mutations(body: bytes) -> Iterator[bytes]:
    """Every key and list item of a JSON body deleted, and replaced by each odd value."""
    try:
        value = json.loads(body)
    except ValueError:
        return
    for path in list(_paths(value)):
        for change in (_delete, *(_setter(odd) for odd in ODD_VALUES)):
            copied = copy.deepcopy(value)
            change(_at(copied, path[:-1]), path[-1])
            yield json.dumps(copied).encode()
    yield body[: len(body) // 2]
    yield body + b"}"


def form_mutations(body: bytes) -> Iterator[bytes]:
    """Every field of a form deleted, emptied, doubled and replaced."""
    pairs = parse_qsl(body.decode(), keep_blank_values=True)
    for number, (name, value) in enumerate(pairs):
        rest = [*pairs[:number], *pairs[number + 1 :]]
        yield urlencode(rest).encode()
        for odd in ("", "x", "-1", "9" * 400, "\x00", "💥", value + value):
            yield urlencode([*rest, (name, odd)]).encode()
        yield urlencode([*pairs, (name, "again")]).encode()


def xml_mutations(body: bytes) -> Iterator[bytes]:
    """Every innermost element of a flat XML body deleted, emptied, doubled and replaced."""
    text = body.decode()
    for found in re.finditer(r"<(\w+)>(?:<!\[CDATA\[.*?\]\]>|[^<]*)</\1>", text, re.DOTALL):
        name, whole = found[1], found[0]
        for odd in ("", f"<{name}></{name}>", f"<{name}/>", whole * 2, f"<{name}>x</{name}>", f"<{name}>-1</{name}>"):
            yield text.replace(whole, odd, 1).encode()
        yield text.replace(whole, f"<{name}>{'9' * 400}</{name}>", 1).encode()
        yield text.replace(whole, f"<{name}>{'<a>' * 200}{'</a>' * 200}</{name}>", 1).encode()
        yield text.replace(whole, f"<{name}>&#0;</{name}>", 1).encode()
    yield text[: len(text) // 2].encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _delete(parent: Any, key: Any) -> None:
    del parent[key]


def _setter(odd: Any) -> Callable[[Any, Any], None]:
    def put(parent: Any, key: Any) -> None:
        parent[key] = odd

    return put
