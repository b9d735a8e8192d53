"""One run of a job: what the job may know about itself, and the call through the middleware.

Shared by `perform_inline` and the worker. What becomes of a result or an error is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import msgspec

from jobd.client import defaults, payload
from jobd.client.errors import JobdError
from jobd.client.middleware import NO_MIDDLEWARE, ServerStack
from jobd.client.payload import Entry
from jobd.client.registry import Handler


class RunningJob(msgspec.Struct, frozen=True, eq=False):
    """A job that runs.

    One is made for each job: what few jobs ask for is worked out when it is asked for.
    """

    queue: str
    """The queue that it was fetched from."""
    _entry: Entry
    _source: Mapping[str, Any] | bytes

    @property
    def jid(self) -> str:
        """Its id."""
        return self._entry.jid

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self._entry.name

    @property
    def args(self) -> list[Any]:
        """The positional arguments."""
        return self._entry.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return self._entry.kwargs

    @property
    def attempt(self) -> int:
        """Which run of the job this is, from 1.

        `retry_count` is absent before the first failure, then 0; a retry by hand takes one off.
        """
        failures = self._entry.retry_count
        return 1 if failures is None else max(1, failures + 2)

    @property
    def tags(self) -> tuple[str, ...]:
        """Its option `tags`."""
        return tuple(str(tag) for tag in self._entry.tags or ())

    @property
    def enqueued_at(self) -> float | None:
        """When it entered its queue, in epoch seconds; None when unknown."""
        return payload.read_time(self._entry.enqueued_at)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled it, for threads that it has started and code that catches `JobCancelled`."""
        return self.jid in cancelled_jids

    @property
    def payload(self) -> Mapping[str, Any]:
        """All fields as they stand in Redis, read-only."""
        source = self._source
        return MappingProxyType(payload.decode(source) if isinstance(source, bytes) else dict(source))

    @property
    def raw(self) -> bytes:
        """Its payload as JSON."""
        source = self._source
        return source if isinstance(source, bytes) else payload.encode(source)

    def __repr__(self) -> str:
        return f"RunningJob(jid={self.jid!r}, name={self.name!r}, queue={self.queue!r}, args={self.args!r})"


cancelled_jids = dict[str, None]()
"""Ids of jobs of this process whose last run was cancelled, the latest 1,000; the worker keeps it."""
_current: ContextVar[RunningJob] = ContextVar("jobd.current_job")


def current_job() -> RunningJob:
    """Return the job that runs here. Raises `JobdError` outside a job."""
    try:
        return _current.get()
    except LookupError:
        raise JobdError(
            "current_job() was called outside a job; a thread that a job starts does not inherit it: "
            "take it in the job and pass it on"
        ) from None


def running_job(fields: Mapping[str, Any], *, queue: str | None = None) -> RunningJob:
    """Return the decoded payload `fields` as a job about to run.

    `queue` is the one that it was fetched from; without it the payload's own. Raises `MalformedPayload`
    when `args` or `kwargs` cannot be those of a call, `UndecodableArgument` when one that Rails encoded cannot be read.
    """
    entry = payload.entry_of(fields)
    if payload.is_active_job(fields):
        from jobd.client.active_job import unwrapped

        entry = unwrapped(entry)
    return RunningJob(queue or str(fields.get("queue") or defaults.QUEUE), entry, fields)


def with_payload(job: RunningJob, fields: Mapping[str, Any]) -> RunningJob:
    """Return `job` with other fields as its `payload`: those with which it leaves a run."""
    return RunningJob(job.queue, job._entry, fields)


def run_job(handler: Handler, job: RunningJob, stack: ServerStack) -> Any:
    """Run `job` inside the server middleware `stack`; return its result or raise its error."""
    token = _current.set(job)
    try:
        return call_target(handler, job, stack)
    finally:
        _current.reset(token)


set_current = _current.set
"""Have a job be the current one. For threads that run nothing but jobs, where it stays that until the next one."""


def call_target(handler: Handler, job: RunningJob, stack: ServerStack) -> Any:
    """`run_job` for a job that is the current one already."""
    if stack is NO_MIDDLEWARE:
        # Most processes have none, and then the run is this one call.
        entry = job._entry
        return handler.target(*entry.args, **entry.kwargs) if entry.kwargs else handler.target(*entry.args)
    return stack(job, lambda: handler.run(job.args, job.kwargs))
