"""The scheduled jobs, the retries and the dead, to be looked at and changed: `ScheduledSet`, `RetrySet`, `DeadSet`.

Entries are read by pages, never a whole set at once; changes of one entry are a script each, those of many are in
`bulk.py`. Whoever changes an entry that somebody else has moved meanwhile is told so: it is gone, never doubled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jobd.client import bulk, defaults, moves, scripts
from jobd.client.access import Access
from jobd.client.bulk import BulkResult, Killed
from jobd.client.cursor import Cursor, Member
from jobd.client.dead import DeadRoom, dead_limits, read_room
from jobd.client.entry import JobEntry, search_pattern
from jobd.client.errors import InvalidArguments, JobdError, MalformedPayload
from jobd.client.push import Client
from jobd.client.scripts import DeadLimits
from jobd.client.times import Moment, Wait, epoch_seconds
from jobd.client.waves import Waves

EntryKey: TypeAlias = "tuple[float, str] | str | SetEntry"
"""Names an entry: (score, jid), Sidekiq's text `<score>-<jid>`, or the entry itself."""

_KEY = re.compile(r"(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf))-(.*)", re.DOTALL)


@dataclass(frozen=True)
class SetEntry(JobEntry):
    """A job in one of the sets: the time at which it runs (scheduled, retry) or died (dead) is its `score`.

    What a method has found gone was moved by somebody else since it was read, and stays as it is.
    """

    score: float
    owner: JobSet = field(repr=False, compare=False)

    @property
    def at(self) -> float:
        """The score as a time in epoch seconds."""
        return self.score

    @property
    def key(self) -> str:
        """`<score>-<jid>`, by which `JobSet.get` finds it again."""
        return f"{self.score!r}-{self.jid}"

    def delete(self) -> bool:
        """Remove it for good. False: it was gone."""
        key, raw = self.owner.key, self.raw
        return bool(self.owner.access.write(lambda redis: redis.zrem(key, raw)))

    def add_to_queue(self) -> bool:
        """Put it into its queue now. False: it was gone. Raises `MalformedPayload` when it is no job."""
        return self._requeue(moves.as_added)

    def retry(self) -> bool:
        """The same at the cost of no attempt: its `retry_count` is one less then, as after Sidekiq's retry by hand."""
        return self._requeue(moves.as_retried)

    def kill(self, limits: DeadLimits | None = None) -> Killed:
        """Move it into the dead set as it is; `dropped` says how many older entries the limits removed for it.

        `DeadSet.room()` tells beforehand. `limits` as `DeadSet.limits` [those of the running workers].
        """
        if isinstance(self.owner, DeadSet):
            raise JobdError(f"{self.name or 'the entry'} {self.jid} is in the dead set already")
        access = self.owner.access
        call = scripts.bury(access.keys, self.owner.key, [self.raw], access.now(), limits or dead_limits(access))
        moved = access.change(call)
        return Killed(bool(moved.moved), moved.dropped)

    def reschedule(self, at: Moment) -> bool:
        """Give it another time, epoch seconds or an aware `datetime`, from which `expires_in` counts.

        False: it was gone.
        """
        score = epoch_seconds(at, "at")
        raw = moves.put_off(self.raw, score - self.score)
        self.owner.expect(score, raw)
        return self.owner.access.change(scripts.replace(self.owner.key, self.raw, raw, score))

    def edit(self, changes: Mapping[str, Any], *, remove: Iterable[str] = ()) -> SetEntry | None:
        """Give fields of its payload other values and `remove` others; its time stays. None: it was gone.

        The new values are checked as by `Client.push`; fields that are not named keep theirs. Raises
        `InvalidPayload`, `InvalidArguments`, or `MalformedPayload` when the entry is no job.
        """
        self._check_job()
        raw = moves.edited(self.payload, changes, remove)
        self.owner.expect(self.score, raw)
        done = self.owner.access.change(scripts.replace(self.owner.key, self.raw, raw))
        return SetEntry(raw, self.score, self.owner) if done else None

    def _requeue(self, move: bulk.Move) -> bool:
        self._check_job()
        access = self.owner.access
        queue, raw = move(self.copied_payload(), access.now(), access.timestamps)
        moved = access.change(scripts.requeue(access.keys, self.owner.key, [(self.raw, queue, raw)]))
        if moved.note:
            raise JobdError(f"{self.jid} was not moved: {moved.note.rstrip('; ')}")
        return bool(moved.moved)

    def _check_job(self) -> None:
        if self.malformed:
            raise MalformedPayload(f"the entry is no job: {self.problem}; it can be killed or deleted")


