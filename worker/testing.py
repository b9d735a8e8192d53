"""For tests of applications: where pushes go instead of Redis, a clock to move, and every job twice.

All of it holds for the whole process, also for the threads of the application under test. `jobd.testing` is its public
name; a worker in a test is `trial.py`'s.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from jobd.client import clock, outlet, settings
from jobd.client.call import RunningJob
from jobd.client.errors import JobdError
from jobd.client.outlet import Outlet
from jobd.client.times import Wait, wait_seconds
from jobd.worker.collected import Jobs, Store, perform, prepared
from jobd.worker.expected import ANY

_modes: list[Mode] = []
_lock = threading.Lock()


class Mode:
    """Where pushes go, from its making until `end` or the end of its `with` block; then the mode before holds again."""

    def __init__(self, taker: Outlet | None) -> None:
        self._taker = taker
        with _lock:
            _modes.append(self)
            _apply()

    def end(self) -> None:
        """End it; it may be ended twice, and not only as the last one that was begun."""
        with _lock:
            if self in _modes:
                _modes.remove(self)
            _apply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class FakeJobs(Jobs, Mode):
    """The mode `fake`, and the jobs that were pushed in it."""

    def __init__(self) -> None:
        store = Store()
        Jobs.__init__(self, store)
        Mode.__init__(self, store)


class _Inline:
    def take(self, queue: str, payload: bytes, at: float | None) -> None:
        perform(*prepared(payload, queue))


def _apply() -> None:
    outlet.set_current(_modes[-1]._taker if _modes else None)


def fake() -> FakeJobs:
    """Collect pushes instead of sending them: `with jobd.testing.fake() as jobs:`, or until `end()`.

    A push goes through checks, client middleware and JSON as ever, and needs no Redis.
    """
    return FakeJobs()


def inline() -> Mode:
    """Run each job where it is pushed: `with jobd.testing.inline():`, or until `end()`.

    It goes through JSON and the middleware of both sides, at once even if it is scheduled; its error is raised by the
    push.
    """
    return Mode(_Inline())


def real() -> Mode:
    """Send pushes to Redis, as without any mode: `with jobd.testing.real():` inside of another, or until `end()`."""
    return Mode(None)


def assert_enqueued(
    job: object,
    *,
    args: Any = ANY,
    kwargs: Any = ANY,
    queue: Any = ANY,
    at: Any = ANY,
    count: int | None = None,
) -> None:
    """`Jobs.assert_enqueued` of the mode `fake` that holds. Raises JobdError in another mode."""
    _collected().assert_enqueued(job, args=args, kwargs=kwargs, queue=queue, at=at, count=count)


def assert_not_enqueued(job: object, *, args: Any = ANY, kwargs: Any = ANY, queue: Any = ANY, at: Any = ANY) -> None:
    """`Jobs.assert_not_enqueued` of the mode `fake` that holds. Raises JobdError in another mode."""
    _collected().assert_not_enqueued(job, args=args, kwargs=kwargs, queue=queue, at=at)


def _collected() -> Jobs:
    with _lock:
        mode = _modes[-1] if _modes else None
    if isinstance(mode, FakeJobs):
        return mode
    raise JobdError("only the mode fake collects jobs; put `with jobd.testing.fake():` around the code that pushes")


class Clock:
    """The time by which jobs are pushed and are due, ahead of this machine's by as much as a test wants."""

    def __init__(self, on_move: Callable[[], None] = lambda: None) -> None:
        """`on_move` is called after each move."""
        self._on_move = on_move

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(clock.now(), UTC)

    def advance(self, wait: Wait) -> None:
        """Move it on by seconds or a `timedelta`. Raises JobdError for a way back."""
        seconds = wait_seconds(wait, "advance")
        if seconds < 0:
            raise JobdError(f"advance({wait!r}): a clock only moves on; start the test with another one")
        clock.move(clock.ahead + seconds)
        self._on_move()


@contextmanager
def moving_clock(on_move: Callable[[], None] = lambda: None) -> Iterator[Clock]:
    """A clock to advance while the block lasts; after it time is as before."""
    before = clock.ahead
    try:
        yield Clock(on_move)
    finally:
        clock.move(before)


@contextmanager
def twice() -> Iterator[None]:
    """Run every job two times while the block lasts, one after the other, to show that a second run does no harm.

    At least once is what jobd promises: after a crash a job may run again. The second run gets the same arguments,
    whatever the first did to them; its result and its error are the job's.
    """
    before = settings.current().outermost
    settings.surround(_twice)
    try:
        yield
    finally:
        settings.surround(*before)


def _twice(job: RunningJob, proceed: Callable[[], Any]) -> Any:
    args, kwargs = copy.deepcopy(job.args), copy.deepcopy(job.kwargs)
    proceed()
    job.args[:] = args
    job.kwargs.clear()
    job.kwargs.update(kwargs)
    try:
        return proceed()
    except Exception as error:
        error.add_note(f"{job.name} ran a second time, because every job runs twice in this test")
        raise
