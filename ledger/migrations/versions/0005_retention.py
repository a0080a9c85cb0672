"""What is older than the shop keeps it goes: how far raw entries are gone, which rows outlive them, evidence that stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
ROOTED = ("buyers", "coupons", "owners", "orders", "messages", "tasks")


def upgrade() -> None:
    """From the revision before."""
    op.add_column("positions", sa.Column("floor", sa.Text(), server_default="", nullable=False))
    for table in ROOTED:
        op.add_column(table, sa.Column("rooted", sa.Boolean(), server_default=sa.false(), nullable=False))
    for column in ("ip", "browser"):
        op.add_column("consents", sa.Column(column, sa.Text(), server_default="", nullable=False))
    op.add_column("consents", sa.Column("kept_until", sa.BigInteger(), server_default="0", nullable=False))
    outlives = sa.text("kept_until > 0")
    op.create_index(
        "ix_consents_kept_until", "consents", ["kept_until"], sqlite_where=outlives, postgresql_where=outlives
    )
