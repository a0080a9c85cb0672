"""WeChat through a running gateway: what a buyer does in the app, and what the buyer is sent."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from bot.coupons import Campaign
from channels.wechat.crypto import signature
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer
from tests.channels.twilio.peer import account as twilio_account
from tests.channels.wechat.peer import BOTH, PLAIN, TOKEN, WeChatPeer, account
from tests.e2e.wechat import NONCE, WeChat
from tests.gateway import running

ONE, TWO = "oFAKEbuyer0001", "oFAKEbuyer0002"
PHONE = "13900001234"


NOTICE = """
[notices.order_shipped.wechat-main]
template_id = "tplFAKE0001"
fields = { thing1 = "{{ item|short(others) }}", character_string2 = "{{ tracking }}" }
"""


@pytest.fixture
async def wechat(valkey, redis_client, tmp_path):
    peer, twilio = WeChatPeer(), TwilioPeer()
    async with provider(peer) as (base, _), provider(twilio) as (twilio_base, _):
        extra = "".join(
            (
                account(base),
                account(base, "wechat-both", app_id=BOTH, mode="compatible"),
                account(base, "wechat-plain", app_id=PLAIN, encoding_aes_key=None, mode="plain"),
                twilio_account(twilio_base),
                NOTICE,
            )
        )
        async with running(valkey, tmp_path, extra=extra) as harness:
            yield WeChat(harness, peer, twilio)


# --- the door ---------------------------------------------------------------------------------------------------------


async def test_the_handshake_answers_echostr_for_the_right_signature_only(wechat):
    """Raw and alone; one changed digit is a 403."""
    stamp = "1714037059"
    good = signature(TOKEN, stamp, NONCE)
    bad = ("0" if good[0] != "0" else "1") + good[1:]
    for given, status in ((good, 200), (bad, 403)):
        query = {"signature": given, "timestamp": stamp, "nonce": NONCE, "echostr": "4375120948345356249"}
        url = f"{wechat.harness.base}/channels/wechat-main/webhook"
        async with wechat.harness.session.get(url, params=query) as answer:
            assert answer.status == status
            if status == 200:
                assert (await answer.read(), answer.content_type) == (b"4375120948345356249", "text/plain")


async def test_only_what_the_key_covers_is_believed(wechat):
    """A changed digit, a kept request, a plain body beside a key: 401 and nothing happens; then the good one."""
    plain = wechat.body(ONE, "<MsgType>text</MsgType><Content>帮助</Content><MsgId>1</MsgId>")
    query, body = wechat.sealed(plain)
    signed = query["msg_signature"]
    bad = ("0" if signed[0] != "0" else "1") + signed[1:]
    assert (await wechat.post({**query, "msg_signature": bad}, body))[0] == 401
    assert (await wechat.post(query, body.replace("<Encrypt><![CDATA[a", "<Encrypt><![CDATA[b")))[0] == 401
    assert (await wechat.post(query, plain))[0] == 401
    assert (await wechat.post(*wechat.sealed(plain, str(int(time.time()) - 301))))[0] == 401
    await wechat.quiet()
    assert wechat.peer.sent == []
    assert await wechat.post(query, body) == (200, "success")
    await wechat.told(ONE, 1)


async def test_the_log_says_why_requests_are_refused(wechat):
    """Once a minute per account, in words that name the cure; a flood does not fill the log."""
    query, body = wechat.sealed(wechat.body(ONE, "<MsgType>text</MsgType><Content>秘密</Content><MsgId>1</MsgId>"))
    with capture_logs() as lines:
        for _ in range(5):
            assert (await wechat.post({**query, "msg_signature": "0" * 40}, body))[0] == 401
            assert (await wechat.post(query, body, "wechat-plain"))[0] == 401
    told = [(line["account"], line["why"]) for line in lines if line["event"] == "webhook refused"]
    assert told == [
        ("wechat-main", "msg_signature does not match"),
        ("wechat-plain", "the message is encrypted, but no encoding_aes_key is configured"),
    ]
    assert "秘密" not in str(lines)


async def test_compatible_and_plain_mode(wechat):
    """Beside the encrypted part plain fields count for nothing; without a key the plain signature does."""
    plain = wechat.body(ONE, "<MsgType>text</MsgType><Content>帮助</Content><MsgId>1</MsgId>")
    forged = wechat.body(TWO, "<MsgType>text</MsgType><Content>退订</Content><MsgId>2</MsgId>")
    query, body = wechat.sealed(plain, app=BOTH)
    both = forged.replace("</xml>", body.removeprefix("<xml>"))
    assert await wechat.post(query, both, "wechat-both") == (200, "success")
    await wechat.told(ONE, 1)
    assert wechat.peer.texts(TWO) == []
    bare = {name: query[name] for name in ("signature", "timestamp", "nonce")}
    other = wechat.body(TWO, "<MsgType>text</MsgType><Content>帮助</Content><MsgId>3</MsgId>")
    assert (await wechat.post({**bare, "signature": "0" * 40}, other, "wechat-plain"))[0] == 401
    assert (await wechat.post(query, body, "wechat-plain"))[0] == 401
    assert await wechat.post(bare, other, "wechat-plain") == (200, "success")
    await wechat.told(TWO, 1)


# --- first contact ----------------------------------------------------------------------------------------------------


async def test_a_plain_follow_is_greeted_with_the_menu_and_asked_for_nothing(wechat):
    """The menu; its digits answer; no number is asked for."""
    await wechat.event(ONE, "subscribe")
    [text] = await wechat.told(ONE, 1)
    assert "自动助手" in text
    assert "手机号" not in text
    assert "手机号" in (await wechat.ask(ONE, "1"))[0]


async def test_nobody_is_greeted_twice(wechat):
    """Followed and greeted, a first 你好 gets the choices without a second introduction; so does a follower's scan."""
    await wechat.event(ONE, "subscribe", created=int(time.time()) - 20)
    await wechat.told(ONE, 1)
    [answer] = await wechat.ask(ONE, "你好")
    assert "自动助手" not in answer
    assert "领券" in answer
    assert "手机号" in (await wechat.ask(ONE, "1"))[0]
    await wechat.event(ONE, "SCAN", "shop:42")
    assert "自动助手" not in (await wechat.told(ONE, 4))[3]
    assert "自动助手" in (await wechat.ask(TWO, "你好"))[0]


