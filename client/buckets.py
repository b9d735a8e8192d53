"""Puts values into the buckets of a histogram, many at once. Which bounds they have is left to whoever counts.

Both functions take values that rise, look at few of them, and tell how many are in each bucket that is hit; beyond the
`bounds`, which rise too, there is one bucket more. They are two since jobs on their way are counted with them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


def up_to(bounds: Sequence[float], values: Sequence[float], first: int = 0) -> dict[int, int]:
    """With a value that equals a bound in the bucket below it, as Prometheus' `le` means it.

    Values before the `first` are passed over.
    """
    found: dict[int, int] = {}
    many = len(values)
    while first < many:
        bucket = bisect_left(bounds, values[first])
        end = bisect_right(values, bounds[bucket], first) if bucket < len(bounds) else many
        found[bucket] = end - first
        first = end
    return found


def below(bounds: Sequence[float], values: Sequence[float]) -> dict[int, int]:
    """With a value that equals a bound in the bucket above it, as Sidekiq counts."""
    found: dict[int, int] = {}
    first, many = 0, len(values)
    while first < many:
        bucket = bisect_right(bounds, values[first])
        end = bisect_left(values, bounds[bucket], first) if bucket < len(bounds) else many
        found[bucket] = end - first
        first = end
    return found
