"""Conditions as SQL over `tables.buyers`."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from ledger.segments.conditions import Condition, Term
from ledger.segments.kinds import Moment
from ledger.segments.predicates import ALIVE


def where_of(condition: Condition, moment: Moment) -> ColumnElement[bool]:
    """Which buyers are in it; who is erased, or merged into another, never is."""
    return and_(ALIVE, compiled(condition, moment))


def compiled(condition: Condition, moment: Moment) -> ColumnElement[bool]:
    """The conditions alone."""
    if isinstance(condition, Term):
        return condition.field.compiled(condition.op, condition.value, condition.qualifiers, moment)
    parts = [compiled(part, moment) for part in condition.parts]
    match condition.how:
        case "all":
            return and_(true(), *parts)
        case "any":
            return or_(false(), *parts)
        case _:
            return not_(or_(false(), *parts))
