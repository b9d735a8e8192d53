"""Something that is done again and again on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from jobd.client.errors import RedisUnavailable
from jobd.worker import log
from jobd.worker.outage import Backoff, Outage


class Periodic:
    """Calls `tick`, then waits as many seconds as it returned, and so on.

    `stop` may come twice or before `start`; it returns once the thread has ended, or after `timeout`.
    """

    def __init__(self, name: str, tick: Callable[[], float], outage: Outage) -> None:
        self._name, self._tick, self._outage = name, tick, outage
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"jobd-{name}", daemon=True)

    def start(self) -> None:
        """Start; the first tick comes at once."""
        self._thread.start()

    def hurry(self) -> None:
        """Have the next tick now."""
        self._changed.set()

    def stop(self, timeout: float) -> None:
        """End after the running tick, which is given `timeout` seconds."""
        self._stopping = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            self._changed.clear()
            begun = time.monotonic()
            try:
                pause = self._tick()
                backoff = Backoff()
            except (RedisError, RedisUnavailable, OSError) as error:
                self._outage.failed(error, begun)
                pause = backoff.pause()
            except Exception as error:
                # One bad tick must not end the component.
                log.event("component.failed", level=log.ERROR, component=self._name, exc_info=error)
                pause = 1.0
            if not self._stopping:
                self._changed.wait(pause)
