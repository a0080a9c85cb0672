"""The planner by hand, on a real store: how far it plans ahead of those who take the entries."""

from __future__ import annotations

from bot import keys
from bot.broadcast_life import Rules
from bot.clock import SystemClock
from bot.planner import MOST_IN_LANE, RECIPIENT_BYTES, Planner
from tests.audiences import FileAudiences, buyer_of
from tests.bot.test_conductor import SHANGHAI, Desk
from tests.bot.test_store import owned

RECIPIENTS = 3_000
PARTITIONS = {3, 17}


class Plans:
    """A broadcast to thousands in two partitions, its planner, and nobody who takes what is planned."""

    def __init__(self, store, audiences, planner, id) -> None:
        self.store, self.audiences, self.planner, self.id = store, audiences, planner, id

    async def until_it_rests(self) -> set[int]:
        """Plans as long as there is room; the lengths of the two lanes."""
        before: set[int] | None = None
        while True:
            await self.planner.advance()
            now = {await self.store.command("XLEN", keys.bulk(p)) for p in PARTITIONS}
            if now == before:
                return now
            before = now

    async def take_all(self) -> None:
        await self.store.together([("DEL", keys.bulk(p)) for p in PARTITIONS])


async def planning(client, tmp_path) -> Plans:
    store = await owned(client)
    audiences = FileAudiences(tmp_path / "audience.json")
    everybody = (buyer_of(store, number, 1_790_000_000_000) for number in range(RECIPIENTS * 40))
    some = [buyer for buyer in everybody if store.partition(buyer.home) in PARTITIONS][:RECIPIENTS]
    audiences.write(store, some)
    desk = Desk(store, Rules(SHANGHAI), audiences)
    id = await desk.submit(len(some))
    await desk.advance(3)
    return Plans(store, audiences, Planner(
        store=store, broadcasts=desk.broadcasts, audiences=audiences, clock=SystemClock()
    ), id)  # fmt: skip


async def test_lanes_hold_so_much_and_no_more(redis_client, tmp_path):
    plans = await planning(redis_client, tmp_path)
    assert await plans.until_it_rests() == {MOST_IN_LANE}
    await plans.take_all()
    assert await plans.until_it_rests() == {MOST_IN_LANE}


async def test_in_a_small_store_less_is_planned_ahead(redis_client, tmp_path):
    """What lies in the lanes when planning has to wait still becomes messages: they fit below the door's mark."""
    plans = await planning(redis_client, tmp_path)
    plans.planner.heed_memory(short=False, room=2 * 64 * 30 * RECIPIENT_BYTES)
    assert await plans.until_it_rests() == {30}
    plans.planner.heed_memory(short=True, room=2 * 64 * 30 * RECIPIENT_BYTES)
    await plans.take_all()
    assert await plans.until_it_rests() == {0}
    plans.planner.heed_memory(short=False, room=1)  # however small: it goes on
    assert await plans.until_it_rests() == {2}
    plans.planner.heed_memory(short=False, room=0)
    assert min(await plans.until_it_rests()) > MOST_IN_LANE // 2
