"""`jobd demo` ends with 0 only when every job met its fate."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from jobd.supervisor import demo, exits
from jobd.supervisor.demo import FIRST_TICK, Tally
from tests.supervisor.jobd_command import environment, run_jobd


def test_with_enough_time_every_job_meets_its_fate(tmp_path: Path) -> None:
    done = run_jobd("demo", "--for", "7", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == exits.OK, done.stdout + done.stderr
    assert "Every job met its fate." in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[-9:-2]] == [
        "job",
        "quick",
        "slow",
        "recovers",
        "dies",
        "later",
        "by",
    ]
    assert list(tmp_path.glob("jobd-demo-*")) == []


def test_with_too_little_time_it_fails_and_says_which_jobs_missed_theirs(tmp_path: Path) -> None:
    done = run_jobd("demo", "--for", "1", cwd=tmp_path)
    assert done.returncode == exits.FAILED
    assert "did not meet their fate" in done.stdout
    assert "Traceback" not in done.stderr


def test_it_shows_the_dashboard_until_ctrl_c_ends_it_with_its_summary(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobd", "demo"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("Look at it: ")).split()[-1]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert "jobd demo" in answer.read().decode()
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


def test_an_entry_of_the_cron_that_never_ran_is_a_job_that_missed_its_fate() -> None:
    tally = Tally()
    tally.expect_ticks("by clock", [])
    assert tally.missed({}) == {"by clock": 1}
    tally.expect_ticks("by clock", ["1", "2"])
    assert FIRST_TICK not in tally.intended
    assert tally.missed({"1": "done", "2": "done"}) == {}


def test_without_the_packages_of_the_dashboard_it_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NEEDED", ("no_such_package",))
    assert "web" not in demo.Demo(tmp_path, threading.Event()).settings()


def test_where_its_port_is_taken_the_dashboard_takes_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        usual = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(demo, "BIND", usual)
        bind = demo.Demo(tmp_path, threading.Event()).settings()["web"]["bind"]
    assert bind.startswith("127.0.0.1:")
    assert bind != usual
