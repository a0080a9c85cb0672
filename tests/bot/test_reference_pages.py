"""The reference pages name what the code knows: every word of the closed lists, every Redis key."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from bot.reasons import FailureReason, Rule, SkipReason

ROOT = Path(__file__).resolve().parents[2]


def _section(page: str, title: str) -> str:
    return page.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(("title", "words"), [("Rules", Rule), ("Skips", SkipReason), ("Failures", FailureReason)])
def test_each_word_is_explained_and_no_other(title: str, words: type[StrEnum]) -> None:
    page = (ROOT / "docs" / "reasons.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \|", _section(page, title), re.MULTILINE)
    assert sorted(rows) == sorted(str(word) for word in words)


def test_reserved_words_are_marked() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text("utf-8")
    code = "\n".join(
        path.read_text("utf-8")
        for folder in ("bot", "handlers", "channels")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "reasons.py"
    )
    for words, title in ((Rule, "Rules"), (SkipReason, "Skips"), (FailureReason, "Failures")):
        for word in words:
            given = f"{words.__name__}.{word.name}" in code or f'reason = "{word}"' in code
            row = re.search(rf"^\| `{word}` \|(.*)$", _section(page, title), re.MULTILINE)
            assert row is not None
            assert given != ("not given yet" in row[1].lower()), word


def test_each_key_has_its_row() -> None:
    page = (ROOT / "docs" / "redis.md").read_text("utf-8")
    used = set(re.findall(r'f"([a-z]+):\{tag\(', (ROOT / "bot" / "keys.py").read_text("utf-8")))
    for path in (ROOT / "bot" / "lua").glob("*.lua"):
        used |= set(re.findall(r"'([a-z]+):' \.\. tag", path.read_text("utf-8")))
    rows = set(re.findall(r"^\| `([a-z]+):\{pNN\}", page, re.MULTILINE))
    assert len(used) > 15
    assert used <= rows
