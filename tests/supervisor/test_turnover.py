"""The rolling restart: new code, one process at a time, at no cost of capacity or jobs, and no harm from bad code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.capacity import Load, Samples, moment
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd, has_ended
from tests.waiting import wait_until

RELEASE_NOTE = "import ledger_jobs, turnover_jobs\nledger_jobs.note('imported', {number})\n"
GATE = "import pathlib, threading\nwhile pathlib.Path({path!r}).exists():\n    threading.Event().wait(0.01)\n"


class Deployment:
    """An application in `current`, a symlink to its newest release."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.current = directory, directory / "current"
        self.gate = directory / "gate"
        self.releases = 0

    def deploy(self, code: str = "") -> None:
        """Have `current` lead to a new release, whose module `shop` notes its import and then does `code`."""
        self.releases += 1
        release = self.directory / f"release-{self.releases}"
        release.mkdir()
        (release / "shop.py").write_text(RELEASE_NOTE.format(number=self.releases) + code)
        link = self.directory / "next"
        link.symlink_to(release.name)
        link.rename(self.current)

    def deploy_behind_gate(self) -> None:
        """A release whose import waits until `gate` is removed."""
        self.gate.touch()
        self.deploy(GATE.format(path=str(self.gate)))


@pytest.fixture
def shop(tmp_path: Path) -> Deployment:
    """An application with its first release."""
    made = Deployment(tmp_path)
    made.deploy()
    return made


def start(start_jobd: StartJobd, shop: Deployment, **settings: Any) -> Jobd:
    """`jobd` started in `current`, as a shell starts it after `cd current`."""
    files = {"home": shop.current, "variables": {"PWD": str(shop.current)}, "pidfile": str(shop.directory / "jobd.pid")}
    quick = {"require": ["shop"], "processes": 2, "concurrency": 2, "timeout": 1, "restart_probe": 0.2}
    return start_jobd(**{**files, **quick, **settings})


def replaced(jobd: Jobd, count: int = 1) -> dict[str, Any]:
    """How the rolling restart that is number `count` ended."""
    return jobd.wait_for("restart.ended", count=count)


def generations(jobd: Jobd) -> list[int]:
    """Of the living processes."""
    return [child["generation"] for child in jobd.status()["children"]]


def pids(jobd: Jobd) -> set[int]:
    """Of the living processes."""
    return {child["pid"] for child in jobd.status()["children"]}


def test_new_code_comes_one_process_at_a_time_and_costs_neither_capacity_nor_jobs(
    start_jobd: StartJobd, shop: Deployment
) -> None:
    jobd = start(start_jobd, shop)
    with Load(jobd) as load, Samples(jobd) as samples:
        shop.deploy()
        jobd.signal(signal.SIGUSR2)
        assert replaced(jobd)["ok"] is True
        shop.deploy()
        done = jobd.ctl("restart", "--wait")
        assert (done.returncode, done.stderr) == (exits.OK, "")
        assert "all processes are new" in done.stdout
        samples.end()
        load.finish()
    assert samples.figures["accepting_min"] == 2
    assert samples.figures["living_max"] == 3
    assert jobd.lines("imported") == ["1", "1", "2", "2", "3", "3"]
    status = jobd.status()
    assert (status["pid"], status["generation"], status["restarting"]) == (jobd.pid, 3, False)
    wait_until(lambda: jobd.count("child.ended") == 4, "the end of all old processes")
    assert generations(jobd) == [3, 3]
    assert {(end["reason"], end["cause"]) for end in jobd.events("child.ended")} == {("clean", "exit code 0")}
    assert jobd.stop() == exits.OK
    assert jobd.left_in_progress() == {}


def test_old_processes_finish_long_jobs_without_limit_while_new_ones_work(
    start_jobd: StartJobd, shop: Deployment
) -> None:
    jobd = start(start_jobd, shop, timeout=0.5, concurrency=1, restart_probe=0)
    jobd.push_many("hold", [1, 2])
    jobd.wait_for_lines("began", 2)
    old = pids(jobd)
    with Samples(jobd) as samples:
        jobd.signal(signal.SIGUSR2)
        assert replaced(jobd)["ok"] is True
    # The second one was started only when the first old one had taken longer than `timeout`.
    assert moment(jobd.events("child.started")[3]) - moment(jobd.events("child.replaced")[0]) >= 0.45
    assert samples.figures["accepting_min"] == 2
    assert samples.figures["living_max"] == 4
    jobd.push("last", 1.5)  # far beyond `timeout`
    jobd.wait_for_lines("ended", 1)
    assert old < pids(jobd)
    assert [child["state"] for child in jobd.status()["children"]].count("stopping") == 2
    jobd.release()
    jobd.wait_for_lines("ended", 3)
    wait_until(lambda: pids(jobd).isdisjoint(old), "the end of the old processes")
    assert {(end["reason"], end["cause"]) for end in jobd.events("child.ended")} == {("clean", "exit code 0")}
    assert jobd.stop() == exits.OK
    assert sorted(jobd.lines("began")) == ["1", "1.5", "2"]
    assert jobd.statistics() == (3, 0)


BAD_CODE = [
    ("raise ValueError('no such tenant')", "no such tenant"),
    ("import os; os._exit(7)", "exit code 7"),
    ("import threading; threading.Event().wait()", "not loaded within 1 s"),
    ("import os, threading; threading.Timer(0.2, os._exit, [9]).start()", "exit code 9"),
]
"""What new code does, and what is said of it: it raises, exits, hangs, or dies soon after it is ready."""


