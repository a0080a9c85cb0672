"""The contract, products: put, find, remove; exact faults; events and REST meet in one record."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from console.api.answers import Product
from tests.console.served import Served, until

COAT = {
    "title": "羊毛双面大衣",
    "short_title": "双面大衣",
    "url": "https://shop.example/p/coat",
    "image_url": "https://shop.example/i/coat.jpg",
    "categories": ["外套"],
    "style_tags": ["formal"],
    "care": "干洗",
    "size_chart": [{"size": "M", "measures": {"bust": "84-88", "height": "160-165"}}],
    "variants": [
        {"sku": "WC-S", "options": {"size": "S", "color": "驼色"}, "price": {"amount": "899.00", "currency": "CNY"}, "stock": 0},
        {"sku": "WC-M", "options": {"size": "M", "color": "驼色"}, "price": {"amount": "899.00", "currency": "CNY"}, "stock": 3},
    ],
}  # fmt: skip


def put(gw: Served, id: str, body: dict, **headers):
    return gw.api("PUT", f"/products/{quote(id, safe='')}", body, **headers)


def test_a_product_in_full(gw: Served) -> None:
    """Put, read back at once, found by words, by short title and by SKU; put again it is replaced whole."""
    first = put(gw, "c/31", COAT)
    assert first.status == 201, first.raw
    Product.model_validate(first.json)
    assert {name: first.json[name] for name in COAT} == COAT
    assert (first.json["id"], first.json["shop"], first.json["stock"], first.json["removed"]) == (
        "c/31",
        "main",
        3,
        False,
    )
    assert gw.get(f"/products/{quote('c/31', safe='')}") == first.json
    for query in ({"q": "羊毛 大衣"}, {"q": "双面大衣"}, {"sku": "wc-m"}, {"q": "ＷＣ", "limit": "1"}):
        found = gw.get("/products", **query)["items"]
        assert (first.json in found) is ("ＷＣ" not in str(query)), query
    second = put(gw, "c/31", {"title": "羊毛大衣"})
    assert second.status == 200
    assert second.json["variants"] == second.json["size_chart"] == second.json["categories"] == []
    assert (second.json["short_title"], second.json["url"], second.json["stock"]) == ("", None, None)
    assert "c/31" not in [found["id"] for found in gw.get("/products", sku="WC-M")["items"]]


def test_lists_are_paged_whole(gw: Served) -> None:
    for n in range(7):
        assert put(gw, f"page-{n}", {"title": f"翻页测试{n}号"}).status == 201
    found = [product["id"] for product in gw.all("/products", 3, q="翻页测试")]
    assert sorted(found) == [f"page-{n}" for n in range(7)]
    assert gw.api("GET", "/products?q=a&sku=b").kind == "bad-parameter"
    assert gw.api("GET", "/products?cursor=made-up").kind == "bad-parameter"
    assert gw.api("GET", "/products?shop=nobody").fields == {"shop"}


def test_a_removed_product_is_kept_but_not_found(gw: Served) -> None:
    put(gw, "gone-1", {"title": "下架测试衫"})
    answer = gw.api("DELETE", "/products/gone-1")
    assert (answer.status, answer.json["removed"]) == (200, True)
    assert gw.get("/products/gone-1")["removed"] is True
    assert gw.get("/products", q="下架测试衫")["items"] == []
    assert put(gw, "gone-1", {"title": "下架测试衫"}).status == 201
    assert len(gw.get("/products", q="下架测试衫")["items"]) == 1
    assert gw.api("DELETE", "/products/never").kind == "not-found"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": None}, "title"),
        ({"short_title": "七个汉字的短名"}, "short_title"),
        ({"url": "shop.example/p"}, "url"),
        ({"id": "other"}, "id"),
        ({"size_chart": [{"measures": {}}]}, "size_chart.0.size"),
        ({"variants": [{"sku": "A", "stock": -1}]}, "variants.0.stock"),
        ({"variants": [{"sku": "A", "stock": 1.5}]}, "variants.0.stock"),
        ({"variants": [{"sku": "A", "price": {"amount": "1,5", "currency": "CNY"}}]}, "variants.0.price.amount"),
        ({"variants": [{"sku": "A", "price": {"amount": "1", "currency": "XXQ"}}]}, "variants.0.price.currency"),
        ({"variants": [{"sku": "A"}, {"sku": "A"}]}, "variants"),
        ({"variants": [{"options": {"size": "S"}}]}, "variants.0.sku"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_faults_name_their_field(gw: Served, change: dict, field: str) -> None:
    answer = put(gw, "faulty", {**COAT, **change})
    assert (answer.status, answer.kind) == (400, "bad-body")
    assert answer.fields == {field}
    assert gw.api("GET", "/products/faulty").kind == "not-found"


def test_events_and_rest_meet_in_one_record(gw: Served) -> None:
    """A stock that was told before the product, one after it, and an older one that counts for nothing."""

    def tell(kind: str, n: int, at: str, **product) -> None:
        event = {"type": kind, "id": f"ev-{n}", "shop": "main", "occurred_at": at, "data": {"product": product}}
        assert gw.api("POST", "/events", event).status == 202

    def stock(value: int) -> None:
        until(lambda: gw.api("GET", "/products/ev-31").json.get("stock") == value, 10, f"stock {value}")

    tell("stock.changed", 1, "2026-01-03T00:00:00Z", id="ev-31", variants=[{"sku": "EV", "stock": 5}])
    tell(
        "product.upserted", 2, "2026-01-02T00:00:00Z", id="ev-31", title="事件衫", variants=[{"sku": "EV", "stock": 9}]
    )
    stock(5)
    tell("stock.changed", 3, "2026-01-04T00:00:00Z", id="ev-31", variants=[{"sku": "EV", "stock": 0}])
    stock(0)
    bad = {"type": "stock.changed", "id": "ev-4", "shop": "main", "occurred_at": "2026-01-04T00:00:00Z",
           "data": {"product": {"id": "ev-31", "variants": [{"sku": "EV"}]}}}  # fmt: skip
    assert gw.api("POST", "/events", bad).fields == {"data.product.variants.0.stock"}
    assert gw.get("/products/ev-31/waiting") == {"items": [], "next_cursor": None}


def test_roles_and_keys(gw: Served) -> None:
    assert put(gw, "role-1", {"title": "x"}, role="read-only").status == 403
    assert put(gw, "role-1", {"title": "x"}, role="service").status == 403
    one = put(gw, "role-1", {"title": "x"}, Idempotency_Key="product-1")
    again = put(gw, "role-1", {"title": "x"}, Idempotency_Key="product-1")
    assert (one.status, one.json) == (again.status, again.json)
    assert put(gw, "role-1", {"title": "y"}, Idempotency_Key="product-1").status == 409


def test_a_campaign_names_products(gw: Served) -> None:
    """By id or SKU of the catalogue; shown by GET, spoken of in chat; what is not there is named by its place."""
    put(gw, "camp-1", {**COAT, "variants": [{"sku": "CAMP-M", "stock": 1}]})
    make = {"key": "NAMED1", "title": "满减", "kind": "amount_off", "value": "50", "stock": 5}
    bad = gw.api("POST", "/campaigns", {**make, "items": ["camp-1", "nobody"]})
    assert (bad.status, bad.fields) == (400, {"items.1"})
    made = gw.api("POST", "/campaigns", {**make, "items": ["camp-1", "CAMP-M", "camp-1"]})
    assert (made.status, made.json["items"]) == (201, ["camp-1", "CAMP-M"])
    changed = gw.api("PATCH", "/campaigns/NAMED1", {"items": ["camp-1"]})
    assert changed.json["items"] == gw.get("/campaigns/NAMED1")["items"] == ["camp-1"]
    time.sleep(3)  # what a process knows of campaigns may be a second old, and the first answer is the one
    gw.say("messenger-main", "领 NAMED1", "7731901")
    gw.told("messenger-main", "减50元，双面大衣适用，券码 ", "7731901")
    assert "items" not in gw.api("PATCH", "/campaigns/NAMED1", {"items": []}).json
