"""Saved segments carry a version; whom a broadcast reached is read from one index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From the revision before."""
    op.drop_index("ix_messages_broadcast_state", "messages")
    op.create_index("ix_messages_broadcast_state_buyer", "messages", ["broadcast", "state", "buyer"])
    op.add_column("segments", sa.Column("updated_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("segments", sa.Column("version", sa.Integer(), nullable=False, server_default="0"))
