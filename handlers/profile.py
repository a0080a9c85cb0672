"""After the card: name, birthday, gender, size, one at a time and skippable; then, as its own question, marketing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.clock import MINUTE_MS
from bot.effects import Cancel, Effect, Enter, Leave, LeaveClub, Missed, Remember, Say, Schedule, SetConsent, SetProfile
from bot.handling import Handler, Trigger, Turn
from bot.hours import local

CONSENT_AFTER_MS = 10 * MINUTE_MS
STEPS = ("name", "birthday", "gender", "size")
GENDERS = {
    "female": "female",
    "male": "male",
    "unsaid": "unsaid",
    "女": "female",
    "男": "male",
    "f": "female",
    "m": "male",
}
_BIRTHDAY = re.compile(
    r"(?:(\d{4})[-/.年]?)?\s*(\d{1,2})[-/.月](\d{1,2})[日号號]?|(\d{4})(\d{2})(\d{2})|(\d{2})(\d{2})"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MAX_TRIES = 3
ADULT = 14  # years, from which on a card is opened without a parent


def parse_birthday(text: str) -> str:
    """`"1990-01-02"` or `"01-02"` of what people type (1月2日, 1/2, 0102, 1990-1-2), "" for none."""
    found = _BIRTHDAY.fullmatch(text.strip())
    if not found:
        return ""
    groups = found.groups()
    year, month, day = next(g for g in (groups[:3], groups[3:6], (None, *groups[6:8])) if g[1])
    m, d = int(month or 0), int(day or 0)
    if not 1 <= m <= 12 or not 1 <= d <= _DAYS[m - 1]:
        return ""
    if year and not 1900 <= int(year) <= 2030:
        return ""
    return f"{year}-{m:02d}-{d:02d}" if year else f"{m:02d}-{d:02d}"


def first_step(turn: Turn) -> list[Effect]:
    """The first question that is still open."""
    return _ask(turn, 0)


def _known(turn: Turn, step: str) -> bool:
    buyer = turn.buyer
    held = {"name": buyer.name, "birthday": buyer.birthday, "gender": buyer.gender, "size": buyer.sizes.get("top", "")}
    return bool(held[step])


def _ask(turn: Turn, position: int) -> list[Effect]:
    for step in STEPS[position:]:
        if not _known(turn, step):
            later = Schedule("consent_ask", turn.now + CONSENT_AFTER_MS)
            return [Enter(f"profile.{step}"), later, Say(f"ask_{step}")]
    return ask_consent(turn)


def _next(turn: Turn, step: str) -> list[Effect]:
    return _ask(turn, STEPS.index(step) + 1)


def _back(turn: Turn, step: str) -> list[Effect]:
    before = STEPS[max(0, STEPS.index(step) - 1)]
    del turn
    return [Enter(f"profile.{before}"), Say(f"ask_{before}")]


def _again(turn: Turn, step: str) -> list[Effect]:
    tries = turn.address.dialog.tries if turn.address is not None else 0
    if tries + 1 >= MAX_TRIES:
        return _next(turn, step)
    return [Missed(), Say(f"ask_{step}_again")]


def _skips(turn: Turn) -> bool:
    return turn.arg == "skip" or turn.text in ("跳过", "跳過", "skip", "不用", "略过")


def name(turn: Turn) -> Sequence[Effect]:
    """What to call the buyer."""
    if _skips(turn):
        return _next(turn, "name")
    given = turn.raw_text.strip()
    if turn.arg == "back" or not given:
        return [Say("ask_name")]
    if len(given) > 30 or "\n" in given or "http" in given.lower():
        return _again(turn, "name")
    return [SetProfile("name", given), *_next(turn, "name")]


def birthday(turn: Turn) -> Sequence[Effect]:
    """Month and day; the year only if it is given."""
    if _skips(turn):
        return _next(turn, "birthday")
    if turn.arg == "back":
        return _back(turn, "birthday")
    found = parse_birthday(turn.text)
    if found and _under_age(found, turn):
        return [Cancel("consent_ask"), LeaveClub(), Leave(), Say("too_young")]
    return [SetProfile("birthday", found), *_next(turn, "birthday")] if found else _again(turn, "birthday")


def _under_age(birthday: str, turn: Turn) -> bool:
    """Whether a birthday with its year is of a child under 14: without a parent's consent nothing of it is kept."""
    today = local(turn.now, turn.facts.timezone)
    return len(birthday) == 10 and birthday > f"{today.year - ADULT:04d}-{today:%m-%d}"


