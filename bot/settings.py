"""config.toml and the environment, checked whole: every fault is reported at once, each with key, value and cure.

The environment overrides the file: `TOUCHPOINT__SECTION__KEY`, where `-` is written `_`. A secret may be given as
`<key>_file`, a path. Values of secrets never appear in a fault.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from bot import hours, redis_urls
from bot.broadcast_config import Broadcasts
from bot.club import Rules
from bot.club_config import CAMPAIGN, LEVEL, Club
from bot.config import AccountConfig, Country, Currency, Privacy, Section
from bot.errors import ConfigError
from bot.hours import Hours
from bot.keeping import Terms
from bot.notice_config import NoticeConfig, notice_faults
from bot.ports import ChannelType, ShopType
from bot.proxies import Network, network

PREFIX = "TOUCHPOINT__"
SECRET_WORDS = ("secret", "token", "key", "password")
_BRANCH = re.compile(
    r"^(function-|constrained-|literal\[|is-instance|lax-or-strict|date$|str$|int$|decimal$|tuple\[|list\[|nullable)"
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _hours(value: object) -> Hours:
    return value if isinstance(value, Hours) else hours.parse(str(value))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(value, available_timezones(), 1)
        hint = f"; did you mean {near[0]}?" if near else ", such as Asia/Shanghai"
        raise ValueError(f"must be the name of a time zone{hint}") from None
    return value


def _duration_h(value: object) -> object:
    """Hours of "24h", "3d" or a number."""
    if isinstance(value, str):
        unit, number = value[-1:], value[:-1]
        if value.isascii() and value.isdigit():
            return int(value[:6])
        if unit in ("h", "d") and number.isascii() and number.isdigit() and len(number) < 6:
            return int(number) * (24 if unit == "d" else 1)
        raise ValueError('must be a number of hours or days, such as "24h" or "3d"')
    return value


def _redis_url(value: str) -> str:
    if not re.match(r"embedded:.", value):
        redis_urls.parse(value)
    return value


def _ledger_url(value: str) -> str:
    if not re.match(r"(sqlite:.|postgresql://.)", value):
        raise ValueError('must begin with "sqlite:" and a file, or "postgresql://"')
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", value):
        raise ValueError('must be an address of this machine, such as "127.0.0.1", or "0.0.0.0" for all')
    return value


def _web_url(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise ValueError('must be an address such as "https://shop.example"')
    return value.rstrip("/")


WebUrl = Annotated[str, AfterValidator(_web_url)]
HoursField = Annotated[Hours, BeforeValidator(_hours)]
Zone = Annotated[str, AfterValidator(_zone)]


BrandName = Annotated[str, Field(min_length=1, max_length=20)]
Locale = Literal["zh-CN", "zh-TW", "en"]


class Brand(Section):
    """Who the shop is."""

    name: BrandName
    names: dict[Locale, BrandName] = Field(default_factory=dict)  # what it is called in other languages
    privacy_url: WebUrl = ""
    locale: Locale = "zh-CN"
    timezone: Zone = "Asia/Shanghai"
    currency: Currency = "CNY"
    country: Country = "CN"


class Server(Section):
    """Where the gateway listens."""

    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    public_url: WebUrl = ""
    processes: int = Field(default=0, ge=0, le=64)
    trusted_proxies: tuple[Annotated[Network, BeforeValidator(network)], ...] = ()


class RedisSection(Section):
    """Where state lives."""

    url: Annotated[str, AfterValidator(_redis_url)] = "embedded:var/valkey"
    partitions: int = Field(default=64, ge=1, le=999)
    replicas_to_wait_for: int = Field(default=0, ge=0, le=5)
    allow_unsafe: bool = False
    max_memory_mb: int = Field(default=0, ge=0)
    lease_seconds: float = Field(default=12.0, ge=0.5, le=60)


class Ledger(Section):
    """Where history lives."""

    url: Annotated[str, AfterValidator(_ledger_url)] = "sqlite:var/ledger.db"
    raw_months: int = Field(default=0, ge=0, le=240)  # of the raw journal; 0: as privacy.keep_months


class Policy(Section):
    """What may be sent when."""

    marketing_hours: HoursField = Field(default_factory=lambda: hours.parse("09:00-20:30"))
    service_hours: HoursField = Field(default_factory=lambda: hours.parse("08:00-22:00"))
    marketing_per_week: int = Field(default=2, ge=0)
    marketing_per_day: int = Field(default=1, ge=0)
    service_per_day: int = Field(default=6, ge=0)
    large_order: Annotated[Decimal, Field(gt=0)] | None = None
    order_of_channels: dict[Literal["service", "marketing"], list[str]] = Field(default_factory=dict)


class ShippingSection(Section):
    """What "ships today" may promise."""

    cutoff: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | Literal["never"] = "16:00"
    within: Annotated[int, BeforeValidator(_duration_h), Field(ge=1, le=24 * 60)] = 24
    closed_days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | date] = Field(default_factory=list)
    holidays: Literal["CN", "none"] = "none"


class Staff(Section):
    """When people answer."""

    hours: HoursField = Field(default_factory=lambda: hours.parse("09:00-21:00"))
    phone: str = ""
    answer_minutes: int = Field(default=15, ge=1, le=24 * 60)


class Sandbox(Section):
    """Simulated providers and the phone page."""

    enabled: bool = False


class Codes(Section):
    """Phone codes: where they may be sent, and how many."""

    countries: list[Country] = Field(default_factory=list)
    per_day: int = Field(default=2000, ge=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, valid."""

    brand: Brand
    privacy: Privacy
    server: Server
    redis: RedisSection
    ledger: Ledger
    policy: Policy
    shipping: ShippingSection
    staff: Staff
    sandbox: Sandbox
    broadcasts: Broadcasts
    club: Club
    codes: Codes
    channels: Mapping[str, AccountConfig]
    shops: Mapping[str, AccountConfig]
    trackers: Mapping[str, AccountConfig]
    notices: Mapping[tuple[str, str], NoticeConfig]
    path: Path
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))

    @property
    def public_url(self) -> str:
        """Where providers reach the gateway."""
        return self.server.public_url or f"http://127.0.0.1:{self.server.port}"

    @property
    def privacy_url(self) -> str:
        """Where buyers read the privacy notice: the shop's own page, else ours if it is complete; "" for nowhere."""
        if self.brand.privacy_url or self.privacy.missing or not self.server.public_url:
            return self.brand.privacy_url
        return f"{self.server.public_url}/b/privacy"

    @property
    def club_rules(self) -> Rules:
        """How points and levels come about."""
        return self.club.rules(self.brand.currency, self.zone)

    @property
    def terms(self) -> Terms:
        """How long things are kept."""
        return Terms(self.privacy.keep_months, self.ledger.raw_months, self.privacy.evidence_months)

    @property
    def live_faults(self) -> list[str]:
        """What live mode cannot do without: nobody may be asked for a number without a privacy notice."""
        if self.sandbox.enabled or self.privacy_url:
            return []
        if self.privacy.missing:
            return [
                f"privacy.{key}: live mode needs your privacy notice; set it here, or the address of your own as brand.privacy_url"
                for key in self.privacy.missing
            ]
        return ["server.public_url: live mode needs it, so that buyers can open the privacy notice at /b/privacy"]

    @property
    def local_url(self) -> str:
        """Where this machine reaches the gateway."""
        host = self.server.host
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{self.server.port}"  # noqa: S104

    @property
    def root(self) -> Path:
        """The folder of config.toml: relative paths count from here."""
        return self.path.resolve().parent


