"""The contract, command line: each command beside a running `serve` on the embedded server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.importing import ImportFaultError, read
from tests.console.served import ROOT, SHIPPED, Served
from tests.servers import free_port

TOKEN = re.compile(r"tp_[\w-]{43}")


def test_a_token_works_at_once(gw: Served) -> None:
    """Alone on the last line; each role; good for the next call."""
    for role in ("owner", "read-only"):
        done = gw.cli("token", "create", f"cli-{role}", "--role", role)
        assert done.returncode == 0, done.stderr
        token = done.stdout.splitlines()[-1]
        assert TOKEN.fullmatch(token)
        assert gw.raw("GET", "/api/v1/campaigns", None, {"Authorization": f"Bearer {token}"}).status == 200
    for name, role, told in (
        ("x", "boss", "read-only"),
        ("", "owner", "NAME"),
        ("x" * 61, "owner", "NAME"),
        ("a\nb", "owner", "NAME"),
    ):
        done = gw.cli("token", "create", name, "--role", role)
        assert done.returncode == 2
        assert told in done.stderr
        assert not TOKEN.search(done.stdout)


def test_check_reaches_every_account(gw: Served) -> None:
    """A line per account and one for the store; `all well` and exit code 0."""
    done = gw.cli("check")
    assert done.returncode == 0, done.stdout + done.stderr
    for account in ("wechat-main", "messenger-main", "sms-main", "sms-cn", "redis"):
        assert re.search(rf"^{account}: \S", done.stdout, re.MULTILINE), done.stdout
    assert done.stdout.splitlines()[-1] == "all well"


def test_check_names_who_does_not_answer(tmp_path: Path) -> None:
    """Without its providers: exit code 1, a line per account in plain words, no traceback, no secret."""
    config = tmp_path / "config.toml"
    config.write_text(SHIPPED.replace("8080", str(free_port())))
    done = Served(0, config).cli("check")
    assert done.returncode == 1
    for account in ("wechat-main", "messenger-main", "sms-main"):
        assert re.search(rf"^{account}: \S", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert "sandbox-wechat-app-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("check",),
        ("token", "create", "x", "--role", "owner"),
        ("staff", "add", "x", "--role", "owner"),
        ("broadcast", "list"),
        ("replay", "1/1-1"),
        ("coupons", "import", __file__),
    ],
)
def test_a_missing_configuration_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 2, the file by name, what to do."""
    if command[0] == "coupons":
        codes = tmp_path / "codes"
        codes.write_text("ABCDEFGHJKLM\n")
        command = ("coupons", "import", str(codes), "--campaign", "X")
    done = Served(0, tmp_path / "none.toml").cli(*command)
    assert done.returncode == 2
    lines = [line for line in done.stderr.strip().splitlines() if "none.toml" in line]
    assert len(lines) == 1
    assert "--config" in lines[0]
    assert "Traceback" not in done.stderr


def test_commands_that_do_not_exist_say_so(gw: Served) -> None:
    """What comes with later releases is not in the help and is refused in one line."""
    done = gw.cli("backtest", "x")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "bot", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    for command in ("serve", "check", "token", "coupons", "adapters", "journeys", "replay", "broadcast", "staff"):
        assert command in shown
    assert "backtest" not in shown


def test_lists_for_machines() -> None:
    """`adapters --json` and `journeys --json`: one JSON list with exactly the documented keys."""
    for command, keys in (
        ("adapters", {"kind", "name", "capabilities"}),
        ("journeys", {"name", "trigger", "version", "enabled"}),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "bot", command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        assert found
        assert all(set(one) == keys for one in found)
        if command == "adapters":
            assert {one["kind"] for one in found} <= {"channel", "shop", "tracker"}
            able = {one["name"]: one["capabilities"] for one in found if one["kind"] == "channel"}
            assert able["wechat"]["windows"] == ["click", "follow", "message", "scan"]
            assert (able["twilio"]["sms"], able["alibaba"]["free_text"]) == (True, False)
            assert able["messenger"]["text_limit"] == 1900


def test_a_dead_letter_that_is_not_there(gw: Served) -> None:
    for id, told in (
        ("nonsense", "look like"),
        ("99/1-1", "look like"),
        ("1/1790000000000-0", "there is no dead letter"),
        ("1/x", "look like"),
    ):
        done = gw.cli("replay", id)
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.timeout(180)
def test_codes_are_imported_all_or_none(gw: Served, tmp_path: Path) -> None:
    """Every fault by its line and nothing taken; then all of them, one per line or CSV, and claimed in order."""
    make = {"title": "x", "kind": "gift"}
    gw.api("POST", "/campaigns", {"key": "IMP1", **make, "stock": 1})
    gw.api("POST", "/campaigns", {"key": "IMP2", **make, "codes": ["JJJJKKKKLLL2"]})
    gw.api("POST", "/campaigns", {"key": "IMP3", **make, "stock": 9})
    assert (
        gw.api("POST", "/campaigns/IMP3/claims", {"buyer": gw.buyer("messenger-main", "7730101")["id"]}).status == 201
    )
    codes = tmp_path / "codes.txt"
    codes.write_text("AAAAKKKKLLL2\n\nshort\nAAAAKKKKLLL2\nAAAAKKKKLLLO\n")
    done = gw.cli("coupons", "import", str(codes), "--campaign", "IMP1")
    assert done.returncode == 2
    for told in (
        "line 3: 'short' must be 12",
        "line 4: AAAAKKKKLLL2 stands on line 1",
        "line 5: 'AAAAKKKKLLLO' must be",
    ):
        assert told in done.stderr
    codes.write_text("AAAAKKKKLLL2\nJJJJKKKKLLL2\n")
    done = gw.cli("coupons", "import", str(codes), "--campaign", "IMP1")
    assert done.returncode == 1
    assert "line 2: JJJJKKKKLLL2 belongs to the campaign IMP2" in done.stderr
    assert gw.get("/campaigns/IMP1")["stock"] == 1
    for options, told in (
        ((), "names no campaign"),
        (("--campaign", "NOWHERE"), "there is no campaign NOWHERE"),
        (("--campaign", "IMP3"), "1 are claimed"),
    ):
        codes.write_text("AAAAKKKKLLL3\n")
        done = gw.cli("coupons", "import", str(codes), *options)
        assert done.returncode in (1, 2)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    codes.write_text("\ufeffcampaign,code\nIMP1,AAAAKKKKLLL2\nIMP1,AAAAKKKKLLL3\nIMP2,AAAAKKKKLLL4\n", encoding="utf-8")
    done = gw.cli("coupons", "import", str(codes))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["IMP1: 2 codes added", "IMP2: 1 codes added"]
    assert (gw.get("/campaigns/IMP1")["stock"], gw.get("/campaigns/IMP2")["stock"]) == (2, 2)
    buyers = [gw.buyer("messenger-main", f"773020{n}")["id"] for n in range(3)]
    got = [gw.api("POST", "/campaigns/IMP1/claims", {"buyer": buyer}) for buyer in buyers]
    assert [a.json["code"] for a in got[:2]] == ["AAAAKKKKLLL2", "AAAAKKKKLLL3"]
    assert got[2].kind == "sold-out"
    again = gw.cli("coupons", "import", str(codes))
    assert "line 2: AAAAKKKKLLL2 is in the campaign already" in again.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"code,campaign\n", b"\n\n", b'"unclosed\nABCDEFGHJKLM'])
def test_files_that_hold_no_codes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "codes"
    path.write_bytes(content)
    with pytest.raises(ImportFaultError, match=r"holds no codes|must be"):
        read(path, "IMP1")
