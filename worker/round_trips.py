"""Notices a Redis that answers slowly: each job costs round trips, and no other figure says why all of them are slow.

Told what the heartbeat measures; the warning itself is the heartbeat's.
"""

from __future__ import annotations

from collections import deque

from jobd.client import defaults


class RoundTrips:
    """The last round trips to Redis."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=defaults.SLOW_ROUND_TRIPS)

    def slow(self, seconds: float) -> tuple[float, ...]:
        """Note one of so many seconds; returns the last ones when all were slow, and then begins anew."""
        self._last.append(seconds)
        if len(self._last) < defaults.SLOW_ROUND_TRIPS or min(self._last) <= defaults.SLOW_ROUND_TRIP:
            return ()
        slow = tuple(self._last)
        self._last.clear()
        return slow
