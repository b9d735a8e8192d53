"""The metrics that jobd exports: their names, types, labels and descriptions, made of plain numbers.

Where the numbers come from is left to `metrics.py` and `totals.py`. `docs/metrics.md` has the same list for users.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from jobd.client.version import VERSION
from jobd.supervisor.ends import Reason
from jobd.supervisor.snapshot import CHILD_STATES, ClusterFigures, SlotFigures, Snapshot
from jobd.supervisor.totals import Sums, Tally
from jobd.worker.page import BUCKETS, RESULTS

RELOAD_RESULTS = ("ok", "failed")

Values = Iterable[tuple[Sequence[str], float]]
"""A value for each tuple of label values."""

_BOUNDS = (*(repr(float(bound)) for bound in BUCKETS), "+Inf")


def server(snapshot: Snapshot) -> Iterator[Metric]:
    """What the master and its worker processes look like now."""
    build = [((VERSION, platform.python_version()), 1)]
    yield _gauge("jobd_build_info", "Which jobd this is, always 1.", build, "version", "python")
    yield GaugeMetricFamily(
        "jobd_up_redis", "Whether Redis answered any worker process within the lease.", int(snapshot.is_redis_up)
    )
    states = [((state,), snapshot.children.get(state, 0)) for state in CHILD_STATES]
    yield _gauge("jobd_children", "Worker processes by state.", states, "state")
    yield GaugeMetricFamily("jobd_children_desired", "Worker processes that there should be.", snapshot.desired)
    threads = [(("busy",), snapshot.busy), (("idle",), max(0, snapshot.threads - snapshot.busy))]
    yield _gauge("jobd_threads", "Threads for jobs, by whether they run one.", threads, "state")
    yield GaugeMetricFamily("jobd_quiet", "Whether jobd was told to take no more jobs.", int(snapshot.is_quiet))
    yield from _slots(snapshot.slots)


def _slots(slots: Sequence[SlotFigures]) -> Iterator[Metric]:
    memory = (((str(slot.number), kind), size) for slot in slots for kind, size in slot.memory.items())
    yield _gauge("jobd_child_memory_bytes", "Memory of the worker process in a slot.", memory, "slot", "kind")
    ages = (((str(slot.number),), slot.pulse_age) for slot in slots if slot.pulse_age is not None)
    about = "Time since the last sign of life of the worker process in a slot."
    yield _gauge("jobd_child_heartbeat_age_seconds", about, ages, "slot")


def history(
    starts: int,
    exits: Mapping[Reason, int],
    last_exit: float | None,
    reloads: Mapping[str, int],
    last_reload: float,
) -> Iterator[Metric]:
    """What the master has done since it was started; times are seconds since the epoch."""
    yield CounterMetricFamily("jobd_child_starts_total", "Worker processes started.", starts)
    ended = (((reason,), exits.get(reason, 0)) for reason in get_args(Reason))
    yield _counter("jobd_child_exits_total", "Worker processes that ended, by reason.", ended, "reason")
    yield GaugeMetricFamily(
        "jobd_child_last_exit_timestamp_seconds", "When a worker process ended last; absent before.", last_exit
    )
    reloaded = (((result,), reloads.get(result, 0)) for result in RELOAD_RESULTS)
    yield _counter("jobd_reloads_total", "Reloads of the configuration, by result.", reloaded, "result")
    yield GaugeMetricFamily(
        "jobd_config_last_reload_success_timestamp_seconds", "When the configuration was last taken over.", last_reload
    )


def jobs(sums: Sums) -> Iterator[Metric]:
    """What became of jobs, how long they took and how long they had waited."""
    results = (((*labels, result), mine[result]) for labels, mine in sums.results.items() for result in RESULTS)
    yield _counter("jobd_jobs_total", "Attempts of jobs, by how they ended.", results, "queue", "job", "result")
    durations = sums.durations.items()
    yield _histogram("jobd_job_duration_seconds", "How long attempts took.", durations, "queue", "job")
    waits = (((queue,), tally) for queue, tally in sums.waits.items())
    yield _histogram("jobd_job_wait_seconds", "How long jobs had been in their queue when they began.", waits, "queue")


def cluster(figures: ClusterFigures | None) -> Iterator[Metric]:
    """What is in Redis; without samples as long as nothing is known."""
    queues = figures["queues"] if figures else {}
    sizes = (((name,), size) for name, (size, _) in queues.items())
    yield _gauge("jobd_queue_size", "Jobs in a queue, in the whole cluster.", sizes, "queue")
    latencies = (((name,), latency) for name, (_, latency) in queues.items())
    yield _gauge("jobd_queue_latency_seconds", "How long the oldest job of a queue has waited.", latencies, "queue")
    scheduled, retry, dead = (figures["schedule"], figures["retry"], figures["dead"]) if figures else (None,) * 3
    yield GaugeMetricFamily("jobd_scheduled_jobs", "Jobs that wait for their time, in the whole cluster.", scheduled)
    yield GaugeMetricFamily("jobd_retry_jobs", "Failed jobs that wait for their next attempt.", retry)
    yield GaugeMetricFamily("jobd_dead_jobs", "Jobs that failed for good, in the whole cluster.", dead)


def _gauge(name: str, about: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _counter(name: str, about: str, values: Values, *labels: str) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _histogram(name: str, about: str, tallies: Iterable[tuple[Sequence[str], Tally]], *labels: str) -> Metric:
    family = HistogramMetricFamily(name, about, labels=labels)
    for key, tally in tallies:
        family.add_metric(key, list(zip(_BOUNDS, accumulate(tally.counts), strict=True)), tally.seconds)
    return family