SECTIONS: Mapping[str, type[BaseModel]] = {
    "brand": Brand,
    "privacy": Privacy,
    "server": Server,
    "redis": RedisSection,
    "ledger": Ledger,
    "policy": Policy,
    "shipping": ShippingSection,
    "staff": Staff,
    "sandbox": Sandbox,
    "broadcasts": Broadcasts,
    "club": Club,
    "codes": Codes,
}
ACCOUNTS = ("channels", "shops", "trackers")


def load(
    path: Path,
    channel_types: Sequence[ChannelType],
    shop_types: Sequence[ShopType] = (),
    tracker_types: Sequence[ShopType] = (),
    *,
    env: Mapping[str, str] = os.environ,
) -> Settings:
    """Reads and checks everything. Raises ConfigError with one line per fault."""
    data = _read(path)
    faults: list[str] = []
    _overlay(data, env, faults)
    known = [*SECTIONS, *ACCOUNTS, "notices"]
    faults += [f"[{name}]: there is no such section{_near(name, known)}" for name in data if name not in known]
    parts: dict[str, Any] = {}
    for name, model in SECTIONS.items():
        parts[name] = _validate(model, _rooted(data.get(name, {}), path), name, faults)
    types: Mapping[str, Mapping[str, type[AccountConfig]]] = {
        "channels": {t.name: t.config for t in channel_types},
        "shops": {t.name: t.config for t in shop_types},
        "trackers": {t.name: t.config for t in tracker_types},
    }
    for kind in ACCOUNTS:
        tables = data.get(kind, {})
        if isinstance(tables, dict):
            tables = {name: _rooted(table, path) for name, table in tables.items()}
        parts[kind] = _accounts(kind, tables, types[kind], faults)
    subscribing = {t.name for t in channel_types if t.capabilities.subscriptions}
    named = list(data["channels"]) if isinstance(data.get("channels"), dict) else []
    parts["notices"] = _notices(data.get("notices", {}), parts["channels"], named, subscribing, faults)
    _cross_check(parts, data, faults)
    if faults:
        raise ConfigError(faults)
    return Settings(**parts, path=path, zone=ZoneInfo(parts["brand"].timezone))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); give another file with --config"]) from error
    except (ValueError, RecursionError) as error:  # ValueError: TOML, UTF-8, dates and numbers that cannot be
        raise ConfigError([f"{path}: is not TOML: {error}"]) from error


