"""What a worker process used at its last heartbeats, as it shows it with each of them: `Trend`."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

_MOST_SAMPLES = 1_000
_MOST_VALUE = 2**53
"""As far as a number of JSON is exact: larger ones, and what is below 0, no process has measured."""
_MOST_STEP = 86_400.0


@dataclass(frozen=True, slots=True)
class Trend:
    """Samples about `step` seconds apart, the newest last: `rss` in KiB, `cpu` in percent of one processor."""

    step: float
    rss: tuple[int, ...]
    cpu: tuple[int, ...]


def read_trend(raw: bytes | None) -> Trend | None:
    """What a process has written; None when that is nothing, or cannot be read."""
    if raw is None:
        return None
    try:
        found = msgspec.json.decode(raw, type=Trend)
    except (msgspec.DecodeError, RecursionError):
        return None
    values = (*found.rss, *found.cpu)
    sound = len(values) <= _MOST_SAMPLES and all(0 <= value <= _MOST_VALUE for value in values)
    return found if sound and 0 < found.step <= _MOST_STEP else None
