"""WeChat's XML and JSON pushes as nested dictionaries. Expat with everything dangerous refused."""

from __future__ import annotations

import json
from typing import Any
from xml.parsers import expat

from bot.errors import PayloadError

MAX_DEPTH = 20
MAX_ELEMENTS = 200
Node = dict[str, Any]


def parse(body: bytes) -> Node:
    """The fields under `<xml>` (or of a JSON object). A repeated element becomes a list. Raises PayloadError."""
    if body.lstrip()[:1] == b"{":
        return _json(body)
    reader = _Reader()
    parser = expat.ParserCreate(encoding="utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise PayloadError("the body is not well-formed XML") from error
    if reader.root is None:
        raise PayloadError("the body is empty")
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Node | None = None
        self._stack: list[tuple[str, Node, list[str]]] = []
        self._elements = 0

    def doctype(self, *_: object) -> None:
        raise PayloadError("a DOCTYPE is refused")

    def start(self, name: str, _: object) -> None:
        self._elements += 1
        if len(self._stack) >= MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise PayloadError("the XML is too deep or has too many elements")
        self._stack.append((name, {}, []))

    def text(self, data: str) -> None:
        if self._stack:
            self._stack[-1][2].append(data)

    def end(self, _: str) -> None:
        name, fields, texts = self._stack.pop()
        value: Any = fields or "".join(texts).strip()
        if not self._stack:
            self.root = fields
            return
        parent = self._stack[-1][1]
        if name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]


def _json(body: bytes) -> Node:
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise PayloadError("the body is not a JSON object")
    return value


def text(node: Node, name: str, limit: int = 2000) -> str:
    """A field's text; "" where there is none or it is no text (the first of repeats)."""
    value = node.get(name)
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    try:
        found = str(value).strip()
        found.encode("utf-8")
    except (UnicodeEncodeError, ValueError):
        return ""
    return found[:limit]


def nodes(value: Any) -> list[Node]:
    """A value that may be one node or several, as a list."""
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, dict)]
