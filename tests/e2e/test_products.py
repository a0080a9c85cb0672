"""The catalogue through the shop's own door, and what others may ask of it."""

from __future__ import annotations

import time

from bot import keys
from bot.access import create_token
from bot.codec import dump_record
from bot.records import Buyer
from tests.gateway import rfc, running

EXTRA = """
[shops.second]
type = "standard"
secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""


def price(amount: str) -> dict:
    return {"amount": amount, "currency": "CNY"}


COAT = {"id": "31", "title": "羊毛双面大衣 秋冬新款", "short_title": "双面大衣", "variants": [
    {"sku": "WC-S", "options": {"size": "S"}, "price": price("899.00"), "stock": 0},
    {"sku": "WC-M", "options": {"size": "M"}, "price": price("799.00"), "stock": 3}]}  # fmt: skip


async def test_items_by_id_and_sku(valkey, redis_client, tmp_path):
    """What a campaign or broadcast may say of a product: by its id, by a variant's SKU, as it is at this moment."""
    async with running(valkey, tmp_path, extra=EXTRA) as gw:
        assert (await gw.shop("product.upserted", "p1", {"product": COAT}))[0] == 200
        await gw.idle()
        catalogue = gw.gateway.catalogue
        found = await catalogue.items(["31", "wc-s", "nothing"], ["main", "second"])
        assert set(found) == {"31", "wc-s"}
        whole, small = found["31"], found["wc-s"]
        assert (whole.title, whole.short_title, str(whole.price.amount), whole.stock) == (
            COAT["title"],
            "双面大衣",
            "799.00",
            3,
        )
        assert (small.ref, small.sku, str(small.price.amount), small.stock) == ("wc-s", "WC-S", "899.00", 0)
        sold = {"product": {"id": "31", "variants": [{"sku": "WC-M", "stock": 0}]}}
        assert (await gw.shop("stock.changed", "p2", sold))[0] == 200
        await gw.idle()
        assert (await catalogue.items(["31"], ["main"]))["31"].stock == 0
        assert (await gw.shop("product.removed", "p3", {"product": {"id": "31"}}))[0] == 200
        await gw.idle()
        gone = await catalogue.items(["31", "WC-M"], ["main"])
        assert set(gone) == {"31"}
        assert gone["31"].removed


async def test_the_copy_of_names_follows_every_change(valkey, redis_client, tmp_path):
    """Renamed, restocked, removed: each question is answered from what was committed before it."""
    async with running(valkey, tmp_path) as gw:
        catalogue = gw.gateway.catalogue
        for n in range(20):
            await gw.shop("product.upserted", f"n{n}", {"product": {"id": str(n), "title": f"衬衫{n}号"}})
        await gw.idle()
        assert await catalogue.count() == 20
        assert [p.id for p in await catalogue.find("衬衫7号")] == ["7"]
        assert [p.id for p in await catalogue.find("想要衬衫")] == []
        await gw.shop("product.upserted", "again", {"product": {"id": "7", "title": "亚麻长裙", "short_title": "长裙"}})
        await gw.idle()
        assert [p.id for p in await catalogue.find("衬衫7号")] == []
        assert [p.id for p in await catalogue.find("那条长裙")] == ["7"]


async def test_notices_say_the_catalogues_short_titles(valkey, redis_client, tmp_path):
    """An order and a cart with long titles: by product id, by SKU; the shop's own short title counts first."""
    async with running(valkey, tmp_path) as gw:
        await gw.shop("product.upserted", "p1", {"product": COAT})
        await gw.idle()
        await gw.say("p1", "你好")
        await gw.said("p1", 1)
        told = []
        long = "羊毛双面大衣 秋冬新款 驼色 中长"
        for n, item in enumerate(({"title": long, "product_id": "31"}, {"title": long, "sku": "WC-M"},
                                  {"title": long, "sku": "WC-M", "short_title": "驼色大衣"}, {"title": long, "sku": "OTHER"})):  # fmt: skip
            order = {
                "id": f"o{n}",
                "number": f"#{n}",
                "total": price("899.00"),
                "paid_at": rfc(time.time()),
                "items": [{**item, "qty": 1}],
            }
            await gw.shop("order.paid", f"o{n}", {"order": order, "buyer": {"address": "messenger-main:p1"}})
            told.append((await gw.said("p1", 2 + n))[-1])
        for text, name in zip(told, ("双面大衣预计", "双面大衣预计", "驼色大衣预计", "羊毛双面大衣预计"), strict=True):
            assert name in text


async def test_two_shops_may_have_one_id(valkey, redis_client, tmp_path):
    """Then a call says whose; a list may be of one shop alone."""
    async with running(valkey, tmp_path, extra=EXTRA) as gw:
        token = await create_token(gw.gateway.store, "test", "owner")
        head = {"Authorization": f"Bearer {token}"}

        async def call(method: str, path: str, **body):
            sent = {"json": body} if body else {}
            async with gw.session.request(method, f"{gw.base}/api/v1{path}", headers=head, **sent) as answer:
                return answer.status, await answer.json()

        status, told = await call("PUT", "/products/1", title="大衣")
        assert (status, told["errors"][0]["field"]) == (400, "shop")
        for shop in ("main", "second"):
            assert (await call("PUT", f"/products/1?shop={shop}", title=f"大衣 {shop}"))[0] == 201
        status, told = await call("GET", "/products/1")
        assert (status, told["errors"][0]["field"]) == (400, "shop")
        assert (await call("GET", "/products/1?shop=second"))[1]["title"] == "大衣 second"
        assert [p["shop"] for p in (await call("GET", "/products?q=大衣&shop=main"))[1]["items"]] == ["main"]
        assert len((await call("GET", "/products?q=大衣"))[1]["items"]) == 2


async def test_an_older_release_left_something_else_there(valkey, redis_client, tmp_path):
    """A release that knew no products took its event for a buyer's: the next event begins the product anew."""
    async with running(valkey, tmp_path) as gw:
        store = gw.gateway.store
        subject = "product:main:31"
        left = dump_record(Buyer(id="b_x", home=subject, created_at=1))
        await store.command("SET", keys.record(store.partition(subject), subject), left)
        await gw.shop("product.upserted", "p1", {"product": COAT})
        await gw.idle()
        assert (await gw.gateway.catalogue.get("main", "31")).title == COAT["title"]
