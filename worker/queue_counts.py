"""Counts what one process takes of each queue, and what comes of it, for the figures of queues.

Told of many jobs at once, never of one on its way; `tally.py` writes it with the heartbeat. What is counted and not
written yet is lost when the process is killed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from jobd.client import defaults, queue_waits
from jobd.client.keys import Keys
from jobd.client.queue_history import ENDED, FAILED, TAKEN
from jobd.client.scripts import raw_bytes
from jobd.worker.page import Counted


class QueueCounts:
    """The counts since the last `put`, by queue. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[tuple[bytes, str]]()
        self._waits: dict[str, Counter[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def took(self, runs: Iterable[tuple[str, int]]) -> None:
        """So many jobs were taken from each of these queues; less than none were given back."""
        with self._lock:
            for queue, many in runs:
                self._counts[TAKEN, queue] += many

    def ended(self, counted: Counted) -> None:
        """These jobs ended."""
        with self._lock:
            for queue, waits in counted.waits.items():
                found = self._waits.get(queue)
                if found is None:
                    found = self._waits[queue] = Counter()
                found.update(queue_waits.buckets_of(waits))
            for (queue, _, result), seconds in counted.ran.items():
                if result != "requeued":
                    self._counts[ENDED, queue] += len(seconds)
                    if result != "ok":
                        self._counts[FAILED, queue] += len(seconds)

    def put(self, pipeline: Any, keys: Keys, now: float) -> None:
        """Put the commands into a pipeline that write the counts at `now` (epoch seconds), and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            waits, self._waits = self._waits, {}
        for queue, buckets in waits.items():
            for grid in (queue_waits.FINE, queue_waits.COARSE) if buckets else ():
                number, stretch = grid.place(now)
                first, key = stretch * queue_waits.BUCKETS, queue_waits.key_of(keys, grid, queue, number)
                increments = [word for at, by in buckets.items() for word in ("INCRBY", "u32", f"#{first + at}", by)]
                pipeline.execute_command("BITFIELD", key, "OVERFLOW", "SAT", *increments)
                pipeline.expire(key, grid.ttl)
        if not counts:
            return
        for (kind, queue), many in counts.items():
            if many:
                pipeline.hincrby(keys.queue_counts, kind + raw_bytes(queue), many)
        pipeline.expire(keys.queue_counts, defaults.LONG_HISTORY_TTL)
