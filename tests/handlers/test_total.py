"""Every handler answers every buyer: no record and no event makes one fail, and what it says can be said."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

import handlers
from bot import events as ev
from bot.effects import ClaimCoupon, ClaimResult, CodeResult, Effect, Enter, FindProducts, FoundProducts, Say, SendCode
from bot.handling import AccountView, CampaignView, Facts, Handler, Run, Turn
from bot.ports import Capabilities
from bot.records import Address, Buyer, Consent, Coupon, Dialog, Member, Product, Variant
from bot.routing import Registry
from bot.wording import NoVariantError, Wordings

NOW = 1_790_000_000_000
DAY = 86_400_000
REGISTRY = Registry(handlers.ALL)
WORDINGS = Wordings.load(Path("templates"))
CHAT = Capabilities(contents=frozenset({"text", "picture"}), text_limit=0, choices=10)
SMS = Capabilities(contents=frozenset({"text"}), text_limit=0, address_is_phone=True, sms=True)
CAMPAIGNS = (
    CampaignView("MAY", "五月券", "amount_off", "20", "CNY", "199", 0, NOW + DAY, 5, 30),
    CampaignView("PCT", "九折", "percent_off", "10", "CNY", "", 0, 0, 5, 30),
    CampaignView("OLD", "旧券", "amount_off", "5", "CNY", "", 0, NOW - DAY, 0, 30),
)


def facts(*, gift: str = "MAY", open_: bool = True) -> Facts:
    """What a small shop has configured."""
    return Facts(
        brand="小满衣橱", privacy_url="https://shop.example/p", locale="zh-CN", timezone=ZoneInfo("Asia/Shanghai"),
        currency="CNY", country="CN", staff_hours="09:00-21:00", staff_phone="400-000-0000", answer_minutes=15,
        large_order=Decimal(1000), gift_campaign=gift, campaigns=lambda: CAMPAIGNS,
        accounts={"chat": AccountView("chat", "wechat", CHAT), "sms": AccountView("sms", "twilio", SMS)},
        ships_today_before=lambda at: at, ships_by=lambda at: at + DAY, staff_open=lambda _: open_,
        staff_answer_by=lambda at: at + 900_000, call_slot=lambda at: at + DAY,
        check_code=lambda _, code, digest: code == "123456" and digest == "good",
        parse_phone=lambda text: "+8613900001234" if "139" in text else "",
    )  # fmt: skip


WORDS = st.sampled_from(
    [
        "",
        "165 52",
        "1.65m 110斤",
        "9999999",
        "双面大衣m码",
        "123456",
        "000000",
        "13900001234",
        "小满",
        "1月2日",
        "女",
        "M",
        "要",
        "no",
        "yes",
        "重发",
        "x" * 80,
    ]
)
DATA = st.dictionaries(
    st.sampled_from(["source", "next", "phone", "digest", "expires", "needs", "product"]),
    st.sampled_from(["number", "height,weight", "31", "+8613900001234", "good", str(NOW + DAY), "0"]),
).filter(lambda d: d.get("expires", "0").isdigit())
STATES = sorted(name for kind, name, record in REGISTRY._table if kind == "state" and record == "buyer")
DIALOGS = st.builds(
    Dialog,
    state=st.sampled_from(["", *STATES]),
    data=DATA,
    tries=st.integers(0, 6),
    misses=st.integers(0, 3),
    paused=st.sampled_from(["", *STATES]),
    paused_data=DATA,
)
VERDICTS = st.sampled_from(["granted", "refused", "unknown"])
ADDRESSES = st.builds(
    Address,
    account=st.sampled_from(["chat", "sms", "gone"]),
    id=st.sampled_from(["p1", "+8613900001234", "+12025550100"]),
    opted_out=st.booleans(),
    consent=st.builds(Consent, marketing=VERDICTS),
    dialog=DIALOGS,
    staff_until=st.sampled_from([0, NOW + 1000]),
)
BRIEFS = st.builds(
    ev.OrderBrief,
    id=st.just("5001"),
    title=st.sampled_from(["", "亚麻衬衫", "a linen shirt with a very long name"]),
    pay=st.sampled_from(["unpaid", "paid", "cancelled"]),
    ship=st.sampled_from(["none", "delivered", "in_transit"]),
    refund=st.sampled_from(["none", "requested"]),
    total=st.sampled_from([None, ev.Money(Decimal("188.00"), "CNY")]),
)
COUPONS = st.builds(
    Coupon,
    code=st.sampled_from(["AAAA-BBBB", "C2"]),
    campaign=st.sampled_from(["MAY", "PCT", "LOST"]),
    state=st.sampled_from(["claimed", "redeemed", "expired"]),
    expires_at=st.sampled_from([0, NOW - 1, NOW + DAY]),
)
BUYERS = st.builds(
    Buyer,
    id=st.just("b1"),
    home=st.just("address:chat:p1"),
    created_at=st.just(1),
    name=st.sampled_from(["", "林小满"]),
    phones=st.lists(st.just("+8613900001234"), max_size=1),
    birthday=st.sampled_from(["", "01-02"]),
    gender=st.sampled_from(["", "unsaid"]),
    sizes=st.sampled_from([{}, {"top": "M"}, {"top": "L", "height": "165", "weight": "52"}, {"height": "tall"}]),
    addresses=st.lists(ADDRESSES, max_size=3),
    member=st.sampled_from([None, Member("123456789015")]),
    coupons=st.lists(COUPONS, max_size=3),
    orders=st.lists(BRIEFS, max_size=3),
    tallies=st.sampled_from([{}, {"consent_asked": 1}]),
    about=st.sampled_from([None, ev.ItemRef("main", "31", "A", "亚麻宽松衬衫", "S"), ev.ItemRef(title="大衣")]),
)
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "followed": st.builds(ev.Followed, scene=st.sampled_from(["", "card", "qr:shelf"])),
    "scanned": st.builds(ev.Scanned, scene=st.sampled_from(["", "join-till-1"])),
    "opt": st.builds(
        ev.OptChanged,
        change=st.sampled_from(["out", "in", "help"]),
        answered=st.booleans(),
        blocks_all=st.booleans(),
    ),
    "identity_held": st.builds(
        ev.IdentityHeld, identity=st.just("phone:+8613900001234"), asks=st.sampled_from(["", "birthday"])
    ),
    "identity_granted": st.just(ev.IdentityGranted("phone:+8613900001234")),
    "absorbed": st.just(ev.Absorbed(snapshot=b"", home="address:sms:1", identity="")),
    "message": st.builds(ev.StaffAsked, action=st.just("message"), data=st.just('{"id":"m1","purpose":"service","text":"您好"}'))
    if hasattr(ev.StaffAsked, "action")
    else st.nothing(),
}  # fmt: skip
RUNS = [
    (kind, name, run)
    for (kind, name, record), run in sorted(REGISTRY._table.items())
    if record == "buyer" and kind in ("intent", "state", "event", "timer") and name.partition(":")[0] != "wait"
]


def turns(draw: Any, kind: str, name: str) -> Turn:
    """Some buyer, and some event that leads to the handler."""
    buyer = draw(BUYERS)
    text = draw(WORDS)
    body = (
        draw(BODIES.get(name, st.just(ev.MessageReceived(text=text))))
        if kind == "event"
        else ev.MessageReceived(text=text)
    )
    address = draw(st.sampled_from([None, *buyer.addresses]))
    account = address.account if address is not None else draw(st.sampled_from(["", "chat", "sms"]))
    arg = draw(
        st.sampled_from(
            [
                "",
                "back",
                "skip",
                "yes",
                "news",
                "leave_club",
                "MAY",
                "LOST",
                "AAAA-BBBB",
                "female",
                "@product:main:31",
                "@x",
                "m",
            ]
        )
    )
    settings_ = facts(gift=draw(st.sampled_from(["", "MAY"])), open_=draw(st.booleans()))
    event = ev.Event("e", buyer.home, account, NOW, NOW, body)
    return Turn(event, buyer, NOW, settings_, address, arg=arg, text=text.casefold(), raw_text=text)


VARIANTS = st.builds(
    Variant,
    sku=st.sampled_from(["A", "B"]),
    size=st.sampled_from(["", "S", "M", "38"]),
    color=st.sampled_from(["", "白"]),
    price=st.sampled_from([None, ev.Money(Decimal("188.00"), "CNY"), ev.Money(Decimal("99.00"), "CNY")]),
    stock=st.sampled_from([None, 0, 4]),
)
CHARTS = st.sampled_from(
    [(), (ev.SizeRow("M", {"height": "160-165", "体重": "100-114斤"}), ev.SizeRow("S", {"height": "150-160"})),
     (ev.SizeRow("38", {"脚长": "24"}),), (ev.SizeRow("M", {"衣长": "70"}),), (ev.SizeRow("M", {"bust": "80-84", "waist": "x"}),)]
)  # fmt: skip
PRODUCTS = st.builds(
    Product,
    id=st.just("31"),
    shop=st.just("main"),
    subject=st.just("product:main:31"),
    title=st.sampled_from(["亚麻宽松衬衫", "皮鞋"]),
    short_title=st.sampled_from(["", "衬衫"]),
    url=st.sampled_from(["", "https://shop.example/p/31"]),
    size_chart=CHARTS,
    variants=st.lists(VARIANTS, max_size=3),
    upserted=st.just((1, 0)),
    returned=st.sampled_from([{}, {"size_small": 5}, {"size_large": 3, "size_small": 1}]),
)


def resolved(draw: Any, turn: Turn, handler: Handler, effects: list[Effect]) -> list[Effect]:
    """With every outcome that the engine may answer."""
    after: list[Effect] = []
    for effect in effects:
        if isinstance(effect, ClaimCoupon):
            outcome = draw(st.sampled_from(["won", "again", "sold_out", "not_started", "ended", "unknown", "limit"]))
            code = "AAAA-BBBB" if outcome in ("won", "again") else ""
            result = ClaimResult(outcome, effect.campaign, code, draw(st.sampled_from([0, NOW + 9 * DAY])), effect.data)
            after += handler.continuations[effect.then](turn, result)
        elif isinstance(effect, SendCode):
            sent = draw(st.sampled_from(["sent", "too_many", "no_lane", "not_allowed"]))
            result_ = CodeResult(
                sent, effect.phone, "good", NOW + 600_000, draw(st.sampled_from([0, NOW])), effect.data
            )
            after += handler.continuations[effect.then](turn, result_)
        elif isinstance(effect, FindProducts):
            found = draw(st.lists(PRODUCTS, max_size=2))
            after += handler.continuations[effect.then](turn, FoundProducts(tuple(found), effect.data))
        else:
            after.append(effect)
    return after


def speaks(effects: list[Effect]) -> None:
    """Every message has its wording in all locales, by chat and by SMS."""
    always = {"brand": "小满衣橱", "tz": ZoneInfo("Asia/Shanghai"), "name": "", "card": "1234 5678 9015"}
    for effect in effects:
        if not isinstance(effect, Say) or effect.text or effect.content is not None:
            continue
        for locale in ("zh-CN", "zh-TW", "en"):
            assert WORDINGS.render(effect.key, locale, {**always, **effect.vars}, "chat").text
            try:
                assert WORDINGS.render(effect.key, locale, {**always, **effect.vars}, "sms").text
            except NoVariantError:
                assert effect.key in ("join_ask_phone", "number_ask")


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_every_handler_answers_every_buyer(data):
    """Any handler, any buyer, any answer of the engine: effects, states that exist, words that exist."""
    kind, name, (handler, run) = data.draw(st.sampled_from(RUNS))
    turn = turns(data.draw, kind, name)
    effects = resolved(data.draw, turn, handler, list(_run(run, turn)))
    speaks(effects)
    for effect in effects:
        if isinstance(effect, Enter):
            assert REGISTRY.find("state", effect.state) is not None


def _run(run: Run, turn: Turn) -> list[Effect]:
    return list(run(turn))


def test_all_choices_lead_somewhere():
    """Each payload of a wording is an intent with a handler, or an answer in a state."""
    for (locale, key), wording in WORDINGS._table.items():
        for choice in wording.choices:
            intent = choice.payload.partition(":")[0]
            assert choice.payload.startswith(".") or REGISTRY.find("intent", intent), (locale, key, choice.payload)
