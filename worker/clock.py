"""The server's time: what every score and stamp is measured in, whatever this machine's clock does."""

from __future__ import annotations

import time
from typing import Any

from jobd.client import clock


class ServerClock:
    """Epoch seconds by Redis' clock, carried on between measurements by this machine's monotonic clock.

    Until the first measurement it shows this machine's time.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    @property
    def offset(self) -> float:
        """Epoch seconds less monotonic ones: turns a monotonic time into one of the server."""
        return self._offset + clock.ahead

    def now(self) -> float:
        """The time in epoch seconds."""
        return time.monotonic() + self.offset

    def measure(self, client: Any) -> float:
        """Ask the server for its time; returns the round trip in seconds. Raises redis-py's errors."""
        before = time.monotonic()
        seconds, micros = client.time()
        after = time.monotonic()
        self._offset = seconds + micros / 1e6 - (before + after) / 2
        return after - before
