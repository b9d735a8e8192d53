"""Hooks of an application that the command `jobd` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobd.supervisor import exits
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import run_jobd

LIFE = """
import jobd
for event in ("startup", "quiet", "shutdown", "exit"):
    jobd.on(event)(lambda event=event: print("hook", event, flush=True))
"""
FAILS = """
import jobd
@jobd.on("startup")
def connect():
    raise ValueError("no such tenant")
"""


def test_a_worker_process_calls_its_hooks_from_its_start_to_its_end(start_jobd: StartJobd, tmp_path: Path) -> None:
    (tmp_path / "life.py").write_text(LIFE)
    jobd = start_jobd(require=["ledger_jobs", "life"])
    assert jobd.stop() == exits.OK
    lines = [line for line in jobd.log.read_text().splitlines() if line.startswith("hook ")]
    assert lines == ["hook startup", "hook quiet", "hook shutdown", "hook exit"]


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_startup_hook_that_raises_fails_the_start_and_says_why(
    processes: str, tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "jobd.yml").write_text(f"redis_url: {redis_url}\nrequire: [fails]\nprocesses: {processes}\n")
    done = run_jobd("-C", "jobd.yml", cwd=tmp_path)
    assert done.returncode == exits.CHILDREN_CANNOT_BOOT
    assert "the startup hook fails.connect failed: ValueError: no such tenant" in done.stderr
    assert "hooks.py" not in done.stderr
