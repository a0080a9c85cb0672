"""The parts of the configuration that adapters share. `bot.settings` reads config.toml and puts the whole together."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator


class Section(BaseModel):
    """One table of config.toml: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Secrets = Annotated[
    tuple[Annotated[SecretStr, Field(min_length=1)], ...], BeforeValidator(_as_list), Field(min_length=1)
]
"""One secret or a list of them, current first: any of them verifies, the first signs."""


class Prices(Section):
    """What one part of a text costs: without it a cost reads "unknown"."""

    currency: str
    per_part: dict[str, Decimal]
    as_of: str = ""


class AccountConfig(Section):
    """What every channel account, shop and tracker may set. Adapters add their own fields.

    A key `x_file` may stand for a secret `x`: the file's content without its last line break.
    """

    type: str
    api_base: str = ""
    rate_per_second: float = Field(default=0, ge=0)  # 0: the channel's own default
    daily_spend_limit: Decimal | None = None
    monthly_budget: Decimal | None = None
    prices: Prices | None = None

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
                path = Path(str(out.pop(key)))
                try:
                    out[target] = path.read_text().rstrip("\n")
                except OSError as error:
                    raise ValueError(f"{key} cannot be read: {error.strerror}") from error
        return out
