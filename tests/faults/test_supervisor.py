"""Supervisors: two on one data directory share one server, and either may leave."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from bot.embedded import EmbeddedServer
from tests.faults.serving import server_pid, serving


@pytest.mark.timeout(120)
async def test_two_serves_on_one_data_directory(tmp_path):
    """One server for both, never two; when the one that started it leaves, the other starts it again; nothing is lost."""
    async with serving(tmp_path, name="one") as one:
        server = server_pid(tmp_path)
        await one.say("p1", "你好")
        await one.said("p1", 1)
        async with serving(tmp_path, name="two") as two:
            assert server_pid(tmp_path) == server
            for number in range(12):
                await (one, two)[number % 2].say(f"q{number}", "你好")
            told = [two, one]
            end = asyncio.get_running_loop().time() + 10
            while sum(len(each.graph.sent) for each in told) < 13:
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.05)
            assert await one.end() == 0
            await two.ready(20)
            assert server_pid(tmp_path) not in (0, server)
            await two.say("p1", "你好")
            await two.said("p1", 1, timeout=10)
            os.kill(server_pid(tmp_path), signal.SIGKILL)
            await asyncio.sleep(0.2)
            await two.ready(20)
            await two.say("p2", "你好")
            await two.said("p2", 1, timeout=10)
            assert sum(len(each.graph.sent) for each in told) == 15


@pytest.mark.timeout(120)
async def test_a_serve_that_is_killed_leaves_nothing_in_the_way_of_the_next(tmp_path):
    """kill -9 of the supervisor: its processes end by themselves, its server is adopted, and stopped at the end."""
    async with serving(tmp_path, name="one", processes=2) as one:
        server = server_pid(tmp_path)
        await one.say("p1", "你好")
        await one.said("p1", 1)
        one.process.kill()
        async with serving(tmp_path, name="two", port=one.port) as two:
            end = asyncio.get_running_loop().time() + 40
            while "ready after" not in two.said_by_supervisor():  # /readyz may have been the last word of the first's
                assert asyncio.get_running_loop().time() < end, two.said_by_supervisor()
                await asyncio.sleep(0.05)
            assert server_pid(tmp_path) == server
            await two.say("p1", "你好")
            await two.said("p1", 1)
            assert await two.end() == 0
            assert server_pid(tmp_path) == 0
            assert not EmbeddedServer(tmp_path / "var" / "valkey").alive()
            assert " ended (" not in two.said_by_supervisor()


@pytest.mark.timeout(120)
async def test_what_was_adopted_goes_on_for_who_stays(tmp_path):
    """Two after one that was killed: the first to leave leaves their server, the last one stops it."""
    async with serving(tmp_path, name="one") as one:
        server = server_pid(tmp_path)
        one.process.kill()
        async with serving(tmp_path, name="two") as two, serving(tmp_path, name="three") as three:
            assert await two.end() == 0
            assert server_pid(tmp_path) == server
            await three.say("p1", "你好")
            await three.said("p1", 1)
            assert await three.end() == 0
            assert server_pid(tmp_path) == 0
