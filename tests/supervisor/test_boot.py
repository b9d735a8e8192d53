"""From the start of a process to its first job: what hangs, fails again and again, or finds its directory gone."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobd.supervisor import exits
from tests.supervisor.capacity import moment
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

HANGS = "import pathlib, threading\nwhile pathlib.Path({path!r}).exists():\n    threading.Event().wait(0.01)\n"
ATTENTIVE = {"jobd.supervisor.master.TICK": 0.1, "jobd.supervisor.serve.TICK": 0.1}


class Manager:
    """Stands for systemd: keeps the last status that it was told."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.setblocking(False)
        self._status = ""

    @property
    def status(self) -> str:
        """The last line that `systemctl status` would show."""
        while True:
            try:
                lines = self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._status
            self._status = next((line[7:] for line in lines if line.startswith("STATUS=")), self._status)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Listens at `notify`."""
    with closing(Manager(tmp_path / "notify")) as made:
        yield made


def get(address: Path, path: str) -> tuple[int, str]:
    """Status and body of an answer over HTTP."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(address))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: jobd\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile() as reply:
            head, _, body = reply.read().partition("\n\n")
    return int(head.split()[1]), body


def pauses_before_starts(jobd: Jobd, slot: int) -> list[float]:
    """Seconds from each end of a process to the start of the next one in that slot."""
    ends, starts = (
        [moment(event) for event in jobd.events(name) if event["slot"] == slot]
        for name in ("child.ended", "child.started")
    )
    return [start - end for end, start in zip(ends, starts[1:], strict=False)]


def test_a_replacement_that_hangs_is_killed_and_tried_again_while_others_work(
    start_jobd: StartJobd, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "late.py").write_text(HANGS.format(path=str(gate)))
    jobd = start_jobd(
        processes=2, require=["ledger_jobs", "late"], boot_timeout=0.5, pidfile="jobd.pid", constants=ATTENTIVE
    )
    gate.touch()
    jobd.workers[0].kill()
    jobd.wait_for("child.ended", count=3)  # the one killed here, and two that hung
    jobd.push_many("quick", range(5))
    jobd.wait_for_lines("ended", 5)
    ends = jobd.events("child.ended")
    assert [end["reason"] for end in ends] == ["signal", "boot_timeout", "boot_timeout"]
    assert "not loaded within 0.5 s" in jobd.wait_for("child.cannot_boot")["why"]
    gate.unlink()
    wait_until(lambda: jobd.status()["state"] == "running", "two processes at work")
    assert jobd.stop() == exits.OK
    assert jobd.left_in_progress() == {}


def test_code_that_breaks_later_is_tried_ever_more_rarely_and_jobd_stays_up_and_says_so(
    start_jobd: StartJobd, tmp_path: Path, manager: Manager
) -> None:
    late, http = tmp_path / "late.py", tmp_path / "http"
    late.touch()
    jobd = start_jobd(
        processes=2,
        require=["ledger_jobs", "late"],
        pidfile="jobd.pid",
        metrics=str(http),
        constants={"jobd.supervisor.policy.FIRST_DELAY": 0.1, "jobd.supervisor.policy.MAX_DELAY": 0.4},
        variables={"NOTIFY_SOCKET": str(tmp_path / "notify")},
    )
    wait_until(lambda: manager.status == "2 of 2 worker processes ready", "the status of a start")
    assert get(http, "/ready")[0] == 200
    late.write_text("raise ValueError('broken by a deploy')")
    for worker in jobd.workers:
        worker.kill()
    wait_until(lambda: all(len(pauses_before_starts(jobd, slot)) >= 5 for slot in (1, 2)), "five starts of each")

    status = jobd.status()
    assert (status["state"], status["processes"]) == ("starting", {"wanted": 2, "ready": 0})
    code, body = get(http, "/ready")
    assert (code, body.strip()) == (503, "0 of 2 worker processes are ready")
    assert get(http, "/live")[0] == 200
    assert manager.status == "0 of 2 worker processes ready"
    for slot in (1, 2):
        pauses = pauses_before_starts(jobd, slot)
        assert pauses[0] < 0.2  # the first death costs no pause
        shortest = [0.75 * delay for delay in (0.1, 0.2, 0.4, 0.4)]
        assert all(pause > least - 0.01 for pause, least in zip(pauses[1:], shortest, strict=False))

    late.write_text("# mended")
    wait_until(lambda: get(http, "/ready")[0] == 200, "a service that is well again")
    jobd.push("quick", 1)
    jobd.wait_for_lines("ended", 1)
    assert manager.status == "2 of 2 worker processes ready"
    assert jobd.stop() == exits.OK


