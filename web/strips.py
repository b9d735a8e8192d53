"""When the jobs of a set run, or died: counts by the hour and by the day, each with the search that finds them. Pure.

Hours and days are those of UTC, so that a page which is looked at again shows the same bars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

_HOUR, _DAY = 3_600, 86_400
_HOURS, _DAYS = 24, 30
WIDTH, HEIGHT = 720, 48
"""Of a strip, in the units of its drawing."""
_GAP = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch from one full hour up to, and without, another; epoch seconds, infinite where it has no end."""

    since: float
    until: float

    @property
    def bounds(self) -> tuple[str, str]:
        """Its bounds, as Redis counts between them."""
        low = "-inf" if self.since == -math.inf else repr(self.since)
        return low, "+inf" if self.until == math.inf else f"({self.until!r}"

    @property
    def search(self) -> str:
        """The search that finds what it counts. A microsecond is the finest that one can write."""
        terms = [] if self.since == -math.inf else [f"since:{_written(self.since)}"]
        if self.until != math.inf:
            terms.append(f"until:{_written(self.until - 1)}:59:59.999999")
        return " ".join(terms)


@dataclass(frozen=True, slots=True)
class Spans:
    """What is counted of a set: hours, days, and what is before and after these."""

    hours: tuple[Span, ...]
    days: tuple[Span, ...]
    before: Span
    after: Span

    @property
    def all(self) -> tuple[Span, ...]:
        """In the order in which they are counted."""
        return (*self.hours, *self.days, self.before, self.after)


def spans(now: float, *, past: bool) -> Spans:
    """The hour and the day of `now`, and those that follow, or with `past` those that were before them."""
    return _spans(now // _HOUR * _HOUR, past)


@lru_cache(maxsize=4)
def _spans(hour: float, past: bool) -> Spans:
    day = hour // _DAY * _DAY
    if past:
        hour, day = hour - (_HOURS - 1) * _HOUR, day - (_DAYS - 1) * _DAY
    hours = tuple(Span(hour + i * _HOUR, hour + (i + 1) * _HOUR) for i in range(_HOURS))
    days = tuple(Span(day + i * _DAY, day + (i + 1) * _DAY) for i in range(_DAYS))
    return Spans(hours, days, Span(-math.inf, day), Span(days[-1].until, math.inf))


def strips(found: Spans, counts: Sequence[int]) -> dict[str, Any]:
    """Both strips and what is beside them, of the counts of `Spans.all`; bars without a job are left out."""
    hours, days, (before, after) = counts[:_HOURS], counts[_HOURS:-2], counts[-2:]
    return {
        "hours": _strip(found.hours, hours, "%m-%d %H:%M"),
        "days": _strip(found.days, days, "%Y-%m-%d"),
        "before": _bar(found.before, before, ""),
        "after": _bar(found.after, after, ""),
    }


def _strip(of: Sequence[Span], counts: Sequence[int], form: str) -> dict[str, Any]:
    most, step = max(counts, default=0), WIDTH / len(of)
    bars = []
    for place, (span, count) in enumerate(zip(of, counts, strict=True)):
        if count:
            height = max(HEIGHT * count / most, 2)
            path = f"M{place * step:.0f} {HEIGHT}v-{height:.0f}h{step - _GAP:.0f}V{HEIGHT}z"
            bars.append({**_bar(span, count, form), "path": path})
    ends = [_named(each, form)[0] for each in (of[0], of[-1])]
    return {"bars": bars, "count": sum(counts), "most": most, "first": ends[0], "last": ends[1]}


def _bar(span: Span, count: int, form: str) -> dict[str, Any]:
    label, search, link = _named(span, form)
    return {"label": label, "count": count, "q": search, "link": link}


@lru_cache(maxsize=512)
def _named(span: Span, form: str) -> tuple[str, str, str]:
    """Label, search and link, which take longer than the counting; the same for an hour."""
    label = datetime.fromtimestamp(span.since, UTC).strftime(form) if form else ""
    return label, span.search, f"?q={quote_plus(span.search, safe=':')}"


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H")