async def test_a_follow_by_a_code_that_also_scans_is_one_greeting(wechat):
    """Subscribe and SCAN of one second: both are taken, one is answered."""
    now = int(time.time())
    await wechat.event(ONE, "subscribe", "qrscene_shop:42", created=now)
    await wechat.event(ONE, "SCAN", "shop:42", created=now)
    await wechat.quiet()
    assert len(await wechat.told(ONE, 1)) == 1


async def test_a_code_of_the_card_starts_the_card(wechat):
    """By following, by scanning as a follower, by the account's menu: the number is asked for at once."""
    await wechat.event(ONE, "subscribe", "qrscene_card:42")
    assert "手机号" in (await wechat.told(ONE, 1))[0]
    await wechat.event(TWO, "subscribe", created=int(time.time()) - 30)
    await wechat.event(TWO, "SCAN", "card")
    assert "手机号" in (await wechat.told(TWO, 2))[1]
    await wechat.event("oThree", "CLICK", "member_card")
    assert "手机号" in (await wechat.told("oThree", 1))[0]


async def test_menu_keys_may_be_keywords_and_unknown_ones_are_asked_about(wechat):
    """COUPON and 会员 as keys of the account's menu; a key that nobody knows gets the question what it is about."""
    now = int(time.time())
    for number, (key, words) in enumerate((("COUPON", "券"), ("会员", "手机号"), ("NO_SUCH_KEY", "没看懂"))):
        await wechat.event(ONE, "CLICK", key, created=now + number)
        assert words in (await wechat.told(ONE, number + 1))[number]


