"""The last hour of each queue for lists: rates, failures, how long a queue takes to be empty.

Read five seconds after the last time at the earliest, as it is recorded each ten seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

from jobd.client.access import Access
from jobd.client.queue_history import Course, parsed
from jobd.web.questions import Question

LASTS = 5.0
"""Seconds for which the courses that were read serve."""
_ADDED, _TAKEN = 0, 1


@dataclass(frozen=True, slots=True)
class Going:
    """How a queue goes.

    `added` and `taken` are jobs in a second, None where processes take from it that do not count; `grown` is by how
    many jobs it grows in a second. `ended` and `failed` are jobs of the last hour, `came` and `went` are those of each
    three minutes of it.
    """

    added: float | None
    taken: float | None
    grown: float | None
    ended: float = 0.0
    failed: float = 0.0
    came: tuple[float | None, ...] = ()
    went: tuple[float | None, ...] = ()

    @property
    def failure_rate(self) -> float | None:
        """The share of failures of what ended in the last hour; None when nothing did."""
        return min(self.failed / self.ended, 1.0) if self.ended else None


class _Kept:
    """What was read last of one Redis. Safe across threads, as it is replaced and never changed."""

    def __init__(self) -> None:
        self.found: tuple[float, Mapping[str, Course]] = (0.0, {})
        self.goings: dict[tuple[str, bool], tuple[Course, Going]] = {}
        self.lock = threading.Lock()


_KEPT: WeakKeyDictionary[Access, _Kept] = WeakKeyDictionary()


def ask_courses(access: Access) -> Question[Mapping[str, Course]]:
    """The courses of all queues that are recorded; without a command where they were read within five seconds."""
    kept, now = _KEPT.setdefault(access, _Kept()), access.now()
    read_at, found = kept.found
    if 0 <= now - read_at < LASTS:
        return found
    [fields] = yield lambda pipeline: pipeline.hgetall(access.keys.queue_courses)
    found = parsed(fields)
    kept.found = (now, found)
    return found


def going(access: Access, name: str, course: Course | None, now: float, *, counted: bool) -> Going | None:
    """How a queue goes, by its course; None when nothing is recorded of it, or nothing of the last minute.

    `counted` says whether all who take from it count what they take.
    """
    if course is None or not course.is_fresh(now):
        return None
    kept = _KEPT.setdefault(access, _Kept())
    with kept.lock:
        known = kept.goings.get((name, counted))
        if known is not None and known[0] is course:
            return known[1]
        found = _of_course(course, counted=counted)
        if len(kept.goings) > 1_000:
            kept.goings.clear()
        kept.goings[name, counted] = (course, found)
    return found


def _of_course(course: Course, *, counted: bool) -> Going:
    at = course.sample.at
    return Going(
        course.added if counted else None,
        course.taken if counted else None,
        course.grown,
        *course.hour,
        tuple(course.series(_ADDED, at)) if counted else (),
        tuple(course.series(_TAKEN, at)) if counted else (),
    )


_TALL = 24


def flow(queue: Mapping[str, Any], name: Literal["came", "went"]) -> str:
    """The path of what came (an area) or went (a line) in a drawing of an hour, 72 wide and 24 high."""
    return _flow(tuple(queue["came"]), tuple(queue["went"]), area=name == "came")


def _paired(values: Sequence[float | None]) -> list[float | None]:
    """Two neighbours as one, as the drawing is small; what is known of one of them stands for both."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return [None if a is None and b is None else (a or 0.0) + (b or 0.0) for a, b in pairs]


@lru_cache(maxsize=1_000)
def _flow(came: tuple[float | None, ...], went: tuple[float | None, ...], *, area: bool) -> str:
    drawn, path, last = _paired(came if area else went), "", -1
    top = max([value for value in (*_paired(came), *drawn, *_paired(went)) if value is not None], default=0.0) or 1.0
    for place, value in enumerate(drawn):
        if value is None:
            continue
        x, y = 8 * place, _TALL - 1 - round((_TALL - 2) * value / top)
        joins = last == place - 1 and path
        if area:
            path += f"L{x} {y}" if joins else (f"V{_TALL}Z" if path else "") + f"M{x} {_TALL}V{y}"
        else:
            path += f"L{x} {y}" if joins else f"M{x} {y}h1"
        last = place
    return path + f"V{_TALL}Z" if area and path else path


def drains(size: int, paused: bool, grown: float | None) -> tuple[str, float | None]:
    """What becomes of a queue at the present rate, and in how many seconds it is empty where it will be."""
    if not size:
        return "empty", 0.0
    if grown is None:
        return "unknown", None
    if grown < 0:
        return "drains", size / -grown
    if paused:
        return "paused", None
    return ("grows" if grown > 0 else "stays"), None
