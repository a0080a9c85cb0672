"""How an account stands, by what was told of it and when."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from bot.clock import DAY_MS, HOUR_MS
from bot.records import AccountState
from bot.standing import standing
from pages.landing_words import WORDS

ZONE = ZoneInfo("Asia/Shanghai")
NOW = 1_790_000_000_000  # 2026-09-21 22:13 in Shanghai
DAY_BEFORE = NOW - DAY_MS


def stands(*lines: str, wait_s: float = 0, blocked: str = "") -> tuple[str, list[str]]:
    record = AccountState("one", alerts=list(lines), blocked=blocked)
    found = standing("one", "wechat", record, wait_s=wait_s, now=NOW, zone=ZONE)
    return found.state, [alert.word for alert in found.troubles]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], []),
        ([f"{NOW - HOUR_MS} send account 190: the page token is refused"], ["account"]),
        ([f"{DAY_BEFORE} send account 190: the page token is refused"], []),
        ([f"{NOW - HOUR_MS} send filtered 30007: spam"], ["filtered"]),
        ([f"{NOW - HOUR_MS} send rejected 21612: no route"], ["send"]),
        ([f"{NOW - 9} send account 1: x", f"{NOW - 8} send account 2: y", f"{NOW - 7} send content 3: z"], ["content", "account"]),
        ([f"{NOW - HOUR_MS} spend 80 % of daily_spend_limit: 8 of 10 USD"], ["spend_near"]),
        ([f"{NOW - 2} spend 80 % of daily_spend_limit: 8 of 10 USD", f"{NOW - 1} spend 100 % of daily_spend_limit: 10 of 10 USD"], ["spend_over"]),
        ([f"{NOW - 23 * HOUR_MS} spend 100 % of daily_spend_limit: 10 of 10 USD"], []),
        ([f"{NOW - 9 * DAY_MS} spend 100 % of monthly_budget: 10 of 10 USD"], ["spend_over"]),
        ([f"{NOW - 25 * DAY_MS} spend 100 % of monthly_budget: 10 of 10 USD"], []),
        ([f"{NOW - 90 * DAY_MS} annual_renew expires 2026-10-01"], ["annual_renew"]),
        ([f"{NOW - 90 * DAY_MS} verify_expired ", f"{NOW - 80 * DAY_MS} qualification_verify_success "], []),
        ([f"{NOW - 80 * DAY_MS} qualification_verify_success ", f"{NOW - 70 * DAY_MS} verify_expired "], ["verify_expired"]),
        ([f"{NOW - 9} naming_verify_fail the name is taken"], ["verify_fail"]),
        ([f"{NOW - 9} warning spam"], ["policy"]),
        ([f"{NOW - 9} block spam", f"{NOW - 8} unblock policy enforcement: unblock"], []),
    ],
)  # fmt: skip
def test_what_still_stands(lines, words):
    """The newest of each topic, until it is over; every word has its cure in both languages."""
    assert stands(*lines) == ("trouble" if words else "ok", words)
    assert all(WORDS[lang]["alert_" + word] for lang in WORDS for word in words)


def test_what_weighs_most_is_the_state():
    alert = f"{NOW - 1} send account 190: the page token is refused"
    assert stands(alert, wait_s=3)[0] == "paused"
    assert stands(alert, wait_s=3, blocked="spam")[0] == "blocked"
    assert standing("one", "wechat", None, wait_s=0, now=NOW, zone=ZONE).state == "ok"
