"""Pushed jobs that a test holds instead of Redis: look at them, run them as a worker would, assert about them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

from jobd.client import call, clock, draft, registry, settings
from jobd.client import payload as wire
from jobd.client.errors import JobdError
from jobd.client.times import Moment, epoch_seconds
from jobd.worker.expected import ANY, EnqueuedJob, Expected, listed
from jobd.worker.outcome import Dead, Discarded, RetryAt
from jobd.worker.retry import RetryPolicy, after_failure

DRAIN_LIMIT = 1_000


class Store:
    """The jobs themselves, in the order of their pushes: where these go in the mode `fake`. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[EnqueuedJob] = []
        self._dead: list[EnqueuedJob] = []

    def take(self, queue: str, payload: bytes, at: float | None) -> None:
        """Collect one job."""
        with self._lock:
            self._waiting.append(EnqueuedJob(queue, payload, at))

    def bury(self, job: EnqueuedJob) -> None:
        """Keep a job that has died."""
        with self._lock:
            self._dead.append(job)

    def waiting(self, belongs: Callable[[EnqueuedJob], bool]) -> list[EnqueuedJob]:
        """Those that belong, oldest first."""
        with self._lock:
            return [job for job in self._waiting if belongs(job)]

    def dead(self, belongs: Callable[[EnqueuedJob], bool]) -> list[EnqueuedJob]:
        """Those that belong and have died."""
        with self._lock:
            return [job for job in self._dead if belongs(job)]

    def clear(self, belongs: Callable[[EnqueuedJob], bool]) -> None:
        """Forget those that belong."""
        with self._lock:
            self._waiting = [job for job in self._waiting if not belongs(job)]
            self._dead = [job for job in self._dead if not belongs(job)]

    def take_first(self, is_due: Callable[[EnqueuedJob], bool]) -> EnqueuedJob | None:
        """Take out the due job of the earliest time, of several the oldest."""
        with self._lock:
            due = [job for job in self._waiting if is_due(job)]
            if not due:
                return None
            first = min(due, key=lambda job: job.at or 0.0)
            self._waiting.remove(first)
            return first

    def put_back(self, job: EnqueuedJob) -> None:
        """Take a job in again, as the oldest."""
        with self._lock:
            self._waiting.insert(0, job)


