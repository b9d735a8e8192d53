"""The command `jobd ctl` against a control socket: what it asks, prints and returns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from jobd.supervisor.ctl import run
from jobd.supervisor.request import Refused, Request, Verdict
from tests.supervisor.control_server import STATUS, Daemon
from tests.supervisor.jobd_command import environment, run_jobd
from tests.waiting import wait_until

BEGUN = Verdict(True, "begun")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with contextlib.closing(Daemon(tmp_path / "jobd.pid")) as running:
        yield running


class Ctl:
    """`jobd ctl` as a process of its own, for tests in which something happens meanwhile."""

    def __init__(self, directory: Path, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobd", "ctl", *args, "-P", "jobd.pid"],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout
        return self._process.stdout.readline()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Exit code, and what it printed since, once it has ended."""
        out, err = self._process.communicate(timeout=15)
        return self._process.returncode, out, err

    def close(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.communicate()


class Begin(Protocol):
    """Starts `jobd ctl` with the pidfile of the test."""

    def __call__(self, *args: str) -> Ctl: ...


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(contextlib.closing(Ctl(tmp_path, *args)))


def ctl(directory: Path, *args: str) -> tuple[int, str, str]:
    """Exit code and output of `jobd ctl` with the pidfile of the test."""
    done = run_jobd("ctl", *args, "-P", "jobd.pid", cwd=directory)
    return done.returncode, done.stdout, done.stderr


def test_a_status_is_for_people_and_with_json_for_programs(daemon: Daemon, tmp_path: Path) -> None:
    code, out, err = ctl(tmp_path, "status")
    assert (code, err) == (0, "")
    assert out.startswith("jobd 1.0.0 [app], master 4711: 2 of 2 processes ready")
    code, out, err = ctl(tmp_path, "status", "--json")
    assert (code, json.loads(out), err) == (0, STATUS, "")


def test_the_pidfile_is_found_as_a_start_finds_it(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("pidfile: other.pid\nproduction: {pidfile: jobd.pid}\n")
    done = run_jobd("ctl", "status", "-C", "config.yml", "-e", "production", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_jobd("ctl", "status", "-C", "config.yml", cwd=tmp_path)
    assert done.returncode == 69
    assert str(tmp_path / "other.pid") in done.stderr


def test_a_broken_configuration_keeps_nobody_from_the_pidfile_that_is_given(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("pidfile: ${UNSET}\n")
    assert ctl(tmp_path, "status", "-C", "config.yml")[0] == 0
    assert run_jobd("ctl", "status", "-C", "config.yml", cwd=tmp_path).returncode == 78


def test_without_any_pidfile_it_says_how_to_name_one(tmp_path: Path) -> None:
    done = run_jobd("ctl", "stop", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "-P" in done.stderr
    assert "-C" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("frobnicate",),
        ("scale",),
        ("scale", "0"),
        ("scale", "many"),
        ("quiet", "3"),
        ("status", "--wait"),
        ("quiet", "--timeout", "nan"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(tmp_path: Path, args: tuple[str, ...]) -> None:
    code, out, err = ctl(tmp_path, *args)
    assert (code, out) == (64, "")
    assert err.endswith("see `jobd ctl --help`\n")


def test_it_returns_with_the_answer(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.requests["scale"] = Request(BEGUN)
    assert ctl(tmp_path, "scale", "4") == (0, "begun\n", "")
    assert daemon.commands.asked == [("scale", 4)]


def test_it_waits_for_an_answer_that_is_not_known_at_once(daemon: Daemon, begin: Begin) -> None:
    asking = begin("restart")
    wait_until(lambda: "restart" in daemon.commands.requests, "the request")
    daemon.commands.requests["restart"].end(False, "the first new process did not become ready: exit code 70")
    assert asking.end() == (1, "", "jobd: the first new process did not become ready: exit code 70\n")


def test_with_wait_it_returns_with_the_outcome(daemon: Daemon, begin: Begin) -> None:
    request = daemon.commands.requests["quiet"] = Request(BEGUN)
    waiting = begin("quiet", "--wait")
    assert waiting.line() == "begun\n"
    request.end(True, "nothing runs")
    assert waiting.end() == (0, "nothing runs\n", "")


def test_after_an_answer_that_is_no_there_is_nothing_to_wait_for(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.requests["reload"] = Request(Verdict(False, "config.yml:3: unknown key"))
    assert ctl(tmp_path, "reload", "--wait") == (1, "", "jobd: config.yml:3: unknown key\n")


def test_what_is_said_twice_is_printed_once(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.requests["resume"] = Request(BEGUN, BEGUN)
    assert ctl(tmp_path, "resume", "--wait") == (0, "begun\n", "")


def test_with_json_only_the_last_word_is_printed(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.requests["restart"] = Request(BEGUN, Verdict(False, "it crashed"))
    code, out, err = ctl(tmp_path, "restart", "--wait", "--json")
    assert (code, json.loads(out), err) == (1, {"ok": False, "text": "it crashed"}, "")
    code, out, err = ctl(tmp_path, "restart", "--json")
    assert (code, json.loads(out), err) == (0, {"ok": True, "text": "begun"}, "")


def test_a_refusal_is_told(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.refusals["restart"] = Refused("jobd is stopping")
    assert ctl(tmp_path, "restart", "--wait") == (1, "", "jobd: jobd is stopping\n")


def test_what_is_not_done_in_time_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    daemon.commands.requests["quiet"] = Request(BEGUN)
    code, out, err = ctl(tmp_path, "quiet", "--wait", "--timeout", "1")
    assert (code, out) == (75, "begun\n")
    assert err == "jobd: quiet: not done within 1 s; what jobd has begun goes on\n"


def test_a_stop_is_done_when_the_process_is_gone_whatever_its_socket_does(daemon: Daemon, begin: Begin) -> None:
    daemon.commands.requests["stop"] = Request(BEGUN)
    waiting, impatient = begin("stop", "--wait"), begin("stop", "--wait", "--timeout", "1")
    assert (waiting.line(), impatient.line()) == ("begun\n", "begun\n")
    daemon.close_socket()
    assert impatient.end()[0] == 75
    daemon.end()
    assert waiting.end() == (0, f"jobd (pid {daemon.pid}) has ended\n", "")


def test_a_master_that_ends_during_anything_else_is_a_failure(daemon: Daemon, begin: Begin) -> None:
    daemon.commands.requests["restart"] = Request(BEGUN)
    waiting = begin("restart", "--wait")
    assert waiting.line() == "begun\n"
    daemon.close_socket()
    code, out, err = waiting.end()
    assert (code, out) == (1, "")
    assert f"jobd (pid {daemon.pid}) has closed the connection: it has ended" in err


def test_nobody_there_is_told_apart_from_a_process_without_a_socket(daemon: Daemon, tmp_path: Path) -> None:
    daemon.close_socket()
    code, _, err = ctl(tmp_path, "status")
    assert code == 69
    assert f"jobd (pid {daemon.pid}) runs, but nobody listens at {tmp_path / 'jobd.pid.sock'}" in err
    daemon.end()
    code, _, err = ctl(tmp_path, "status")
    assert (code, err.count("\n")) == (69, 1)
    assert f"no jobd runs with pidfile {tmp_path / 'jobd.pid'}" in err


def test_a_socket_that_a_killed_master_left_is_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "jobd.pid.sock"))
    assert ctl(tmp_path, "stop", "--wait")[0] == 69


@pytest.mark.parametrize("reply", [b"+PONG\n", b"[]\n", b"{}\n", b'{"status": {}}\n', b'{"status": 1}\n'])
def test_an_answer_in_another_form_is_no_traceback(begin: Begin, tmp_path: Path, reply: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "jobd.pid.sock"))
        listener.listen()
        asking = begin("status")
        listener.settimeout(15)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(reply)
            code, out, err = asking.end()
    assert (code, out) == (1, "")
    assert "is the running one another version?" in err


def test_a_master_that_accepts_nobody_costs_no_more_than_the_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(tmp_path / "jobd.pid.sock"))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "jobd.pid.sock"))
        assert ctl(tmp_path, "status", "--timeout", "0.2")[0] == 75


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_told_that_it_may_not(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        pidfile = Path(name) / "jobd.pid"
        with contextlib.closing(Daemon(pidfile)) as running:
            os.seteuid(1)
            try:
                code = run(pidfile, "stop", None, wait=True, timeout=None, as_json=False)
            finally:
                os.seteuid(0)
            assert running.commands.asked == []
    assert code == 1
    assert f"uid 1 may not use {pidfile}.sock" in capsys.readouterr().err


def test_ctrl_c_ends_the_waiting_and_not_what_was_asked_for(daemon: Daemon, begin: Begin) -> None:
    daemon.commands.requests["quiet"] = Request(BEGUN)
    waiting = begin("quiet", "--wait")
    assert waiting.line() == "begun\n"
    waiting.interrupt()
    code, _, err = waiting.end()
    assert code == 1
    assert "Traceback" not in err
    assert daemon.commands.asked == [("quiet", None)]
