"""Stock and size on three channels: a simulated buyer writes, the shop's own products answer, the waiting list knows who asked."""

from __future__ import annotations

import pytest

from tests.console.served import IDS, Served, until

CHART = [
    {"size": "M", "measures": {"身高": "160-165", "体重": "50-57"}},
    {"size": "L", "measures": {"身高": "165-172", "体重": "57-65"}},
]


@pytest.mark.parametrize("account", ["wechat-main", "messenger-main", "sms-main"])
def test_is_it_in_stock_and_which_size(gw: Served, account: str) -> None:
    """Put by REST, asked in chat, sold out by an event, waited for: each answer is the catalogue's of that moment."""
    name = {"wechat-main": "灯芯绒外套", "messenger-main": "针织开衫", "sms-main": "工装长裤"}[account]
    body = {
        "title": f"{name} 秋冬新款", "short_title": name, "url": "https://shop.example/p/1", "size_chart": CHART,
        "variants": [{"sku": f"{account}-M", "options": {"size": "M"}, "price": {"amount": "299.00", "currency": "CNY"}, "stock": 4}],
    }  # fmt: skip
    assert gw.api("PUT", f"/products/chat-{account}", body).status == 201
    gw.say(account, f"{name}M码有货吗")
    gw.told(account, f"{name} M 有货，299元。")
    gw.say(account, f"{name}穿什么码")
    gw.told(account, "身高（厘米）和体重（公斤）")
    gw.say(account, "163 52")
    gw.told(account, f"按身高 163 厘米、体重 52 公斤，{name}建议 M。M 有货。")
    sold = {"product": {"id": f"chat-{account}", "variants": [{"sku": f"{account}-M", "stock": 0}]}}
    now = gw.sandbox("GET", "/clock").json["now"]
    event = {"type": "stock.changed", "id": f"sold-{account}", "shop": "main", "occurred_at": now, "data": sold}
    assert gw.api("POST", "/events", event).status == 202
    until(lambda: gw.get(f"/products/chat-{account}")["stock"] == 0, 10, "sold out")
    gw.say(account, "M码有吗")
    gw.told(account, f"{name} M 暂时没货")
    gw.say(account, "1")
    gw.told(account, "到货时告诉您一次")
    buyer = gw.buyer(account, IDS[account], "在吗")
    (row,) = until(lambda: gw.get(f"/products/chat-{account}/waiting")["items"], 10, "the waiting list")
    assert (row["buyer"], row["sku"]) == (buyer["id"], f"{account}-M")
    gw.say(account, "睡袋有货吗")
    gw.told(account, "没找到这一款")


def test_the_sandboxs_own_product_can_be_asked_about(gw: Served) -> None:
    """A newcomer places an order and asks: the shop sells a shirt, S is out."""
    gw.sandbox("POST", "/shops/main/place", {"buyer": {"ref": "c6611", "phones": ["+8613900006611"]}})
    gw.buyer("sms-main", "+8613900006611", "在吗")
    until(lambda: gw.get("/buyers", phone="+8613900006611")["items"][0]["orders"], 10, "the order")
    gw.say("sms-main", "有货吗", "+8613900006611")
    gw.told("sms-main", "亚麻衬衫有货：M、L，188元。S 暂时没货。", "+8613900006611")
    gw.say("sms-main", "穿什么码", "+8613900006611")
    gw.told("sms-main", "亚麻衬衫穿哪个码", "+8613900006611")


def test_an_erased_buyer_waits_no_more(gw: Served) -> None:
    """Neither in the list nor under any name in it."""
    sold_out = {"title": "羽绒马甲", "variants": [{"sku": "VEST", "options": {"size": "M"}, "stock": 0}]}
    assert gw.api("PUT", "/products/vest", sold_out).status == 201
    buyer = gw.buyer("messenger-main", "7731950", "羽绒马甲有货吗")
    gw.told("messenger-main", "暂时没货", "7731950")
    gw.say("messenger-main", "1", "7731950")
    until(lambda: gw.get("/products/vest/waiting")["items"], 10, "the wish")
    assert gw.api("DELETE", f"/buyers/{buyer['id']}").status == 202
    until(lambda: not gw.get("/products/vest/waiting")["items"], 10, "the list without the buyer")
