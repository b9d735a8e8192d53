"""The lines of jobs: the same text as any event, kept for a moment, never out of order and never lost in the end."""

from __future__ import annotations

import io
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.call import RunningJob, running_job
from jobd.worker import log
from jobd.worker.job_log import SLOW, Buffer, JobLog
from jobd.worker.log_format import Formatter, LogFormat
from tests.waiting import wait_until
from tests.worker.conftest import RunWorker

NOW = 1795305669.5


def a_job(**fields: Any) -> RunningJob:
    return running_job({"class": "app.send", "jid": "0ed6022fbd4af2e586ac10c8", **fields})


PLAIN = a_job()


class Writes(io.StringIO):
    """What was written, each time."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []

    def write(self, text: str) -> int:
        self.each.append(text)
        return len(text)


def installed() -> Writes:
    """Where the log of this process goes from now on. By the test itself: pytest adds a handler before it begins."""
    writes = Writes()
    log.install("plain", "info", writes)
    return writes


def own() -> JobLog:
    """The log of jobs that is in use; it must be the direct one."""
    lines = log.job_log()
    assert isinstance(lines, JobLog)
    return lines


def names(text: str) -> list[str]:
    return [line.split(" ")[3] for line in text.splitlines()]


@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize("form", ["plain", "pretty", "json"])
@pytest.mark.parametrize(
    "job",
    [
        PLAIN,
        a_job(jid="a b\n\x9b"),
        a_job(jid="é-1"),
        a_job(queue="low prio", retry_count=1, tags=["a", "two words"]),
        running_job({"class": 'odd "name"', "jid": "x"}),
    ],
)
def test_a_line_reads_as_the_event_would(
    job: RunningJob, form: LogFormat, journal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    if sys.version_info >= (3, 13):
        monkeypatch.setattr("time.time_ns", lambda: int(NOW * 1e9))
    buffer, form_of = Buffer(), Formatter(form, journal=journal)
    lines = JobLog(form, buffer, lambda: None, journal=journal)
    for seconds in (0.0, 2e-06, 0.0000124, 0.25, 3.0, 1234.5678916):
        lines.done(job, lines.start(job, at_once=False), seconds)
        values = log.job_values(job)
        started = log._record("job.start", logging.INFO, values)
        done = log._record("job.done", logging.INFO, values | {"seconds": round(seconds, 6)})
        assert buffer.take() == [f"{form_of.format(started)}\n", f"{form_of.format(done)}\n"]


def test_lines_are_kept_until_they_are_flushed_and_written_at_once_then() -> None:
    writes = installed()
    for _ in range(2):
        own().done(PLAIN, own().start(PLAIN, at_once=False), 0.001)
    assert writes.each == []
    log.flush()
    log.flush()
    [text] = writes.each
    assert names(text) == ["job.start", "job.done"] * 2


def test_an_event_is_preceded_by_what_was_before_it() -> None:
    writes = installed()
    own().start(PLAIN, at_once=False)
    log.event("job.failed", level=log.WARNING)
    log.event("process.quiet")
    assert [names(text) for text in writes.each] == [["job.start", "job.failed"], ["process.quiet"]]


def test_the_lines_of_a_slow_job_are_not_kept() -> None:
    writes = installed()
    said = own().start(PLAIN, at_once=True)
    assert [names(text) for text in writes.each] == [["job.start"]]
    assert own().done(PLAIN, said, SLOW)
    assert [names(text) for text in writes.each] == [["job.start"], ["job.done"]]
    assert not own().done(PLAIN, said, SLOW / 2)


def test_no_more_is_kept_than_memory_allows() -> None:
    writes = installed()
    for _ in range(2_000):
        own().done(PLAIN, own().start(PLAIN, at_once=False), 0.0)
    assert writes.each


def test_what_goes_to_a_pipe_is_written_in_pieces_that_it_takes_whole() -> None:
    writes = installed()
    for number in range(200):
        own().start(a_job(jid=f"é{number}" * 4), at_once=False)
    log.flush()
    assert len(writes.each) > 1
    assert all(len(text.encode()) <= select.PIPE_BUF and text.endswith("\n") for text in writes.each)
    assert names("".join(writes.each)) == ["job.start"] * 200


def test_below_the_level_nothing_is_written() -> None:
    writes = installed()
    log.install("plain", "warning", writes)
    assert log.job_log() is None
    assert log.job_log(logging.DEBUG) is not None
    assert log.job_log(logging.ERROR) is None


def test_for_any_other_handler_lines_are_events() -> None:
    writes = installed()

    class Records(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.texts: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.texts.append(record.getMessage())

    other = Records()
    log.logger.addHandler(other)
    lines = log.job_log()
    assert lines is not None
    lines.done(PLAIN, lines.start(PLAIN, at_once=False), 0.5)
    about = "jid=0ed6022fbd4af2e586ac10c8 job=app.send queue=default"
    assert other.texts == [f"job.start {about}", f"job.done {about} seconds=0.5"]
    assert [names(text) for text in writes.each] == [["job.start"], ["job.done"]]


def test_a_filter_of_the_application_sees_every_line() -> None:
    writes = installed()

    def refuse(record: logging.LogRecord) -> bool:
        return False

    log.logger.addFilter(refuse)
    try:
        lines = log.job_log()
        assert lines is not None
        lines.start(PLAIN, at_once=True)
    finally:
        log.logger.removeFilter(refuse)
    assert writes.each == []


def test_what_is_kept_while_the_log_is_installed_anew_is_not_lost(tmp_path: Path) -> None:
    writes = installed()
    old = own()
    old.start(PLAIN, at_once=False)
    log.install("plain", "info", tmp_path / "jobd.log")
    old.done(PLAIN, " late=yes", 0.0)
    log.flush()
    assert [names(text) for text in writes.each] == [["job.start"]]
    assert " job.done late=yes " in (tmp_path / "jobd.log").read_text()
    for handler in log.logger.handlers:
        handler.close()


def test_threads_that_log_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobd.log"
    log.install("plain", "info", path)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread: int) -> None:
        for number in range(1_000):
            own().start(a_job(jid=f"{thread}x{number}"), at_once=number % 3 == 0)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    log.flush()
    found = [line.split(" jid=")[1].split(" ")[0] for line in path.read_text().splitlines()]
    log.logger.handlers[0].close()
    for thread_number in range(4):
        mine = [jid for jid in found if jid.startswith(f"{thread_number}x")]
        assert mine == [f"{thread_number}x{number}" for number in range(1_000)]


def test_lines_that_found_no_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "jobd.log", os.write
    log.install("plain", "info", path)
    for _ in range(3):
        own().start(PLAIN, at_once=False)
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    log.flush()
    monkeypatch.undo()
    log.event("process.quiet")
    lines = path.read_text().splitlines()
    log.logger.handlers[0].close()
    assert names(lines[0]) == ["job.start"]
    assert lines[-2].endswith("log.lost records=2")
    assert lines[-1].endswith("process.quiet")


def test_a_forked_process_writes_no_line_of_its_parent() -> None:
    program = """
