"""The pidfile: one jobd at a time holds it, and what lies there from before never misleads."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobd.client.errors import AlreadyRunning, ConfigError
from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.pidfile import Pidfile
from jobd.worker.host import start_time
from tests.descriptors import no_new_descriptors

ROOT = Path(__file__).parents[2]
NOBODY = 65534

HOLDER = """
import os, signal, sys
from pathlib import Path
from jobd.client.errors import JobdError
from jobd.supervisor.pidfile import Pidfile

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

pidfile = Pidfile(Path(sys.argv[1]))
signal.signal(signal.SIGTSTP, lambda *_: say("quiet"))
"""
HOLD = """
pidfile.acquire()
pidfile.write()
say("holds", os.getpid())
sys.stdin.read()
pidfile.release()
"""
HOLD_AND_FORK = """
pidfile.acquire()
pidfile.write()
if child := os.fork():
    say("child", child)
else:
    {in_child}
    say("holds", os.getpid())
sys.stdin.read()
"""
DAEMONIZE = """
pidfile.acquire()
ready, report = os.pipe()
if os.fork():
    os.read(ready, 1)
    pidfile.release()
    os._exit(0)
pidfile.write()
os.write(report, b".")
say("holds", os.getpid())
sys.stdin.read()
pidfile.release()
"""
RACE = """
import time
for line in sys.stdin:
    while time.monotonic() < float(line):
        pass
    try:
        pidfile.acquire()
    except JobdError as error:
        say("lost", type(error).__name__, error)
    else:
        pidfile.write()
        say("won", os.getpid())
    sys.stdin.readline()
    pidfile.release()
    say("released")
"""


class Process:
    """A process that runs `script` with a pidfile; it ends when its input does."""

    def __init__(self, path: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER + script, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> list[str]:
        """The words of the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Close its input, wait until all who share its output have ended; its exit code. May come twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if not self._process.stdout.closed:
            self._process.stdout.read()
            self._process.stdout.close()
        return self._process.wait()


StartProcess = Callable[[str], Process]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pids" / "jobd.pid"


@pytest.fixture
def start(path: Path) -> Iterator[StartProcess]:
    """Starts a process with the pidfile of the test; those that are left end with the test."""
    with contextlib.ExitStack() as stack:

        def start_process(script: str) -> Process:
            process = Process(path, script)
            stack.callback(process.end)
            return process

        yield start_process


@pytest.fixture
def pidfile(path: Path) -> Iterator[Pidfile]:
    """The pidfile of the test, held by the test's own process once it has acquired it."""
    found = Pidfile(path)
    yield found
    found.release()


def lock_of(path: Path) -> Path:
    return path.with_name("jobd.pid.lock")


