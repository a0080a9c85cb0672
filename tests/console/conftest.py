"""One served gateway for all the tests of the contract: each makes buyers, campaigns and orders of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.served import Served, serving


@pytest.fixture(scope="session")
def gw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`touchpoint serve` with the shipped config.toml."""
    folder: Path = tmp_path_factory.mktemp("served")
    with serving(folder) as served:
        yield served