import os, sys, time
from jobd.client.call import running_job
from jobd.worker import log
time.time = lambda: 1795305669.5
log.install("plain", "info", sys.stdout)
log.job_log().start(running_job({"class": "app.send", "jid": "parent"}), at_once=False)
if os.fork() == 0:
    log.job_log().start(running_job({"class": "app.send", "jid": "child"}), at_once=False)
    log.flush()
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    child, parent = (line.split(" ") for line in done.stdout.splitlines())
    assert (child[4], parent[4]) == ("jid=child", "jid=parent")
    assert child[1] != parent[1]


@jobd.job(name="job_log.run")
def run(number: int) -> None:
    if number % 10 == 9:
        raise ValueError("every tenth")


def test_of_every_job_both_lines_are_there_in_order_once_the_process_has_stopped(
    run_worker: RunWorker, redis: Redis, tmp_path: Path
) -> None:
    path = tmp_path / "jobd.log"
    log.install("plain", "info", path)
    with run_worker(concurrency=3):
        jids = run.perform_bulk([(number,) for number in range(300)])
        wait_until(lambda: redis.get("stat:processed") == b"300", "all counted")
    log.logger.handlers[0].close()
    of_jobs = [line.split(" ") for line in path.read_text().splitlines() if " job." in line]
    for number, jid in enumerate(jids):
        mine = [words[3] for words in of_jobs if f"jid={jid}" in words]
        assert mine == ["job.start", "job.failed" if number % 10 == 9 else "job.done"]
