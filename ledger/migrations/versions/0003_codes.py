"""A provider's own code of a failure; the order that a decision is about, also where no record of it is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("decisions", sa.Column("order_id", sa.Text(), server_default="", nullable=False))
    op.add_column("messages", sa.Column("code", sa.Text(), server_default="", nullable=False))