def _rooted(table: Any, path: Path) -> Any:
    """Files of secrets count from the folder of the configuration, like every path in it."""
    if not isinstance(table, dict):
        return table
    root = path.resolve().parent

    def rooted(value: object) -> object:
        if isinstance(value, list):
            return [rooted(one) for one in value]
        return str(root / value) if isinstance(value, str) and "\0" not in value else value

    return {key: rooted(value) if key.endswith("_file") else value for key, value in table.items()}


# --- environment ------------------------------------------------------------------------------------------------------


def _overlay(data: dict[str, Any], env: Mapping[str, str], faults: list[str]) -> None:
    set_here = set[tuple[int, str]]()
    for name, value in env.items():
        if not name.startswith(PREFIX):
            continue
        steps = [step.lower() for step in name[len(PREFIX) :].split("__")]
        if len(steps) < 2 or not all(steps):
            faults.append(f"{name}: write {PREFIX}SECTION__KEY")
            continue
        table = data
        if steps[0] in ACCOUNTS and len(steps) > 2:  # a new account: names have hyphens only
            steps[1] = steps[1].replace("_", "-")
        for step in steps[:-1]:
            inner = table.setdefault(_key_in(table, step), {})
            if not isinstance(inner, dict):
                faults.append(f"{name}: {step} is no table")
                break
            table = inner
        else:
            key = _key_in(table, steps[-1])
            table[key] = _value(value)
            set_here.add((id(table), key))
            # The environment's file overrides the configuration's secret, and its secret the configuration's file.
            other = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
            if (id(table), other) not in set_here:
                table.pop(other, None)


def _key_in(table: Mapping[str, Any], step: str) -> str:
    """The key that an environment step means: `wechat_main` is `wechat-main` where that exists."""
    return next((key for key in table if key.lower().replace("-", "_") == step.replace("-", "_")), step)


