"""Adds up what worker processes have counted: those that live, and those that ended.

No sum ever decreases: what an ended process had counted stays, and a label set keeps the place in which it was first
counted. How the numbers are shown is left to `families.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from jobd.worker.page import BUCKETS, LABEL_SETS, OTHER, RESULTS, Histogram, JobCounts

ALL = "all"
_MAX_SECONDS = 1e15
"""Payloads may hold any time: a sum that is infinite or no number must not end all scrapes."""

LabelSet = tuple[str, str]


class Counts(Protocol):
    """What is read of a worker process' page."""

    def jobs(self) -> Mapping[LabelSet, JobCounts]: ...
    def waits(self) -> Mapping[str, Histogram]: ...


class Tally:
    """A histogram that can grow; the last of `counts` is what lies above all of BUCKETS."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        # Whole numbers: a sum of floats depends on their order, and would fall a little when a process ends.
        self._nanoseconds = 0

    @property
    def seconds(self) -> float:
        """The sum of all values."""
        return self._nanoseconds / 1e9

    def add(self, other: Histogram) -> None:
        """Add what a process has counted."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        self._nanoseconds += round(min(_MAX_SECONDS, other.seconds) * 1e9)

    def copy(self) -> Tally:
        """The same numbers, to be added to."""
        tally = Tally()
        tally.counts, tally._nanoseconds = self.counts, self._nanoseconds
        return tally


@dataclass(slots=True)
class Sums:
    """Totals by label set."""

    results: dict[LabelSet, dict[str, int]] = field(default_factory=dict)
    durations: dict[LabelSet, Tally] = field(default_factory=dict)
    waits: dict[str, Tally] = field(default_factory=dict)

    def add_results(self, labels: LabelSet, results: Mapping[str, int]) -> None:
        """Add how often jobs of these labels ended in which way."""
        mine = self.results.setdefault(labels, dict.fromkeys(RESULTS, 0))
        for result in RESULTS:
            mine[result] += results.get(result, 0)

    def copy(self) -> Sums:
        """The same numbers, to be added to."""
        other = Sums()
        for labels, results in self.results.items():
            other.add_results(labels, results)
        other.durations = {labels: tally.copy() for labels, tally in self.durations.items()}
        other.waits = {queue: tally.copy() for queue, tally in self.waits.items()}
        return other


class Labels:
    """Gives up to LABEL_SETS pairs of queue and job, and as many queues, their places; later ones count as `other`."""

    def __init__(self) -> None:
        self._queues: set[str] = set()
        self._pairs: dict[LabelSet, LabelSet] = {}

    def queue(self, name: str) -> str:
        """The label for a queue."""
        if name not in self._queues and len(self._queues) < LABEL_SETS:
            self._queues.add(name)
        return name if name in self._queues else OTHER

    def pair(self, queue: str, job: str) -> LabelSet:
        """The labels for the jobs of this name from this queue."""
        pair = (queue, job)
        if pair not in self._pairs and job != OTHER and len(self._pairs) < LABEL_SETS:
            self._pairs[pair] = (self.queue(queue), job)
        return self._pairs.get(pair) or (self.queue(queue), OTHER)


class Totals:
    """The sums over all worker processes. Without `per_job` durations are kept by queue, under the job `all`."""

    def __init__(self, *, queues: Iterable[str] = (), per_job: bool = True) -> None:
        """Waiting times of `queues` are there from the start, at 0."""
        self._labels, self._per_job = Labels(), per_job
        self._ended = Sums(waits={self._labels.queue(name): Tally() for name in queues})

    def fold(self, page: Counts) -> None:
        """Keep what a process has counted that ended."""
        self._add(self._ended, page)

    def sums(self, living: Iterable[Counts]) -> Sums:
        """The totals of all that ended and of these."""
        sums = self._ended.copy()
        for page in living:
            self._add(sums, page)
        return sums

    def _add(self, sums: Sums, page: Counts) -> None:
        for (queue, job), counts in page.jobs().items():
            labels = self._labels.pair(queue, job)
            sums.add_results(labels, counts.results)
            timed = labels if self._per_job else (labels[0], ALL)
            sums.durations.setdefault(timed, Tally()).add(counts.durations)
        for queue, waits in page.waits().items():
            sums.waits.setdefault(self._labels.queue(queue), Tally()).add(waits)
