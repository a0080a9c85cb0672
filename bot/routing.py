"""Which handler a message is for. Pure.

The order: a payload; a bare digit, for the last numbered question only; opt-out and opt-in words, always; global
keywords, and questions about an item, which interrupt a dialog; the dialog; nothing understood. A keyword is the whole message
after trimming and folding, but for the prefixes of a claim; a question is a wording with an item's name in it.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec import Struct

from bot.errors import ConfigError
from bot.events import Event, MessageReceived, Tapped
from bot.handling import Handler, Run
from bot.records import Dialog

_TAIL = " .!?~。！？～、,，…"
BLANK = "{}"
LONGEST_ITEM = 60


def fold(text: str) -> str:
    """Trimmed, width and case folded, without closing punctuation: how texts are compared with keywords."""
    whole = unicodedata.normalize("NFKC", text).strip()
    return (whole.rstrip(_TAIL).strip() or whole).casefold()


@dataclass(frozen=True, slots=True)
class Keywords:
    """The words of templates/keywords.toml, folded."""

    intents: Mapping[str, str]
    prefixes: Mapping[str, str]
    opt_out: frozenset[str]
    opt_out_sms: frozenset[str]  # words that leave a dialog in a chat, and opt out elsewhere
    opt_in: frozenset[str]
    leave: frozenset[str]
    back: frozenset[str]
    questions: tuple[tuple[str, str, str], ...] = ()  # (what comes before an item's name, what after it, intent)
    fillers: tuple[str, ...] = ()  # words before an item's name that name nothing

    @classmethod
    def load(cls, path: Path) -> Keywords:
        """Reads the file. Raises ConfigError where a word means two things."""
        data = tomllib.loads(path.read_text())
        intents: dict[str, str] = {}
        faults = []
        for name, words in data["intents"].items():
            for word in words:
                folded = fold(word)
                if intents.get(folded, name) != name:
                    faults.append(f"keywords.toml: {word!r} means both {intents[folded]} and {name}")
                intents[folded] = name
        sets = {
            key: frozenset(fold(word) for word in data["words"][key])
            for key in ("opt_out", "opt_out_sms", "opt_in", "leave", "back")
        }
        both = (sets["opt_out"] | sets["opt_in"]) & set(intents)
        faults += [f"keywords.toml: {word!r} is a keyword and an opt-out or opt-in word" for word in both]
        if faults:
            raise ConfigError(faults)
        prefixes = {
            unicodedata.normalize("NFKC", p).casefold(): name for name, ps in data["prefixes"].items() for p in ps
        }
        asks = [(*p.partition(BLANK)[::2], name) for name, ps in data.get("questions", {}).items() for p in ps]
        faults = [
            f"keywords.toml: the question {b + a!r} must hold {BLANK} once"
            for b, a, _ in asks
            if not b + a or BLANK in a
        ]
        if faults:
            raise ConfigError(faults)
        questions = sorted(((_open(b), _open(a), name) for b, a, name in asks), key=lambda q: -len(q[0] + q[1]))
        fillers = sorted(map(fold, data["words"].get("fillers", ())), key=len, reverse=True)
        return cls(intents, prefixes, **sets, questions=tuple(questions), fillers=tuple(fillers))

    def question(self, text: str) -> tuple[str, str] | None:
        """The intent of a question about an item, and the item's name, "" for "this one"; the longest wording that fits counts."""
        for before, after, name in self.questions:
            middle = text[len(before) : len(text) - len(after)].strip(_TAIL)
            if 0 < len(middle) <= LONGEST_ITEM and text.startswith(before) and text.endswith(after):
                return name, self._named(middle)
        return None

    def _named(self, middle: str) -> str:
        """An item's name without what stands before it: `请问这件大衣` is 大衣, `this` is nothing."""
        for _ in range(3):
            for word in self.fillers:
                rest = middle.removeprefix(word)
                # A Latin word ends at a blank: `these` is not `the`.
                if rest != middle and not (word.isascii() and rest[:1].isalnum()):
                    middle = rest.strip(_TAIL)
                    break
        return middle


def _open(text: str) -> str:
    """A part of a question, folded as texts are, with the blanks that stand before or after the item's name."""
    return unicodedata.normalize("NFKC", text).casefold()


class Route(Struct, frozen=True):
    """Where a message goes. `always`: even while staff own the conversation."""

    kind: Literal["intent", "state"]
    name: str
    arg: str = ""
    text: str = ""
    always: bool = False


def words_of(body: MessageReceived) -> str:
    """What the buyer said in words. A place's name and a link's title are nobody's answer to a question."""
    return "" if body.kind in ("location", "link") else body.text


def route(event: Event, dialog: Dialog, keywords: Keywords, medium: str) -> Route:
    """The route of a MessageReceived or Tapped event."""
    body = event.body
    payload, raw = "", ""
    if isinstance(body, Tapped):
        # A menu key that is a keyword (COUPON, 会员) is as good as the intent's own name.
        payload = keywords.intents.get(fold(body.payload), body.payload)
    elif isinstance(body, MessageReceived):
        payload, raw = body.payload, words_of(body)
    text = fold(raw)
    if payload and (found := _payload(payload, dialog, text)):
        return found
    if text in keywords.opt_in:
        return Route("intent", "opt_in", "", text, always=True)
    if text in keywords.opt_out or (text in keywords.opt_out_sms and (medium == "sms" or not dialog.state)):
        return Route("intent", "opt_out", "", text, always=True)
    if (
        text.isascii()
        and text.isdigit()
        and text in dialog.asked
        and (found := _payload(dialog.asked[text], dialog, text))
    ):
        return found
    if dialog.state and (text in keywords.leave or text in keywords.opt_out_sms):
        return Route("intent", "leave_dialog", "", text)
    if dialog.state and text in keywords.back:
        return Route("state", dialog.state, "back", text)
    if text in keywords.intents:
        return Route("intent", keywords.intents[text], "", text)
    for prefix, name in keywords.prefixes.items():
        if text.startswith(prefix) and (rest := text[len(prefix) :].strip()):
            return Route("intent", name, rest.upper(), text)
    if asked := keywords.question(text):
        return Route("intent", *asked, text)
    if dialog.state:
        return Route("state", dialog.state, "", text)
    return Route("intent", "fallback", "", text)


def _payload(payload: str, dialog: Dialog, text: str) -> Route | None:
    if payload.startswith("."):
        return Route("state", dialog.state, payload[1:], text) if dialog.state else None
    name, _, arg = payload.partition(":")
    return Route("intent", name, arg, text, always=name in ("opt_out", "opt_in"))


class Registry:
    """Triggers to handlers. Two handlers for one trigger, or a state nobody handles, stop the start."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._table: dict[tuple[str, str, str], tuple[Handler, Run]] = {}
        faults = []
        for handler in handlers:
            for trigger, run in handler.runs.items():
                key = (trigger.kind, trigger.name, trigger.record)
                if key in self._table:
                    other = self._table[key][0].name
                    faults.append(f"handlers {other} and {handler.name} both take {trigger.kind} {trigger.name!r}")
                self._table[key] = (handler, run)
        for handler in handlers:
            faults += [
                f"handler {handler.name} enters the state {state!r}, which no handler takes"
                for state in handler.states
                if ("state", state, "buyer") not in self._table
            ]
        if faults:
            raise ConfigError(faults)

    def find(self, kind: str, name: str, record: str = "buyer") -> tuple[Handler, Run] | None:
        """The handler and function for a trigger, or None."""
        return self._table.get((kind, name, record))
