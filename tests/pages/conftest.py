"""A shop with buyer pages, a member with a fresh link, and a browser that was let in."""

from __future__ import annotations

import pytest

from tests.pages.visitor import Visitor, join, link_of, shop_with_pages


@pytest.fixture
async def chat(valkey, redis_client, tmp_path):
    async with shop_with_pages(valkey, tmp_path) as found:
        yield found


@pytest.fixture
async def member(chat):
    """A member of Messenger with a proved number, and the path of a fresh link."""
    await join(chat, "p1")
    return await link_of(chat, "p1")


@pytest.fixture
async def inside(chat, member):
    """A browser that was let in, on the card."""
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(member)
        await visitor.send("/open")
        assert visitor.status == 200
        assert "积分" in visitor.text
        yield visitor
