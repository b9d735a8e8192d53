"""Detaching: the caller leaves when the daemon is ready or has failed, and the daemon keeps what it must."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.supervisor.daemon import Foreground, under_systemd
from tests.supervisor.jobd_command import has_ended
from tests.waiting import wait_until

CALLER = """
import json, os, resource, signal, sys, time
from pathlib import Path
from jobd.client.errors import ConfigError
from jobd.supervisor import daemon

daemon.MARGIN = 0.2
log = os.open("daemon.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
kept = os.open("kept", os.O_RDWR | os.O_CREAT)
lost = os.open("lost", os.O_RDWR | os.O_CREAT)

here = Path.cwd()

def note(name, value):
    (here / (name + ".part")).write_text(json.dumps(value))
    os.rename(here / (name + ".part"), here / name)

def main(starting):
    note("pid", os.getpid())
{body}

print("before", flush=True)
{last}
code = daemon.detach(main, boot_timeout={boot_timeout}, keep=[kept], logfile=Path("daemon.log"), log_fd=lambda: log)
print("after", flush=True)
sys.exit(code)
"""
UNTIL_TERM = "signal.sigwait([signal.SIGTERM])"
UNTIL_GO = "while not os.path.exists('go'): time.sleep(0.01)"


@dataclass
class Caller:
    """A script that detaches, in `directory`; what it leaves behind is killed in the end."""

    directory: Path

    def start(
        self, *body: str, boot_timeout: float = 20.0, first: str = "", last: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        """Start it; the daemon does `body`, the caller `first` at its start and `last` just before it detaches."""
        lines = ["signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", *body]
        script = CALLER.format(body="\n".join(f"    {line}" for line in lines), boot_timeout=boot_timeout, last=last)
        files = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-c", f"{first}\n{script}"]
        return subprocess.Popen(command, cwd=self.directory, text=True, **{**files, **options})

    def run(self, *body: str, seconds: float = 20.0, **options: Any) -> subprocess.CompletedProcess[str]:
        """The same, to the caller's end and that of its output."""
        with self.start(*body, **options) as process:
            out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def noted(self, name: str) -> Any:
        """What the daemon wrote down."""
        wait_until((self.directory / name).exists, f"a note named {name}; the log says: {self.log()}")
        return json.loads((self.directory / name).read_text())

    @property
    def daemon(self) -> psutil.Process:
        """The daemon, which is running."""
        return psutil.Process(self.noted("pid"))

    def log(self) -> str:
        """What the daemon has printed since its caller left."""
        file = self.directory / "daemon.log"
        return file.read_text() if file.exists() else ""

    def close(self) -> None:
        """Kill the daemon and its children, and let those go that have lost it."""
        (self.directory / "go").touch()
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            daemon = psutil.Process(int((self.directory / "pid").read_text()))
            for process in [*daemon.children(recursive=True), daemon]:
                process.kill()


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    """A script that detaches, in the temporary directory of the test."""
    caller = Caller(tmp_path)
    yield caller
    caller.close()


def wait_for_daemon_to_end(caller: Caller) -> None:
    pid = caller.noted("pid")
    with contextlib.suppress(psutil.NoSuchProcess):
        daemon = psutil.Process(pid)
        wait_until(lambda: has_ended(daemon), "the end of the daemon")


def test_the_caller_returns_once_the_daemon_is_ready(caller: Caller) -> None:
    with caller.start(UNTIL_GO, "starting.ready()", UNTIL_TERM) as process:
        caller.noted("pid")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        (caller.directory / "go").touch()
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "before\nafter\n", "")
    assert caller.daemon.is_running()


def test_the_output_of_the_caller_ends_when_it_does(caller: Caller) -> None:
    """Or `$(jobd -d …)` would hang: processes that the daemon forked before it was ready count too."""
    forks = ("if os.fork() == 0:", "    starting.after_fork_in_child()", "    note('forked', 1)", "    " + UNTIL_TERM)
    done = caller.run(*forks, "while not os.path.exists('forked'): time.sleep(0.01)", "starting.ready()", UNTIL_TERM)
    assert done.returncode == 0
    assert len(caller.daemon.children()) == 1


def test_a_failure_is_printed_by_the_caller_with_its_exit_code(caller: Caller) -> None:
    done = caller.run("starting.failed(75, 'no Redis at redis://x\\nstart one')", "return 75")
    assert done.returncode == 75
    assert done.stderr == "jobd: no Redis at redis://x\njobd: start one\n"


def test_a_long_failure_arrives_whole(caller: Caller) -> None:
    done = caller.run("starting.failed(70, '\\n'.join(['é' * 99] * 5000))", "return 70")
    assert done.returncode == 70
    assert done.stderr == f"jobd: {'é' * 99}\n" * 5000