def refusal(path: Path) -> str:
    """Why a start is refused."""
    with pytest.raises(AlreadyRunning) as caught:
        Pidfile(path).acquire()
    assert exits.code_for(caught.value) == 73
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_pidfile_is_one_line_with_the_pid_and_readable_to_all(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobd.pid", "jobd.pid.lock"]


def test_the_lock_file_names_its_holder_and_no_earlier_one(pidfile: Pidfile, path: Path) -> None:
    path.parent.mkdir()
    lock_of(path).write_text(json.dumps({"pid": 1, "start": "1", "version": "long" * 20}))
    pidfile.acquire()
    record = {"pid": os.getpid(), "start": start_time(os.getpid()), "version": VERSION}
    assert json.loads(lock_of(path).read_text()) == record
    pidfile.write()
    assert json.loads(lock_of(path).read_text()) == record


def test_a_daemon_without_umask_makes_no_file_that_others_can_write(pidfile: Pidfile, path: Path) -> None:
    before = os.umask(0)
    try:
        pidfile.acquire()
        pidfile.write()
    finally:
        os.umask(before)
    assert [file.stat().st_mode & 0o777 for file in (path, lock_of(path))] == [0o644, 0o644]


def test_a_reader_never_finds_the_pidfile_half_written(pidfile: Pidfile, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("123456\n")
    with path.open() as reader:
        pidfile.acquire()
        pidfile.write()
        assert reader.read() == "123456\n"


def test_a_signal_goes_where_the_pidfile_says(start: StartProcess, path: Path) -> None:
    holder = start(HOLD)
    assert holder.line() == ["holds", str(holder.pid)]
    subprocess.run(["sh", "-c", 'kill -TSTP $(cat "$1")', "sh", path], check=True)
    assert holder.line() == ["quiet"]


def test_a_second_start_is_refused_and_names_the_first(start: StartProcess, path: Path) -> None:
    holder = start(HOLD)
    holder.line()
    assert refusal(path) == (
        f"another jobd (pid {holder.pid}, version {VERSION}) holds pidfile {path}: "
        f"stop it first (kill -TERM {holder.pid}), or name another with -P"
    )
    assert path.read_text() == f"{holder.pid}\n"


def test_a_refusal_names_no_pid_that_is_not_the_holders(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    for record in ("", json.dumps({"pid": os.getpid(), "start": "1", "version": VERSION})):
        lock_of(path).write_text(record)
        assert refusal(path).startswith(f"another jobd holds pidfile {path}: ")


def test_of_two_starters_exactly_one_wins_200_times(start: StartProcess, path: Path) -> None:
    starters = [start(RACE), start(RACE)]
    for _ in range(200):
        at = time.monotonic() + 0.002
        for starter in starters:
            starter.tell(str(at))
        answers = sorted(starter.line() for starter in starters)
        assert [answer[:2] for answer in answers] == [["lost", "AlreadyRunning"], ["won", answers[1][1]]]
        assert path.read_text() == f"{answers[1][1]}\n"
        for starter in starters:
            starter.tell("release")
            assert starter.line() == ["released"]
        assert not path.exists()


def test_a_lock_file_swapped_between_opening_and_locking_is_locked_anew(
    pidfile: Pidfile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, opened = fcntl.flock, [lock_of(path)] * 3

    def swap_first(descriptor: int, operation: int) -> None:
        if opened:
            opened.pop().unlink()
        if len(opened) == 1:
            lock_of(path).touch()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swap_first)
    pidfile.acquire()
    assert not opened
    assert f"pid {os.getpid()}" in refusal(path)


def test_a_stale_pidfile_stops_nobody_though_another_program_has_the_pid_now(pidfile: Pidfile, path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        path.parent.mkdir()
        path.write_text(f"{other.pid}\n")
        lock_of(path).write_text(json.dumps({"pid": other.pid, "start": start_time(other.pid), "version": VERSION}))
        pidfile.acquire()
        pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_after_kill_9_the_next_start_takes_the_pidfile(start: StartProcess, pidfile: Pidfile, path: Path) -> None:
    holder = start(HOLD)
    holder.line()
    holder.kill()
    assert path.read_text() == f"{holder.pid}\n"
    pidfile.acquire()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_files_emptied_by_a_crash_of_the_system_are_taken_over(pidfile: Pidfile, path: Path) -> None:
    path.parent.mkdir()
    for file in (path, lock_of(path), path.with_name("jobd.pid.new")):
        file.touch()
    pidfile.acquire()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", [b"hello\n", b"12\n13\n", b"-1\n", b"\xff\x00\xfe", b"pid=12", b"x" * 5000])
def test_a_pidfile_that_is_not_jobds_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is not jobd's, its content is ")
    assert path.read_bytes() == content
    assert not lock_of(path).exists()


@pytest.mark.parametrize("content", [b"1234\n", b"\xff\xfe", b'{"pid": "1"}'])
def test_a_lock_file_that_is_not_jobds_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    lock_of(path).write_bytes(content)
    assert refusal(path).startswith(f"{lock_of(path)} is not jobd's, its content is ")
    assert lock_of(path).read_bytes() == content


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: path.symlink_to("precious"), "it is a symlink"),
        (lambda path: path.symlink_to("missing"), "it is a symlink"),
        (lambda path: path.mkdir(), "it is a directory"),
        (os.mkfifo, "it is a special file"),
    ],
    ids=["symlink", "dangling symlink", "directory", "fifo"],
)
@pytest.mark.parametrize("name", ["jobd.pid", "jobd.pid.lock"])
def test_what_is_no_ordinary_file_is_refused(path: Path, name: str, make: Callable[[Path], None], named: str) -> None:
    path.parent.mkdir()
    precious = path.with_name("precious")
    precious.write_text("1\n")
    make(path.with_name(name))
    assert f"{name} is not jobd's, {named}: remove it" in refusal(path)
    assert precious.read_text() == "1\n"
    assert not path.with_name("missing").exists()


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Run as a user whom permissions bind; root is not."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike those of pytest; its mode may be changed."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        Path(name).chmod(0o700)


@pytest.mark.parametrize("lock_exists", [False, True])
def test_a_folder_that_cannot_be_written_is_a_wrong_setting(lock_exists: bool) -> None:
    with open_folder() as folder:
        path = folder / "jobd.pid"
        if lock_exists:
            lock_of(path).touch()
            lock_of(path).chmod(0o666)
        folder.chmod(0o555)
        with ordinary_user(), pytest.raises(ConfigError, match=f"uid .* cannot write pidfile {path}: .*denied.* -P$"):
            Pidfile(path).acquire()


def test_a_folder_that_is_a_file_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        Pidfile(tmp_path / "file" / "jobd.pid").acquire()


def test_a_refused_start_keeps_no_descriptor(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    with no_new_descriptors():
        refusal(path)


def test_release_removes_the_pidfile_keeps_the_lock_file_and_lets_the_next_in(path: Path) -> None:
    first, second = Pidfile(path), Pidfile(path)
    first.release()
    first.acquire()
    first.write()
    first.release()
    first.release()
    assert (path.exists(), lock_of(path).exists()) == (False, True)
    second.acquire()
    second.release()


@pytest.mark.parametrize("content", ["1\n", "hello\n"])
def test_release_leaves_a_foreign_pidfile_alone(pidfile: Pidfile, path: Path, content: str) -> None:
    pidfile.acquire()
    pidfile.write()
    path.write_text(content)
    pidfile.release()
    assert path.read_text() == content


def test_release_bears_a_directory_in_the_pidfiles_place(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    path.mkdir()
    pidfile.release()
    assert path.is_dir()


def test_release_bears_a_folder_that_is_gone(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    pidfile.write()
    shutil.rmtree(path.parent)
    pidfile.release()


def test_release_bears_a_folder_that_a_dropped_privilege_has_closed() -> None:
    with open_folder() as folder:
        pidfile = Pidfile(folder / "jobd.pid")
        pidfile.acquire()
        pidfile.write()
        folder.chmod(0o555)
        with ordinary_user():
            pidfile.release()
        assert pidfile.path.exists()


def test_a_child_that_let_go_removes_nothing(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    pidfile.write()
    pidfile.after_fork_in_child()
    pidfile.release()
    assert path.exists()


def test_release_without_the_lock_leaves_the_pidfile_of_the_holder(path: Path, pidfile: Pidfile) -> None:
    pidfile.acquire()
    pidfile.write()
    Pidfile(path).release()
    assert path.exists()


def test_a_relative_path_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pidfile = Pidfile(Path("run/jobd.pid"))
    monkeypatch.chdir("/")
    pidfile.acquire()
    pidfile.write()
    assert (tmp_path / "run" / "jobd.pid").exists()
    pidfile.release()


def test_there_is_nothing_to_write_or_to_preserve_without_the_lock(pidfile: Pidfile, path: Path) -> None:
    with pytest.raises(RuntimeError, match="its lock is not held"):
        pidfile.write()
    with pytest.raises(RuntimeError, match="its lock is not held"):
        _ = pidfile.preserve
    assert not path.exists()


def test_a_child_that_let_go_keeps_nobody_out_when_its_parent_is_killed(
    start: StartProcess, pidfile: Pidfile, path: Path
) -> None:
    parent = start(HOLD_AND_FORK.format(in_child="pidfile.after_fork_in_child()"))
    assert sorted(parent.line()[0] for _ in range(2)) == ["child", "holds"]
    assert path.read_text() == f"{parent.pid}\n"
    assert f"pid {parent.pid}" in refusal(path)
    parent.kill()
    pidfile.acquire()


def test_a_child_that_did_not_let_go_still_holds_the_lock(start: StartProcess, path: Path) -> None:
    parent = start(HOLD_AND_FORK.format(in_child="sys.stdin.read()"))
    parent.line()
    parent.kill()
    assert "another jobd holds" in refusal(path)


def test_a_program_started_by_the_holder_gets_no_copy_of_the_lock(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        pidfile.release()
        again = Pidfile(path)
        again.acquire()
        again.release()


def test_a_daemon_takes_the_pidfile_over_from_the_process_that_locked_it(start: StartProcess, path: Path) -> None:
    caller = start(DAEMONIZE)
    _, daemon = caller.line()
    os.waitid(os.P_PID, caller.pid, os.WEXITED | os.WNOWAIT)
    assert path.read_text() == f"{daemon}\n"
    assert f"pid {daemon}," in refusal(path)
    assert caller.end() == 0
    assert not path.exists()


def test_a_pidfile_that_cannot_be_replaced_is_reported_and_nothing_is_left(pidfile: Pidfile, path: Path) -> None:
    pidfile.acquire()
    path.mkdir()
    with pytest.raises(ConfigError, match=f"cannot write pidfile {path}: .*directory"):
        pidfile.write()
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobd.pid", "jobd.pid.lock"]
