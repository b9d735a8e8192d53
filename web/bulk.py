"""Changes of many jobs that outlast a request: a thread of this process carries one out, Redis holds how far it is.

Every process of the dashboard shows it and can have it stopped. Each portion is moved by one script, so that the end of
the process at any moment leaves each job where it was or where it should be, and what was counted before stays counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from redis.exceptions import WatchError

from jobd.client import audit, defaults
from jobd.client.access import Access
from jobd.client.audit import Record
from jobd.client.bulk import BulkResult
from jobd.client.dead import dead_limits
from jobd.client.entry import JobEntry
from jobd.client.errors import JobdError
from jobd.client.processes import number
from jobd.client.scripts import raw_bytes
from jobd.web.filters import Filter
from jobd.web.masking import Masker
from jobd.web.places import Place, QueuePlace, SetPlace, matching
from jobd.web.questions import Question
from jobd.web.reach import Reach, audited
from jobd.web.trash import Bin, undone

logger = logging.getLogger("jobd")

MOST_BYTES = 1_000_000
"""About so much is moved at once."""
RESTS, LONGEST_REST = 2.0, 0.02
"""So many times as long as a portion took a change rests after it, and so many seconds at most."""
_INTO_QUEUES = ("retry", "enqueue")
_COUNTS = ("moved", "gone", "malformed", "dropped")
_NUMBERS = (*_COUNTS, "final", "of", "looked_at", "started_at", "beat", "ended_at", "at")
_TEXTS = ("action", "place", "queue", "q", "user", "state", "error", "stopped_by", "to", "queues", "undo")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: an action on all of a place that pass a filter and were there at `until`.

    `of` is how many they were when they were counted, 0 where that is not known; `at` is the time for `reschedule`,
    `to` the queue for `move`. `user` and `address` say who asked, `reach` of which queues alone jobs are taken,
    `bin` what takes in those that are deleted.
    """

    action: str
    wanted: Filter
    until: float
    of: int = 0
    at: float | None = None
    user: str = ""
    address: str = ""
    to: str = ""
    reach: Reach = field(default_factory=Reach)
    bin: Bin | None = None


class TooMany(JobdError):
    """As many changes of many go on as may."""


def apply(place: Place, order: Order, pages: Iterable[list[Any]]) -> Iterator[BulkResult]:
    """Carry out an order on entries that were read just now; what came of all so far, after each portion."""
    limits = dead_limits(place.access) if order.action == "kill" else None
    change, result = place.change(order.action, limits, order.at, order.to), BulkResult()
    if order.bin is not None:
        change = order.bin.deletes(place)
    for page in _gathered(pages, place.portion, place.together):
        if order.action == "reschedule":  # those that have been moved come again
            page = [entry for entry in page if entry.score != order.at]
        if order.action in _INTO_QUEUES:  # a portion that goes into few queues is less work for Redis
            page = sorted(page, key=_queue)
        for portion in _portions(page, place.portion):
            result = result.and_also(change(portion))
            yield result
        if not page:
            yield result


def _queue(entry: JobEntry) -> str:
    return entry.queue or defaults.QUEUE  # into which goes what names none


def _gathered(pages: Iterable[list[Any]], enough: int, most: int) -> Iterator[list[Any]]:
    """Up to `most` pages as one, until they have `enough` entries."""
    held, count = list[Any](), 0
    for page in pages:
        held, count = held + page, count + 1
        if len(held) >= enough or count >= most:
            yield held
            held, count = [], 0
    yield held


def _portions(page: list[Any], most: int) -> Iterator[list[Any]]:
    portion, length = list[Any](), 0
    for entry in page:
        if portion and (len(portion) >= most or length + len(entry.raw) > MOST_BYTES):
            yield portion
            portion, length = [], 0
        portion.append(entry)
        length += len(entry.raw)
    if portion:
        yield portion


def begin(place: Place, order: Order, masker: Masker) -> str:
    """Have a thread carry it out; answers the id under which it is shown. Raises `TooMany`."""
    run = _Run(place, order, masker)
    run.open()
    threading.Thread(target=run.carry_out, name=f"bulk-{run.id}", daemon=True).start()
    return run.id


def rest(took: float) -> None:
    """Leave Redis to the workers, who fetch meanwhile, after a portion that took so many seconds."""
    time.sleep(min(RESTS * took, LONGEST_REST))