def test_an_error_of_jobd_in_the_daemon_has_its_exit_code(caller: Caller) -> None:
    done = caller.run("raise ConfigError('queues = 3: must be a list')")
    assert (done.returncode, done.stderr) == (78, "jobd: queues = 3: must be a list\n")


def test_a_defect_in_the_daemon_shows_its_traceback_to_the_caller(caller: Caller) -> None:
    done = caller.run("1 / 0")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("\nZeroDivisionError: division by zero\n")
    wait_until(lambda: "ZeroDivisionError" in caller.log(), "the traceback in the log too")


def test_only_the_first_word_counts(caller: Caller) -> None:
    done = caller.run("starting.ready()", "starting.failed(75, 'late')", "starting.ready()", UNTIL_TERM)
    assert (done.returncode, done.stderr) == (0, "")
    assert caller.daemon.is_running()


def test_a_daemon_that_is_killed_before_it_is_ready_counts_as_failed(caller: Caller) -> None:
    done = caller.run("os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 70
    assert done.stderr == "jobd: the daemon ended without a word; its log may say why: daemon.log\n"


def test_what_the_daemon_has_forked_does_not_hide_its_end(caller: Caller) -> None:
    forks = ("if os.fork() == 0:", "    starting.after_fork_in_child()", "    note('forked', os.getpid())")
    waits = ("    " + UNTIL_GO, "    os._exit(0)", "while not os.path.exists('forked'): time.sleep(0.01)")
    done = caller.run(*forks, *waits, "os.kill(os.getpid(), signal.SIGKILL)")
    child = psutil.Process(caller.noted("forked"))
    assert child.is_running()
    (caller.directory / "go").touch()
    assert done.returncode == 70
    wait_until(lambda: has_ended(child), "the end of the forked process")


def test_a_daemon_that_ends_in_order_before_it_is_ready_counts_as_failed(caller: Caller) -> None:
    done = caller.run("return 0")
    assert done.returncode == 70
    assert done.stderr == "jobd: the daemon ended before it was ready; its log may say why: daemon.log\n"


def test_a_daemon_that_takes_too_long_is_told_to_stop(caller: Caller) -> None:
    done = caller.run(UNTIL_TERM, "note('told', 'TERM')", "return 0", boot_timeout=0.3)
    assert done.returncode == 70
    assert f"process {caller.noted('pid')}, was not ready within 0.5 s and has been told to stop" in done.stderr
    assert caller.noted("told") == "TERM"
    wait_for_daemon_to_end(caller)


def test_a_daemon_that_was_ready_in_time_is_kept_by_a_caller_that_was_suspended(caller: Caller) -> None:
    body = (UNTIL_GO, "starting.ready()", "note('ready', 1)", UNTIL_TERM)
    with caller.start(*body, boot_timeout=1.0) as process:
        caller.noted("pid")
        process.send_signal(signal.SIGSTOP)
        (caller.directory / "go").touch()
        caller.noted("ready")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == 0
        process.communicate()
    assert caller.daemon.is_running()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_caller_that_is_interrupted_stops_the_daemon(caller: Caller, number: signal.Signals, code: int) -> None:
    with caller.start(UNTIL_TERM, "note('told', 'TERM')", "return 0") as process:
        caller.noted("pid")
        process.send_signal(number)
        process.communicate(timeout=10)
    assert process.returncode == code
    assert caller.noted("told") == "TERM"
    wait_for_daemon_to_end(caller)


def test_a_caller_under_nohup_outlives_its_terminal(caller: Caller) -> None:
    ignores = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with caller.start(UNTIL_GO, "starting.ready()", UNTIL_TERM, first=ignores) as process:
        caller.noted("pid")
        process.send_signal(signal.SIGHUP)
        (caller.directory / "go").touch()
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_killed_caller_does_not_disturb_the_daemon(caller: Caller) -> None:
    with caller.start(UNTIL_GO, "starting.ready()", "note('on', 1)", UNTIL_TERM) as process:
        caller.noted("pid")
        process.kill()
        process.wait()
        (caller.directory / "go").touch()
        assert caller.noted("on") == 1
    assert caller.daemon.is_running()


STATE = """note("state", {
    "cwd": os.getcwd(),
    "sid": os.getsid(0),
    "umask": os.umask(0o77),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "stdin": os.fstat(0).st_rdev,
    "own": [n for n in ("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGTERM") if signal.getsignal(getattr(signal, n))],
    "blocked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
})""".splitlines()


@pytest.fixture
def state(caller: Caller) -> Mapping[str, Any]:
    """What a daemon sees of itself; its caller had umask 027."""
    done = caller.run(*STATE, "starting.ready()", UNTIL_TERM, first="import os; os.umask(0o27)")
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Any] = caller.noted("state")
    return found


def test_the_daemon_is_in_a_session_of_its_own_that_it_does_not_lead(caller: Caller, state: Mapping[str, Any]) -> None:
    assert state["sid"] not in (os.getsid(0), caller.daemon.pid)
    assert caller.daemon.terminal() is None


