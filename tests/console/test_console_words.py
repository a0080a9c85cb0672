"""The console's words: three languages say the same things, and nothing of the engine's is shown raw."""

from __future__ import annotations

import re
import string
from typing import Any, get_args

import pytest

from bot.access import ROLES
from bot.broadcasts import BroadcastState
from bot.lint import RULES
from bot.phrases import VARIABLES
from bot.reasons import FailureReason, SkipReason
from console.titles import TAIWAN
from console.web.words import WORDS
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import QUALIFIERS
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
    assert {name for name in VARIABLES if not name[-1].isdigit()} == set(words["variable"])
    assert set(TAIWAN) == set(FIELDS)
    assert not set("".join(TAIWAN.values())) & set("请这个们发为会员关从来时间还没说务优")


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