class _Run:
    """One change of many, on its way."""

    def __init__(self, place: Place, order: Order, masker: Masker) -> None:
        self.id = secrets.token_hex(8)
        self._place, self._order, self._masker, self._access = place, order, masker, place.access
        self._key, self._slot = self._access.keys.bulk(self.id), ""
        self._looked_at, self._renewed = 0, time.monotonic()

    def open(self) -> None:
        """Take one of the slots, and show it. Raises `TooMany`."""
        lease = int(defaults.BULK_LEASE * 1000)
        for slot in map(self._access.keys.bulk_slot, range(defaults.BULK_RUNS)):
            if self._access.write(partial(_take, slot=slot, run=self.id, lease=lease)):
                self._slot = slot
                break
        else:
            raise TooMany(
                f"{defaults.BULK_RUNS} changes of many jobs go on already; wait until one of them has ended, or stop it"
            )
        order, place = self._order, self._place
        fields: dict[str, Any] = {
            "action": order.action,
            "of": order.of,
            "user": order.user,
            "q": self._masker.text(str(order.wanted)),
            "place": place.kind if isinstance(place, SetPlace) else "queue",
            "queue": raw_bytes(place.owner.name) if isinstance(place, QueuePlace) else "",
            "started_at": repr(self._access.now()),
        }
        if order.at is not None:
            fields["at"] = repr(order.at)
        if order.to:
            fields["to"] = order.to
        if order.bin is not None:
            fields["undo"] = order.bin.deletion.id
        if order.reach.limited:
            fields["queues"] = order.reach.shown
        self._access.write(lambda redis: redis.hset(self._key, mapping=fields))
        self._tell("running", BulkResult())

    def carry_out(self) -> None:
        """Do it to its end, or until somebody has it stopped."""
        state, error, result, began = "done", "", BulkResult(), time.monotonic()
        try:
            for result in apply(self._place, self._order, self._pages()):
                if self._tell("running", result):
                    state = "stopped"
                    break
                rest(time.monotonic() - began)
                began = time.monotonic()
        except JobdError as problem:
            state, error = "failed", self._masker.text(str(problem))
        except Exception:
            state, error = "failed", "something broke; see the log of the dashboard for web.failed"
            logger.exception("web.failed bulk %s", self.id)
        self._record(state, result, error)
        try:
            self._tell(state, result, error=error, ended_at=repr(self._access.now()))
        except JobdError as problem:
            # What it came to stands in the log; the page will say that it was interrupted.
            logger.warning("web.bulk_unsaid %s: %s", self.id, self._masker.text(str(problem)))

    def _pages(self) -> Iterator[list[JobEntry]]:
        order = self._order
        for page, looked_at in matching(self._place, order.wanted, self._masker, order.until, order.reach):
            self._looked_at += looked_at
            yield page

    def _tell(self, state: str, result: BulkResult, **more: str) -> bool:
        """Note how far it is; answers whether somebody has asked to stop."""
        counts = {name: getattr(result, name) for name in _COUNTS} | undone(self._order.bin)[1]
        fields = {**counts, **more, "state": state, "looked_at": self._looked_at, "beat": repr(self._access.now())}
        if state != "running" or time.monotonic() >= self._renewed + defaults.BULK_LEASE / 5:
            self._keep_slot(defaults.BULK_LEASE if state == "running" else 0.0)

        def send(redis: Any) -> Any:
            with redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(self._key, mapping=fields).expire(self._key, defaults.BULK_TTL)
                return pipeline.hget(self._key, "stop").execute()[-1]

        return bool(self._access.write(send))

    def _keep_slot(self, seconds: float) -> None:
        """Have the slot for so long, 0 to give it up; after a pause longer than the lease it may be another's."""
        self._renewed = time.monotonic()

        def send(redis: Any) -> None:
            with redis.pipeline(transaction=True) as pipeline:
                pipeline.watch(self._slot)
                if pipeline.get(self._slot) == self.id.encode():
                    pipeline.multi()
                    pipeline.pexpire(self._slot, int(seconds * 1000)).execute()

        with contextlib.suppress(WatchError):  # it went to another just now
            self._access.write(send)

    def _record(self, state: str, result: BulkResult, error: str) -> None:
        """Log how it ended, and write it down where the page that began it has."""
        order, chosen = self._order, self._masker.text(str(self._order.wanted))
        told = {"id": self.id, "user": order.user or "-", "action": order.action, "state": state}
        values = {**told, "on": self._place.name, "q": chosen, "error": error}
        counts = {name: count for name, count in asdict(result).items() if name in _COUNTS}
        undo, final = undone(order.bin)
        counts |= final
        logger.info("web.bulk %s", json.dumps({**{k: v for k, v in values.items() if v}, **counts}))
        audit.write(
            self._access,
            Record(
                user=order.user or "-",
                address=order.address,
                action=order.action,
                page=f"/bulk/{self.id}",
                target=self.id,
                filter=audited(chosen or "all", order.reach),
                result="failed" if state == "failed" else "done",
                error=error or ("stopped by hand" if state == "stopped" else ""),
                counts=counts,
                undo=undo,
            ),
        )


def _take(redis: Any, slot: str, run: str, lease: int) -> Any:
    return redis.set(slot, run, nx=True, px=lease)


def ask_progress(access: Access, run: str) -> Question[dict[str, Any] | None]:
    """How far a change of many is; None when there is none of this id, or not any more."""
    [fields] = yield lambda pipeline: pipeline.hgetall(access.keys.bulk(run))
    return document(run, fields, access.now()) if fields else None


def document(run: str, fields: Mapping[bytes, bytes], now: float) -> dict[str, Any]:
    """The same for pages and programs. Times are epoch seconds, `rate` entries a second, `left` seconds if known."""
    found: dict[str, Any] = {"id": run}
    found |= {name: fields.get(name.encode(), b"").decode("utf-8", "surrogateescape") for name in _TEXTS}
    found |= {name: number(fields.get(name.encode())) for name in _NUMBERS}
    found |= {name: int(found[name]) for name in (*_COUNTS, "final", "of", "looked_at")}
    if found["state"] == "running" and now - found["beat"] > defaults.BULK_LEASE:
        found["state"] = "interrupted"
    done = found["moved"] + found["gone"] + found["malformed"]
    length = max((found["beat"] or now) - found["started_at"], 0.001)
    rate = done / length
    left = (found["of"] - done) / rate if found["state"] == "running" and rate and found["of"] > done else None
    asked = bool(fields.get(b"stop")) and found["state"] == "running"
    return {**found, "done": done, "rate": rate, "left": left, "seconds": length, "stopping": asked}


def stop(access: Access, run: str, user: str) -> bool:
    """Have a change of many stopped after the portion at which it is. False: it is not known any more."""
    key = access.keys.bulk(run)
    if not access.read(lambda redis: redis.exists(key)):
        return False

    def send(redis: Any) -> None:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping={"stop": "1", "stopped_by": user}).expire(key, defaults.BULK_TTL).execute()

    access.write(send)
    return True
