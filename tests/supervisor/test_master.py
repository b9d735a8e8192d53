"""The master and its worker processes: signals, stopping in time, replacing what died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from jobd.supervisor import exits
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until


def quiet_flags(jobd: Jobd) -> list[bytes | None]:
    """What the heartbeats of the living processes say of quiet."""
    with jobd.redis() as client:
        return [client.hget(identity, "quiet") for identity in jobd.identities]


def send_through_redis(jobd: Jobd, identity: str, *signals: str) -> None:
    """What `Sidekiq::Process#stop!` and the like do."""
    with jobd.redis() as client:
        client.lpush(f"{identity}-signals", *signals)


def titles(jobd: Jobd) -> list[str]:
    """Titles of the worker processes; those that ended meanwhile are left out."""
    found = []
    for worker in jobd.workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(" ".join(worker.cmdline()).strip())
    return found


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("processes", [0, 2])
    def test_short_jobs_finish_and_long_ones_go_back(
        self, start_jobd: StartJobd, number: signal.Signals, processes: int
    ) -> None:
        jobd = start_jobd(processes=processes, concurrency=4 // max(1, processes), timeout=1.5)
        jobd.push("last", 0.3)
        jobd.push_many("hold", [1, 2, 3])
        jobd.wait_for_lines("began", 4)
        jobd.push("quick", 1)
        begun = time.monotonic()
        jobd.signal(number)
        assert jobd.wait() == exits.OK
        took = time.monotonic() - begun
        assert 0.8 < took < 2.5
        assert jobd.lines("ended") == ["0.3"]
        back = jobd.queued()
        assert [json.loads(job)["class"] for job in back] == ["hold", "hold", "hold", "quick"]
        assert jobd.statistics() == (1, 0)
        assert jobd.left_in_progress() == {}

    def test_what_goes_back_has_its_original_bytes(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(timeout=1)
        raw = b'{ "class":"hold",  "args":[1], "jid":"abc", "retry":true, "queue":"default", "strange":1.50 }'
        with jobd.redis() as client:
            client.lpush("queue:default", raw)
        jobd.wait_for_lines("began", 1)
        assert jobd.stop() == exits.OK
        assert jobd.queued() == [raw]
        assert jobd.statistics() == (0, 0)

    def test_without_jobs_the_stop_is_immediate(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, timeout=60)
        jobd.signal(signal.SIGTERM)
        assert jobd.wait(3) == exits.OK

    @pytest.mark.parametrize("processes", [0, 1])
    @pytest.mark.parametrize("name", ["spin", "block"])
    def test_a_job_that_never_ends_holds_nothing_up(self, start_jobd: StartJobd, name: str, processes: int) -> None:
        jobd = start_jobd(processes=processes, concurrency=2, timeout=1)
        jobd.push(name)
        jobd.wait_for_lines("began", 1)
        begun = time.monotonic()
        jobd.signal(signal.SIGTERM)
        assert jobd.wait() == exits.OK
        assert time.monotonic() - begun < 1 + 3
        assert len(jobd.queued()) == 1
        assert jobd.left_in_progress() == {}

    def test_a_process_that_cannot_run_its_threads_is_killed_and_its_job_runs_after_the_next_start(
        self, start_jobd: StartJobd
    ) -> None:
        jobd = start_jobd(processes=1, concurrency=2, timeout=0.5)
        jobd.push("freeze")
        jobd.wait_for_lines("began", 1)
        begun = time.monotonic()
        jobd.signal(signal.SIGTERM)
        assert jobd.wait() == exits.OK
        assert time.monotonic() - begun < 0.5 + 3 + 1  # for the master's own end, on a busy machine
        assert jobd.count("child.killed") == 1
        jobd.launch()  # the job may stop its process before that can say that it is ready
        jobd.wait_for_lines("began", 2)

    def test_the_title_says_what_goes_on(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, concurrency=3, tag="shop", timeout=3)
        jobd.push("hold", 1)
        jobd.wait_for_lines("began", 1)
        assert " ".join(psutil.Process(jobd.pid).cmdline()).strip().endswith("shop master")
        wait_until(lambda: sum("shop [1 of 3 busy]" in title for title in titles(jobd)) == 1, "a busy title")
        jobd.signal(signal.SIGTERM)
        wait_until(lambda: any(title.endswith("[1 of 3 busy] stopping") for title in titles(jobd)), "stopping")
        jobd.release()
        assert jobd.wait() == exits.OK


class TestQuiet:
    def test_quiet_shows_at_once_and_new_jobs_stay_queued(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, concurrency=1, heartbeat_interval=20)
        jobd.push("hold", 1)
        jobd.wait_for_lines("began", 1)
        jobd.signal(signal.SIGTSTP)
        wait_until(lambda: quiet_flags(jobd) == [b"true", b"true"], "quiet in the heartbeats", 2)
        jobd.push("quick", 2)
        jobd.release()
        jobd.wait_for_lines("ended", 1)
        wait_until(lambda: jobd.statistics() == (1, 0), "the acknowledgement")
        # A fetch that was under way gives back what it still gets.
        wait_until(lambda: len(jobd.queued()) == 1, "the other job in its queue")
        assert jobd.stop() == exits.OK
        assert jobd.lines("ended") == ["1"]
        assert len(jobd.queued()) == 1

    def test_children_that_are_replaced_start_quiet_and_still_give_back(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=1, concurrency=10)
        jobd.push_many("hold", range(10))
        jobd.wait_for_lines("began", 10)
        jobd.push_many("quick", range(10, 100))
        jobd.signal(signal.SIGTSTP)
        jobd.wait_for("process.quiet")
        (worker,) = jobd.workers
        worker.kill()
        jobd.wait_for("process.ready", count=2)
        wait_until(lambda: quiet_flags(jobd) == [b"true"], "quiet in the heartbeat", 2)
        assert [json.loads(job)["args"] for job in jobd.queued()] == [[number] for number in range(100)]
        assert jobd.stop() == exits.OK
        assert len(jobd.lines("began")) == 10
        assert len(jobd.queued()) == 100


class TestRemoteSignals:
    def test_tstp_quiets_one_process(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, concurrency=1)
        send_through_redis(jobd, jobd.identities[0], "TSTP")
        wait_until(lambda: quiet_flags(jobd) == [b"true", b"false"], "one quiet process")
        jobd.push_many("quick", range(5))
        jobd.wait_for_lines("ended", 5)
        assert jobd.stop() == exits.OK

    def test_term_ends_one_process_which_is_replaced(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, concurrency=1)
        first, second = jobd.identities
        send_through_redis(jobd, first, "TERM")
        jobd.wait_for("process.ready", count=3)
        assert second in jobd.identities
        assert first not in jobd.identities
        assert [end["cause"] for end in jobd.events("child.ended")] == ["exit code 0"]
        assert jobd.stop() == exits.OK

    def test_ttin_logs_the_stacks(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd()
        jobd.push("hold", 1)
        jobd.wait_for_lines("began", 1)
        send_through_redis(jobd, jobd.identities[0], "TTIN")
        assert "in hold" in jobd.wait_for("process.stacks")["stacks"]

    def test_ttin_to_the_master_logs_the_stacks_of_all(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2)
        jobd.signal(signal.SIGTTIN)
        jobd.wait_for("process.stacks", count=2)

    def test_anything_else_is_ignored(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd()
        send_through_redis(jobd, jobd.identities[0], "KILL", "", "9", "\xff\n")
        jobd.wait_for("process.signal_ignored", count=4)
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.count("child.ended") == 0


class TestChildren:
    def test_two_processes_share_the_work(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2, concurrency=2)
        jobd.push_many("hold", range(4))
        jobd.wait_for_lines("began", 4)
        pids = {line.split()[2] for line in jobd.ledger.read_text().splitlines()}
        assert pids == {str(worker.pid) for worker in jobd.workers}
        jobd.release()
        jobd.wait_for_lines("ended", 4)

    def test_without_processes_the_command_itself_runs_the_jobs(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=0)
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.ledger.read_text() == f"ended 1 {jobd.pid}\n"
        assert psutil.Process(jobd.pid).children() == []
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (1, 0)
        assert jobd.left_in_progress() == {}

    def test_a_child_has_its_own_group_no_input_and_no_file_of_its_siblings(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=2)
        wait_until(lambda: len(titles(jobd)) == 2, "two children")
        first, second = jobd.workers
        assert {os.getpgid(first.pid), os.getpgid(second.pid)} == {first.pid, second.pid}
        log = jobd.log.stat().st_ino
        null = Path(os.devnull).stat().st_ino
        assert files(first.pid) & files(second.pid) == {log, null}
        for worker in (first, second):
            assert os.readlink(f"/proc/{worker.pid}/fd/0") == "/dev/null"
            memory = files(worker.pid) & files(jobd.pid) - {log, null}
            assert len(memory) == 1  # where faulthandler writes stacks; what a child says goes through its own end

    def test_jobs_can_run_other_programs(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd()
        jobd.push("shell")
        jobd.wait_for_lines("works", 1)
        assert jobd.lines("works") == ["/dev/null"]
        jobd.stop()
        assert jobd.statistics() == (1, 0)

    def test_a_job_that_exits_fails_and_its_process_goes_on(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd()
        jobd.push("leave", retry=0)
        assert jobd.wait_for("job.dead")["error"] == "SystemExit: 3"
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.stop() == exits.OK
        assert jobd.count("child.ended") == 1
        assert jobd.statistics() == (2, 1)

    @pytest.mark.parametrize("code", [0, 5])
    def test_a_job_that_ends_its_process_runs_again_in_another(self, start_jobd: StartJobd, code: int) -> None:
        jobd = start_jobd(processes=1)
        jobd.push("vanish", code)
        jobd.wait_for_lines("ended", 1, seconds=5)
        assert jobd.wait_for("child.ended")["cause"].startswith(f"exit code {code}")
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (1, 0)
        assert jobd.left_in_progress() == {}

    def test_children_that_die_at_once_are_started_ever_more_slowly(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=1)
        for count in range(2, 5):
            jobd.workers[0].kill()
            jobd.wait_for("process.ready", count=count)
        ended, ready = (
            [moment(event["ts"]) for event in jobd.events(name)] for name in ("child.ended", "process.ready")
        )
        pauses = [after - before for before, after in zip(ended, ready[1:], strict=True)]
        # A quarter less than 0.5 s and 1 s by chance; a slow machine takes longer.
        assert pauses[1] >= 0.375
        assert pauses[2] >= 0.75
        jobd.signal(signal.SIGTERM)
        assert jobd.wait() == exits.OK

    def test_a_master_that_waits_to_replace_a_child_still_stops(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=1)
        for count in range(2, 4):
            jobd.workers[0].kill()
            jobd.wait_for("process.ready", count=count)
        jobd.workers[0].kill()
        jobd.wait_for("child.ended", count=3)
        jobd.signal(signal.SIGTERM)
        assert jobd.wait(3) == exits.OK


class TestBoot:
    def test_an_application_that_breaks_later_is_tried_again_and_named(
        self, start_jobd: StartJobd, tmp_path: Path
    ) -> None:
        (tmp_path / "late.py").touch()
        jobd = start_jobd(processes=1, require=["ledger_jobs", "late"])
        (jobd.directory / "late.py").write_text("raise ValueError('broken by a deploy')")
        jobd.workers[0].kill()
        assert "broken by a deploy" in jobd.wait_for("child.cannot_boot")["why"]
        (jobd.directory / "late.py").write_text("# mended")
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.stop() == exits.OK

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("import threading; threading.Event().wait(60)", "not loaded within 0.5 s"),
            ("import os; os._exit(4)", "ended while it loaded the application: exit code 4"),
            ("import os; os.kill(os.getpid(), 9)", "ended while it loaded the application: killed by SIGKILL"),
        ],
    )
    def test_a_process_that_never_loads_the_application_ends_the_start(
        self, tmp_path: Path, redis_url: str, code: str, says: str
    ) -> None:
        (tmp_path / "stuck.py").write_text(code)
        jobd = Jobd(tmp_path, redis_url, processes=1, require=["stuck"], boot_timeout=0.5, timeout=1)
        with contextlib.closing(jobd.launch()):
            assert jobd.wait() == exits.CHILDREN_CANNOT_BOOT
            assert says in jobd.text()


def files(pid: int) -> set[int]:
    """The inodes of what a process has open, but for selectors: they have one inode in common."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if not os.readlink(entry).startswith("anon_inode:"):
                found.add(entry.stat().st_ino)
    return found


def moment(stamp: str) -> float:
    """Seconds of the day of a log line's time."""
    hours, minutes, seconds = stamp.partition("T")[2].removesuffix("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