def test_a_caller_whose_input_is_a_socket_detaches_as_well(caller: Caller) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = caller.run(*STATE, "starting.ready()", UNTIL_TERM, stdin=theirs)
    assert done.returncode == 0
    assert caller.noted("state")["sid"] != os.getsid(0)


def test_ctrl_c_is_for_the_caller_alone(caller: Caller) -> None:
    """It hits every process that has not left the session of the terminal yet."""
    first = (
        "import os, signal; session = os.getsid(0); os.register_at_fork(after_in_child=lambda: "
        "os.getsid(0) == session and os.kill(os.getpid(), signal.SIGINT))"
    )
    done = caller.run("starting.ready()", UNTIL_TERM, first=first)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_daemon_is_no_child_of_whoever_called(caller: Caller, state: Mapping[str, Any]) -> None:
    adopter = caller.daemon.parent()
    assert adopter is None or adopter.pid == 1 or adopter in psutil.Process().parents()


def test_the_daemon_keeps_directory_umask_signals_and_core_files(caller: Caller, state: Mapping[str, Any]) -> None:
    assert state["cwd"] == str(caller.directory)
    assert state["umask"] == 0o27
    assert state["core"] == list(resource.getrlimit(resource.RLIMIT_CORE))
    assert state["own"] == []
    assert state["blocked"] == [signal.SIGTERM]  # by the script itself


def test_the_standard_input_of_the_daemon_is_null(state: Mapping[str, Any]) -> None:
    assert state["stdin"] == os.stat(os.devnull).st_rdev


def test_a_directory_without_a_name_is_no_hindrance(caller: Caller) -> None:
    last = "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    done = caller.run("note('links', os.stat('.').st_nlink)", "starting.ready()", UNTIL_TERM, last=last)
    assert (done.returncode, done.stderr) == (0, "")
    assert caller.noted("links") == 0


def test_relative_paths_work_in_the_daemon(caller: Caller) -> None:
    assert caller.run("Path('made').touch()", "starting.ready()", UNTIL_TERM).returncode == 0
    assert stat.S_ISREG((caller.directory / "made").stat().st_mode)


def test_kept_files_are_usable_and_all_others_closed(caller: Caller) -> None:
    body = (
        "os.write(kept, b'still here')",
        "note('lost', not os.path.exists(f'/proc/self/fd/{lost}'))",
        "starting.ready()",
        UNTIL_TERM,
    )
    assert caller.run(*body).returncode == 0
    assert (caller.directory / "kept").read_text() == "still here"
    assert caller.noted("lost") is True


def test_what_the_daemon_prints_goes_to_the_caller_until_it_is_ready_and_to_the_log_afterwards(caller: Caller) -> None:
    body = (
        "print('early')",  # not flushed: it must not come out twice, nor late
        "os.write(2, b'early to 2\\n')",
        "starting.ready()",
        "print('late', flush=True)",
        "os.write(2, b'late to 2\\n')",
        "note('printed', 1)",
        UNTIL_TERM,
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = caller.run(*body, env=buffered)
    assert (done.stdout, done.stderr) == ("before\nearly\nafter\n", "early to 2\n")
    caller.noted("printed")
    assert caller.log() == "late\nlate to 2\n"


def test_an_error_after_the_start_goes_to_the_log(caller: Caller) -> None:
    done = caller.run("starting.ready()", "raise ConfigError('too late for the caller')")
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: "too late for the caller" in caller.log(), "the error in the log")


def test_closed_standard_streams_do_not_hinder(caller: Caller) -> None:
    start = "import os, sys; os.closerange(0, 3); os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    body = "    note('pid', os.getpid()); note('read', sys.stdin.read()); starting.ready(); time.sleep(60)"
    script = CALLER.format(body=body, boot_timeout=20, last="")
    done = subprocess.run([sys.executable, "-c", start, script], cwd=caller.directory, timeout=20, check=False)
    assert done.returncode == 0
    assert caller.noted("read") == ""


def test_a_process_with_threads_is_not_detached(caller: Caller) -> None:
    first = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    done = caller.run("starting.ready()", first=first)
    assert done.returncode == 1
    assert "this process has 2 threads" in done.stderr
    assert not (caller.directory / "pid").exists()


def test_in_the_foreground_a_failure_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    starting = Foreground()
    starting.pid_known()
    starting.ready()
    starting.failed(70, "cannot import app\nno such module")
    assert capsys.readouterr().err == "jobd: cannot import app\njobd: no such module\n"


@pytest.mark.parametrize(
    ("environ", "expected"), [({"NOTIFY_SOCKET": "/run/x"}, True), ({"NOTIFY_SOCKET": ""}, False), ({}, False)]
)
def test_systemd_is_known_by_its_notification_socket(environ: dict[str, str], expected: bool) -> None:
    assert under_systemd(environ) is expected