async def test_what_is_not_text_is_answered_and_never_taken_for_an_answer(wechat):
    """A spoken 会员 is a word; a place, a picture, a link and what nobody knows each get one answer; a place is no name."""
    voice = "<MsgType>voice</MsgType><MediaId>m</MediaId><Format>amr</Format><Recognition>会员</Recognition>"
    await wechat.push(ONE, f"{voice}<MsgId>{next(wechat.serial)}</MsgId>")
    assert "手机号" in (await wechat.told(ONE, 1))[0]
    kinds = {
        "location": "<Location_X>23.1</Location_X><Location_Y>113.3</Location_Y><Scale>20</Scale><Label>会员</Label>",
        "image": "<PicUrl>http://mmbiz.example/p</PicUrl><MediaId>m</MediaId>",
        "link": "<Title>会员</Title><Description>d</Description><Url>https://x.example</Url>",
        "file": "<Title>a.pdf</Title>",
    }
    for number, (kind, fields) in enumerate(kinds.items()):
        openid = f"oKind{number}"
        await wechat.push(openid, f"<MsgType>{kind}</MsgType>{fields}<MsgId>{next(wechat.serial)}</MsgId>")
        assert "没看懂" in (await wechat.told(openid, 1))[0]
    await wechat.push(ONE, f"<MsgType>location</MsgType>{kinds['location']}<MsgId>{next(wechat.serial)}</MsgId>")
    assert "看着不对" in (await wechat.told(ONE, 2))[1]


# --- membership and coupons -------------------------------------------------------------------------------------------


async def test_a_card_is_opened_with_a_code_by_text(wechat):
    """会员, the number, the six digits of the text: the card and its picture within the five messages of a window."""
    await wechat.event(ONE, "subscribe")
    await wechat.told(ONE, 1)
    said = await wechat.join(ONE)
    assert "会员卡已开通" in said[0]
    assert "[image]" in said
    assert 2 <= len(said) <= 5
    assert len(wechat.peer.uploads) == 1
    found = await wechat.buyer(ONE)
    assert found.member is not None
    assert found.member.source == "wechat-main:keyword"
    assert found.phones == ["+86" + PHONE]
    assert {a.account for a in found.addresses} == {"wechat-main", "sms-main"}
    assert any("卡号" in text for text in await wechat.ask(ONE, "会员卡"))
    assert (await wechat.buyer(ONE)).member == found.member


async def test_a_second_tap_shows_the_same_coupon(wechat):
    """Claimed by a tapped option, then by its words: one coupon, one code."""
    await wechat.harness.gateway.campaigns.create(
        Campaign("RACE50", "满300减50", "amount_off", 5, "50.00", "CNY", "300.00", valid_days=30, created_at=1)
    )
    await wechat.ask(ONE, "优惠券")
    menu = next(body["msgmenu"] for body in wechat.peer.sent if body["msgtype"] == "msgmenu")
    assert menu["list"] == [{"id": "claim:RACE50", "content": "满300减50"}]
    [first] = await wechat.ask(ONE, "满300减50", option="claim:RACE50")
    [coupon] = (await wechat.buyer(ONE)).coupons
    [again] = await wechat.ask(ONE, "领 race50")
    assert coupon.code in first
    assert coupon.code in again
    assert len((await wechat.buyer(ONE)).coupons) == 1


# --- notices, windows and quotas --------------------------------------------------------------------------------------


async def test_an_order_is_told_in_the_chat(wechat):
    """Reminded of the payment, thanked, told of the parcel: each once."""
    await wechat.ask(ONE, "你好")
    await wechat.order("order.created", "1", ONE)
    await wechat.harness.advance(2 * 3600 + 5)
    assert "付款" in (await wechat.told(ONE, 2))[1]
    await wechat.order("order.paid", "1", ONE)
    assert "已收到付款" in (await wechat.told(ONE, 3))[2]
    await wechat.shipped("1", ONE)
    assert "已发出" in (await wechat.told(ONE, 4))[3]
    assert wechat.twilio.forms == []


