"""Figures of the classes of jobs over time, as the pages of metrics draw them: read once, and kept in the process.

A period is drawn in points, each of which is made of the buckets that workers have written. What has ended does not
change any more but for what a worker writes late, so it is kept for a while and read anew after that. What a period
means, and how its figures are shown, is left to `pages/metrics.py`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from jobd.client import metric_keys
from jobd.client.access import Access
from jobd.client.errors import JobdError
from jobd.client.keys import Keys
from jobd.client.metric_keys import BUCKETS, HOUR, MINUTE, TEN_MINUTES
from jobd.client.metrics import unpack
from jobd.client.processes import number
from jobd.client.scripts import raw_bytes
from jobd.web.questions import Question, answer, name_of

Rows: TypeAlias = Mapping[str, Sequence[int]]
"""Of each class: executions, failures among them, milliseconds of the successes."""

LATE_WRITES = 90.0
"""Seconds after its end in which a bucket still changes: workers write with their heartbeats."""
KEEP = 600.0
"""Seconds after which what is kept is read anew: a worker that was cut off writes later still."""
RENEWED = 4
"""Points that one step in the background reads anew."""
MOST_ROWS = 100_000
"""Rows that are kept, a class in a point being one."""
MOST_NAMES = 30_000
AT_ONCE = 150
"""Buckets that are read without a look at how much they hold."""
LATEST = 10
"""Buckets, the latest, that are read of a period of which the rest is being read."""
MOST_FIELDS = 10_000
"""Fields that one page for people reads; what is missing is read in the background."""
STEP_FIELDS = 4_000
"""Fields that one step in the background reads."""
MOST_STEPS = 500
"""Of one reading in the background."""
STEP_PAUSE = 3.0
"""Pause after a step, in lengths of the step: for the pages that are wanted meanwhile."""
_KINDS = {"p": 0, "f": 1, "ms": 2}
_UNKNOWN = ("", 0)
"""Stands for a name that was not seen before."""


class Point(NamedTuple):
    """`each` buckets of `width` seconds from `start` on; `old` reads the minutes that Sidekiq 7 writes as well.

    A tuple, since a page looks up thousands of them by their hash.
    """

    start: float
    width: int
    each: int = 1
    old: bool = False

    @property
    def end(self) -> float:
        """When its last bucket ends."""
        return self.start + self.width * self.each

    @property
    def old_slots(self) -> int:
        """Hashes of Sidekiq 7 that belong to it."""
        return self.width * self.each // MINUTE if self.old else 0

    def buckets(self, now: float) -> Sequence[Point]:
        """Its buckets that have begun."""
        found = _buckets(self)
        return found if self.end <= now else [bucket for bucket in found if bucket.start <= now]


@lru_cache(maxsize=1_000)
def _buckets(point: Point) -> tuple[Point, ...]:
    starts = (point.start + point.width * place for place in range(point.each))
    return tuple([Point(start, point.width, 1, point.old) for start in starts])


@dataclass(frozen=True, slots=True)
class Span:
    """How a period is read: in so many points, and how the period before is; None where that is kept no more."""

    width: int
    each: int
    points: int
    before: tuple[int, int] | None

    @property
    def length(self) -> int:
        """Seconds of a point."""
        return self.width * self.each

    def now(self, now: float) -> list[Point]:
        """The points of the period that ends now, of which the last is not complete."""
        last = now // self.length * self.length
        starts = [last - self.length * back for back in range(self.points - 1, -1, -1)]
        return [Point(start, self.width, self.each, self._old) for start in starts]

    def earlier(self, now: float) -> list[Point]:
        """Those of the period before."""
        if self.before is None:
            return []
        width, each = self.before
        shift = self.length * self.points
        return [Point(point.start - shift, width, each, self._old) for point in self.now(now)]

    @property
    def _old(self) -> bool:
        return self.length * self.points <= 8 * 3600


SPANS: Mapping[str, Span] = {
    "1h": Span(MINUTE, 1, 60, (MINUTE, 1)),
    "4h": Span(TEN_MINUTES, 1, 24, (TEN_MINUTES, 1)),
    "8h": Span(TEN_MINUTES, 1, 48, (TEN_MINUTES, 1)),
    "24h": Span(TEN_MINUTES, 3, 48, (TEN_MINUTES, 3)),
    "72h": Span(TEN_MINUTES, 12, 36, (HOUR, 2)),
    "7d": Span(HOUR, 4, 42, (HOUR, 4)),
    "30d": Span(HOUR, 24, 30, (HOUR, 24)),
    "90d": Span(HOUR, 24, 90, None),
}


class Kept:
    """What was read of points, by a name of each. Bounded; safe across threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._entries: OrderedDict[Any, tuple[float, Any, int]] = OrderedDict()
        self._rows = 0
        self._since = math.inf
        self.overflowed = False
        """Whether the last reading has found more than is kept."""

    def begin(self) -> None:
        """From now on what is new makes room only by what was put before."""
        with self._lock:
            self._since, self.overflowed = self._clock(), False

    def end(self) -> None:
        """From now on what was put first goes, whenever that was."""
        with self._lock:
            self._since = math.inf

    def get(self, name: Any) -> Any:
        """What is kept, or None."""
        found = self._entries.get(name)
        return None if found is None else found[1]

    def is_old(self, name: Any) -> bool:
        """Whether it is kept for so long that it should be read anew."""
        found = self._entries.get(name)
        return found is not None and self._clock() - found[0] > KEEP

    def put(self, name: Any, value: Any, rows: int) -> None:
        """Keep it; what was put first goes when there is too much, but not what was put since `begin`."""
        with self._lock:
            known = self._entries.pop(name, None)
            self._rows += rows - (known[2] if known else 0)
            self._entries[name] = (self._clock(), value, rows)
            while self._rows > MOST_ROWS and self._entries:
                full = next(iter(self._entries.values()))[0] >= self._since
                self.overflowed |= full
                self._rows -= self._entries.popitem(last=full)[1][2]

    def drop(self, names: Iterable[Any]) -> None:
        """Forget these."""
        with self._lock:
            for name in names:
                if known := self._entries.pop(name, None):
                    self._rows -= known[2]


