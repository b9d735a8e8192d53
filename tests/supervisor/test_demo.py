"""`jobd demo` ends with 0 only when every job met its fate."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from jobd.supervisor import exits
from jobd.supervisor.demo import Tally
from tests.supervisor.jobd_command import environment, run_jobd


def test_with_enough_time_every_job_meets_its_fate(tmp_path: Path) -> None:
    done = run_jobd("demo", "--for", "7", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert "Every job met its fate." in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[-8:-2]] == [
        "job",
        "quick",
        "slow",
        "recovers",
        "dies",
        "later",
    ]
    assert list(tmp_path.glob("jobd-demo-*")) == []


def test_with_too_little_time_it_fails_and_says_which_jobs_missed_theirs(tmp_path: Path) -> None:
    done = run_jobd("demo", "--for", "1", cwd=tmp_path)
    assert done.returncode == exits.FAILED
    assert "did not meet their fate" in done.stdout
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_an_endless_demo_with_its_summary(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobd", "demo"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("queued"))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == exits.OK, rest
    assert "Every job met its fate." in rest


def test_a_job_that_met_another_fate_is_counted_by_its_kind() -> None:
    tally = Tally()
    tally.expect("quick", "done", "1")
    tally.expect("quick", "done", "2")
    tally.expect("dies", "dead", "3")
    tally.expect("later", "done", None)
    assert tally.missed({"1": "done", "2": "dead", "3": "dead"}) == {"quick": 1}
    assert tally.missed({}) == {"quick": 2, "dies": 1}
