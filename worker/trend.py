"""Keeps how much memory and processor time this process used at its last heartbeats, for these to show.

What a reader makes of it is in `client/trend.py`.
"""

from __future__ import annotations

from collections import deque

import msgspec

from jobd.client import defaults
from jobd.client.trend import Trend

_EARLY = 0.9
"""Share of a step after which a beat is taken for the next one: some come a little early, some for other reasons."""


class Recent:
    """The last samples, one for each `step` seconds, however often the process beats."""

    def __init__(self, step: float, begun: float) -> None:
        """`begun`: when the process did, in monotonic seconds. The first beats show how it starts, and are left out."""
        self._step, self._last = step, begun
        self._samples: deque[tuple[int, int]] = deque(maxlen=defaults.TREND_SAMPLES)

    def add(self, at: float, rss: int, cpu: int) -> None:
        """Note what is used at `at` (monotonic seconds): KiB, and percent of a processor."""
        if at - self._last >= self._step * _EARLY:
            self._last = at
            self._samples.append((rss, cpu))

    def written(self) -> bytes:
        """All of them, as they stand in the heartbeat."""
        rss, cpu = zip(*self._samples, strict=True) if self._samples else ((), ())
        return msgspec.json.encode(Trend(self._step, rss, cpu))
