"""Puts values into the buckets of a histogram, many at once. Which bounds they have is left to whoever counts.

Both functions take values that rise, look at few of them, and tell how many are in each bucket that is hit; beyond the
`bounds`, which rise too, there is one bucket more. They differ in where a value goes that equals a bound.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

_Bisect: TypeAlias = Callable[..., int]


def up_to(bounds: Sequence[float], values: Sequence[float], first: int = 0) -> dict[int, int]:
    """With a value that equals a bound in the bucket below it, as Prometheus' `le` means it.

    Values before the `first` are passed over.
    """
    return _counted(bounds, values, first, bisect_left, bisect_right)


def below(bounds: Sequence[float], values: Sequence[float]) -> dict[int, int]:
    """With a value that equals a bound in the bucket above it, as Sidekiq counts."""
    return _counted(bounds, values, 0, bisect_right, bisect_left)


def _counted(
    bounds: Sequence[float], values: Sequence[float], first: int, bucket_of: _Bisect, end_of: _Bisect
) -> dict[int, int]:
    found: dict[int, int] = {}
    many = len(values)
    while first < many:
        bucket = bucket_of(bounds, values[first])
        end = end_of(values, bounds[bucket], first) if bucket < len(bounds) else many
        found[bucket] = end - first
        first = end
    return found
