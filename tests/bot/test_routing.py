"""Which handler a message is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers
from bot.effects import Effect
from bot.errors import ConfigError
from bot.events import Event, MessageReceived, Tapped
from bot.handling import Handler, Trigger, Turn
from bot.records import Dialog
from bot.routing import Keywords, Registry, fold, route

KEYWORDS = Keywords.load(Path("templates/keywords.toml"))
REGISTRY = Registry(handlers.ALL)


def to(text: str = "", dialog: Dialog | None = None, medium: str = "chat", payload: str = "") -> tuple[str, str, str]:
    body = MessageReceived(kind="text", text=text, payload=payload)
    found = route(Event("e", "address:a:1", "a", 1, 1, body), dialog or Dialog(), KEYWORDS, medium)
    return found.kind, found.name, found.arg


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("member_card", "会员 会员卡 卡 入会 member join 會員 ＭＥＭＢＥＲ Join! 加入會員"),
        ("coupons", "优惠券 领券 券 coupon 優惠券"),
        ("orders", "订单 物流 order 訂單"),
        ("help", "帮助 help info 幫助 HELP？"),
        ("person", "人工 客服 agent"),
        ("returns", "退换 return 退換"),
        ("missing", "没收到 missing 沒收到"),
        ("urgent", "急 urgent"),
        ("opt_out", "R 拒收 TD T 退订 STOP STOPALL UNSUBSCRIBE OPTOUT REVOKE CANCEL END QUIT stop."),
        ("opt_in", "恢复 START UNSTOP 恢復"),
        ("leave_club", "注销会员 leave 註銷會員 注銷會員"),
    ],
)
def test_every_promised_keyword_leads_to_its_intent(name, words):
    """Each documented word, case and width folded, means its one intent and has a handler."""
    for word in words.split():
        assert to(word)[:2] == ("intent", name), word
    assert REGISTRY.find("intent", name) is not None


def test_own_data_words_have_spaces():
    """Words of two parts are keywords as a whole."""
    assert to("my data")[1] == to("我的信息")[1] == to("我的資料")[1] == "my_data"
    assert to("Change Number")[1] == to("换手机号")[1] == to("換手機號碼")[1] == "change_number"


@pytest.mark.parametrize("text", ["领 spring", "領 SPRING", "claim Spring", "CLAIM　spring!"])
def test_a_claim_names_its_campaign(text):
    """What follows the prefix is the campaign."""
    assert to(text) == ("intent", "claim", "SPRING")


def test_a_keyword_is_the_whole_message():
    """A word inside a sentence is no keyword."""
    assert to("我的订单在哪里呀") == ("intent", "fallback", "")
    assert to("please stop by") == ("intent", "fallback", "")
    assert to("领") == ("intent", "fallback", "")


def test_a_digit_answers_only_the_last_question():
    """A bare digit is its choice while one was asked, else text."""
    asked = Dialog(asked={"1": "orders", "2": "claim:MAY"})
    assert to("2", asked) == ("intent", "claim", "MAY")
    assert to("２", asked) == ("intent", "claim", "MAY")
    assert to("3", asked) == ("intent", "fallback", "")
    assert to("1") == ("intent", "fallback", "")


@pytest.mark.parametrize("word", ["cancel", "END", "quit"])
def test_cancel_opts_out_by_sms_and_leaves_a_dialog_in_chat(word):
    """By SMS always an opt-out; in chat only outside a dialog."""
    busy = Dialog(state="card.phone")
    assert to(word, busy, "sms")[1] == "opt_out"
    assert to(word)[1] == "opt_out"
    assert to(word, busy)[1] == "leave_dialog"


def test_zero_and_cancel_leave_a_dialog_and_back_goes_back():
    """0 and 取消 leave; 返回 and back are the state's business; outside a dialog neither is understood."""
    busy = Dialog(state="card.code")
    assert to("0", busy)[1] == to("取消", busy)[1] == "leave_dialog"
    assert to("返回", busy) == to("BACK", busy) == ("state", "card.code", "back")
    assert to("0")[1] == to("back")[1] == "fallback"


def test_keywords_interrupt_a_dialog_and_other_text_answers_it():
    """优惠券 is heard in the middle of a question; a name is an answer."""
    busy = Dialog(state="profile.name")
    assert to("优惠券", busy) == ("intent", "coupons", "")
    assert to("小满", busy) == ("state", "profile.name", "")


def test_stop_words_win_over_everything():
    """Neither a dialog nor staff hold back an opt-out."""
    body = MessageReceived(kind="text", text="退订")
    found = route(Event("e", "address:a:1", "a", 1, 1, body), Dialog(state="profile.name"), KEYWORDS, "chat")
    assert (found.name, found.always) == ("opt_out", True)


def test_an_old_answer_without_its_dialog_is_text():
    """A button of a dialog that ended is no answer."""
    body = Tapped(payload=".yes", title="要")
    found = route(Event("e", "address:a:1", "a", 1, 1, body), Dialog(), KEYWORDS, "chat")
    assert found.name == "fallback"


@given(st.text(max_size=60), st.sampled_from(["", "profile.name", "card.code"]), st.text(max_size=20))
def test_any_text_has_a_route(text, state, payload):
    """Whatever is typed or tapped, there is a handler or a state that takes it, and folding is stable."""
    kind, _, _ = to(text, Dialog(state=state), payload=payload)
    assert kind in ("intent", "state")
    assert fold(fold(text)) == fold(text)


def test_a_word_with_two_meanings_stops_the_start(tmp_path):
    """The fault names the word and both meanings."""
    source = Path("templates/keywords.toml").read_text().replace('urgent = ["急"', 'urgent = ["券", "急"')
    path = tmp_path / "keywords.toml"
    path.write_text(source)
    with pytest.raises(ConfigError, match="券"):
        Keywords.load(path)


def _nothing(_: Turn) -> list[Effect]:
    return []


def test_two_handlers_for_one_trigger_or_an_unknown_state_stop_the_start():
    """Overlaps and states that nobody handles are found at start."""
    one = Handler("one", {Trigger("intent", "x"): _nothing})
    two = Handler("two", {Trigger("intent", "x"): _nothing}, states=frozenset({"two.lost"}))
    with pytest.raises(ConfigError) as caught:
        Registry([one, two])
    assert "one and two" in str(caught.value)
    assert "two.lost" in str(caught.value)
