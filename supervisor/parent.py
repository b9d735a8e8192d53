"""Ties the life of a process to that of its parent, as far as the kernel does it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with(parent_pid: int) -> bool:
    """Have the kernel send this process SIGTERM when its parent ends; False when the parent is gone already.

    To be called after the fork, in the child. Only Linux sends the signal: elsewhere this only looks. Traps:

    - It is the forking *thread* whose end is awaited, so the master forks in its main thread alone.
    - A parent that ends before this call sends nothing, therefore the look at who the parent is afterwards.
    - A later change of user or group, or of capabilities by `exec`, cancels it: it comes last.
    - Children of this process do not inherit it.
    """
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
    return os.getppid() == parent_pid
