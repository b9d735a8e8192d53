"""The whole tree is clean for ruff, mypy and basedpyright."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ["client", "worker", "supervisor", "jobd", "tests", "bench", "examples"]


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
    run("mypy", "bench/drain.py", "bench/capacity.py", "bench/supervision.py")


def test_basedpyright_finds_nothing_in_the_product() -> None:
    run("basedpyright", "--level", "error")
