"""Types of fields: which operators they take, and how a value of each is read. Pure.

type     a value                                     operators
number   3                                           = != < <= > >= between (both ends count)
money    "188.00", of the brand's currency           as a number
text     "Lin"                                       = != in not_in contains starts_with known
choice   "granted", one of a list                    = != in not_in
list     "casual"; of several at once                = != in not_in all (has, has not, has any, has none, has all)
date     "2026-10-01", RFC 3339, or {"days": 30} ago before after between within not_within known
days     7 (in so many days)                         = < <= > >= between
yes/no   true                                        =

`known` takes true or false. `within` and `not_within` take {"days": n}: in the last n days, or not in them (or never).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement

from bot.clock import DAY_MS
from bot.events import Ms
from bot.hours import instant

Type: TypeAlias = Literal["number", "money", "text", "choice", "list", "date", "days", "yes/no"]
_NUMBERS = ("=", "!=", "<", "<=", ">", ">=", "between")
OPERATORS: dict[Type, tuple[str, ...]] = {
    "number": _NUMBERS,
    "money": _NUMBERS,
    "text": ("=", "!=", "in", "not_in", "contains", "starts_with", "known"),
    "choice": ("=", "!=", "in", "not_in"),
    "list": ("=", "!=", "in", "not_in", "all"),
    "date": ("before", "after", "between", "within", "not_within", "known"),
    "days": ("=", "<", "<=", ">", ">=", "between"),
    "yes/no": ("=",),
}
MOST_LISTED = 500
MOST_TEXT = 200
MOST_NUMBER = 1_000_000_000
MOST_DAYS = 36_500
_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,4})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class ValueFaultError(Exception):
    """A value that is none: what is wrong, and `where` inside it."""

    def __init__(self, words: str, where: str = "") -> None:
        super().__init__(words)
        self.words, self.where = words, where


@dataclass(frozen=True, slots=True)
class Moment:
    """When a segment is asked: `now` (virtual), the shop's time zone, in which days begin, and the brand's currency.

    Orders in another currency are not added to sums ("" adds all).
    """

    now: Ms
    zone: tzinfo
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """A day by its date: it begins at midnight in the shop's time zone."""

    date: date

    def at(self, moment: Moment) -> Ms:
        """When it begins, ms."""
        return instant(datetime.combine(self.date, time()), moment.zone)

    def end(self, moment: Moment) -> Ms:
        """When the next one begins, ms."""
        return instant(datetime.combine(self.date + timedelta(days=1), time()), moment.zone)


@dataclass(frozen=True, slots=True)
class DaysAgo:
    """A time that moves with the clock."""

    days: int

    def at(self, moment: Moment) -> Ms:
        """When that is, ms."""
        return moment.now - self.days * DAY_MS

    def end(self, moment: Moment) -> Ms:
        """The first millisecond after it."""
        return self.at(moment) + 1


@dataclass(frozen=True, slots=True)
class Instant:
    """A time, ms."""

    ms: Ms

    def at(self, _: Moment) -> Ms:
        """Itself."""
        return self.ms

    def end(self, _: Moment) -> Ms:
        """The first millisecond after it."""
        return self.ms + 1


Time: TypeAlias = Day | DaysAgo | Instant
Compiled: TypeAlias = Callable[[str, Any, dict[str, Any], Moment], ColumnElement[bool]]
"""From operator, value, qualifiers and moment to a condition over `ledger.tables.buyers`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that can be asked of a buyer."""

    name: str
    type: Type
    zh: str
    en: str
    compiled: Compiled
    choices: tuple[str, ...] = ()
    qualifiers: tuple[str, ...] = ()
    least: int = 0
    most: int = MOST_NUMBER
    hint: str = field(default="")


QUALIFIERS: dict[str, str] = {
    "account": "on this account only",
    "shop": "orders of this shop only",
    "since": "from this time on (a date value)",
    "until": "before this time (a date value)",
    "state": "in this state only",
    "campaign": "of this campaign only",
    "kind": "of this kind of garment (top unless said)",
    "purpose": "of this purpose only",
}
"""What a test may say besides: each field lists its own."""
STATES = (
    "queued", "sending", "sent", "delivered", "read", "failed", "skipped", "in_doubt",
    "claimed", "redeemed", "expired", "reached", "any",
)  # fmt: skip
PURPOSES = ("reply", "code", "service", "marketing")


