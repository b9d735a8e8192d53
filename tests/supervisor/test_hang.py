"""Processes that show no sign of life, and those that will not end: what becomes of them, and of their jobs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from typing import Any

import psutil
import pytest

from jobd.supervisor import exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

HANG_TIMEOUT = 1.2
QUICK = {
    "jobd.client.defaults.MIN_HANG_TIMEOUT": HANG_TIMEOUT,
    "jobd.worker.process._PULSE_INTERVAL": 0.1,
    "jobd.supervisor.master.TICK": 0.1,
    "jobd.supervisor.health.DUMP_TIME": 1.0,
    "jobd.supervisor.health.RECOVERY_TIME": 1.0,
    "jobd.supervisor.policy.OVERSLEPT": 1.4,
}
"""So that what takes a minute in production takes seconds."""


def start(start_jobd: StartJobd, **settings: Any) -> Jobd:
    """`jobd` with a control socket."""
    ours = {"require": ["ledger_jobs", "signal_jobs"], "pidfile": "jobd.pid", "processes": 2, "concurrency": 1}
    return start_jobd(**{**ours, "timeout": 1, **settings})


def worker_of(jobd: Jobd, number: int = 0) -> psutil.Process:
    """The process that began the job which is this number in the ledger."""
    return psutil.Process(int(jobd.ledger.read_text().splitlines()[number].split()[2]))


def crashes(jobd: Jobd, jid: str) -> bytes | None:
    """How often this job ran when its process crashed."""
    with jobd.redis() as client:
        return client.get(f"jobd:crashes:{jid}")


def suspend(processes: Iterable[psutil.Process]) -> None:
    """Stop them, as a debugger or a machine that sleeps does."""
    for process in processes:
        process.suspend()
    wait_until(lambda: all(each.status() == psutil.STATUS_STOPPED for each in processes), "that they are stopped")


class TestHang:
    def test_a_process_without_a_sign_of_life_is_killed_and_replaced_and_its_job_runs_elsewhere(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start(start_jobd, hang_timeout=3)
        jid = jobd.push("hold", 1)
        jobd.wait_for_lines("began", 1)
        hung = worker_of(jobd)
        (other,) = (worker.pid for worker in jobd.workers if worker.pid != hung.pid)
        begun = time.monotonic()
        suspend([hung])
        assert jobd.wait_for("child.silent")["child"] == hung.pid
        assert time.monotonic() - begun < 3
        assert jobd.wait_for("child.hung")["child"] == hung.pid
        assert time.monotonic() - begun > 2
        jobd.wait_for("child.killed")
        end = jobd.wait_for("child.ended")
        assert (end["child"], end["reason"], end["jobs"]) == (hung.pid, "hang", jid)
        assert "for 3 s" in end["cause"]
        jobd.wait_for("process.ready", count=3)
        jobd.wait_for_lines("began", 2)
        assert crashes(jobd, jid) == b"1"
        assert jobd.wait_for("orphans.handed_over")["child"] == other
        assert {worker.pid for worker in jobd.workers} > {other}
        jobd.release()
        assert jobd.stop() == exits.OK
        assert jobd.lines("ended") == ["1"]
        assert jobd.statistics() == (1, 0)

    def test_a_job_that_keeps_the_lock_of_the_interpreter_is_shown_and_is_to_blame(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, constants=QUICK, hang_timeout=HANG_TIMEOUT, max_crashes=1)
        jid = jobd.push("hold_the_lock", 60_000_000)
        jobd.wait_for_lines("began", 1)
        frozen = worker_of(jobd)
        told = jobd.wait_for("child.stacks")
        assert (told["child"], "in hold_the_lock" in told["stacks"]) == (frozen.pid, True)
        end = jobd.wait_for("child.ended")
        assert (end["child"], end["reason"], end["jobs"]) == (frozen.pid, "hang", jid)
        assert end["cause"].endswith("killed by SIGABRT")
        assert jobd.count("child.killed") == 0
        assert jobd.wait_for("job.dead")["jid"] == jid
        with jobd.redis() as client:
            (entry,) = map(json.loads, client.zrange("dead", 0, -1))
        assert entry["error_class"] == "jobd.Crashed"
        assert "SIGABRT" in entry["error_message"]
        jobd.wait_for("process.ready", count=3)
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)

    def test_a_shorter_silence_is_only_told(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, constants=QUICK, hang_timeout=HANG_TIMEOUT * 2)
        jobd.push("hold_the_lock", int(HANG_TIMEOUT * 1.4e6))
        jobd.wait_for_lines("ended", 1)
        assert jobd.wait_for("child.silent")["level"] == "warning"
        assert jobd.stop() == exits.OK
        assert [end["reason"] for end in jobd.events("child.ended")] == ["clean", "clean"]

    def test_a_long_job_is_none(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, processes=1, constants=QUICK, hang_timeout=HANG_TIMEOUT)
        jobd.push("spin")
        jobd.wait_for_lines("began", 1)
        wait_until(lambda: jobd.status()["children"][0]["running"][0]["seconds"] > 1.5 * HANG_TIMEOUT, "a long run")
        assert jobd.count("child.silent") == 0

    @pytest.mark.parametrize("with_children", [False, True])
    def test_a_master_that_was_suspended_judges_nobody_by_that_time(
        self, start_jobd: StartJobd, with_children: bool
    ) -> None:
        jobd = start(start_jobd, constants=QUICK, hang_timeout=HANG_TIMEOUT)
        master, workers = psutil.Process(jobd.pid), jobd.workers
        suspended = [master, *(workers if with_children else [])]
        suspend(suspended)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 2 * HANG_TIMEOUT, "twice the limit")
        master.resume()
        jobd.wait_for("master.was_asleep")
        for process in suspended:
            process.resume()
        wait_until(lambda: all(child["pulse_ago"] < 0.5 for child in jobd.status()["children"]), "signs of life")
        assert (jobd.count("child.hung"), jobd.count("child.ended")) == (0, 0)
        assert jobd.workers == workers
        workers[0].suspend()  # from now on it judges again
        assert jobd.wait_for("child.hung")["child"] == workers[0].pid


class TestStop:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, exits.OK), (signal.SIGQUIT, exits.QUIT)])
    def test_a_process_that_ignores_it_is_killed_and_its_job_runs_after_the_next_start(
        self, start_jobd: StartJobd, number: signal.Signals, code: int
    ) -> None:
        soon = {"jobd.supervisor.master.KILL_AFTER": 0.5, "jobd.supervisor.master.HARD_STOP": 0.5}
        jobd = start(start_jobd, timeout=0.5, constants=soon)
        jid = jobd.push("deaf")
        jobd.wait_for_lines("began", 1)
        jobd.signal(number)
        assert jobd.wait(3) == code
        assert jobd.session == []
        (killed,) = (end for end in jobd.events("child.ended") if end["reason"] != "clean")
        assert (killed["reason"], killed["cause"]) == ("signal", "it did not stop in time; killed by SIGKILL")
        assert crashes(jobd, jid) is None
        jobd.launch()
        jobd.wait_for_lines("began", 2)

    def test_a_server_that_hangs_does_not_hold_it_up(self, start_jobd: StartJobd) -> None:
        with RedisServer() as server:
            jobd = start(start_jobd, redis_url=server.url, timeout=0.5)
            jobd.push_many("hold", range(2))
            jobd.wait_for_lines("began", 2)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                jobd.signal(signal.SIGTERM)
                assert jobd.wait() == exits.OK
                assert time.monotonic() - begun < 0.5 + 3
                assert jobd.session == []
            finally:
                os.kill(server.pid, signal.SIGCONT)
            jobd.release()
            jobd.start()
            jobd.wait_for_lines("ended", 2)
            assert jobd.stop() == exits.OK
            assert jobd.statistics() == (2, 0)