class Jobs:
    """Collected jobs: all of a test, those of one job (`of`), of one queue (`queue`), or of one job in one queue.

    It shows what is there when it is asked, oldest push first.
    """

    def __init__(self, store: Store, belongs: Callable[[EnqueuedJob], bool] = lambda job: True) -> None:
        self._store, self._belongs = store, belongs

    @property
    def all(self) -> list[EnqueuedJob]:
        """The jobs that wait, scheduled ones included."""
        return self._store.waiting(self._belongs)

    @property
    def dead(self) -> list[EnqueuedJob]:
        """The jobs that `drain(retry=True)` ran until no retry was left."""
        return self._store.dead(self._belongs)

    def of(self, job: object) -> Jobs:
        """Those of one job: the job itself or its name."""
        name, _ = draft.read_class({"class": job})
        return Jobs(self._store, lambda each: self._belongs(each) and name in wire.dispatch_names(each.payload))

    def queue(self, name: str) -> Jobs:
        """Those in one queue."""
        return Jobs(self._store, lambda each: self._belongs(each) and each.queue == name)

    def clear(self) -> None:
        """Forget them."""
        self._store.clear(self._belongs)

    def drain(
        self,
        *,
        scheduled: bool = False,
        until: Moment | None = None,
        retry: bool = False,
        limit: int = DRAIN_LIMIT,
    ) -> int:
        """Run them one after the other, those that are pushed meanwhile too; returns how many runs that were.

        Those whose time has not come wait, unless it is not after `until`, or `scheduled` is true. The error of a job
        is raised, and the job is gone; with `retry` it is retried at once as often as its options allow, and is then in
        `dead`. Raises JobdError after `limit` runs, and for a job that is not defined in this process.
        """
        horizon = math.inf if scheduled else clock.now() if until is None else epoch_seconds(until, "until")
        runs = 0
        while (job := self._next(horizon, retry=retry)) is not None:
            if runs == limit:
                self._store.put_back(job)
                raise JobdError(
                    f"drain ran {limit:,} jobs and {len(self)} wait, the next is {job}; "
                    "does a job push itself again? if not, raise limit="
                )
            runs += 1
            self._run(job, retry=retry)
        return runs

    def perform_one(self, *, scheduled: bool = False) -> Any:
        """Run the first, with `scheduled` even if its time has not come; returns what the job returns.

        The error of the job is raised, and the job is gone. Raises JobdError when there is none to run.
        """
        job = self._next(math.inf if scheduled else clock.now(), retry=False)
        if job is None:
            raise JobdError(f"no job is due; {listed(self.all)}")
        return self._run(job, retry=False)

    def assert_enqueued(
        self,
        job: object,
        *,
        args: Any = ANY,
        kwargs: Any = ANY,
        queue: Any = ANY,
        at: Any = ANY,
        count: int | None = None,
    ) -> None:
        """Raise AssertionError unless such a job waits: at least one, or exactly `count`.

        - `job`: the job, or its name.
        - `args` with `kwargs`: the whole call. `args` alone: the positional arguments as they travel. `kwargs` alone:
          each of these, whether it travels by position or by name.
        - `queue`: its queue. `at`: its time within a second, epoch seconds or an aware `datetime`; None: no time.
        """
        expected = Expected.of(job, args=args, kwargs=kwargs, queue=queue, at=at)
        waiting = self.all
        found = sum(map(expected.fits, waiting))
        if count is None and not found:
            raise AssertionError(f"{expected} is not enqueued; {listed(waiting)}")
        if count is not None and found != count:
            raise AssertionError(f"{expected} is enqueued {found} times, not {count}; {listed(waiting)}")

    def assert_not_enqueued(
        self, job: object, *, args: Any = ANY, kwargs: Any = ANY, queue: Any = ANY, at: Any = ANY
    ) -> None:
        """Raise AssertionError when such a job waits; what it takes is that of `assert_enqueued`."""
        expected = Expected.of(job, args=args, kwargs=kwargs, queue=queue, at=at)
        waiting = self.all
        if any(map(expected.fits, waiting)):
            raise AssertionError(f"{expected} is enqueued; {listed(waiting)}")

    def __len__(self) -> int:
        return len(self.all)

    def __bool__(self) -> bool:
        return bool(self.all)

    def __iter__(self) -> Iterator[EnqueuedJob]:
        return iter(self.all)

    def __getitem__(self, place: int) -> EnqueuedJob:
        return self.all[place]

    def __repr__(self) -> str:
        return f"<Jobs: {listed(self.all)}>"

    def _next(self, horizon: float, *, retry: bool) -> EnqueuedJob | None:
        def is_due(job: EnqueuedJob) -> bool:
            soon = job.at is None or job.at <= horizon or (retry and "retry_count" in job.payload)
            return soon and self._belongs(job)

        return self._store.take_first(is_due)

    def _run(self, job: EnqueuedJob, *, retry: bool) -> Any:
        try:
            return perform(job.raw, job.queue)
        except UndefinedJob:
            self._store.put_back(job)
            raise
        except Exception as error:
            if not retry:
                raise
            self._settle(job, error)
            return None

    def _settle(self, job: EnqueuedJob, error: Exception) -> None:
        outcome = after_failure(job.payload, error, queue=job.queue, now=clock.now(), jitter=0.0, policy=RetryPolicy())
        match outcome:
            case RetryAt(at, payload):
                self._store.take(str(payload["queue"]), wire.encode(payload), at)
            case Dead(payload):
                self._store.bury(EnqueuedJob(job.queue, wire.encode(payload), None))
            case Discarded():
                pass


class UndefinedJob(JobdError):
    """A job is to be run that is not defined in this process."""


def perform(raw: bytes, queue: str) -> Any:
    """Run a job from its bytes as a worker would: through JSON and the server middleware.

    Where an event loop runs, it is run in a thread of its own, since a job may start a loop. Raises UndefinedJob.
    """
    fields = wire.decode(raw)
    handler = next(filter(None, map(registry.lookup, wire.dispatch_names(fields))), None)
    if handler is None:
        raise UndefinedJob(f"no job {fields.get('class')!r} is defined in this process; import its module in the test")
    known = handler
    wire.stamp(fields, clock.now())
    job = call.running_job(wire.decode(wire.encode(fields)), queue=queue)
    return _outside_of_loops(lambda: call.run_job(known, job, settings.current().server_stack))


def _outside_of_loops(run: Callable[[], Any]) -> Any:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(copy_context().run, run).result()
