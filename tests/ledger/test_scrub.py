"""A journal entry without the person, place by place: what names the person goes, what counts stays, other people lose nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import subjects
from bot.codec import dump_event, dump_message, dump_record, load_message, load_record, pack
from bot.events import BuyerFacts, Event, MessageReceived
from bot.journal import ConsentRecord, DecisionRecord, NoteRecord, RuleVerdict, SendEntry, TurnEntry, dump, load_turn
from bot.messages import OutboundMessage, Text
from bot.records import AccountState, Address, Buyer, Coupon, Link, Member, Order, Parcel, Task
from ledger.scrub import NOBODY, Person, scrubbed

NOW = 1_790_049_600_000
PHONE, OPENID, CARD = "+8613911110088", "oCanary0000001", "801234567890"
OTHER_PHONE, OTHER_OPENID = "+8613900009999", "oSomebodyElse1"
HOME, OTHER_HOME = subjects.address("chat", OPENID), subjects.address("chat", OTHER_OPENID)
ORDER, OTHER_ORDER = subjects.order("main", "5001"), subjects.order("main", "7")
SHOPPER = subjects.shopper("main", "c5")  # the reference is too short to be searched for
PERSON = Person(
    ids=frozenset({"b_me", "b_before"}),
    subjects=frozenset({HOME, subjects.phone(PHONE), SHOPPER}),
    words=frozenset({PHONE, OPENID, CARD}),
    orders=frozenset({ORDER}),
)


def said(subject: str, words: str) -> bytes:
    return dump_event(Event("e1", subject, "chat", NOW, NOW, MessageReceived(words)))


def me(id: str = "b_me") -> Buyer:
    return Buyer(
        id, HOME, NOW - 9, name="阮清和", phones=[PHONE], addresses=[Address("chat", OPENID)], member=Member(CARD),
        coupons=[Coupon("AAAA", "MAY")], merged=["b_before"], birthday="1987-06-05",
    )  # fmt: skip


def somebody() -> Buyer:
    return Buyer("b_other", OTHER_HOME, NOW - 5, phones=[OTHER_PHONE, PHONE], addresses=[Address("chat", OTHER_OPENID)])


def message(buyer: str, to: str, home: str, *, id: str = "m_1", words: str = "到了") -> bytes:
    return dump_message(OutboundMessage(
        id, buyer, home, "chat", to, "service", Text(words), NOW, key="order_paid", order=ORDER
    ))  # fmt: skip


def task(buyer: str, home: str, brief: str = "brief", *, id: str = "t_1", **fields) -> bytes:
    return pack(Task(id, "parcel", "parcel", home, brief, NOW, buyer=buyer, note="note", **fields))


def decision(buyer: str, words: str = "") -> DecisionRecord:
    rules = [RuleVerdict("caps", "allow", words), RuleVerdict("hours", "allow", "09:00-20:30")]
    return DecisionRecord("m_1", buyer, "service", "send", NOW, key=words, reason=words, account="chat", rules=rules)


def turn(subject: str, buyer: str, **fields) -> TurnEntry:
    return TurnEntry(NOW, subject, fields.pop("event", said(subject, "你好")), buyer=buyer, **fields)


def bare(entry: TurnEntry) -> TurnEntry:
    found = scrubbed("turn", dump(entry), PERSON)
    assert found is not None
    return load_turn(found)


def tells(body: bytes) -> list[str]:
    """What of the person is still to be read."""
    names = [name for name in (PHONE, OPENID, CARD, "阮清和", "1987-06-05") if name.encode() in body]
    return names + [one for one in PERSON.subjects if pack(one) in body]


def test_of_their_own_turn_states_and_counts_are_left():
    """Event, record, words, evidence and timeline go; decisions, the message, the task and the wallet stay, about nobody."""
    found = bare(turn(
        HOME, "b_me", record=dump_record(me()), before=dump_record(me("b_before")), messages=[message("b_me", OPENID, HOME)],
        tasks=[task("b_me", HOME)], decisions=[decision("b_me", f"to {PHONE}")], notes=[NoteRecord("said", "你好")],
        consents=[ConsentRecord("chat", OPENID, "marketing", "granted", NOW, ip="203.0.113.9")], handler="greeting",
    ))  # fmt: skip
    assert not tells(dump(found))
    assert (found.subject, found.buyer, found.event, found.before) == (NOBODY, "", b"", b"")
    assert (found.notes, found.consents, found.handler) == ([], [], "greeting")
    record = load_record(found.record)
    assert isinstance(record, Buyer)
    assert (record.id, record.erased, record.coupons, record.merged) == (
        "b_me",
        True,
        [Coupon("AAAA", "MAY")],
        ["b_before"],
    )
    sent = load_message(found.messages[0])
    assert (sent.id, sent.buyer, sent.purpose, sent.key, sent.order) == ("m_1", "b_me", "service", "order_paid", ORDER)
    assert (sent.to, sent.home, sent.content) == ("", "", Text(""))
    work = msgspec.msgpack.decode(found.tasks[0], type=Task)
    assert (work.state, work.home, work.brief, work.note, work.kind) == ("expired", "", "", "", "parcel")
    [decided] = found.decisions
    assert (decided.message, decided.outcome, decided.key, decided.reason) == ("m_1", "send", "", "")
    assert [rule.detail for rule in decided.rules] == ["", "09:00-20:30"]


def test_of_their_orders_turn_the_goods_are_left():
    """The order's record forgets its buyer; its own timeline stays, unless it names the person; work about it goes on."""
    order = Order(
        "5001", "main", ORDER, buyer=BuyerFacts(ref="c5", name="阮清和"), pay_url="https://x.test/c5", placed_at=NOW
    )
    notes = [NoteRecord("paid", "188.00 CNY"), NoteRecord("called", f"from {PHONE}")]
    found = bare(turn(ORDER, "", record=dump_record(order), tasks=[task("", ORDER)], notes=notes))
    record = load_record(found.record)
    assert isinstance(record, Order)
    assert (record.buyer, record.pay_url, record.placed_at) == (None, "", NOW)
    assert (found.subject, found.event, found.notes) == (ORDER, b"", notes[:1])
    work = msgspec.msgpack.decode(found.tasks[0], type=Task)
    assert (work.state, work.home, work.brief, work.note) == ("open", ORDER, "", "")
    done = bare(turn(HOME, "b_me", tasks=[task("b_me", ORDER, state="done")]))
    work = msgspec.msgpack.decode(done.tasks[0], type=Task)
    assert (work.state, work.home) == ("done", ORDER)


