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
from jobd.worker.wait_counts import WaitCounts


class QueueCounts:
    """The counts since the last `put`, by queue. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[tuple[bytes, str]]()
        self._waits, self._known = WaitCounts(), set[str]()

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
                if queue in self._known or self._gets_known(queue):
                    self._waits.add(queue, waits)
            for (kind, queue), many in _ends(counted).items():
                self._counts[kind, queue] += many

    def put(self, pipeline: Any, keys: Keys, now: float) -> None:
        """Put the commands into a pipeline that write the counts at `now` (epoch seconds), and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            waits, self._waits = self._waits, WaitCounts()
        waits.put(pipeline, keys, queue_waits.GRIDS, now)
        if not counts:
            return
        for (kind, queue), many in counts.items():
            if many:
                pipeline.hincrby(keys.queue_counts, kind + raw_bytes(queue), many)
        pipeline.expire(keys.queue_counts, defaults.LONG_HISTORY_TTL)

    def _gets_known(self, queue: str) -> bool:
        """Whether there is room for the waits of one more queue."""
        if len(self._known) >= defaults.WAITS_QUEUES:
            return False
        self._known.add(queue)
        return True


def _ends(counted: Counted) -> dict[tuple[bytes, str], int]:
    """How many ended, and failed, of each queue."""
    ended: dict[str, int] = {}
    failed: dict[str, int] = {}
    for (queue, _, result), (seconds, _) in counted.ran.items():
        if result != "requeued":
            ended[queue] = ended.get(queue, 0) + len(seconds)
            if result != "ok":
                failed[queue] = failed.get(queue, 0) + len(seconds)
    return {(kind, queue): many for kind, found in ((ENDED, ended), (FAILED, failed)) for queue, many in found.items()}
