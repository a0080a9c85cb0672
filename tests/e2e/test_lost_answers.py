"""A reply of Redis that never arrives: the script ran or it did not, and either way nothing is lost, doubled or swapped."""

from __future__ import annotations

import pytest

from bot.errors import StoreError
from tests.e2e.test_first import order
from tests.gateway import running


def losing_answer_of(store, name: str, *, run: bool, times: int = 1):
    """The store loses the next answers of one script: after it ran, or before it reached Redis."""
    method, left = getattr(store, name), [times]

    async def lossy(*args, **kwargs):
        if not left[0]:
            return await method(*args, **kwargs)
        left[0] -= 1
        if run:
            await method(*args, **kwargs)
        raise StoreError("the answer was lost")

    setattr(store, name, lossy)
    return left


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as harness:
        yield harness


@pytest.mark.parametrize("run", [True, False])
async def test_a_commit_whose_answer_is_lost_still_answers_the_buyer_once(gw, run):
    """What it may have claimed for sending is queued again: the buyer need not wait until a dead sender is noticed."""
    left = losing_answer_of(gw.gateway.store, "commit", run=run)
    await gw.say("7001", "help")
    first = await gw.said("7001", 1)
    await gw.idle()
    await gw.say("7001", "my orders")
    await gw.said("7001", 2)
    await gw.idle()

    assert left == [0]
    assert gw.graph.texts("7001")[:1] == first
    assert len(gw.graph.texts("7001")) == 2
    assert gw.gateway.lines["messenger-main"].in_flight == 0


@pytest.mark.parametrize("run", [True, False])
async def test_mail_whose_relay_failed_arrives_before_later_mail(gw, run):
    """Numbers per source let later mail bury what was left unrelayed: so that goes first."""
    await gw.say("p1", "help")
    await gw.said("p1", 1)
    left = losing_answer_of(gw.gateway.store, "deliver", run=run)
    assert (await gw.shop("order.paid", "e1", order(pay_state="paid")))[0] == 200
    await gw.said("p1", 2)
    await gw.idle()

    assert left == [0]
    assert len(gw.graph.texts("p1")) == 2
