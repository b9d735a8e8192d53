"""Deleted jobs that can be put back for an hour: what is kept of a deletion, and how it comes back.

Each portion leaves its place and enters the trash in one script, and comes back in one: wherever a process ends, a job
is in one of the two. One hash in Redis tells which deletions there are; who may put something back is left to the page.
"""

from __future__ import annotations

import json
import math
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias, cast

from jobd.client import bulk, defaults, scripts
from jobd.client.access import Access
from jobd.client.bulk import BulkResult
from jobd.client.entry import JobEntry
from jobd.client.errors import RedisRefused
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.client.scripts import Moved
from jobd.web import places
from jobd.web.places import TITLES, Kind, Place, QueuePlace, SetPlace
from jobd.web.questions import Question

_QUEUE = "queue"
_PORTION = 300
_MOST_PLACES = 2
_Page: TypeAlias = list[tuple[bytes, float]]
_AHEAD = 60.0
"""Seconds by which the clock of Redis may be ahead of that of this machine."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted: when (epoch seconds), by whom, from which places, how much of it was kept.

    A place is retries, scheduled or dead and "", or queue and its name.
    """

    id: str
    at: float
    user: str
    places: tuple[tuple[str, str], ...] = ()
    deleted: int = 0
    kept: int = 0
    bytes: int = 0

    def keys(self, keys: Keys) -> list[str]:
        """Where its jobs are, place by place."""
        return [keys.trashed(self.id, number) for number in range(_MOST_PLACES)]


def read(answer: Mapping[bytes, bytes] | None, now: float) -> dict[str, Deletion]:
    """The deletions that the hash holds, by their ids, without those whose hour is over."""
    found = (_parse(raw_id.decode("utf-8", "replace"), raw) for raw_id, raw in (answer or {}).items())
    return {each.id: each for each in found if each and now - defaults.TRASH_TTL < each.at <= now + _AHEAD}


def _parse(name: str, raw: bytes) -> Deletion | None:
    try:
        told = json.loads(raw)
        where = tuple((str(kind), str(queue)) for kind, queue in told["places"][:_MOST_PLACES])
        counts = {each: int(told[each]) for each in ("deleted", "kept", "bytes")}
        found = Deletion(name, float(told["at"]), str(told.get("user", ""))[:200], where, **counts)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return found if all(kind == _QUEUE or kind in TITLES for kind, _ in where) else None


def over(held: Mapping[str, Deletion]) -> list[Deletion]:
    """Those that are forgotten to make room for another one, the oldest first. Pure."""
    rest, found = sorted(held.values(), key=lambda each: each.at), list[Deletion]()
    room = defaults.TRASH_ALL_BYTES - defaults.TRASH_BYTES
    while rest and (len(rest) >= defaults.TRASH_DELETIONS or sum(each.bytes for each in rest) > room):
        found.append(rest.pop(0))
    return found


