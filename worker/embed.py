"""Running a worker inside another program: a test, a notebook, a script. No fork, no signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobd.worker.config import WorkerConfig
from jobd.worker.process import WorkerProcess


@contextmanager
def run(config: WorkerConfig | None = None) -> Iterator[WorkerProcess]:
    """Run jobs in threads of this process while the block lasts.

    `with jobd.run(WorkerConfig(concurrency=2)) as worker:` starts on entry, and on exit stops within the
    configured `timeout`, giving unfinished jobs back. Jobs must be defined or imported beforehand. Raises ConfigError;
    waits for Redis when it is not there.
    """
    worker = WorkerProcess(config or WorkerConfig(), embedded=True)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
