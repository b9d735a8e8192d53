"""The time by which jobs are pushed and are due: this machine's, unless a test has moved it."""

from __future__ import annotations

import time

_ahead = 0.0


def now() -> float:
    """The time in epoch seconds."""
    return time.time() + _ahead


def ahead() -> float:
    """By how many seconds it has been moved."""
    return _ahead


def move(seconds: float) -> None:
    """Have it be so many seconds ahead of this machine's clock; for tests."""
    global _ahead
    _ahead = seconds