class JobSet:
    """A sorted set of jobs. `len()` is its size; iterating yields `SetEntry` from the earliest time to the latest.

    `reversed()` begins with the latest. Both read 1,000 entries at a time: each that stays in the set meanwhile comes
    once, one that others put in or move meanwhile may come, and come again. Without a `client` it is that of this
    process' jobs. Any call may raise `RedisUnavailable` or `RedisRefused`, a change also `ChangeOutcomeUnknown`.
    """

    _name = ""

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)
        self._walks: dict[int, set[Member]] = {}

    @property
    def key(self) -> str:
        """Its key in Redis."""
        return str(getattr(self.access.keys, self._name))

    @property
    def size(self) -> int:
        """How many entries it has."""
        return int(self.access.read(lambda redis: redis.zcard(self.key)))

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[SetEntry]:
        return self.fetch((-math.inf, math.inf))

    def __reversed__(self) -> Iterator[SetEntry]:
        return self.fetch((-math.inf, math.inf), reverse=True)

    def page(self, offset: int, limit: int, *, reverse: bool = False) -> list[SetEntry]:
        """`limit` entries (at most 1,000) from rank `offset` on, earliest first, or latest first with `reverse`."""
        check_page(offset, limit)
        key, last = self.key, offset + limit - 1
        found = self.access.read(lambda redis: redis.zrange(key, offset, last, desc=reverse, withscores=True))
        return [SetEntry(raw, float(score), self) for raw, score in found]

    def after(self, entry: SetEntry | None, limit: int, *, reverse: bool = False) -> list[SetEntry]:
        """Up to `limit` entries (at most 1,000) that follow `entry`; from the beginning without one.

        Unlike those of `page` they do not slide while entries come and go; `entry` may be gone.
        """
        check_page(0, limit)
        last = None if entry is None else (entry.score, entry.raw)
        cursor, found = Cursor(self.access, self.key, reverse=reverse), list[Member]()
        while len(found) < limit and (more := cursor.after(last, limit - len(found))):
            found += more
            last = more[-1]
        return self.entries(found)

    def fetch(self, at: float | tuple[float, float], *, reverse: bool = False) -> Iterator[SetEntry]:
        """The entries of one score, or of a range of scores (lowest and highest, both included), by pages."""
        low, high = at if isinstance(at, tuple) else (at, at)
        expected = set[Member]()
        self._walks[id(expected)] = expected
        try:
            for page in Cursor(self.access, self.key, low, high, reverse).pages():
                yield from self.entries([member for member in page if member not in expected])
        finally:
            del self._walks[id(expected)]

    def get(self, key: EntryKey) -> SetEntry | None:
        """The entry with this key: (score, jid), or `<score>-<jid>` as in `SetEntry.key`; None when it is gone."""
        score, jid = entry_key(key)
        return next((entry for entry in self.fetch(score) if entry.jid == jid), None)

    def find(self, jid: str) -> SetEntry | None:
        """The entry with this jid. Redis looks at every entry, 1,000 at a time; `get` is quick."""
        return next((entry for entry in self.scan(jid) if entry.jid == jid), None)

    def scan(self, text: str) -> Iterator[SetEntry]:
        """The entries whose payload holds `text`, in no order; one may come twice when the set changes meanwhile.

        Upper and lower case differ, and no character has a special meaning.
        """
        cursor = 0
        while True:
            cursor, found = self.scan_page(text, cursor)
            yield from found
            if not cursor:
                return

    def scan_page(self, text: str, cursor: int = 0, *, count: int = defaults.API_PAGE) -> tuple[int, list[SetEntry]]:
        """One step of `scan` over about `count` entries: the cursor of the next step, 0 after the last, and matches."""
        key, pattern = self.key, search_pattern(text)
        position, found = self.access.read(lambda redis: redis.zscan(key, cursor, match=pattern, count=count))
        return int(position), [SetEntry(raw, float(score), self) for raw, score in found]

    def delete_all(self, *, text: str | None = None, only: Iterable[EntryKey] | None = None) -> BulkResult:
        """Remove for good all entries, those whose payload holds `text`, or `only` those named."""
        return bulk.delete(self, self._selection(text, only))

    def expect(self, score: float, raw: bytes) -> None:
        """Have what reads the set now pass over a member that is put in its way by whoever reads."""
        for expected in self._walks.values():
            expected.add((score, raw))

    def entries(self, members: Sequence[Member]) -> list[SetEntry]:
        """Members as entries."""
        return [SetEntry(raw, score, self) for score, raw in members]

    def entered(self, entry: SetEntry) -> float | None:
        """When an entry came into the set, as far as that can be told from it, in epoch seconds."""
        raise NotImplementedError

    def _selection(self, text: str | None, only: Iterable[EntryKey] | None) -> bulk.Selection:
        if text is not None and only is not None:
            raise InvalidArguments("text= and only= are both given; give one of them")
        if text == "":
            raise InvalidArguments("text= is empty, which every entry holds; leave it out if all are meant")
        return bulk.Selection(self, text, None if only is None else map(_named, only))


