"""What changed with a deploy: classes whose failure rate or p95 differs after it from before it. Pure.

Both are compared as shares: that of the runs which failed, and that of the runs which took longer than the lower of the
two p95. A share counts as another one when chance would hardly make it so, and only if the difference matters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jobd.client.metric_keys import range_of
from jobd.client.metrics import estimate

FEWEST = 50
"""Runs of a class on each side without which nothing is said of it."""
STANDARD_ERRORS = 4.0
"""By so many two shares differ at least: by chance one of 16,000 comparisons."""
RATE_POINTS, RATE_TIMES = 0.01, 2.0
"""A failure rate matters that changed by a percentage point, or to the double or the half."""
P95_TIMES = 1.25
"""A p95 matters that changed by a quarter of itself."""
_PERCENT = 95


@dataclass(frozen=True, slots=True)
class Move:
    """A class of which `what`, its failure rate (a share) or its p95 (milliseconds), is another one since."""

    name: str
    what: Literal["rate", "p95"]
    before: float
    after: float
    errors: float

    @property
    def worse(self) -> bool:
        """Whether more fail, or they take longer."""
        return self.after > self.before


def compared(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> list[str]:
    """The classes with enough runs on both sides. Counts of a class are its runs, failures and milliseconds."""
    return [name for name, counts in after.items() if min(counts[0], before.get(name, (0,))[0]) >= FEWEST]


def moves(
    before: Mapping[str, Sequence[int]],
    after: Mapping[str, Sequence[int]],
    histograms: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> list[Move]:
    """What has moved, first what became worse, and of that the surest first; histograms are those of both sides."""
    found = []
    for name in compared(before, after):
        found.append(_rate(name, before[name], after[name]))
        if name in histograms:
            found.append(_p95(name, *histograms[name]))
    return sorted(filter(None, found), key=lambda move: (not move.worse, -move.errors, move.name, move.what))


def _rate(name: str, before: Sequence[int], after: Sequence[int]) -> Move | None:
    first, second = before[1] / before[0], after[1] / after[0]
    errors = standard_errors((before[1], before[0]), (after[1], after[0]))
    low, high = sorted((first, second))
    matters = high - low >= RATE_POINTS or high >= RATE_TIMES * low
    return Move(name, "rate", first, second, errors) if matters and errors >= STANDARD_ERRORS else None


def _p95(name: str, before: Sequence[int], after: Sequence[int]) -> Move | None:
    runs = sum(before), sum(after)
    if min(runs) < FEWEST:
        return None
    first, second = (estimate(counts, _PERCENT) for counts in (before, after))
    lower = min(first, second, key=lambda each: each.milliseconds)
    longer = [sum(n for bucket, n in enumerate(each) if range_of(bucket)[0] >= lower.high) for each in (before, after)]
    errors = standard_errors((longer[0], runs[0]), (longer[1], runs[1]))
    low, high = sorted((first.milliseconds, second.milliseconds))
    moved = high >= P95_TIMES * low and errors >= STANDARD_ERRORS
    return Move(name, "p95", first.milliseconds, second.milliseconds, errors) if moved else None


def standard_errors(before: tuple[int, int], after: tuple[int, int]) -> float:
    """By how many standard errors two shares differ, each so many of so many; 0.0 where both are none or all."""
    both = (before[0] + after[0]) / (before[1] + after[1])
    spread = both * (1 - both) * (1 / before[1] + 1 / after[1])
    return abs(before[0] / before[1] - after[0] / after[1]) / math.sqrt(spread) if spread > 0 else 0.0
