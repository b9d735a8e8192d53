"""Why a worker process ended, in words and for the figures, and whether its jobs are to blame."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobd.supervisor import memory_cgroup
from jobd.supervisor.ends import End, OomCounter, judge
from jobd.supervisor.memory_cgroup import MemoryCgroup
from tests.waiting import wait_until

CORE_DUMPED = 0x80
REALTIME = 50
MB = 2**20


def exited(code: int) -> int:
    """The status that waitpid gives for an exit code."""
    return code << 8


ASKED: dict[str, Any] = {"asked": True}
HANG: dict[str, Any] = {"master_killed_for": "hang", "limit": 45.0}
UNREADY: dict[str, Any] = {"master_killed_for": "boot_timeout", "limit": 60.0}
LATE: dict[str, Any] = {"asked": True, "master_killed_for": "late", "limit": 27.5}
TOO_BIG: dict[str, Any] = {"asked": True, "recycled_for": "memory"}
TOO_OLD: dict[str, Any] = {"recycled_for": "jobs"}

CASES: list[tuple[int, dict[str, Any], End]] = [
    # It ended by itself.
    (exited(0), ASKED, End("clean", "exit code 0", False)),
    (exited(71), ASKED, End("clean", "exit code 71", False)),
    (exited(131), ASKED, End("clean", "exit code 131", False)),
    (exited(5), ASKED, End("crash", "exit code 5", True)),
    (exited(5), {}, End("crash", "exit code 5", True)),
    (exited(0), {}, End("crash", "exit code 0, which nobody asked for", True)),
    (exited(71), {}, End("crash", "exit code 71, which nobody asked for", True)),
    (exited(70), {}, End("crash", "exit code 70: it could not start, or met a defect of jobd", False)),
    (exited(76), {}, End("crash", "exit code 76: it took its master for dead", False)),
    (exited(76), ASKED, End("crash", "exit code 76: it took its master for dead", False)),
    # It made room for a fresh one.
    (
        exited(71),
        TOO_BIG,
        End("recycle_memory", "exit code 71: replaced, as it needed more memory than max_memory", False),
    ),
    (exited(71), TOO_OLD, End("recycle_jobs", "exit code 71: replaced, as it had run max_jobs jobs", False)),
    (exited(0), TOO_OLD, End("recycle_jobs", "exit code 0: replaced, as it had run max_jobs jobs", False)),
    (exited(5), TOO_OLD, End("crash", "exit code 5", True)),
    (signal.SIGSEGV, TOO_BIG, End("signal", "killed by SIGSEGV", True)),
    # The master killed it.
    (signal.SIGABRT, HANG, End("hang", "hung: no sign of life for 45 s; killed by SIGABRT", True)),
    (
        signal.SIGKILL,
        {**HANG, "asked": True, "oom_kills": 1},
        End("hang", "hung: no sign of life for 45 s; killed by SIGKILL", True),
    ),
    (
        signal.SIGKILL,
        UNREADY,
        End("boot_timeout", "it was not ready within 60 s of its start; killed by SIGKILL", False),
    ),
    (signal.SIGKILL, LATE, End("signal", "it did not stop within 27.5 s; killed by SIGKILL", False)),
    (signal.SIGKILL, {**LATE, "limit": None}, End("signal", "it did not stop in time; killed by SIGKILL", False)),
    (signal.SIGKILL, {**TOO_BIG, **LATE}, End("signal", "it did not stop within 27.5 s; killed by SIGKILL", False)),
    # It ended before the master's signal reached it.
    (exited(0), LATE, End("clean", "exit code 0", False)),
    (exited(70), UNREADY, End("crash", "exit code 70: it could not start, or met a defect of jobd", False)),
    (signal.SIGSEGV, HANG, End("signal", "killed by SIGSEGV", True)),
    # Others killed it.
    (signal.SIGKILL, {"oom_kills": 1}, End("oom", "out of memory, by the kernel (SIGKILL)", True)),
    (signal.SIGKILL, {**ASKED, "oom_kills": 2}, End("oom", "out of memory, by the kernel (SIGKILL)", True)),
    (
        signal.SIGKILL,
        {"oom_kills": 0},
        End("signal", "killed by SIGKILL, by another program; the kernel counts no lack of memory", True),
    ),
    (
        signal.SIGKILL,
        {},
        End("signal", "killed by SIGKILL, by another program or the kernel; perhaps out of memory", True),
    ),
    (signal.SIGSEGV, {"oom_kills": 1}, End("signal", "killed by SIGSEGV", True)),
    (signal.SIGSEGV | CORE_DUMPED, ASKED, End("signal", "killed by SIGSEGV (core dumped)", True)),
    (signal.SIGABRT, {}, End("signal", "killed by SIGABRT", True)),
    (REALTIME, {}, End("signal", "killed by signal 50", True)),
    (signal.SIGTERM, {}, End("signal", "killed by SIGTERM", True)),
    (
        signal.SIGTERM,
        ASKED,
        End("signal", "killed by SIGTERM, which should have stopped it in order", False),
    ),
]


@pytest.mark.parametrize(("status", "known", "end"), CASES)
def test_the_end_of_a_process(status: int, known: dict[str, Any], end: End) -> None:
    nothing: dict[str, Any] = {"asked": False, "master_killed_for": None, "recycled_for": None, "oom_kills": None}
    assert judge(status, **{**nothing, **known}) == end


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc/self for a group in `tmp_path`."""
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mountinfo").write_text(f"35 31 0:32 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    return tmp_path


