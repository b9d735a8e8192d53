"""One queue, to be looked at and changed: `Queue`. The jobs next to be taken come first."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import EllipsisType
from typing import Any, Literal, TypeAlias

import msgspec

from jobd.client import defaults, moves, scripts
from jobd.client.access import Access
from jobd.client.bulk import BulkResult, Killed
from jobd.client.dead import dead_limits
from jobd.client.entry import JobEntry, search_bytes
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.client.queue_limits import Limit, Limits, limits_of, set_limits
from jobd.client.scripts import Call, DeadLimits, Moved, Struck
from jobd.client.sets import check_page
from jobd.client.stats import read_queues
from jobd.client.times import Wait

_KEPT = 100
"""Of jobs read longer ago, one in so many is remembered to find the place again."""
_TAKEN = 900
_GIVEN_BACK = 200
"""Jobs that others may take, or put before them, between the reading of jobs and their removal."""
_REACH = 2_000_000
_FEWEST = 10
"""Jobs that are removed at once, times how far they are from the nearer end; and how many are in any case."""
_LONG = 0.005
"""Seconds of one step after which Redis gets a pause."""


@dataclass(frozen=True)
class QueueEntry(JobEntry):
    """A job in a queue. What a method has found gone was taken or removed since it was read."""

    owner: Queue = field(repr=False, compare=False)
    place: int = field(default=0, repr=False, compare=False)
    """How many jobs were to be taken before it when it was read; of those that `Queue.pages` yields."""

    def delete(self) -> bool:
        """Remove it for good. False: it was gone."""
        key, raw = self.owner.key, self.raw
        # From the end that is taken first; all that are equal byte for byte are one job that was pushed twice.
        return bool(self.owner.access.write(lambda redis: redis.lrem(key, -1, raw)))

    def kill(self, limits: DeadLimits | None = None) -> Killed:
        """Move it into the dead set as it is; as `SetEntry.kill`."""
        access = self.owner.access
        call = scripts.pluck(access.keys, self.owner.name, self.raw, access.now(), limits or dead_limits(access))
        moved = access.change(call)
        return Killed(bool(moved.moved), moved.dropped)


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a queue, and when (epoch seconds); empty and 0.0 where that is not known."""

    by: str
    at: float