async def test_outside_the_window_a_notice_is_a_template_and_its_result_is_known(wechat):
    """Free text while the window is open, the template when it is not; the finish event says what became of it."""
    await wechat.event(ONE, "subscribe", created=int(time.time()) - 120)
    await wechat.order("order.paid", "1", ONE)
    for number, (result, state) in enumerate((("success", "delivered"), ("failed:user block", "failed"))):
        shown = f"1{number}"
        await wechat.order("order.paid", shown, ONE)
        await wechat.shipped(shown, ONE)
        while len(wechat.peer.sent) <= number:
            await asyncio.sleep(0.02)
        body = wechat.peer.sent[number]
        assert (body["template_id"], body["touser"]) == ("tplFAKE0001", ONE)
        assert body["client_msg_id"].startswith("m_")
        assert body["data"]["character_string2"] == {"value": f"SF{shown}"}
        assert 0 < len(body["data"]["thing1"]["value"]) <= 20
        id = 3_300_000_000_000_000_001 + number
        inner = f"<MsgID>{id}</MsgID><Status><![CDATA[{result}]]></Status>"
        await wechat.event(ONE, "TEMPLATESENDJOBFINISH", inner=inner)
        end = time.monotonic() + 5
        while [row[1] for row in await wechat.rows("order_shipped")].count(state) != 1 and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert [row[1] for row in await wechat.rows("order_shipped")].count(state) == 1
    wechat.peer.answers = [(47003, "argument invalid! data.thing1.value invalid rid: 1-2-3")]
    await wechat.shipped("1", ONE)
    await wechat.quiet()
    assert ("wechat-main", "failed", "content:47003") in await wechat.rows("order_shipped")
    assert "thing1" in (await wechat.alerts())[0]
    assert len(await wechat.ask(ONE, "帮助")) == 1  # the chat goes on


async def test_five_messages_after_a_text_then_the_notice_goes_by_sms(wechat):
    """The sixth message of a window takes the buyer's number; without one it is skipped with its reason."""
    for openid, phone in ((ONE, PHONE), (TWO, "")):
        await wechat.ask(openid, "你好")
        for number in range(1, 7):
            await wechat.order("order.paid", f"{openid[-1]}{number}", openid, phone=phone)
    told, text, skipped = ("wechat-main", "sent", ""), ("sms-main", "sent", ""), ("", "skipped", "quota_used")
    await wechat.ended("order_paid", *[told] * 8, *[text] * 2, *[skipped] * 2)
    assert len(wechat.peer.texts(ONE)) == len(wechat.peer.texts(TWO)) == 5
    assert [form["To"] for form in wechat.twilio.forms] == ["+86" + PHONE] * 2
    assert wechat.peer.refused == []
    await wechat.ask(TWO, "帮助")
    await wechat.order("order.paid", "27", TWO)
    await wechat.told(TWO, 7)


@pytest.mark.parametrize(
    ("name", "key"), [("subscribe", ""), ("SCAN", "shop:1"), ("CLICK", "help"), ("scancode_push", "help")]
)
async def test_three_messages_in_the_minute_after_a_tap_a_follow_or_a_scan(wechat, name, key):
    """The answer and two notices; the third is one too many, and after the minute the window is shut."""
    await wechat.event(ONE, name, key)
    await wechat.told(ONE, 1)
    for number in "123":
        await wechat.order("order.paid", number, ONE)
    told = [("wechat-main", "sent", "")] * 2
    await wechat.ended("order_paid", *told, ("", "skipped", "quota_used"))
    await wechat.harness.advance(61)
    await wechat.order("order.paid", "4", ONE)
    await wechat.ended("order_paid", *told, ("", "skipped", "quota_used"), ("", "skipped", "window_closed"))
    assert len(wechat.peer.texts(ONE)) == 3


async def test_a_tapped_option_counts_as_a_tap_and_a_link_opens_nothing(wechat):
    """A menu option's text is a tap: three in a minute; VIEW opens no window at all."""
    await wechat.say(ONE, "帮助", option="help")
    await wechat.told(ONE, 1)
    assert set((await wechat.address(ONE)).windows) == {"click"}
    await wechat.event(TWO, "subscribe", created=int(time.time()) - 120)
    await wechat.event(TWO, "VIEW", "https://shop.example/m")
    await wechat.order("order.paid", "1", TWO)
    await wechat.ended("order_paid", ("", "skipped", "window_closed"))


