"""What a worker process shows its master: one page of memory that both share, with no pipe and no system call.

The master makes it before it forks and only reads it, at any time, also after the process was killed; the process alone
writes. So each thing is written such that a kill at any point leaves it readable: what says that a text is there is
written after the text, and taken back before it changes. What the figures mean to anybody is left to the reader.
"""

from __future__ import annotations

import mmap
import struct
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias, get_args

from jobd.client import defaults
from jobd.client.buckets import up_to
from jobd.client.waits import TOO_LONG

Result: TypeAlias = Literal["ok", "failed", "retried", "dead", "requeued"]
"""What became of a job. All but `requeued` are attempts."""

RESULTS: tuple[Result, ...] = get_args(Result)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Upper bounds of the histograms' buckets in seconds; one more has no bound."""
LABEL_SETS = 100
"""Pairs of queue and job in a page; further ones count as (queue, "other")."""
QUEUES = 64
"""Queues in a page; further ones count as "other"."""
OTHER = "other"
LABEL_BYTES = 200
"""A queue or job whose name is longer in UTF-8 counts as "other"."""
JID_BYTES = 64
"""What a thread's place has room for; a longer jid is noted cut."""

_WORD = 8
_PULSE, _REDIS_SEEN, _JOBS_DONE, _QUIET, _THREADS, _SEATS, _HEADER = range(7)
_BOUNDS = len(BUCKETS) + 1
_HISTOGRAM = _BOUNDS + 1
_USUAL_JID = 24
"""Bytes of the ids that jobd and Sidekiq give."""
_THREAD = struct.Struct(f"@{JID_BYTES}sdQ")
"""The place of a thread: jid, since when, and last, for it says that the others are there, the jid's length."""
_RESULT_AT = {result: place for place, result in enumerate(RESULTS)}
_READS = 5
"""How often a thread's place is read until two readings agree."""


Note: TypeAlias = tuple[str, str, Result, float, float | None]
"""A `Count` as a plain tuple, which is made several times faster."""

Ran: TypeAlias = dict[tuple[str, str, Result], tuple[list[float], list[float]]]
"""Jobs that are counted together: queue, job and result; how many seconds each of them ran, and had waited."""


class Counted(NamedTuple):
    """What `Page.count_all` makes of many jobs, and by queue how many seconds they had waited, as far as is known.

    All seconds rise, but for those for which jobs ran that were `requeued`.
    """

    ran: Ran
    waits: Mapping[str, Sequence[float]]


