"""Jobs that make a process due for replacement, or show that a replacement cost nothing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from ledger_jobs import RELEASE, note

import jobd

_kept: list[bytearray] = []
_is_anchored = threading.Lock()


@jobd.job(name="brief")
def brief(number: int) -> None:
    """Lasts for 1 to 20 ms."""
    time.sleep((number % 20 + 1) / 1000)
    note("brief", number)


@jobd.job(name="leak")
def leak(megabytes: int) -> None:
    """Needs more memory, and never gives it back."""
    _kept.append(bytearray(b"x") * (megabytes << 20))
    note("leaked", megabytes)


@jobd.job(name="anchor")
def anchor(number: int) -> None:
    """Lasts until it is released, unless such a job is in this process already."""
    is_first = _is_anchored.acquire(blocking=False)
    if is_first:
        note("began", number)
    note("tried", number)
    if not is_first:
        return
    while not Path(os.environ[RELEASE]).exists():
        threading.Event().wait(0.01)
    note("ended", number)
