"""The pages about the API are true: each kind of problem is explained, each example runs, each operation is mentioned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from console.api.campaigns import CLAIM_REFUSED
from console.api.routes import ROUTES
from tests.console.served import ROOT, Served

API = (ROOT / "docs" / "api.md").read_text("utf-8")
PROBLEMS = (ROOT / "docs" / "problems.md").read_text("utf-8")


def kinds() -> dict[str, set[int]]:
    """Every kind that the code gives, with its statuses (0: not beside it)."""
    found: dict[str, set[int]] = {}
    for folder in ("bot", "console", "pages", "sandbox", "channels", "shops", "trackers", "ledger"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text("utf-8")
            for status, kind in re.findall(r'(?:problem|Refusal)\(\s*(\d{3}),\s*"([a-z-]+)"', source):
                found.setdefault(kind, set()).add(int(status))
            for kind in re.findall(r'_not_found\(\s*"([a-z-]+)"', source):
                found.setdefault(kind, set()).add(404)
            for status, kind in re.findall(r'^    status = (\d{3})\n    kind = "([a-z-]+)"', source, re.MULTILINE):
                found.setdefault(kind, set()).add(int(status))
    for kind, _ in CLAIM_REFUSED.values():
        found.setdefault(kind, set()).add(409 if kind != "not-found" else 404)
    found["already-claimed"] = found["too-few-codes"] = {409}  # chosen by name in patch_campaign
    return found


def test_each_kind_of_problem_is_explained_with_its_status() -> None:
    told = {kind: int(status) for kind, status in re.findall(r"^### `([a-z-]+)` \((\d{3})\)$", PROBLEMS, re.MULTILINE)}
    given = kinds()
    assert set(told) == set(given)
    for kind, statuses in given.items():
        assert statuses == {told[kind]}, kind


def test_the_type_of_a_problem_leads_to_its_words(gw: Served) -> None:
    """`type` is a path of the gateway itself: a page with an anchor of that name."""
    where, _, anchor = gw.api("GET", "/coupons/NOTHING").json["type"].partition("#")
    page = gw.raw("GET", where)
    assert (page.status, page.headers.get_content_type()) == (200, "text/html")
    text = page.raw.decode()
    assert f'id="{anchor}"' in text
    for kind in kinds():
        assert f'<h3 id="{kind}">' in text
    assert "<code>touchpoint token create" in gw.raw("GET", "/docs/api").raw.decode().replace(
        'class="language-sh"', ""
    ).replace("<code >", "<code>")
    assert gw.raw("GET", "/docs/secrets").kind == "not-found"


def test_each_operation_is_in_the_page() -> None:
    for route in ROUTES:
        pattern = re.escape(route.path).replace(r"\{shop\}", "main")
        pattern = re.sub(r"\\{\w+\\}", r"[\\w${}]+", pattern)
        assert re.search(rf"/api/v1{pattern}", API), route.path


def test_the_examples_run(gw: Served) -> None:
    """All of them, in order, as a reader would paste them: each curl succeeds."""
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", API, re.DOTALL) if "curl" in block]
    assert len(blocks) >= 6
    bash = shutil.which("bash")
    assert bash, "bash is part of the base system"
    assert shutil.which("curl"), "curl: apt install curl"
    pause = "\nsleep 1\n"  # a reader takes longer: the event's turn has come
    script = "set -euo pipefail\n" + pause.join(blocks)
    env = {**os.environ, "GATEWAY": f"http://127.0.0.1:{gw.port}", "TOKEN": gw.token()}
    done = subprocess.run([bash, "-x", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count('"id"') > 5
