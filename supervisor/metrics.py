"""What Prometheus is told: the master's own counters, the totals of all jobs, and gauges of the moment.

It asks for the pages of the living worker processes and for a snapshot of the master when it renders, and calls
nobody else: no Redis, no other process. HTTP is left to `endpoint.py`, the other paths to `probes.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from jobd.supervisor import families
from jobd.supervisor.ends import Reason
from jobd.supervisor.snapshot import Snapshot
from jobd.supervisor.totals import Counts, Totals

CACHED_SECONDS = 0.5
"""Scrapes that come closer together get the same figures, whatever their format."""
OPENMETRICS = "application/openmetrics-text"
PLAIN = ("text/plain", "text/*", "*/*")


class Metrics(Collector):
    """All of jobd's metrics. Not for use by several threads."""

    def __init__(
        self,
        living: Callable[[], Iterable[Counts]],
        snapshot: Callable[[], Snapshot],
        *,
        started: float,
        queues: Sequence[str] = (),
        per_job: bool = True,
        cluster: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`living` gives the pages of the worker processes that have not ended; `started` is in seconds since the
        epoch; `queues` are those of the configuration. `per_job` keeps durations for each job, not only for each
        queue; `cluster` adds the sizes that the snapshot has from Redis.
        """
        self._living, self._snapshot, self._monotonic = living, snapshot, monotonic
        self._with_cluster = cluster
        self._totals = Totals(queues=queues, per_job=per_job)
        self._starts = 0
        self._exits: Counter[Reason] = Counter()
        self._last_exit: float | None = None
        self._reloads: Counter[str] = Counter()
        self._last_reload = started
        self._collected: tuple[float, list[Metric]] | None = None
        self._rendered: dict[bool, tuple[str, bytes]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def child_started(self) -> None:
        """Count a worker process that was forked."""
        self._starts += 1

    def child_ended(self, reason: Reason, now: float) -> None:
        """Count the end of a worker process at `now`, in seconds since the epoch."""
        self._exits[reason] += 1
        self._last_exit = now

    def fold(self, page: Counts) -> None:
        """Keep what a worker process had counted that ended; from now on it must not be among the living."""
        self._totals.fold(page)

    def reloaded(self, ok: bool, now: float) -> None:
        """Count a reload of the configuration at `now`, in seconds since the epoch."""
        self._reloads["ok" if ok else "failed"] += 1
        if ok:
            self._last_reload = now

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text for a client that sent this `Accept`."""
        self.collect()
        form = prefers_openmetrics(accept)
        if form not in self._rendered:
            # Not what the client sent: its words would come back in the content type.
            encode, content_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if form else "text/plain")
            self._rendered[form] = content_type, encode(self._registry)
        return self._rendered[form]

    def collect(self) -> list[Metric]:
        """The families as they are now, or were half a second ago at most."""
        now = self._monotonic()
        if self._collected is None or not 0 <= now - self._collected[0] < CACHED_SECONDS:
            self._collected = now, self._collect()
            self._rendered.clear()
        return self._collected[1]

    def _collect(self) -> list[Metric]:
        snapshot = self._snapshot()
        found = [
            *families.server(snapshot),
            *families.history(self._starts, self._exits, self._last_exit, self._reloads, self._last_reload),
            *families.jobs(self._totals.sums(self._living())),
        ]
        return [*found, *families.cluster(snapshot.cluster_now)] if self._with_cluster else found


def prefers_openmetrics(accept: str) -> bool:
    """Whether a client with this `Accept` likes OpenMetrics at least as well as the text format."""
    ranges = [_range(text) for text in accept.split(",")]
    wanted = max((weight for name, weight in ranges if name == OPENMETRICS), default=0.0)
    plain = max((weight for name, weight in ranges if name in PLAIN), default=0.0)
    return 0 < wanted >= plain


def _range(text: str) -> tuple[str, float]:
    """A media range and its weight; one that cannot be read counts as not wanted."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0
