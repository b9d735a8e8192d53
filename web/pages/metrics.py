"""Figures of each class over a period: how often it ran, failed, how long it took, with percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobd.client import metric_keys
from jobd.client.metric_keys import BUCKETS, MINUTE
from jobd.client.metrics import JobMetrics, buckets, counter_keys, counters, unpack
from jobd.client.scripts import raw_bytes
from jobd.web.context import BadRequest, Context, View
from jobd.web.questions import Question

PERIODS = ("1h", "4h", "8h", "24h", "72h", "7d", "30d", "90d")
ROWS = 100
WITH_PERCENTILES = 20
"""Classes, those that took most time, whose histograms are read."""
PERCENTILE_PERIODS = ("1h", "4h", "8h")
"""Periods for which histograms are kept."""
_PERCENTS = (50, 95, 99)


def show(ctx: Context) -> View:
    """Show the classes that took most time."""
    period, match = ctx.query.get("period", "1h"), ctx.text()
    if period not in PERIODS:
        raise BadRequest(f"period is {period[:50]!r}; give one of {', '.join(PERIODS)}")
    [(starts, jobs)] = ctx.ask(_ask_figures(ctx, period, match))
    ctx.read_totals()
    data = {
        "period": period,
        "periods": list(PERIODS),
        "q": match,
        "count": len(jobs),
        "classes": [_row(job, period) for job in jobs[:ROWS]],
        "since": starts[0],
        "percentiles": period in PERCENTILE_PERIODS,
        "with_percentiles": WITH_PERCENTILES,
    }
    return View("metrics.html", data, "Metrics")


def _ask_figures(ctx: Context, period: str, match: str) -> Question[tuple[list[float], list[JobMetrics]]]:
    width, starts = buckets(period, ctx.access.now())
    named = list(counter_keys(ctx.access.keys, width, starts))

    def ask(pipeline: Any) -> None:
        for _, key in named:
            pipeline.hgetall(key)

    told = yield ask
    totals: dict[str, list[int]] = {}
    for answer in told:
        for name, kind, value in counters(answer or {}):
            if match in name:
                totals.setdefault(name, [0, 0, 0])[kind] += value
    jobs = [JobMetrics(name, [ran], [failed], [ms]) for name, (ran, failed, ms) in totals.items()]
    jobs.sort(key=lambda job: (-job.total_milliseconds, -job.total_executed, job.name))
    if period not in PERCENTILE_PERIODS or not jobs:
        return starts, jobs
    return starts, (yield from _ask_histograms(ctx, width, starts, jobs))


def _ask_histograms(ctx: Context, width: int, starts: Sequence[float], jobs: list[JobMetrics]) -> Question[Any]:
    """The same with the histograms of the first of them."""
    assert width == MINUTE
    keys, first = ctx.access.keys, jobs[:WITH_PERCENTILES]

    def ask(pipeline: Any) -> None:
        for job in first:
            names = [keys.histogram(metric_keys.histogram_slot(job.name, start)) for start in starts]
            names += [
                keys.old_histogram(slot)
                for start in starts
                for slot in metric_keys.old_histogram_slots(job.name, start)
            ]
            pipeline.mget([raw_bytes(name) for name in names])

    told = yield ask
    found = []
    for job, values in zip(first, told, strict=True):
        counts = [0] * BUCKETS
        for value in filter(None, values or ()):
            counts = [before + more for before, more in zip(counts, unpack(value), strict=True)]
        found.append(JobMetrics(job.name, job.executed, job.failed, job.milliseconds, [counts]))
    return found + jobs[WITH_PERCENTILES:]


def _row(job: JobMetrics, period: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": job.name,
        "executed": job.total_executed,
        "failed": job.total_failed,
        "failure_rate": job.total_failed / job.total_executed if job.total_executed else 0.0,
        "milliseconds": job.total_milliseconds,
        "average": job.average_milliseconds,
    }
    known = bool(job.histograms) and sum(job.histogram) > 0
    for percent in _PERCENTS:
        estimate = job.percentile(percent) if known else None
        row[f"p{percent}"] = None if estimate is None else estimate.milliseconds
    return row
