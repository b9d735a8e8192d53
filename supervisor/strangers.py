"""Reaps processes that became children of this one when their own parents ended: the duty of process 1 in a container.

Children that somebody here has started are left to whoever waits for them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path

from jobd.worker import log

_PR_GET_CHILD_SUBREAPER = 37
_TASKS = Path("/proc/self/task")
_libc = ctypes.CDLL(None)


def is_init() -> bool:
    """Whether orphans become children of this process: it is process 1, or a subreaper."""
    if os.getpid() == 1:
        return True
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int(0)
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return answer.value == 1


def reap(known: Collection[int]) -> list[int]:
    """Reap the dead among the children of this process that are not `known`; returns their pids. Never waits.

    Not by waiting for any child: that would take the exit codes of the known ones away from their owners. Needs Linux;
    elsewhere nothing is reaped.
    """
    return [pid for pid in _children() if pid not in known and _reaped(pid)]


def _children() -> list[int]:
    found: list[int] = []
    for listing in _TASKS.glob("*/children"):
        try:
            found += map(int, listing.read_text().split())
        except OSError:  # the thread has ended
            continue
    return found


def _reaped(pid: int) -> bool:
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    if ended:
        log.event("stranger.reaped", level=log.DEBUG, child=pid, status=os.waitstatus_to_exitcode(status))
    return ended != 0