def test_somebody_elses_turn_loses_what_tells_of_the_person_and_nothing_else():
    """A number that both had stays in the other's record; the other's own words, messages, work and evidence stay."""
    theirs = message("b_other", OTHER_OPENID, OTHER_HOME)
    own_task = task("b_other", OTHER_HOME)
    evidence = [ConsentRecord("chat", OTHER_OPENID, "marketing", "granted", NOW)]
    notes = [NoteRecord("said", "你好"), NoteRecord("changed", f"number {PHONE} given up")]
    whole = turn(
        OTHER_HOME, "b_other", record=dump_record(somebody()), before=dump_record(me("b_before")),
        messages=[theirs, message("b_me", OPENID, HOME)], tasks=[own_task, task("b_other", OTHER_HOME, f"call {PHONE}")],
        decisions=[decision("b_other", "fine")], notes=notes, consents=evidence,
    )  # fmt: skip
    found = bare(whole)
    assert load_record(found.record) == somebody()
    assert (found.subject, found.buyer, found.event, found.before) == (OTHER_HOME, "b_other", b"", b"")
    assert found.messages[0] == theirs
    assert load_message(found.messages[1]).to == ""
    assert found.tasks[0] == own_task
    work = msgspec.msgpack.decode(found.tasks[1], type=Task)
    assert (work.brief, work.note, work.home, work.state) == ("", "", OTHER_HOME, "open")
    assert (found.decisions, found.notes, found.consents) == (whole.decisions, notes[:1], evidence)


def test_what_led_to_them_leads_nowhere():
    """A link that a merge left, and the parcel that was on its way to them."""
    link = load_record(bare(turn(HOME, "b_me", record=dump_record(Link(HOME, at=NOW, buyer="b_before")))).record)
    assert isinstance(link, Link)
    assert (link.home, link.at, link.buyer) == ("", NOW, "b_before")
    parcel = Parcel("sf:1", "parcel:sf:1", created_at=NOW)
    assert bare(turn(HOME, "b_me", record=dump_record(parcel))).record == b""
    beside = dump_record(parcel)
    assert bare(turn("parcel:sf:1", "", event=said("parcel:sf:1", PHONE), record=beside)).record == beside


def test_somebody_elses_turn_keeps_a_record_that_names_nobody():
    """Told by its event: an order of others that names the number forgets it, a link and an account of others stay."""
    event = said("account:chat", f"of {PHONE}")
    order = Order("7", "main", OTHER_ORDER, buyer=BuyerFacts(phones=(PHONE,)), placed_at=NOW)
    left = load_record(bare(turn(OTHER_ORDER, "", record=dump_record(order))).record)
    assert isinstance(left, Order)
    assert (left.buyer, left.placed_at) == (None, NOW)
    for record in (Link(OTHER_HOME, at=NOW, buyer="b_other"), AccountState("chat", alerts=["quota"])):
        assert bare(turn("account:chat", "", event=event, record=dump_record(record))).record == dump_record(record)
    named = dump_record(AccountState("chat", alerts=[f"refused {PHONE}"]))
    assert bare(turn("account:chat", "", event=event, record=named)).record == b""


