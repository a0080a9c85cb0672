"""What can be asked of a buyer: the table of fields. `docs/segments.md` lists them; a test keeps the two alike."""

from __future__ import annotations

from sqlalchemy import and_, func

from bot.locales import LOCALES
from ledger.segments import predicates as ask
from ledger.segments.kinds import Field
from ledger.segments.lifecycle import STAGES
from ledger.segments.predicates import buyers, items, orders, ways

VERDICTS = ("granted", "refused", "unknown")
PAY = ("unpaid", "authorized", "partially_paid", "paid", "partially_refunded", "refunded")
SHIP = (
    "none",
    "label",
    "accepted",
    "in_transit",
    "arrived_city",
    "out_for_delivery",
    "delivered",
    "returned",
    "exception",
)
REFUND = ("none", "requested", "approved", "rejected", "succeeded", "closed")
GENDERS = ("female", "male", "unsaid", "")
MESSAGE_STATES = ("queued", "sending", "sent", "delivered", "read", "failed", "skipped", "in_doubt")
SPAN = ("since", "until")
_FIELDS = (
    # buyer
    Field("buyer.id", "text", "买家编号", "Id of the buyer", ask.text(buyers.id)),
    Field("buyer.name", "text", "姓名", "Name", ask.text(buyers.name), hint="known: a name is on record"),
    Field("buyer.locale", "choice", "语言", "Language", ask.text(buyers.locale), choices=(*LOCALES, "")),
    Field("buyer.gender", "choice", "性别", "Gender", ask.text(buyers.gender), choices=GENDERS),
    Field("buyer.age", "number", "年龄", "Age in full years", ask.age, most=150, hint="false for who told no year of birth"),
    Field("buyer.age_band", "choice", "年龄段", "Age band", ask.age_band, choices=tuple(ask.BANDS)),
    Field("buyer.birthday_month", "number", "生日月份", "Month of birth", ask.number_if(buyers.birth_month, buyers.birth_month > 0), least=1, most=12),
    Field("buyer.birthday_day", "number", "生日日期", "Day of the month of birth", ask.number_if(buyers.birth_day, buyers.birth_day > 0), least=1, most=31),
    Field("buyer.birthday_in", "days", "距离生日天数", "Days until the birthday", ask.birthday_in, most=366, hint="0 is today"),
    Field("buyer.tags", "list", "标签", "Tags", ask.tag),
    Field("buyer.size", "text", "尺码", "Size", ask.size, qualifiers=("kind",), hint="of a top, unless kind says otherwise"),
    Field("buyer.created", "date", "建档时间", "First known", ask.moment_of(buyers.created_at)),
    Field("buyer.last_in", "date", "最近来信", "Last wrote to the shop", ask.moment_of(buyers.last_in_at)),
    # member
    Field("member.is", "yes/no", "是否会员", "Holds a member card", ask.yes_no(buyers.member_no != "")),
    Field("member.level", "text", "会员等级", "Level", ask.text(buyers.member_level)),
    Field("member.points", "number", "积分", "Points", ask.number(buyers.member_points)),
    Field("member.joined", "date", "入会时间", "Joined", ask.moment_of(buyers.member_joined_at)),
    Field("member.source", "text", "入会来源", "Where the card was opened", ask.text(buyers.member_source)),
    # consent and channels
    Field("consent.marketing", "choice", "营销消息授权", "Consent to marketing", ask.consent(ways.marketing), choices=VERDICTS, qualifiers=("account",)),
    Field("consent.coupons", "choice", "优惠券提醒授权", "Asked for news of coupons", ask.consent(ways.coupons), choices=VERDICTS, qualifiers=("account",)),
    Field("consent.calls", "choice", "电话授权", "Consent to calls", ask.consent(ways.calls), choices=VERDICTS, qualifiers=("account",)),
    Field("consent.service", "choice", "服务通知授权", "Consent to notices", ask.consent(ways.service), choices=VERDICTS, qualifiers=("account",)),
    Field(
        "consent.can_market", "yes/no", "可发营销消息", "Marketing may be sent", ask.can_market,
        qualifiers=("account",), hint="granted, reachable and not opted out at one and the same address",
    ),
    Field("channels.account", "list", "渠道账号", "Has an address on an account", ask.on_account),
    Field("channels.reachable", "yes/no", "可触达", "Can be reached", ask.at_address(and_(ways.reachable.is_(True), ways.blocked.is_(False))), qualifiers=("account",)),
    Field("channels.opted_out", "yes/no", "已退订", "Opted out", ask.at_address(ways.opted_out.is_(True)), qualifiers=("account",)),
    Field("channels.window_open", "yes/no", "会话窗口开启", "A chat window is open", ask.window_open, qualifiers=("account",)),
    # orders
    Field("orders.count", "number", "付款订单数", "Paid orders", ask.order_sums(buyers.orders_count, func.count()), qualifiers=(*SPAN, "shop")),
    Field("orders.spent", "money", "累计消费", "Spent", ask.order_sums(buyers.spent, func.sum(orders.total)), qualifiers=(*SPAN, "shop")),
    Field("orders.average", "money", "平均客单价", "Average order", ask.number_if(buyers.average_order, buyers.orders_count > 0), hint="false for who never paid"),
    Field("orders.first", "date", "首次付款下单", "First paid order", ask.moment_of(buyers.first_order_at)),
    Field("orders.last", "date", "最近下单", "Last order, paid or not", ask.moment_of(buyers.last_order_at)),
    Field("orders.pay", "choice", "付款状态", "Has an order with this payment", ask.order_rows(orders.pay), choices=PAY, qualifiers=(*SPAN, "shop")),
    Field("orders.ship", "choice", "物流状态", "Has an order with this shipment", ask.order_rows(orders.ship), choices=SHIP, qualifiers=(*SPAN, "shop")),
    Field("orders.refund", "choice", "退款状态", "Has an order with this refund", ask.order_rows(orders.refund), choices=REFUND, qualifiers=(*SPAN, "shop")),
    Field("orders.city", "list", "收货城市", "Had an order sent to a city", ask.order_rows(orders.city), qualifiers=(*SPAN, "shop")),
    Field("orders.shop", "list", "下单店铺", "Ordered at a shop", ask.order_rows(orders.shop), qualifiers=SPAN),
    # items
    Field("items.sku", "list", "买过的 SKU", "Bought a SKU", ask.bought(items.sku), qualifiers=SPAN),
    Field("items.product", "list", "买过的商品", "Bought a product", ask.bought(items.product), qualifiers=SPAN),
    Field("items.title", "text", "买过的商品名", "Bought an item of this title", ask.bought(items.title), qualifiers=SPAN),
    # coupons
    Field("coupons.campaign", "list", "持有活动券", "Holds a coupon of a campaign", ask.coupon_campaign, qualifiers=("state",)),
    Field("coupons.state", "choice", "券状态", "Holds a coupon in a state", ask.coupon_state, choices=("claimed", "redeemed", "expired"), qualifiers=("campaign",)),
    Field("coupons.expires_in", "days", "券到期天数", "Holds a coupon that expires in days", ask.coupon_expires, most=3_650, qualifiers=("campaign",)),
    # messages
    Field("messages.last_marketing", "date", "最近营销消息", "Last marketing message", ask.moment_of(buyers.last_marketing_at)),
    Field("messages.broadcast", "list", "收到过的群发", "Got a broadcast", ask.broadcast, qualifiers=("state",), hint="sent or later, unless a state is named"),
    Field("messages.state", "choice", "消息状态", "Has a message in a state", ask.message_state, choices=MESSAGE_STATES, qualifiers=(*SPAN, "account", "purpose")),
    # scores
    Field("rfm.r", "number", "最近消费 R", "Recency, 5 best", ask.number(buyers.r), most=5, hint="0: never bought"),
    Field("rfm.f", "number", "消费频次 F", "Frequency, 5 best", ask.number(buyers.f), most=5, hint="0: never bought"),
    Field("rfm.m", "number", "消费金额 M", "Money, 5 best", ask.number(buyers.m), most=5, hint="0: never bought"),
    Field("lifecycle", "choice", "生命周期", "Lifecycle", ask.lifecycle, choices=STAGES),
)  # fmt: skip
FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}
"""By name. Names are kept for ever: saved segments and broadcasts hold them."""