def test_each_kill_of_the_kernel_is_told_once(proc: Path) -> None:
    def killed(count: int) -> None:
        (proc / "memory.events").write_text(f"oom {count}\noom_kill {count}\n")

    killed(4)
    counter = OomCounter(proc)
    assert counter.kills_since_last() == 0
    killed(6)
    assert counter.kills_since_last() == 2
    assert counter.kills_since_last() == 0
    killed(1)
    assert counter.kills_since_last() == 0


def test_a_count_that_cannot_be_read_is_unknown_and_lost_only_for_that_time(proc: Path) -> None:
    counter = OomCounter(proc)
    assert counter.kills_since_last() is None
    (proc / "memory.events").write_text("oom_kill 4\n")
    assert counter.kills_since_last() is None
    (proc / "memory.events").unlink()
    assert counter.kills_since_last() is None
    (proc / "memory.events").write_text("oom_kill 5\n")
    assert counter.kills_since_last() == 1


def test_where_there_are_no_cgroups_nothing_is_known(tmp_path: Path) -> None:
    assert OomCounter(tmp_path).kills_since_last() is None


SCRIPT = """
import json, os, signal, sys
from dataclasses import asdict
from pathlib import Path
from jobd.supervisor.ends import OomCounter, judge
from jobd.supervisor.memory import cgroup_limit

Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
counter = OomCounter()

def end_of(act):
    if (pid := os.fork()) == 0:
        act()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    kills = counter.kills_since_last()
    return asdict(judge(status, asked=False, master_killed_for=None, recycled_for=None, oom_kills=kills))

def need_much():
    Path("/proc/self/oom_score_adj").write_text("1000")
    bytearray(b"x") * 512 * 2**20

print(json.dumps([cgroup_limit(), end_of(need_much), end_of(lambda: os.kill(os.getpid(), signal.SIGKILL))]))
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A new cgroup below the one of this process, which may hold 64 MB."""
    own = memory_cgroup.find()
    if own is None:
        pytest.skip("the cgroup of this process cannot be seen here")
    directory = own.directory / f"jobd-test-{os.getpid()}"
    try:
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here, which needs root: {error}")
    try:
        _limit(own, directory)
        yield directory
    finally:
        wait_until(lambda: _removed(directory), "the removal of the cgroup")


def _limit(own: MemoryCgroup, directory: Path) -> None:
    limit, swap = (
        ("memory.max", "memory.swap.max") if own.version == 2 else ("memory.limit_in_bytes", "memory.swappiness")
    )
    try:
        (directory / limit).write_text(str(64 * MB))
        if (directory / swap).exists():
            (directory / swap).write_text("0")
    except OSError as error:
        pytest.skip(f"the memory controller is not handed down to cgroups of this process: {error}")


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:  # a process in it has just ended
        return False
    return True


def test_a_process_that_the_kernel_killed_for_its_memory_is_told_from_one_that_was_killed(small_group: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(small_group)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    limit, hungry, killed = json.loads(done.stdout)
    assert limit == 64 * MB
    assert (hungry["reason"], hungry["blames"]) == ("oom", True)
    assert (killed["reason"], killed["cause"].split(",")[1]) == (
        "signal",
        " by another program; the kernel counts no lack of memory",
    )
