"""The life of a broadcast, step by step: when it may begin, what a step keeps and what it takes back, who of its audience gets it how."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bot import broadcast_life as life
from bot.broadcast_life import Rules
from bot.broadcast_turns import held_out, variant_of
from bot.broadcasts import LIFE_MS, Broadcast, Repeat, Variant
from bot.errors import StateError

SHANGHAI = ZoneInfo("Asia/Shanghai")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOON = 1_790_049_600_000  # Tuesday 2026-09-22 12:00 in Shanghai
AT_NOON = Repeat(weekday=1, minute=720)


def draft(**fields: Any) -> Broadcast:
    wanted = {"title": "会员日", "purpose": "marketing", "accounts": ("sms-main",), "text": {"zh-CN": "好"}, **fields}
    return Broadcast(id="bc_1", created_at=NOON, created_by="lin", **wanted)


def submitted(now: int, undo_ms: int = 0, **fields: Any) -> Broadcast:
    return life.submit(draft(**fields), "lin", now, Rules(SHANGHAI, undo_ms=undo_ms), recipients=1)


# --- begin ------------------------------------------------------------------------------------------------------------


def test_it_begins_at_its_time_and_not_while_it_can_be_undone():
    """The later of the two; what waits for its time is left alone, as is what is not scheduled."""
    undone = submitted(NOON, undo_ms=MINUTE)
    assert [life.due(undone, at) for at in (NOON, NOON + MINUTE - 1, NOON + MINUTE)] == [False, False, True]
    later = submitted(NOON, undo_ms=MINUTE, send_at=NOON + HOUR)
    assert [life.due(later, at) for at in (NOON + MINUTE, NOON + HOUR - 1, NOON + HOUR)] == [False, False, True]
    assert not life.due(structs.replace(later, state="paused"), NOON + DAY)
    assert not life.due(submitted(NOON, repeat=AT_NOON), NOON + 30 * DAY)  # its rounds begin, never itself


def test_undo_ends_when_it_begins():
    """Before it is approved, and until the last moment before it begins; a weekly one sends nothing itself."""
    scheduled = submitted(NOON, undo_ms=MINUTE, send_at=NOON + HOUR)
    assert life.withdraw(scheduled, NOON + HOUR - 1).state == "draft"
    with pytest.raises(StateError):
        life.withdraw(scheduled, NOON + HOUR)
    with pytest.raises(StateError):
        life.withdraw(submitted(NOON, undo_ms=MINUTE), NOON + MINUTE)
    assert life.withdraw(submitted(NOON, repeat=AT_NOON), NOON + 30 * DAY).state == "draft"
    waits = life.submit(draft(), "lin", NOON, Rules(SHANGHAI, approve_above=0), recipients=1)
    assert life.withdraw(waits, NOON + DAY).state == "draft"


def test_what_has_begun_ends_three_days_later_unless_it_says_when():
    """A message that has not gone by then is of no use."""
    assert life.start(submitted(NOON), NOON + 5).not_after == NOON + 5 + LIFE_MS
    assert life.start(submitted(NOON, not_after=NOON + HOUR), NOON + 5).not_after == NOON + HOUR


def test_only_what_never_began_is_over_at_once_when_cancelled():
    """What is under way has messages to account for first."""
    assert life.cancel(submitted(NOON), NOON + 5, "staff").done_at == NOON + 5
    assert life.cancel(life.start(submitted(NOON), NOON), NOON + 5, "staff").done_at == 0


def test_who_approved_a_draft_that_changed_since_approved_something_else():
    """Taken back and let go again, it needs its approval again."""
    rules = Rules(SHANGHAI, approve_above=0, undo_ms=MINUTE)
    approved = life.approve(life.submit(draft(), "lin", NOON, rules, recipients=1), "wang", NOON, rules, alone=False)
    back = life.withdraw(approved, NOON)
    assert (back.approved_by, back.submitted_by, back.undo_until) == ("", "", 0)
    again = life.submit(structs.replace(back, approved_by="wang"), "wang", NOON, rules, recipients=1)
    assert (again.state, again.approved_by) == ("awaiting_approval", "")
    with pytest.raises(StateError):
        life.approve(again, "wang", NOON, rules, alone=False)
    with pytest.raises(StateError):
        life.approve(submitted(NOON), "zhou", NOON, rules, alone=False)


def test_what_outgrew_its_approval_needs_somebodys_word():
    """Above the limit where nobody approved; over twice what was approved; rounds of a weekly one grow as they will."""
    rules, few = Rules(SHANGHAI, approve_above=10), draft(recipients=10)
    many = draft(recipients=50, approved_by="wang")
    assert [bool(life.outgrown(few, size, rules)) for size in (10, 11)] == [False, True]
    assert [bool(life.outgrown(many, size, rules)) for size in (100, 101)] == [False, True]
    assert not life.outgrown(structs.replace(many, parent="bc_0"), 1000, rules)
    assert life.outgrown(structs.replace(few, parent="bc_0"), 11, rules)  # nobody ever approved the weekly one
    assert not life.outgrown(few, 1000, Rules(SHANGHAI))


def test_who_lets_an_outgrown_one_go_on_approves_it():
    """Not who submitted it, but by typing the count; the new count is what was approved."""
    rules = Rules(SHANGHAI, approve_above=10)
    grown = life.pause(structs.replace(life.start(submitted(NOON), NOON), frozen=30), "grown")
    with pytest.raises(StateError):
        life.resume(grown, "lin", NOON, rules, looked_at=(0, 0, 0))
    for by, alone in (("wang", False), ("lin", True)):
        going = life.resume(grown, by, NOON, rules, looked_at=(0, 0, 0), alone=alone)
        assert (going.state, going.approved_by, going.recipients) == ("sending", by, 30)
        assert not life.outgrown(going, 30, rules)
    small = life.resume(structs.replace(grown, frozen=10), "lin", NOON, rules, looked_at=(0, 0, 0))
    assert (small.state, small.approved_by) == ("sending", "")


# --- weekly -----------------------------------------------------------------------------------------------------------


def test_the_first_round_waits_for_the_undo_window_and_for_send_at():
    """Let go at the very minute of a round with a minute to undo it: the round is the next week's."""
    assert submitted(NOON, repeat=AT_NOON).next_at == NOON
    assert submitted(NOON, undo_ms=MINUTE, repeat=AT_NOON).next_at == NOON + 7 * DAY
    assert submitted(NOON, repeat=AT_NOON, send_at=NOON + 8 * DAY).next_at == NOON + 14 * DAY


