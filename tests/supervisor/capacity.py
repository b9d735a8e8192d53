"""What replacing processes costs: how many of them take jobs at each moment, and what becomes of the jobs."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from jobd.client.push import Client
from tests.supervisor.jobd_command import Jobd, doubled
from tests.waiting import wait_until

SAMPLE_EVERY = 0.01
PUSH_EVERY = 0.05


def moment(event: Mapping[str, Any]) -> float:
    """When an event was logged, in seconds of the day."""
    hours, minutes, seconds = event["ts"].partition("T")[2].removesuffix("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class _Background:
    """Does `step` again and again in a thread of its own, and passes on what goes wrong there."""

    every: float

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: Exception | None = None

    def step(self) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._ending.wait(max(0.0, due - time.monotonic())):
                self.step()
                due = max(due + self.every, time.monotonic() - self.every)
        except Exception as error:
            self._error = error

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """End the thread; raises what ended it before. May come twice."""
        self._ending.set()
        self._thread.join()
        if self._error:
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.end()


class Samples(_Background):
    """Asks a master a hundred times a second about its processes."""

    every = SAMPLE_EVERY

    def __init__(self, jobd: Jobd) -> None:
        super().__init__()
        self._jobd = jobd
        self.accepting: list[int] = []
        """How many processes took jobs, sample by sample."""
        self.living: list[int] = []
        """How many there were at all."""

    def __enter__(self) -> Samples:
        self.start()
        return self

    def step(self) -> None:
        children = self._jobd.status()["children"]
        self.accepting.append(sum(child["state"] == "ready" for child in children))
        self.living.append(len(children))

    @property
    def figures(self) -> dict[str, float]:
        """How the samples are spread."""
        return {
            "samples": len(self.accepting),
            "accepting_min": min(self.accepting),
            "accepting_median": statistics.median(self.accepting),
            "living_max": max(self.living),
        }


class Load(_Background):
    """Pushes jobs named `brief` all the time."""

    every = PUSH_EVERY

    def __init__(self, jobd: Jobd, per_second: int = 100) -> None:
        super().__init__()
        self._jobd, self._batch = jobd, max(1, round(per_second * PUSH_EVERY))
        self._client = Client(jobd.redis_url)
        self.pushed = 0

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._client.close()

    def step(self) -> None:
        numbers = range(self.pushed, self.pushed + self._batch)
        self._client.push_bulk({"class": "brief", "args": [[number] for number in numbers]})
        self.pushed += self._batch

    def finish(self) -> None:
        """Push no more; each job must have been run, and only once."""
        assert self.count_lost_and_doubled() == (0, 0)

    def count_lost_and_doubled(self) -> tuple[int, int]:
        """Push no more and wait for the queue to be empty; how many jobs never ran, and how many more than once."""
        self.end()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(set(self._jobd.lines("brief"))) >= self.pushed, "the end of every job", 20)
        numbers = self._jobd.lines("brief")
        return self.pushed - len(set(numbers)), len(doubled(numbers))