class _Waiting(JobSet):
    """What can be killed."""

    def kill_all(
        self,
        *,
        text: str | None = None,
        only: Iterable[EntryKey] | None = None,
        drop: bool = False,
        limits: DeadLimits | None = None,
    ) -> BulkResult:
        """Move all entries, those whose payload holds `text`, or `only` those named, into the dead set as they are.

        Unless `drop` is given, raises `DeadSetFull`, before anything is moved, when the dead set's limit would drop
        entries for them. `limits` as `DeadSet.limits` [those of the running workers].
        """
        if only is not None:
            only = list(only)
        limits = limits or dead_limits(self.access)
        if not drop:
            bulk.check_room(self.access, limits, bulk.count(self._selection(text, only)))
        return bulk.kill(self, self._selection(text, only), limits)


class ScheduledSet(_Waiting):
    """Jobs that wait for their time."""

    _name = "schedule"

    def add_all_to_queue(self, *, text: str | None = None, only: Iterable[EntryKey] | None = None) -> BulkResult:
        """Put all entries, those whose payload holds `text`, or `only` those named, into their queues now."""
        return bulk.requeue(self, self._selection(text, only), moves.as_added)

    def entered(self, entry: SetEntry) -> float | None:
        return entry.created_at


class _Retried(JobSet):
    """What can be retried."""

    def retry_all(self, *, text: str | None = None, only: Iterable[EntryKey] | None = None) -> BulkResult:
        """Retry all entries now, those whose payload holds `text`, or `only` those named, as `SetEntry.retry`."""
        return bulk.requeue(self, self._selection(text, only), moves.as_retried)

    def retry_in_waves(
        self,
        size: int,
        every: Wait,
        *,
        text: str | None = None,
        only: Iterable[EntryKey] | None = None,
        start: Moment | None = None,
        placed: int = 0,
    ) -> BulkResult:
        """Retry all entries in waves, those whose payload holds `text`, or `only` those named.

        `size` of them run each `every` seconds (or `timedelta`), the first at `start` [now]; `placed` others have their
        places in these waves already, by a call before for another set. Nothing has to go on running for it: each job
        gets its time among the retries at once. Nothing else changes, but that an `expires_in` is forgotten: of a retry
        it is the attempt that was to come, of a dead job it costs none, as `SetEntry.retry`. Dead jobs go into waves
        after the retries: once they are among these, they are meant too.
        Raises `InvalidArguments` when the last would run more than 30 days later.
        """
        begin = self.access.server_now() if start is None else epoch_seconds(start, "start")
        waves, only = Waves.of(size, every, begin, placed), None if only is None else list(only)
        waves.check(placed + bulk.count(self._selection(text, only)))
        return bulk.spread(self, self._selection(text, only), waves, dead=isinstance(self, DeadSet))


class RetrySet(_Waiting, _Retried):
    """Jobs that failed and wait for their next attempt."""

    _name = "retry"

    def entered(self, entry: SetEntry) -> float | None:
        retried_at = entry.retried_at
        return entry.failed_at if retried_at is None else retried_at


class DeadSet(_Retried):
    """Jobs that nobody tries any more, newest 10,000 and for 180 days unless the workers are configured otherwise."""

    _name = "dead"

    def limits(self) -> DeadLimits:
        """How many entries it keeps and for how long: the widest that a running worker says, else the defaults."""
        return dead_limits(self.access)

    def room(self, limits: DeadLimits | None = None) -> DeadRoom:
        """How many entries it has room for; `DeadRoom.would_drop` says how many others more of them would cost."""
        return read_room(self.access, limits or self.limits())

    def entered(self, entry: SetEntry) -> float | None:
        return entry.score


def check_page(offset: int, limit: int) -> None:
    """Raise `InvalidArguments` unless so much may be read at once."""
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise InvalidArguments(f"offset is {offset!r}; give a number from 0 up")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= defaults.API_PAGE:
        raise InvalidArguments(f"limit is {limit!r}; give a number from 1 to {defaults.API_PAGE:,}")


def _named(key: EntryKey) -> tuple[float, str] | SetEntry:
    """What is named: an entry that was read is meant as it was."""
    return key if isinstance(key, SetEntry) else entry_key(key)


def entry_key(key: EntryKey) -> tuple[float, str]:
    """Score and jid that a key names. Raises `InvalidArguments`."""
    if isinstance(key, SetEntry):
        return key.score, key.jid
    named: Any = key
    if isinstance(key, str):
        parts = _KEY.fullmatch(key)
        named = (parts[1], parts[2]) if parts else ()
    try:
        score, jid = named
        return float(score), str(jid)
    except (TypeError, ValueError):
        raise InvalidArguments(f"{key!r} names no entry; give (score, jid), or `<score>-<jid>`") from None
