"""What fields of conditions are called in a language of the console."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.segments.kinds import Field

TAIWAN: Mapping[str, str] = {
    "buyer.id": "買家編號",
    "buyer.name": "姓名",
    "buyer.locale": "語言",
    "buyer.gender": "性別",
    "buyer.age": "年齡",
    "buyer.age_band": "年齡層",
    "buyer.birthday_month": "生日月份",
    "buyer.birthday_day": "生日日期",
    "buyer.birthday_in": "距離生日天數",
    "buyer.tags": "標籤",
    "buyer.size": "尺寸",
    "buyer.created": "建檔時間",
    "buyer.last_in": "最近來訊",
    "member.is": "是否為會員",
    "member.level": "會員等級",
    "member.points": "點數",
    "member.joined": "入會時間",
    "member.source": "入會來源",
    "consent.marketing": "行銷訊息同意",
    "consent.coupons": "折價券提醒同意",
    "consent.calls": "電話同意",
    "consent.service": "服務通知同意",
    "consent.can_market": "可發行銷訊息",
    "channels.account": "管道帳號",
    "channels.reachable": "可聯繫到",
    "channels.opted_out": "已退訂",
    "channels.window_open": "聊天視窗開啟",
    "orders.count": "付款訂單數",
    "orders.spent": "累計消費",
    "orders.average": "平均客單價",
    "orders.first": "首次付款下單",
    "orders.last": "最近下單",
    "orders.pay": "付款狀態",
    "orders.ship": "物流狀態",
    "orders.refund": "退款狀態",
    "orders.city": "收貨城市",
    "orders.shop": "下單商店",
    "items.sku": "買過的 SKU",
    "items.product": "買過的商品",
    "items.title": "買過的商品名稱",
    "coupons.campaign": "持有活動折價券",
    "coupons.state": "折價券狀態",
    "coupons.expires_in": "折價券到期天數",
    "messages.last_marketing": "最近行銷訊息",
    "messages.broadcast": "收到過的群發",
    "messages.state": "訊息狀態",
    "rfm.r": "最近消費 R",
    "rfm.f": "消費頻率 F",
    "rfm.m": "消費金額 M",
    "lifecycle": "生命週期",
}
"""The words of Taiwan; a field that is missing here goes by its Chinese title."""


def title(field: Field, lang: str) -> str:
    """A field's name on a page of this language."""
    if lang == "en":
        return field.en
    return TAIWAN.get(field.name, field.zh) if lang == "zh-TW" else field.zh
