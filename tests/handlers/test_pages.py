"""What pages ask of a record, at the desk: consent by the same rules as in the chat, and where links may be given."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.change import Taken
from bot.codec import dump_record
from bot.effects import CodeResult
from bot.events import Event, MessageReceived, StaffAsked
from bot.handling import Turn
from bot.messages import Notice, Text
from bot.ports import Capabilities
from bot.records import Buyer
from bot.run import start
from bot.speaking import NoticeTemplate
from handlers.links import chat_link, link
from pages.joining import is_public
from tests.desk import SMS, Desk
from tests.handlers.test_total import NOW, facts

PHONE = "+8613900001234"
HOME = f"phone:{PHONE}"


@pytest.fixture
def desk():
    found = Desk(NOW)
    found.says(PHONE, "你好", account="sms")
    return found


def tick(desk: Desk, topic: str, verdict: str, account: str = "sms", id: str = PHONE) -> Buyer:
    data = {"page": "settings", "locale": "en", "changes": [[account, id, topic, verdict]]}
    desk.asks(HOME, "page_consent", json.dumps(data).encode())
    return desk.buyer(HOME)


@pytest.mark.parametrize("topic", ["marketing", "calls", "service", "coupons"])
@pytest.mark.parametrize("verdict", ["granted", "refused"])
def test_a_tick_is_consent_with_its_words(desk, topic, verdict):
    """The version is that of the words in the page's language."""
    consent = tick(desk, topic, verdict).addresses[0].consent
    assert getattr(consent, topic) == verdict
    kept = consent.coupons_wording if topic == "coupons" else consent.wording
    assert kept.startswith(f"page_{topic}/en@")


def test_what_is_no_topic_or_no_address_is_no_consent(desk):
    """The record stays as it was."""
    before = desk.buyer(HOME).addresses
    assert tick(desk, "owner", "granted").addresses == before
    assert tick(desk, "marketing", "granted", "sms", "+8613900005678").addresses == before


def test_a_carriers_block_stays(desk):
    """After STOP to the carrier a page lifts the opt-out, never the block: only a text does."""
    desk.says(PHONE, "STOP", account="sms")
    address = desk.buyer(HOME).addresses[0]
    assert address.opted_out
    if not address.blocked:  # not a carrier that blocks by itself: as if it were
        record = desk.buyer(HOME)
        record.addresses[0].blocked = True
        desk.records[HOME] = dump_record(record)
    found = tick(desk, "marketing", "granted").addresses[0]
    assert found.blocked
    assert not found.opted_out
    assert found.consent.marketing == "granted"


def test_a_sample_that_went_out_is_asked_about(desk):
    """A week after staff completed the task as sent; not where it ended otherwise."""
    for item in ("a", "b"):
        desk.asks(HOME, "page_sample", json.dumps({"item": item, "brief": item}).encode())
    first, second = sorted(desk.buyer(HOME).tasks.values(), key=lambda task: task.key)
    assert first.due_at == desk.now + 2 * 86_400_000
    for task, outcome in ((first, "sent"), (second, "none left")):
        desk.asks(HOME, "complete_task", json.dumps({"id": task.id, "outcome": outcome}).encode())
    desk.advance(7 * 86_400_000 - 1)
    assert "sample_feedback" not in desk.told
    desk.advance(1)
    assert desk.told.count("sample_feedback") == 1
    desk.advance(30 * 86_400_000)
    assert desk.told.count("sample_feedback") == 1


def test_signing_out_everywhere_counts(desk):
    """Each time one more."""
    for count in (1, 2):
        desk.asks(HOME, "page_revoke", b"{}")
        assert desk.buyer(HOME).revoked == count


def test_a_doubted_number_gets_no_link(desk):
    """Nor does a text get one that is only for chats."""
    asked: list[str] = []

    def give(kind: str, buyer: Buyer, now: int) -> str:
        asked.append(kind)
        return f"https://shop.example/b/{kind}"

    record = desk.buyer(HOME)
    event = Event("e", f"address:sms:{PHONE}", "sms", NOW, NOW, MessageReceived("x"))
    made = Turn(event, record, NOW, replace(facts(), page_link=give), record.addresses[0])
    assert link(made) == "https://shop.example/b/text"
    assert chat_link(made) == ""
    record.addresses[0].doubted = True
    assert link(made) == ""
    assert asked == ["text"]


def test_a_line_of_templates_sends_page_codes_by_its_one_template(desk):
    """`page_code` has a template of its own only where the shop made one."""
    speaker = desk._turns._speaker
    templates_only: dict[str, Capabilities] = {"sms": replace(SMS, free_text=False)}
    speaker.policy = replace(speaker.policy, accounts=templates_only)
    speaker.notices = {("phone_code", "sms"): NoticeTemplate("T1", {})}
    taken = Taken(0, "i", "1-0", HOME, b"", seen=False, body=b"", timer="", due=0)
    run = start(taken, Event("e", HOME, "", NOW, NOW, StaffAsked("page_code", "page")), desk.buyer(HOME), NOW)
    result = CodeResult("sent", PHONE, expires_at=NOW, data={"account": "sms", "otp": "123456", "wording": "page_code"})
    speaker.send_code(run, desk.buyer(HOME), result)
    assert isinstance(run.change.messages[0].message.content, Notice)
    assert run.change.messages[0].message.key == "phone_code"
    speaker.notices[("page_code", "sms")] = NoticeTemplate("T2", {})
    speaker.send_code(run, desk.buyer(HOME), result)
    second = run.change.messages[1].message
    assert (second.key, second.content.template_id) == ("page_code", "T2")
    speaker.policy = replace(speaker.policy, accounts={"sms": SMS})
    speaker.send_code(run, desk.buyer(HOME), result)
    third = run.change.messages[2].message
    assert isinstance(third.content, Text)
    assert "会员页面" in third.content.text


@pytest.mark.parametrize(
    ("sender", "public"), [("8.8.8.8", True), ("127.0.0.1", False), ("10.1.2.3", False), ("", False)]
)
def test_a_proxy_is_not_held_to_one_visitors_share(sender, public):
    """A private address in front speaks for all."""
    assert is_public(sender) == public
