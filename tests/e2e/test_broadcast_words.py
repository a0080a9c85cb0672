"""What a broadcast says to whom: values, fallbacks, the two ways of a trial. The rest is test_broadcasts.py."""

from __future__ import annotations

import pytest

from bot.broadcasts import Variant
from bot.records import Member
from tests.audiences import keep
from tests.e2e.broadcasting import shop_on

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def shop(valkey, redis_client, tmp_path):
    async with shop_on(valkey, tmp_path) as it:
        yield it


async def test_who_has_no_value_for_a_variable_is_skipped_unless_there_is_a_fallback(shop):
    named, nameless = await shop.buyers(2)
    nameless.name = ""
    await keep(shop.gw.gateway.store, [nameless])
    named.member = Member("801234567890")
    await keep(shop.gw.gateway.store, [named, nameless])
    card = {"zh-CN": "会员日到了，卡号 {{ card }}"}
    counts = await shop.until((await shop.submit([named, nameless], text=card)).id, "done")
    assert (counts.sent, counts.skipped_by_reason) == (1, {"missing_value": 1})
    text = {"zh-CN": '{{ name | default("亲") }}，会员日到了'}
    await keep(shop.gw.gateway.store, [nameless])  # as if nothing had been sent this week
    counts = await shop.until((await shop.submit([nameless], text=text)).id, "done")
    assert shop.gw.graph.texts(nameless.addresses[0].id) == ["亲，会员日到了"]


async def test_who_told_no_name_is_called_a_friend(shop):
    [nameless] = await shop.buyers(1)
    nameless.name = ""
    await keep(shop.gw.gateway.store, [nameless])
    assert (await shop.until((await shop.submit([nameless])).id, "done")).sent == 1
    assert shop.gw.graph.texts(nameless.addresses[0].id) == ["会员日到了，朋友"]


async def test_a_share_is_held_out_and_the_rest_hear_one_of_two_ways(shop):
    buyers = await shop.buyers(200)
    variants = (Variant("a", 1, text={"zh-CN": "甲"}), Variant("b", 3, text={"zh-CN": "乙"}))
    made = await shop.submit(buyers, holdout_percent=20, variants=variants)
    counts = await shop.until(made.id, "done")
    held = counts.skipped_by_reason["holdout"]
    assert 20 <= held <= 65
    assert counts.sent == 200 - held
    said = shop.gw.graph.texts()
    assert said.count("甲") + said.count("乙") == counts.sent
    assert said.count("甲") < said.count("乙")
    assert counts.by_variant["a"]["sent"] == said.count("甲")
    assert counts.by_variant["b"]["sent"] == said.count("乙")
