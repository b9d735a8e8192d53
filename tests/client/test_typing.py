"""Type checkers see wrong pushes, and are not falsely green on the linked folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CALLS = Path(__file__).parent / "typed_calls.py"


def marked_lines() -> set[int]:
    """The lines that are wrong on purpose."""
    return {number for number, line in enumerate(CALLS.read_text().splitlines(), 1) if line.endswith("# wrong")}


def mypy(*arguments: str, cwd: Path) -> str:
    """What mypy says."""
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True).stdout


def pyright(project: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The errors that basedpyright finds."""
    (project / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    shown = subprocess.run([*command, "-p", str(project)], capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(shown.stdout)["generalDiagnostics"]
    return [diagnostic for diagnostic in found if diagnostic["severity"] == "error"]


def test_mypy_refuses_exactly_the_wrong_calls() -> None:
    shown = mypy("--config-file", "pyproject.toml", str(CALLS), cwd=ROOT)
    lines = [line for line in shown.splitlines() if ": error: " in line]
    outside = [line for line in lines if not line.startswith("tests/client/typed_calls.py:")]
    assert outside == []
    assert {int(line.split(":")[1]) for line in lines} == marked_lines(), shown


def test_pyright_refuses_exactly_the_wrong_calls(tmp_path: Path) -> None:
    config = {
        "include": [str(CALLS)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
    }
    errors = pyright(tmp_path, config)
    assert {error["range"]["start"]["line"] + 1 for error in errors} == marked_lines(), errors


def plant(tree: Path) -> None:
    """Lay out `tree` as this repository is, with an error in the linked folder."""
    (tree / "client").mkdir()
    (tree / "client" / "__init__.py").touch()
    (tree / "client" / "planted.py").write_text("number: int = 'text'\n")
    (tree / "jobd").mkdir()
    (tree / "jobd" / "__init__.py").touch()
    (tree / "jobd" / "client").symlink_to("../client")


def test_the_layout_is_the_one_that_the_planted_errors_try() -> None:
    for part in ("client", "worker", "supervisor"):
        assert (ROOT / "jobd" / part).readlink() == Path("..") / part


def test_mypy_finds_an_error_planted_in_a_linked_folder(tmp_path: Path) -> None:
    plant(tmp_path)
    shown = mypy("--config-file", str(ROOT / "pyproject.toml"), "jobd", cwd=tmp_path)
    assert "jobd/client/planted.py:1: error: Incompatible types" in shown


def test_pyright_finds_an_error_planted_in_a_linked_folder(tmp_path: Path) -> None:
    plant(tmp_path)
    config = {"include": ["jobd/client", "jobd/worker", "jobd/supervisor", "jobd"]}
    [error] = pyright(tmp_path, config)
    assert error["file"].endswith("client/planted.py")
