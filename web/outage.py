"""What is known while Redis does not answer: that it does not, and what the pages showed last."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jobd.client.errors import RedisUnavailable

PAUSE = 1.0
"""Seconds after a failure for which nobody waits for Redis again, but one who tries."""
PAGES = 32
"""Pages of which the last view is kept."""
MOST_AGE = 3600.0
"""Seconds for which it is."""


class Outage:
    """Lets one at a time find out whether Redis is back, and refuses the others at once. Safe across threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._problem = ""
        self._again_at = 0.0

    @property
    def lasts(self) -> bool:
        """Whether the last who asked has waited in vain."""
        with self._lock:
            return bool(self._problem)

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Around what asks Redis. Raises `RedisUnavailable` at once when somebody has just waited in vain."""
        with self._lock:
            now = self._monotonic()
            if self._problem and now < self._again_at:
                raise RedisUnavailable(self._problem)
            self._again_at = now + PAUSE
        try:
            yield
        except RedisUnavailable as error:
            with self._lock:
                self._problem, self._again_at = str(error), self._monotonic() + PAUSE
            raise

    def answered(self) -> None:
        """Redis has answered, whatever becomes of the request that asked."""
        with self._lock:
            self._problem = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A view, and when it was made in epoch seconds."""

    view: Any
    at: float


class Views:
    """The last views of some pages, those that were asked for last. Safe across threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def keep(self, page: Hashable, view: Any) -> None:
        """Remember what a page shows."""
        with self._lock:
            self._kept[page] = Kept(view, self._clock())
            self._kept.move_to_end(page)
            while len(self._kept) > PAGES:
                self._kept.popitem(last=False)

    def last(self, page: Hashable) -> Kept | None:
        """What it showed last, if that is not too long ago."""
        with self._lock:
            kept = self._kept.get(page)
        return kept if kept and self._clock() - kept.at < MOST_AGE else None
