"""Counts what one process takes of each queue, and what comes of it, for the figures of queues.

Told of many jobs at once, never of one on its way; `tally.py` writes it with the heartbeat. What is counted and not
written yet is lost when the process is killed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from jobd.client import defaults
from jobd.client.keys import Keys
from jobd.client.queue_history import ENDED, FAILED, TAKEN
from jobd.client.scripts import raw_bytes
from jobd.worker.page import Ran


class QueueCounts:
    """The counts since the last `put`, by queue. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[tuple[bytes, str]]()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def took(self, runs: Iterable[tuple[str, int]]) -> None:
        """So many jobs were taken from each of these queues; less than none were given back."""
        with self._lock:
            for queue, many in runs:
                self._counts[TAKEN, queue] += many

    def ended(self, ran: Ran) -> None:
        """These jobs ended, as `Page.count_all` has sorted them."""
        with self._lock:
            for (queue, _, result), seconds in ran.items():
                if result != "requeued":
                    self._counts[ENDED, queue] += len(seconds)
                    if result != "ok":
                        self._counts[FAILED, queue] += len(seconds)

    def put(self, pipeline: Any, keys: Keys) -> None:
        """Put the commands into a pipeline that write the counts, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        for (kind, queue), many in counts.items():
            if many:
                pipeline.hincrby(keys.queue_counts, kind + raw_bytes(queue), many)
        pipeline.expire(keys.queue_counts, defaults.LONG_HISTORY_TTL)
