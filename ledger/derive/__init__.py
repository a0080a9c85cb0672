"""From journal entries to the rows of the derived tables: pure functions, one module per subject.

`decode` reads an entry, `wanted` names the rows that it may touch, `fold` changes them. The state that is folded into holds
those rows as the tables have them. Entries of one partition come in their order; those of different partitions in any: every
rule here gives the same rows then.
"""

from __future__ import annotations

from ledger.derive.entries import Entry, decode
from ledger.derive.fold import fold, wanted
from ledger.derive.state import State, Wanted

RULES = 1
"""Rises when the same journal gives other rows: a ledger that was derived by older rules is told to be rebuilt."""

__all__ = ["RULES", "Entry", "State", "Wanted", "decode", "fold", "wanted"]
