"""How long the jobs of a class usually take: 95 of 100 of them, over the last hour, beside those that run now.

Which classes run is known only after a page was read. So a page asks with its first round trip for the classes that ran
when somebody looked before, and what it has learned serves for a minute.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client import metric_keys
from jobd.client.access import Access
from jobd.client.metric_keys import BUCKETS
from jobd.client.metrics import buckets, estimate, unpack
from jobd.client.scripts import raw_bytes
from jobd.web.questions import Question

AT_A_TIME = 8
"""Classes that one page asks for."""
MOST = 500
"""Classes that are remembered."""
LASTS = 60.0
"""Seconds for which an answer serves."""
FEWEST = 5
"""Jobs without which nothing is usual."""


class Usual:
    """The classes of one Redis. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, float | None]] = OrderedDict()

    def note(self, names: Iterable[str]) -> None:
        """Have the next pages ask for these classes; those that were noted long ago make room."""
        with self._lock:
            for name in filter(metric_keys.is_countable, names):
                self._known.setdefault(name, (0.0, None))
                self._known.move_to_end(name)
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def seconds(self, name: str) -> float | None:
        """What 95 of 100 jobs of a class took at most; None while that is not known."""
        with self._lock:
            return self._known.get(name, (0.0, None))[1]

    def ask(self, access: Access, now: float) -> Question[None]:
        """Read the histograms of a few classes that were not read for a minute, those that were noted last."""
        with self._lock:
            due = (name for name in reversed(self._known) if not 0 <= now - self._known[name][0] < LASTS)
            names = list(islice(due, AT_A_TIME))
        _, starts = buckets("1h", now)

        def ask(pipeline: Any) -> None:
            for name in names:
                keys = [access.keys.histogram(metric_keys.histogram_slot(name, start)) for start in starts]
                pipeline.mget([raw_bytes(key) for key in keys])

        told = yield ask
        for name, values in zip(names, told, strict=True):
            counts = [0] * BUCKETS
            for value in filter(None, values or ()):
                counts = [before + more for before, more in zip(counts, unpack(value), strict=True)]
            usual = estimate(counts, 95).milliseconds / 1000 if sum(counts) >= FEWEST else None
            with self._lock:
                if name in self._known:
                    self._known[name] = (now, usual)


_OF: WeakKeyDictionary[Access, Usual] = WeakKeyDictionary()


def usual_of(access: Access) -> Usual:
    """What is known of the Redis of a site."""
    return _OF.setdefault(access, Usual())
