"""Changes of many entries of a set, by pages, on a snapshot.

What was in the set when the call began is taken, once: an entry that comes, or comes back, while the call lasts is left
alone. Nothing remembers the whole set for that; an entry says itself when it came.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jobd.client import defaults, moves, scripts
from jobd.client.access import Access
from jobd.client.cursor import Cursor
from jobd.client.dead import read_room
from jobd.client.errors import DeadSetFull, MalformedPayload
from jobd.client.payload import Timestamps
from jobd.client.scripts import DeadLimits, Moved
from jobd.client.waves import Waves

if TYPE_CHECKING:
    from jobd.client.sets import JobSet, SetEntry

T = TypeVar("T")

Move: TypeAlias = Callable[[dict[str, Any], float, Timestamps], tuple[str, bytes]]
"""Makes of a payload its queue and the bytes to push."""

_LOOK_UPS = 100
"""Named entries that are looked up in one round trip."""
_FEW = 10
"""Entries of one score that such a look-up reads; Redis is asked again if there are more."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What a call did with many entries.

    - `moved`: so many it has moved, or deleted;
    - `gone`: others had moved so many between the reading and the change, or before they were looked up;
    - `malformed`: so many are no jobs and stay, as they cannot enter a queue;
    - `dropped`: so many older ones the dead set's limits removed;
    - `note`: which entries else stay, and why; mostly empty.
    """

    moved: int = 0
    gone: int = 0
    malformed: int = 0
    dropped: int = 0
    note: str = ""

    def plus(self, moved: Moved) -> BulkResult:
        """With the result of one more page."""
        note = self.note if moved.note in self.note else self.note + moved.note
        return BulkResult(
            self.moved + moved.moved, self.gone + moved.gone, self.malformed, self.dropped + moved.dropped, note
        )

    def and_also(self, other: BulkResult) -> BulkResult:
        """With all of another result."""
        return self.plus(Moved(other.moved, other.gone, other.dropped, other.note)).also(malformed=other.malformed)

    def also(self, *, gone: int = 0, malformed: int = 0) -> BulkResult:
        """With more that were not moved."""
        return BulkResult(self.moved, self.gone + gone, self.malformed + malformed, self.dropped, self.note)


@dataclass(frozen=True, slots=True)
class Killed:
    """Whether an entry was moved into the dead set, and how many older ones its limits dropped. True if moved."""

    moved: bool
    dropped: int = 0

    def __bool__(self) -> bool:
        return self.moved


@dataclass(slots=True)
class Selection:
    """Entries of a set: all, those whose payload holds `text`, or `only` those named by score and jid.

    An entry itself among those is not looked up: it is meant with exactly its bytes.
    """

    owner: JobSet
    text: str | None
    only: Iterable[tuple[float, str] | SetEntry] | None
    missing: int = 0
    """Named entries that were not there."""

    def pages(self, size: int) -> Iterator[list[SetEntry]]:
        """The entries that were there when the first page is asked for, up to `size` at a time."""
        if self.only is not None:
            yield from self._named(size)
            return
        snapshot = _Snapshot.of(self.owner)
        pages = self._all(snapshot, size) if self.text is None else self._matching(self.text, size)
        for page in pages:
            if kept := [entry for entry in page if snapshot.takes(entry)]:
                yield kept

    def _all(self, snapshot: _Snapshot, size: int) -> Iterator[list[SetEntry]]:
        cursor = Cursor(self.owner.access, self.owner.key, high=snapshot.highest)
        return (self.owner.entries(page) for page in cursor.pages(size))

    def _matching(self, text: str, size: int) -> Iterator[list[SetEntry]]:
        return chunks(self.owner.scan(text), size)

    def _named(self, size: int) -> Iterator[list[SetEntry]]:
        for names in chunks(self.only or (), min(_LOOK_UPS, size)):
            wanted = [name for name in names if isinstance(name, tuple)]
            answers = iter(self._read(wanted) if wanted else ())
            found = [self._look_up(each, next(answers)) if isinstance(each, tuple) else each for each in names]
            page = list({entry.raw: entry for entry in found if entry is not None}.values())
            self.missing += len(names) - len(page)
            if page:
                yield page

    def _read(self, names: Sequence[tuple[float, str]]) -> list[Any]:
        key = self.owner.key

        def ask(pipeline: Any) -> None:
            for score, _ in names:
                pipeline.zrange(key, repr(score), repr(score), byscore=True, offset=0, num=_FEW)

        return self.owner.access.read_all(ask)

    def _look_up(self, name: tuple[float, str], read: Sequence[bytes] | None) -> SetEntry | None:
        score, jid = name
        for entry in self.owner.entries([(score, raw) for raw in read or ()]):
            if entry.jid == jid:
                return entry
        return self.owner.get(name) if read is not None and len(read) == _FEW else None


class _Snapshot:
    """Which entries were in a set at one moment."""

    def __init__(self, owner: JobSet, *, begun: float, taken_at: float, highest: float) -> None:
        self._owner, self._taken_at, self.highest = owner, taken_at, highest
        self._begun = math.floor(begun * 1000) / 1000  # a payload may hold whole milliseconds

    @classmethod
    def of(cls, owner: JobSet) -> _Snapshot:
        begun = owner.access.now()
        # By the server's clock, as workers stamp their entries.
        taken_at = owner.access.server_now()
        last = owner.page(0, 1, reverse=True)
        return cls(owner, begun=begun, taken_at=taken_at, highest=last[0].score if last else -math.inf)

    def takes(self, entry: SetEntry) -> bool:
        """Whether it is one of them, and was not taken before."""
        if entry.score > self.highest:
            return False
        # This call stamps what it puts into a queue, by the clock of `begun`: what comes back from there bears that.
        if entry.enqueued_at is not None and entry.enqueued_at >= self._begun:
            return False
        entered = self._owner.entered(entry)
        return entered is None or entered <= self._taken_at


def delete(owner: JobSet, selection: Selection) -> BulkResult:
    """Remove the selected entries for good."""
    return _each_page(selection, defaults.API_PAGE, partial(delete_page, owner))


def requeue(owner: JobSet, selection: Selection, move: Move) -> BulkResult:
    """Put the selected entries into their queues now; what is no job stays."""
    return _each_page(selection, defaults.API_MOVES, partial(requeue_page, owner, move=move))


def kill(owner: JobSet, selection: Selection, limits: DeadLimits) -> BulkResult:
    """Move the selected entries into the dead set."""
    return _each_page(selection, defaults.API_MOVES, partial(kill_page, owner, limits=limits))


def _each_page(selection: Selection, size: int, change: Callable[[Sequence[SetEntry]], BulkResult]) -> BulkResult:
    result = BulkResult()
    for page in selection.pages(size):
        result = result.and_also(change(page))
    return result.also(gone=selection.missing)


def delete_page(owner: JobSet, page: Sequence[SetEntry]) -> BulkResult:
    """Remove up to 1,000 entries for good, by their exact bytes."""
    raws = [entry.raw for entry in page]
    removed = int(owner.access.write(partial(_remove, key=owner.key, raws=raws)))
    return BulkResult(removed, len(raws) - removed)


def trash_page(owner: JobSet, page: Sequence[SetEntry], trash: str) -> BulkResult:
    """As `delete_page`, of up to 300, but they are kept in the sorted set `trash` for an hour, with their times."""
    raws = [entry.raw for entry in page]
    return BulkResult().plus(owner.access.change(scripts.discard(owner.key, trash, raws)))


def _remove(redis: Any, key: str, raws: Sequence[bytes]) -> Any:
    return redis.zrem(key, *raws)


def requeue_page(owner: JobSet, page: Sequence[SetEntry], move: Move) -> BulkResult:
    """Put up to 300 entries into their queues now, by their exact bytes; what is no job stays."""
    access = owner.access
    now, timestamps = access.now(), access.timestamps
    prepared = [_prepared(entry, move, now, timestamps) for entry in page]
    members = [member for member in prepared if member is not None]
    result = BulkResult(malformed=len(prepared) - len(members))
    return result.plus(access.change(scripts.requeue(access.keys, owner.key, members))) if members else result


def spread(owner: JobSet, selection: Selection, waves: Waves, *, dead: bool) -> BulkResult:
    """Have the selected entries retried in waves, in their order; what is no job stays."""
    result, access = BulkResult(), owner.access
    placed = None if dead or selection.only is not None else _Placed()
    for page in selection.pages(defaults.API_MOVES):
        if placed is not None and selection.text is None:
            placed.forget(page[0].score)
        fresh = page if placed is None else [each for each in page if not placed.has(each.raw)]
        ready = [(entry.raw, raw) for entry in fresh if (raw := _waiting(entry, dead=dead)) is not None]
        members = [(before, raw, waves.time(place)) for place, (before, raw) in enumerate(ready)]
        if members:
            result = result.plus(access.change(scripts.spread(access.keys, owner.key, members)))
        if placed is not None:
            placed.add(members)
        result = result.also(malformed=len(fresh) - len(ready))
        waves = waves.after(len(ready))
    return result.also(gone=selection.missing)


class _Placed:
    """The retries that have got their places: who reads the set on and on meets them again. Of each it has a hash."""

    def __init__(self) -> None:
        self._marks: set[int] = set()
        self._times: deque[tuple[float, int]] = deque()

    def has(self, raw: bytes) -> bool:
        return hash(raw) in self._marks

    def add(self, members: Iterable[tuple[bytes, bytes, float]]) -> None:
        """More of them, as `scripts.spread` takes them, none earlier than those before."""
        for _, raw, at in members:
            self._marks.add(hash(raw))
            self._times.append((at, hash(raw)))

    def forget(self, before: float) -> None:
        """Let go of those that nobody meets who reads from a score on."""
        while self._times and self._times[0][0] < before:
            self._marks.discard(self._times.popleft()[1])


def _waiting(entry: SetEntry, *, dead: bool) -> bytes | None:
    try:
        return None if entry.malformed else moves.as_waiting(entry.copied_payload(), dead=dead)
    except (ValueError, RecursionError):
        return None


def kill_page(owner: JobSet, page: Sequence[SetEntry], limits: DeadLimits) -> BulkResult:
    """Move up to 300 entries into the dead set as they are, by their exact bytes."""
    access, raws = owner.access, [entry.raw for entry in page]
    return BulkResult().plus(access.change(scripts.bury(access.keys, owner.key, raws, access.now(), limits)))


def reschedule_page(owner: JobSet, page: Sequence[SetEntry], at: float) -> BulkResult:
    """Give up to 300 entries another time (epoch seconds), as `SetEntry.reschedule`, by their exact bytes."""
    members = [(entry.raw, moves.put_off(entry.raw, at - entry.score), at) for entry in page]
    access = owner.access
    return BulkResult().plus(access.change(scripts.spread(access.keys, owner.key, members, owner.key)))


def count(selection: Selection) -> int:
    """How many entries are selected; of a whole set or of named ones not more than so many."""
    if selection.only is not None:
        return sum(1 for _ in selection.only)
    if selection.text is None:
        return selection.owner.size
    return sum(len(page) for page in selection.pages(defaults.API_PAGE))


def check_room(access: Access, limits: DeadLimits, jobs: int) -> None:
    """Raise `DeadSetFull` when so many killed jobs would make the dead set's limit drop some."""
    room = read_room(access, limits)
    if lost := room.would_drop(jobs):
        raise DeadSetFull(
            f"killing {jobs:,} jobs would drop {lost:,}: the dead set holds {room.size - room.expired:,} and keeps "
            f"{room.max_jobs:,} [dead_max_jobs]; delete what is not needed, raise the limit, or pass drop=True"
        )


def _prepared(entry: SetEntry, move: Move, now: float, timestamps: Timestamps) -> tuple[bytes, str, bytes] | None:
    if entry.malformed:
        return None
    try:
        return entry.raw, *move(entry.copied_payload(), now, timestamps)
    except (MalformedPayload, ValueError, RecursionError):
        return None


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`items` in lists of up to `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
