"""What may be told once in a while: the first of its kind is, and those soon after are not."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

SECONDS = 60.0
"""After one for which others of its kind are not the first."""
MOST = 1_000
"""Kinds that are remembered."""


class Seldom:
    """Tells the first of each kind. Safe across threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told: OrderedDict[Hashable, float] = OrderedDict()

    def is_first(self, kind: Hashable) -> bool:
        """Whether this is the first of its kind for SECONDS."""
        now = self._monotonic()
        with self._lock:
            if now - self._told.get(kind, -SECONDS) < SECONDS:
                return False
            self._told[kind] = now
            self._told.move_to_end(kind)
            if len(self._told) > MOST:
                self._told.popitem(last=False)
            return True
