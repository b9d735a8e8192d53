"""For tests of applications: modes, assertions, a clock, a worker. `docs/testing-your-jobs.md` shows how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobd.worker.collected import Jobs
from jobd.worker.expected import EnqueuedJob
from jobd.worker.testing import (
    Clock,
    FakeJobs,
    Mode,
    assert_enqueued,
    assert_not_enqueued,
    fake,
    inline,
    moving_clock,
    real,
    twice,
)

if TYPE_CHECKING:
    from jobd.worker.trial import Trial, worker

__all__ = [
    "Clock",
    "EnqueuedJob",
    "FakeJobs",
    "Jobs",
    "Mode",
    "Trial",
    "assert_enqueued",
    "assert_not_enqueued",
    "fake",
    "inline",
    "moving_clock",
    "real",
    "twice",
    "worker",
]


def __getattr__(name: str) -> Any:
    """Load what needs redis-py when it is asked for."""
    if name in ("Trial", "worker"):
        from jobd.worker import trial

        return getattr(trial, name)
    raise AttributeError(f"module 'jobd.testing' has no attribute {name!r}")
