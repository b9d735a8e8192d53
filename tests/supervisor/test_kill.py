"""`kill -9` of worker processes, of the master and of everything: what was in progress runs again, nothing is lost."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobd.supervisor import exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd, doubled
from tests.waiting import wait_until

HELD, QUEUED = 10, 1_000
PR_SET_CHILD_SUBREAPER = 36


def fill(jobd: Jobd) -> list[bytes]:
    """Have ten jobs run and a thousand wait; returns the thousand, next to be taken first."""
    jobd.push_many("hold", range(HELD))
    jobd.wait_for_lines("began", HELD)
    jobd.push_many("quick", range(1_000, 1_000 + QUEUED))
    waiting = jobd.queued()
    assert len(waiting) == QUEUED
    return waiting


def assert_all_ran(jobd: Jobd) -> None:
    """Every job has ended once, the ten began twice, and the counters say so."""
    jobd.release()
    jobd.wait_for_lines("ended", HELD + QUEUED, seconds=15)
    assert sorted(jobd.lines("began")) == sorted([str(n) for n in range(HELD)] * 2)
    assert not doubled(jobd.lines("ended"))
    assert jobd.stop() == exits.OK
    assert jobd.statistics() == (HELD + QUEUED, 0)
    assert jobd.queued() == []
    assert jobd.left_in_progress() == {}


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_of_a_killed_worker_process_run_again_at_once(start_jobd: StartJobd, processes: int) -> None:
    jobd = start_jobd(processes=processes, concurrency=HELD // processes)
    fill(jobd)
    for worker in jobd.workers:
        worker.kill()
    jobd.wait_for("owner.recovered", count=processes, seconds=5)
    jobd.wait_for_lines("began", 2 * HELD, seconds=5)
    ends = jobd.events("child.ended")
    assert [end["cause"].partition(",")[0] for end in ends] == ["killed by SIGKILL"] * processes
    assert sum(event["jobs"] for event in jobd.events("owner.recovered")) == HELD
    assert_all_ran(jobd)


def test_jobs_of_a_killed_process_are_next_and_the_order_of_the_queue_stays(start_jobd: StartJobd) -> None:
    jobd = start_jobd(processes=1, concurrency=1)
    jobd.push_many("hold", range(1))
    jobd.wait_for_lines("began", 1)
    jobd.push_many("quick", range(50))
    waiting = jobd.queued()
    jobd.kill_everything()
    assert jobd.queued() == waiting
    jobd.release()
    jobd.start()
    jobd.wait_for_lines("ended", 51)
    assert jobd.lines("ended")[0] == "0"
    assert jobd.lines("ended")[1:] == [str(n) for n in range(50)]


def test_after_the_kill_of_everything_the_next_start_runs_the_jobs_again(start_jobd: StartJobd) -> None:
    jobd = start_jobd(processes=2, concurrency=HELD // 2)
    waiting = fill(jobd)
    jobd.kill_everything()
    assert jobd.queued() == waiting
    jobd.start()
    jobd.wait_for_lines("began", 2 * HELD, seconds=15)
    assert jobd.statistics() == (0, 0)
    assert_all_ran(jobd)


def test_the_server_may_be_killed_too(start_jobd: StartJobd) -> None:
    with RedisServer(appendonly=True, args=["--appendfsync", "always"]) as server:
        jobd = start_jobd(server.url, processes=1)
        fill(jobd)
        jobd.kill_everything()
        server.kill()
        server.start()
        jobd.start()
        jobd.wait_for_lines("began", 2 * HELD, seconds=15)
        assert_all_ran(jobd)


def test_with_an_embedded_store_everything_may_be_killed_together(start_jobd: StartJobd, tmp_path: Path) -> None:
    jobd = start_jobd(f"embedded:{tmp_path}/store", processes=1)
    fill(jobd)
    with jobd.redis() as client:
        client.config_set("appendfsync", "always")
        client.set("synced", 1)
    jobd.kill_everything()
    jobd.start()
    jobd.wait_for_lines("began", 2 * HELD, seconds=15)
    jobd.release()
    jobd.wait_for_lines("ended", HELD + QUEUED, seconds=15)
    wait_until(lambda: jobd.statistics() == (HELD + QUEUED, 0), "counters equal the ledger")
    assert not doubled(jobd.lines("ended"))
    assert jobd.stop() == exits.OK


@pytest.fixture
def orphans() -> Iterator[None]:
    """Processes whose parent died become children of the test, so that it sees their exit codes."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.usefixtures("orphans")
def test_workers_whose_master_was_killed_finish_give_back_and_end(start_jobd: StartJobd) -> None:
    jobd = start_jobd(processes=2, concurrency=1, timeout=2)
    jobd.push("last", 0.5)
    jobd.push("hold", 1)
    jobd.wait_for_lines("began", 2)
    jobd.push("quick", 1)
    workers = jobd.workers
    os.kill(jobd.pid, signal.SIGKILL)
    jobd.wait()
    codes = {os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1]) for worker in workers}
    assert codes == {exits.PARENT_LOST}
    assert jobd.lines("ended") == ["0.5"]
    assert [b"hold" in job for job in jobd.queued()] == [True, False]
    assert jobd.left_in_progress() == {}
    assert jobd.count("process.master_lost") == 2
    jobd.release()
    jobd.start()
    jobd.wait_for_lines("ended", 3)
    assert jobd.stop() == exits.OK
    assert jobd.statistics() == (3, 0)


def test_a_worker_process_killed_while_the_server_is_away_loses_nothing(start_jobd: StartJobd) -> None:
    with RedisServer(appendonly=True) as server:
        jobd = start_jobd(server.url, processes=1, concurrency=2)
        jobd.push_many("hold", range(2))
        jobd.wait_for_lines("began", 2)
        (worker,) = jobd.workers
        server.stop()
        worker.kill()
        jobd.wait_for("child.ended")
        jobd.wait_for("redis.lost")
        jobd.release()
        server.start()
        jobd.wait_for_lines("ended", 2)
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (2, 0)


def test_a_replacement_that_waits_for_the_server_still_obeys(start_jobd: StartJobd) -> None:
    with RedisServer() as server:
        jobd = start_jobd(server.url, processes=1, timeout=10)
        (worker,) = jobd.workers
        server.stop()
        worker.kill()
        jobd.wait_for("child.ended")
        wait_until(lambda: len(psutil.Process(jobd.pid).children()) == 1, "a replacement")
        jobd.wait_for("application.loaded", count=2)
        jobd.signal(signal.SIGTERM)
        assert jobd.wait(5) == exits.OK
        assert jobd.events("child.ended")[-1]["cause"] == "exit code 0"
        assert jobd.count("child.killed") == 0
