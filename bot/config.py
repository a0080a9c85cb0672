"""The parts of the configuration that adapters share. `bot.settings` reads config.toml and puts the whole together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from babel.numbers import list_currencies
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

CURRENCIES = frozenset(list_currencies(locale="en"))


def _content(key: str, path: object) -> str:
    try:
        return Path(str(path)).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise ValueError(f"{key} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{key} holds no text in UTF-8") from None


class Section(BaseModel):
    """One table of config.toml: unknown keys are faults.

    A key `x_file` may stand for any `x`: the file's content without its last line break; a list of files for
    a list.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields
        out = dict(data)
        for key in list(out):
            target = key.removesuffix("_file")
            if key.endswith("_file") and key not in known and target in known:
                if target in out:
                    raise ValueError(f"{key} and {target} are both set; keep one")
                given = out.pop(key)
                texts = [_content(key, one) for one in (given if isinstance(given, list) else [given])]
                out[target] = texts if isinstance(given, list) else texts[0]
        return out


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Secrets = Annotated[
    tuple[Annotated[SecretStr, Field(min_length=1)], ...], BeforeValidator(_as_list), Field(min_length=1)
]
"""One secret or a list of them, current first: any of them verifies, the first signs."""


def _country(code: str) -> str:
    if code not in SUPPORTED_REGIONS:
        raise ValueError('must be a two-letter country code, such as "CN"')
    return code


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError('must be the three-letter code of a currency, such as "CNY"')
    return code


Country = Annotated[str, AfterValidator(_country)]
Currency = Annotated[str, AfterValidator(_currency)]


def _day(value: object) -> object:
    """TOML writes a date with or without quotes."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


def _is_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError('must be a day, such as "2026-11-01"') from None
    return text


PartPrice = Annotated[Decimal, Field(gt=0, lt=1000, max_digits=12, decimal_places=6)]
Amount = Annotated[Decimal, Field(gt=0, lt=10**9, decimal_places=6)]


class Prices(Section):
    """What one part of a text costs by country, as of a day: without it a cost reads "unknown"."""

    currency: Currency
    per_part: dict[Country, PartPrice] = Field(min_length=1)
    as_of: Annotated[str, BeforeValidator(_day), AfterValidator(_is_day)] = ""


class Privacy(Section):
    """What the shop's own privacy notice at `/b/privacy` says. `responsible`, `questions_to` and `keep_months` make it complete.

    `keep_months`: how long a buyer's data is kept after the last order or message; what is older goes by itself. `evidence_months`:
    how long proof of consent is kept after its buyer. `also`: a paragraph of the shop's own.
    """

    responsible: Annotated[str, Field(max_length=80)] = ""
    questions_to: Annotated[str, Field(max_length=200)] = ""
    keep_months: Annotated[int, Field(ge=0, le=240)] = 0
    evidence_months: Annotated[int, Field(ge=0, le=240)] = 36
    address: Annotated[str, Field(max_length=200)] = ""
    shared_with: Annotated[list[Annotated[str, Field(min_length=1, max_length=80)]], Field(max_length=20)] = Field(
        default_factory=list
    )
    since: Annotated[str, BeforeValidator(_day), AfterValidator(lambda text: text and _is_day(text))] = ""
    also: dict[Literal["zh-CN", "zh-TW", "en"], Annotated[str, Field(max_length=2000)]] = Field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """The keys that the notice cannot do without and that are not set."""
        return [key for key in ("responsible", "questions_to", "keep_months") if not getattr(self, key)]


class AccountConfig(Section):
    """What every channel account, shop and tracker may set. Adapters add their own fields.

    A key `x_file` may stand for a secret `x`: the file's content without its last line break.
    """

    type: str
    api_base: str = ""
    rate_per_second: float = Field(default=0, ge=0)  # 0: the channel's own default
    daily_spend_limit: Amount | None = None
    monthly_budget: Amount | None = None
    prices: Prices | None = None

    @property
    def identity(self) -> tuple[str, str] | None:
        """The key and value that name this line at its provider: two accounts with the same would be one line twice."""
        return None

    @property
    def served(self) -> Mapping[str, str]:
        """Files that the provider asks to be served at the root of the gateway's host: name and content."""
        return {}

    @model_validator(mode="after")
    def _priced(self) -> Self:
        for key in ("daily_spend_limit", "monthly_budget"):
            if getattr(self, key) is not None and self.prices is None:
                raise ValueError(f"{key} counts nothing without prices; add a table of them, `prices` of this account")
        return self
