"""One run of a job: what the job may know about itself, and the call through the middleware.

Shared by `perform_inline` and the worker. What becomes of a result or an error is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jobd.client import defaults, payload
from jobd.client.errors import JobdError
from jobd.client.middleware import ServerStack
from jobd.client.registry import Handler


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs. `attempt` counts from 1; `enqueued_at` is epoch seconds, None when unknown."""

    jid: str
    name: str
    queue: str
    args: list[Any]
    kwargs: dict[str, Any]
    attempt: int
    tags: tuple[str, ...]
    enqueued_at: float | None
    payload: Mapping[str, Any]
    """All fields as they stand in Redis, read-only."""


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

    `queue` is the one that it was fetched from; without it the payload's own. Raises
    `MalformedPayload` when `args` or `kwargs` cannot be those of a call.
    """
    args, kwargs = payload.call_arguments(fields)
    tags = fields.get("tags")
    return RunningJob(
        jid=str(fields.get("jid") or ""),
        name=next(iter(payload.dispatch_names(fields)), ""),
        queue=queue or str(fields.get("queue") or defaults.QUEUE),
        args=args,
        kwargs=kwargs,
        attempt=attempt(fields),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        enqueued_at=payload.read_time(fields.get("enqueued_at")),
        payload=MappingProxyType(dict(fields)),
    )


def attempt(fields: Mapping[str, Any]) -> int:
    """Return which run of the job the next one is, from 1.

    `retry_count` is absent before the first failure, then 0; a retry by hand takes one off.
    """
    failures = fields.get("retry_count")
    if isinstance(failures, bool) or not isinstance(failures, int):
        return 1
    return max(1, failures + 2)


def run_job(handler: Handler, job: RunningJob, stack: ServerStack) -> Any:
    """Run `job` inside the server middleware `stack`; return its result or raise its error."""
    token = _current.set(job)
    try:
        return stack(job, lambda: handler.run(job.args, job.kwargs))
    finally:
        _current.reset(token)
