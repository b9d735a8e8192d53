"""The server's time: what every score and stamp is measured in, whatever this machine's clock does."""

from __future__ import annotations

import time
from typing import Any


class ServerClock:
    """Epoch seconds by Redis' clock, carried on between measurements by this machine's monotonic clock.

    Until the first measurement it shows this machine's time.
    """

    def __init__(self) -> None:
        self.offset = time.time() - time.monotonic()
        """Epoch seconds less monotonic ones: turns a monotonic time into one of the server."""

    def now(self) -> float:
        """The time in epoch seconds."""
        return time.monotonic() + self.offset

    def measure(self, client: Any) -> float:
        """Ask the server for its time; returns the round trip in seconds. Raises redis-py's errors."""
        before = time.monotonic()
        seconds, micros = client.time()
        after = time.monotonic()
        self.offset = seconds + micros / 1e6 - (before + after) / 2
        return after - before
