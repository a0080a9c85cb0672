"""Alembic's entry: runs on the connection that `ledger.schema` hands over, within its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from ledger.tables import Amount, metadata


def _spelled(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A revision is frozen: it names what the database holds, not a type of ours that may change."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, Amount) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=_spelled,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
    transactional_ddl=False,  # one transaction around all, begun and committed by `ledger.schema`
)
context.run_migrations()
