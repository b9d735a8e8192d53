"""A search within a time: looks through a set or a queue by steps, shows what it has found, and says how to go on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from jobd.client.entry import JobEntry
from jobd.client.queues import QueueEntry
from jobd.web.by_score import Mark
from jobd.web.context import BadRequest, Context
from jobd.web.documents import key_of, read_key
from jobd.web.filters import Filter
from jobd.web.places import Place, QueuePlace, SetPlace

SEARCH_SECONDS = 0.05
"""How long a search looks before it shows what it has found."""
ROWS = 50
MOST_ROWS = 200
"""Of a queue; what else a step has found comes with the next page."""
_STEPS = (60, 1_000)
"""Entries that a step looks at, where much is found and where little is."""
_RARE = 50
"""Little is one match among so many."""
_STEP_BYTES = 4_000_000
"""About so much does a step read of a queue."""
_BACK = 900
"""Jobs nearer to the end among which the last one looked at is found again, after workers took others."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found: entries, each with its place in a queue, and where it goes on, "0" at the end."""

    entries: list[tuple[int, JobEntry]]
    cursor: str
    seen: int
    size: int


def search(place: Place, wanted: Filter, ctx: Context, *, newest_first: bool = False) -> Found:
    """Look for `SEARCH_SECONDS`, from the `cursor` of the request on."""
    before, cursor = ctx.number("seen"), ctx.query.get("cursor", "") or "0"
    now, deadline = place.access.now(), time.monotonic() + SEARCH_SECONDS
    steps = (
        _of_set(place, wanted, ctx, cursor, now) if isinstance(place, SetPlace) else _Walk(place, cursor, newest_first)
    )
    seen, size = 0, steps.size()
    found: list[tuple[int, JobEntry]] = []
    count = _STEPS[0]
    while True:
        cursor, looked_at, page = steps.step(count)
        found += [
            (at, entry)
            for at, entry in page
            if wanted.may_pass(entry.raw) and wanted.passes(place.subject(entry, ctx.masker, now))
        ]
        seen += looked_at
        if len(found) > MOST_ROWS and isinstance(steps, _Walk):
            found = found[:MOST_ROWS]
            last, entry = found[-1]
            seen -= page[-1][0] - last
            cursor = key_of(last, entry.raw)
        if cursor == "0" or len(found) >= ROWS or time.monotonic() > deadline:
            break
        # Where much is found few are looked at: all matches of a step have to be shown.
        count = _STEPS[len(found) * _RARE < seen]
    return Found(found, cursor, size if cursor == "0" else min(before + seen, size), size)


def _of_set(place: SetPlace, wanted: Filter, ctx: Context, cursor: str, now: float) -> _Scan | _Part:
    bounds = wanted.between(now)
    return _Part(place, cursor, *bounds) if bounds else _Scan(place, ctx.number("cursor", 2**64), wanted.pattern)


class _Part:
    """Steps through the part of a set that lies between two times, the dead from the last on.

    Its cursor names the score of the last entry looked at, and how many of that score have been.
    """

    def __init__(self, place: SetPlace, cursor: str, since: float, until: float) -> None:
        self._owner, self._latest_first = place.owner, place.kind == "dead"
        self._ends = (until, since) if self._latest_first else (since, until)
        self._mark = Mark() if cursor == "0" else Mark.read(cursor)

    def size(self) -> int:
        """How many entries it has."""
        low, high = sorted(self._ends)
        found: list[Any] = self._owner.access.read_all(lambda pipeline: pipeline.zcount(self._owner.key, low, high))
        return found[0] or 0

    def step(self, count: int) -> tuple[str, int, list[tuple[int, JobEntry]]]:
        """As for a set."""

        def ask(pipeline: Any) -> None:
            self._mark.ask(pipeline, self._owner.key, self._ends, count, latest_first=self._latest_first)

        found = [(float(score), raw) for raw, score in self._owner.access.read_all(ask)[0] or ()]
        cursor = "0"
        if len(found) == count:
            self._mark = self._mark.past([score for score, _ in found])
            cursor = str(self._mark)
        return cursor, len(found), [(0, entry) for entry in self._owner.entries(found)]


class _Scan:
    """Steps through a set, by Redis' own scan."""

    def __init__(self, place: SetPlace, cursor: int, pattern: bytes | None) -> None:
        self._place, self._cursor, self._pattern = place, cursor, pattern

    def size(self) -> int:
        """How many entries it has."""
        return self._place.size()

    def step(self, count: int) -> tuple[str, int, list[tuple[int, JobEntry]]]:
        """The cursor of the next step, how many entries were looked at, and those that may match."""
        owner = self._place.owner

        def ask(pipeline: Any) -> None:
            pipeline.zscan(owner.key, self._cursor, match=self._pattern, count=count)

        cursor, found = self._place.access.read_all(ask)[0] or (0, [])
        self._cursor = int(cursor)
        members = [(float(score), raw) for raw, score in found]
        return str(self._cursor), count, [(0, entry) for entry in owner.entries(members)]


class _Walk:
    """Steps through a queue, from either end. Its cursor names the last job looked at, which others may move."""

    def __init__(self, place: QueuePlace, cursor: str, newest_first: bool) -> None:
        self._place, self._owner, self._newest_first = place, place.owner, newest_first
        self._bytes_each, self._offset, self._last = 0.0, 0, ""
        if cursor != "0":
            named = read_key(cursor)
            if named is None or not 0 <= named[0] <= 10**9:
                raise BadRequest(f"cursor is {cursor[:50]!r}; begin the search again")
            self._offset, self._last = int(named[0]) + 1, named[1]

    def size(self) -> int:
        """How many jobs it has."""
        return self._place.size()

    def step(self, count: int) -> tuple[str, int, list[tuple[int, JobEntry]]]:
        """As for a set."""
        if self._bytes_each:
            count = max(1, min(count, int(_STEP_BYTES / self._bytes_each)))
        if self._last:
            self._offset, self._last = self._again(), ""
        raws = self._read(self._offset, count)
        first, self._offset = self._offset, self._offset + len(raws)
        if raws:
            self._bytes_each = sum(map(len, raws)) / len(raws)
        cursor = "0" if len(raws) < count else key_of(self._offset - 1, raws[-1])
        return cursor, len(raws), [(first + i, QueueEntry(raw, self._owner)) for i, raw in enumerate(raws)]

    def _again(self) -> int:
        """Where the last job looked at stands now, or stood: what workers take moves it, what is pushed as well."""
        low = max(self._offset - _BACK, 0) if not self._newest_first else self._offset - 1
        window = self._read(low, self._offset + (_BACK if self._newest_first else 0) - low)
        for place in range(len(window) - 1, -1, -1):
            if key_of(0, window[place]).endswith(f"~{self._last}"):
                return low + place + 1
        return self._offset

    def _read(self, offset: int, count: int) -> list[bytes]:
        key, last = self._owner.key, offset + count - 1

        def ask(pipeline: Any) -> None:
            if self._newest_first:
                pipeline.lrange(key, offset, last)
            else:
                pipeline.lrange(key, -last - 1, -offset - 1)

        found: list[bytes] = self._owner.access.read_all(ask)[0] or []
        return found if self._newest_first else found[::-1]
