"""docs/policy.md and docs/keywords.md say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

import handlers
from bot.messages import Purpose
from bot.policy import Plan, PolicySettings, decide
from bot.records import Address, Buyer, Consent
from bot.routing import Keywords, Registry, fold
from tests.bot.test_policy import NIGHT, NOON, SHOP, chat, plan, text

DOCS = Path("docs")
PAGE = (DOCS / "policy.md").read_text("utf-8")
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for line in PAGE.splitlines()
    if line.startswith("| `") and len(cells := line.strip("| ").split(" | ")) == 7
}


def outcome(purpose: str, address: Address, now: int = NOON) -> str:
    return decide(plan(purpose, address, now=now), SHOP).outcome


def test_the_page_has_a_row_for_each_purpose():
    """No purpose without its row."""
    assert sorted(ROWS) == sorted(get_args(Purpose))


@pytest.mark.parametrize("purpose", ["reply", "service", "marketing"])
def test_a_row_is_what_is_decided(purpose):
    """Hours, opt-out and staff of the table, against decisions."""
    _, hours, _, opted_out, staff, _ = ROWS[purpose]
    assert (outcome(purpose, chat(), NIGHT) == "send") == (hours == "any")
    assert (outcome(purpose, chat(opted_out=True)) == "skip") == (opted_out == "refused")
    held = outcome(purpose, chat(staff_until=NOON + 1))
    assert held == {"not sent": "skip", "sent": "send", "waits, on all channels": "defer"}[staff]


def test_a_number_that_was_given_up_is_never_tried():
    """It may be somebody else's by now."""
    who = Buyer("b", "h", 1, phones=["+8613900005678"], addresses=[text(consent=Consent(marketing="granted"))])
    assert decide(Plan("service", who, NOON), SHOP).reason == "no_address"


def test_the_defaults_are_the_codes():
    """What the page shows as default is the default."""
    block = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    shown = tomllib.loads(block[1])["policy"]
    coded = PolicySettings({}, ZoneInfo("UTC"))
    for name, value in shown.items():
        if name != "order_of_channels":
            assert str(getattr(coded, name)) == str(value), name


def test_every_intent_has_its_place_on_the_keywords_page():
    """Each intent of keywords.toml is named in docs/keywords.md, and each that is named has a handler."""
    page = (DOCS / "keywords.md").read_text("utf-8")
    data = tomllib.loads(Path("templates/keywords.toml").read_text("utf-8"))
    named = {name.partition(":")[0] for line in page.splitlines() if line.startswith("| ") for name in
             re.findall(r"`([a-z_]+(?::<\w+>)?)`", line)}  # fmt: skip
    wanted = {*data["intents"], *data["prefixes"], "opt_out", "opt_in"}
    assert wanted <= named
    registry = Registry(handlers.ALL)
    assert all(registry.find("intent", name) for name in named)


def test_words_of_the_keywords_page_route_as_it_says():
    """The words that leave a dialog and the prefixes on the page are those of the file."""
    page = (DOCS / "keywords.md").read_text("utf-8")
    keywords = Keywords.load(Path("templates/keywords.toml"))
    for prefix in tomllib.loads(Path("templates/keywords.toml").read_text("utf-8"))["prefixes"]["claim"]:
        assert f"`{prefix}`" in page
    for word in ("0", "取消", "退出"):
        assert f"`{word}`" in page
        assert fold(word) in keywords.leave
    for word in ("cancel", "end", "quit"):
        assert f"`{word}`" in page
        assert fold(word) in keywords.opt_out_sms
    for word in ("返回", "back"):
        assert fold(word) in keywords.back
