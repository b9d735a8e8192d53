"""Pushed jobs that a test holds instead of Redis: look at them, run them as a worker would, assert about them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from typing import Any

from jobd.client import call, clock, draft, registry, settings
from jobd.client import payload as wire
from jobd.client.call import RunningJob
from jobd.client.errors import JobdError
from jobd.client.policies import RetryLater
from jobd.client.registry import Handler
from jobd.client.times import Moment, epoch_seconds
from jobd.worker import on_error
from jobd.worker.expected import ANY, EnqueuedJob, Expected, listed
from jobd.worker.outcome import DONE, Dead, Outcome, Postponed, RetryAt
from jobd.worker.retry import RetryPolicy, after_failure, expired_since, postponed

DRAIN_LIMIT = 1_000


class Store:
    """The jobs themselves, in the order of their pushes: where these go in the mode `fake`. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[EnqueuedJob] = []
        self._dead: list[EnqueuedJob] = []

    def take(self, queue: str, payload: bytes, at: float | None) -> None:
        """Collect a job that is pushed."""
        self.add(EnqueuedJob(queue, payload, at))

    def add(self, job: EnqueuedJob) -> None:
        """Have a job wait, as the youngest."""
        with self._lock:
            self._waiting.append(job)

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
        is raised, and the job is gone. With `retry` its options and policies say what becomes of it: a retry runs at
        once, and who has none left is in `dead`. One that asks to run later waits for that time. Raises JobdError after
        `limit` runs, and for a job that is not defined in this process.
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
            soon = job.at is None or job.at <= horizon or (retry and job.is_retry)
            return soon and self._belongs(job)

        while (job := self._store.take_first(is_due)) is not None:
            if expired_since(job.payload, clock.now()) is None:
                return job
        return None

    def _run(self, job: EnqueuedJob, *, retry: bool) -> Any:
        try:
            handler, running = prepared(job.raw, job.queue)
        except UndefinedJob:
            self._store.put_back(job)
            raise
        try:
            return perform(handler, running)
        except Exception as error:
            if not retry:
                raise
            self._settle(job, judged(handler, running, job.payload, error))
            return None

    def _settle(self, job: EnqueuedJob, outcome: Outcome) -> None:
        match outcome:
            case RetryAt(at, payload) | Postponed(at, payload):
                is_retry = isinstance(outcome, RetryAt)
                self._store.add(EnqueuedJob(str(payload["queue"]), wire.encode(payload), at, is_retry))
            case Dead(payload):
                self._store.bury(EnqueuedJob(job.queue, wire.encode(payload), None))


def judged(handler: Handler, job: RunningJob, fields: Mapping[str, Any], error: BaseException) -> Outcome:
    """What a worker makes of the error of `job`, by its policies and options; its `fields` are as they were pushed."""
    ruling = on_error.rescue(handler.policies, job, error)
    if ruling is None:
        return DONE
    error, rule = ruling
    now, policy = clock.now(), RetryPolicy()
    if isinstance(error, RetryLater):
        return postponed(fields, error, queue=job.queue, now=now, policy=policy)
    advice = on_error.Asked(handler.policies, job, error, rule)
    outcome = after_failure(fields, error, queue=job.queue, now=now, jitter=0.0, policy=policy, advice=advice)
    on_error.failed(job, outcome, error)
    return outcome


class UndefinedJob(JobdError):
    """A job is to be run that is not defined in this process."""


def prepared(raw: bytes, queue: str) -> tuple[Handler, RunningJob]:
    """The job of these bytes, out of JSON as a worker gets it, and its handler. Raises UndefinedJob."""
    fields = wire.decode(raw)
    handler = next(filter(None, map(registry.lookup, wire.dispatch_names(fields))), None)
    if handler is None:
        raise UndefinedJob(f"no job {fields.get('class')!r} is defined in this process; import its module in the test")
    wire.stamp(fields, clock.now())
    return handler, call.running_job(wire.decode(wire.encode(fields)), queue=queue)


def perform(handler: Handler, job: RunningJob) -> Any:
    """Run `job` inside the server middleware; return its result or raise its error.

    Where an event loop runs it gets a thread of its own, since a job may start a loop.
    """
    return _outside_of_loops(lambda: call.run_job(handler, job, settings.current().server_stack))


def _outside_of_loops(run: Callable[[], Any]) -> Any:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(copy_context().run, run).result()
