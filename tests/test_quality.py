"""The whole tree is clean for ruff, mypy and basedpyright."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["client", "worker", "supervisor", "contrib", "web", "jobd", "tests", "bench", "examples"]


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
    run("basedpyright", "--level", "error")


def test_no_function_is_longer_than_a_page() -> None:
    functions = [
        (path.name, node)
        for folder in ("client", "worker", "supervisor", "contrib", "web")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 100
    assert [(name, node.name) for name, node in functions if (node.end_lineno or 0) - node.lineno >= 40] == []
