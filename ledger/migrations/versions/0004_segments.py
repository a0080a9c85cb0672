"""Orders and items name their buyer, and lie ready for segments; a frozen audience is marked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
OWNED = "UPDATE {table} SET buyer = COALESCE((SELECT o.buyer FROM owners o WHERE o.subject = {table}.subject), '')"


def upgrade() -> None:
    """From the revision before."""
    for table in ("orders", "items"):
        op.add_column(table, sa.Column("buyer", sa.Text(), server_default="", nullable=False))
        op.execute(OWNED.format(table=table))
    op.drop_index("ix_items_product_paid_at", "items")
    op.drop_index("ix_items_sku_paid_at", "items")
    for column in ("product", "sku", "title"):
        op.create_index(f"ix_items_{column}_paid_at_buyer", "items", [column, "paid_at", "buyer"])
    paid = ["paid_at", "shop", "currency", "total", "buyer"]
    op.create_index("ix_orders_paid_at_shop_currency_total_buyer", "orders", paid)
    op.create_index("ix_orders_city_placed_at_buyer", "orders", ["city", "placed_at", "buyer"])
    merged = sa.text("merged_into <> ''")
    op.create_index("ix_buyers_merged_into", "buyers", ["merged_into"], sqlite_where=merged, postgresql_where=merged)
    op.create_table(
        "frozen",
        sa.Column("broadcast", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("broadcast", name=op.f("pk_frozen")),
    )
