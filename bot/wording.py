"""Wordings: what buyers read, from templates/<locale>/*.toml. Loaded and checked once at start.

A wording is one table: `text` (chat), optional `sms` (complete, with the brand), `choices` (payload and label pairs),
`numbered` (the text itself spells the choices "1 … 2 …"), `vars` (required), `lists` and `optional` variables. At load every
wording is rendered without its optional variables, so that a missing name or link can never break a message.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from babel.dates import format_date
from babel.numbers import format_currency
from jinja2 import Environment, StrictUndefined, Template, TemplateError, UndefinedError, meta, nodes
from msgspec import Struct

from bot.errors import ConfigError, GatewayError
from bot.events import Money, Ms
from bot.hours import local
from bot.locales import LOCALES, chain
from bot.messages import Choice

Medium = Literal["chat", "sms"]
ALWAYS = frozenset({"brand", "tz", "name", "card"})
SHORT = 6


class NoVariantError(GatewayError):
    """This wording is for chats only."""


class Rendered(Struct, frozen=True):
    """A wording filled in. `version` identifies the template's text (evidence of what was shown)."""

    text: str
    choices: tuple[Choice, ...]
    numbered: bool
    version: str


class Joined(Struct, frozen=True):
    """A template of nothing but texts and plain variables: what most wordings are, at a tenth of a template's cost.

    Each piece is a text, or the name of the variable that stands there.
    """

    pieces: tuple[tuple[str, bool], ...]  # (text or name, whether it is a name)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text. Raises UndefinedError for a variable without a value, as a template does."""
        try:
            return "".join([str(values[piece]) if named else piece for piece, named in self.pieces])
        except KeyError as error:
            raise UndefinedError(f"{error} is undefined") from None


Filling: TypeAlias = Template | Joined | str
"""A compiled template; one without variables is kept as it stands."""


@dataclass(slots=True)
class _Wording:
    chat: Filling
    sms: Filling | None
    choices: tuple[Choice, ...]
    numbered: bool
    chat_only: bool
    version: str
    required: frozenset[str]
    optional: frozenset[str]
    marketing: bool


def money(locale: str, value: Any) -> str:
    """An amount as the locale writes it: 188元 in Chinese (¥ is refused in SMS), CNY 188 or $5.00 in English."""
    if not isinstance(value, Money):
        return str(value)
    amount = value.amount.normalize() if value.amount == value.amount.to_integral() else value.amount
    plain = f"{amount:f}"
    if locale.startswith("zh"):
        return f"{plain}元" if value.currency in ("CNY", "TWD") else f"{plain} {value.currency}"
    if value.currency in ("USD", "GBP", "EUR", "AUD"):
        return str(format_currency(value.amount, value.currency, locale="en"))
    return f"{value.currency} {plain}"


def day(locale: str, at: Ms, zone: tzinfo) -> str:
    """A date without its year: 10月3日, Oct 3."""
    when = local(int(at), zone)
    return f"{when.month}月{when.day}日" if locale.startswith("zh") else str(format_date(when, "MMM d", locale="en"))


def clock(at: Ms, zone: tzinfo) -> str:
    """A time of the day: 16:00."""
    return f"{local(int(at), zone):%H:%M}"


def short(locale: str, title: str, count: int | str = 0) -> str:
    """An item's name in at most 6 characters (24 in English), cut at a word, with 等N件 for more items."""
    others = int(count or 0)
    limit = SHORT if locale.startswith("zh") else 24
    name = title.strip()
    if len(name) > limit:
        cut = name[:limit]
        name = cut.rsplit(" ", 1)[0] if " " in cut else cut
    if others <= 0:
        return name
    return f"{name}等{others + 1}件" if locale.startswith("zh") else f"{name} and {others} more"


