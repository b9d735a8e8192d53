"""The time by which jobs are pushed and are due: this machine's, unless a test has moved it."""

from __future__ import annotations

import time

ahead = 0.0
"""By how many seconds it has been moved; to be read here, never imported by name."""


def now() -> float:
    """The time in epoch seconds."""
    return time.time() + ahead


def move(seconds: float) -> None:
    """Have it be so many seconds ahead of this machine's clock; for tests."""
    global ahead
    ahead = seconds
