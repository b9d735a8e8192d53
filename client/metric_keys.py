"""Where the figures of each class of jobs stand, minute by minute: Sidekiq 8's names, which are written, and 7's. Pure.

`worker/tally.py` writes them, `metrics.py` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600
"""Widths in seconds of what is kept 8 hours, 72 hours and 90 days."""

BOUNDS = (
    *(20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500, 13_000),
    *(20_000, 30_000, 45_000, 65_000, 100_000, 150_000, 225_000, 335_000),
)
"""Upper bounds in milliseconds of the 26 buckets of a histogram, of which the last has none. A bound is in the next."""
BUCKETS = len(BOUNDS) + 1

OTHER = "OTHER"
"""The name under which classes beyond the number that is kept are counted."""
MAX_NAME = 200
"""Bytes of the longest name that is kept."""
_REMEMBERED = 2_000
"""Minutes whose names are: those for which histograms are kept, asked for each class again."""


def range_of(bucket: int) -> tuple[float, float]:
    """The bounds of a bucket in milliseconds; the last one ends at infinity."""
    return (BOUNDS[bucket - 1] if bucket else 0.0, BOUNDS[bucket] if bucket < len(BOUNDS) else math.inf)


def is_countable(name: str) -> bool:
    """Whether a class can have figures of its own: `|` ends a name in them."""
    return bool(name) and "|" not in name and len(name.encode("utf-8", "replace")) <= MAX_NAME


def fields(name: str) -> tuple[str, str, str]:
    """The fields of a class: executions, failures among them, milliseconds of the successes."""
    return f"{name}|p", f"{name}|f", f"{name}|ms"


def slot(moment: float, width: int) -> str:
    """The part of a counter's key that names the minute or the ten minutes of a moment (epoch seconds)."""
    at = _utc(moment)
    text = f"{at:%y%m%d}|{at.hour}:{at:%M}"
    return text if width == MINUTE else text[:-1]


def old_slot(moment: float) -> str:
    """The same for a minute, as Sidekiq 7 writes it."""
    at = _utc(moment)
    return f"{at:%Y%m%d}|{at.hour}:{at.minute}"


def hour_slot(moment: float) -> str:
    """The part of jobd's own key that names an hour."""
    return f"{_utc(moment):%y%m%d%H}"


def histogram_slot(name: str, moment: float) -> str:
    """The part of a histogram's key that names class and minute."""
    return f"{name}-{_minutes(moment)[0]}"


def old_histogram_slots(name: str, moment: float) -> Sequence[str]:
    """The same as Sidekiq 7 writes it, with two digits of the day and, in some versions, of the hour."""
    return [f"{name}-{minute}" for minute in _minutes(moment)[1:]]


@lru_cache(_REMEMBERED)
def _minutes(moment: float) -> tuple[str, ...]:
    """How histograms' keys name a minute: Sidekiq 8's, then those of 7 that differ from each other."""
    at = _utc(moment)
    old = dict.fromkeys((f"{at:%d-%H}:{at.minute}", f"{at:%d}-{at.hour}:{at.minute}"))
    return (f"{at.day}-{at.hour}:{at.minute}", *old)


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
