"""What needs attention because of how things have gone: decided of recorded totals and of what is read now and then."""

from __future__ import annotations

from collections.abc import Sequence

from jobd.client.history import Sample, increases
from jobd.web.recent import RANGES, Slow
from jobd.web.totals import Attention

SPIKE_SPAN, BEFORE_SPAN = 300.0, 3300.0
"""Seconds that are compared: the last ones, with those before them."""
SPIKE_FEWEST, SPIKE_SHARE, SPIKE_TIMES = 10, 0.05, 3.0
"""Failures rise when there are so many, so large a share of all, and so many times the share before."""
DEAD_GROWTH = 100
"""Jobs by which the dead set has grown within an hour."""
_STALE = 60.0
_MOST_ENTRIES = 5
"""Cron entries of one kind that are named."""
_LATE = "Cron entry {name} is late."
_BROKEN = "Cron entry {name}: its last run that has ended failed for good."


def trends(samples: Sequence[Sample], slow: Slow, now: float) -> list[Attention]:
    """What needs attention by the samples of the last hour; nothing of those that stopped a minute ago."""
    found = _of_cron(_LATE, "Cron entries that are late besides: {count}.", [name for name, _ in slow.late])
    found += _of_cron(_BROKEN, "Cron entries besides whose last run failed for good: {count}.", slow.broken)
    if not samples or now - samples[-1].at > _STALE:
        return found
    found += _spike(samples)
    last, first = samples[-1], samples[0]
    if (grown := last.dead - first.dead) >= DEAD_GROWTH:
        values = {"count": int(grown), "seconds": last.at - first.at}
        found.append(Attention("/dead", "Jobs that died within {seconds}: {count}.", values))
    return found


def _of_cron(text: str, besides: str, names: Sequence[str]) -> list[Attention]:
    """The first of some entries, and how many there are besides."""
    found = [Attention("/cron", text, {"name": name}) for name in names[:_MOST_ENTRIES]]
    rest = len(names) - _MOST_ENTRIES
    return [*found, Attention("/cron", besides, {"count": rest})] if rest > 0 else found


def _spike(samples: Sequence[Sample]) -> list[Attention]:
    """Whether a larger share fails than before; without an hour before, whether half of all fail."""
    end, longest = samples[-1].at, RANGES["1h"].longest
    between = [max(end - SPIKE_SPAN - BEFORE_SPAN, samples[0].at), end - SPIKE_SPAN, end]
    if between[0] >= between[1]:
        return []
    ran_before, ran = increases(samples, "processed", between, longest)
    failed_before, failed = increases(samples, "failed", between, longest)
    if not ran or not failed or failed < SPIKE_FEWEST or failed / ran < SPIKE_SHARE:
        return []
    before = (failed_before or 0.0) / ran_before if ran_before else None
    if before is None or failed / ran >= SPIKE_TIMES * before:
        values = {"percent": min(failed / ran, 1.0), "before": before or 0.0}
        text = "Of the jobs of the last 5 minutes {percent} failed, before {before}."
        return [Attention("/retries", text, values)]
    return []
