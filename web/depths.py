"""The queues as the head of each page shows them: how full each is, and how long its next job has waited.

Half a thousand of them are read for a page. What stays the same from one reading to the next is kept: the commands, and
of the job that comes next since when it waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jobd.client.entry import JobEntry
from jobd.client.keys import Keys
from jobd.client.reading import packed
from jobd.client.scripts import raw_bytes
from jobd.client.stats import QueueSummary

_MOST_KEPT_BYTES = 4_000
"""Of a job that is kept to be told from another one."""


class _Depth:
    """What is known of one queue; `next_one` is replaced, and never changed."""

    __slots__ = ("asks", "next_one")

    def __init__(self, keys: Keys, name: str) -> None:
        key = raw_bytes(keys.queue(name))
        self.asks = packed(("LLEN", key), ("LINDEX", key, -1))
        self.next_one: tuple[bytes, float | None] = b"", None

    def since(self, raw: bytes) -> float | None:
        """Since when this job waits, which comes next."""
        known, since = self.next_one
        if known != raw:
            since = JobEntry(raw).waits_since
            if len(raw) <= _MOST_KEPT_BYTES:
                self.next_one = raw, since
        return since


class Depths:
    """The queues of one Redis. Safe across threads."""

    def __init__(self) -> None:
        self._known: Mapping[str, _Depth] = {}

    def ask(self, pipeline: Any, keys: Keys, names: Sequence[str]) -> None:
        """Put two commands for each queue into a pipeline; queues that are not named are forgotten."""
        known = self._known
        self._known = known = {name: known.get(name) or _Depth(keys, name) for name in names}
        pipeline.put(b"".join([depth.asks for depth in known.values()]), 2 * len(names))

    def summaries(
        self, names: Sequence[str], told: Sequence[Any], paused: Collection[str], keys: Keys, now: float
    ) -> tuple[QueueSummary, ...]:
        """The queues with these answers, the fullest first and then by name, in which order `names` are."""
        known, found = self._known, []
        for name, size, raw in zip(names, told[::2], told[1::2], strict=True):
            since = (known.get(name) or _Depth(keys, name)).since(raw) if raw else None
            latency = 0.0 if since is None else max(now - since, 0.0)
            found.append(QueueSummary(name, size or 0, latency, name in paused))
        found.sort(key=_size, reverse=True)  # which leaves those of one size in their order
        return tuple(found)


def _size(queue: QueueSummary) -> int:
    return queue.size