def test_new_code_that_fails_leaves_all_old_processes_at_work(start_jobd: StartJobd, shop: Deployment) -> None:
    jobd = start(start_jobd, shop, boot_timeout=1, restart_probe=1)
    old = pids(jobd)
    with Load(jobd) as load, Samples(jobd) as samples:
        for count, (code, says) in enumerate(BAD_CODE, 1):
            shop.deploy(code)
            jobd.signal(signal.SIGUSR2)
            assert replaced(jobd, count)["ok"] is False
            assert says in jobd.events("restart.ended")[-1]["outcome"]
            assert says in jobd.events("child.not_replaced")[-1]["why"]
            status = jobd.status()
            assert (status["restarting"], status["state"], pids(jobd)) == (False, "running", old)
        samples.end()
        load.finish()
    assert samples.figures["accepting_min"] == 2
    done = jobd.ctl("restart")
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    assert BAD_CODE[-1][1] in done.stderr
    assert jobd.lines("imported") == ["1", "1", "2", "3", "4", "5", "5"]
    assert pids(jobd) == old
    assert jobd.stop() == exits.OK


def test_of_several_requests_while_rolling_one_is_remembered(start_jobd: StartJobd, shop: Deployment) -> None:
    jobd = start(start_jobd, shop, processes=1, restart_probe=0)
    shop.deploy_behind_gate()
    jobd.signal(signal.SIGUSR2)
    jobd.wait_for_lines("imported", 2)
    for count in range(1, 4):
        jobd.signal(signal.SIGUSR2)
        jobd.signal(signal.SIGTTOU)  # signals of one kind that wait for each other become one
        jobd.wait_for("master.state", count=count)
    assert jobd.status()["restarting"] is True
    shop.gate.unlink()
    assert [replaced(jobd, count)["ok"] for count in (1, 2)] == [True, True]
    assert jobd.status()["restarting"] is False
    assert generations(jobd)[0] == 3
    assert jobd.count("restart.began") == 2
    assert jobd.stop() == exits.OK


def test_a_stop_wins_over_a_rolling_restart(start_jobd: StartJobd, shop: Deployment) -> None:
    jobd = start(start_jobd, shop, restart_probe=60)
    command = [sys.executable, "-m", "jobd", "ctl", "-P", jobd.settings["pidfile"], "restart"]
    waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        jobd.wait_for("process.ready", count=3)
        family = psutil.Process(jobd.pid).children()
        jobd.signal(signal.SIGTERM)
        assert jobd.wait(5) == exits.OK
        _, said = waiting.communicate(timeout=10)
        assert waiting.returncode == exits.FAILED
        assert "jobd stops" in said
    finally:
        waiting.kill()
        waiting.communicate()
    assert len(family) == 3
    assert all(map(has_ended, family))
    assert jobd.left_in_progress() == {}
    assert jobd.count("child.not_replaced") == 0


def test_new_processes_of_a_quiet_jobd_are_quiet(start_jobd: StartJobd, shop: Deployment) -> None:
    jobd = start(start_jobd, shop)
    shop.deploy_behind_gate()
    jobd.signal(signal.SIGUSR2)
    jobd.wait_for_lines("imported", 3)
    jobd.signal(signal.SIGTSTP)
    jobd.wait_for("process.quiet", count=2)
    jobd.push("quick", 1)
    shop.gate.unlink()
    assert replaced(jobd)["ok"] is True
    wait_until(lambda: len(pids(jobd)) == 2, "the end of the old processes")
    assert [(child["generation"], child["state"]) for child in jobd.status()["children"]] == [(2, "quiet")] * 2
    assert len(jobd.queued()) == 1
    assert jobd.ctl("resume", "--wait").returncode == exits.OK
    jobd.wait_for_lines("ended", 1)
    assert jobd.stop() == exits.OK


def test_where_no_process_runs_any_more_the_new_code_is_tried_at_once(start_jobd: StartJobd, shop: Deployment) -> None:
    jobd = start(start_jobd, shop, processes=1, constants={"jobd.supervisor.policy.FIRST_DELAY": 60})
    shop.deploy("raise ValueError('no such tenant')")
    jobd.workers[0].kill()
    jobd.wait_for("child.cannot_boot")  # the next one would be started in a minute
    done = jobd.ctl("restart")
    assert (done.returncode, "no such tenant" in done.stderr) == (exits.FAILED, True)
    shop.deploy()
    assert jobd.ctl("restart", "--wait").returncode == exits.OK
    jobd.push("quick", 1)
    jobd.wait_for_lines("ended", 1)
    assert jobd.lines("imported") == ["1", "2", "2", "3"]
    assert jobd.stop() == exits.OK


@pytest.mark.parametrize("victims", [[0], [1], [0, 1]], ids=["of this turn", "of a later turn", "all"])
def test_old_processes_may_die_while_others_are_replaced(
    start_jobd: StartJobd, shop: Deployment, victims: list[int]
) -> None:
    jobd = start(start_jobd, shop)
    old = [child["pid"] for child in jobd.status()["children"]]
    shop.deploy_behind_gate()
    jobd.signal(signal.SIGUSR2)
    jobd.wait_for_lines("imported", 3)
    for victim in victims:
        os.kill(old[victim], signal.SIGKILL)
    jobd.wait_for_lines("imported", 3 + len(victims))  # each is made up for at once
    shop.gate.unlink()
    assert replaced(jobd)["ok"] is True
    wait_until(lambda: generations(jobd) == [2, 2], "two processes of the new generation")
    assert {child.pid for child in psutil.Process(jobd.pid).children()} == pids(jobd)
    assert jobd.status()["state"] == "running"
    jobd.push_many("quick", range(10))
    jobd.wait_for_lines("ended", 10)
    assert jobd.stop() == exits.OK
    assert jobd.left_in_progress() == {}