class Wordings:
    """All wordings of all locales."""

    def __init__(self, table: dict[tuple[str, str], _Wording], default: str) -> None:
        self._table = table
        self._default = default if default in LOCALES else "zh-CN"
        self._chains = {locale: chain(locale, self._default) for locale in (*LOCALES, "")}

    @property
    def keys(self) -> frozenset[str]:
        """Every wording key."""
        return frozenset(key for _, key in self._table)

    def is_marketing(self, key: str) -> bool:
        """Whether a wording may be said as marketing only: it never goes out as a notice."""
        return any(wording.marketing for (_, name), wording in self._table.items() if name == key)

    @classmethod
    def load(cls, *folders: Path, default: str = "zh-CN") -> Wordings:
        """Loads and checks all templates. Raises ConfigError naming every file and key at fault."""
        table: dict[tuple[str, str], _Wording] = {}
        faults: list[str] = []
        for locale in LOCALES:
            environment = _environment(locale)
            for path in sorted(path for folder in folders for path in (folder / locale).glob("*.toml")):
                entries = tomllib.loads(path.read_text())
                for key, entry in entries.items():
                    where = f"templates/{locale}/{path.name} [{key}]"
                    if (locale, key) in table:
                        faults.append(f"{where}: defined twice in this locale")
                    try:
                        table[locale, key] = _compile(environment, entry)
                    except (TemplateError, KeyError, TypeError, ValueError) as error:
                        faults.append(f"{where}: {error}")
        faults += _disagreements(table)
        if faults:
            raise ConfigError(faults)
        return cls(table, default)

    def fault(self, key: str, values: Mapping[str, str]) -> str:
        """Why texts cannot fill a wording in, in any locale; "" where they can."""
        for (locale, name), wording in self._table.items():
            if name != key:
                continue
            if missing := sorted(wording.required - set(values)):
                return f"{key} needs {', '.join(missing)}"
            if unknown := sorted(set(values) - wording.required - wording.optional):
                return f"{key} takes no {', '.join(unknown)}"
            given = {**dict.fromkeys(wording.optional, ""), "brand": "B", "name": "", "card": "", "tz": UTC, **values}
            for template in (wording.chat, wording.sms or ""):
                try:
                    filled(template, given)
                except (TemplateError, TypeError, ValueError, ArithmeticError, GatewayError):
                    return f"{key} ({locale}) cannot be filled in with texts"
        return ""

    def resolve(self, locale: str, key: str) -> str:
        """The locale that is used for a key. Raises GatewayError for an unknown key."""
        for candidate in self._chains.get(locale, self._chains[""]):
            if (candidate, key) in self._table:
                return candidate
        raise GatewayError(f"there is no wording {key!r}")

    def field(self, key: str, source: str) -> Filling:
        """A field of a provider's template for the wording `key`: its variables, and filters of the default locale.

        Raises GatewayError for an unknown key, ValueError for an unknown variable, TemplateError for bad syntax.
        """
        used = self.resolve(self._default, key)
        wording = self._table[used, key]
        return _template(_environment(used), source, wording.required | wording.optional)

    def evidence(self, key: str, locale: str) -> str:
        """What a consent record keeps of the wording that was shown: key, locale and version."""
        if not any((candidate, key) in self._table for candidate in LOCALES):
            return key
        used = self.resolve(locale, key)
        return f"{key}/{used}@{self._table[used, key].version}"

    def shown(self, evidence: str, values: Mapping[str, Any]) -> str:
        """The words that an evidence stands for, "" where this release words it otherwise, or it is no wording of ours."""
        key, _, rest = evidence.partition("/")
        locale = rest.partition("@")[0]
        wording = self._table.get((locale, key))
        if wording is None or self.evidence(key, locale) != evidence:
            return ""
        try:
            return filled(wording.chat, {**dict.fromkeys(wording.optional | wording.required, ""), **values}).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError, GatewayError):
            return ""

    def render(self, key: str, locale: str, values: Mapping[str, Any], medium: Medium = "chat") -> Rendered:
        """A wording filled in. Raises NoVariantError for a chat-only wording by SMS."""
        used = self.resolve(locale, key)
        wording = self._table[used, key]
        if medium == "sms" and wording.chat_only:
            raise NoVariantError(f"{key} is for chats only")
        template = wording.sms if medium == "sms" and wording.sms is not None else wording.chat
        if wording.optional:  # what the caller left out must not break the message
            values = {**dict.fromkeys(wording.optional, ""), **values}
        text = filled(template, values)
        if medium == "sms" and wording.sms is None:
            text = with_brand(text, str(values.get("brand", "")), used)
        return Rendered(text.strip(), wording.choices, wording.numbered, wording.version)


def filled(template: Filling, values: Mapping[str, Any]) -> str:
    """A template's text."""
    return template if isinstance(template, str) else template.render(values)


def with_brand(text: str, brand: str, locale: str) -> str:
    """An SMS names its sender first: 【brand】 in Chinese, `brand: ` in English."""
    if not brand or text.startswith(("【", brand)):
        return text
    return f"【{brand}】{text}" if locale.startswith("zh") else f"{brand}: {text}"


