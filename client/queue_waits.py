"""How long jobs of a queue had waited when they began to run, by stretches of time: `QueueWaits`.

Worker processes count waits in buckets whose bounds are 1.5 times apart, from 1 ms to 35 hours, by the minute for an
hour at least and by the half hour for three days; `worker/queue_counts.py` writes them. A percentile is told as the
middle of its bucket, so it is off by a quarter at most; what is below 1 ms is told as 0.5 ms, and what is above 35
hours as 35 hours. Counts are u32, big-endian, as `BITFIELD` has them.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.keys import Keys
from jobd.client.push import Client

BUCKETS = 48
BOUNDS = tuple(0.001 * 1.5**power for power in range(BUCKETS - 1))
"""Upper bounds of the buckets in seconds; the last bucket has none."""
EARLY = 5.0
"""Seconds by which a job may seem to begin before it was enqueued: clocks differ. What is earlier is not counted."""
SHARES = (0.5, 0.95, 0.99)

_SLOT = struct.Struct(f">{BUCKETS}I")


@dataclass(frozen=True, slots=True)
class Grid:
    """Counts by stretches of `width` seconds, so many in each key, kept for `ttl` seconds after the last count."""

    width: float
    slots: int
    ttl: int

    def place(self, at: float) -> tuple[int, int]:
        """Which key a moment belongs to, by its number since 1970, and which stretch in it."""
        return divmod(int(at // self.width), self.slots)

    def first_of(self, key: int) -> float:
        """When the first stretch of a key begins, in epoch seconds."""
        return key * self.slots * self.width


FINE = Grid(60.0, 60, defaults.HISTORY_TTL)
COARSE = Grid(1800.0, 48, defaults.LONG_HISTORY_TTL)


@dataclass(frozen=True, slots=True)
class Waited:
    """Jobs that began to run from `start` (epoch seconds) on: how many, and for how many seconds they had waited."""

    start: float
    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class QueueWaits:
    """What was counted of queues. Without a `client` it is that of this process' jobs.

    Only jobs that processes of jobd ran are counted, when they said when they were enqueued. A call may raise
    `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def read(self, name: str, edges: Sequence[float]) -> list[Waited]:
        """The waits in `name` between each of the rising `edges` (epoch seconds) and the next.

        Edges on full minutes of the last hour, or on full half hours of the last three days, are exact; to others each
        minute, or half hour, counts where it begins.
        """
        grid = grid_of(edges, self.access.server_now())
        keys = keys_of(self.access.keys, grid, name, edges)
        raws = self.access.read(lambda redis: redis.mget(list(keys.values())))
        return waited(grid, dict(zip(keys, raws, strict=True)), edges)


def grid_of(edges: Sequence[float], now: float) -> Grid:
    """Which counts tell of these times."""
    is_recent = bool(edges) and edges[0] >= now - FINE.width * (FINE.slots + 2)
    return FINE if is_recent else COARSE


def keys_of(keys: Keys, grid: Grid, name: str, edges: Sequence[float]) -> dict[int, str]:
    """The keys with the counts of these times, by their number."""
    if not edges:
        return {}
    numbers = range(grid.place(edges[0])[0], grid.place(edges[-1])[0] + 1)
    return {number: key_of(keys, grid, name, number) for number in numbers}


def key_of(keys: Keys, grid: Grid, name: str, number: int) -> str:
    """The key of this number."""
    return keys.queue_waits(name, number) if grid is FINE else keys.long_queue_waits(name, number)


def buckets_of(seconds: Sequence[float]) -> dict[int, int]:
    """How many of these waits, which rise, are in each bucket."""
    found: dict[int, int] = {}
    low, many = bisect_left(seconds, -EARLY), len(seconds)
    while low < many:
        bucket = bisect_left(BOUNDS, seconds[low])
        high = bisect_right(seconds, BOUNDS[bucket], low) if bucket < len(BOUNDS) else many
        found[bucket] = high - low
        low = high
    return found


def waited(grid: Grid, raws: Mapping[int, bytes | None], edges: Sequence[float]) -> list[Waited]:
    """Put the counts of keys together between each edge and the next. A key ends with the last bucket that was hit."""
    sums = [[0] * BUCKETS for _ in edges[1:]]
    for number, raw in raws.items():
        whole = (raw or b"")[: grid.slots * _SLOT.size]
        for stretch, counts in enumerate(_SLOT.iter_unpack(whole + bytes(-len(whole) % _SLOT.size))):
            at = grid.first_of(number) + stretch * grid.width
            place = bisect_right(edges, at) - 1
            if 0 <= place < len(sums) and any(counts):
                sums[place] = [have + more for have, more in zip(sums[place], counts, strict=True)]
    return [
        Waited(start, sum(counts), *(percentile(counts, share) for share in SHARES))
        for (start, _), counts in zip(pairwise(edges), sums, strict=True)
    ]


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The seconds that this share of the waits did not exceed, to the middle of their bucket; None without any."""
    wanted, seen = share * sum(counts), 0
    if wanted <= 0:
        return None
    for bucket, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            return (low + BOUNDS[bucket]) / 2 if bucket < len(BOUNDS) else low
        seen += count
    return None
