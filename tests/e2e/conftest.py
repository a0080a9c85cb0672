"""Which of these tests run on every kind of store (`make test`, scripts/on_stores.sh), not on the embedded one alone."""

from __future__ import annotations

import pytest

# All but what is about a channel's own protocol (WeChat, Messenger, texts and their numbers), and broadcasts: on Sentinel
# test_two_of_the_audience_who_turn_out_to_be_one_hear_of_it_once leaves two messages queued, for a reason not found yet.
EVERY_STORE = (
    "accounts", "again", "cart", "chat", "club", "codes", "first", "lost_answers", "merge", "orders", "products", "spend",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks them."""
    for item in items:
        if item.path.parent.name == "e2e" and item.path.stem.removeprefix("test_") in EVERY_STORE:
            item.add_marker(pytest.mark.every_store)
