"""How long jobs of a class had waited when they began to run, as its page shows it. Times are milliseconds here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client.access import Access
from jobd.client.class_waits import counts_of, grid_of, sources_of
from jobd.client.scripts import raw_bytes
from jobd.client.waits import BUCKETS, LONGEST, SHARES, percentile, range_of
from jobd.web.questions import Question

LASTS = 10.0
"""Seconds for which what was read of a class serves in the table of all: workers write as often."""
MOST_KEPT = 1_000
_KEPT: WeakKeyDictionary[Access, dict[tuple[str, str], tuple[float, float | None]]] = WeakKeyDictionary()
MORE_THAN = round(LONGEST * 1000, 3)
"""What is told as this was longer."""
FEWEST_RANGES = 12
"""Ranges that are drawn at least, as one alone looks like none."""


def ask_waits(access: Access, name: str, period: str, since: float) -> Question[list[int]]:
    """The counts of each range, of jobs that began to run from `since` (epoch seconds) on."""
    grid, now = grid_of(period), access.now()
    until = (now // grid.width + 1) * grid.width
    asked = sources_of(access.keys, name, grid, since, until)
    [raws] = yield lambda pipeline: pipeline.mget([raw_bytes(each.key) for each in asked])
    return counts_of(asked, raws or [None] * len(asked), since, until)


def ask_p95s(access: Access, names: Sequence[str], period: str, since: float) -> Question[dict[str, float | None]]:
    """What 95 % of the jobs of each class had waited at most; without a command where that was read ten seconds ago."""
    kept, now, grid = _KEPT.setdefault(access, {}), access.now(), grid_of(period)
    until = (now // grid.width + 1) * grid.width
    found = {name: kept.get((name, period)) for name in names}
    asked = {
        name: sources_of(access.keys, name, grid, since, until)
        for name, known in found.items()
        if known is None or not 0 <= now - known[0] < LASTS
    }
    if asked:
        named = [raw_bytes(each.key) for read in asked.values() for each in read]
        [raws] = yield lambda pipeline: pipeline.mget(named)
        answers = iter(raws or [None] * len(named))
        if len(kept) > MOST_KEPT:
            kept.clear()
        for name, read in asked.items():
            counts = counts_of(read, list(islice(answers, len(read))), since, until)
            found[name] = kept[name, period] = (now, _milliseconds(percentile(counts, 0.95)))
    return {name: known[1] for name, known in found.items() if known is not None}


def told(counts: Sequence[int]) -> dict[str, Any]:
    """What the counts say; a percentile that is `longest` was longer than that."""
    return {
        "count": sum(counts),
        **percentiles(counts),
        "longest": MORE_THAN,
        "histogram": _histogram(counts),
    }


def percentiles(counts: Sequence[int]) -> dict[str, float | None]:
    """p50, p95 and p99."""
    return {f"p{share * 100:.0f}": _milliseconds(percentile(counts, share)) for share in SHARES}


def _histogram(counts: Sequence[int]) -> list[dict[str, Any]]:
    """The ranges from the first to the last in which there are any, and some more where these are few."""
    hit = [bucket for bucket, count in enumerate(counts) if count]
    if not hit:
        return []
    first = min(hit[0], BUCKETS - FEWEST_RANGES)
    ranges = [(range_of(bucket), counts[bucket]) for bucket in range(first, max(hit[-1] + 1, first + FEWEST_RANGES))]
    return [{"low": _milliseconds(low), "high": _milliseconds(high), "count": count} for (low, high), count in ranges]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