async def test_what_wechat_counts_differently_is_learned(wechat):
    """45047 although we counted less (staff wrote too): this message fails, the next takes the number; a text reopens."""
    await wechat.ask(ONE, "你好")
    wechat.peer.answers = [45047]
    failed = ("wechat-main", "failed", "window_closed:45047")
    await wechat.order("order.paid", "1", ONE, phone=PHONE)
    await wechat.ended("order_paid", failed)
    await wechat.order("order.paid", "2", ONE, phone=PHONE)
    await wechat.ended("order_paid", failed, ("sms-main", "sent", ""))
    await wechat.ask(ONE, "帮助")
    await wechat.order("order.paid", "3", ONE, phone=PHONE)
    await wechat.told(ONE, 3)


# --- repeats, order, leaving ------------------------------------------------------------------------------------------


async def test_a_redelivered_push_has_one_effect(wechat):
    """The same MsgId, the same sender, time, event and key, each signed anew: answered once."""
    now = int(time.time())
    for _ in range(3):
        await wechat.say(ONE, "帮助", id=7, created=now)
        await wechat.event(TWO, "CLICK", "help", created=now)
    assert len(await wechat.told(ONE, 1)) == len(await wechat.told(TWO, 1)) == 1
    await wechat.say(ONE, "帮助", id=8, created=now)
    await wechat.event(TWO, "CLICK", "help", created=now + 1)
    await wechat.told(ONE, 2)
    await wechat.told(TWO, 2)


async def test_answers_keep_the_order_of_the_questions(wechat):
    """Five texts in a row, five answers in their order, though the first answer is slow to be taken."""
    words = ["帮助", "订单", "优惠券", "帮助", "订单"]
    alone = {word: (await wechat.ask(f"o{number}", word))[0] for number, word in enumerate(words[:3])}
    wechat.peer.answers = ["drop"]
    for word in words:
        await wechat.say(ONE, word)
    said = await wechat.told(ONE, 6, timeout=12)
    assert said[0] == said[1] == alone["帮助"]  # in doubt after the cut, sent once more, nothing overtook it
    assert said[1:] == [alone[word] for word in words]


async def test_who_leaves_is_out_of_reach_until_the_next_follow(wechat):
    """Unfollowed: nothing is tried; an older push that arrives late does not bring the buyer back, a new follow does."""
    now = int(time.time())
    await wechat.event(ONE, "subscribe", created=now - 20)
    await wechat.told(ONE, 1)
    await wechat.event(ONE, "unsubscribe", created=now - 10)
    await wechat.event(ONE, "CLICK", "help", created=now - 15)
    await wechat.order("order.paid", "1", ONE)
    assert not (await wechat.address(ONE)).reachable
    await wechat.ended("order_paid", ("", "skipped", "unreachable"))
    assert len(wechat.peer.texts(ONE)) == 1
    await wechat.event(ONE, "subscribe", created=now)
    await wechat.event(ONE, "unsubscribe", created=now - 5)
    assert (await wechat.address(ONE)).reachable
    assert len(await wechat.told(ONE, 2)) == 2


async def test_staff_in_the_session_are_not_talked_over(wechat):
    """Opened, passed on, closed: silent in between, also for texts that reach us; a stop word is heard; 15 minutes end it."""
    await wechat.ask(ONE, "你好")
    await wechat.event(ONE, "kf_create_session", inner="<KfAccount>a1@shop</KfAccount>")
    await wechat.say(ONE, "帮助")
    await wechat.event(
        ONE, "kf_switch_session", inner="<FromKfAccount>a1@shop</FromKfAccount><ToKfAccount>a2@shop</ToKfAccount>"
    )
    await wechat.say(ONE, "帮助")
    await wechat.quiet()
    assert len(wechat.peer.texts(ONE)) == 1
    assert "已停发" in (await wechat.ask(ONE, "退订"))[0]
    await wechat.event(ONE, "kf_close_session", inner="<KfAccount>a2@shop</KfAccount>")
    assert "回复" in (await wechat.ask(ONE, "帮助"))[0]
    await wechat.event(ONE, "kf_create_session", created=int(time.time()) + 1, inner="<KfAccount>a1@shop</KfAccount>")
    await wechat.harness.advance(14 * 60)
    await wechat.say(ONE, "帮助")
    await wechat.quiet()
    assert len(wechat.peer.texts(ONE)) == 3
    await wechat.harness.advance(62)
    await wechat.ask(ONE, "帮助")


