"""What a job's payload tells of its life: when what happened, which attempt is next, where it failed, how it is called.

Pure; nothing here hides secrets: what is passed in is hidden already.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobd.client import defaults, registry
from jobd.client.entry import JobEntry
from jobd.client.policies import usual_spread, usual_wait
from jobd.client.source_links import SourceLinks, is_own

_LAST = 1e12
"""Epoch seconds beyond which a time is none."""
_MOST_SUMMED = 1_000
"""Attempts of which the waits are added up."""
_LINE = re.compile(r"(.+?):([0-9]{1,9}):in ", re.DOTALL)
"""How a line of a backtrace begins: file and line, as Ruby writes them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, or will, at a time in epoch seconds, `wait` seconds after what was before it."""

    what: str
    at: float
    wait: float | None


def timeline(entry: JobEntry, place: str, at: float | None) -> list[Event]:
    """What the payload tells, in order; `at` is the time at which its place holds it, or since when it runs."""
    ends = {"retries": "Runs again", "scheduled": "Runs", "dead": "Died", "busy": "Started"}
    told = [
        ("Created", entry.created_at),
        ("Entered its queue", entry.enqueued_at),
        ("Failed first", entry.failed_at),
        ("Failed last", entry.retried_at),
        ("No process knew its class", entry.unknown_since),
        (ends.get(place, ""), at if place in ends else None),
    ]
    known = sorted(((moment, what) for what, moment in told if moment), key=_order)
    before = [None, *(moment for moment, _ in known)]
    return [
        Event(what, moment, None if last is None else max(moment - last, 0.0))
        for (moment, what), last in zip(known, before, strict=False)
    ]


def _order(event: tuple[float, str]) -> float:
    """Milliseconds, as some times tell no more: within one, things stand in the order in which they happen."""
    moment, what = event
    if abs(moment) > _LAST:
        return moment  # of a damaged entry: endless, too
    # When it started is told in whole seconds: what else is of that second was before it.
    return math.floor(moment * 1000) + (1000 if what == "Started" and moment == math.floor(moment) else 0)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often it has failed, which attempt comes next, and how many there are; None where nothing limits them.

    If that one fails too there are `more` after it, over about so many seconds; None where that is not known.
    """

    failures: int
    following: int
    most: int | None
    more: int | None = None
    over: float | None = None


def attempts(entry: JobEntry, at: float | None = None) -> Attempts:
    """Attempts of a job, which is to be retried at `at`.

    Without a number of its own it has those that a worker gives by default.
    """
    count, retry = entry.retry_count, entry.payload.get("retry")
    failures = 0 if count is None else max(count + 1, 0)
    most: int | None = defaults.MAX_RETRIES + 1
    if entry.payload.get("retry_for") is not None:
        most = None
    elif retry is False:
        most = 1
    elif isinstance(retry, int) and not isinstance(retry, bool):
        most = max(retry, 0) + 1
    if at is None or most is None or not failures + 1 < most <= _MOST_SUMMED or not _waits_as_usual(entry, at):
        return Attempts(failures, failures + 1, most)
    counts = range(failures, most - 1)
    over = sum(usual_wait(count) + usual_spread(count) / 2 for count in counts)
    return Attempts(failures, failures + 1, most, len(counts), over)


def _waits_as_usual(entry: JobEntry, at: float) -> bool:
    """Whether the wait of a retry is the usual one, and nothing that is known of its class speaks against more such."""
    failed, count = entry.retried_at or entry.failed_at, entry.retry_count
    if failed is None or count is None or count < 0:
        return False
    if any(entry.payload.get(field) is not None for field in ("retry_on_counts", "postponed_count")):
        return False
    handler = registry.lookup(entry.name)
    if handler is not None and handler.policies.sets_waits:
        return False
    return -1.0 <= at - failed - usual_wait(count) <= usual_spread(count) + 1.0


@dataclass(frozen=True, slots=True)
class Backtrace:
    """Lines of the application, the address of each, if any, and all lines, of which so many are those of libraries."""

    own: Sequence[str]
    links: Sequence[str | None]
    lines: Sequence[str]
    vendored: int


def backtrace(lines: Sequence[str], sources: SourceLinks) -> Backtrace:
    """Tell the lines of the application from those of libraries by where their files are."""
    own = list(filter(is_own, lines))
    places = map(_LINE.match, own)
    links = [sources.of(place[1], int(place[2])) if place else None for place in places]
    return Backtrace(own, links, lines, len(lines) - len(own))


def as_python(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], delay: float | None = None) -> str:
    """How a program of Python pushes the same job again, `delay` seconds later if given."""
    later = None if delay is None else round(delay, 3)
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        item: dict[str, Any] = {"class": name, "args": list(args), **({"kwargs": dict(kwargs)} if kwargs else {})}
        return f"jobd.Client().push({item | ({} if later is None else {'wait': later})!r})"
    given = [repr(value) for value in args]
    given += [
        f"{key}={value!r}" if key.isidentifier() and not keyword.iskeyword(key) else f"**{ {key: value}!r}"
        for key, value in kwargs.items()
    ]
    if later is None:
        return f"{name}.perform_async({', '.join(given)})"
    return f"{name}.perform_in({', '.join([repr(later), *given])})"
