"""The tree itself: sizes that one reader holds in mind, names in the field's words, nothing committed that should not be."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("bot", "channels", "shops", "trackers", "handlers", "console", "pages", "sandbox", "ledger")
LONGEST_FUNCTION, LONGEST_MODULE = 60, 560
SYNONYMS = re.compile(r"(^|_)(customer|merchant|vendor|contact|agent|helper|manager|utils)s?(_|$)", re.IGNORECASE)
"""Words that stand for another one of this project: buyer, shop, account, address, staff, or no word at all."""
FORBIDDEN = {
    "a registry's address": re.compile(r"\b(pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org)"),
    "a path of one machine": re.compile(r"(^|[\s\"'=(])/(work|root|home)/\w"),
    "a folder outside the tree": re.compile(r"\.\./shared\b"),
}


def modules() -> Iterator[tuple[Path, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if (
                path.parent.name == "versions"
            ):  # a revision of the ledger is a list of columns, written once and never changed
                continue
            yield path.relative_to(ROOT), path.read_text()


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name


def test_functions_stay_short():
    """Half are under ten lines, one in twenty is over 35 at most, none is over sixty."""
    found = [(lines_of(f), f"{path}:{f.lineno} {f.name}") for path, source in modules() for f in functions(source)]
    lengths = sorted(length for length, _ in found)

    assert [where for length, where in found if length > LONGEST_FUNCTION] == []
    assert statistics.median(lengths) <= 10
    assert lengths[int(len(lengths) * 0.95)] <= 35


def test_modules_stay_readable():
    """No module grows past what one reader holds in mind."""
    sizes = [(len(source.splitlines()), str(path)) for path, source in modules()]

    assert [where for size, where in sizes if size > LONGEST_MODULE] == []
    assert statistics.median(size for size, where in sizes if not where.endswith("__init__.py")) <= 120


def test_names_are_the_projects_own_words():
    """One word for each thing: the synonyms of other systems do not creep in."""
    found = [
        f"{path}:{line} {name}"
        for path, source in modules()
        for line, name in identifiers(source)
        if SYNONYMS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    ]

    assert found == []


def test_nothing_committed_names_a_machine_or_a_registry():
    """A clone builds anywhere: no registry's address, no path of one machine, nothing outside the tree."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    faults = []
    for name in listed:
        path = ROOT / name
        if path.suffix in (".png", ".ico", ".woff2") or path == Path(__file__) or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        faults += [f"{name}: {what}" for what, pattern in FORBIDDEN.items() if pattern.search(text)]

    assert faults == []
    assert not [name for name in listed if name.endswith(("uv.lock", ".env"))]
