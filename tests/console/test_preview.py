"""What a preview counts: each buyer's own decision where all were weighed, the ledger's count of the whole where they were too many."""

from __future__ import annotations

from bot.records import Buyer
from console.desk import Whole
from console.preview import Weighed, spread, would

SOMEBODY = Buyer(id="b_1", home="x", created_at=0)
WEIGHED = [
    Weighed(SOMEBODY, "send", "sms-main"),
    Weighed(SOMEBODY, "defer", "sms-main", reason="cap_reached"),
    Weighed(SOMEBODY, "skip", reason="no_consent"),
    Weighed(SOMEBODY, "skip", reason="no_consent"),
]


def test_a_small_audience_is_what_each_buyers_decision_says() -> None:
    whole = Whole(4, {}, {"sms-main": 2}, {"no_consent": 2}, 1)
    assert would(WEIGHED, whole) == {
        "would_send": {"sms-main": 1},
        "would_wait": {"cap_reached": 1},
        "would_skip": {"no_consent": 2},
    }


def test_a_large_audience_is_what_the_ledger_counts() -> None:
    """Who is over a cap waits, whatever the account."""
    whole = Whole(100_000, {}, {"sms-main": 60_000, "messenger-main": 30_000}, {"no_consent": 10_000}, 500)
    assert would(WEIGHED, whole) == {
        "would_send": {"sms-main": 60_000, "messenger-main": 30_000},
        "would_wait": {"cap_reached": 500},
        "would_skip": {"no_consent": 10_000},
    }


def test_without_a_ledger_the_sample_is_told() -> None:
    assert would(WEIGHED, Whole(9, {}, {}, {}))["would_send"] == {"sms-main": 1}


def test_the_cost_of_a_large_audience_follows_from_the_count() -> None:
    """Of 60,000 texts, not of what a thousand who were weighed would come to."""
    whole = Whole(100_000, {}, {"sms-main": 60_000}, {"no_consent": 40_000}, 500)
    assert spread(WEIGHED, whole, ("sms-main",)) == {"sms-main": 60_000}
    assert spread(WEIGHED, Whole(4, {}, {"sms-main": 1}, {}), ("sms-main",)) == {"sms-main": 2}
    assert spread(WEIGHED, Whole(8, {}, {}, {}), ("sms-main",)) == {"sms-main": 4}
    assert spread([], Whole(8, {}, {}, {}), ("sms-main",)) == {"sms-main": 8}
