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
    source = (ROOT / "bot" / "keys.py").read_text("utf-8")
    used = set(re.findall(r'^[A-Z_]+ = "([a-z:]+)"', source, re.MULTILINE)) | set(re.findall(r'f"([a-z]+):\{', source))
    for path in (ROOT / "bot" / "lua").glob("*.lua"):
        used |= set(re.findall(r"'([a-z]+):' \.\. tag", path.read_text("utf-8")))
    named = set(re.findall(r"`([a-z]+(?::[a-z]+)?):?(?:[{…N][^`]*)?`", page))
    assert len(used) > 30
    assert used <= named


def test_keys_are_built_in_one_place() -> None:
    """Outside `bot/keys.py` no Python code spells a key with a hash tag, nor builds one from `keys.tag`."""
    for folder in ("bot", "console", "handlers", "channels", "shops", "pages"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != ROOT / "bot" / "keys.py":
                source = path.read_text("utf-8")
                assert not re.search(r'f"[a-z]+:\{(\{|keys\.tag|tag)', source), path
                assert not re.search(r"keys\.tag\([^)]*\)\}", source), path


def test_each_promise_names_tests_that_exist() -> None:
    """Seven promises; each attack has tests and a control, and every test named is there."""
    page = (ROOT / "docs" / "promises.md").read_text("utf-8")
    assert re.findall(r"^## (\d)\.", page, re.MULTILINE) == list("1234567")
    rows = [row for row in page.splitlines() if row.startswith("| ") and not row.startswith(("| attack", "| ---"))]
    assert len(rows) > 20
    for row in rows:
        _, attack, tests, controls, _ = row.split("|")
        assert "::" in tests, attack
        assert controls.strip(), attack
        for file, name in re.findall(r"`([\w/.]+\.py)::(\w+)`", row):
            source = (ROOT / file).read_text("utf-8")
            assert re.search(rf"^ *(async )?def {name}\(", source, re.MULTILINE), f"{file}::{name}"
        assert row.count("::") == len(re.findall(r"`[\w/.]+\.py::\w+`", row)), attack
