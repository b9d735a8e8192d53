"""A worker in a test: runs jobs out of Redis in threads of the test's process, until nothing is left to do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jobd.client import clock, defaults, registry, settings
from jobd.client.connection import Connector
from jobd.client.errors import JobdError
from jobd.client.keys import Keys
from jobd.worker.config import WorkerConfig
from jobd.worker.embed import run
from jobd.worker.process import WorkerProcess

_GLANCE = 0.005
_IN_PROGRESS = re.compile(rb"batch|\d+\.\d+")
"""Fields of an owner's record that stand for jobs."""


@dataclass(frozen=True)
class _Work:
    """What is left to do: jobs by queue, and how many are in progress, or due in a set."""

    queues: dict[str, int]
    running: int
    due: int

    def left(self, served: Sequence[str]) -> int:
        """How many of them a worker of these queues will see to."""
        return sum(self.queues.get(name, 0) for name in served) + self.running + self.due


class Trial:
    """A running worker, as `jobd.testing.worker` gives it."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self._names = [name for capsule in process.config.all_capsules for name in capsule.names]
        self._keys = Keys(process.config.namespace or settings.current().namespace)
        self._url = process.config.redis_url

    def drain(self, timeout: float = 10.0) -> None:
        """Wait until no job waits in the queues of this worker, none is due and none runs.

        What is scheduled for later, and retries that are not due, stay. Raises JobdError after `timeout` seconds, and
        when jobs are left in queues that this worker does not serve.
        """
        connector, deadline = Connector(settings.redis_url(self._url)), time.monotonic() + timeout
        try:
            while (work := self._look(connector.client())) is None or work.left(self._names):
                if time.monotonic() > deadline:
                    raise JobdError(f"not done within {timeout:g} s: {work}")
                time.sleep(_GLANCE)
        finally:
            connector.close()
        if elsewhere := sorted(name for name, size in work.queues.items() if size and name not in self._names):
            raise JobdError(
                f"jobs wait in {', '.join(elsewhere)}, which this worker does not serve; it serves "
                f"{', '.join(self._names)}: add queues=[…]"
            )

    def look_again(self) -> None:
        """Have it see at once that a clock was moved."""
        self.process.look_again()

    def _look(self, client: Any) -> _Work | None:
        """One moment's picture; None when it cannot be had, since queues or owners have come meanwhile."""
        queues, owners = client.smembers(self._keys.queues), client.zrange(self._keys.owners, 0, -1)
        with client.pipeline(transaction=True) as pipe:
            pipe.smembers(self._keys.queues)
            pipe.zrange(self._keys.owners, 0, -1)
            for source in (self._keys.schedule, self._keys.retry):
                pipe.zcount(source, "-inf", repr(clock.now()))
            for name in queues:
                pipe.llen(self._keys.queue(name.decode()))
            for owner in owners:
                pipe.hkeys(self._keys.jobs(owner.decode()))
            now_queues, now_owners, scheduled, retries, *rest = pipe.execute()
        if (now_queues, now_owners) != (queues, owners):
            return None
        sizes = {name.decode(): size for name, size in zip(queues, rest, strict=False)}
        records = rest[len(sizes) :]
        running = sum(bool(_IN_PROGRESS.fullmatch(field)) for fields in records for field in fields)
        return _Work(sizes, running, scheduled + retries)


@contextmanager
def worker(*, queues: Sequence[str] | None = None, **given: Any) -> Iterator[Trial]:
    """Run a real worker on the configured Redis while the block lasts; `drain()` of what it yields waits for the jobs.

    - `queues`: default all in which the jobs of this process are put by their definition.
    - anything else is a setting of `WorkerConfig`; default `concurrency` is 2, `timeout` 5 seconds.

    Raises ConfigError.
    """
    names = _known_queues() if queues is None else queues
    weighted = {"queues": tuple((name, 1) for name in names)} if "capsules" not in given else {}
    config = WorkerConfig(
        **{
            "redis_url": settings.redis_url(),
            "namespace": settings.current().namespace,
            "timestamps": settings.current().timestamps,
            "concurrency": 2,
            "timeout": 5.0,
            **weighted,
            **given,
        }
    )
    with run(config) as process:
        yield Trial(process)


def _known_queues() -> list[str]:
    under = {"queue": defaults.QUEUE, **settings.current().default_options}
    found = {str(under["queue"])}
    for name in registry.names():
        if handler := registry.lookup(name):
            options = {**under, **handler.options}
            found |= {str(options[key]) for key in ("queue", "retry_queue") if options.get(key)}
    return sorted(found)
