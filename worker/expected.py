"""What a test expects of a collected job, and how jobs are shown in its messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from jobd.client import arguments, draft, registry
from jobd.client import payload as wire
from jobd.client.registry import Handler
from jobd.client.times import epoch_seconds


class _Any:
    """Type of the mark for what a test does not ask for, where None means something."""


ANY: Final = _Any()
_TOLERANCE = 1.0
"""Seconds by which a time may differ: a delay is counted from the moment of the push."""


@dataclass(frozen=True, eq=False)
class EnqueuedJob:
    """A job that was pushed and has not run: its queue, its payload as bytes, and its time in epoch seconds or None."""

    queue: str
    raw: bytes
    at: float | None
    is_retry: bool = False

    @property
    def payload(self) -> dict[str, Any]:
        """All fields."""
        return wire.decode(self.raw)

    @property
    def jid(self) -> str:
        """Its id."""
        return str(self.payload["jid"])

    @property
    def name(self) -> str:
        """The name of its job."""
        return next(iter(wire.dispatch_names(self.payload)), "")

    @property
    def args(self) -> list[Any]:
        """The positional arguments."""
        return wire.call_arguments(self.payload)[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        return wire.call_arguments(self.payload)[1]

    def __str__(self) -> str:
        return f"{_call(self.name, self.args, self.kwargs)}{_where(self.queue, self.at)}"

    __repr__ = __str__


@dataclass(frozen=True)
class Expected:
    """A job that a test asks for; a part that is ANY may be anything."""

    name: str
    handler: Handler | None
    args: Sequence[Any] | _Any
    kwargs: Mapping[str, Any] | _Any
    queue: str | _Any
    at: float | _Any | None

    @classmethod
    def of(cls, job: object, *, args: Any, kwargs: Any, queue: Any, at: Any) -> Expected:
        """Read what was given to `assert_enqueued`. Raises JobdError's subclasses for what no push can be."""
        name, handler = draft.read_class({"class": job})
        handler = handler or registry.lookup(name)
        positional = [] if isinstance(args, _Any) else list(args)
        named = {} if isinstance(kwargs, _Any) else dict(kwargs)
        arguments.check(name, positional, named)
        if handler is not None and not isinstance(args, _Any) and not isinstance(kwargs, _Any):
            positional, named = arguments.bind(name, handler.signature, positional, named)
        moment = at if at is None or isinstance(at, _Any) else epoch_seconds(at, "at")
        return cls(
            name,
            handler,
            args if isinstance(args, _Any) else _travelled(positional),
            kwargs if isinstance(kwargs, _Any) else _travelled(named),
            queue,
            moment,
        )

    def fits(self, job: EnqueuedJob) -> bool:
        """Whether `job` is such a job."""
        return (
            self.name in wire.dispatch_names(job.payload)
            and (isinstance(self.queue, _Any) or self.queue == job.queue)
            and self._is_time(job.at)
            and (isinstance(self.args, _Any) or self.args == job.args)
            and self._are_kwargs(job)
        )

    def _is_time(self, at: float | None) -> bool:
        if isinstance(self.at, _Any):
            return True
        if self.at is None or at is None:
            return self.at == at
        return abs(self.at - at) <= _TOLERANCE

    def _are_kwargs(self, job: EnqueuedJob) -> bool:
        if isinstance(self.kwargs, _Any):
            return True
        if not isinstance(self.args, _Any):
            return self.kwargs == job.kwargs
        given = _by_name(self.handler, job)
        return all(name in given and given[name] == value for name, value in self.kwargs.items())

    def __str__(self) -> str:
        args = ["…"] if isinstance(self.args, _Any) else self.args
        kwargs = {} if isinstance(self.kwargs, _Any) else self.kwargs
        text = _call(self.name, args, kwargs).replace("'…'", "…")
        if not isinstance(self.queue, _Any):
            text += f" on {self.queue}"
        if isinstance(self.at, _Any):
            return text
        return f"{text} {'without a time' if self.at is None else _time(self.at)}"


def listed(jobs: Sequence[EnqueuedJob], most: int = 20) -> str:
    """What is enqueued, a line for each job."""
    if not jobs:
        return "nothing is enqueued"
    lines = [f"  {job}" for job in jobs[:most]]
    if len(jobs) > most:
        lines.append(f"  … and {len(jobs) - most} more")
    return "\n".join(["enqueued are:", *lines])


def _travelled(value: Any) -> Any:
    """As it comes out of JSON: a tuple as a list."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _by_name(handler: Handler | None, job: EnqueuedJob) -> dict[str, Any]:
    """The arguments of a job by the names of its parameters, as far as these are known."""
    if handler is None:
        return job.kwargs
    try:
        bound = handler.signature.bind(*job.args, **job.kwargs).arguments
    except TypeError:  # middleware may have changed them
        return job.kwargs
    return {**bound, **job.kwargs}


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def _where(queue: str, at: float | None) -> str:
    return f" on {queue}" + ("" if at is None else f" {_time(at)}")


def _time(at: float) -> str:
    return f"at {datetime.fromtimestamp(at, UTC).isoformat(timespec='seconds')}"
