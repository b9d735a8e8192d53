"""What is left when a master or its worker processes are killed, at any moment: no process, and each job to run once.

`JOBD_STORM_ROUNDS` sets how many storms of signals there are [3], `JOBD_STORM_SEED` where they come [1].
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36
STORM_ROUNDS = int(os.environ.get("JOBD_STORM_ROUNDS", "3"))
STORM_SEED = int(os.environ.get("JOBD_STORM_SEED", "1"))
STORM = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGINT)
STORM_SECONDS = 1.6
TIMEOUT = 0.6


@pytest.fixture
def reaper() -> Iterator[None]:
    """Processes whose parent died become children of the test, so that it sees their exit codes."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def start(start_jobd: StartJobd, **settings: Any) -> Jobd:
    """`jobd` with two worker processes."""
    return start_jobd(**{"require": ["ledger_jobs", "signal_jobs"], "processes": 2, "timeout": TIMEOUT, **settings})


def kill_master(jobd: Jobd) -> None:
    """As the kernel does when memory is short."""
    jobd.signal(signal.SIGKILL)
    jobd.wait()


def exit_code(process: psutil.Process) -> int:
    """Of a process that has become a child of the test, once it has ended."""
    status: list[int] = []

    def has_ended() -> bool:
        pid, found = os.waitpid(process.pid, os.WNOHANG)
        status.extend([found] if pid else [])
        return bool(pid)

    wait_until(has_ended, f"the end of process {process.pid}")
    return os.waitstatus_to_exitcode(status[0])


def is_dead(child: psutil.Process) -> bool:
    """Whether it waits only to be reaped: its other threads may end after the first one."""
    return child.status() == psutil.STATUS_ZOMBIE and child.num_threads() <= 1


