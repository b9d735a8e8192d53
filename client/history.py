"""The totals of the last hour and of the last three days, as a worker process records them: `Samples`.

What a record is and where it stands in the ring; `worker/history.py` writes them. Totals by day are in `stats.py`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.push import Client

Step: TypeAlias = Literal["10s", "5m"]

_RECORD = struct.Struct(">12d")
AHEAD = 60.0
"""Seconds by which a reader's clock may be behind that of the server."""

LARGEST = 1e15
"""What a figure may be: whatever is larger was not recorded by jobd."""


class Sample(NamedTuple):
    """The totals at one moment, `at` in epoch seconds.

    `processed` and `failed` count attempts since Redis was filled; `enqueued`, `retries`, `scheduled` and `dead` are
    jobs, `busy` of `threads` run one. `latency` is how many seconds the next job of the slowest queue has waited.
    `memory` is what Redis uses and `memory_limit` what it may, in bytes; 0: not known, no limit.
    """

    at: float
    processed: float = 0.0
    failed: float = 0.0
    enqueued: float = 0.0
    busy: float = 0.0
    threads: float = 0.0
    retries: float = 0.0
    scheduled: float = 0.0
    dead: float = 0.0
    latency: float = 0.0
    memory: float = 0.0
    memory_limit: float = 0.0


class Recorded(Protocol):
    """Figures of one moment, `at` in epoch seconds: those of all, or of one queue."""

    @property
    def at(self) -> float: ...


RecordedT = TypeVar("RecordedT", bound=Recorded)


@dataclass(frozen=True, slots=True)
class Ring:
    """Where samples of one `step` (seconds) stand: `slots` of them, of which each overwrites the oldest."""

    step: float
    slots: int
    ttl: int

    def offset(self, at: float, record: struct.Struct = _RECORD) -> int:
        """The byte at which the sample of this time begins, in a ring of such records."""
        return int(at // self.step) % self.slots * record.size

    def read(self, raw: bytes | None, now: float) -> list[Sample]:
        """The totals as `records` finds them."""
        return self.records(raw, now, _RECORD, Sample._make)

    def records(
        self, raw: bytes | None, now: float, record: struct.Struct, make: Callable[[tuple[float, ...]], RecordedT]
    ) -> list[RecordedT]:
        """What is no older than the ring is long, the oldest first; damaged records are passed over.

        `make` makes of a `record` what is returned; its first value is its time in epoch seconds.
        """
        whole = (raw or b"")[: self.slots * record.size]
        found: Sequence[RecordedT] = _records(whole[: len(whole) // record.size * record.size], record, make)
        oldest, newest = now - self.step * self.slots, now + AHEAD
        return list(found[bisect_right(found, oldest, key=_time) : bisect_right(found, newest, key=_time)])


@lru_cache(maxsize=8)
def _records(raw: bytes, record: struct.Struct, make: Callable[[tuple[float, ...]], Any]) -> list[Any]:
    """All that are sound, the oldest first. One comes every few seconds, and a ring is read more often."""
    return [make(values) for values in sorted(filter(is_sound, record.iter_unpack(raw)))]


def is_sound(values: Iterable[float]) -> bool:
    """Whether these are figures as jobd records them."""
    return all(0.0 <= value <= LARGEST for value in values)


_time = attrgetter("at")


RINGS: dict[Step, Ring] = {
    "10s": Ring(defaults.HISTORY_STEP, defaults.HISTORY_SLOTS, defaults.HISTORY_TTL),
    "5m": Ring(defaults.LONG_HISTORY_STEP, defaults.LONG_HISTORY_SLOTS, defaults.LONG_HISTORY_TTL),
}


class Samples:
    """What was recorded. Without a `client` it is that of this process' jobs.

    Nothing is recorded while no worker process of jobd runs. A call may raise `InvalidArguments`, `RedisUnavailable`
    or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def read(self, step: Step = "10s") -> list[Sample]:
        """The samples of the last hour (`10s`) or of the last three days (`5m`), the oldest first."""
        if step not in RINGS:
            raise InvalidArguments(f"step is {step!r}; give one of {', '.join(RINGS)}")
        raw = self.access.read(lambda redis: redis.get(key_of(self.access.keys, step)))
        return RINGS[step].read(raw, self.access.server_now())


def key_of(keys: Keys, step: Step) -> str:
    """The key of a ring."""
    return keys.history if step == "10s" else keys.long_history


def pack(sample: Sample) -> bytes:
    """A sample as it stands in a ring."""
    return _RECORD.pack(*sample)


def increases(samples: Sequence[Recorded], name: str, edges: Sequence[float], longest: float) -> list[float | None]:
    """By how much a counter grew between each edge (epoch seconds) and the next.

    Between two samples it is taken to grow evenly. None where they are further apart than `longest` seconds, or where
    there is none; what was reset meanwhile counts as 0.
    """
    values = [_value_at(samples, name, edge, longest) for edge in edges] if samples else [None] * len(edges)
    return [None if low is None or high is None else max(high - low, 0.0) for low, high in pairwise(values)]


def highest(samples: Sequence[Recorded], name: str, edges: Sequence[float]) -> list[float | None]:
    """The highest value of a figure from each edge (epoch seconds) up to the next; None without a sample there."""
    times, values = list(map(_time, samples)), list(map(attrgetter(name), samples))
    places = [bisect_left(times, edge) for edge in edges]
    return [float(max(values[first:end])) if first < end else None for first, end in pairwise(places)]


def _value_at(samples: Sequence[Recorded], name: str, at: float, longest: float) -> float | None:
    """A counter at a moment, from the samples before and after it."""
    low, high = 0, len(samples)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if samples[middle].at <= at else (low, middle)
    before, after = samples[low - 1] if low else None, samples[low] if low < len(samples) else None
    if before is None:
        return None
    value = float(getattr(before, name))
    if at == before.at:
        return value
    if after is None:
        return value if at - before.at <= longest else None
    width = after.at - before.at
    if width > longest:
        return None
    return value + (float(getattr(after, name)) - value) * (at - before.at) / width