class Count(NamedTuple):
    """A job to be counted once it is acknowledged: what `Page.count` takes."""

    queue: str
    job: str
    result: Result
    seconds: float = 0.0
    waited: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often each bucket was hit (not cumulative, the last one without bound), and the sum of all values."""

    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class JobCounts:
    """What became of the jobs of one name from one queue; `durations` are those of attempts."""

    results: Mapping[str, int]
    durations: Histogram


@dataclass(frozen=True, slots=True)
class RunningJid:
    """A job that a thread runs; `since` is monotonic seconds. The jid is cut after 64 bytes."""

    jid: str
    since: float


class _Memory:
    """Shared zeroes, seen as whole numbers and as floating ones, eight bytes each."""

    def __init__(self, words: int) -> None:
        self.bytes = mmap.mmap(-1, words * _WORD)
        self.whole: memoryview[int] = memoryview(self.bytes).cast("Q")
        self.real: memoryview[float] = memoryview(self.bytes).cast("d")

    def close(self) -> None:
        self.whole.release()
        self.real.release()
        self.bytes.close()

    def write_text(self, at: int, text: bytes) -> None:
        """A text that was not there: its length is written last."""
        start = (at + 1) * _WORD
        self.bytes[start : start + len(text)] = text
        self.whole[at] = len(text)

    def read_text(self, at: int) -> str:
        start = (at + 1) * _WORD
        return self.bytes[start : start + self.whole[at]].decode()

    def histogram(self, at: int) -> Histogram:
        return Histogram(tuple(self.whole[at : at + _BOUNDS].tolist()), self.real[at + _BOUNDS])

    def observe(self, at: int, values: list[float]) -> None:
        """Add values to a histogram. They are sorted for it: few buckets are hit then, and each is written once."""
        values.sort()
        for bucket, many in up_to(BUCKETS, values).items():
            self.whole[at + bucket] += many
        self.real[at + _BOUNDS] += sum(max(value, 0.0) for value in values) if values[0] < 0.0 else sum(values)


class _Table:
    """Rows of figures under one or two names, filled from the top; their number is written last."""

    _LABEL = 1 + LABEL_BYTES // _WORD

    def __init__(self, memory: _Memory, at: int, *, labels: int, cells: int, rows: int) -> None:
        self._memory, self._at, self._labels, self._rows = memory, at, labels, rows
        self._row = self._LABEL * labels + cells
        self._places: dict[tuple[str, ...], int] = {}

    @classmethod
    def words(cls, *, labels: int, cells: int, rows: int) -> int:
        """What it takes."""
        return 1 + rows * (cls._LABEL * labels + cells)

    def place(self, names: tuple[str, ...]) -> int | None:
        """Where the figures of these names begin, in a new row if need be; None when there is no room."""
        place = self._places.get(names)
        return self._add(names) if place is None else place

    def read(self) -> Iterator[tuple[list[str], int]]:
        """The names of each row, and where its figures begin."""
        for row in range(self._memory.whole[self._at]):
            start = self._start(row)
            names = [self._memory.read_text(start + i * self._LABEL) for i in range(self._labels)]
            yield names, start + self._labels * self._LABEL

    def _start(self, row: int) -> int:
        return self._at + 1 + row * self._row

    def _add(self, names: tuple[str, ...]) -> int | None:
        texts = [name.encode("utf-8", "replace") for name in names]
        used = self._memory.whole[self._at]
        if used == self._rows or any(len(text) > LABEL_BYTES for text in texts):
            return None
        start = self._start(used)
        for i, text in enumerate(texts):
            self._memory.write_text(start + i * self._LABEL, text)
        self._memory.whole[self._at] = used + 1
        self._places[names] = place = start + self._labels * self._LABEL
        return place


_JOBS = {"labels": 2, "cells": len(RESULTS) + _HISTOGRAM}
_WAITS = {"labels": 1, "cells": _HISTOGRAM}


class Seat:
    """The place where one thread notes what it runs. Written to by that thread alone."""

    def __init__(self, memory: _Memory, start: int) -> None:
        self._whole, self._real = memory.whole, memory.real
        self._jid = memoryview(memory.bytes)[start : start + JID_BYTES]
        self._usual = self._jid[:_USUAL_JID]
        self._since = (start + JID_BYTES) // _WORD
        self._length = self._since + 1

    def begin(self, jid: str, now: float) -> None:
        """Note that the thread begins to run a job; `now` is monotonic seconds. After `end` alone."""
        length = _USUAL_JID
        try:
            self._usual[:] = jid.encode()
        except ValueError:
            length = self._write(jid)
        self._real[self._since] = now
        # Last, lest a reader comes so close behind that it sees both halves of two jobs.
        self._whole[self._length] = length

    def end(self) -> None:
        """Note that the thread runs nothing."""
        self._whole[self._length] = 0

    def close(self) -> None:
        """Let go of the memory."""
        self._usual.release()
        self._jid.release()

    def _write(self, jid: str) -> int:
        text = jid.encode("utf-8", "replace")[:JID_BYTES]
        self._jid[: len(text)] = text
        return len(text)


class Page:
    """The page of one process. Its reader may call what does not change it; its writer is the process alone."""

    def __init__(self, threads: int) -> None:
        """`threads` is how many run jobs at first; they are numbered from 0, and there is `room` for more."""
        self.room = max(threads, defaults.MOST_THREADS)
        self._starts = tuple(_HEADER * _WORD + number * _THREAD.size for number in range(self.room))
        first = _HEADER + self.room * _THREAD.size // _WORD
        shapes = [
            *({**_JOBS, "rows": rows} for rows in (LABEL_SETS, QUEUES, 1)),
            *({**_WAITS, "rows": rows} for rows in (QUEUES, 1)),
        ]
        self._memory = _Memory(first + sum(_Table.words(**shape) for shape in shapes))
        tables = []
        for shape in shapes:
            tables.append(_Table(self._memory, first, **shape))
            first += _Table.words(**shape)
        self._jobs, self._other_jobs, self._rest, self._waits, self._other_waits = tables
        self._lock = threading.Lock()
        self._seats = [Seat(self._memory, start) for start in self._starts]
        self._memory.whole[_SEATS] = self._memory.whole[_THREADS] = threads

    @property
    def pulse(self) -> float:
        """When the process last showed that it lives, in monotonic seconds; 0.0 = never."""
        return self._memory.real[_PULSE]

    @property
    def redis_seen(self) -> float:
        """When Redis last answered it, in monotonic seconds, at most a second late; 0.0 = never."""
        return self._memory.real[_REDIS_SEEN]

    @property
    def jobs_done(self) -> int:
        """Attempts that are acknowledged."""
        return self._memory.whole[_JOBS_DONE]

    @property
    def is_quiet(self) -> bool:
        """Whether it takes no jobs."""
        return bool(self._memory.whole[_QUIET])

    @property
    def threads(self) -> int:
        """How many threads it has for jobs."""
        return self._memory.whole[_THREADS]

    def running(self) -> list[RunningJid]:
        """What its threads run now, or ran when it ended."""
        starts = self._starts[: self._memory.whole[_SEATS]]
        return [found for start in starts if (found := self._read_thread(start)) is not None]

    def jobs(self) -> dict[tuple[str, str], JobCounts]:
        """Figures of each (queue, job)."""
        rows = chain(self._jobs.read(), self._other_jobs.read(), self._rest.read())
        return {(queue, job): self._read_job(place) for (queue, job), place in rows}

    def waits(self) -> dict[str, Histogram]:
        """How long jobs had been in each queue when they were begun."""
        rows = chain(self._waits.read(), self._other_waits.read())
        return {queue: self._memory.histogram(place) for (queue,), place in rows}

    def close(self) -> None:
        """Give the memory back. Nothing may be asked or told afterwards."""
        for seat in self._seats:
            seat.close()
        self._memory.close()

    def set_threads(self, threads: int) -> None:
        """Note how many threads it has for jobs."""
        self._memory.whole[_THREADS] = threads

    def seat(self, thread: int) -> Seat:
        """The place of the thread with this number, which is read from now on."""
        self._memory.whole[_SEATS] = max(self._memory.whole[_SEATS], thread + 1)
        return self._seats[thread]

    def count(self, queue: str, job: str, result: Result, seconds: float, waited: float | None) -> None:
        """Count a job that is acknowledged, or given back. Safe across threads.

        `seconds` is how long it ran; of a job that is `requeued` it is not counted. `waited` is how long it had been
        in its queue, if known.
        """
        self.count_all([(queue, job, result, seconds, waited)])

    def count_all(self, notes: Iterable[Note | None]) -> Counted:
        """Count many as `count` does one; None stands for a job that is not counted. Safe across threads."""
        ran: Ran = {}
        waits: dict[str, list[float]] = {}
        for queue, job, result, seconds, waited in filter(None, notes):
            try:
                durations, waited_each = ran[queue, job, result]
            except KeyError:
                durations, waited_each = ran[queue, job, result] = [], []
            durations.append(seconds)
            if waited is not None:
                waited_each.append(waited)
        with self._lock:
            for (queue, job, result), (durations, waited_each) in ran.items():
                self._add(queue, job, result, durations)
                if waited_each and _sort_waits(waited_each):
                    if queue in waits:
                        waits[queue] += waited_each
                    else:
                        waits[queue] = waited_each[:]
            for queue, values in waits.items():
                self._memory.observe(self._wait_place(queue), values)
        return Counted(ran, waits)

    def know(self, queue: str, job: str) -> None:
        """Show these names with zeroes, until something is counted: a rate misses the first event otherwise."""
        with self._lock:
            self._job_place(queue, job)
            self._wait_place(queue)

    def beat(self, now: float) -> None:
        """Note that the process lives; `now` is monotonic seconds."""
        self._memory.real[_PULSE] = now

    def saw_redis(self, now: float) -> None:
        """Note that Redis has answered; `now` is monotonic seconds."""
        self._memory.real[_REDIS_SEEN] = now

    def set_quiet(self, quiet: bool) -> None:
        """Note whether it takes no jobs."""
        self._memory.whole[_QUIET] = quiet

    def _add(self, queue: str, job: str, result: Result, durations: list[float]) -> None:
        place, whole = self._job_place(queue, job), self._memory.whole
        whole[place + _RESULT_AT[result]] += len(durations)
        if result != "requeued":
            self._memory.observe(place + len(RESULTS), durations)
            whole[_JOBS_DONE] += len(durations)

    def _read_thread(self, start: int) -> RunningJid | None:
        """Its writer waits for nobody, so that it may be half-way: two readings must agree, or it runs nothing."""
        end = start + _THREAD.size
        seen = self._memory.bytes[start:end]
        for _ in range(_READS):
            again = self._memory.bytes[start:end]
            if again == seen:
                text, since, length = _THREAD.unpack(seen)
                return RunningJid(text[:length].decode("utf-8", "ignore"), since) if length else None
            seen = again
        return None

    def _read_job(self, place: int) -> JobCounts:
        counts = self._memory.whole[place : place + len(RESULTS)].tolist()
        return JobCounts(dict(zip(RESULTS, counts, strict=True)), self._memory.histogram(place + len(RESULTS)))

    def _job_place(self, queue: str, job: str) -> int:
        place = None if job == OTHER else self._jobs.place((queue, job))
        if place is None and queue != OTHER:
            place = self._other_jobs.place((queue, OTHER))
        return _there(self._rest.place((OTHER, OTHER))) if place is None else place

    def _wait_place(self, queue: str) -> int:
        place = None if queue == OTHER else self._waits.place((queue,))
        return _there(self._other_waits.place((OTHER,))) if place is None else place


def _sort_waits(waits: list[float]) -> bool:
    """Sort them, and drop those of jobs that say a wrong time, as one of them would spoil a sum for good."""
    waits.sort()
    if waits[-1] > TOO_LONG:
        del waits[bisect_right(waits, TOO_LONG) :]
    return bool(waits)


def _there(place: int | None) -> int:
    assert place is not None, "a row that only one pair of names may take has room for it"
    return place
