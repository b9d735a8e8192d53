"""Records each queue for the charts of those who come to look later: how full, how late, what came and went.

For the process that records the totals (`history.py`), which tells what it has read. What a record is, and the
summary of an hour: `jobd.client.queue_history`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jobd.client import defaults
from jobd.client.history import RINGS, Step
from jobd.client.keys import Keys
from jobd.client.processes import number
from jobd.client.queue_history import (
    ENDED,
    FAILED,
    GAP,
    LAG,
    RATE_SPAN,
    TAKEN,
    Course,
    QueueSample,
    offset,
    pack,
    ring_key,
    unpack,
)

_STAYS = 2.0
"""How many times the weight of a queue that is recorded another must have to take its place."""


class Reading(NamedTuple):
    """What was read of a queue: its size, the seconds for which its next job has waited, and its counts."""

    size: int
    latency: float
    taken: float = 0.0
    ended: float = 0.0
    failed: float = 0.0


@dataclass(slots=True)
class _Recent:
    """The course of a queue, and its samples of the last minute."""

    course: Course
    samples: deque[QueueSample]


class QueueRecorder:
    """For one thread. It holds a minute of each queue; the hour stands in Redis, for whoever records next."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._queues, self._at, self._long_slot = keys, dict[bytes, _Recent](), 0.0, -1

    def knows(self, now: float) -> bool:
        """Whether it has recorded up to now; else `learn` is to be called."""
        return 0 <= now - self._at <= GAP

    def learn(self, courses: Mapping[bytes, bytes] | None) -> None:
        """Go on where another process has left off: by the hash of courses."""
        known = {name: unpack(raw) for name, raw in (courses or {}).items()}
        self._queues = {
            name: _Recent(course, deque([course.sample])) for name, course in known.items() if course is not None
        }

    def record(self, pipeline: Any, readings: Mapping[bytes, Reading], now: float) -> None:
        """Put the commands into a pipeline that record all, and forget the queues that are recorded no more."""
        known, self._at = self._queues, now
        weights = {name: _weight(reading, known.get(name)) for name, reading in readings.items()}
        queues = {name: advanced(known.get(name), readings[name], now) for name in chosen(known, weights)}
        slot = int(now // defaults.LONG_HISTORY_STEP)
        steps: Sequence[Step] = ("10s", "5m") if slot != self._long_slot else ("10s",)
        self._queues, self._long_slot = queues, slot
        if gone := known.keys() - queues.keys():
            pipeline.hdel(self._keys.queue_courses, *gone)
            pipeline.unlink(*(self._key(step, name) for step in RINGS for name in gone))
        if deleted := known.keys() - readings.keys():
            pipeline.hdel(
                self._keys.queue_counts, *(kind + name for kind in (TAKEN, ENDED, FAILED) for name in deleted)
            )
        for name, recent in queues.items():
            for step in steps:
                pipeline.setrange(self._key(step, name), offset(step, now), pack(recent.course.sample))
                pipeline.expire(self._key(step, name), RINGS[step].ttl)
        if queues:
            courses = {name: recent.course.pack() for name, recent in queues.items()}
            pipeline.hset(self._keys.queue_courses, mapping=courses)
            pipeline.expire(self._keys.queue_courses, defaults.HISTORY_TTL)

    def _key(self, step: Step, name: bytes) -> bytes:
        return ring_key(self._keys, step, "") + name


def readings(
    names: Sequence[bytes], sizes: Sequence[Any], latencies: Sequence[float], counts: Mapping[bytes, bytes] | None
) -> Iterator[tuple[bytes, Reading]]:
    """What was read of each queue, by its name."""
    told = counts or {}
    for name, size, latency in zip(names, sizes, latencies, strict=True):
        counted = (max(float(number(told.get(kind + name))), 0.0) for kind in (TAKEN, ENDED, FAILED))
        yield name, Reading(size or 0, max(latency, 0.0), *counted)


def chosen(
    known: Collection[bytes], weights: Mapping[bytes, float], most: int = defaults.HISTORY_QUEUES
) -> list[bytes]:
    """The queues to be recorded, at most so many: those that weigh most, of which known ones are not soon displaced."""
    if len(weights) <= most:
        return list(weights)
    ranked = sorted(
        weights, key=lambda name: (-weights[name] * (_STAYS if name in known else 1), name not in known, name)
    )
    return ranked[:most]


def _weight(reading: Reading, recent: _Recent | None) -> float:
    taken = 0.0 if recent is None else reading.taken - recent.samples[0].taken
    return reading.size + max(taken, 0.0)


def advanced(recent: _Recent | None, reading: Reading, now: float) -> _Recent:
    """A queue with what was read of it just now.

    What came is what was taken and what the queue grew by. A process tells what it took up to a heartbeat later: until
    then jobs seem to be missing, so that for half a minute the greatest sum of both counts.
    """
    last = recent.course.sample if recent else None
    sample = QueueSample(now, reading.size, reading.latency, 0.0, *reading[2:])
    if recent is None or last is None or now <= last.at:
        return _Recent(Course(sample), deque([sample]))
    samples = deque(each for each in recent.samples if now - each.at <= RATE_SPAN + LAG)
    came = max(_most(samples, sample) - _most(samples, None, last.at), 0.0) if samples else 0.0
    sample = sample._replace(added=last.added + came)
    if not samples:  # nobody recorded for long: what happened meanwhile has no place in the hour
        course = recent.course.with_counts(now, (0.0, 0.0, 0.0, 0.0))
        return _Recent(replace(course, sample=sample, span=0.0), deque([sample]))
    taken, ended, failed = (max(reading[kind] - last[kind + 2], 0.0) for kind in (2, 3, 4))
    course = recent.course.with_counts(now, (came, taken, ended, failed))
    samples.append(sample)
    return _Recent(_with_rates(course, samples), samples)


def _most(samples: Collection[QueueSample], latest: QueueSample | None, at: float = 0.0) -> float:
    """The greatest sum of what waits and what was taken, among the samples of the last LAG seconds."""
    moment = latest.at if latest else at
    sums = [each.size + each.taken for each in samples if moment - LAG <= each.at <= moment]
    return max([*sums, latest.size + latest.taken] if latest else sums, default=0.0)


def _with_rates(course: Course, samples: deque[QueueSample]) -> Course:
    """With the present rates: over a minute, or as much of it as there is."""
    last = samples[-1]
    first = next(each for each in samples if last.at - each.at <= RATE_SPAN + defaults.HISTORY_STEP)
    span = last.at - first.at
    if span <= 0:
        return replace(course, sample=last, span=0.0)
    added, taken = (last.added - first.added) / span, max(last.taken - first.taken, 0.0) / span
    return replace(course, sample=last, span=span, added=added, taken=taken, grown=(last.size - first.size) / span)
