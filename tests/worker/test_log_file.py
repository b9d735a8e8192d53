"""The log as a file: rotation, several processes, full disks; and the form for systemd's journal."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jobd.client.errors import ConfigError
from jobd.worker import log, log_file
from jobd.worker.log import Formatter, LineHandler, LogFileHandler, LogFormat
from jobd.worker.log_file import LogFile
from tests.descriptors import no_new_descriptors
from tests.waiting import wait_until
from tests.worker.conftest import Events

WRITERS = Path(__file__).with_name("log_writers.py")
FIRST_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ [A-Z]+ [a-z._]+( [a-z]+=\S+)*")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "jobd.log"


@pytest.fixture(autouse=True)
def closed_at_the_end(events: Events) -> Iterator[None]:
    """No test leaves a log file open."""
    yield
    for handler in log.logger.handlers:
        if isinstance(handler, LogFileHandler):
            handler.close()


@pytest.fixture
def installed(path: Path) -> Path:
    """The log of this process goes to this file."""
    log.install("plain", "info", path)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def followed(path: Path, clock: Clock) -> Path:
    """As `installed`, with a clock that the test sets."""
    handler = LogFileHandler(LogFile(path, clock))
    handler.setFormatter(Formatter("plain"))
    log.logger.handlers[:] = [handler]
    return path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: the nearest to a full disk that needs no privileges."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(path: Path) -> list[str]:
    """The events in a file, with their values."""
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()]


def test_parent_folders_are_made_and_others_cannot_read_the_file(path: Path) -> None:
    log.install("plain", "info", path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_half_a_character_does_not_lose_the_line(path: Path) -> None:
    # Installed here, it takes the place of pytest's own handler, which could not pass such a line on.
    log.install("plain", "info", path)
    log.event("job.failed", error="é \udce9")
    assert names(path) == ['job.failed error="é \\udce9"']


def test_what_is_there_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("before\n")
    with closing(LogFile(path)) as file:
        assert file.append(b"after\n")
    assert path.read_text() == "before\nafter\n"


@pytest.mark.parametrize(("form", "begin"), [(None, "2"), ("plain", "2"), ("json", "{"), ("pretty", "2")])
def test_the_form_is_plain_unless_it_is_given(path: Path, form: LogFormat | None, begin: str) -> None:
    log.install(form, "info", path)
    log.event("job.done")
    assert path.read_text().startswith(begin)
    assert ("\033[" in path.read_text()) == (form == "pretty")


def test_a_relative_path_holds_after_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log.install("plain", "info", "a.log")
    monkeypatch.chdir("/")
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    log.reopen()
    log.event("job.done")
    assert names(tmp_path / "a.log") == ["job.done"]


@pytest.mark.parametrize(
    ("given", "reason"), [("/", "Is a directory"), ("/dev/null/jobd.log", "Not a directory"), ("", "Is a directory")]
)
def test_a_file_that_cannot_be_opened_is_told_at_once_and_the_log_before_it_stays(
    installed: Path, given: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"logfile = {str(Path(given))!r}: cannot be opened ({reason})")):
        log.install("plain", "info", given)
    log.event("job.done")
    assert names(installed) == ["job.done"]


def test_a_new_destination_closes_the_file_before_it(installed: Path, tmp_path: Path) -> None:
    descriptor = log.fileno()
    assert descriptor is not None
    with no_new_descriptors():
        log.install("plain", "info", tmp_path / "other.log")
    log.event("job.done")
    assert names(tmp_path / "other.log") == ["job.done"]
    assert names(installed) == []


def test_a_record_is_one_write_with_its_traceback(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes, write = [], os.write
    monkeypatch.setattr(log_file.os, "write", lambda fd, data: (writes.append(bytes(data)), write(fd, data))[1])
    log.event("job.failed", level=log.ERROR, exc_info=ValueError("two\nlines"))
    assert len(writes) == 1
    assert writes[0] == installed.read_bytes()
    assert writes[0].endswith(b"ValueError: two\nlines\n")


def test_after_reopen_lines_go_to_the_new_file(installed: Path) -> None:
    log.event("first")
    rotated = installed.rename(installed.with_suffix(".1"))
    log.event("second")
    log.reopen()
    log.event("third")
    assert (names(rotated), names(installed)) == (["first", "second"], ["third"])


def test_reopen_keeps_the_descriptor_and_leaks_none(installed: Path) -> None:
    descriptor = log.fileno()
    assert descriptor is not None
    installed.unlink()
    with no_new_descriptors():
        log.reopen()
    assert log.fileno() == descriptor
    assert not os.get_inheritable(descriptor)


def replace(path: Path) -> None:
    path.rename(path.with_suffix(".1"))
    path.touch()


@pytest.mark.parametrize("rotate", [replace, Path.unlink, lambda path: path.rename(path.with_suffix(".1"))])
def test_a_rotation_without_a_signal_is_noticed_within_a_second(
    followed: Path, clock: Clock, rotate: Callable[[Path], None]
) -> None:
    rotate(followed)
    log.event("first")
    clock.now += 0.999
    log.event("second")
    clock.now += 0.001
    log.event("third")
    assert names(followed) == ["third"]


def test_a_file_in_its_place_is_not_opened_again(followed: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogFile, "reopen", lambda self: pytest.fail("opened again"))
    for _ in range(3):
        clock.now += 5
        log.event("job.done")
    assert len(names(followed)) == 3


def test_a_truncated_file_goes_on_at_its_beginning(installed: Path) -> None:
    log.event("first")
    os.truncate(installed, 0)
    log.event("second")
    assert names(installed) == ["second"]


def test_a_file_that_cannot_be_opened_anew_is_told_in_the_old_one(followed: Path, clock: Clock) -> None:
    rotated = followed.parent.rename(followed.parent.with_name("old")) / followed.name
    followed.parent.write_text("in the way")
    log.reopen()
    for _ in range(10):
        clock.now += 1
        log.event("job.done")
    told = [line for line in names(rotated) if line.startswith("log.not_reopened")]
    assert len(told) == 2
    assert all(f'path={followed} error="[Errno 20] Not a directory' in line for line in told)
    followed.parent.unlink()
    clock.now += 1
    log.event("back")
    assert names(followed) == ["back"]


def test_standard_streams_that_lead_into_the_file_follow_it(tmp_path: Path) -> None:
    script = """
