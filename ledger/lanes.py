"""Where a broadcast would go, buyer by buyer, counted in SQL: by which account, or why by none. The rules are those of `bot.policy`.

A preview, not a promise: each buyer's own turn decides when it comes, and knows more (quotas of a window, spend limits, who has the
chat).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, case, distinct, false, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.broadcasts import Broadcast
from bot.clock import DAY_MS
from bot.hours import day_start
from bot.ports import Capabilities
from bot.reasons import SkipReason
from ledger import tables
from ledger.segments.kinds import Moment
from ledger.segments.predicates import REACHED

_NEAREST = (
    SkipReason.BLOCKED,
    SkipReason.OPTED_OUT,
    SkipReason.NO_CONSENT,
    SkipReason.WINDOW_CLOSED,
    SkipReason.NO_TEMPLATE,
    SkipReason.UNREACHABLE,
    SkipReason.NO_ADDRESS,
)
"""Of the reasons of several addresses, the one nearest to the buyer's own will is told, as in a decision."""
_BASE = (
    100  # a code is: the accounts that would do, as bits, times this; plus the place of the reason, where there is one
)


@dataclass(slots=True)
class Told:
    """Numbers of buyers: see `ledger.audiences.Preview`."""

    skipped: dict[str, int] = field(default_factory=dict)
    lanes: dict[tuple[str, str], int] = field(default_factory=dict)
    reachable: dict[str, int] = field(default_factory=dict)
    by_locale: dict[str, int] = field(default_factory=dict)
    capped: int = 0


class Lanes:
    """One broadcast's accounts in the order of preference."""

    def __init__(
        self, broadcast: Broadcast, accounts: Mapping[str, Capabilities], moment: Moment, caps: tuple[int, int]
    ) -> None:
        self._names = [name for name in dict.fromkeys(broadcast.accounts) if name in accounts][:32]
        self._able, self._moment, self._caps = accounts, moment, caps
        self._marketing, self._templates = broadcast.purpose == "marketing", broadcast.templates

    async def count(self, connection: AsyncConnection, where: ColumnElement[bool]) -> Told:
        """Counts the buyers of whom `where` is true, in one pass."""
        buyers = tables.buyers.c
        each = select(
            buyers.locale.label("locale"),
            self._code().label("code"),
            case((self._capped(), 1), else_=0).label("capped"),
        ).where(where)
        rows = each.subquery()
        columns = (rows.c.locale, rows.c.code, rows.c.capped)
        found = await connection.execute(select(*columns, func.count()).group_by(*columns))
        counted = [tuple(row) for row in found]
        return self._told(counted)

    def _told(self, rows: list[tuple[str, int, int, int]]) -> Told:
        skipped, lanes, reachable, locales = Counter[str](), Counter[tuple[str, str]](), Counter[str](), Counter[str]()
        capped = 0
        for locale, code, is_capped, count in rows:
            mask, reason = divmod(code, _BASE)
            locales[locale] += count
            able = [name for n, name in enumerate(self._names) if mask >> n & 1]
            if not able:
                skipped[_NEAREST[reason]] += count
                continue
            lanes[able[0], locale] += count
            reachable.update(dict.fromkeys(able, count))
            capped += count if is_capped else 0
        return Told(
            {str(name): count for name, count in skipped.items()}, dict(lanes), dict(reachable), dict(locales), capped
        )

    def _code(self) -> ColumnElement[int]:
        if not self._names:
            return literal(_NEAREST.index(SkipReason.NO_ADDRESS))
        rows = tables.addresses.c
        why = self._why()
        bit = case({name: 1 << n for n, name in enumerate(self._names)}, value=rows.account, else_=0)
        able = func.coalesce(func.sum(distinct(case((why.is_(None), bit), else_=0))), 0)
        reason = func.coalesce(func.min(why), _NEAREST.index(SkipReason.NO_ADDRESS))
        mine = select(able * _BASE + reason).where(rows.buyer == tables.buyers.c.id, rows.account.in_(self._names))
        return mine.correlate(tables.buyers).scalar_subquery()

    def _why(self) -> ColumnElement[int | None]:
        """Why an address cannot be used; NULL for one that can."""
        rows = tables.addresses.c
        whens: list[tuple[ColumnElement[bool], SkipReason]] = [
            (rows.blocked.is_(True), SkipReason.BLOCKED),
            (rows.reachable.is_(False), SkipReason.UNREACHABLE),
        ]
        if self._marketing:
            whens += [
                (rows.opted_out.is_(True), SkipReason.OPTED_OUT),
                (rows.marketing != "granted", SkipReason.NO_CONSENT),
            ]
        else:
            whens.append((rows.service == "refused", SkipReason.OPTED_OUT))
        closed: list[ColumnElement[bool]] = [false()]
        bare = [""]
        for name in self._names:
            able = self._able[name]
            if name in self._templates:
                continue
            if not able.free_text:
                bare.append(name)
            elif able.windows:
                shuts = self._moment.now + able.window_margin_ms
                closed.append(and_(rows.account == name, rows.window_closes_at <= shuts))
        whens += [(rows.account.in_(bare), SkipReason.NO_TEMPLATE), (or_(*closed), SkipReason.WINDOW_CLOSED)]
        return case(*((condition, literal(_NEAREST.index(reason))) for condition, reason in whens), else_=None)

    def _capped(self) -> ColumnElement[bool]:
        if not self._marketing:
            return false()
        week, day = self._caps
        buyers, rows, now = tables.buyers.c, tables.messages.c, self._moment.now
        over: list[ColumnElement[bool]] = [false()]
        if day == 1:
            over.append(buyers.last_marketing_at >= day_start(now, self._moment.zone))
        for most, since in ((week, now - 7 * DAY_MS), (day, day_start(now, self._moment.zone))):
            if most > 1 or (most == 1 and since < day_start(now, self._moment.zone)):
                recent = select(rows.buyer).where(
                    rows.created_at > since, rows.purpose == "marketing", rows.state.in_(REACHED)
                )
                over.append(buyers.id.in_(recent.group_by(rows.buyer).having(func.count() >= most)))
        return or_(*over)
