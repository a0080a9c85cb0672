"""What this release does not serve yet says so; what it serves beside it answers for itself."""

from __future__ import annotations

import pytest

from tests.console.served import Served


@pytest.mark.parametrize("path", ["/reports", "/reports/nothing", "/journeys", "/journeys/cart/runs"])
def test_what_comes_later_is_named(gw: Served, path: str) -> None:
    assert gw.api("GET", path).kind == "not-built"


def test_a_served_path_beside_it_knows_its_own_methods(gw: Served) -> None:
    """Not 501 for a method that it does not take, but 405 with those that it does."""
    answer = gw.raw("TRACE", "/api/v1/reports/consents", None, {"Authorization": f"Bearer {gw.token()}"})
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