import os, sys
from jobd.worker import log
log.install("plain", "info", "a.log")
os.dup2(log.fileno(), 2)
os.rename("a.log", "a.log.1")
log.reopen()
os.system("echo child of shell >&2")
print("error", file=sys.stderr)
print("output")
"""
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert (tmp_path / "a.log").read_text() == "child of shell\nerror\n"
    assert (tmp_path / "a.log.1").read_text() == ""
    assert output == "output\n"


def test_reopen_does_nothing_for_a_stream() -> None:
    log.install("plain", "info", sys.stderr)
    log.reopen()
    assert log.fileno() is None


def test_threads_write_whole_lines_while_another_reopens(installed: Path) -> None:
    def write(number: int) -> None:
        for line in range(500):
            log.event("line", writer=number, line=line)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    rotations = 0
    while any(thread.is_alive() for thread in threads):
        installed.rename(installed.with_suffix(f".{rotations}"))
        log.reopen()
        rotations += 1
    lines = [line for file in installed.parent.iterdir() for line in names(file)]
    assert sorted(lines) == sorted(f"line writer={w} line={n}" for w in range(4) for n in range(500))


def read_lines(files: list[Path]) -> tuple[dict[int, list[int]], dict[int, int]]:
    """The numbers of the lines of each writer, and how many it says it wrote; every line must be whole."""
    seen: dict[int, list[int]] = defaultdict(list)
    ends = {}
    for file in files:
        lines = iter(file.read_text().splitlines())
        for line in lines:
            assert FIRST_LINE.fullmatch(line), line
            name, *pairs = line.split(" ")[3:]
            values = dict(pair.split("=") for pair in pairs if pair != 'filling=""')
            if name == "end":
                ends[int(values["writer"])] = int(values["lines"])
                continue
            number = int(values["line"])
            assert len(values.get("filling", "")) == number % 97
            if number % 50 == 0:
                assert next(lines) == "ValueError: " + "x" * 200
            seen[int(values["writer"])].append(number)
    return seen, ends


def test_no_line_of_four_processes_is_lost_or_torn_while_the_file_is_rotated(path: Path) -> None:
    command = [sys.executable, str(WRITERS), str(path), "4", "2000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        pids = [int(pid) for pid in writers.stdout.readline().split()[1:]]
        for rotation in range(20):
            wait_until(lambda: path.exists() and path.stat().st_size > 20_000, "lines in the file")
            path.rename(path.with_name(f"jobd.log.{rotation}"))
            for pid in pids:
                os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: len({pid for pid in pids if has_line_of(path, pid)}) == 4, "all to have found the new file")
        writers.stdin.close()
        assert writers.wait(30) == 0
    seen, ends = read_lines([*path.parent.glob("jobd.log*")])
    assert sorted(ends) == [0, 1, 2, 3]
    for writer, count in ends.items():
        assert count >= 2_000
        assert sorted(seen[writer]) == list(range(count))


def has_line_of(path: Path, pid: int) -> bool:
    return path.exists() and f" {pid} " in path.read_text()


def test_lines_that_find_no_room_are_counted_and_told(installed: Path) -> None:
    log.event("first")
    with largest_file(installed.stat().st_size):
        for _ in range(3):
            log.event("lost")
    log.event("second")
    log.event("third")
    assert names(installed) == ["first", "log.lost records=3", "second", "third"]


def test_the_beginning_of_a_line_does_not_swallow_the_next(installed: Path) -> None:
    log.event("first")
    with largest_file(installed.stat().st_size + 60):
        log.event("lost", text="x" * 100)
        log.event("lost")
    log.event("second")
    first, torn, told, second = installed.read_text().splitlines()
    assert len(torn) == 60
    assert "xxx" in torn
    assert first.endswith(" first")
    assert told.endswith(" WARNING log.lost records=2")
    assert second.endswith(" second")


def test_a_full_device_does_not_stop_the_work() -> None:
    log.install("plain", "info", "/dev/full")
    log.event("job.done")
    log.event("job.failed", level=log.ERROR, exc_info=ValueError("why"))
    log.reopen()


def test_a_process_does_not_tell_what_its_parent_lost(followed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with largest_file(0):
        log.event("lost")
    monkeypatch.setattr(log.os, "getpid", lambda: 1)
    log.event("first")
    assert names(followed) == ["first"]


def test_a_closed_file_loses_lines_and_harms_no_other(path: Path, tmp_path: Path) -> None:
    log.install("plain", "info", path)
    (handler,) = log.logger.handlers
    handler.close()
    handler.close()
    with (tmp_path / "other").open("w"):
        log.event("job.done")
    assert (tmp_path / "other").read_text() == ""
    assert path.read_text() == ""


def test_a_record_that_cannot_be_formatted_stops_nothing(installed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (handler,) = [each for each in log.logger.handlers if isinstance(each, LogFileHandler)]
    handler.handle(logging.makeLogRecord({"msg": "%d jobs", "args": ("many",)}))
    log.event("job.done")
    assert names(installed) == ["job.done"]
    assert "Logging error" in capfd.readouterr().err


JOURNAL_SCRIPT = """
import os, sys
from jobd.worker import log
log.install(sys.argv[1] or None, "debug")
log.event("a.b", level=log.DEBUG, v=1)
log.event("a.b", level=log.INFO)
log.event("a.b", level=log.WARNING)
log.event("a.b", level=log.ERROR, exc_info=ValueError("two\\nlines"))
"""


def read_as_journal(form: str, *, told: bool) -> tuple[int, list[str]]:
    """What arrives at a socket that is standard error of a process; `told` says so in its environment."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        stream = f"{found.st_dev}:{found.st_ino + (not told)}"
        command = [sys.executable, "-c", JOURNAL_SCRIPT, form]
        with subprocess.Popen(command, stderr=theirs, env={**os.environ, "JOURNAL_STREAM": stream}) as process:
            theirs.close()
            with ours.makefile() as lines:
                return process.pid, lines.read().splitlines()


