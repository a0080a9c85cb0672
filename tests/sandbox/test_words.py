"""The phone page's words: no name of the engine is shown raw in Chinese, and both languages say the same things."""

from __future__ import annotations

import re
import tomllib

import pytest

from bot.bootstrap import ROOT
from bot.reasons import Rule, SkipReason
from sandbox.app import STATIC
from sandbox.shop import VERBS

WORDINGS = sorted(
    key
    for path in (ROOT / "templates" / "zh-CN").glob("*.toml")
    for key in tomllib.loads(path.read_text(encoding="utf-8"))
)


def table(lang: str, name: str) -> set[str]:
    """The keys of one table of a language's words."""
    text = (STATIC / f"words.{lang}.js").read_text(encoding="utf-8")
    found = re.search(rf"^  {name}: \{{(.*?)\}}", text, re.DOTALL | re.MULTILINE)
    assert found, f"words.{lang}.js has no {name}"
    return set(re.findall(r"(\w+): [\"(]", found[1]))


def test_every_wording_has_a_chinese_name() -> None:
    """A wording that the page cannot name would stand there in English: add it to `key` of words.zh.js."""
    assert [key for key in WORDINGS if key not in table("zh", "key")] == []


def test_every_rule_and_reason_has_a_chinese_name() -> None:
    """As the wordings: the closed lists of decisions."""
    assert {str(rule) for rule in Rule} <= table("zh", "rule")
    assert {str(reason) for reason in SkipReason} <= table("zh", "reason")
    assert {str(reason) for reason in SkipReason} <= table("en", "reason")


@pytest.mark.parametrize("name", ["verbs", "told"])
def test_every_deed_of_the_shop_is_named_and_told(name: str) -> None:
    """In both languages."""
    assert set(VERBS) <= table("zh", name)
    assert set(VERBS) <= table("en", name)


def test_both_languages_have_the_same_entries() -> None:
    """What one language says, the other does; names of the engine may be spelt out in English."""
    tops = [
        set(re.findall(r"^  (\w+):|(?<=, )(\w+): \"", (STATIC / f"words.{lang}.js").read_text(), re.MULTILINE))
        for lang in ("zh", "en")
    ]
    zh, en = ({first or second for first, second in top} for top in tops)
    inner = {*WORDINGS, *map(str, Rule), *map(str, SkipReason)}
    assert zh - inner == en - inner
