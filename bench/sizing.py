"""How many jobs make a sample that lasts about as long as it should."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.results import Figures

FIRST_GUESS = 1_000
MOST_JOBS = 2_000_000
MOST_STEP = 50
"""How many times as many jobs follow at most, as the rate of a few is hardly known."""


def round_number(value: float) -> int:
    """That of 1, 2, 5, 10, 20, 50, … which is nearest by ratio, so that systems share copies of jobs."""
    power: int = 10 ** math.floor(math.log10(max(value, 1)))
    return min((power * step for step in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / max(value, 1))))


@dataclass
class Sized:
    """Takes samples with as many jobs as last for `seconds`. The first sample finds out how many those are."""

    take: Callable[[int], Figures]
    seconds: float
    most: int = MOST_JOBS
    jobs: int = 0

    def __call__(self) -> Figures:
        """One sample."""
        return self.take(self.jobs) if self.jobs else self._first()

    def _first(self) -> Figures:
        jobs = min(FIRST_GUESS, self.most)
        while True:
            figures = self.take(jobs)
            wanted = min(round_number(figures["jobs/s"] * self.seconds), self.most)
            if wanted <= jobs:
                self.jobs = jobs
                return figures
            jobs = min(wanted, jobs * MOST_STEP)