def test_in_the_journal_each_line_begins_with_its_priority_and_has_no_time() -> None:
    pid, lines = read_as_journal("", told=True)
    assert lines == [
        f"<7>{pid} DEBUG a.b v=1",
        f"<6>{pid} INFO a.b",
        f"<4>{pid} WARNING a.b",
        f"<3>{pid} ERROR a.b",
        "<3>ValueError: two",
        "<3>lines",
    ]


def test_json_in_the_journal_begins_with_its_priority_too() -> None:
    _, lines = read_as_journal("json", told=True)
    assert [line[:4] for line in lines] == ["<7>{", "<6>{", "<4>{", "<3>{"]
    assert json.loads(lines[3][3:])["trace"] == "ValueError: two\nlines"


def test_standard_error_that_is_not_the_journal_gets_the_usual_form() -> None:
    _, lines = read_as_journal("", told=False)
    assert FIRST_LINE.fullmatch(lines[0])


def test_a_file_gets_no_priorities_under_systemd(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.install("plain", "info", path)
    found = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    log.event("job.done")
    assert FIRST_LINE.fullmatch(path.read_text().rstrip("\n"))


def test_a_stream_without_a_descriptor_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    with open(os.devnull, "w") as closed:
        pass
    assert not log._is_journal(closed)
    log.install("plain", "info", sys.stderr)
    (handler,) = log.logger.handlers
    assert isinstance(handler, LineHandler)