def test_the_directory_of_the_start_may_be_deleted(start_jobd: StartJobd, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    jobd = start_jobd(home=home, variables={"PWD": str(home)}, pidfile=str(tmp_path / "jobd.pid"), restart_probe=0)
    shutil.rmtree(home)
    jobd.workers[0].kill()
    jobd.wait_for("process.ready", count=2)
    assert jobd.events("home.lost")[0]["directory"] == str(home)
    assert jobd.ctl("restart", "--wait").returncode == exits.OK
    home.mkdir()  # and come back
    jobd.signal(signal.SIGUSR2)
    assert jobd.wait_for("restart.ended", count=2)["ok"] is True
    jobd.wait_for("child.ended", count=3)
    assert [worker.cwd() for worker in jobd.workers] == [str(home)]
    jobd.push("quick", 1)
    jobd.wait_for_lines("ended", 1)
    assert jobd.stop() == exits.OK
    assert not (tmp_path / "jobd.pid").exists()


class TestWithoutProcesses:
    """`processes: 0`: what was started runs the jobs itself."""

    def test_it_can_be_asked_quieted_and_stopped_by_ctl(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=0, pidfile="jobd.pid", concurrency=2, constants=ATTENTIVE)
        status = jobd.status()
        assert (status["pid"], status["state"], status["children"]) == (jobd.pid, "running", [])
        assert status["threads"] == {"busy": 0, "idle": 2}
        jobd.push("last", 0.5)
        jobd.wait_for_lines("began", 1)
        assert jobd.ctl("quiet", "--wait").returncode == exits.OK
        assert jobd.status()["state"] == "quiet"
        assert jobd.lines("ended") == ["0.5"]
        jobd.push("quick", 2)
        assert jobd.ctl("resume").returncode == exits.OK
        jobd.wait_for_lines("ended", 2)
        for words in (["restart"], ["scale", "3"]):
            done = jobd.ctl(*words)
            assert (done.returncode, done.stdout) == (exits.FAILED, "")
            assert f"there is no process to {words[0]}" in done.stderr
        done = jobd.ctl("stop", "--wait")
        assert (done.returncode, jobd.wait(1)) == (exits.OK, exits.OK)
        assert jobd.statistics() == (2, 0)
        assert jobd.left_in_progress() == {}

    def test_it_obeys_signals(self, start_jobd: StartJobd) -> None:
        jobd = start_jobd(processes=0, pidfile="jobd.pid")
        jobd.signal(signal.SIGUSR2)
        assert "no process to replace" in jobd.wait_for("restart.refused")["why"]
        jobd.signal(signal.SIGTTIN)
        assert "MainThread" in jobd.wait_for("process.stacks")["stacks"]
        jobd.signal(signal.SIGTTOU)
        assert jobd.wait_for("master.state")["state"] == "running"
        jobd.signal(signal.SIGHUP)
        jobd.signal(signal.SIGCONT)
        jobd.signal(signal.SIGWINCH)
        jobd.signal(signal.SIGTSTP)
        jobd.wait_for("process.quiet")
        assert jobd.status()["state"] == "quiet"
        [identity] = jobd.identities
        with jobd.redis() as client:
            client.lpush(f"{identity}-signals", "RESUME")
        assert "ctl resume" in jobd.wait_for("process.stays_quiet")["hint"]
        jobd.push("quick", 1)
        jobd.signal(signal.SIGTERM)
        assert jobd.wait() == exits.OK
        assert len(jobd.queued()) == 1

    def test_log_files_are_opened_anew(self, start_jobd: StartJobd, tmp_path: Path) -> None:
        jobd = start_jobd(processes=0, logfile=str(tmp_path / "jobd.log"))
        for count, number in enumerate((signal.SIGHUP, signal.SIGUSR1), 1):
            jobd.log.rename(tmp_path / f"old.{count}")
            jobd.signal(number)
            wait_until(jobd.log.exists, "the new log file")
        assert jobd.stop() == exits.OK
        assert jobd.count("process.stopped") == 1
