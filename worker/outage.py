"""The state of the connection to Redis as one process sees it: a log line when it breaks, one when it is back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from jobd.client import defaults
from jobd.worker import log


class Outage:
    """Shared by all parts of a process that talk to Redis. Safe across threads."""

    def __init__(self, on_lost: Callable[[], None] = lambda: None) -> None:
        """`on_lost` is called when an outage begins."""
        self._on_lost, self._lock = on_lost, threading.Lock()
        self._since: float | None = None
        self._back_at = 0.0
        self._told_no_tracking = False
        self.last_contact = 0.0
        """When Redis last answered, in monotonic seconds; 0.0 before it ever has."""

    def failed(self, error: BaseException, begun: float | None = None) -> None:
        """Note that a call failed; the first one of an outage is logged.

        `begun` is the monotonic time of its beginning, or at which its connection was opened: what is older than the
        end of the last outage was broken by that one.
        """
        with self._lock:
            if self._since is not None or (begun is not None and self.outdates(begun)):
                return
            self._since = time.monotonic()
        log.event("redis.lost", level=log.WARNING, error=f"{type(error).__name__}: {error}")
        self._on_lost()

    @property
    def ended_at(self) -> float:
        """When the last outage ended, in monotonic seconds; 0.0 while there was none."""
        return self._back_at

    def outdates(self, opened: float) -> bool:
        """Whether an outage has ended since a connection was opened, at this monotonic time: it may be broken."""
        return opened < self._back_at

    def works(self, opened: float = 0.0) -> None:
        """Note that Redis answered, on a connection that was opened at this monotonic time if the caller knows."""
        self.last_contact = now = time.monotonic()
        if self._since is not None:
            self._end(now, opened)

    def no_tracking(self, error: BaseException) -> None:
        """Note that the server, or a proxy, cannot tell of changes; the first time is logged."""
        with self._lock:
            told, self._told_no_tracking = self._told_no_tracking, True
        if not told:
            log.event("redis.no_tracking", level=log.WARNING, error=str(error), hint="polling instead")

    def _end(self, now: float, opened: float) -> None:
        with self._lock:
            since, self._since = self._since, None
            if since is None:
                return
            # The outage was over when that connection could be opened, which is none that it broke.
            self._back_at = opened if opened > since else now
        log.event("redis.back", seconds=round(now - since, 3))


class Backoff:
    """Growing pauses between attempts to reach Redis, in seconds, with jitter so that processes spread."""

    def __init__(self) -> None:
        self._next = defaults.RECONNECT_MIN

    def pause(self) -> float:
        """The next pause: doubling up to a second, each between half of that and the whole."""
        pause, self._next = self._next, min(self._next * 2, defaults.RECONNECT_MAX)
        return pause * random.uniform(0.5, 1.0)