def test_their_words_go_also_where_no_word_of_them_names_the_person():
    """An id that is too short to be searched for, a name: whose message and work it is tells by the buyer."""
    found = bare(turn(ORDER, "", messages=[message("b_me", "p1", "")], tasks=[task("b_me", "", "ask 阮清和")]))
    assert load_message(found.messages[0]).content == Text("")
    assert load_message(found.messages[0]).to == ""
    work = msgspec.msgpack.decode(found.tasks[0], type=Task)
    assert (work.brief, work.state) == ("", "expired")


def test_a_turn_about_others_is_kept_to_the_byte():
    """Also one that names the id, which stays, and one whose subject ends as one of the person's does."""
    for one in (
        turn(OTHER_HOME, "b_other", record=dump_record(Buyer("b_other", OTHER_HOME, 1)), decisions=[decision("b_me")]),
        turn(OTHER_ORDER, "", record=dump_record(Order("7", "main", OTHER_ORDER, buyer=BuyerFacts(ref="c55")))),
        turn("shopper:main:c55", "", event=said("shopper:main:c55", "你好")),
    ):
        assert scrubbed("turn", dump(one), PERSON) == dump(one)


def test_a_send_keeps_its_outcome():
    """Whose it was and the platform's own name of it go; of others' nothing does."""
    mine = SendEntry("m_1", "sent", NOW, 1, "chat", "b_me", "service", provider_id="wamid-1", parts=2)
    found = scrubbed("send", dump(mine), PERSON)
    assert found is not None
    kept = msgspec.msgpack.decode(found, type=SendEntry)
    assert kept == msgspec.structs.replace(mine, buyer="", provider_id="")
    theirs = dump(msgspec.structs.replace(mine, buyer="b_other"))
    assert scrubbed("send", theirs, PERSON) == theirs


@pytest.mark.parametrize(
    ("kind", "body", "stays"),
    [
        ("turn", b"\xc1", False),
        ("send", b"\xc1", False),
        ("turn", dump(TurnEntry(NOW, HOME, b"", record=b"\x63no version of ours")), False),
        ("status", pack(["m_1", "sent", NOW, ""]), True),
        ("status", pack(["m_1", "failed", NOW, f"no such number {PHONE}"]), False),
        ("of a later release", pack({"of": "somebody"}), True),
        ("of a later release", pack({"of": SHOPPER}), False),
    ],
)
def test_what_cannot_be_read_or_still_tells_goes_whole(kind, body, stays):
    """Nothing is kept on the guess that it names nobody."""
    assert scrubbed(kind, body, PERSON) == (body if stays else None)


WORDS = st.sampled_from(["", "fine", PHONE, f"({OPENID})", CARD, HOME, SHOPPER, OTHER_PHONE])
RECORDS = st.sampled_from(
    [None, me(), me("b_before"), somebody(), Order("5001", "main", ORDER, buyer=BuyerFacts(phones=(PHONE,)))]
)
TURNS = st.builds(
    lambda subject, buyer, event, record, before, messages, tasks, decisions, notes: turn(
        subject, buyer, event=said(subject, event), record=dump_record(record) if record else b"",
        before=dump_record(before) if before else b"", messages=messages, tasks=tasks, decisions=decisions, notes=notes,
    ),
    st.sampled_from([HOME, subjects.phone(PHONE), SHOPPER, ORDER, OTHER_HOME, OTHER_ORDER, "account:chat"]),
    st.sampled_from(["b_me", "b_before", "b_other", ""]),
    WORDS,
    RECORDS,
    RECORDS,
    st.lists(st.builds(message, st.sampled_from(["b_me", "b_other"]), WORDS, WORDS), max_size=2),
    st.lists(st.builds(task, st.sampled_from(["b_me", "b_other", ""]), st.sampled_from([HOME, ORDER, OTHER_HOME]), WORDS), max_size=2),
    st.lists(st.builds(decision, st.sampled_from(["b_me", "b_other"]), WORDS), max_size=2),
    st.lists(st.builds(NoteRecord, st.just("said"), WORDS), max_size=2),
)  # fmt: skip


@given(TURNS)
def test_wherever_it_stood_it_is_gone_and_everything_counts_as_before(whole):
    """Nothing tells of the person but somebody else's own record; ids, outcomes and their order are as they were."""
    stored = dump(whole)
    found = scrubbed("turn", stored, PERSON)
    mine = whole.buyer in PERSON.ids or whole.subject in PERSON.subjects
    if not mine and whole.subject != ORDER and not tells(stored):
        assert found == stored
        return
    if found is None:
        assert mine
        return
    left = load_turn(found)
    theirs = left.record if left.record == dump_record(somebody()) else b""
    assert not tells(dump(msgspec.structs.replace(left, record=b"" if theirs else left.record)))
    assert not (theirs and mine)
    assert [load_message(m).id for m in left.messages] == [load_message(m).id for m in whole.messages]
    assert len(left.tasks) == len(whole.tasks)
    assert [(d.message, d.buyer, d.outcome) for d in left.decisions] == [
        (d.message, d.buyer, d.outcome) for d in whole.decisions
    ]
