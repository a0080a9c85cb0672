"""The table `[broadcasts]` of config.toml."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from bot.config import Section
from bot.lint import FIELD_CHARACTERS


class BroadcastTemplate(Section):
    """A template that a provider approved for broadcasts: its text with `${variable}`, and how long a variable may be."""

    text: str = Field(min_length=1, max_length=500)
    longest: int = Field(default=FIELD_CHARACTERS, ge=1, le=100)


def _link_host(value: str) -> str:
    if not re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", value):
        raise ValueError('must be the name of a host, such as "shop.example"')
    return value


def _receiver(value: str) -> str:
    account, _, id = value.partition(":")
    if not account or not id:
        raise ValueError('must be ACCOUNT:ID, such as "sms-main:+8613900001234"')
    return value


class Broadcasts(Section):
    """Who must approve what, how long it can be taken back, over how many minutes of an opening hour it begins.

    And: which approved templates there are, where links may lead to, who gets tests.
    """

    approve_above: int | None = Field(default=None, ge=0)
    undo_seconds: int | None = Field(default=None, ge=0, le=3600)  # unset: 30 where somebody must approve, else none
    spread_minutes: int = Field(default=30, ge=0, le=240)
    link_hosts: list[Annotated[str, AfterValidator(_link_host)]] = Field(default_factory=list)
    test_receivers: list[Annotated[str, AfterValidator(_receiver)]] = Field(default_factory=list)
    templates: dict[str, dict[str, BroadcastTemplate]] = Field(
        default_factory=dict
    )  # by account, then the provider's id

    @property
    def undo_ms(self) -> int:
        """How long one that was let go can be taken back, ms."""
        return 1000 * (
            (30 if self.approve_above is not None else 0) if self.undo_seconds is None else self.undo_seconds
        )

    @property
    def accounts_named(self) -> list[tuple[str, str]]:
        """Where in the table an account is named, and its name."""
        named = [(f"templates.{account}", account) for account in self.templates]
        return named + [(f"test_receivers: {one}", one.partition(":")[0]) for one in self.test_receivers]