class Figures:
    """Reads points of all classes, and histograms of some."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._kept = clock, Kept(clock)
        self._given_up: dict[float, float] = {}
        self._names: dict[bytes, tuple[str, int] | None] = {}
        self._old_names: set[str] = set()
        self._reading = threading.Lock()

    def read_on(self, access: Access, points: Sequence[Point]) -> None:
        """Read in the background what is missing of these, and anew what was read long ago; one reading at a time."""
        due = not self.is_too_much(points) and self._is_due(points, access.now())
        if due and self._reading.acquire(blocking=False):
            threading.Thread(target=self._read_all, args=(access, points), name="jobd-figures", daemon=True).start()

    def is_too_much(self, points: Sequence[Point]) -> bool:
        """Whether these were found to have more rows than are kept; after a while that is tried again."""
        return self._clock() < self._given_up.get(_length_of(points), -math.inf)

    def _read_all(self, access: Access, points: Sequence[Point]) -> None:
        self._kept.begin()
        try:
            for _ in range(MOST_STEPS):
                began, now = time.monotonic(), access.now()
                answer(access, self.ask(access.keys, now, points, hurried=True, anew=True))
                if self._kept.overflowed:
                    self._given_up[_length_of(points)] = self._clock() + KEEP
                    break
                if not self._is_due(points, now):
                    break
                time.sleep(STEP_PAUSE * (time.monotonic() - began))
        except JobdError:
            pass  # the next page that asks says so to somebody
        finally:
            self._kept.end()
            self._reading.release()

    def _is_due(self, points: Sequence[Point], now: float) -> bool:
        ended = (point for point in points if point.end + LATE_WRITES <= now)
        return any(self._kept.get(point) is None or self._kept.is_old(point) for point in ended)

    def ask(
        self,
        keys: Keys,
        now: float,
        points: Sequence[Point],
        *,
        hurried: bool,
        anew: bool = False,
        once: bool = False,
    ) -> Question[list[Rows | None]]:
        """The rows of each point; None of those that `hurried` leaves out for now, the earliest.

        With `anew` some of those that were read long ago are read again. With `once` it takes one round trip.
        """
        held = self._held(points, now)
        wanted = self._wanted(points, now, RENEWED if anew else 0, held)
        # What is being read in the background is not read twice.
        left = hurried and not anew and self._reading.locked()
        first = wanted if not hurried or len(wanted) <= AT_ONCE else wanted[: LATEST if left or anew else AT_ONCE // 3]
        rest = [] if left or once else wanted[len(first) :]
        probes = rest[:: max(len(rest) // 50, 1)]

        def ask(pipeline: Any) -> None:
            _read(pipeline, keys, first)
            for bucket in probes:
                pipeline.hlen(_keys_of(keys, bucket)[0])

        told = yield ask
        split = len(told) - len(probes)
        found = self._parsed(keys, first, told[:split])
        if rest:
            each = sum(size or 0 for size in told[split:]) / len(probes)
            allowed = rest[: max(int((STEP_FIELDS if anew else MOST_FIELDS) / max(each, 4.0)), 1)]
            told = yield lambda pipeline: _read(pipeline, keys, allowed)
            found |= self._parsed(keys, allowed, told)
        return [self._rows_of(point, found, held, now) for point in points]

    def _held(self, points: Sequence[Point], now: float) -> dict[Point, Rows]:
        """What is kept of these, which others may drop while the rest is read."""
        held: dict[Point, Rows] = {}
        for point in points:
            for each in [point] if self._kept.get(point) is not None else point.buckets(now):
                if (rows := self._kept.get(each)) is not None:
                    held[each] = rows
        return held

    def _wanted(self, points: Sequence[Point], now: float, anew: int, held: Mapping[Point, Rows]) -> list[Point]:
        """The buckets that have to be read, the latest first; of `anew` points those that were read long ago."""
        wanted: list[Point] = []
        for point in sorted(points, key=lambda each: -each.start):
            if point not in held:
                wanted += [each for each in reversed(point.buckets(now)) if each not in held]
            elif anew and self._kept.is_old(point):
                anew -= 1
                wanted += reversed(point.buckets(now))
        return wanted

    def _parsed(self, keys: Keys, buckets: Sequence[Point], told: Sequence[Any]) -> dict[Point, Rows]:
        answers = iter(told)
        found: dict[Point, Rows] = {}
        for bucket in buckets:
            rows: dict[str, list[int]] = {}
            self._count(rows, next(answers) or {})
            for _ in range(bucket.old_slots):
                if answer := next(answers):
                    self._count(rows, answer)
                    self._old_names |= rows.keys()
            found[bucket] = rows
        return found

    def _count(self, rows: dict[str, list[int]], answer: Mapping[bytes, bytes]) -> None:
        names = self._names
        for raw, value in answer.items():
            known = names.get(raw, _UNKNOWN)
            if known is _UNKNOWN:  # another thread may forget the names at any moment
                known = self._name(raw)
            if known is not None:
                row = rows.get(known[0])
                if row is None:
                    row = rows[known[0]] = [0, 0, 0]
                row[known[1]] += int(value) if value.isdigit() and len(value) < 18 else int(number(value))

    def _name(self, raw: bytes) -> tuple[str, int] | None:
        name, _, kind = name_of(raw).rpartition("|")
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
            self._old_names.clear()
        found = self._names[raw] = (name, _KINDS[kind]) if name and kind in _KINDS else None
        return found

    def _rows_of(
        self, point: Point, found: Mapping[Point, Rows], held: Mapping[Point, Rows], now: float
    ) -> Rows | None:
        """What is known of a point now; what has ended is kept."""
        buckets = point.buckets(now)
        known = held.get(point)
        if known is not None and (not buckets or buckets[0] not in found):
            return known
        parts = [found.get(each, held.get(each)) for each in buckets]
        if any(part is None for part in parts):
            for bucket, part in zip(buckets, parts, strict=True):
                if part is not None and bucket.end + LATE_WRITES <= now:
                    self._kept.put(bucket, part, len(part) + 1)
            # Meanwhile another reading may have put the buckets together.
            return self._kept.get(point)  # type: ignore[no-any-return]
        rows = total(part for part in parts if part is not None)
        if point.end + LATE_WRITES <= now:
            self._kept.drop(each for each in buckets if each != point)
            self._kept.put(point, rows, len(rows) + 1)
            return rows
        for bucket, part in zip(buckets, parts, strict=True):
            if bucket.end + LATE_WRITES <= now and self._kept.get(bucket) is None and part is not None:
                self._kept.put(bucket, part, len(part) + 1)
        return rows

    def ask_histograms(
        self, keys: Keys, now: float, names: Sequence[str], points: Sequence[Point]
    ) -> Question[dict[str, list[Sequence[int]]]]:
        """Of each class the histogram of each point, told by the minute; for the last 8 hours."""
        spans = [(point.start, point.end) for point in points]
        held = {name: [self._kept.get((name, *span)) for span in spans] for name in names}
        wanted = [(name, place) for name in names for place, counts in enumerate(held[name]) if counts is None]
        minutes = {place: _minutes(points[place], now) for place in {place for _, place in wanted}}
        slots = {place: [metric_keys.histogram_slot("", each) for each in starts] for place, starts in minutes.items()}

        def ask(pipeline: Any) -> None:
            for name, place in wanted:
                named = [raw_bytes(keys.histogram(name + slot)) for slot in slots[place]]
                pipeline.mget(named + _old_histograms(keys, name, minutes[place] if name in self._old_names else ()))

        told = (yield ask) if wanted else []
        for (name, place), values in zip(wanted, told, strict=True):
            held[name][place] = counts = _sum_of(values or ())
            if spans[place][1] + LATE_WRITES <= now:
                self._kept.put((name, *spans[place]), counts, 1)
        return held


_NONE = (0,) * BUCKETS


def _length_of(points: Sequence[Point]) -> float:
    """Seconds from the first of these to their end: tells a period from others, with the one before or without."""
    return max(point.end for point in points) - points[0].start


def _keys_of(keys: Keys, bucket: Point) -> list[str]:
    """The hashes in which a bucket stands."""
    if bucket.width == HOUR:
        return [keys.metrics_hour(metric_keys.hour_slot(bucket.start))]
    found = [keys.metrics(metric_keys.slot(bucket.start, bucket.width))]
    if bucket.old:
        starts = range(int(bucket.start), int(bucket.end), MINUTE)
        found += [keys.metrics(metric_keys.old_slot(start)) for start in starts]
    return found


def _read(pipeline: Any, keys: Keys, buckets: Sequence[Point]) -> None:
    for bucket in buckets:
        for key in _keys_of(keys, bucket):
            pipeline.hgetall(key)


def total(parts: Iterable[Rows | None]) -> dict[str, list[int]]:
    """The figures of each class over all parts, whose order they have."""
    found: dict[str, list[int]] = {}
    for rows in parts:
        for name, (executed, failed, milliseconds) in rows.items() if rows else ():
            row = found.get(name)
            if row is None:
                found[name] = [executed, failed, milliseconds]
            else:
                row[0] += executed
                row[1] += failed
                row[2] += milliseconds
    return found


def _minutes(point: Point, now: float) -> list[float]:
    return [float(start) for start in range(int(point.start), int(min(point.end, now + 1)), MINUTE)]


def _old_histograms(keys: Keys, name: str, minutes: Sequence[float]) -> list[bytes]:
    slots = (slot for start in minutes for slot in metric_keys.old_histogram_slots(name, start))
    return [raw_bytes(keys.old_histogram(slot)) for slot in slots]


def _sum_of(values: Iterable[bytes | None]) -> Sequence[int]:
    found = [unpack(value) for value in values if value]
    return tuple(map(sum, zip(*found, strict=True))) if found else _NONE
