"""A virtual environment for each peer, under var/bench; made when it is asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "var" / "bench" / "venvs"


class Unavailable(Exception):
    """A peer that cannot be measured here; the message says why."""


def environment(package: str) -> Path:
    """The folder of programs of an environment that holds `package`. Raises Unavailable."""
    home = FOLDER / package.partition("[")[0]
    made, what = home / "made", f"{home} {sys.version}"
    if not made.exists() or made.read_text() != what:  # its programs name the folder and the Python they were made for
        shutil.rmtree(home, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(home / "bin" / "pip"), "install", "--quiet", package, "hiredis")
        made.write_text(what)
    return home / "bin"


def version(programs: Path, package: str) -> str:
    """The version that is installed there."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _run(str(programs / "python"), "-c", code).strip()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise Unavailable(f"{' '.join(command)}: {lines[-1] if lines else done.returncode}")
    return done.stdout