def _value(text: str) -> Any:
    """The text itself, which fits numbers and booleans too and keeps a secret of digits; lists and tables as TOML."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except (ValueError, RecursionError):
        return text


# --- checks -----------------------------------------------------------------------------------------------------------


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {found[0]}?" if found else f"; there are: {', '.join(known)}"


def _validate(model: type[BaseModel], data: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(data, dict):
        faults.append(f"{where}: must be a table [{where}]")
        return None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = dict.fromkeys(_fault(model, where, line) for line in error.errors(include_url=False))
        faults += _one_line_each(lines)
        return None


def _one_line_each(lines: Iterable[str]) -> list[str]:
    """One fault is one line: what the branches of a union say of the same value is joined."""
    found: dict[str, list[str]] = {}
    for line in lines:
        key, _, words = line.partition(": ")
        found.setdefault(key, []).append(words)
    return [f"{key}: {', or '.join(words)}" for key, words in found.items()]


def _fault(model: type[BaseModel], where: str, line: Any) -> str:
    # pydantic adds the branch of a union, such as literal['never'] or constrained-str, which no reader wrote
    location = [str(step) for step in line["loc"] if not _BRANCH.match(str(step))]
    if location[-1:] == ["[key]"]:
        return f"{'.'.join([where, *location[:-1]])}: there is no such key; it {_words(line)}"
    key = ".".join([where, *location])
    if line["type"] == "extra_forbidden":
        return f"{key}: there is no such key{_near(location[-1], list(model.model_fields))}"
    if line["type"] == "missing":
        return f"{key}: is missing; set it in [{where}] or as {_env_name(key)}"
    secret = any(word in key.lower() for word in SECRET_WORDS) or key.endswith(".url")  # URLs may carry a password
    shown = "" if secret or isinstance(line["input"], dict) else f" = {str(line['input'])[:60]!r}"
    return f"{key}{shown}: {_words(line)}"


_CURES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "decimal_parsing": "must be a number",
    "decimal_type": "must be a number",
    "string_type": "must be a text, in quotes",
    "list_type": 'must be a list, such as ["a", "b"]',
    "dict_type": "must be a table",
    "tuple_type": 'must be a list, such as ["a", "b"]',
    "date_from_datetime_parsing": 'must be a day, such as "2026-11-01"',
}
_PATTERNS = {
    r"^([01]\d|2[0-3]):[0-5]\d$": 'must be a time of the day, such as "16:00"',
    CAMPAIGN: "must be the key of a campaign: 2 to 32 of A-Z, 0-9, _ and -",
    LEVEL: "must be 1 to 20 of a-z, 0-9, _ and -",
    r"^\d{1,30}$": "must be digits only",
    r"^v\d{1,3}\.\d$": 'must be a version such as "v26.0"',
}


def _words(line: Any) -> str:
    """What would be right, in words of this configuration rather than the library's."""
    kind = line["type"]
    if kind == "string_pattern_mismatch":
        pattern = line["ctx"]["pattern"]
        return _PATTERNS.get(pattern, f"must fit the pattern {pattern}")
    if kind in _CURES:
        return _CURES[kind]
    message = str(line["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    message = re.sub(r"^(input|string|value|list|dictionary|tuple) should be ", "must be ", message)
    return re.sub(r"^(input|string|value|list|dictionary|tuple) should have ", "must have ", message)


def _env_name(key: str) -> str:
    return PREFIX + key.replace("-", "_").replace(".", "__").upper()


def _accounts(
    kind: str, data: Any, types: Mapping[str, type[AccountConfig]], faults: list[str]
) -> dict[str, AccountConfig]:
    found: dict[str, AccountConfig] = {}
    if not isinstance(data, dict):
        faults.append(f"{kind}: write one table per account, [{kind}.<name>]")
        return found
    for name, table in data.items():
        where = f"{kind}.{name}"
        if not _good_name(name):
            faults.append(f"{where}: a name has 1 to 32 of a-z, 0-9 and -")
        if not isinstance(table, dict):
            faults.append(f"{where}: must be a table [{where}]")
            continue
        type_name = table.get("type")
        if not isinstance(type_name, str) or type_name not in types:
            given = f" = {type_name!r}" if "type" in table else ""
            faults.append(f"{where}.type{given}: must be one of {', '.join(sorted(types)) or '(none yet)'}")
            continue
        config = _validate(types[type_name], table, where, faults)
        if config is not None:
            found[name] = config
    return found


def _good_name(name: str) -> bool:
    return 0 < len(name) <= 32 and name.isascii() and all(c.islower() or c.isdigit() or c == "-" for c in name)


def _notices(
    data: Any, channels: Mapping[str, Any], named: Sequence[str], subscribing: AbstractSet[str], faults: list[str]
) -> dict[tuple[str, str], NoticeConfig]:
    found: dict[tuple[str, str], NoticeConfig] = {}
    if not isinstance(data, dict):
        faults.append("notices: write one table per notice and channel, [notices.<name>.<channel>]")
        return found
    for notice, accounts in data.items():
        if not isinstance(accounts, dict):
            faults.append(f"notices.{notice}: write one table per channel, [notices.{notice}.<channel>]")
            continue
        for account, table in accounts.items():
            where = f"notices.{notice}.{account}"
            if named and account not in named:  # one with faults of its own is there all the same
                faults.append(f"{where}: there is no channel named {account!r}{_near(account, named)}")
            config = _validate(NoticeConfig, table, where, faults)
            if config is not None:
                found[notice, account] = config
    faults += notice_faults(found, channels, subscribing)
    return found


def _cross_check(parts: Mapping[str, Any], data: Mapping[str, Any], faults: list[str]) -> None:
    policy = parts["policy"]
    names = list((data.get("channels") or {}) if isinstance(data.get("channels"), dict) else {})
    if policy is not None:
        for purpose, accounts in policy.order_of_channels.items():
            faults.extend(
                f"policy.order_of_channels.{purpose}: there is no channel named {account!r}{_near(account, names)}"
                for account in accounts
                if account not in names
            )
    ledger, privacy = parts["ledger"], parts["privacy"]
    if ledger is not None and privacy is not None and 0 < privacy.keep_months < ledger.raw_months:
        faults.append(
            f"ledger.raw_months = {ledger.raw_months}: must be {privacy.keep_months} at most, as privacy.keep_months says; "
            "the raw journal holds what buyers wrote"
        )
    seen: dict[tuple[str, str, str], str] = {}
    for name, config in parts["channels"].items():
        if config.identity is not None:
            key, value = config.identity
            first = seen.setdefault((config.type, key, value), name)
            if first != name:
                faults.append(
                    f"channels.{name}.{key} = {value!r}: channels.{first} has the same; keep one of them, or name another line"
                )
    if (section := parts["broadcasts"]) is not None:
        faults.extend(
            f"broadcasts.{where}: there is no channel named {account!r}{_near(account, names)}"
            for where, account in section.accounts_named
            if account not in names
        )
    if (club := parts["club"]) is not None and (brand := parts["brand"]) is not None:
        faults.extend(club.faults(brand.currency, brand.locale))
    shop_names = set(parts["shops"]) & set(names)
    faults.extend(f"shops.{name}: a channel has the same name; rename one" for name in sorted(shop_names))