def test_rounds_of_a_pause_are_not_made_up():
    """Paused for three weeks it goes on with the next round; paused for a minute, with the same."""
    paused = life.pause(submitted(NOON + 1, repeat=AT_NOON), "staff")
    long = life.resume(paused, "lin", NOON + 22 * DAY, Rules(SHANGHAI), looked_at=(5, 1, 0))
    assert (long.state, long.next_at, long.looked_at) == ("scheduled", NOON + 28 * DAY, (5, 1, 0))
    short = life.resume(paused, "lin", NOON + 2, Rules(SHANGHAI), looked_at=(0, 0, 0))
    assert short.next_at == NOON + 7 * DAY


def test_a_round_is_a_broadcast_of_its_own():
    """What staff wrote and approved is the weekly one's; its life is its own, and the same for whoever makes it."""
    weekly = structs.replace(
        submitted(NOON, repeat=AT_NOON, not_after=NOON + 90 * DAY),
        approved_by="wang", pauses=3, looked_at=(9, 9, 9), missed=2, version=7, undo_until=NOON + 99 * DAY,
    )  # fmt: skip
    made = life.round_of(weekly, NOON + 7 * DAY)
    assert (made.parent, made.state, made.approved_by, made.text) == (weekly.id, "scheduled", "wang", weekly.text)
    assert (made.repeat, made.version, made.pauses, made.missed, made.next_at) == (None, 0, 0, 0, 0)
    assert made.looked_at == (0, 0, 0)
    assert made.not_after == NOON + 7 * DAY + LIFE_MS  # a week's notice is not sent in three months
    assert life.due(made, NOON + 7 * DAY)
    assert life.round_of(weekly, NOON + 7 * DAY) == made
    assert life.round_of(weekly, NOON + 14 * DAY).id != made.id != weekly.id


def test_the_last_moment_of_a_repeat_counts():
    """A round at the very end of it is made, one after it is not."""
    ends = Repeat(weekday=1, minute=720, until=NOON + 7 * DAY)
    assert life.occurrence(ends, NOON + 1, SHANGHAI) == NOON + 7 * DAY
    assert life.occurrence(structs.replace(ends, until=NOON + 7 * DAY - 1), NOON + 1, SHANGHAI) == 0


# --- who gets it, how -------------------------------------------------------------------------------------------------

IDS = [f"b_{n}" for n in range(2000)]


@given(percent=st.integers(0, 90), id=st.sampled_from(["bc_1", "bc_2"]))
def test_the_share_that_is_left_out(percent: int, id: str):
    """About so many, none of 0; who is left out of a smaller share is left out of a larger one, too."""
    one = structs.replace(draft(holdout_percent=percent), id=id)
    held = {buyer for buyer in IDS if held_out(one, buyer)}
    assert abs(len(held) - 20 * percent) <= 100
    assert percent or not held
    more = structs.replace(one, holdout_percent=percent + 1)
    assert all(held_out(more, buyer) for buyer in held)


def test_one_percent_is_one_percent():
    """Of two thousand some twenty: not those of the next percent, too."""
    held = [sum(held_out(structs.replace(draft(holdout_percent=n), id="bc_1"), one) for one in IDS) for n in (1, 2)]
    assert 10 <= held[0] <= 30
    assert 30 <= held[1] <= 55


def test_the_same_are_left_out_of_every_round_and_others_of_another_broadcast():
    """Or in a few weeks everybody would have had it, and there were nobody to compare with."""
    weekly = draft(holdout_percent=20, repeat=AT_NOON)
    rounds = [life.round_of(weekly, NOON + n * 7 * DAY) for n in range(3)]
    held = [{buyer for buyer in IDS if held_out(one, buyer)} for one in (weekly, *rounds)]
    assert held[0] == held[1] == held[2] == held[3]
    assert held[0] != {buyer for buyer in IDS if held_out(structs.replace(weekly, id="bc_2"), buyer)}


def named(broadcast: Broadcast, buyer: str, variant: str = "") -> str:
    found = variant_of(broadcast, variant, buyer)
    return found.name if found else ""


def test_variants_with_conditions_are_for_whom_the_audience_names():
    """By weight only those are drawn that anybody may get; the same one in every round."""
    ways = (Variant("vip", 5, where='{"all":[]}'), Variant("a", 1), Variant("b", 3), Variant("none", 0))
    one = draft(variants=ways, repeat=AT_NOON)
    drawn = [named(one, buyer) for buyer in IDS]
    assert set(drawn) == {"a", "b"}
    assert 400 < drawn.count("a") < 600
    assert {named(one, buyer, "vip") for buyer in IDS} == {"vip"}
    assert drawn == [named(life.round_of(one, NOON), buyer) for buyer in IDS]
    assert named(draft(), "b_1") == named(draft(variants=ways[:1]), "b_1") == ""
