"""How long jobs had waited, counted by queue or by class until a heartbeat writes it.

Whose waits these are, how many names are told apart, and when they are written is left to `queue_counts.py` and
`tally.py`; where they stand, to `jobd.client.waits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobd.client.keys import Keys
from jobd.client.waits import Grid, buckets_of


class WaitCounts:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, seconds: Sequence[float]) -> None:
        """Count these waits, which rise."""
        for bucket, many in buckets_of(seconds).items():
            counts = self._counts.get(name)
            if counts is None:
                counts = self._counts[name] = {}
            counts[bucket] = counts.get(bucket, 0) + many

    def put(self, pipeline: Any, keys: Keys, grids: Sequence[Grid], now: float) -> None:
        """Put the commands into a pipeline that add the counts at `now` (epoch seconds) to those of each grid."""
        for name, buckets in self._counts.items():
            for grid in grids:
                number, stretch = grid.place(now)
                first, key = stretch * grid.buckets, grid.key(keys, name, number)
                increments = [word for at, by in buckets.items() for word in ("INCRBY", "u32", f"#{first + at}", by)]
                pipeline.execute_command("BITFIELD", key, "OVERFLOW", "SAT", *increments)
                pipeline.expire(key, grid.ttl)