class Queue:
    """A queue by its name. `len()` is its size; iterating yields `QueueEntry`, the next to be taken first.

    Iterating reads 1,000 jobs at a time and finds its place again when workers take jobs meanwhile. A job that stays
    in the queue comes; one that is taken, or given back, meanwhile may be left out, or come twice. Without a `client`
    it is that of this process' jobs. Any call may raise `RedisUnavailable` or `RedisRefused`, a change also
    `ChangeOutcomeUnknown`.
    """

    def __init__(self, name: str = defaults.QUEUE, client: Client | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArguments(f"the queue is {name!r}; give its name")
        try:
            self._member = scripts.raw_bytes(name)
        except UnicodeEncodeError:
            raise InvalidArguments(f"the queue is {name!r}, which is no Unicode; give its name") from None
        self.name = name
        self.access = Access(client)

    @classmethod
    def all(cls, client: Client | None = None) -> list[Queue]:
        """Every queue that ever held a job and was not cleared since, sorted by name."""
        access = Access(client)
        names = access.read(lambda redis: redis.smembers(access.keys.queues))
        return [cls(name, client) for name in sorted(name.decode("utf-8", "surrogateescape") for name in names) if name]

    def __repr__(self) -> str:
        return f"Queue({self.name!r})"

    @property
    def key(self) -> bytes:
        """Its key in Redis."""
        return scripts.raw_bytes(self.access.keys.queue(self.name))

    @property
    def size(self) -> int:
        """How many jobs wait."""
        return int(self.access.read(lambda redis: redis.llen(self.key)))

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    @property
    def latency(self) -> float:
        """Seconds for which the job next to be taken has waited; 0.0 when there is none, or it does not tell."""
        [(_, oldest)] = read_queues(self.access, [self.name])
        return JobEntry(oldest).latency(self.access.now()) if oldest else 0.0

    @property
    def paused(self) -> bool:
        """Whether nobody fetches from it."""
        return bool(self.access.read(lambda redis: redis.sismember(self.access.keys.paused, self._member)))

    @property
    def pause_note(self) -> Pause | None:
        """Who paused it, and when; None when it is not paused."""
        keys = self.access.keys
        paused, note = self.access.read_all(
            lambda pipeline: pipeline.sismember(keys.paused, self._member).hget(keys.paused_by, self._member)
        )
        return _read_note(note) if paused else None

    def pause(self, by: str | None = None) -> bool:
        """Have no worker fetch from it until `resume`; `by` is noted [user@host]. False: it was paused already."""
        note = msgspec.json.encode({"by": by or _who(), "at": self.access.now()}).decode()
        return self.access.change(scripts.pause(self.access.keys, self.name, note))

    def resume(self) -> bool:
        """Have it fetched from again. False: it was not paused."""
        return self.access.change(scripts.resume(self.access.keys, self.name))

    @property
    def limits(self) -> Limits:
        """Its alert limits: when somebody is to look."""
        return limits_of(self.access, self.name)

    def set_limits(
        self, *, wait: Wait | Literal["none"] | EllipsisType | None = ..., size: Limit | EllipsisType = ...
    ) -> Limits:
        """Have it pointed out from other limits on, and return all of them; no job changes.

        - `wait`: seconds or a `timedelta` for which its next job may wait, up to 10 years [60 s];
        - `size`: jobs that may wait [any number].

        Either may be `"none"`, for never, or None, for the default; what is not given stays as it is. Raises
        `InvalidArguments`, also when 1,000 other queues have limits.
        """
        return set_limits(self.access, self.name, wait=wait, size=size)

    def __iter__(self) -> Iterator[QueueEntry]:
        for page in _Reader(self).pages():
            yield from self._entries(page)

    def page(self, offset: int, limit: int, *, reverse: bool = False) -> list[QueueEntry]:
        """`limit` jobs (at most 1,000) after `offset` others, the next one first, or newest first with `reverse`."""
        check_page(offset, limit)
        if not reverse:
            return self._entries(read_from_tail(self, offset, limit))
        key, last = self.key, offset + limit - 1
        return self._entries(self.access.read(lambda redis: redis.lrange(key, offset, last)))

    def pages(self) -> Iterator[list[QueueEntry]]:
        """What iterating yields, by pages of up to 1,000."""
        reader = _Reader(self)
        for page in reader.pages():
            first = reader.offset - len(page)
            yield [QueueEntry(raw, self, first + place) for place, raw in enumerate(page)]

    def delete_all(self, entries: Sequence[QueueEntry]) -> BulkResult:
        """Remove jobs for good that `pages` has just yielded; what was not there any more is gone.

        Unlike `QueueEntry.delete` it looks once for several that are within 1,000 of each other, up to 300, fewer where
        they are far from both ends: there Redis takes milliseconds for each, and gets a pause after each step that took
        long. What does not stand where it should is looked for up to the end from which jobs are taken.
        """
        return self._in_windows(
            entries, lambda mark, window, some: scripts.strike(*self._named, mark, window, _raws(some))
        )

    def trash_all(self, entries: Sequence[QueueEntry], trash: str) -> BulkResult:
        """As `delete_all`, but the jobs are kept in the sorted set `trash` for an hour, by their places."""

        def call(mark: bytes, window: tuple[int, int], some: Sequence[QueueEntry]) -> Call[Struck]:
            return scripts.toss(*self._named, trash, mark, window, [(entry.raw, entry.place) for entry in some])

        return self._in_windows(entries, call)

    def move_all(self, entries: Sequence[QueueEntry], queue: str) -> BulkResult:
        """Move jobs to the end of another queue, as `delete_all` removes them; what is no job stays, and is malformed.

        They keep their order and their times; their `queue` is the other one from then on. Raises `InvalidArguments`.
        """
        target = Queue(queue, self.access.client)
        if target.name == self.name:
            raise InvalidArguments(f"the jobs are in the queue {queue!r}; name another one")
        if not target.name.isprintable():
            raise InvalidArguments(f"the queue is {queue!r}; give a name that can be read")
        moved = {
            entry.raw: _rewritten(entry, lambda payload: moves.as_moved(payload, target.name)) for entry in entries
        }
        sound = [entry for entry in entries if moved[entry.raw]]

        def call(mark: bytes, window: tuple[int, int], some: Sequence[QueueEntry]) -> Call[Struck]:
            pairs = [(entry.raw, moved[entry.raw]) for entry in some]
            return scripts.shift(*self._named, target.name, "back", mark, window, pairs)

        return self._in_windows(sound, call).also(malformed=len(entries) - len(sound))

    def move_to_front(self, entries: Sequence[QueueEntry]) -> BulkResult:
        """Have jobs be taken next that `pages` has just yielded, in their order and before all others."""
        result, rest = BulkResult(), sorted(entries, key=lambda entry: -entry.place)
        while rest:
            some = [entry for entry in rest[: defaults.API_STRIKES] if rest[0].place - entry.place <= defaults.API_PAGE]
            rest = rest[len(some) :]
            first = max(some[-1].place - _TAKEN, 0)
            # Those that were moved before stand in front of these now.
            span = some[0].place - first + result.moved + _GIVEN_BACK

            def call(mark: bytes, window: tuple[int, int], found: Sequence[QueueEntry]) -> Call[Struck]:
                pairs = [(entry.raw, entry.raw) for entry in found]
                return scripts.shift(*self._named, self.name, "front", mark, window, pairs)

            result = result.plus(self._strike(some[::-1], first, span, call))
        return result

    def copy_all(self, entries: Sequence[QueueEntry]) -> BulkResult:
        """Push up to 1,000 jobs like these, each with an id of its own; what is no job is malformed."""
        access = self.access
        copied = partial(moves.as_copied, now=access.now(), timestamps=access.timestamps)
        made = [_rewritten(entry, copied) for entry in entries]
        copies = [raw for raw in made if raw]
        if copies:
            access.change(scripts.push_copies(*self._named, copies))
        return BulkResult(moved=len(copies), malformed=len(entries) - len(copies))

    @property
    def _named(self) -> tuple[Keys, str]:
        return self.access.keys, self.name

    def _in_windows(self, entries: Sequence[QueueEntry], call: _Change) -> BulkResult:
        """Have a script change jobs that stand near each other at once."""
        result, rest = BulkResult(), sorted(entries, key=lambda entry: entry.place)
        while rest:
            # What was removed has brought the rest nearer to the tail.
            first = max(rest[0].place - result.moved - _TAKEN, 0)
            far = min(first, max(self.size - first, 0))
            count = min(max(_FEWEST, _REACH // (far + 1)), defaults.API_STRIKES)
            some = [entry for entry in rest[:count] if entry.place - rest[0].place <= defaults.API_PAGE]
            rest = rest[len(some) :]
            span = some[-1].place - some[0].place + _TAKEN + _GIVEN_BACK
            result = result.plus(self._strike(some, first, span, call))
        return result

    def _strike(self, some: Sequence[QueueEntry], first: int, span: int, call: _Change) -> Moved:
        """Change jobs that stand after `first` others among `span`, or nearer to the tail if many were taken."""
        moved = 0
        while True:
            mark, began = b"jobd:struck:" + os.urandom(16), time.monotonic()
            struck = self.access.change(call(mark, (first, span), some))
            moved, some = moved + struck.moved, [some[place] for place in struck.missing]
            if (took := time.monotonic() - began) > _LONG:
                time.sleep(took)
            if not some or not first:
                return Moved(moved, len(some))
            first = max(first + _GIVEN_BACK - span, 0)

    def find(self, jid: str) -> QueueEntry | None:
        """The job with this jid. It reads the queue from its end by pages of 1,000 until it is found."""
        return next((entry for entry in self.scan(jid) if entry.jid == jid), None)

    def scan(self, text: str) -> Iterator[QueueEntry]:
        """The jobs whose payload holds `text`, upper and lower case told apart; as iterating, but only these."""
        wanted = search_bytes(text)
        for page in _Reader(self).pages():
            yield from self._entries([raw for raw in page if wanted in raw])

    def delete(self, jid: str) -> bool:
        """Remove the job with this jid for good. False: it is not there."""
        entry = self.find(jid)
        return entry is not None and entry.delete()

    def clear(self) -> int:
        """Remove all its jobs for good, and its name until something is pushed again; answers how many they were."""
        return self.access.change(scripts.clear(self.access.keys, self.name))

    def _entries(self, raws: Sequence[bytes]) -> list[QueueEntry]:
        return [QueueEntry(raw, self) for raw in raws]


_Change: TypeAlias = Callable[[bytes, tuple[int, int], Sequence[QueueEntry]], Call[Struck]]
"""Makes the call that changes jobs within a window: see `scripts.strike`."""


class _Reader:
    """Reads a queue from the end that is taken first, and finds its place again by the jobs that it has read."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self.offset = queue, 0
        self._recent: dict[int, None] = {}
        self._older: dict[int, None] = {}

    def pages(self, limit: int = defaults.API_PAGE) -> Iterator[list[bytes]]:
        """Pages of jobs until the end of the queue."""
        while True:
            # One that was read already comes with them: where it stands says whether the queue has moved.
            first = max(self.offset - 1, 0)
            window = read_from_tail(self._queue, first, limit)
            place = self._last_known(window)
            if first and place is None:
                window, first = self._step_back(first, limit)
                place = self._last_known(window)
            fresh = window if place is None else window[place + 1 :]
            self.offset = first + len(window)
            if fresh:
                self._remember(fresh)
                yield fresh
            if len(window) < limit:
                return

    def _step_back(self, first: int, limit: int) -> tuple[list[bytes], int]:
        """The page that holds the last job read that is still there; the first page without any."""
        while True:
            first = max(first - limit + 1, 0)
            window = read_from_tail(self._queue, first, limit)
            if not first or self._last_known(window) is not None:
                return window, first

    def _last_known(self, window: Sequence[bytes]) -> int | None:
        marks = [hash(raw) for raw in window]
        for known in (self._recent, self._older):
            for place in range(len(marks) - 1, -1, -1):
                if marks[place] in known:
                    return place
        return None

    def _remember(self, page: Sequence[bytes]) -> None:
        self._older |= dict.fromkeys(list(self._recent)[::_KEPT])
        self._recent = dict.fromkeys(map(hash, page))


def read_from_tail(queue: Queue, offset: int, limit: int) -> list[bytes]:
    """Up to `limit` jobs after the `offset` that are taken before them, next to be taken first."""
    key = queue.key
    found: list[bytes] = queue.access.read(lambda redis: redis.lrange(key, -offset - limit, -offset - 1))
    return found[::-1]


def _raws(entries: Sequence[QueueEntry]) -> list[bytes]:
    return [entry.raw for entry in entries]


def _rewritten(entry: JobEntry, rewrite: Callable[[Mapping[str, Any]], bytes]) -> bytes:
    """Other bytes of a job; none of what is no job."""
    try:
        return b"" if entry.malformed else rewrite(entry.payload)
    except (ValueError, RecursionError):
        return b""


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


def _read_note(note: bytes | None) -> Pause:
    try:
        fields = msgspec.json.decode(note or b"{}")
        return Pause(str(fields.get("by", "")), float(fields.get("at", 0.0)))
    except (ValueError, TypeError, AttributeError):
        return Pause((note or b"").decode("utf-8", "replace"), 0.0)
