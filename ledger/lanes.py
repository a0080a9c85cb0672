"""Where a broadcast would go, buyer by buyer, in SQL: by which account, or why by none. The rules are those of `bot.policy`.

A preview, not a promise: each buyer's own turn decides when it comes, and knows more (quotas of a window, spend limits, who has the
chat). What is allowed is decided for each way in which buyers can be reached (`ledger.ways`), of which there are few; only who has an
open window is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnCollection,
    ColumnElement,
    FromClause,
    and_,
    case,
    distinct,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from bot.broadcasts import Broadcast
from bot.clock import DAY_MS
from bot.events import Ms
from bot.hours import day_start
from bot.ports import Capabilities
from bot.reasons import SkipReason
from ledger import tables
from ledger.segments.kinds import Moment
from ledger.segments.predicates import REACHED

NEAREST = (
    SkipReason.BLOCKED,
    SkipReason.OPTED_OUT,
    SkipReason.NO_CONSENT,
    SkipReason.WINDOW_CLOSED,
    SkipReason.NO_TEMPLATE,
    SkipReason.UNREACHABLE,
    SkipReason.NO_ADDRESS,
)
"""Of the reasons of several addresses, the one nearest to the buyer's own will is told, as in a decision."""
_BUYERS, _ADDRESSES, _WAYS = tables.buyers.c, tables.addresses.c, tables.ways.c
Columns: TypeAlias = ColumnCollection[str, Any]


class Lanes:
    """One broadcast's accounts in the order of preference, as columns over `source`, a join of the buyers."""

    def __init__(
        self, broadcast: Broadcast, accounts: Mapping[str, Capabilities], moment: Moment, caps: tuple[int, int]
    ) -> None:
        self.names: Sequence[str] = [name for name in dict.fromkeys(broadcast.accounts) if name in accounts][:32]
        self._able, self._moment, self._caps = accounts, moment, caps
        self._marketing, self._templates = broadcast.purpose == "marketing", broadcast.templates
        self._ways = self._judged() if self.names else None

    @property
    def source(self) -> FromClause:
        """The buyers, and what is allowed on each one's way."""
        if self._ways is None:
            return tables.buyers
        return tables.buyers.outerjoin(self._ways, self._ways.c.way == _BUYERS.way)

    def able(self) -> ColumnElement[int]:
        """The accounts that would do, as bits in their order."""
        if self._ways is None:
            return literal(0)
        found: ColumnElement[int] = func.coalesce(self._ways.c.able, 0)
        for bit, name, shuts in self._windowed():
            open = exists().where(
                _ADDRESSES.buyer == _BUYERS.id,
                _ADDRESSES.account == name,
                _ADDRESSES.window_closes_at > shuts,
                *(not_(refused) for refused, _ in self._refusals(_ADDRESSES)),
            )
            fine = and_(self._ways.c.shut.bitwise_and(bit) != 0, _BUYERS.window_closes_at > shuts, open)
            found += case((fine, bit), else_=0)
        return found

    def why(self) -> ColumnElement[int]:
        """Where none of them does: the place of the reason in NEAREST."""
        nowhere = NEAREST.index(SkipReason.NO_ADDRESS)
        return literal(nowhere) if self._ways is None else func.coalesce(self._ways.c.why, nowhere)

    def _windowed(self) -> list[tuple[int, str, Ms]]:
        """The accounts that need an open window: bit, name, and when one must close at the earliest."""
        return [
            (1 << n, name, self._moment.now + able.window_margin_ms)
            for n, name in enumerate(self.names)
            if (able := self._able[name]).free_text and able.windows and name not in self._templates
        ]

    def _judged(self) -> FromClause:
        """Each way: the accounts that do by it, those that do while a window is open, and why it is none where all are shut."""
        refusals = [(refused, literal(NEAREST.index(reason))) for refused, reason in self._refusals(_WAYS)]
        refused = or_(*(condition for condition, _ in refusals))
        bit = case({name: 1 << n for n, name in enumerate(self.names)}, value=_WAYS.account, else_=0)
        shut = _WAYS.account.in_([name for _, name, _ in self._windowed()])

        def bits(condition: ColumnElement[bool]) -> ColumnElement[int]:
            return func.sum(distinct(case((condition, bit), else_=0)))

        return (
            select(
                _WAYS.way,
                bits(and_(not_(refused), not_(shut))).label("able"),
                bits(and_(not_(refused), shut)).label("shut"),
                func.min(case(*refusals, (shut, NEAREST.index(SkipReason.WINDOW_CLOSED)))).label("why"),
            )
            .where(_WAYS.account.in_(self.names))
            .group_by(_WAYS.way)
            .subquery("judged")
        )

    def _refusals(self, rows: Columns) -> list[tuple[ColumnElement[bool], SkipReason]]:
        """Why an address (or a line of a way) cannot be used, whatever its window."""
        found: list[tuple[ColumnElement[bool], SkipReason]] = [
            (rows.blocked.is_(True), SkipReason.BLOCKED),
            (rows.reachable.is_(False), SkipReason.UNREACHABLE),
        ]
        if self._marketing:
            found += [
                (rows.opted_out.is_(True), SkipReason.OPTED_OUT),
                (rows.marketing != "granted", SkipReason.NO_CONSENT),
            ]
        else:
            found.append((rows.service == "refused", SkipReason.OPTED_OUT))
        bare = [name for name in self.names if not self._able[name].free_text and name not in self._templates]
        return [*found, (rows.account.in_(bare), SkipReason.NO_TEMPLATE)]

    def capped(self) -> ColumnElement[bool]:
        """Over the weekly or daily cap."""
        if not self._marketing:
            return false()
        week, day = self._caps
        rows, now = tables.messages.c, self._moment.now
        today = day_start(now, self._moment.zone)
        over: list[ColumnElement[bool]] = [false()]
        if day == 1:
            over.append(_BUYERS.last_marketing_at >= today)
        for most, since in ((week, now - 7 * DAY_MS), (day, today)):
            if most > 1 or (most == 1 and since < today):
                recent = select(func.count()).where(
                    rows.buyer == _BUYERS.id,
                    rows.created_at > since,
                    rows.purpose == "marketing",
                    rows.state.in_(REACHED),
                )
                # Looked up for those alone who got any since: a week's messages to everybody would have to be sorted.
                counted = recent.correlate(tables.buyers).scalar_subquery() >= most
                over.append(and_(_BUYERS.last_marketing_at > since, counted))
        return or_(*over)