# --- errors inside a 200 ----------------------------------------------------------------------------------------------


async def test_a_superseded_token_is_replaced_and_the_message_sent(wechat):
    """40001: one un-forced question, the new token, the same message once; a burst asks once for all."""
    await wechat.ask(ONE, "帮助")
    assert wechat.peer.asked == [False]
    wechat.peer.supersede()
    for number in range(12):
        await wechat.say(f"oBurst{number}", "帮助")
    for number in range(12):
        assert len(await wechat.told(f"oBurst{number}", 1)) == 1
    assert wechat.peer.asked == [False, False]
    assert set(wechat.peer.refused) == {40001}


async def test_a_token_that_wechat_still_gives_out_is_forced(wechat):
    """40001 for the very token that stable_token answers: one forced refresh, and the message is sent."""
    await wechat.ask(ONE, "帮助")
    wechat.peer.gives, wechat.peer.token = wechat.peer.token, "AT-other"
    await wechat.ask(ONE, "订单")
    assert wechat.peer.asked == [False, False, True]


async def test_each_refusal_has_its_consequence(wechat):
    """Nobody there, not wanted, not fitting: the message ends with its reason; only the first says something of the buyer."""
    failed = []
    for openid, code, reason in (
        ("oA", 40003, "unreachable:40003"),
        ("oB", 48002, "unreachable:48002"),
        ("oC", 43101, "rejected:43101"),
        ("oD", 45002, "content:45002"),
        ("oE", 45015, "window_closed:45015"),
    ):
        wechat.peer.answers = [code]
        await wechat.say(openid, "帮助")
        failed.append(("wechat-main", "failed", reason))
        await wechat.ended("help", *failed)
        await wechat.quiet()
        found = await wechat.address(openid)
        assert found.reachable is (not reason.startswith("unreachable"))
        assert not found.opted_out
        assert not found.blocked
        assert bool(found.windows) is (code != 45015)
    assert len(await wechat.ask("oA", "帮助")) == 1
    assert (await wechat.address("oA")).reachable


async def test_a_busy_wechat_is_tried_again_and_an_unknown_number_three_times(wechat):
    """-1 is nothing lasting; what nobody knows ends a notice after three tries, not after a day of them."""
    wechat.peer.answers = [-1]
    assert len(await wechat.ask(ONE, "帮助")) == 1
    wechat.peer.answers = [65432] * 3
    await wechat.order("order.paid", "1", ONE)
    end = time.monotonic() + 15
    while len(wechat.peer.refused) < 4 and time.monotonic() < end:
        await asyncio.sleep(0.1)
    await wechat.ended("order_paid", ("wechat-main", "failed", "rejected:65432"))
    assert wechat.peer.refused == [-1, 65432, 65432, 65432]


async def test_an_account_without_the_right_is_paused_and_staff_are_told(wechat):
    """40164: the address for the whitelist stands in the alert; nothing more is tried meanwhile."""
    wechat.peer.answers = [(40164, "invalid ip 203.0.113.7 ipv6 ::1, not in whitelist rid: 1-2-3")]
    await wechat.say(ONE, "帮助")
    await wechat.quiet()
    await wechat.say(TWO, "帮助")
    await wechat.harness.waiting("wechat-main")
    assert wechat.peer.sent == []
    assert wechat.peer.refused == [40164]
    assert "203.0.113.7" in (await wechat.alerts())[0]
