"""Which of these tests run on every kind of store (`make test`, scripts/on_stores.sh), not on the embedded one alone."""

from __future__ import annotations

import pytest

# All but what is about a channel's own protocol (WeChat, Messenger, texts and their numbers), signatures (doors) and rules that
# no store decides (optin, broadcast_words).
EVERY_STORE = (
    "accounts", "again", "broadcasts", "cart", "chat", "club", "codes", "first", "imports", "lost_answers", "merge", "orders", "products",
    "reconciled", "restocked", "spend",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks them."""
    for item in items:
        if item.path.parent.name == "e2e" and item.path.stem.removeprefix("test_") in EVERY_STORE:
            item.add_marker(pytest.mark.every_store)
