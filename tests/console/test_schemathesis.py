"""The OpenAPI description and the served API agree, whatever is thrown at them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.api.routes import ROUTES
from tests.console.served import Served, until

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but positive_data_acceptance: JSON Schema cannot say that a percentage is at most 100, or give text or wording."""

CONFIG = """
[dictionaries.buyers]
values = {buyers}
[dictionaries.broadcasts]
values = {broadcasts}
[dictionaries.campaigns]
values = ["FUZZ1", "FUZZ2"]
[dictionaries.coupons]
values = {coupons}
[dictionaries.messages]
values = {messages}
[dictionaries.tasks]
values = {tasks}
[dictionaries.orders]
values = ["8801"]
[dictionaries.shops]
values = ["main"]
[[operations]]
include-path-regex = "/buyers/"
parameters = {{ "path.id" = {{ dictionary = "buyers", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/broadcasts/"
parameters = {{ "path.id" = {{ dictionary = "broadcasts", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/campaigns/"
parameters = {{ "path.key" = {{ dictionary = "campaigns", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/coupons/"
parameters = {{ "path.code" = {{ dictionary = "coupons", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/messages/"
parameters = {{ "path.id" = {{ dictionary = "messages", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/tasks/"
parameters = {{ "path.id" = {{ dictionary = "tasks", probability = 0.6 }} }}
[[operations]]
include-path-regex = "/orders/"
parameters = {{ "path.id" = {{ dictionary = "orders", probability = 0.6 }}, "path.shop" = {{ dictionary = "shops", probability = 0.6 }} }}
"""

SEED = os.environ.get("FUZZ_SEED", "1")
"""The guesses of a run; fixed, so that what passed passes again. Others look wider: `FUZZ_SEED=7 FUZZ_EXAMPLES=200`."""
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "20")

BROADCAST = {
    "where": {"all": [{"field": "buyer.name", "op": "=", "value": "nobody"}]},
    "purpose": "marketing",
    "text": {"en": "x"},
    "accounts": ["sms-main"],
}


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(gw: Served, tmp_path: Path) -> None:
    """Statuses, types, headers and bodies as described; what the description forbids is refused; real ids among the guesses."""
    buyers = [gw.buyer("messenger-main", f"7790{n}", "人工")["id"] for n in range(4)]
    coupons = []
    for key in ("FUZZ1", "FUZZ2"):
        gw.api("POST", "/campaigns", {"key": key, "title": "x", "kind": "gift", "stock": 100})
        coupons.append(gw.api("POST", f"/campaigns/{key}/claims", {"buyer": buyers[0]}).json["code"])
    gw.sandbox("POST", "/shops/main/place", {"id": "8801"})
    messages = [m["id"] for m in gw.get("/messages", buyer=buyers[1])["items"]]
    tasks = until(lambda: [t["id"] for t in gw.get("/tasks", state="open")["items"]], 10, "tasks")
    broadcasts = [gw.api("POST", "/broadcasts", {**BROADCAST, "title": f"{n}"}).json["id"] for n in range(3)]
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        CONFIG.format(buyers=buyers, coupons=coupons, messages=messages, tasks=tasks, broadcasts=broadcasts).replace(
            "'", '"'
        )
    )
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [f"http://127.0.0.1:{gw.port}/api/v1/openapi.json", "-H", f"Authorization: Bearer {gw.token()}"]
    command += [
        "--checks",
        ",".join(CHECKS),
        "--phases",
        "examples,coverage,fuzzing",
        "--mode",
        "all",
        "--max-examples",
        EXAMPLES,
        "--seed",
        SEED,
    ]
    command += [
        "--workers",
        "1",
        "--suppress-health-check",
        "all",
        "--request-timeout",
        "10",
        "--no-color",
        "--warnings",
        "off",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"Tested: {len(ROUTES)}" in done.stdout
