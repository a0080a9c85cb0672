"""Repeats over days, and what is left of it all: one effect each, and no key that grows for ever."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from bot import housekeeping, keys
from bot.clock import DAY_MS
from bot.codes import Codes
from bot.store import Store
from bot.web import add_up
from tests.gateway import running

DAY = 86_400


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as harness:
        yield harness


async def test_a_repeat_has_no_effect_for_eight_days(gw, redis_client):
    """The same message after 1 s, 4 min, 2 days and 8 days: one answer. After that its digest is gone, as promised."""
    await gw.say("p1", "你好", mid="m_same")
    await gw.said("p1", 1)
    after = 0
    for seconds in (1, 240, 2 * DAY, 8 * DAY):
        await gw.advance(seconds - after)
        after = seconds
        await gw.say("p1", "你好", mid="m_same")
        await gw.idle()
        assert len(gw.graph.texts("p1")) == 1, seconds
    await gw.gateway.housekeeping.sweep(gw.gateway.clock.now())
    assert len(await redis_client.keys("seen:*")) >= 1
    await gw.advance(3 * DAY)
    await gw.gateway.housekeeping.sweep(gw.gateway.clock.now())
    assert await redis_client.keys("seen:*") == []
    assert await redis_client.keys("pid:*") == []
    await gw.say("p1", "你好", mid="m_same")  # the control: the window is what keeps it out
    await gw.said("p1", 2)


async def test_what_is_settled_leaves_nothing_behind(valkey, redis_client, tmp_path):
    """After the days are over only records and their indexes are left: queues, marks, messages and digests are gone."""
    async with running(valkey, tmp_path, ledger=True) as gw:
        for number in range(20):
            await gw.say(f"p{number}", "你好")
            await gw.say(f"p{number}", "会员")
        for number in range(20):
            await gw.said(f"p{number}", 2)
        await gw.idle()
        await gw.projected()  # what the ledger does not hold yet would stay
        await gw.advance(20 * DAY)
        keeper = gw.gateway.housekeeping
        for _ in range(2):
            await keeper.sweep(gw.gateway.clock.now())
        for name in await redis_client.keys(
            "journal:*"
        ):  # stream ids are real time, which the sandbox's clock does not move
            await redis_client.xtrim(name, maxlen=0, approximate=False)
        found = await redis_client.keys("*")
        lasting = [name for name in found if await redis_client.ttl(name) < 0]
        left = {re.sub(rb"[:{].*", b"", name) for name in lasting}
        streams = {b"inbox", b"bulk", b"mail", b"journal"}
        assert not sum([await redis_client.xlen(n) for s in streams for n in await redis_client.keys(s + b":*")])
        stays = {b"rec", b"idx", b"unread", b"lease", b"procs", b"meta", b"metrics", b"clock", b"secret", b"ready"}
        stays |= {b"mailn", b"mailseq", b"cardno", b"tasks", b"timers", b"ledger"}
        assert left - streams - stays == set()
        assert [name for name in await redis_client.keys("ready:*") if name != b"ready:probe"] == []


async def test_processes_that_are_gone_are_forgotten_but_what_they_counted(valkey, redis_client, tmp_path):
    """After restarts: one field per living process, the sums unbroken, gauges of the dead not counted."""
    for number in range(2):
        async with running(valkey, tmp_path, owner=f"life-{number}") as gw:
            await gw.say("p1", f"你好{number}")
            await gw.idle()
            await asyncio.sleep(1.2)  # a process tells its metrics each second
    async with running(valkey, tmp_path, owner="last") as gw:
        await gw.idle()
        await gw.gateway.housekeeping.sweep(gw.gateway.clock.now())
        names = set(await redis_client.hkeys("metrics"))
        assert names <= {b"last", housekeeping.SUM}
        assert set(await redis_client.hkeys("clock:seen")) <= {b"last"}
        await asyncio.sleep(1.2)
        async with gw.session.get(f"{gw.base}/metrics") as answer:
            text = await answer.text()
        assert "touchpoint_partitions_owned 64" in text


def test_sums_of_the_dead_can_be_summed_again():
    """What was folded once is folded again with the next, without loss."""
    text = '# HELP x_total Things\n# TYPE x_total counter\nx_total{a="1"} 2.0\n# HELP y Now\n# TYPE y gauge\ny 7.0\n'
    once = add_up([], [text, text])
    assert 'x_total{a="1"} 4' in once
    assert "y" not in once.replace("# ", "").split()
    assert 'x_total{a="1"} 6' in add_up([text], [once])
    assert "y 7" in add_up([text], [once])


async def test_counters_of_phone_codes_go_with_their_window(redis_client):
    """A number that asked for one code is forgotten a day later; one that asked today is not."""
    codes = Codes(Store(redis_client, 64, "x"), ["CN"])
    now = int(time.time() * 1000)
    for number in range(50):
        assert (await codes.request(f"+86139{number:04d}1234", now)).outcome == "sent"
    kept = await redis_client.hlen(keys.CODE_COUNTS)
    assert kept > 90
    await codes.sweep(now)
    assert await redis_client.hlen(keys.CODE_COUNTS) == kept
    await codes.sweep(now + DAY_MS)
    assert set(await redis_client.hkeys(keys.CODE_COUNTS)) <= {b"a"}
    await codes.sweep(now + 2 * DAY_MS)
    assert await redis_client.hlen(keys.CODE_COUNTS) == 0
