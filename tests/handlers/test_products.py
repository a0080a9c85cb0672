"""Stock, price and size in chat: whole turns, each answer from what the catalogue holds at that moment."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import pytest
from msgspec import structs

from bot import sizing, subjects
from bot.events import (
    BuyerFacts,
    Event,
    Item,
    Money,
    ProductFacts,
    RefundFacts,
    RefundItem,
    ShopEvent,
    SizeRow,
    VariantFacts,
)
from bot.records import Product
from handlers.item_search import split_size
from tests.bot.test_orders import T, event, order_facts
from tests.desk import PHONE, Desk

CHART = (
    SizeRow("S", {"身高": "150-160", "体重": "80-100斤"}),
    SizeRow("M", {"身高": "160-165", "体重": "100-114斤"}),
    SizeRow("L", {"身高": "165-172", "体重": "114-130斤"}),
)
PRICE = Money(Decimal("899.00"), "CNY")
COAT = ProductFacts(
    "31", title="羊毛双面大衣", short_title="双面大衣", url="https://shop.example/p/31", size_chart=CHART, categories=("外套",),
    variants=(VariantFacts("WC-S", "S", "驼色", PRICE, 0), VariantFacts("WC-M", "M", "驼色", PRICE, 3), VariantFacts("WC-L", "L", "黑色", PRICE, 2)),
)  # fmt: skip
SHIRT = ProductFacts(
    "34", title="Linen Shirt", variants=(VariantFacts("LS-S", "S", price=PRICE, stock=0), VariantFacts("LS-M", "M", price=PRICE, stock=1))
)  # fmt: skip
BAG = ProductFacts("32", title="帆布包")


def told(kind: str, facts: ProductFacts, at: int = T, **data: str) -> Event:
    body = ShopEvent(kind, "main", at, product=facts, data=data)
    return Event("", subjects.product("main", facts.id), "main", at, at, body)


@pytest.fixture
def desk() -> Desk:
    desk = Desk(T)
    desk.post(*(told("product.upserted", facts) for facts in (COAT, BAG, SHIRT)))
    desk.settle()
    return desk


def says(desk: Desk, *texts: str, id: str = "p1", account: str = "chat") -> str:
    for text in texts:
        desk.sent.clear()
        desk.says(id, text, account)
        assert len(desk.sent) == 1, (text, desk.told)
    return desk.sent[-1].content.text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("双面大衣有货吗", ("双面大衣有货", "：M、L", "899元", "S 暂时没货", "https://shop.example/p/31")),
        ("双面大衣M码有吗？", ("双面大衣 M 有货",)),
        ("双面大衣 s码有货吗", ("双面大衣 S 暂时没货", "现在有 M、L", "1 要")),
        ("双面大衣XL码有吗", ("没有 XL 码", "M、L")),
        ("WC-M有货吗", ("双面大衣",)),
        ("黑色双面大衣有货吗", ("双面大衣 黑色 有货",)),
        ("帆布包有没有货", ("库存这里查不到", "回复 1")),
        ("睡袋有货吗", ("没找到这一款", "1 找客服")),
        ("双面大衣多少钱", ("双面大衣 899元：https://shop.example/p/31",)),
        ("Is the linen shirt in stock?", ("Linen Shirt is in stock: M", "Out for now: S")),
        ("how much is linen shirt", ("Linen Shirt: CNY 899",)),
        ("雙面大衣有貨嗎", ("找不到這一款",)),
    ],
)
def test_questions_about_an_item(desk, text, parts):
    answer = says(desk, text)
    for part in parts:
        assert part in answer
    assert "仅剩" not in answer
    assert "3" not in answer.replace("31", "").replace("1 找", "")


def test_the_item_that_was_spoken_of_is_meant(desk):
    """Asked once by name, then by size alone; without any, the question is which one; its answer is looked up."""
    assert "哪一款" in says(desk, "有货吗")
    assert "双面大衣有货" in says(desk, "双面大衣")
    assert desk.buyer("address:chat:p1").addresses[0].dialog.state == ""
    assert "M 有货" in says(desk, "M码有吗")
    assert "899元" in says(desk, "多少钱")


def test_an_order_and_a_cart_tell_what_is_meant(desk):
    """The item of the last order, by its product id; the size that was ordered is spoken of in advice."""
    item = Item(title="羊毛双面大衣", product_id="31", sku="WC-S", size="S")
    facts = structs.replace(order_facts(pay_state="paid"), items=(item,))
    desk.post(event("order.paid", 0, "order:main:5001", order=facts, buyer=BuyerFacts(address="chat:p1")))
    desk.settle()
    desk.says("p1", "你好")
    assert "S 暂时没货" in says(desk, "S码有吗")
    assert "双面大衣" in says(desk, "有货吗")
    assert "您选的是 S" in says(desk, "穿什么码", "165 52")


def test_several_fit_and_one_is_chosen(desk):
    desk.post(
        told("product.upserted", ProductFacts("33", title="羊毛短大衣", variants=(VariantFacts("X", "M", stock=1),)))
    )
    desk.settle()
    assert "好几款" in says(desk, "羊毛有货吗")
    assert [choice.label for choice in desk.sent[-1].content.choices] == ["双面大衣", "羊毛短大衣"]
    assert "有货" in says(desk, "2")


@pytest.mark.parametrize(
    ("text", "told"),
    [("请问这件有货吗", "双面大衣有货"), ("这件M码有吗", "M 有货"), ("有M码吗", "M 有货"), ("它多少钱", "899元"), ("你好，请问双面大衣还有货吗", "双面大衣有货"),
     ("这款大衣多少钱", "双面大衣 899元"), ("那个穿什么码", "身高"), ("我165 52公斤穿什么码", "建议 M"), ("165/104斤穿多大", "建议 M"), ("is this in stock", "is in stock"),
     ("is it available?", "is in stock"), ("how much is this one", "CNY 899")],
)  # fmt: skip
def test_this_one_is_the_one_that_was_spoken_of(desk, text, told):
    says(desk, "双面大衣有货吗")
    answer = says(desk, text)
    assert told in answer


def test_a_body_without_an_item_is_kept(desk):
    assert "哪一款" in says(desk, "165 52穿什么码")
    assert "建议 M" in says(desk, "双面大衣")


# --- size -------------------------------------------------------------------------------------------------------------


def test_size_is_asked_once_and_kept(desk):
    """Height and weight in any spelling; the next item needs no question; a change can be told."""
    assert "身高" in says(desk, "双面大衣穿什么码")
    assert "没看懂" in says(desk, "随便")
    answer = says(desk, "165cm，体重104斤")
    assert "按身高 165 厘米、体重 52 公斤" in answer
    assert "建议 M。M 有货" in answer
    assert desk.buyer("address:chat:p1").sizes == {"height": "165", "weight": "52"}
    assert "建议 M" in says(desk, "双面大衣穿多大")
    assert "身高" in says(desk, "1")
    assert "建议 L，喜欢合身选 M" in says(desk, "162 60")


@pytest.mark.parametrize("answer", ["跳过", "1"])
def test_size_may_stay_untold(desk, answer):
    """Then the usual size is all there is to go by; nothing is kept."""
    desk.says("p1", "你好")
    desk.asks("address:chat:p1", "patch", json.dumps({"sizes": {"top": "L"}}).encode())
    assert "您平时穿 L" in says(desk, "双面大衣穿什么码", answer)
    assert desk.buyer("address:chat:p1").sizes == {"top": "L"}
    assert desk.buyer("address:chat:p1").addresses[0].dialog.state == ""


def test_what_is_off_the_chart_goes_to_a_person(desk):
    assert "不想乱推荐" in says(desk, "双面大衣穿什么码", "190 110")
    assert "没有可对照的尺码表" in says(desk, "帆布包穿什么码")
    assert says(desk, "1")
    assert "handover" in {task.kind for task in desk.tasks.values()}


def test_a_size_warning(desk):
    """Another size than the usual one, and items that came back as too small, are spoken of when asked about."""
    desk.says("p1", "你好")
    desk.asks("address:chat:p1", "patch", json.dumps({"sizes": {"top": "L"}}).encode())
    assert "您平时穿 L" in says(desk, "双面大衣M码有吗")
    assert "您平时穿" not in says(desk, "双面大衣L码有吗")
    desk.post(told("product.returned", ProductFacts("31"), size_small="3"))
    desk.settle()
    assert "偏小退换过" in says(desk, "双面大衣有货吗")
    assert "偏小退换过" in says(desk, "双面大衣穿什么码", "165 52")


def refund(id: str, at: int, sku: str = "WC-M", reason: str = "size_small", qty: int = 2):
    facts = RefundFacts(id, kind="return_refund", items=(RefundItem(sku, "M", qty, reason),))
    return event("refund.requested", at, "order:main:5001", refund=facts)


def bought() -> Event:
    item = Item(title="羊毛双面大衣", product_id="31", sku="WC-M", size="M")
    return event(
        "order.paid", 0, "order:main:5001", order=structs.replace(order_facts(pay_state="paid"), items=(item,))
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_why_it_came_back_is_counted_once(desk, order):
    """By refund and reason, whatever is told first, told again, or in doubt of its product."""
    events = [bought(), refund("r1", 1), refund("r2", 2, reason="size_large", qty=1), refund("r3", 3, sku="OTHER")]
    for i in (*order, 1, 2):
        desk.post(events[i])
        desk.settle()
    product = desk.record("product:main:31")
    assert product.returned == {"size_small": 2, "size_large": 1}


# --- tell me when it is back ------------------------------------------------------------------------------------------


def test_who_waits_is_kept_with_the_wording(desk):
    """A wish of its own: no marketing consent; ended by no, and by an opt-out."""
    says(desk, "双面大衣S码有吗")
    assert "记下了" in says(desk, "1")
    buyer = desk.buyer("address:chat:p1")
    (wish,) = buyer.awaits
    assert (wish.product, wish.sku, wish.account, wish.to) == ("product:main:31", "WC-S", "chat", "p1")
    assert wish.wording.startswith("stock_no/zh-CN@")
    assert buyer.addresses[0].consent.marketing == "unknown"
    assert "不提醒" in says(desk, "1")
    assert desk.buyer("address:chat:p1").awaits == []
    says(desk, "双面大衣S码有吗", "1", "TD")
    assert desk.buyer("address:chat:p1").awaits == []


def test_a_color_that_is_one_variant_is_what_is_waited_for(desk):
    """Black is sold out, others are there: the wish is for the black one, not for any."""
    gone = ProductFacts("31", variants=(VariantFacts("WC-L", stock=0),))
    desk.post(told("stock.changed", gone, at=T + 1))
    desk.settle()
    assert "黑色 暂时没货" in says(desk, "黑色双面大衣有货吗")
    says(desk, "1")
    assert [wish.sku for wish in desk.buyer("address:chat:p1").awaits] == ["WC-L"]


def test_a_question_does_not_end_a_dialog(desk):
    """A card is being opened; the question is answered, and the number is still asked for."""
    desk.says("p1", "会员")
    state = desk.buyer("address:chat:p1").addresses[0].dialog.state
    assert "有货" in says(desk, "双面大衣有货吗")
    assert desk.buyer("address:chat:p1").addresses[0].dialog.state == state


def test_by_sms_too(desk):
    answer = says(desk, "双面大衣有货吗", id=PHONE, account="sms")
    assert answer.startswith("【小满衣橱】双面大衣有货")


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size", "rest"),
    [("双面大衣m码", "M", "双面大衣"), ("m", "M", ""), ("xl码", "XL", ""), ("2xl", "XXL", ""), ("牛仔裤 38", "38", "牛仔裤"),
     ("linen shirt m", "M", "linen shirt"), ("linen shirts", "", "linen shirts"), ("iphone 15", "15", "iphone"), ("双面大衣", "", "双面大衣"),
     ("", "", ""), ("均码", "FREE", ""), ("170", "170", "")],
)  # fmt: skip
def test_a_size_in_words(text, size, rest):
    assert split_size(text) == (size, rest)


@pytest.mark.parametrize(
    ("text", "body"),
    [("165 52", (165, 52)), ("52 165", (165, 52)), ("165cm 52kg", (165, 52)), ("身高165体重104斤", (165, 52)), ("1.65米，52公斤", (165, 52)),
     ("165，130", (165, 65)), ("我165的 110斤", (165, 55)), ("height 165 weight 52", (165, 52)), ("１６５／５２", (165, 52)), ("165", (165, None)),
     ("9999", (None, None)), ("高", (None, None))],
)  # fmt: skip
def test_what_people_say_of_their_bodies(text, body):
    found = sizing.said(text, ("height", "weight"))
    assert (found.get("height"), found.get("weight")) == body


def chart(*rows: tuple[str, dict[str, str]]) -> Product:
    return Product(
        "1", "main", "product:main:1", title="x", size_chart=tuple(SizeRow(size, cells) for size, cells in rows)
    )


@pytest.mark.parametrize(
    ("cells", "value", "size"),
    [(("≤160", "160-165", "165以上"), 150, "S"), (("≤160", "160-165", "165以上"), 163, "M"), (("≤160", "160-165", "165以上"), 180, "L"),
     (("155", "165", "175"), 166, "M"), (("150~158cm", "159~164cm", "165~170cm"), 158.4, "S"), (("", "160—165", ""), 170, "M"), (("x", "y", "z"), 160, "")],
)  # fmt: skip
def test_cells_of_charts(cells, value, size):
    product = chart(*zip(("S", "M", "L"), ({"身高": cell} for cell in cells), strict=True))
    found = sizing.advise(product, {"height": value})
    assert (found.size if found else "") == size
