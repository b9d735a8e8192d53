"""The wheel that is built from this tree works in an empty environment outside of it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.wheel import build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once for all tests."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_holds_scripts_and_type_marker_and_no_tests(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {"jobd/py.typed", "jobd/client/lua/fetch.lua", "jobd/supervisor/demo_jobs.py"} <= set(names)
    assert {"jobd/supervisor/commands/init.py", "jobd/supervisor/commands/templates/jobd.service"} <= set(names)
    assert "jobd/contrib/pytest_plugin.py" in names
    assert {"jobd/web/pages/sets.py", "jobd/web/templates/base.html", "jobd/web/static/app.css"} <= set(names)
    vendored = {"htmx.min.js", "htmx.LICENSE", "uplot.min.js", "uplot.min.css", "uplot.LICENSE", "SHA256SUMS"}
    assert {f"jobd/web/static/vendor/{name}" for name in vendored} <= set(names)
    assert all(name.startswith(("jobd/", "jobd-")) for name in names)


def test_pytest_finds_the_plugin(wheel: Path) -> None:
    with ZipFile(wheel) as files:
        [name] = [name for name in files.namelist() if name.endswith("entry_points.txt")]
        assert b"[pytest11]\njobd = jobd.contrib.pytest_plugin" in files.read(name)


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
