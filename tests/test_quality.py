"""The whole tree is clean for ruff, mypy and basedpyright."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ["client", "worker", "supervisor", "contrib", "web", "jobd"]
FOLDERS = [*PRODUCT, "tests", "bench", "examples"]
CLEAN = ROOT / ".mypy_cache" / "basedpyright"
"""What basedpyright, which keeps nothing itself, has last seen without a fault; `make clean` has it look again."""


def run(*command: str) -> None:
    """Run a tool of the virtual environment in the root of the checkout; what it prints is the failure."""
    tool, *arguments = command
    done = subprocess.run(
        [str(Path(sys.executable).parent / tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet", *FOLDERS)


def test_every_file_is_formatted() -> None:
    run("ruff", "format", "--check", "--quiet", *FOLDERS)


def test_mypy_finds_nothing() -> None:
    run("mypy", "-p", "jobd")
    run("mypy", "bench/__main__.py", "bench/drain.py", "bench/capacity.py", "bench/supervision.py")


@pytest.mark.timeout(600)  # it has half a minute to do, more on a machine that does other things as well
def test_basedpyright_finds_nothing_in_the_product() -> None:
    found = seen()
    if not CLEAN.is_file() or CLEAN.read_text() != found:
        run("basedpyright", "--level", "error")
        CLEAN.parent.mkdir(exist_ok=True)
        CLEAN.write_text(found)


def seen() -> str:
    """A digest of all on which its verdict depends: the product, its settings, Python and all that is installed."""
    installed = sorted(f"{each.name} {each.version}" for each in distributions())
    digest = hashlib.sha256(repr((sys.version, installed)).encode())
    for path in [
        ROOT / "pyproject.toml",
        *(path for folder in PRODUCT for path in sorted((ROOT / folder).rglob("*.py"))),
    ]:
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def test_no_function_is_longer_than_a_page() -> None:
    functions = [
        (path.name, node)
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 100
    assert [(name, node.name) for name, node in functions if lines_of_code(node) > 40] == []


def lines_of_code(function: ast.FunctionDef) -> int:
    """Its lines but for the docstring, which says more the more there is to choose."""
    first, lines = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - ((first.end_lineno or 0) - first.lineno + 1)
