"""The wheel that is built from this tree works in an empty environment outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the files that git tracks or would track."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, names)):
        if (ROOT / name).exists():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                copy.symlink_to(os.readlink(ROOT / name))
            else:
                copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = target.glob("*.whl")
    return built


def test_it_holds_scripts_and_type_marker_and_no_tests(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {"jobd/py.typed", "jobd/client/lua/fetch.lua", "jobd/supervisor/demo_jobs.py"} <= set(names)
    assert all(name.startswith(("jobd/", "jobd-")) for name in names)


def test_the_command_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    ZipFile(wheel).extractall(site)
    # The dependencies are those of the environment that runs the tests; its own jobd is not among them.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", "import jobd, jobd.supervisor.cli as c; print(jobd.__file__); c.main(['check', '--show'])"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert "concurrency" in done.stdout
    demo = subprocess.run(
        [str(python), "-m", "jobd", "demo", "--for", "7"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
