"""A small invented shop, told event by event through the front door: segments find whom its own rows say."""

from __future__ import annotations

import time
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bench.shops import Shop
from bench.shops_events import envelopes, rows
from ledger import tables
from ledger.segments import Moment, parse, where_of
from tests.gateway import running
from tests.ledger.plain import People


async def test_orders_told_by_a_shop_are_found(valkey, tmp_path):
    now = int(time.time() * 1000)
    made = rows(Shop(90, seed=5, now=now))
    people = _plain(made, now)
    async with running(valkey, tmp_path, ledger=True) as gw:
        for envelope in envelopes(made):
            answer = await gw.shop(envelope["type"], envelope["id"], envelope["data"])
            assert answer[0] == 200, answer
        await gw.idle()
        await gw.projected()
        for test in (
            {"field": "orders.count", "op": ">=", "value": 2},
            {"field": "orders.count", "op": ">=", "value": 1, "since": {"days": 200}},
            {"field": "orders.spent", "op": ">=", "value": "300", "until": {"days": 100}},
            {"field": "orders.last", "op": "before", "value": {"days": 300}},
            {"field": "orders.first", "op": "within", "value": {"days": 300}},
            {"field": "orders.average", "op": "<", "value": "180"},
            {"field": "orders.city", "op": "in", "value": ["上海", "北京", "广州"]},
            {"field": "orders.pay", "op": "=", "value": "unpaid"},
            {"field": "items.product", "op": "in", "value": ["p0000", "p0001", "p0002"]},
            {"field": "items.sku", "op": "not_in", "value": ["p0000-M", "p0001-L"]},
            {"field": "items.title", "op": "contains", "value": "衣"},
            {"field": "lifecycle", "op": "in", "value": ["asleep", "pre_churn"]},
        ):
            where = {"all": [test, {"field": "items.title", "op": "known", "value": True}]}
            assert await _found(gw, where, now) == {people.buyers[id]["name"] for id in people.inside(where)}, test


def _plain(made: dict[str, list[dict[str, Any]]], now: int) -> People:
    """Every buyer alive, by a name of their own; amounts as the ledger gives them."""
    for n, buyer in enumerate(made["buyers"]):
        buyer |= {"name": f"买家 {n}", "erased": False, "merged_into": "", "r": 0, "f": 0, "m": 0}
        for name in ("spent", "average_order"):
            buyer[name] = tables.Amount().process_result_value(buyer[name], None)
    refunded = {row["subject"] for row in made["orders"] if row["pay"] == "refunded"}
    for order in made["orders"]:
        order["total"] = tables.Amount().process_result_value(order["total"], None)
        order["pay"] = "paid" if order["subject"] in refunded else order["pay"]
    return People(made, now, ZoneInfo("Asia/Shanghai"))


async def _found(gw, where: Any, now: int) -> set[str]:
    condition = where_of(parse(where), Moment(now, ZoneInfo("Asia/Shanghai"), "CNY"))
    async with gw.gateway.history.connection() as connection:
        return set((await connection.execute(select(tables.buyers.c.name).where(condition))).scalars())
