"""Random signals and kills against a daemon under load; what a round does and has to hold is told in `rounds.py`.

`JOBD_CHAOS_ROUNDS` sets how many there are [1]. `make chaos` runs them by themselves, with a line for each.
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
    command = [sys.executable, "-m", "tests.chaos.rounds", str(ROUNDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
