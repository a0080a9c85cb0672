"""Every dialog can be left, gone back in, asked again and timed out; a bare digit answers the last numbered question only."""

from __future__ import annotations

import json

import pytest

import handlers
from bot.clock import DAY_MS
from bot.codec import dump_record
from bot.records import Address, Buyer, Dialog, Link, Member
from bot.routing import Registry
from tests.bot.test_will import Shop, T
from tests.desk import PHONE

STATES = sorted(state for handler in handlers.ALL for state in handler.states)
CHAT_STATES = [state for state in STATES if state != "card.confirm"]
DATA = {"phone": PHONE, "digest": "good", "expires": str(T + DAY_MS), "source": "chat:keyword"}
MEMBER = ("profile.", "consent.", "leave.", "card.fact")


def at(state: str, account: str = "chat", **dialog: object) -> Shop:
    """Somebody in the middle of a dialog."""
    desk = Shop(T)
    id = "p1" if account == "chat" else PHONE
    desk.says(id, "你好", account)
    subject = f"address:{account}:{id}" if account == "chat" else f"phone:{PHONE}"
    record = desk.record(subject)
    assert isinstance(record, Buyer)
    if state.startswith(MEMBER):
        record.member = Member("812345678906", joined_at=T)
    address = record.address(account, id)
    assert address is not None
    address.dialog = Dialog(**{"state": state, "data": dict(DATA), "until": T + DAY_MS, **dialog})  # type: ignore[arg-type]
    desk.records[subject] = dump_record(record)
    desk.sent.clear()
    return desk


def address(desk: Shop, account: str = "chat") -> Address:
    found = desk.record("address:chat:p1" if account == "chat" else f"phone:{PHONE}")
    if isinstance(found, Link):
        found = desk.record(found.home)
    assert isinstance(found, Buyer)
    here = found.address(account, "p1" if account == "chat" else PHONE)
    assert here is not None
    return here


def test_there_is_a_handler_for_each_state():
    """And no state without its handler."""
    taken = {name for kind, name, _ in Registry(handlers.ALL)._table if kind == "state"}
    assert taken == set(STATES)


@pytest.mark.parametrize("word", ["0", "取消", "退出", "cancel", "END", "Quit", "０"])
@pytest.mark.parametrize("state", CHAT_STATES)
def test_in_a_chat_each_word_leaves_every_dialog(state, word):
    """With one answer, without opting out, and the card as it was."""
    desk = at(state)
    desk.says("p1", word)
    assert address(desk).dialog.state == ""
    assert not address(desk).opted_out
    assert desk.told == ["dialog_left"]


@pytest.mark.parametrize("word", ["CANCEL", "end", "Quit", "STOP"])
@pytest.mark.parametrize("state", STATES)
def test_by_text_the_carriers_words_opt_out_in_every_dialog(state, word):
    """There they are stop words before anything else."""
    desk = at(state, "sms")
    desk.says(PHONE, word, "sms")
    assert address(desk, "sms").opted_out


@pytest.mark.parametrize("word", ["0", "取消"])
@pytest.mark.parametrize("state", STATES)
def test_by_text_zero_leaves(state, word):
    """0 is no carrier's word."""
    desk = at(state, "sms")
    desk.says(PHONE, word, "sms")
    assert address(desk, "sms").dialog.state == ""
    assert not address(desk, "sms").opted_out


@pytest.mark.parametrize("state", CHAT_STATES)
def test_going_back_is_answered_in_every_dialog(state):
    """返回 asks the question before, or lets go; it is never taken for the answer."""
    desk = at(state)
    desk.says("p1", "返回")
    assert len(desk.told) == 1
    assert desk.told[0] != "fallback"
    record = desk.buyer("address:chat:p1")
    assert (record.name, record.birthday, record.gender, record.sizes) == ("", "", "", {})


@pytest.mark.parametrize("state", [state for state in CHAT_STATES if state not in ("card.wait", "profile.name")])
def test_nonsense_is_asked_again_and_then_let_go(state):
    """A hint each time, and not for ever: after a few tries the dialog has moved on."""
    desk = at(state)
    for _ in range(6):
        desk.says("p1", "呜啦啦")
        assert desk.told, "an answer each time"
        if address(desk).dialog.state != state:
            return
    raise AssertionError(f"{state} goes on for ever")


def test_nonsense_after_a_code_expired_is_let_go_too():
    """Digits get a new code; words count as tries."""
    desk = at("card.code", data={**DATA, "expires": "1"})
    for _ in range(5):
        desk.says("p1", "呜啦啦")
    assert desk.told == [*["code_wrong"] * 4, "code_gave_up"]


@pytest.mark.parametrize("state", CHAT_STATES)
def test_a_dialog_that_timed_out_takes_no_answer(state):
    """Afterwards a text is a text again."""
    desk = at(state, until=T - 1)
    desk.says("p1", "呜啦啦")
    assert desk.told == ["fallback"]
    assert address(desk).dialog.state == ""


@pytest.mark.parametrize("inner", ["leave.confirm", "card.phone"])
@pytest.mark.parametrize("outer", [state for state in CHAT_STATES if state.startswith(("profile.", "consent."))])
def test_an_interrupted_dialog_goes_on_when_the_other_is_left(outer, inner):
    """Its question is asked again, and its next answer counts."""
    data = {"next": "number"} if inner == "card.phone" else {}
    desk = at(inner, data=data, paused=outer, paused_data={})
    desk.says("p1", "0")
    assert address(desk).dialog.state == outer
    assert desk.told[-1] in (f"ask_{outer.partition('.')[2]}", "ask_marketing")
    desk.says("p1", "0")
    assert address(desk).dialog.state == ""


def test_a_keyword_in_a_dialog_is_answered_and_the_question_stands():
    """Orders in the middle of the name; the next text is the name."""
    desk = at("profile.name")
    desk.says("p1", "订单")
    assert address(desk).dialog.state == "profile.name"
    desk.says("p1", "小满")
    assert desk.buyer("address:chat:p1").name == "小满"


def test_a_digit_answers_the_last_numbered_question_only():
    """1 after the menu is the card; after the fallback it is the orders; of a question without a 7, a 7 is text."""
    desk = Shop(T)
    desk.says("p1", "你好")
    desk.says("p1", "7")
    assert desk.told == ["welcome", "fallback"]
    desk.says("p1", "1")
    assert desk.told[-1] == "orders_none"
    desk.says("p1", "菜单")
    desk.says("p1", "１")
    assert desk.told[-1] == "join_ask_phone"


def test_a_digit_of_a_dialogs_question_is_worth_nothing_after_it():
    """Consent is not given by a 1 that comes when the question is over."""
    desk = at("consent.marketing", asked={"1": ".news", "2": ".no_news"}, until=T - 1)
    desk.says("p1", "1")
    assert address(desk).consent.marketing == "unknown"


def test_a_service_message_by_api_leaves_the_dialog_alone():
    """Nothing that staff send moves the buyer's conversation."""
    desk = at("profile.name")
    data = {"id": "m1", "purpose": "service", "text": "到货了"}
    desk.asks("address:chat:p1", "message", json.dumps(data).encode())
    assert address(desk).dialog.state == "profile.name"