@pytest.mark.usefixtures("reaper")
class TestKilledMaster:
    @pytest.mark.parametrize("lifeline", ["signal", "channel"])
    def test_by_the_signal_and_by_the_channel_alone_its_children_give_back_and_end(
        self, start_jobd: StartJobd, lifeline: str
    ) -> None:
        jobd = start(start_jobd, concurrency=1, patch="lifeline", variables={"JOBD_TEST_LIFELINE": lifeline})
        jobd.push_many("hold", [1, 2])
        jobd.wait_for_lines("began", 2)
        workers = jobd.workers
        begun = time.monotonic()
        kill_master(jobd)
        assert [exit_code(worker) for worker in workers] == [exits.PARENT_LOST] * 2
        assert time.monotonic() - begun < TIMEOUT + 3
        assert jobd.count("process.master_lost") == (2 if lifeline == "channel" else 0)
        assert jobd.session == []
        assert len(jobd.queued()) == 2
        assert jobd.left_in_progress() == {}

    def test_a_child_that_had_not_asked_yet_to_be_told_ends_too(self, tmp_path: Path, redis_url: str) -> None:
        with launched(tmp_path, redis_url, patch="lifeline", variables={"JOBD_TEST_LIFELINE": "look"}) as jobd:
            wait_until((tmp_path / "in-the-gap").exists, "a fork")
            (child,) = psutil.Process(jobd.pid).children()
            kill_master(jobd)
            (tmp_path / "go-on").touch()
            assert exit_code(child) == exits.PARENT_LOST
            assert jobd.count("application.loaded") == 0

    def test_a_child_that_imports_its_application_ends_at_once(self, tmp_path: Path, redis_url: str) -> None:
        (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(60)")
        with launched(tmp_path, redis_url, require=["slow"]) as jobd:
            wait_until((tmp_path / "importing").exists, "an import")
            (child,) = psutil.Process(jobd.pid).children()
            kill_master(jobd)
            begun = time.monotonic()
            assert exit_code(child) == exits.PARENT_LOST
            assert time.monotonic() - begun < 2


class TestKilledChildren:
    def test_a_living_sibling_gives_the_jobs_of_one_back_once_and_it_is_replaced(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, concurrency=2)
        jobd.push_many("hold", range(4))
        jobd.wait_for_lines("began", 4)
        killed, sibling = jobd.workers
        killed.kill()
        jobd.wait_for("process.ready", count=3)
        assert jobd.wait_for("orphans.handed_over")["child"] == sibling.pid
        recovered = jobd.wait_for("owner.recovered")
        assert (recovered["pid"], recovered["jobs"]) == (sibling.pid, 2)
        jobd.wait_for_lines("began", 6)
        jobd.release()
        jobd.wait_for_lines("ended", 4)
        assert jobd.stop() == exits.OK
        assert sorted(jobd.lines("ended")) == ["0", "1", "2", "3"]
        assert jobd.count("owner.recovered") == 1
        assert jobd.statistics() == (4, 0)
        assert jobd.left_in_progress() == {}

    def test_all_killed_at_the_same_moment_are_replaced_one_for_one(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, processes=4, concurrency=1)
        jobd.push_many("hold", range(4))
        jobd.wait_for_lines("began", 4)
        master = psutil.Process(jobd.pid)
        master.suspend()
        for worker in master.children():
            worker.kill()
        wait_until(lambda: all(map(is_dead, master.children())), "that nothing of them is left to be killed")
        master.resume()
        jobd.wait_for("process.ready", count=8)
        turns = [event["event"] for event in jobd.events("child.ended", "child.started")]
        assert turns == ["child.started"] * 4 + ["child.ended"] * 4 + ["child.started"] * 4
        assert [child.status() == psutil.STATUS_ZOMBIE for child in master.children()] == [False] * 4
        jobd.wait_for_lines("began", 8)
        jobd.release()
        jobd.wait_for_lines("ended", 4)
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (4, 0)

    def test_a_job_that_kills_its_process_again_and_again_ends_dead_while_others_go_on(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start(start_jobd, concurrency=1, constants={"jobd.supervisor.policy.FIRST_DELAY": 0.05})
        jid = jobd.push("segfault")
        jobd.push_many("quick", range(50))
        dead = jobd.wait_for("job.dead")
        assert (dead["jid"], dead["crashes"]) == (jid, 3)
        jobd.wait_for_lines("ended", 50)
        wait_until(lambda: jobd.statistics() == (51, 1), "the counters")
        assert len(jobd.lines("began")) == 3
        assert [end["cause"].partition(" (")[0] for end in jobd.events("child.ended")] == ["killed by SIGSEGV"] * 3
        assert [end["jobs"] for end in jobd.events("child.ended")] == [jid] * 3
        with jobd.redis() as client:
            (entry,) = map(json.loads, client.zrange("dead", 0, -1))
            assert client.get(f"jobd:crashes:{jid}") is None
        assert (entry["error_class"], entry["jid"]) == ("jobd.Crashed", jid)
        assert "SIGSEGV" in entry["error_message"]
        assert "crashed 3 times" in entry["error_message"]
        jobd.wait_for("process.ready", count=5)
        assert jobd.stop() == exits.OK
        assert jobd.left_in_progress() == {}

    def test_so_does_one_that_was_fetched_in_a_batch_of_short_jobs(self, start_jobd: StartJobd) -> None:
        quick = {"jobd.supervisor.policy.FIRST_DELAY": 0.05}
        jobd = start(start_jobd, concurrency=2, pidfile="jobd.pid", constants=quick)
        jobd.signal(signal.SIGTSTP)
        wait_until(lambda: jobd.status()["state"] == "quiet", "it to be quiet")
        jobd.push_many("quick", range(150))
        jid = jobd.push("segfault")
        jobd.push_many("quick", range(150, 300))
        assert jobd.ctl("resume").returncode == 0
        assert jobd.wait_for("job.dead")["jid"] == jid
        wait_until(lambda: jobd.statistics() == (301, 1), "the counters")
        assert set(jobd.lines("ended")) == {str(number) for number in range(300)}
        assert len(jobd.lines("began")) == 3
        assert jobd.stop() == exits.OK
        assert jobd.left_in_progress() == {}


class TestStorms:
    @pytest.mark.timeout(60 + 5 * STORM_ROUNDS)
    def test_whenever_signals_come_all_ends_in_time_and_no_job_is_lost_or_doubled(
        self, tmp_path: Path, redis_url: str
    ) -> None:
        dice = random.Random(STORM_SEED)
        jobd = Jobd(tmp_path, redis_url, processes=2, concurrency=2, timeout=TIMEOUT, pidfile="jobd.pid")
        jobd.push_many("hold", range(6))
        for number in range(STORM_ROUNDS):
            begun = len(jobd.lines("began"))
            with contextlib.closing(jobd.launch()):
                if number % 2:  # it finds jobs that run; otherwise it may come before anything does
                    jobd.wait_for_lines("began", begun + 4)
                storm(jobd, sorted(dice.uniform(0, STORM_SECONDS) for _ in STORM))
        jobd.release()
        with jobd:
            jobd.wait_for_lines("ended", 6)
            assert jobd.stop() == exits.OK
        assert sorted(jobd.lines("ended")) == list("012345")
        assert jobd.statistics() == (6, 0)
        assert jobd.left_in_progress() == {}


def storm(jobd: Jobd, moments: list[float]) -> None:
    """Send the signals at these seconds from now on, and see jobd end as it should."""
    begun = time.monotonic()
    for number, moment in zip(STORM, moments, strict=True):
        wait_until(lambda at=moment: time.monotonic() - begun >= at, "the next signal")
        with contextlib.suppress(ProcessLookupError):
            jobd.signal(number)
    # Before jobd listens, a signal has the effect that it has on any program.
    assert jobd.wait(TIMEOUT + 3) in (exits.OK, exits.INTERRUPTED_TWICE, -signal.SIGTERM, -signal.SIGINT), moments
    assert jobd.session == [], moments
    assert not (jobd.directory / "jobd.pid").exists(), moments


@contextlib.contextmanager
def launched(directory: Path, redis_url: str, **settings: Any) -> Iterator[Jobd]:
    """`jobd` with one worker process that will not be ready."""
    with contextlib.closing(Jobd(directory, redis_url, processes=1, **settings).launch()) as jobd:
        yield jobd