WAY_OUT: Mapping[str, str] = {"zh-CN": "拒收请回复R", "zh-TW": "拒收請回覆R", "en": "STOP to opt out"}


def with_way_out(text: str, locale: str) -> str:
    """Marketing by SMS ends with the way out, whoever wrote it."""
    ending = WAY_OUT.get(locale, WAY_OUT["zh-CN"])
    return text if text.endswith(tuple(WAY_OUT.values())) else f"{text.rstrip()} {ending}"


def _environment(locale: str) -> Environment:
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)  # noqa: S701  # plain text
    environment.filters["money"] = partial(money, locale)
    environment.filters["day"] = partial(day, locale)
    environment.filters["clock"] = clock
    environment.filters["short"] = partial(short, locale)
    return environment


def _compile(environment: Environment, entry: Mapping[str, Any]) -> _Wording:
    unknown = set(entry) - {"text", "sms", "choices", "numbered", "chat_only", "vars", "optional", "lists", "purpose"}
    if unknown:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    if entry.get("purpose", "marketing") != "marketing":
        raise ValueError('purpose takes "marketing", or is left out')
    lists, optional = frozenset(entry.get("lists", ())), frozenset(entry.get("optional", ()))
    required = frozenset(entry.get("vars", ())) | lists
    source = entry["text"] + "\0" + entry.get("sms", "")
    wording = _Wording(
        chat=_template(environment, entry["text"], required | optional),
        sms=_template(environment, entry["sms"], required | optional) if "sms" in entry else None,
        choices=tuple(Choice(payload, label) for payload, label in entry.get("choices", ())),
        numbered=bool(entry.get("numbered", False)),
        chat_only=bool(entry.get("chat_only", False)),
        version=blake2b(source.encode(), digest_size=4).hexdigest(),
        required=required,
        optional=optional,
        marketing="purpose" in entry,
    )
    sample: dict[str, Any] = {name: [] if name in lists else _Sample() for name in required}
    sample |= {"brand": "B", "name": "", "card": "", "tz": None}
    for template in (wording.chat, wording.sms):
        if template is not None and not isinstance(template, str):
            text = template.render({**dict.fromkeys(optional, ""), **sample})
            if not text.strip():
                raise ValueError("renders to nothing without its optional variables")
    return wording


def _template(environment: Environment, source: str, declared: frozenset[str]) -> Filling:
    if "{" not in source:
        return source
    parsed = environment.parse(source)
    undeclared = meta.find_undeclared_variables(parsed) - declared - ALWAYS
    if undeclared:
        known = ", ".join(sorted(declared | ALWAYS))
        raise ValueError(f"uses undeclared variables {sorted(undeclared)}; declared are {known}")
    return _joined(parsed) or environment.from_string(source)


def _joined(parsed: nodes.Template) -> Joined | None:
    """The pieces of a template without filters, conditions and loops; None for any other."""
    pieces: list[tuple[str, bool]] = []
    for output in parsed.body:
        for node in output.nodes if isinstance(output, nodes.Output) else [output]:
            if isinstance(node, nodes.TemplateData):
                pieces.append((node.data, False))
            elif isinstance(node, nodes.Name):
                pieces.append((node.name, True))
            else:
                return None
    return Joined(tuple(pieces))


class _Sample(int):
    """A value that every filter takes, for the check at load."""

    def __new__(cls) -> Self:
        return super().__new__(cls, 1_790_000_000_000)

    def strip(self) -> str:
        return "x"


def _disagreements(table: Mapping[tuple[str, str], _Wording]) -> list[str]:
    faults = []
    keys = {key for _, key in table}
    for key in sorted(keys):
        there = {locale: table[locale, key] for locale in LOCALES if (locale, key) in table}
        if missing := [locale for locale in LOCALES if locale not in there]:
            faults.append(f"wording [{key}] is missing in {', '.join(missing)}")
        if len({tuple(c.payload for c in w.choices) for w in there.values()}) > 1:
            faults.append(f"wording [{key}] offers different choices in its locales")
        if len({w.required | w.optional for w in there.values()}) > 1:
            faults.append(f"wording [{key}] takes different variables in its locales")
        if len({w.marketing for w in there.values()}) > 1:
            faults.append(f"wording [{key}] is marketing in some locales only")
    return faults
