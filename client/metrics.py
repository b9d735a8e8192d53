"""How often each class of jobs ran, failed, and how long it took, over the last hours and days: `Metrics`.

Workers write the figures with their heartbeats, jobd's and Sidekiq 8's under the same names; those of Sidekiq 7 are
read too. What the names are is in `metric_keys.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Literal, TypeAlias, get_args

from jobd.client import metric_keys
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.metric_keys import BUCKETS, HOUR, MINUTE, TEN_MINUTES
from jobd.client.processes import number
from jobd.client.push import Client

Period: TypeAlias = Literal["1h", "2h", "4h", "8h", "24h", "48h", "72h", "7d", "30d", "90d"]

_Counts: TypeAlias = tuple[list[int], list[int], list[int]]
"""Executions, failures and milliseconds in each bucket."""

_SECONDS = {"h": 3600, "d": 24 * 3600}
_KEYS_AT_A_TIME = 200
_HISTOGRAM = struct.Struct(f">{BUCKETS}H")
_KINDS = {"p": 0, "f": 1, "ms": 2}
_REMEMBERED, _MOST_REMEMBERED = 2_000, 300
"""Names of counters, of which every bucket has the same, and the bytes of one."""
_DIGITS = 18
"""Of a number that needs no look at whether it is one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time in milliseconds, and the bounds between which it certainly lies; without jobs all three are 0.0."""

    milliseconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """The figures of one class, a number for each bucket of the period.

    - `executed`, `failed`: attempts that ended, and those of them that failed;
    - `milliseconds`: how long those took that succeeded;
    - `histograms`: how many of them took how long, by the 26 ranges of `metric_keys.range_of`; empty where they are not
      kept or were not asked for.
    """

    name: str
    executed: Sequence[int]
    failed: Sequence[int]
    milliseconds: Sequence[int]
    histograms: Sequence[Sequence[int]] = ()

    @property
    def total_executed(self) -> int:
        """Attempts of the whole period."""
        return sum(self.executed)

    @property
    def total_failed(self) -> int:
        """Those of them that failed."""
        return sum(self.failed)

    @property
    def total_milliseconds(self) -> int:
        """How long those took that succeeded."""
        return sum(self.milliseconds)

    @property
    def average_milliseconds(self) -> float:
        """How long one of those took; 0.0 without any."""
        succeeded = self.total_executed - self.total_failed
        return self.total_milliseconds / succeeded if succeeded > 0 else 0.0

    @property
    def histogram(self) -> list[int]:
        """The histograms of all buckets together."""
        return [sum(counts) for counts in zip(*self.histograms, strict=True)]

    def percentile(self, percent: float) -> Estimate:
        """What so many percent of the successes took at most, estimated from the histogram."""
        return estimate(self.histogram, percent)


@dataclass(frozen=True, slots=True)
class MetricsResult:
    """The figures of a period: its buckets' starts (epoch seconds) and `width` (seconds), and each class by name.

    The classes that took most time come first.
    """

    period: Period
    width: int
    starts: Sequence[float]
    jobs: Mapping[str, JobMetrics] = field(default_factory=dict)


class Metrics:
    """Figures of the classes of jobs. Without a `client` they are those of this process' jobs.

    Up to 8 hours they are told by the minute, up to 72 hours by ten minutes, up to 90 days by the hour (these last are
    jobd's alone). They are as exact as a heartbeat: what a killed process had not written yet is missing. Any call may
    raise `InvalidArguments`, `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def top(self, period: Period = "1h", *, match: str = "", until: float | None = None) -> MetricsResult:
        """All classes whose name holds `match`, over the period that ends at `until` (epoch seconds) [now]."""
        width, starts = buckets(period, self.access.now() if until is None else until)
        found: dict[str, _Counts] = {}
        for place, answer in self._hashes(width, starts, lambda pipeline, key: pipeline.hgetall(key)):
            for name, kind, value in counters(answer):
                if match in name:
                    found.setdefault(name, _zeroes(starts))[kind][place] += value
        jobs = [JobMetrics(name, *counts) for name, counts in found.items()]
        jobs.sort(key=lambda job: (-job.total_milliseconds, -job.total_executed, job.name))
        return MetricsResult(period, width, starts, {job.name: job for job in jobs})

    def of(self, name: str, period: Period = "1h", *, until: float | None = None) -> MetricsResult:
        """One class over the period, up to 8 hours with its histograms; with zeroes when it did not run."""
        width, starts = buckets(period, self.access.now() if until is None else until)
        counts, names = _zeroes(starts), metric_keys.fields(name)
        for place, answer in self._hashes(width, starts, lambda pipeline, key: pipeline.hmget(key, *names)):
            for kind, value in enumerate(answer or ()):
                counts[kind][place] += int(number(value))
        histograms = self._histograms(name, starts) if width == MINUTE else ()
        return MetricsResult(period, width, starts, {name: JobMetrics(name, *counts, histograms)})

    def _hashes(
        self, width: int, starts: Sequence[float], ask: Callable[[Any, str], object]
    ) -> Iterator[tuple[int, Any]]:
        """What `ask` is answered for the counters of each bucket, with the bucket's place."""
        keys = list(counter_keys(self.access.keys, width, starts))
        for first in range(0, len(keys), _KEYS_AT_A_TIME):
            some = keys[first : first + _KEYS_AT_A_TIME]

            def ask_all(pipeline: Any, some: Sequence[tuple[int, str]] = some) -> None:
                for _, key in some:
                    ask(pipeline, key)

            answers = self.access.read_all(ask_all)
            yield from ((place, answer) for (place, _), answer in zip(some, answers, strict=True) if answer)

    def _histograms(self, name: str, starts: Sequence[float]) -> list[list[int]]:
        counts, keys = [[0] * BUCKETS for _ in starts], self.access.keys
        named = [
            (place, key)
            for place, start in enumerate(starts)
            for key in (
                keys.histogram(metric_keys.histogram_slot(name, start)),
                *map(keys.old_histogram, metric_keys.old_histogram_slots(name, start)),
            )
        ]
        for first in range(0, len(named), _KEYS_AT_A_TIME):
            some = named[first : first + _KEYS_AT_A_TIME]
            values = self.access.read(partial(_mget, keys=[key for _, key in some]))
            for (place, _), value in zip(some, values, strict=True):
                if value:
                    parts = unpack(value)
                    counts[place] = [before + more for before, more in zip(counts[place], parts, strict=True)]
        return counts


def buckets(period: str, until: float) -> tuple[int, list[float]]:
    """Width and starts (epoch seconds) of the buckets of a period that ends at `until`. Raises `InvalidArguments`."""
    seconds = seconds_of(period)
    width = MINUTE if seconds <= 8 * 3600 else TEN_MINUTES if seconds <= 72 * 3600 else HOUR
    last = until // width * width
    return width, [last - width * back for back in range(seconds // width - 1, -1, -1)]


def seconds_of(period: str) -> int:
    """How long a period is. Raises `InvalidArguments`."""
    if period not in get_args(Period):
        raise InvalidArguments(f"the period is {period!r}; give one of {', '.join(get_args(Period))}")
    return int(period[:-1]) * _SECONDS[period[-1]]


def estimate(histogram: Sequence[int], percent: float) -> Estimate:
    """What so many percent of the values of a histogram are at most, taken to be spread evenly within a bucket."""
    if not 0 <= percent <= 100:
        raise InvalidArguments(f"percent is {percent!r}; give a number from 0 to 100")
    wanted, before = sum(histogram) * percent / 100, 0
    for bucket, count in enumerate(histogram):
        if count and before + count >= wanted:
            low, high = metric_keys.range_of(bucket)
            within = low if math.isinf(high) else low + (high - low) * (wanted - before) / count
            return Estimate(within, low, high)
        before += count
    return Estimate(0.0, 0.0, 0.0)


def unpack(histogram: bytes) -> Sequence[int]:
    """The counters of a stored histogram."""
    return _HISTOGRAM.unpack(histogram[: _HISTOGRAM.size].ljust(_HISTOGRAM.size, b"\0"))


def _zeroes(starts: Sequence[float]) -> _Counts:
    return [0] * len(starts), [0] * len(starts), [0] * len(starts)


def _mget(redis: Any, keys: Sequence[str]) -> Any:
    return redis.mget(keys)


def counter_keys(keys: Keys, width: int, starts: Sequence[float]) -> Iterator[tuple[int, str]]:
    """The keys that hold the counters of buckets, each with its bucket's place."""
    for place, start in enumerate(starts):
        if width == HOUR:
            yield place, keys.metrics_hour(metric_keys.hour_slot(start))
            continue
        yield place, keys.metrics(metric_keys.slot(start, width))
        if width == MINUTE:
            yield place, keys.metrics(metric_keys.old_slot(start))


def counters(fields: Mapping[bytes, bytes]) -> Iterable[tuple[str, int, int]]:
    """Name, kind and value of each counter of a hash; what else it holds is passed over."""
    for raw, value in fields.items():
        if counter := (_known_counter(raw) if len(raw) <= _MOST_REMEMBERED else _counter(raw)):
            plain = len(value) <= _DIGITS and value.isdigit()
            yield *counter, int(value) if plain else int(number(value))


def _counter(raw: bytes) -> tuple[str, int] | None:
    """Name and kind of the counter in a field; None for what is none."""
    name, _, kind = raw.decode("utf-8", "replace").rpartition("|")
    return (name, _KINDS[kind]) if name and kind in _KINDS else None


_known_counter = lru_cache(_REMEMBERED)(_counter)