class Bin:
    """Takes in what one deletion removes, as far as it has room; the rest is gone for good."""

    def __init__(self, access: Access, user: str) -> None:
        self._access = access
        self.deletion = Deletion(secrets.token_hex(8), access.now(), user)
        self._is_open = self._refused = False

    @property
    def final(self) -> int:
        """How much of what was deleted was not kept."""
        return self.deletion.deleted - self.deletion.kept

    @property
    def id(self) -> str:
        """Under which it is put back; empty while nothing was kept."""
        return self.deletion.id if self.deletion.kept else ""

    def deletes(self, place: Place) -> Callable[[Sequence[Any]], BulkResult]:
        """What deletes up to 300 entries of a place at once, as `Place.change` does."""
        named = (_QUEUE, place.owner.name) if isinstance(place, QueuePlace) else (place.kind, "")
        if named not in self.deletion.places:
            self.deletion = replace(self.deletion, places=(*self.deletion.places, named))
        key = self._access.keys.trashed(self.deletion.id, self.deletion.places.index(named))
        return lambda page: self._delete(place, key, page)

    def _delete(self, place: Place, key: str, page: Sequence[Any]) -> BulkResult:
        room = self._room(page)
        if room and not self._is_open and not self._open():
            room = 0
        kept, rest, result = page[:room], page[room:], BulkResult()
        if kept and isinstance(place, QueuePlace):
            result = place.owner.trash_all(kept, key)
        elif kept and isinstance(place, SetPlace):
            result = bulk.trash_page(place.owner, kept, key)
        known, moved = self.deletion, result.moved
        if rest:
            result = result.and_also(place.change("delete", None, None)(rest))
        size = known.bytes + sum(len(entry.raw) for entry in kept)
        self.deletion = replace(
            known, deleted=known.deleted + result.moved, kept=known.kept + moved, bytes=size if moved else known.bytes
        )
        if self._is_open:
            self._refused = not self._note()
        return result

    def _room(self, page: Sequence[JobEntry]) -> int:
        """How many of a page are kept: once one was not, none is, so that what comes back are the first."""
        known, size = self.deletion, self.deletion.bytes
        if self._refused or known.deleted > known.kept:
            return 0
        for number, entry in enumerate(page):
            size += len(entry.raw)
            if known.kept + number >= defaults.TRASH_JOBS or size > defaults.TRASH_BYTES:
                return number
        return len(page)

    def _open(self) -> bool:
        """Before something enters it: make room, and tell that it is there. False: Redis is full, or refuses it."""
        try:
            self._make_room()
        except RedisRefused:
            self._refused = True
            return False
        self._is_open = self._note()
        self._refused = not self._is_open
        return self._is_open

    def _make_room(self) -> None:
        keys, now = self._access.keys, self._access.now()
        stored = self._access.read(lambda redis: redis.hgetall(keys.trash))
        held = read(stored, now)
        gone = over(held)
        stale = [raw_id for raw_id in stored if raw_id.decode("utf-8", "replace") not in held]

        def write(redis: Any) -> None:
            with redis.pipeline(transaction=True) as pipeline:
                for each in gone:
                    pipeline.unlink(*each.keys(keys)).hdel(keys.trash, each.id)
                if stale:
                    pipeline.hdel(keys.trash, *stale)
                pipeline.execute()

        self._access.write(write)

    def _note(self) -> bool:
        """Tell how much is kept. False: Redis is full, or refuses it; to delete must go on then."""
        key, told = self._access.keys.trash, asdict(self.deletion)
        name = told.pop("id")

        def write(redis: Any) -> None:
            with redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, name, json.dumps(told)).expire(key, defaults.TRASH_TTL).execute()

        try:
            self._access.write(write)
        except RedisRefused:
            return False
        return True


def undone(taken: Bin | None) -> tuple[str, dict[str, int]]:
    """Under which id what was deleted comes back, and how much of it does not."""
    if taken is None:
        return "", {}
    return taken.id, {"final": taken.final}


def ask_deletion(access: Access, name: str) -> Question[tuple[Deletion, list[int]] | None]:
    """A deletion, and how many of its jobs are left in the trash of each of its places; None when it is not known."""
    keys = access.keys
    [raw] = yield lambda pipeline: pipeline.hget(keys.trash, name)
    found = read({name.encode(): raw}, access.now()).get(name) if raw else None
    if found is None:
        return None
    where = found.keys(keys)[: len(found.places)]
    left = yield lambda pipeline: [pipeline.zcard(key) for key in where]
    return found, [count or 0 for count in left]


def put_back(client: Client, found: Deletion, may: Callable[[JobEntry, str], bool]) -> tuple[int, int]:
    """Put back what is left in the trash of a deletion, if one `may`: (job, the queue in which it was, or "").

    Answers how many came back, and how many stay. Who asks twice at one time shares the work. What cannot be pushed
    back, as its queue is no list, stays.
    """
    access = Access(client)
    moved = stays = 0
    for (kind, name), key in zip(found.places, found.keys(access.keys), strict=False):
        returns = _into_queue(access, key, name) if kind == _QUEUE else _into_set(client, cast(Kind, kind), key)
        left = 0
        while page := _page(access, key, left):
            meant = [(raw, at) for raw, at in page if may(JobEntry(raw), name)]
            done = returns(meant) if meant else Moved(0, 0)
            moved, left = moved + done.moved, left + len(page) - done.moved - done.gone
        stays += left
    if not stays:
        access.write(lambda redis: redis.hdel(access.keys.trash, found.id))
    return moved, stays


def _page(access: Access, key: str, first: int) -> _Page:
    """What is in the trash after the first ones, which stay."""
    last = first + _PORTION - 1
    [page] = access.read_all(lambda pipeline: pipeline.zrange(key, first, last, withscores=True))
    return [(raw, float(at)) for raw, at in page or ()]


def _into_queue(access: Access, key: str, name: str) -> Callable[[_Page], Moved]:
    return lambda page: access.change(scripts.requeue(access.keys, key, [(raw, name, raw) for raw, _ in page]))


def _into_set(client: Client, kind: Kind, key: str) -> Callable[[_Page], Moved]:
    owner = places.set_of(kind, client)
    access = owner.access

    def back(page: _Page) -> Moved:
        members = [(raw, raw, _finite(at)) for raw, at in page]
        return access.change(scripts.spread(access.keys, key, members, owner.key))

    return back


def _finite(at: float) -> float:
    return at if math.isfinite(at) else math.copysign(sys.float_info.max, at)
