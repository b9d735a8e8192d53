"""Waves in which many jobs are retried: which job is in which, when each begins, when the last does. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobd.client.errors import InvalidArguments
from jobd.client.times import Wait, wait_seconds

MOST_APART = 24 * 3600.0
"""Seconds between two waves."""
MOST_LONG = 30 * 24 * 3600.0
"""Seconds from the first wave to the last."""


@dataclass(frozen=True, slots=True)
class Waves:
    """`size` jobs each `every` seconds, the first wave at `start` (epoch seconds).

    `placed` jobs have their places already. Raises `InvalidArguments`.
    """

    size: int
    every: float
    start: float = 0.0
    placed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise InvalidArguments(f"size is {self.size!r}; give the number of jobs of a wave, from 1 up")
        if not 0 < self.every <= MOST_APART:
            raise InvalidArguments(f"every is {self.every!r}; give more than 0 seconds and at most {MOST_APART:,.0f}")
        if isinstance(self.placed, bool) or not isinstance(self.placed, int) or self.placed < 0:
            raise InvalidArguments(f"placed is {self.placed!r}; give the number of jobs placed before, from 0 up")

    @classmethod
    def of(cls, size: int, every: Wait, start: float, placed: int = 0) -> Waves:
        """With the distance as applications give it. Raises `InvalidArguments`."""
        return cls(size, wait_seconds(every, "every"), start, placed)

    def time(self, place: int) -> float:
        """When the wave of the job at this place begins, in epoch seconds; those placed before do not count."""
        return self.start + (self.placed + place) // self.size * self.every

    def after(self, jobs: int) -> Waves:
        """The same once so many more jobs have their places."""
        return replace(self, placed=self.placed + jobs)

    def count(self, jobs: int) -> int:
        """How many waves so many jobs make."""
        return -(-jobs // self.size)

    def lasts(self, jobs: int) -> float:
        """Seconds from the first wave of so many jobs to the last."""
        return max(self.count(jobs) - 1, 0) * self.every

    def check(self, jobs: int) -> None:
        """Raise `InvalidArguments` when the last of so many jobs would run too late."""
        if (lasts := self.lasts(jobs)) > MOST_LONG:
            raise InvalidArguments(
                f"{jobs:,} jobs in waves of {self.size:,} each {self.every:g} s take {lasts / 86_400:,.0f} days; "
                f"take larger waves, or have them follow each other sooner: {MOST_LONG / 86_400:g} days at most"
            )
