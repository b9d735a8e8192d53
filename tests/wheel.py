"""Build jobd's wheel from what git tracks or would track, in a folder of its own: nothing stale gets in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def build_wheel(target: Path) -> Path:
    """Build the wheel of this checkout into the folder `target`; returns its path."""
    with TemporaryDirectory() as name:
        source = Path(name)
        _copy_checkout(source)
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    [wheel] = target.glob("jobd-*.whl")
    return wheel


def _copy_checkout(target: Path) -> None:
    # A checkout may belong to another user than the one who runs this, for instance with sudo.
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for path in {ROOT / os.fsdecode(name) for name in names if name}:
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        elif path.exists():
            copy.write_bytes(path.read_bytes())
