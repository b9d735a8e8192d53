"""Something that is done again and again on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import RedisError

from jobd.client.errors import RedisUnavailable
from jobd.worker.on_error import component_failed
from jobd.worker.outage import Backoff, Outage


class Bell(Protocol):
    """What a component waits on between two ticks: an event, or one that hears of more than that."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float) -> object: ...


class Periodic:
    """Calls `tick`, then waits on `bell` for as many seconds as it returned, and so on.

    `stop` may come twice or before `start`; it returns once the thread has ended, or after `timeout`.
    """

    def __init__(self, name: str, tick: Callable[[], float], outage: Outage, bell: Bell | None = None) -> None:
        self._name, self._tick, self._outage = name, tick, outage
        self._changed = bell or threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"jobd-{name}", daemon=True)

    def start(self) -> None:
        """Start; the first tick comes at once."""
        self._thread.start()

    def hurry(self) -> None:
        """Have the next tick now."""
        self._changed.set()

    def stop(self, timeout: float) -> bool:
        """End after the running tick, which is given `timeout` seconds; returns whether it has ended."""
        self._stopping = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

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
                component_failed(self._name, error)
                pause = 1.0
            if not self._stopping:
                self._changed.wait(pause)
