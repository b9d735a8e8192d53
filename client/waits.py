"""How waits are counted and told: their buckets, where the counts stand in Redis, percentiles. Pure.

`queue_waits.py` and `class_waits.py` read them, `worker/wait_counts.py` writes them. Counts are u32, big-endian, as
`BITFIELD` has them.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from jobd.client.buckets import up_to
from jobd.client.keys import Keys

BUCKETS = 52
BOUNDS = tuple(0.001 * 1.5**power for power in range(BUCKETS - 1))
"""Upper bounds of the buckets in seconds, up to more than a week; the last bucket has none."""
LONGEST = BOUNDS[-1]
"""What is told as this was longer."""
EARLY = 5.0
"""Seconds by which a job may seem to begin before it was enqueued: clocks differ. What is earlier is not counted."""
TOO_LONG = 10 * 365 * 24 * 3600.0
"""What seems to have waited longer says a wrong time, and is not counted."""
SHARES = (0.5, 0.95, 0.99)
_COUNT = 4
"""Bytes of a count."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Counts by stretches of `width` seconds, so many in each key, kept for `ttl` seconds after the last count.

    `key` names a key by queue or class and its number since 1970. Each stretch has so many `buckets`.
    """

    width: float
    slots: int
    ttl: int
    key: Callable[[Keys, str, int], str]
    buckets: int = BUCKETS

    def place(self, at: float) -> tuple[int, int]:
        """Which key a moment belongs to, by its number since 1970, and which stretch in it."""
        return divmod(int(at // self.width), self.slots)

    def first_of(self, number: int) -> float:
        """When the first stretch of a key begins, in epoch seconds."""
        return number * self.slots * self.width


class Source(NamedTuple):
    """A key that holds counts."""

    grid: Grid
    number: int
    key: str


def sources(keys: Keys, grids: Iterable[Grid], name: str, edges: Sequence[float]) -> list[Source]:
    """The keys with the counts of a queue or class from the first to the last of the rising `edges`."""
    if not edges:
        return []
    return [
        Source(grid, number, grid.key(keys, name, number))
        for grid in grids
        for number in range(grid.place(edges[0])[0], grid.place(edges[-1])[0] + 1)
    ]


def sums(read: Sequence[Source], raws: Sequence[bytes | None], edges: Sequence[float]) -> list[list[int]]:
    """The counts of each bucket between each edge (epoch seconds) and the next: a stretch counts where it begins.

    In the shorter layout of older processes the last bucket had no bound: its counts stand in the one that begins where
    it did.
    """
    found = [[0] * BUCKETS for _ in edges[1:]]
    for (grid, number, _), raw in zip(read, raws, strict=True):
        if not raw:
            continue
        counts, many, start = _counts(raw, grid), grid.buckets, grid.first_of(number)
        places = [min(max(math.ceil((edge - start) / grid.width), 0), grid.slots) for edge in edges]
        for sum_of_each, (low, high) in zip(found, pairwise(places), strict=True):
            part = counts[low * many : high * many]
            if any(part):
                for bucket in range(many):
                    sum_of_each[bucket] += sum(part[bucket::many])
    return found


def _counts(raw: bytes, grid: Grid) -> array[int]:
    """What stands in a key, which ends with the last bucket that was hit; nothing of what is more than it may hold."""
    whole = raw[: grid.slots * grid.buckets * _COUNT]
    counts = array("I", whole[: len(whole) // _COUNT * _COUNT])
    if sys.byteorder == "little":
        counts.byteswap()
    return counts


def buckets_of(seconds: Sequence[float]) -> dict[int, int]:
    """How many of these waits, which rise, are in each bucket; what begins too early is in none."""
    return up_to(BOUNDS, seconds, bisect_left(seconds, -EARLY) if seconds and seconds[0] < 0 else 0)


def range_of(bucket: int) -> tuple[float, float | None]:
    """The bounds of a bucket in seconds; the last one has none above."""
    return (BOUNDS[bucket - 1] if bucket else 0.0), (BOUNDS[bucket] if bucket < len(BOUNDS) else None)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The seconds that this share (0 to 1) of the waits did not exceed; None without any.

    It is the middle of a bucket, off by a quarter at most; below 1 ms it is 0.5 ms, and `LONGEST` where it was longer.
    """
    wanted, seen = share * sum(counts), 0
    if wanted <= 0:
        return None
    for bucket, count in enumerate(counts):
        if count and seen + count >= wanted:
            low, high = range_of(bucket)
            return low if high is None else (low + high) / 2
        seen += count
    return None
