"""What one job costs the thread that runs it, from being taken to being noted as finished, without Redis.

Prints nanoseconds of CPU time a job as JSON: of the whole way with the log of jobs off and on, and of its parts.
Run from the root of the repository: `python -m bench.processor --jobs 20000 --rounds 7`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobd
from jobd.client import call, middleware, payload, registry
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.page import Note, Page
from jobd.worker.processor import Processor
from jobd.worker.retry import RetryPolicy

RAW = (
    b'{"retry":true,"queue":"default","args":[1,"two",null],"class":"bench.nothing",'
    b'"jid":"0ed6022fbd4af2e586ac10c8","created_at":1795305669.9258788,"enqueued_at":1795305669.9260654}'
)
BATCH = 200
"""Jobs between two flushes of the log and two acknowledgements."""


@jobd.job(name="bench.nothing")
def nothing(*args: Any) -> None:
    """The job itself."""


class Fetched:
    """As the ledger's."""

    __slots__ = ("call", "held", "move", "note", "payload", "queue", "suspects")

    def __init__(self, call: int) -> None:
        self.call = call
        self.payload, self.queue, self.suspects, self.held = RAW, "default", False, True
        self.move: Any = None
        self.note: Any = None


class Source:
    """A fetcher and a ledger in one that have all jobs at once and keep none."""

    def __init__(self, jobs: int, page: Page) -> None:
        self._ready = deque(Fetched(i // BATCH) for i in range(jobs))
        self._page, self._finished = page, deque[Any]()
        self._seconds = 0.0

    def next(self, thread: int, ran: float | None) -> Fetched | None:
        """The next job; every `BATCH` jobs what a fetch does for all of them."""
        self._seconds += ran or 0.0
        if len(self._finished) >= BATCH:
            self._page.count_all([job.note for job in self._finished])
            self._finished.clear()
            log.flush()
        return self._ready.popleft() if self._ready else None

    def finish(self, job: Fetched, move: Any, note: Any = None) -> bool:
        """As the ledger's."""
        job.move, job.note, job.held = move, note, False
        self._finished.append(job)
        return True


def whole_way(jobs: int) -> float:
    """Nanoseconds a job of a thread that runs so many."""
    page = Page(1)
    source: Any = Source(jobs, page)
    processor = Processor(
        source,
        source,
        ServerClock(),
        RetryPolicy(),
        source,
        source,
        source,
        page=page,
        number=0,
        unknown=log.Sparingly(1.0),
        name="bench",
    )
    before = time.thread_time_ns()
    processor._run()
    spent = time.thread_time_ns() - before
    page.close()
    return spent / jobs


def parts() -> dict[str, Callable[[], object]]:
    """What the way consists of, each for one job."""
    page, entry, handler = Page(1), payload.plain_entry(RAW), registry.lookup("bench.nothing")
    assert entry
    assert handler
    job, stack = call.RunningJob("default", entry, RAW), middleware.server_stack([])
    notes: list[Note] = [("default", "bench.nothing", "ok", 2e-6, 1.5)] * BATCH
    return {
        "plain_entry": lambda: payload.plain_entry(RAW),
        "RunningJob": lambda: call.RunningJob("default", entry, RAW),
        "set_current": lambda: call.set_current(job),
        "call_target": lambda: call.call_target(handler, job, stack),
        "page.begin": lambda: page.seat(0).begin(entry.jid, 1.0),
        "page.end": lambda: page.seat(0).end(),
        "page.count_all": lambda: page.count_all(notes),
    }


def cost_of(part: Callable[[], object], jobs: int) -> float:
    """Nanoseconds a job, with what calling it from a loop costs."""
    before = time.thread_time_ns()
    for _ in range(jobs):
        part()
    return (time.thread_time_ns() - before) / jobs


def measured(jobs: int, rounds: int, directory: Path) -> dict[str, list[float]]:
    """All figures, in turn in each round."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        log.install("plain", "warning", directory / "off.log")
        found.setdefault("whole way", []).append(whole_way(jobs))
        log.install("plain", "info", directory / "on.log")
        found.setdefault("whole way with log lines", []).append(whole_way(jobs))
        for name, part in parts().items():
            share = BATCH if name == "page.count_all" else 1
            found.setdefault(name, []).append(cost_of(part, jobs // share) / share)
    return found


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measured(options.jobs, options.rounds, Path(directory))
    figures = {k: [round(f(v)) for f in (min, statistics.median, max)] for k, v in found.items()}
    result = {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "jobs": options.jobs,
        "nanoseconds a job: min, median, max": figures,
    }
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
