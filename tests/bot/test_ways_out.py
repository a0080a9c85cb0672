"""Nothing that is queued is without a way out: whatever order claims, outcomes, receipts, deaths, pauses and retries come in.

The scripts keep it by four marks of an address: its queues, `ready` (somebody shall look), `busy` (an outcome will look), and
`later` (the clock will). Here they are driven by hand, in any order; then time passes, and everything must have ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import keys
from bot.change import Change, Claimed, QueuedMessage, Settlement, StatusChange
from bot.store import Store
from tests.bot.test_store import owned

NOW = 1_790_000_000_000
P, ACCOUNT, BROADCAST = 5, "messenger-main", "bc_1"
ENDED = {b"sent", b"delivered", b"failed", b"skipped", b"in_doubt"}
SLOW = 1_000  # ms: a claim that is older was left behind

ACTIONS = st.one_of(
    st.tuples(st.just("plan"), st.sampled_from(["hi", "lo", "broadcast"]), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("pull"), st.sampled_from(["hi", "lo"]), st.integers(1, 3)),
    st.tuples(
        st.just("outcome"),
        st.integers(0, 5),
        st.sampled_from(["sent", "failed", "throttled", "again", "doubt", "unsure"]),
    ),
    st.tuples(st.just("receipt"), st.integers(0, 9), st.sampled_from(["sent", "delivered", "failed"])),
    st.tuples(st.just("pass"), st.sampled_from([1, 300, 3_000])),
    st.tuples(st.just("staff"), st.sampled_from(["paused", "sending", "cancelled"])),
)


class Line:
    """One partition's sending, by the scripts alone."""

    def __init__(self, store: Store) -> None:
        self.store, self.now, self.version, self.state = store, NOW, 0, "sending"
        self.planned: list[str] = []
        self.claims: list[Claimed] = []  # of senders that are alive or only believed to be dead

    async def plan(self, lane: str, address: int, claimed: bool) -> None:
        """A turn's message; `claimed`: its sender has room, and the commit may hand it over at once."""
        id, bulk = f"m{len(self.planned)}", "hi" if lane == "hi" else "lo"
        self.planned.append(id)
        row = QueuedMessage(
            id, ACCOUNT, f"to{address}", bulk, "queued", "", self.now, "reply", b"body",
            claim_at=self.now if claimed else 0, bc=f"{BROADCAST}\0" if lane == "broadcast" else "",
        )  # fmt: skip
        _, taken = await self.store.commit([Change(P, "address:x", messages=[row])], now=self.now)
        self.claims += [Claimed(P, id, 1, b"body") for id in taken]

    async def pull(self, lane: str, most: int) -> bool:
        """A sender looks."""
        found = await self.store.pull([(P, ACCOUNT, lane, most)], now=self.now)
        self.claims += found
        return bool(found)

    async def outcome(self, number: int, what: str) -> None:
        """Some claim's outcome, however late: the claim stays, as that of a sender whose answer was lost."""
        if self.claims:
            one = self.claims[number % len(self.claims)]
            await self.settle(one.id, one.attempt, what)

    async def settle(self, id: str, attempt: int, what: str) -> None:
        """As `bot.sender` writes it, by the row's lane."""
        lane = await self.store.command("HGET", keys.message(P, id), "l")
        again = hold = 0
        state = what
        if what in ("throttled", "again"):
            state, again = "queued", self.now + 200
        elif what in ("doubt", "unsure"):
            state = "in_doubt"
            if what == "doubt":
                again = self.now + 500
                hold = again if lane == b"hi" else 0
        one = Settlement(P, id, attempt, state, what, again_at=again, hold_until=hold, at=self.now)
        await self.store.settle([one], today=self.now)

    async def receipt(self, number: int, state: str) -> None:
        """A provider tells what became of a message, perhaps before its sender does."""
        if self.planned:
            id = self.planned[number % len(self.planned)]
            if await self.store.command("HGET", keys.message(P, id), "s") not in (
                b"queued",
                b"skipped",
            ):  # it was called
                told = StatusChange("ref", id, state, self.now, "")
                await self.store.commit([Change(P, "address:x", statuses=[told])], now=self.now)

    async def passes(self, ms: int) -> None:
        """The clock; and claims that are too old are found, as `Sender.left_behind` does it."""
        self.now += ms
        _, _, behind = await self.store.pump(now=self.now, real=self.now, left_behind=self.now - SLOW)
        for _, id in behind:
            attempt, state, doubts = await self.store.command("HMGET", keys.message(P, id), "t", "s", "doubts")
            await self.settle(
                id, int(attempt), ("unsure" if doubts else "doubt") if state == b"sending" else state.decode()
            )

    async def staff(self, state: str) -> None:
        """Pause, resume, cancel, as `bot.broadcasting` and the conductor do it."""
        if self.state != "cancelled":
            self.state, self.version = state, self.version + 1
        names = [keys.broadcast(P, BROADCAST)]
        await self.store.scripts.run("broadcast_state", names, [self.state, self.version])
        left = 1 if self.state == "sending" else 0
        while left:
            left, *_ = await self.store.scripts.run(
                "broadcast_unpark", [*names, keys.parked(P, BROADCAST)], [keys.tag(P), 100]
            )
        if self.state == "cancelled":
            args = [keys.tag(P), BROADCAST, 0, 0, 100, self.now]
            await self.store.scripts.run("broadcast_sweep", [keys.messages(P)], args)

    async def comes_to_rest(self) -> None:
        """Nobody does anything unusual any more: senders look where the store says so, and every call succeeds."""
        await self.staff("sending")
        await self.staff(self.state)
        quiet = 0
        while quiet < 3:
            await self.passes(1_500)
            moved = False
            for _, _, lane in sorted(await self.store.ready_lanes([ACCOUNT])):
                self.claims.clear()
                moved = await self.pull(lane, 9) or moved
                for one in self.claims:
                    await self.settle(one.id, one.attempt, "sent")
            quiet = 0 if moved else quiet + 1

    async def unended(self) -> list[tuple[str, list[bytes]]]:
        """What has no end yet."""
        found = [(id, await self.store.command("HMGET", keys.message(P, id), "s", "h")) for id in self.planned]
        return [(id, row) for id, row in found if row[0] not in ENDED]


async def drive(line: Line, actions: Sequence[tuple]) -> None:
    for name, *args in actions:
        await {"pass": line.passes}.get(name, getattr(line, name, None))(*args)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, max_size=40))
async def test_what_is_queued_ends(redis_client, actions):
    """Each message has an end, no address is held, and nothing is left in any list."""
    await redis_client.flushall()
    line = Line(await owned(redis_client))
    await drive(line, actions)
    await line.comes_to_rest()
    assert await line.unended() == []
    parked = [] if line.state == "cancelled" else [keys.parked(P, BROADCAST)]  # the conductor clears it at the end
    for name in (keys.busy(P), keys.sending(P), f"later:{keys.tag(P)}", *parked):
        assert not await redis_client.exists(name), name
    assert [key async for key in redis_client.scan_iter(match=f"q:{keys.tag(P)}*")] == []
