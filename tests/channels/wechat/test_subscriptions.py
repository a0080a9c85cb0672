"""Subscription notices: what WeChat pushes about them, and pages that are signed for its button."""

from __future__ import annotations

import json

import pytest

from bot.errors import AccountError, NoGrantError, ProviderDownError, RejectedError, SendError
from bot.events import GrantChanged, StatusReported
from bot.messages import Notice
from channels.wechat.jssdk import is_inside, signature, signed
from tests.channels.wechat.test_wechat import Http, Tokens, adapter, event, out, push

POPUP, CHANGE = "subscribe_msg_popup_event", "subscribe_msg_change_event"
NOTICE = Notice("T1", {"thing1": "亚麻衬衫"}, kind="subscription")


class Shared(Tokens):
    """The ticket is fetched, the token given out."""

    async def get(self, key, fetch, *, failed=""):
        return (await fetch(False)).value if key.endswith(":jsapi") else await super().get(key, fetch, failed=failed)


def entry(template: str, said: str, scene: str = "1") -> str:
    return (
        f"<List><TemplateId><![CDATA[{template}]]></TemplateId><SubscribeStatusString><![CDATA[{said}]]>"
        f"</SubscribeStatusString><PopupScene>{scene}</PopupScene></List>"
    )


def test_the_published_signature_of_a_page():
    """WeChat's own example of the JS-SDK; what follows a # does not count."""
    ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
    for url in ("http://mp.weixin.qq.com?params=value", "http://mp.weixin.qq.com?params=value#top"):
        found = signature(ticket, "Wm3WZYTPz0wzccnW", 1414587457, url)
        assert found == "0f9de62fce790f9a083d5c99e95740ceb90c27ed"


def test_what_a_page_must_let_in():
    """WeChat's own script and the frames that it draws in; another script may speak to its own folder, and no further."""
    ours = signed("https://res.wx.qq.com/open/js/jweixin-1.6.0.js", "wx1", "T", "https://a.example/b", 1)
    assert ours.sources == {
        "script-src": "https://res.wx.qq.com/open/js/jweixin-1.6.0.js",
        "frame-src": "https://*.qq.com webcompt:",
    }
    assert ours.config["openTagList"] == ["wx-open-subscribe"]
    assert ours.config["jsApiList"], "an empty list draws no open tag"
    nonce, at = str(ours.config["nonceStr"]), 1
    assert ours.config["signature"] == signature("T", nonce, at, "https://a.example/b")
    other = signed("https://cdn.example/js/wx.js", "wx1", "T", "https://a.example/b", 1)
    assert other.sources["connect-src"] == "https://cdn.example/js/"


@pytest.mark.parametrize(
    ("agent", "inside"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI", True),
        ("Mozilla/5.0 (Linux; Android 14; V2301A) Chrome/116.0 Mobile MMWEBID/1 MicroMessenger/8.0.49.2600", True),
        ("Mozilla/5.0 (Windows NT 10.0; WOW64) Chrome/107 MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat", False),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) MicroMessenger/6.8.0(0x16080000) MacWechat/3.8", False),
        ("Mozilla/5.0 (iPhone) Mobile/15E148 wxwork/4.1.20 MicroMessenger/7.0.1 Language/zh", False),
        ("Mozilla/5.0 (iPhone) Version/17.0 Mobile/15E148 Safari/604.1", False),
        ("", False),
    ],
)
def test_where_the_button_works(agent, inside):
    """WeChat on a phone, by its name; not on desktops, in WeCom, in other browsers."""
    assert is_inside(agent) is inside


def test_each_template_of_a_dialog_is_an_event_of_its_own():
    """Yes and no side by side; a repeat is the same event; cancel, filter and a yes in the settings say nothing."""
    inner = f"<SubscribeMsgPopupEvent>{entry('T1', 'accept')}{entry('T2', 'reject', '2')}</SubscribeMsgPopupEvent>"
    found = push(event(POPUP, inner)).events
    assert [one.body for one in found] == [GrantChanged("T1", "given", "page"), GrantChanged("T2", "taken", "article")]
    assert len({one.id for one in found}) == 2
    assert found == push(event(POPUP, inner)).events
    for name, said in ((POPUP, "filter"), (POPUP, "cancel"), (CHANGE, "accept")):
        parsed = push(event(name, f"<SubscribeMsgChangeEvent>{entry('T1', said)}</SubscribeMsgChangeEvent>"))
        assert (parsed.events, parsed.ignored) == ((), (name,))


def test_a_result_names_its_template_and_is_known_again():
    """Ids beyond 2^53 stay exact; the code is kept; 43101 also says that nothing is left."""
    result = "<List><TemplateId>T1</TemplateId><MsgID>{}</MsgID><ErrorCode>{}</ErrorCode></List>"
    inner = result.format(1800000000000000001, 0) + result.format(1800000000000000002, 43101)
    found = push(event("subscribe_msg_sent_event", f"<SubscribeMsgSentEvent>{inner}</SubscribeMsgSentEvent>")).events
    assert [one.body for one in found] == [
        StatusReported("delivered", provider_id="1800000000000000001", template="T1"),
        StatusReported("failed", provider_id="1800000000000000002", code="43101", reason="rejected", template="T1"),
        GrantChanged("T1", "void"),
    ]
    assert len({one.id for one in found}) == 3


async def test_a_notice_goes_by_its_own_interface_and_names_what_is_wrong():
    """No field that drops repeats is sent; an answer without an id is an acceptance; 43101 is an error of its own."""
    http = Http({"errcode": 0, "errmsg": "ok"})
    receipt = await adapter(http).send(out(NOTICE))
    assert "/cgi-bin/message/subscribe/bizsend?" in http.calls[0][1]
    body = json.loads(http.calls[0][2])
    assert body == {"touser": body["touser"], "template_id": "T1", "data": {"thing1": {"value": "亚麻衬衫"}}}
    assert receipt.provider_id == ""
    for code, error in ((43101, NoGrantError), (43117, RejectedError), (48001, RejectedError)):
        with pytest.raises(error) as caught:
            await adapter(Http({"errcode": code})).send(out(NOTICE))
        assert type(caught.value) is error


async def test_a_ticket_is_asked_for_once_and_a_refused_token_is_replaced():
    """The page is signed with the shared ticket; what goes wrong names neither ticket nor token."""
    tokens = Shared()
    http = Http({"errcode": 40001}, {"errcode": 0, "ticket": "TICKET-9", "expires_in": 7200})
    found = await adapter(http, tokens).sign("https://shop.example/b/x/notices")
    config = found.config
    expected = signature("TICKET-9", config["nonceStr"], config["timestamp"], "https://shop.example/b/x/notices")
    assert config["signature"] == expected
    assert [call[0] for call in http.calls] == ["GET", "GET"]
    assert http.calls[1][1].endswith("access_token=AT2&type=jsapi")
    for answer, error in (
        ({"errcode": 48001, "errmsg": "api unauthorized TICKET-9 AT1"}, AccountError),
        ({"errcode": 0, "ticket": ""}, AccountError),
        ((502, b"bad gateway"), ProviderDownError),
    ):
        with pytest.raises(SendError) as caught:
            await adapter(Http(answer), Shared()).sign("https://shop.example/b/x")
        assert type(caught.value) is error
        assert "TICKET" not in str(caught.value)
        assert "AT1" not in str(caught.value)
