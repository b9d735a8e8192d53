"""What a worker process used at its last heartbeats, as it shows it with each of them: `Trend`."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


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
        return msgspec.json.decode(raw, type=Trend)
    except (msgspec.DecodeError, RecursionError):
        return None