# --- reading ----------------------------------------------------------------------------------------------------------


def read_value(of: Field, op: str, given: Any) -> Any:
    """A value for a field and operator. Raises ValueFaultError."""
    if op == "known":
        return _yes_no(given)
    if op in ("within", "not_within"):
        if isinstance(given, int) and not isinstance(given, bool):
            given = {"days": given}
        return _days_ago(given)
    if op in ("in", "not_in", "all"):
        return _listed(of, given)
    if op == "between":
        if not isinstance(given, list) or len(given) != 2:
            raise ValueFaultError("must be a list of two: from and to")
        low, high = (_one(of, value, f"[{n}]") for n, value in enumerate(given))
        if of.type != "date" and high < low:
            raise ValueFaultError("must go from the lower to the higher")
        return (low, high)
    return _one(of, given)


def read_qualifier(name: str, given: Any) -> Any:
    """What is said beside a test. Raises ValueFaultError."""
    if name in ("since", "until"):
        return _time(given)
    text = _text(given)
    if name == "state" and text not in STATES:
        raise ValueFaultError(f"must be one of {', '.join(STATES)}")
    if name == "purpose" and text not in PURPOSES:
        raise ValueFaultError(f"must be one of {', '.join(PURPOSES)}")
    return text


def _listed(of: Field, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list) or not given:
        raise ValueFaultError("must be a list of one or more values")
    if len(given) > MOST_LISTED:
        raise ValueFaultError(f"holds {len(given)} values; {MOST_LISTED} at most")
    return tuple(dict.fromkeys(_one(of, value, f"[{n}]") for n, value in enumerate(given)))


def _one(of: Field, given: Any, where: str = "") -> Any:
    try:
        match of.type:
            case "number" | "days":
                return _number(given, of.least, of.most)
            case "money":
                return _money(given)
            case "yes/no":
                return _yes_no(given)
            case "date":
                return _time(given)
            case "choice":
                return _choice(of, given)
            case _:
                return _text(given)
    except ValueFaultError as error:
        raise ValueFaultError(error.words, where + error.where) from None


def _choice(of: Field, given: Any) -> str:
    if given not in of.choices or not isinstance(given, str):
        raise ValueFaultError(f"{shown(given)} is none of {', '.join(of.choices)}")
    return given


def _number(given: Any, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise ValueFaultError(f"must be a whole number, such as {min(max(least, 1), most)}, not {shown(given)}")
    if not least <= given <= most:
        raise ValueFaultError(f"must be from {least} to {most}")
    return given


def _money(given: Any) -> Decimal:
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueFaultError('must be an amount of the brand\'s currency, such as "188.00"')
    return Decimal(text)


def _yes_no(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueFaultError("must be true or false")
    return given


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValueFaultError("must be a text")
    if len(given) > MOST_TEXT:
        raise ValueFaultError(f"is {len(given)} characters long; {MOST_TEXT} at most")
    try:
        given.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueFaultError("is not UTF-8") from None
    if "\x00" in given:
        raise ValueFaultError("must not hold NUL characters")
    return given


def _time(given: Any) -> Time:
    if isinstance(given, dict):
        return _days_ago(given)
    if isinstance(given, str):
        try:
            if _DATE.fullmatch(given):
                return Day(_after_1970(date.fromisoformat(given)))
            if _TIME.fullmatch(given):
                found = datetime.fromisoformat(given)
                _after_1970(found.date())
                return Instant(int(found.timestamp() * 1000))
        except (ValueError, OverflowError):
            raise ValueFaultError("there is no such day") from None
    raise ValueFaultError(
        'must be a day ("2026-10-01"), a time ("2026-10-01T02:00:00Z") or {"days": 30} for that long ago'
    )


def _after_1970(day: date) -> date:
    if not 1970 < day.year < 9999:
        raise ValueError
    return day


def _days_ago(given: Any) -> DaysAgo:
    if not isinstance(given, dict) or set(given) != {"days"}:
        raise ValueFaultError('must be {"days": n}')
    try:
        return DaysAgo(_number(given["days"], 0, MOST_DAYS))
    except ValueFaultError as error:
        raise ValueFaultError(error.words, ".days") from None


def shown(given: Any) -> str:
    """Something that a caller wrote, fit for an answer."""
    text = given if isinstance(given, str) else repr(given)
    return text.encode("utf-8", "replace").decode()[:60].replace("\x00", "?")
