"""The results of a broadcast that was cancelled in the middle, read from the API and reconciled to the message."""

from __future__ import annotations

from collections import Counter

import pytest

from bot.access import create_token
from bot.broadcasts import Variant
from tests.console.test_api import Api
from tests.e2e.broadcasting import shop_on
from tests.e2e.test_broadcasts import wait_for

BUYERS = 3_000
SENT = ("sent", "delivered", "read")

pytestmark = pytest.mark.timeout(180)


async def everything(api: Api, path: str) -> list[dict]:
    """Every item of a list, page by page."""
    found, cursor = [], ""
    while cursor is not None:
        status, page = await api("GET", f"{path}&limit=200&cursor={cursor}")
        assert status == 200, page
        found += page["items"]
        cursor = page["next_cursor"]
    return found


async def test_whom_it_had_not_come_to_has_a_row_with_the_reason(valkey, redis_client, tmp_path):
    """Rows by outcome, by reason, by account and by version are the counts; the provider's own list is the sent ones."""
    async with shop_on(valkey, tmp_path, ledger=True) as shop:
        gateway = shop.gw.gateway
        buyers = await shop.buyers(BUYERS)
        shop.gw.graph.delay = 0.05
        versions = (Variant("a", 1), Variant("b", 1, text={"zh-CN": "好{{ name }}"}))
        made = await shop.submit(buyers, variants=versions, rate_per_second=200)  # so most are not planned yet
        await wait_for(lambda: len(shop.gw.graph.sent) > 40)
        await shop.broadcasts.cancel(made.id, "lin")
        assert (await shop.look(made.id)).pending < BUYERS / 2  # whoever is not planned is skipped at once
        await shop.until(made.id, "cancelled")
        await shop.gw.idle()
        await shop.gw.projected()

        api = Api(shop.gw, await create_token(gateway.store, "tests", "owner"))
        _, shown = await api("GET", f"/broadcasts/{made.id}")
        rows = await everything(api, f"/messages?broadcast={made.id}")
        states, counts = Counter(row["state"] for row in rows), shown["counts"]
        told = [body["recipient"]["id"] for body in shop.gw.graph.sent]

        assert (len(rows), counts["planned"]) == (BUYERS, BUYERS)
        assert {row["buyer"] for row in rows} == {buyer.id for buyer in buyers}
        assert sum(states[name] for name in SENT) == counts["sent"] == len(told) == len(set(told))
        assert (states["skipped"], counts["pending"]) == (counts["skipped"], 0)
        assert Counter(row["reason"] for row in rows if row["state"] == "skipped") == shown["skipped_by_reason"]
        assert shown["skipped_by_reason"] == {"cancelled": BUYERS - len(told)}
        for sums in (shown["by_account"], {one["name"]: one["counts"] for one in shown["variants"]}):
            assert sum(n for by_state in sums.values() for state, n in by_state.items()) == BUYERS
        assert Counter((row["account"] or "", row["state"]) for row in rows) == Counter(
            {(name, state): n for name, by_state in shown["by_account"].items() for state, n in by_state.items()}
        )

        never = [row for row in rows if row["account"] is None]
        assert len(never) > BUYERS / 2  # the test is about them
        _, one = await api("GET", f"/messages/{never[0]['id']}")
        assert [(step["state"], step["reason"]) for step in one["history"]] == [("skipped", "cancelled")]
        _, why = await api("GET", f"/decisions?message={one['id']}")
        assert [(d["outcome"], d["buyer"], d["source"]) for d in why["items"]] == [
            ("skip", one["buyer"], f"broadcast:{made.id}")
        ]
        assert why["items"][0]["rules"][0]["rule"] == "broadcast"
        _, timeline = await api("GET", f"/buyers/{one['buyer']}/timeline")
        assert [line["ref"] for line in timeline["items"]] == [one["id"]]
