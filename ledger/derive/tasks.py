"""Rows of tasks: opened by a record, closed there or, after a merge, at the survivor."""

from __future__ import annotations

from bot import subjects
from ledger import tables
from ledger.derive.entries import Entry, Turn
from ledger.derive.state import State, blank

RANK = {"open": 0, "expired": 1, "done": 2}


def put(entry: Entry, turn: Turn, state: State) -> None:
    """The tasks that a turn opened or closed. A closed one is not opened again; of two tellings the later holds."""
    for task in turn.tasks:
        row = state.tasks.get(task.id)
        if row is not None and (RANK[task.state], entry.ms) < (RANK[row["state"]], row["told_at"]):
            continue
        state.tasks.put(
            task.id,
            blank(
                tables.tasks,
                id=task.id,
                kind=task.kind,
                state=task.state,
                buyer=task.buyer,
                order_id=task.order,
                brief=task.brief,
                assignee=task.assignee,
                outcome=task.outcome,
                note=task.note,
                created_at=task.created_at,
                due_at=task.due_at,
                home=task.home,
                order_subject=task.home if subjects.kind(task.home) == "order" else "",
                told_at=entry.ms,
            ),
        )
