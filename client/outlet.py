"""Where pushes go instead of Redis while a test wants them: `worker/testing.py` sets it, `push.py` looks at it."""

from __future__ import annotations

from typing import Protocol


class Outlet(Protocol):
    """Takes jobs as they would have entered Redis."""

    def take(self, queue: str, payload: bytes, at: float | None) -> None:
        """Take one job for `queue`, now or `at` epoch seconds. What it raises, the push raises."""


_outlet: Outlet | None = None


def current() -> Outlet | None:
    """What takes the pushes of this process; None when Redis does."""
    return _outlet


def set_current(outlet: Outlet | None) -> None:
    """Have `outlet` take all pushes of this process, or Redis again."""
    global _outlet
    _outlet = outlet
