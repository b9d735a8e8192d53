"""The state of the connection to Redis as one process sees it: a log line when it breaks, one when it is back."""

from __future__ import annotations

import random
import threading
import time

from jobd.client import defaults
from jobd.worker import log


class Outage:
    """Shared by all parts of a process that talk to Redis. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._back_at = 0.0
        self.last_contact = 0.0
        """When Redis last answered, in monotonic seconds; 0.0 before it ever has."""

    def failed(self, error: BaseException, opened: float | None = None) -> None:
        """Note that a call failed; the first one of an outage is logged.

        `opened` is the monotonic time at which its connection was opened: one that is older than the end of the last
        outage was broken by that one.
        """
        with self._lock:
            if self._since is not None or (opened is not None and opened < self._back_at):
                return
            self._since = time.monotonic()
        log.event("redis.lost", level=log.WARNING, error=f"{type(error).__name__}: {error}")

    def works(self) -> None:
        """Note that Redis answered."""
        self.last_contact = time.monotonic()
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
            self._back_at = time.monotonic()
        if since is not None:
            log.event("redis.back", seconds=round(time.monotonic() - since, 3))


class Backoff:
    """Growing pauses between attempts to reach Redis, in seconds, with jitter so that processes spread."""

    def __init__(self) -> None:
        self._next = defaults.RECONNECT_MIN

    def pause(self) -> float:
        """The next pause: doubling up to a second, each between half of that and the whole."""
        pause, self._next = self._next, min(self._next * 2, defaults.RECONNECT_MAX)
        return pause * random.uniform(0.5, 1.0)
