"""Random signals and kills against a daemon under load. What a round does and has to hold is told in `rounds.py`, and
for kills of everything, Redis included, in `conservation.py`.

`JOBD_CHAOS_ROUNDS` sets how many there are of each [1]. `make chaos` runs them by themselves, with a line for each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("JOBD_CHAOS_ROUNDS", "1"))


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_no_job_is_lost_and_nothing_is_left_whatever_signals_and_kills_come() -> None:
    run("tests.chaos.rounds")


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_every_job_is_in_one_place_and_each_attempt_counted_once_whatever_is_killed() -> None:
    run("tests.chaos.conservation")


def run(module: str) -> None:
    """Do the rounds of a module, in a process of their own."""
    command = [sys.executable, "-m", module, str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
