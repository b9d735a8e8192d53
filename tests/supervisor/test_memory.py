"""How much memory a process holds, and when it is to be replaced for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from jobd.supervisor.config import MemoryKind
from jobd.supervisor.memory import Readings, hopeless, overcommitted, reading, recycle_pause

MB = 2**20
FORKS_WITH_MUCH = """
import os
from jobd.supervisor.memory import reading

much = b"x" * 100 * 2**20
if os.fork() == 0:
    print(reading(os.getpid(), "rss") // 2**20, reading(os.getpid(), "uss") // 2**20, flush=True)
    os._exit(0)
os.wait()
"""


def test_what_a_process_shares_counts_as_rss_and_not_as_uss() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS_WITH_MUCH], capture_output=True, text=True, check=True)
    rss, uss = map(int, done.stdout.split())
    assert rss > 100
    assert 0 < uss < 50


@pytest.mark.parametrize("kind", ["rss", "uss"])
def test_a_process_that_has_ended_cannot_be_measured(kind: MemoryKind) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert reading(process.pid, kind)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert reading(process.pid, kind) is None
    assert reading(process.pid, kind) is None


@pytest.mark.parametrize(
    ("sizes", "exceeds"),
    [
        ([], False),
        ([11, 11], False),
        ([11, 11, 11], True),
        ([10, 10, 10], False),
        ([11, 10, 11, 11], False),
        ([1, 99, 10, 11, 11, 11], True),
        ([11, 11, 11, 10], False),
    ],
)
def test_three_readings_in_a_row_must_be_above_the_limit(sizes: list[int], exceeds: bool) -> None:
    readings = Readings()
    for size in sizes:
        readings.add(size)
    assert readings.exceeds(10) is exceeds
    assert readings.baseline == (sizes[0] if sizes else None)


@pytest.mark.parametrize(("baseline", "expected"), [(None, False), (9, False), (10, False), (11, True)])
def test_a_limit_that_a_fresh_process_exceeds_is_hopeless(baseline: int | None, expected: bool) -> None:
    assert hopeless(baseline, 10) is expected


def test_processes_that_always_need_too_much_are_replaced_ever_more_rarely() -> None:
    pauses = [recycle_pause(short_lives) for short_lives in range(9)]
    assert pauses == [0, 30, 60, 120, 240, 480, 960, 1800, 1800]
    assert recycle_pause(10**9) == 1800


@pytest.mark.parametrize(("processes", "granted"), [(4, None), (4, 2048 * MB), (1, 512 * MB)])
def test_what_fits_into_the_cgroup_needs_no_warning(processes: int, granted: int | None) -> None:
    assert overcommitted(512 * MB, processes, granted) is None


def test_more_than_the_cgroup_grants_is_worth_a_warning() -> None:
    warning = overcommitted(512 * MB, 4, 2000 * MB)
    assert warning is not None
    assert "max_memory = 512MB for each of 4 processes makes 2048MB, and the cgroup allows 2000MB" in warning
    assert "400MB at most" in warning
