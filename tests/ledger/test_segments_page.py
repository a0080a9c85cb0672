"""docs/segments.md lists the fields, operators and switches that there are, and no other. `python -m tests.ledger.test_segments_page` rewrites them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.segments import parse
from ledger.segments.exclusions import READY, Pitched
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS
from ledger.segments.lifecycle import ASLEEP_DAYS, NEW_DAYS, PRE_CHURN_DAYS, STAGES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "segments.md"


def field_rows() -> list[str]:
    return [
        f"| `{f.name}` | {f.type} | {f.en} ({f.zh}){f'; {f.hint}' if f.hint else ''} | "
        f"{' '.join(f'`{q}`' for q in f.qualifiers)} |"
        for f in FIELDS.values()
    ]


def switch_rows() -> list[str]:
    return [f"| `{one.name}` | {one.explained['en'].removeprefix('Leaves out ')} |" for one in READY]


def section(title: str) -> str:
    return PAGE.read_text("utf-8").split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def test_each_field_has_its_row() -> None:
    assert [row for row in section("Fields").splitlines() if row.startswith("| `")] == field_rows()


def test_each_switch_has_its_row() -> None:
    rows = [row for row in section("Ready exclusions").splitlines() if row.startswith("| `")]
    assert rows == switch_rows()


def test_each_type_has_its_row_with_its_operators() -> None:
    rows = re.findall(r"^\| ([a-z/]+) \| .* \| (.*) \|$", section("Types"), re.MULTILINE)
    told = {kind: {word for word in re.findall(r"`([^`]+)`", words) if '"' not in word} for kind, words in rows}
    numbers = told["number"]
    told["money"] = numbers
    assert told == {"type": set(), **{kind: set(ops) for kind, ops in OPERATORS.items()}}


def test_the_stages_of_the_lifecycle() -> None:
    text = section("Lifecycle")
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)[1:] == list(STAGES)
    assert [int(n) for n in re.findall(r"(\d+) days", text)[:4]] == [NEW_DAYS, PRE_CHURN_DAYS, ASLEEP_DAYS, ASLEEP_DAYS]


def test_the_example_is_a_segment() -> None:
    example = re.search(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert example is not None
    parse(__import__("json").loads(example[1]))


@pytest.mark.parametrize("one", READY, ids=lambda one: one.name)
def test_each_switch_speaks_three_languages(one) -> None:
    for words in (one.title, one.explained):
        assert set(words) == {"zh-CN", "zh-TW", "en"}
        assert len(set(words.values())) == 3
        assert all(words.values())
    assert one.condition(Pitched())


def test_each_field_has_its_names() -> None:
    for field in FIELDS.values():
        assert re.search(r"[\u4e00-\u9fff]", field.zh), field.name
        assert field.en[0].isupper(), field.name


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    text = text.replace("FIELDS\n", "\n".join(field_rows()) + "\n").replace(
        "EXCLUSIONS\n", "\n".join(switch_rows()) + "\n"
    )
    PAGE.write_text(text, "utf-8")
