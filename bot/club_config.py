"""The table `[club]` of config.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Annotated, Literal

from babel.numbers import get_currency_precision
from pydantic import Field

from bot.club import BASIC, BASIC_NAMES, MOST_MONTHS, Level, Rules
from bot.config import Section

CAMPAIGN = r"^([A-Z0-9_-]{2,32})?$"
LEVEL = r"^[a-z0-9_-]{1,20}$"
Locale = Literal["zh-CN", "zh-TW", "en"]
Amount = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]


class ClubLevel(Section):
    """One level: reached by `spend` in the brand's currency. A buyer reads its name and its rights."""

    key: str = Field(pattern=LEVEL)
    spend: Amount
    names: dict[Locale, Annotated[str, Field(min_length=1, max_length=12)]] = Field(default_factory=dict)
    rights: dict[Locale, Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=dict)
    gift: str = Field(default="", pattern=CAMPAIGN)


class Club(Section):
    """The member club: what a new card brings, points and levels where the shop has no club of its own."""

    gift: str = Field(default="", pattern=CAMPAIGN)
    points_per: Annotated[Decimal, Field(ge=0, le=1000, decimal_places=4)] = Decimal(0)
    within_months: int = Field(default=0, ge=0, le=MOST_MONTHS)
    complete_after_days: int = Field(default=15, ge=0, le=365)
    levels: list[ClubLevel] = Field(default_factory=list)

    def rules(self, currency: str, zone: tzinfo) -> Rules:
        """The same for the engine; "basic" stands at the bottom, whether it is listed or not."""
        listed = [Level(one.key, one.spend, _texts(one.names), _rights(one), one.gift) for one in self.levels]
        if not listed or listed[0].key != BASIC:
            listed.insert(0, Level(BASIC, Decimal(0), BASIC_NAMES))
        elif not listed[0].names:
            listed[0] = Level(BASIC, Decimal(0), BASIC_NAMES, listed[0].rights, listed[0].gift)
        return Rules(currency, self.points_per, tuple(listed), self.within_months, self.complete_after_days, zone)

    def faults(self, currency: str, locale: str) -> list[str]:
        """What no single value shows: the order of levels, names that are missing, campaigns and digits that cannot be."""
        found: list[str] = []
        for place, level in enumerate(self.levels):
            where = f"club.levels.{place}"
            found += [f"{where}.{key}{text}" for key, text in self._level_faults(place, level, currency, locale)]
        if self.within_months and not self.levels:
            found.append(
                f"club.within_months = {self.within_months}: counts for levels; add [[club.levels]], or leave it out"
            )
        return found

    def _level_faults(self, place: int, level: ClubLevel, currency: str, locale: str) -> list[tuple[str, str]]:
        before = self.levels[:place]
        found: list[tuple[str, str]] = []
        if level.key in [one.key for one in before]:
            found.append(("key", f" = {level.key!r}: stands there twice; each level has a key of its own"))
        if level.key == BASIC and (place or level.spend):
            found.append(
                ("spend", f" = '{level.spend}': {BASIC} is what every new card has; it stands first, with spend = 0")
            )
        elif level.key != BASIC and not level.spend:
            found.append(
                ("spend", f" = '{level.spend}': must be above 0; the level that every new card has is {BASIC!r}")
            )
        elif before and level.spend <= before[-1].spend:
            found.append(
                (
                    "spend",
                    f" = '{level.spend}': must be above the {before[-1].spend} of {before[-1].key!r}; lowest first",
                )
            )
        digits = get_currency_precision(currency)
        if level.spend != round(level.spend, digits):
            found.append(("spend", f" = '{level.spend}': {currency} has {digits} decimals"))
        if level.key != BASIC and locale not in level.names:
            found.append(
                ("names", f': buyers read it; give one for your own language at least: names = {{ {locale} = "…" }}')
            )
        if level.key == BASIC and level.gift:
            found.append(
                ("gift", f" = {level.gift!r}: every new card has {BASIC}; what comes with the card is club.gift")
            )
        elif level.gift and level.gift in [self.gift, *(one.gift for one in before)]:
            found.append(
                ("gift", f" = {level.gift!r}: is given elsewhere in [club] already, and a buyer gets a campaign once")
            )
        return found + _same_names(level, before)


def _texts(given: Mapping[Locale, str]) -> dict[str, str]:
    return {str(locale): text.strip() for locale, text in given.items()}


def _rights(level: ClubLevel) -> dict[str, str]:
    """The wordings that they stand in end the sentence."""
    return {locale: text.rstrip("。.") for locale, text in _texts(level.rights).items()}


def _same_names(level: ClubLevel, before: Sequence[ClubLevel]) -> list[tuple[str, str]]:
    """Two levels that an import could not tell apart, nor a buyer."""
    taken = {name.casefold(): one.key for one in before for name in (one.key, *one.names.values())}
    same = [name for name in level.names.values() if name.casefold() in taken]
    return [("names", f": {name!r} means {taken[name.casefold()]!r} already; give another") for name in same]
