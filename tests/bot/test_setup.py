"""The scripts of the set-up, where the machine lacks something: one clear line, and no trace of a half-made thing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / script), *args]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=50, check=False
    )


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    """Its version, the one that is needed, and how to name another."""
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2"\nexit 1\n')
    old.chmod(0o755)
    done = run("venv.sh", str(tmp_path / "venv"), cwd=tmp_path, PYTHON=str(old))
    assert done.returncode == 1
    assert "Python 3.9.2 is too old" in done.stderr
    assert "PYTHON=python3.12" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_no_python_at_all(tmp_path: Path) -> None:
    """What to install."""
    done = run("venv.sh", str(tmp_path / "venv"), cwd=tmp_path, PYTHON="no-such-python")
    assert done.returncode == 1
    assert "there is no no-such-python here" in done.stderr
    assert "apt install python3" in done.stderr


def test_no_package_index(tmp_path: Path) -> None:
    """pip's own error, then what it means and what to do."""
    locked = tmp_path / "requirements.txt"
    locked.write_text("touchpoint-no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = run("install.sh", sys.prefix, str(locked), "what the gateway needs", cwd=tmp_path, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "touchpoint-no-such-package" in done.stderr
    assert "Could not install what the gateway needs" in done.stderr
    assert "is there\na network" in done.stderr
