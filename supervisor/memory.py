"""How much memory worker processes hold, and what follows from it. The master measures from time to time and acts."""

from __future__ import annotations

from collections import deque

import psutil

from jobd.supervisor import memory_cgroup
from jobd.supervisor.config import MemoryKind

READINGS = 3
"""So many in a row must be above the limit: a job that needs much for a moment is no reason to replace a process."""
FIRST_PAUSE, MAX_PAUSE = 30.0, 30 * 60.0


def reading(pid: int, kind: MemoryKind) -> int | None:
    """Bytes of memory that process `pid` holds, or None when it is gone or may not be looked at.

    `rss` counts pages that it shares with the master or its siblings, `uss` only its own; that takes a millisecond or
    more, and the permission to trace the process.
    """
    try:
        process = psutil.Process(pid)
        found = process.memory_info().rss if kind == "rss" else process.memory_full_info().uss
    except (psutil.Error, OSError):  # also when no descriptor is left
        return None
    return found or None  # one that waits to be reaped holds nothing


class Readings:
    """What was measured of one worker process since it had loaded the application."""

    def __init__(self) -> None:
        self.baseline: int | None = None
        """Bytes at the first reading; None before it."""
        self._last: deque[int] = deque(maxlen=READINGS)

    def add(self, size: int) -> None:
        """Note a reading in bytes."""
        if self.baseline is None:
            self.baseline = size
        self._last.append(size)

    def exceeds(self, limit: int) -> bool:
        """Whether the last three readings were all above `limit` bytes."""
        return len(self._last) == READINGS and min(self._last) > limit


def recycle_pause(short_lives: int) -> float:
    """Seconds that the next process of a slot lives before it may be replaced for its memory.

    `short_lives` counts those before it, in a row, that had to go as soon as they were allowed to: without a growing
    pause, jobs that always need more than the limit would have the slot do nothing but start processes.
    """
    return 0.0 if short_lives <= 0 else min(FIRST_PAUSE * 2.0 ** min(short_lives - 1, 16), MAX_PAUSE)


def hopeless(baseline: int | None, limit: int) -> bool:
    """Whether a process is above `limit` bytes before it has run any job, so that replacing it would change nothing."""
    return baseline is not None and baseline > limit


def cgroup_limit() -> int | None:
    """Bytes that the kernel grants this process and its children together by cgroups; None when it sets no limit."""
    group = memory_cgroup.find()
    return group.limit() if group else None


def overcommitted(limit: int, processes: int, cgroup_limit: int | None) -> str | None:
    """A warning if the kernel may kill one of so many `processes` before any exceeds `limit` bytes; else None."""
    if cgroup_limit is None or limit * processes <= cgroup_limit:
        return None
    return (
        f"max_memory = {_megabytes(limit)} for each of {processes} processes makes {_megabytes(limit * processes)}, "
        f"and the cgroup allows {_megabytes(cgroup_limit)}: the kernel will kill processes before jobd replaces them; "
        f"set max_memory to {_megabytes(cgroup_limit // (processes + 1))} at most, which leaves room for one process "
        "more while another is replaced, start fewer processes, or allow more"
    )


def _megabytes(size: int) -> str:
    return f"{size // 2**20}MB"
