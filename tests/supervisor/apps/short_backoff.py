"""Has failed jobs run again within a fifth of a second, whatever their attempt."""

from __future__ import annotations

from jobd.worker import retry


def soon(count: int, jitter: float) -> float:
    """As `retry_delay`, only sooner."""
    return jitter / 5


retry.retry_delay = soon
