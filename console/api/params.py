"""Query parameters: what they take, and every one that is at fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from console.api.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter: its words, and the closed list of what it takes (empty: any text)."""

    name: str
    words: str
    choices: tuple[str, ...] = ()
    number: tuple[int, int] | None = None

    def fault(self, text: str) -> str:
        """What is wrong with a value, "" for a good one."""
        if self.number is not None:
            low, high = self.number
            good = text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high
            return "" if good else f"must be a number from {low} to {high}"
        if text and self.choices and text not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        return ""  # an empty one is as good as left out: clients write ?cursor=&state= for "from the start, any"


def check_params(request: web.Request, known_params: Sequence[Param], one_of: Sequence[str]) -> None:
    """Raises Refusal naming every parameter at fault: unknown, repeated, out of its bounds."""
    for value in request.match_info.values():
        if fault := _plain(value):
            raise Refusal(400, "bad-parameter", f"the path {fault}")
    known = {param.name: param for param in known_params}
    faults: list[tuple[str, str]] = []
    for name, value in request.query.items():
        param = known.get(name)
        if param is None:
            there = ", ".join(known) or "none here"
            faults.append((shown(name), f"there is no such parameter; there are: {there}"))
        elif fault := _plain(value) or param.fault(value):
            faults.append((name, f"{name} {fault}"))
        elif len(request.query.getall(name)) > 1:
            faults.append((name, f"{name} must stand once"))
    given = [name for name in one_of if request.query.get(name)]
    if len(given) > 1:
        faults.append((given[1], f"give one of {', '.join(one_of)}"))
    if faults:
        raise Refusal(400, "bad-parameter", "; ".join(dict.fromkeys(words for _, words in faults)), errors=faults)


def _plain(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "holds NUL or is over 500 characters" if "\x00" in value or len(value) > 500 else ""


def shown(name: str) -> str:
    """A name that a caller wrote, fit for an answer."""
    return name.encode("utf-8", "replace").decode()[:60]
