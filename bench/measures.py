"""All measures, in the order of the page."""

from __future__ import annotations

from bench import bulk, dashboard, drain, growth, idle, latency, pushing, recovery, scheduling, sleeping
from bench.results import Measure

MEASURES: tuple[Measure, ...] = (
    drain.ONE,
    drain.TWO,
    *pushing.MEASURES,
    latency.START,
    *scheduling.MEASURES,
    *sleeping.MEASURES,
    idle.ONE,
    idle.TWO,
    recovery.ALL,
    recovery.ONE,
    *growth.MEASURES,
    *dashboard.MEASURES,
    bulk.RETRY_ALL,
)
