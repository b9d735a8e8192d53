"""The log under load: no line of the worker processes is lost or torn when the file is renamed, and a full disk stops
neither them nor their master.

`JOBD_LOG_LINES` sets how many lines they write [8,000]; with as many as 100,000 they have to be fast, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.supervisor import exits
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

LINES = int(os.environ.get("JOBD_LOG_LINES", "8000"))
MANY = 100_000
LINES_PER_SECOND = 10_000
WRITERS = 4
ROTATIONS = 10


def start_writers(jobd: Jobd, rate: float = 0.0) -> None:
    """Have each worker process write as fast as it can, or so many lines a second."""
    for writer in range(WRITERS):
        jobd.push("write_log", writer, rate)
    wait_until(lambda: jobd.status()["threads"]["busy"] == WRITERS, "a writer in each process")


def stop_writers(jobd: Jobd) -> dict[int, int]:
    """How many lines each of them has written."""
    Path(f"{jobd.ledger}.stop").touch()
    jobd.wait_for_lines("wrote", WRITERS, seconds=30)
    notes = [line.split() for line in jobd.ledger.read_text().splitlines()]
    return {int(words[1]): int(words[2]) for words in notes if words[0] == "wrote"}


def numbers(files: list[Path]) -> dict[int, list[int]]:
    """The numbers of each writer's lines; every line must be whole."""
    found = defaultdict(list)
    for file in files:
        for text in file.read_text().splitlines():
            event = json.loads(text)
            if event["event"] == "line":
                assert len(event["filling"]) == event["line"] % 97
                found[event["writer"]].append(event["line"])
    return found


def writers_of(path: Path) -> set[int]:
    """Who has written to the file so far, going by the lines that are whole."""
    text = path.read_text() if path.exists() else ""
    events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return {event["writer"] for event in events if event["event"] == "line"}


def writing_jobd(directory: Path, redis_url: str, log: Path) -> Jobd:
    """A jobd, not started, with one process for each writer, and its log at `log`."""
    jobd = Jobd(
        directory,
        redis_url,
        processes=WRITERS,
        concurrency=1,
        require=["ledger_jobs", "chaos_jobs"],
        pidfile="jobd.pid",
        logfile=str(log),
    )
    jobd.log = log
    return jobd


def test_no_line_is_lost_or_torn_when_the_file_is_renamed_under_load(tmp_path: Path, redis_url: str) -> None:
    log = tmp_path / "jobd.log"
    with writing_jobd(tmp_path, redis_url, log) as jobd:
        start_writers(jobd)
        begun = time.monotonic()
        for rotation in range(ROTATIONS):
            part = LINES * 200 // ROTATIONS  # bytes: hardly any line has so many
            wait_until(lambda part=part: log.exists() and log.stat().st_size > part, "lines in the file", 60.0)
            log.rename(log.with_name(f"jobd.log.{rotation}"))
            jobd.signal(signal.SIGUSR1)
        wait_until(lambda: writers_of(log) == set(range(WRITERS)), "all writers in the new file")
        written, took = stop_writers(jobd), time.monotonic() - begun
        assert jobd.stop() == exits.OK
    found = numbers([*tmp_path.glob("jobd.log*")])
    assert {writer: sorted(lines) for writer, lines in found.items()} == {
        writer: list(range(count)) for writer, count in written.items()
    }
    assert sum(written.values()) >= LINES
    if LINES >= MANY:
        assert sum(written.values()) / took > LINES_PER_SECOND


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "jobd-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root and the right to mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_stops_neither_jobs_nor_supervision_and_later_the_log_goes_on(
    tmp_path: Path, redis_url: str, small_disk: Path
) -> None:
    log, filling = small_disk / "jobd.log", small_disk / "filling"
    filling.write_bytes(b"x" * 100_000)
    with writing_jobd(tmp_path, redis_url, log) as jobd:
        start_writers(jobd)
        wait_until(lambda: os.statvfs(small_disk).f_bavail == 0, "a full disk")
        (worker, *_) = (child["pid"] for child in jobd.status()["children"])
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in ready_workers(jobd) and len(ready_workers(jobd)) == WRITERS, "a replacement")
        stop_writers(jobd)
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        filling.unlink()
        jobd.push("quick", 2)
        jobd.wait_for_lines("ended", 2)
        wait_until(lambda: '"log.lost"' in log.read_text(), "the number of lines that were lost")
        assert jobd.stop() == exits.OK
        assert '"master.stopped"' in log.read_text()


def ready_workers(jobd: Jobd) -> list[int]:
    """Worker processes that take jobs."""
    return [child["pid"] for child in jobd.status()["children"] if child["state"] == "ready"]
