"""Each signal that a master or a worker process may get, from a shell, a terminal or through Redis, and its effect."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

HARMLESS = ("WINCH", "ALRM", "PWR", "URG", "VTALRM", "PROF", "IO", "PIPE")
NEVER = {"jobd.worker.log_file.LOOK_INTERVAL": 3600.0}
"""So that a log file is opened anew for no other reason than a signal."""
IMPORT_THAT_WAITS = """
import pathlib, threading
pathlib.Path("importing").touch()
while not pathlib.Path("go-on").exists():
    threading.Event().wait(0.01)
"""
IMPORT_THAT_CATCHES = """
import contextlib, pathlib, threading
pathlib.Path("importing").touch()
while True:
    with contextlib.suppress(BaseException):
        threading.Event().wait(60)
"""


@pytest.fixture
def pair(start_jobd: StartJobd) -> Jobd:
    """A master with two worker processes, of two threads each."""
    return start(start_jobd)


def start(start_jobd: StartJobd, **settings: Any) -> Jobd:
    """`jobd` with a control socket."""
    ours = {"require": ["ledger_jobs", "signal_jobs"], "pidfile": "jobd.pid", "processes": 2, "concurrency": 2}
    return start_jobd(**{**ours, "timeout": 2, "restart_probe": 0, "log_level": "debug", **settings})


def children(jobd: Jobd, key: str) -> list[Any]:
    """What the status says about each worker process."""
    return [child[key] for child in jobd.status()["children"]]


def send(number: signal.Signals, pid: int) -> None:
    """Send a signal to a process that lives."""
    os.kill(pid, number)


def run_one_more(jobd: Jobd) -> None:
    """Push a job and see it end: jobs are still taken."""
    ended = len(jobd.lines("ended"))
    jobd.push("quick", 1)
    jobd.wait_for_lines("ended", ended + 1)


def wait_for_states(jobd: Jobd, *states: str) -> None:
    """Wait until the worker processes are in these states, in whatever order."""
    try:
        wait_until(lambda: sorted(children(jobd, "state")) == sorted(states), f"states {states}")
    except AssertionError as error:
        raise AssertionError(f"{error}; they are {jobd.status()['children']}") from None


def hold_a_job(jobd: Jobd) -> int:
    """Have a job run that ends when it is released; returns the process that runs it."""
    jobd.push("hold", 1)
    jobd.wait_for_lines("began", 1)
    return int(jobd.ledger.read_text().split()[2])


class TestMasterIsQuietAfterTSTP:
    def test_so_are_all_processes_and_a_second_one_changes_nothing(self, pair: Jobd) -> None:
        pair.signal(signal.SIGTSTP)
        wait_for_states(pair, "quiet", "quiet")
        pair.signal(signal.SIGTSTP)
        pair.signal(signal.SIGTTOU)
        assert pair.wait_for("master.state")["state"] == "quiet"
        pair.wait_for("process.quiet", count=2)
        assert (pair.count("master.quiet"), pair.count("process.quiet")) == (1, 2)
        assert pair.status()["processes"] == {"wanted": 2, "ready": 2}

    def test_so_is_a_process_that_is_started_later(self, pair: Jobd) -> None:
        pair.signal(signal.SIGTSTP)
        wait_for_states(pair, "quiet", "quiet")
        pair.workers[0].kill()
        pair.wait_for("process.ready", count=3)
        wait_for_states(pair, "quiet", "quiet")
        pair.push("quick", 1)
        pair.signal(signal.SIGUSR2)
        pair.wait_for("restart.ended")
        wait_for_states(pair, "quiet", "quiet")
        assert pair.stop() == exits.OK
        assert len(pair.queued()) == 1

    def test_cont_only_says_that_it_still_is_and_resume_ends_it(self, pair: Jobd) -> None:
        pair.signal(signal.SIGCONT)
        pair.signal(signal.SIGTSTP)
        wait_for_states(pair, "quiet", "quiet")
        assert pair.count("master.still_quiet") == 0
        pair.push("quick", 1)
        pair.signal(signal.SIGCONT)
        assert "ctl resume" in pair.wait_for("master.still_quiet")["hint"]
        wait_for_states(pair, "quiet", "quiet")
        assert len(pair.queued()) == 1
        assert pair.ctl("resume", "--wait").returncode == exits.OK
        pair.wait_for_lines("ended", 1)
        assert pair.status()["state"] == "running"
        pair.workers[0].kill()
        pair.wait_for("process.ready", count=3)
        wait_for_states(pair, "ready", "ready")

    def test_resume_has_one_take_jobs_that_was_quieted_by_itself(self, pair: Jobd) -> None:
        send(signal.SIGTSTP, pair.workers[0].pid)
        wait_for_states(pair, "quiet", "ready")
        assert pair.ctl("resume", "--wait").returncode == exits.OK
        wait_for_states(pair, "ready", "ready")


class TestMasterStops:
    def test_term_again_does_no_harm(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=10)
        hold_a_job(jobd)
        jobd.signal(signal.SIGTERM)
        jobd.wait_for("process.quiet", count=2)
        for count in range(1, 4):
            jobd.signal(signal.SIGTERM)
            jobd.wait_for("master.stops_already", count=count)
        jobd.release()
        assert jobd.wait() == exits.OK
        assert jobd.lines("ended") == ["1"]

    def test_other_signals_change_nothing_about_a_stop(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=10)
        hold_a_job(jobd)
        jobd.signal(signal.SIGTERM)
        jobd.wait_for("process.quiet", count=2)
        for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            jobd.signal(number)
        jobd.signal(signal.SIGTTOU)
        assert jobd.wait_for("master.state")["state"] == "stopping"
        jobd.release()
        assert jobd.wait() == exits.OK
        assert (jobd.count("config.reloaded"), jobd.count("restart.began")) == (0, 0)
        assert jobd.lines("ended") == ["1"]

    def test_term_to_all_processes_at_once_is_one_stop(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=10)
        hold_a_job(jobd)
        for worker in jobd.workers:
            send(signal.SIGTERM, worker.pid)
        jobd.signal(signal.SIGTERM)
        jobd.wait_for("process.quiet", count=2)
        jobd.release()
        assert jobd.wait() == exits.OK
        assert jobd.session == []
        assert jobd.lines("ended") == ["1"]

    def test_quit_ends_a_stop_that_takes_long(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=60)
        hold_a_job(jobd)
        jobd.signal(signal.SIGTERM)
        jobd.wait_for("process.quiet", count=2)
        jobd.signal(signal.SIGQUIT)
        assert jobd.wait(5) == exits.QUIT
        assert len(jobd.queued()) == 1
        assert jobd.session == []


class TestMasterReadsItsConfigurationAfterHUP:
    def test_what_new_processes_need_begins_a_rolling_restart_and_the_master_stays(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        pair.configure(concurrency=3)
        pair.signal(signal.SIGHUP)
        assert pair.wait_for("restart.ended")["ok"]
        status = pair.status()
        assert status["pid"] == pair.pid
        wait_until(lambda: len(pair.workers) == 2, "the end of the old processes")
        assert not set(before) & set(children(pair, "pid"))
        assert children(pair, "threads") == [3, 3]
        assert [event["concurrency"] for event in pair.events("process.ready")] == [2, 2, 3, 3]

    def test_a_wrong_one_is_refused_and_the_old_one_stays(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        config = pair.directory / "jobd.yml"
        config.write_text(json.dumps({**pair.settings, "concurency": 3}))
        pair.signal(signal.SIGHUP)
        refused = pair.wait_for("config.refused")
        assert refused["level"] == "error"
        assert "concurency" in refused["error"]
        config.unlink()
        pair.signal(signal.SIGHUP)
        assert "jobd.yml" in pair.wait_for("config.refused", count=2)["error"]
        assert children(pair, "pid") == before
        run_one_more(pair)

    def test_one_without_a_change_replaces_nothing(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        pair.signal(signal.SIGHUP)
        told = pair.wait_for("config.reloaded")
        assert not {"live", "rolling", "waiting"} & set(told)
        assert (children(pair, "pid"), pair.count("restart.began")) == (before, 0)

    def test_another_number_of_processes_holds_at_once(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        pair.configure(processes=3)
        pair.signal(signal.SIGHUP)
        wait_for_states(pair, "ready", "ready", "ready")
        assert set(before) < set(children(pair, "pid"))
        pair.configure(processes=1)
        pair.signal(signal.SIGHUP)
        wait_until(lambda: len(pair.workers) == 1, "one process")
        assert children(pair, "pid") == before[:1]
        assert [end["reason"] for end in pair.events("child.ended")] == ["clean", "clean"]
        run_one_more(pair)

    def test_what_only_a_new_start_can_change_is_told(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        pair.configure(pidfile="other.pid")
        pair.signal(signal.SIGHUP)
        assert pair.wait_for("config.waits")["keys"] == "pidfile"
        pair.settings["pidfile"] = "jobd.pid"
        assert children(pair, "pid") == before
        assert pair.stop() == exits.OK
        assert not (pair.directory / "other.pid").exists()


class TestLogs:
    def test_usr1_to_the_master_opens_them_anew_in_every_process(self, start_jobd: StartJobd, tmp_path: Path) -> None:
        jobd = start(start_jobd, logfile="jobd.log", constants=NEVER, web=str(tmp_path / "web.sock"))
        jobd.wait_for("web.ready")
        pids = [jobd.pid, *children(jobd, "pid"), jobd.wait_for("web.started")["child"]]
        rotate(jobd)
        jobd.signal(signal.SIGUSR1)
        wait_until(lambda: all(log_of(pid) == "jobd.log" for pid in pids), "the new log file in all processes")

    @pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
    def test_a_worker_process_opens_its_own_anew(self, start_jobd: StartJobd, number: signal.Signals) -> None:
        jobd = start(start_jobd, logfile="jobd.log", constants=NEVER)
        first, second = children(jobd, "pid")
        rotate(jobd)
        send(number, first)
        wait_until(lambda: log_of(first) == "jobd.log", "the new log file")
        assert [log_of(pid) for pid in (second, jobd.pid)] == ["rotated.log"] * 2


def rotate(jobd: Jobd) -> None:
    """Give the log file another name."""
    jobd.log.rename(jobd.log.with_name("rotated.log"))
    assert log_of(jobd.pid) == "rotated.log"


def log_of(pid: int) -> str:
    """The name that the log file of a process has by now; the standard streams lead there too, or soon will."""
    names = {Path(each.path).name for each in psutil.Process(pid).open_files() if each.path.endswith(".log")}
    return " and ".join(sorted(names))


class TestNewCode:
    def test_usr2_brings_what_a_file_says_now_and_the_master_stays(self, start_jobd: StartJobd, tmp_path: Path) -> None:
        code = "import jobd, ledger_jobs\n@jobd.job(name='ask')\ndef ask() -> None:\n    ledger_jobs.note('is', '{}')\n"
        (tmp_path / "shop.py").write_text(code.format("old"))
        jobd = start(start_jobd, require=["ledger_jobs", "shop"])
        jobd.push("ask")
        jobd.wait_for_lines("is", 1)
        (tmp_path / "shop.py").write_text(code.format("brand-new"))
        jobd.signal(signal.SIGUSR2)
        assert jobd.wait_for("restart.ended")["ok"]
        jobd.wait_for("child.ended", count=2)
        jobd.push("ask")
        jobd.wait_for_lines("is", 2)
        assert jobd.lines("is") == ["old", "brand-new"]
        assert jobd.status()["pid"] == jobd.pid
        assert set(children(jobd, "generation")) == {2}


class TestStacks:
    def test_ttin_to_the_master_writes_those_of_all_threads_of_all_processes(self, pair: Jobd) -> None:
        busy = hold_a_job(pair)
        pair.signal(signal.SIGTTIN)
        pair.wait_for("process.stacks", count=2)
        assert "in run" in pair.wait_for("master.stacks")["stacks"]
        stacks = {event["pid"]: event["stacks"] for event in pair.events("process.stacks")}
        assert set(stacks) == set(children(pair, "pid"))
        assert [pid for pid, text in stacks.items() if "in hold" in text] == [busy]

    def test_ttin_shows_a_process_that_cannot_run_its_threads(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, constants={"jobd.supervisor.master.STACKS_AFTER": 0.3})
        jobd.push("freeze")
        jobd.wait_for_lines("began", 1)
        frozen = int(jobd.ledger.read_text().split()[2])
        jobd.signal(signal.SIGTTIN)
        told = jobd.wait_for("child.stacks")
        assert told["child"] == frozen
        assert "in freeze" in told["stacks"]
        assert [event["pid"] for event in jobd.events("process.stacks")] == [
            pid for pid in children(jobd, "pid") if pid != frozen
        ]
        assert jobd.count("child.ended") == 0

    def test_ttin_to_a_worker_process_writes_its_own(self, pair: Jobd) -> None:
        first = children(pair, "pid")[0]
        send(signal.SIGTTIN, first)
        assert pair.wait_for("process.stacks")["pid"] == first
        assert (pair.count("process.stacks"), pair.count("master.stacks")) == (1, 0)

    def test_ttou_writes_the_state_of_all_processes(self, pair: Jobd) -> None:
        pair.signal(signal.SIGTTOU)
        state = pair.wait_for("master.state")
        assert (state["state"], state["processes"]) == ("running", {"wanted": 2, "ready": 2})
        assert [child["pid"] for child in state["children"]] == children(pair, "pid")


class TestWorkerProcess:
    def test_tstp_quiets_it_alone_and_the_status_shows_it(self, pair: Jobd) -> None:
        first, second = children(pair, "pid")
        send(signal.SIGTSTP, first)
        wait_for_states(pair, "quiet", "ready")
        assert (children(pair, "state")[0], pair.status()["state"]) == ("quiet", "running")
        pair.push_many("quick", range(10))
        pair.wait_for_lines("ended", 10)
        assert {line.split()[2] for line in pair.ledger.read_text().splitlines()} == {str(second)}
        send(signal.SIGCONT, first)
        send(signal.SIGTTIN, first)
        pair.wait_for("process.stacks")
        wait_for_states(pair, "quiet", "ready")

    def test_term_has_it_stop_in_time_and_it_is_replaced_at_once(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=10)
        busy = hold_a_job(jobd)
        send(signal.SIGTERM, busy)
        jobd.wait_for("process.ready", count=3)
        wait_for_states(jobd, "ready", "ready", "stopping")
        run_one_more(jobd)
        jobd.release()
        end = jobd.wait_for("child.ended")
        assert (end["child"], end["reason"], end["cause"]) == (busy, "clean", "exit code 0")
        assert jobd.lines("ended") == ["1", "1"]
        assert jobd.statistics() == (2, 0)

    def test_term_gives_back_what_does_not_end_in_time(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, processes=1, timeout=0.6)
        busy = hold_a_job(jobd)
        send(signal.SIGTERM, busy)
        jobd.wait_for_lines("began", 2)
        assert jobd.wait_for("child.ended")["reason"] == "clean"
        jobd.release()
        jobd.wait_for_lines("ended", 1)
        assert jobd.stop() == exits.OK
        assert jobd.lines("ended") == ["1"]
        assert jobd.statistics() == (1, 0)

    def test_quit_gives_its_jobs_back_now_and_it_is_replaced(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, processes=1, timeout=60)
        busy = hold_a_job(jobd)
        send(signal.SIGQUIT, busy)
        jobd.wait_for_lines("began", 2, seconds=3)
        end = jobd.wait_for("child.ended")
        assert (end["reason"], end["cause"]) == ("clean", f"exit code {exits.QUIT}")
        with jobd.redis() as client:
            assert not list(client.scan_iter("jobd:crashes:*"))

    def test_usr2_has_it_finish_its_jobs_without_a_limit_and_it_is_replaced(self, start_jobd: StartJobd) -> None:
        jobd = start(start_jobd, timeout=0.3, constants={"jobd.supervisor.serve.HARD_EXIT_AFTER": 0.2})
        jobd.push("last", 1.5)  # longer than a stop takes
        jobd.wait_for_lines("began", 1)
        busy = int(jobd.ledger.read_text().split()[2])
        send(signal.SIGUSR2, busy)
        jobd.wait_for("process.ready", count=3)
        wait_for_states(jobd, "ready", "ready", "stopping")
        end = jobd.wait_for("child.ended")
        assert (end["child"], end["reason"], end["cause"]) == (busy, "clean", "exit code 0")
        assert (jobd.lines("began"), jobd.lines("ended")) == (["1.5"], ["1.5"])

    def test_int_cont_and_ttou_do_nothing(self, pair: Jobd) -> None:
        before = children(pair, "pid")
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGCONT, signal.SIGTTOU, signal.SIGTTIN):
            for pid in before:
                send(number, pid)
        pair.wait_for("process.stacks", count=2)
        run_one_more(pair)
        assert (children(pair, "pid"), children(pair, "state")) == (before, ["ready", "ready"])

    def test_through_redis_term_replaces_it_and_tstp_leaves_it_quiet(self, pair: Jobd) -> None:
        first, second = pair.identities
        with pair.redis() as client:
            client.lpush(f"{first}-signals", "TERM")
            client.lpush(f"{second}-signals", "TSTP")
        pair.wait_for("process.ready", count=3)
        wait_for_states(pair, "ready", "quiet")
        assert pair.status()["state"] == "running"
        wait_until(lambda: pair.count("child.ended") == 1, "the end of the first")
        assert pair.events("child.ended")[0]["reason"] == "clean"

    def test_through_redis_it_resumes_what_was_quieted_through_redis(self, pair: Jobd) -> None:
        first, second = pair.identities
        with pair.redis() as client:
            client.lpush(f"{first}-signals", "TSTP")
            client.lpush(f"{second}-signals", "TSTP")
            wait_for_states(pair, "quiet", "quiet")
            send(signal.SIGCONT, children(pair, "pid")[0])
            client.lpush(f"{second}-signals", "RESUME")
            pair.wait_for("process.resumed")
            wait_for_states(pair, "quiet", "ready")
        run_one_more(pair)
        assert pair.count("process.resumed") == 1

    def test_through_redis_it_does_not_resume_what_its_master_keeps_quiet(self, pair: Jobd) -> None:
        first, _ = pair.identities
        pair.signal(signal.SIGTSTP)
        wait_for_states(pair, "quiet", "quiet")
        with pair.redis() as client:
            wait_until(lambda: client.hget(first, "held") == b"1", "its heartbeat says so")
            client.lpush(f"{first}-signals", "RESUME")
            assert "ctl resume" in pair.wait_for("process.stays_quiet")["hint"]
            wait_for_states(pair, "quiet", "quiet")
            assert pair.ctl("resume").returncode == 0
            wait_for_states(pair, "ready", "ready")
            wait_until(lambda: client.hget(first, "held") == b"0", "it is let go")


class TestHarmless:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_what_nobody_means_for_a_master_does_nothing(self, start_jobd: StartJobd, processes: int) -> None:
        jobd = start(start_jobd, processes=processes)
        before = children(jobd, "pid")
        for name in HARMLESS:
            jobd.signal(signal.Signals[f"SIG{name}"])
            jobd.signal(signal.SIGTTOU)
        jobd.wait_for("master.state")
        run_one_more(jobd)
        assert (children(jobd, "pid"), jobd.count("child.ended")) == (before, 0)

    @pytest.mark.parametrize("processes", [0, 1])
    def test_what_a_job_starts_neither_ignores_nor_blocks_any_signal(
        self, start_jobd: StartJobd, processes: int
    ) -> None:
        jobd = start(start_jobd, processes=processes)
        jobd.push("look_at_signals")
        jobd.wait_for_lines("blocked", 1)
        found = (jobd.lines("ignored")[0], jobd.lines("blocked")[0])
        # Only the standard signals: make has everything below it ignore some that belong to the C library.
        assert [int(mask, 16) & 0x7FFFFFFF for mask in found] == [0, 0]


class TestDuringTheStart:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("processes", [0, 2])
    def test_a_stop_does_not_wait_for_the_import_of_the_application(
        self, start_slow: Callable[..., Jobd], processes: int, number: signal.Signals
    ) -> None:
        jobd = start_slow(processes=processes, timeout=60)
        jobd.signal(number)
        assert jobd.wait(3) == exits.OK
        assert jobd.session == []
        assert not (jobd.directory / "jobd.pid").exists()
        assert jobd.left_in_progress() == {}

    def test_a_stop_before_the_import_has_it_not_begin(self, tmp_path: Path, redis_url: str) -> None:
        (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)")
        held = {"patch": "lifeline", "variables": {"JOBD_TEST_LIFELINE": "look"}}
        jobd = Jobd(tmp_path, redis_url, processes=1, timeout=60, require=["slow"], pidfile="jobd.pid", **held)
        with contextlib.closing(jobd.launch()):
            wait_until((tmp_path / "in-the-gap").exists, "a fork")
            jobd.signal(signal.SIGTERM)
            wait_until(lambda: jobd.status()["state"] == "stopping", "the stop")
            (tmp_path / "go-on").touch()
            assert jobd.wait(3) == exits.OK

    def test_an_application_that_catches_everything_is_killed_in_time(self, start_slow: Callable[..., Jobd]) -> None:
        soon = {"jobd.supervisor.master.KILL_AFTER": 0.5}
        jobd = start_slow(IMPORT_THAT_CATCHES, processes=1, timeout=0.1, constants=soon)
        jobd.signal(signal.SIGTERM)
        assert jobd.wait(3) == exits.OK
        assert jobd.count("child.killed") == 1

    def test_all_other_signals_do_no_harm(self, start_slow: Callable[..., Jobd]) -> None:
        jobd = start_slow(processes=2, restart_probe=0)
        for name in ("HUP", "USR1", "CONT", "TTIN", "USR2", "TSTP", *HARMLESS, "TTOU"):
            jobd.signal(signal.Signals[f"SIG{name}"])
        jobd.wait_for("master.state")
        (jobd.directory / "go-on").touch()
        assert jobd.wait_for("restart.ended")["ok"]
        wait_until(lambda: len(jobd.workers) == 2, "the end of the old processes")
        wait_for_states(jobd, "quiet", "quiet")
        assert jobd.stop() == exits.OK


@pytest.fixture
def start_slow(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Jobd]]:
    """Starts `jobd` with an application whose import waits for a file `go-on`; returns as soon as it waits."""
    with contextlib.ExitStack() as stack:

        def start_it(code: str = IMPORT_THAT_WAITS, **settings: Any) -> Jobd:
            (tmp_path / "slow.py").write_text(code)
            jobd = Jobd(tmp_path, redis_url, require=["slow"], pidfile="jobd.pid", **settings)
            stack.callback(jobd.close)
            jobd.launch()
            wait_until((tmp_path / "importing").exists, "an import")
            return jobd

        yield start_it


class OnTerminal(Jobd):
    """`jobd` as the foreground process of a terminal of its own; only its input is the terminal."""

    TAKE_TERMINAL = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )

    @property
    def command(self) -> list[str]:
        """What is started."""
        return [sys.executable, "-c", self.TAKE_TERMINAL, *super().command]


class TestTerminal:
    def test_ctrl_z_quiets_a_hang_up_reloads_and_ctrl_c_stops_once(self, tmp_path: Path, redis_url: str) -> None:
        terminal, inside = pty.openpty()
        jobd = OnTerminal(tmp_path, redis_url, processes=2, concurrency=1, pidfile="jobd.pid", timeout=10)
        jobd.stdin = inside
        with jobd:
            os.close(inside)
            hold_a_job(jobd)
            os.write(terminal, b"\x1a")
            wait_for_states(jobd, "quiet", "quiet")
            assert psutil.Process(jobd.pid).status() != psutil.STATUS_STOPPED
            os.write(terminal, b"\x03")
            jobd.wait_for("master.stopping")
            jobd.signal(signal.SIGTTOU)
            jobd.wait_for("master.state")
            jobd.release()
            assert jobd.wait() == exits.OK
        os.close(terminal)
        assert jobd.lines("ended") == ["1"]
        assert [end["cause"] for end in jobd.events("child.ended")] == ["exit code 0"] * 2

    def test_when_the_terminal_is_closed_it_goes_on(self, tmp_path: Path, redis_url: str) -> None:
        terminal, inside = pty.openpty()
        jobd = OnTerminal(tmp_path, redis_url, processes=1, pidfile="jobd.pid")
        jobd.stdin = inside
        with jobd:
            os.close(inside)
            os.close(terminal)
            jobd.wait_for("config.reloaded")
            run_one_more(jobd)
            assert jobd.stop() == exits.OK
