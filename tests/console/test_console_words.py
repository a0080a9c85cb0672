"""The console's words: three languages say the same things, and nothing of the engine's is shown raw."""

from __future__ import annotations

import re
import string
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from bot.access import ROLES
from bot.broadcasts import BroadcastState
from bot.lint import RULES
from bot.phrases import VARIABLES
from bot.reasons import FailureReason, SkipReason
from console.sentences import sentence
from console.titles import TAIWAN, title
from console.web.words import WORDS
from ledger.segments.conditions import parse
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS, QUALIFIERS
from tests.conditions import every
from tests.console.served import ROOT


def leaves(table: dict[str, Any], path: str = "") -> dict[str, str]:
    found = {}
    for name, value in table.items():
        found |= leaves(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


def names(text: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}
    except ValueError:  # {{ name }} of a text for staff
        return set()


@pytest.mark.parametrize("lang", ["zh-TW", "en"])
def test_each_language_says_the_same_things(lang: str) -> None:
    """The same keys, and the same values named in each."""
    ours, theirs = leaves(dict(WORDS["zh-CN"])), leaves(dict(WORDS[lang]))
    assert set(ours) == set(theirs)
    assert {key: names(text) for key, text in ours.items() if not key.startswith("rule.")} == {
        key: names(text) for key, text in theirs.items() if not key.startswith("rule.")
    }


@pytest.mark.parametrize("lang", sorted(WORDS))
def test_everything_that_can_be_shown_has_words(lang: str) -> None:
    words = WORDS[lang]
    assert set(words["rule"]) == set(RULES)
    for rule, text in words["rule"].items():
        assert names(text) <= names(RULES[rule]), rule
    assert {*map(str, SkipReason), *map(str, FailureReason)} <= set(words["reason"])
    assert set(words["state"]) == set(get_args(BroadcastState))
    assert set(words["role"]) == set(ROLES)


@pytest.mark.parametrize("lang", sorted(WORDS))
def test_conditions_speak_the_page(lang: str) -> None:
    """Each choice, narrowing and variable has words; each field a title of Taiwan."""
    words = WORDS[lang]
    assert {choice for field in FIELDS.values() for choice in field.choices} - {""} <= set(words["choice"])
    assert set(QUALIFIERS) == set(words["besides"])
    assert (
        {*(op for ops in OPERATORS.values() for op in ops), "unknown"} == set(words["operator"]) == set(words["said"])
    )
    assert set(OPERATORS["list"]) == set(words["operator_list"]) == set(words["said_list"])
    assert (
        {name for name, field in FIELDS.items() if field.type == "yes/no"} == set(words["is"]) == set(words["is_not"])
    )
    assert {name for name in VARIABLES if not name[-1].isdigit()} == set(words["variable"])
    assert set(TAIWAN) == set(FIELDS)
    assert not set("".join(TAIWAN.values())) & set("请这个们发为会员关从来时间还没说务优")


@pytest.mark.parametrize("lang", sorted(WORDS))
def test_every_condition_reads_as_a_sentence(lang: str) -> None:
    """With its field, its value and what narrows it down; nothing of the engine's own is shown."""
    zone = ZoneInfo("Asia/Shanghai")
    for test in every():
        told = sentence(parse({"all": [test]}), lang, WORDS[lang], zone)
        assert not re.search(r"[{}]|None|True|False|Instant|DaysAgo|not_in|yes/no", told), (test, told)
        if FIELDS[test["field"]].type != "yes/no":
            assert _close(title(FIELDS[test["field"]], lang)) in _close(told), (test, told)
        for name in set(test) & {"account", "shop", "campaign"}:
            assert test[name] in told
    both = {
        "all": [
            {"field": "member.is", "op": "=", "value": True},
            {"not": {"field": "member.is", "op": "=", "value": False}},
        ]
    }
    assert {
        "zh-CN": "是会员，并且不满足（不是会员）",
        "zh-TW": "是會員，而且不符合（不是會員）",
        "en": "is a member and not (is no member)",
    }[lang] == sentence(parse(both), lang, WORDS[lang], zone)
    assert sentence(parse({"all": []}), lang, WORDS[lang], zone) == ""
    assert sentence(parse({"any": []}), lang, WORDS[lang], zone) == WORDS[lang]["js"]["count_none"]


def _close(text: str) -> str:
    return text.replace(" ", "")


@pytest.mark.parametrize("lang", sorted(WORDS))
def test_each_kind_of_refusal_has_words(lang: str) -> None:
    """What the API says in English only stands behind what kind of trouble it is, in the page's language."""
    told = (ROOT / "docs" / "problems.md").read_text("utf-8").partition("\n## Webhooks")[0]
    kinds = set(re.findall(r"^### `([a-z-]+)`", told, re.MULTILINE))
    assert set(WORDS[lang]["problem"]) == {*kinds, "other"}


def test_taiwan_reads_its_own_words() -> None:
    """No simplified character, and the words of Taiwan."""
    text = "".join(leaves(dict(WORDS["zh-TW"])).values()).replace("拒收请回复R", "")
    assert not set(text) & set("请这个们发为会员关从来时间还没说务优")
    assert "簡訊" in text
    assert "短信" not in text