def gender(turn: Turn) -> Sequence[Effect]:
    """Female, male, or rather not say."""
    if _skips(turn):
        return _next(turn, "gender")
    if turn.arg == "back":
        return _back(turn, "gender")
    found = GENDERS.get(turn.arg or turn.text)
    return [SetProfile("gender", found), *_next(turn, "gender")] if found else _again(turn, "gender")


def size(turn: Turn) -> Sequence[Effect]:
    """The size of tops, as a letter or a number."""
    if _skips(turn):
        return _next(turn, "size")
    if turn.arg == "back":
        return _back(turn, "size")
    given = (turn.arg or turn.text).upper()
    if not re.fullmatch(r"(X{0,3}[SL]|M|[2-6]XL|1[4-9]\d|\d{2})", given):
        return _again(turn, "size")
    return [SetProfile("size:top", given), *_next(turn, "size")]


# --- marketing consent ------------------------------------------------------------------------------------------------


def ask_consent(turn: Turn) -> list[Effect]:
    """The question of its own, once; the answer changes nothing about the card."""
    done: list[Effect] = [Cancel("consent_ask"), Leave()]
    return [*done, consent_question()] if consent_open(turn) else [*done, Say("profile_done")]


def consent_open(turn: Turn) -> bool:
    """Whether the question was neither asked nor answered yet."""
    answered = any(address.consent.marketing != "unknown" for address in turn.buyer.addresses)
    return not answered and not turn.buyer.tallies.get("consent_asked", 0)


def consent_question() -> Say:
    """The question. Only one that is really said counts as asked: held back, it is asked with the next look at the card."""
    return Say("ask_marketing", after=(Remember("consent_asked"), Enter("consent.marketing", timeout_s=86_400)))


def silence(turn: Turn) -> Sequence[Effect]:
    """Ten minutes of silence after the card: the question comes then."""
    if turn.buyer.member is None or turn.address is None or not consent_open(turn):
        return []
    later = turn.now + CONSENT_AFTER_MS
    if turn.address.staff_until > turn.now:  # not into a conversation that people are in
        return [Schedule("consent_ask", turn.address.staff_until + CONSENT_AFTER_MS)]
    dialog = turn.address.dialog
    if dialog.state and not dialog.state.startswith("profile.") and dialog.until > turn.now:
        return [Schedule("consent_ask", later)]  # not into another question
    return ask_consent(turn)


def answer(turn: Turn) -> Sequence[Effect]:
    """Yes or no; anything else is asked again once."""
    source = f"{turn.event.account}:chat"
    if turn.arg == "news" or turn.text in ("要", "好", "yes", "y", "ok"):
        granted = SetConsent("marketing", "granted", "ask_marketing", source)
        return [granted, Leave(), Say("consent_yes")]
    if turn.arg == "no_news" or turn.text in ("不用", "不要", "no", "n", "不"):
        return [SetConsent("marketing", "refused", "ask_marketing", source), Leave(), Say("consent_no")]
    tries = turn.address.dialog.tries if turn.address is not None else 0
    return [Leave(), Say("consent_no")] if tries else [Missed(), Say("ask_marketing")]


HANDLER = Handler(
    name="profile",
    runs={
        Trigger("state", "profile.name"): name,
        Trigger("state", "profile.birthday"): birthday,
        Trigger("state", "profile.gender"): gender,
        Trigger("state", "profile.size"): size,
        Trigger("state", "consent.marketing"): answer,
        Trigger("timer", "consent_ask"): silence,
    },
    states=frozenset({"profile.name", "profile.birthday", "profile.gender", "profile.size", "consent.marketing"}),
)
