"""What stands at the head of every page: totals, queues, processes; what needs attention, and how it is said."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.client.processes import FIELDS, Process, number, parse, renewed
from jobd.client.scripts import raw_bytes
from jobd.client.stats import QueueSummary
from jobd.web.questions import Question, name_of

LATE = 30.0
"""Seconds without a heartbeat after which a process is pointed out; one is due every 10 s."""
SLOW = 60.0
"""Seconds of waiting after which a queue is."""
NEARLY_FULL = 0.9
"""Share of the dead set's limit from which on it is."""
_BEAT = ("busy", "beat", "quiet", "rss", "cpu")
"""Fields of a heartbeat that are read each time."""
_ANEW = 60.0
"""Seconds after which the others are, which change never or hardly."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures of one moment, `now` in epoch seconds; the fullest queue comes first."""

    now: float
    processed: int
    failed: int
    scheduled: int
    retries: int
    dead: int
    queues: tuple[QueueSummary, ...]
    processes: tuple[Process, ...]
    dead_limit: int

    @property
    def enqueued(self) -> int:
        """Jobs in all queues."""
        return sum(queue.size for queue in self.queues)

    @property
    def busy(self) -> int:
        """Jobs that run."""
        return sum(process.busy for process in self.processes)

    @property
    def threads(self) -> int:
        """Threads of all processes."""
        return sum(process.concurrency for process in self.processes)

    @property
    def latency(self) -> float:
        """Seconds for which the job that waits longest has waited."""
        return max((queue.latency for queue in self.queues), default=0.0)

    def document(self) -> dict[str, Any]:
        """For programs, and for what a page shows live."""
        names = ("now", "processed", "failed", "busy", "enqueued", "scheduled", "retries", "dead", "threads", "latency")
        return {**{name: getattr(self, name) for name in names}, "processes": len(self.processes)}


class _Seen:
    """The processes as read last, since most of what they tell never changes: that is read anew only now and then."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, dict[str, Any], Process]] = {}

    def known(self, identities: Collection[str], now: float) -> frozenset[str]:
        """Those of which the heartbeat alone is to be read. What is forgotten by Redis is forgotten here too."""
        # Another dictionary, since other requests read at the same time.
        self._found = {name: self._found[name] for name in identities if name in self._found}
        return frozenset(name for name, (read_at, _, _) in self._found.items() if 0 <= now - read_at < _ANEW)

    def processes(
        self, identities: list[str], told: list[Any], known: Collection[str], now: float
    ) -> Iterator[Process]:
        """The processes with these answers to `HMGET`."""
        found = self._found
        for identity, values in zip(identities, told, strict=True):
            if not values or all(value is None for value in values):
                continue
            if identity not in known:
                fields: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
                if (process := parse(identity, fields)) is not None:
                    found[identity] = (now, fields, process)
                    yield process
            elif (before := found.get(identity)) is not None:
                read_at, fields, process = before
                if any(fields[name] != value for name, value in zip(_BEAT, values, strict=True)):
                    fields = {**fields, **dict(zip(_BEAT, values, strict=True))}
                    process = renewed(process, fields)
                    found[identity] = (read_at, fields, process)
                yield process


_SEEN: WeakKeyDictionary[Access, _Seen] = WeakKeyDictionary()


def ask_totals(access: Access) -> Question[Totals]:
    """Read them in two steps: so many commands as there are queues and processes, none of which grows with jobs."""
    keys, now = access.keys, access.now()
    counted, scheduled, retries, dead, queues, paused, processes = (
        yield lambda pipeline: (
            pipeline.mget(keys.stat_processed, keys.stat_failed)
            .zcard(keys.schedule)
            .zcard(keys.retry)
            .zcard(keys.dead)
            .smembers(keys.queues)
            .smembers(keys.paused)
            .smembers(keys.processes)
        )
    )
    names = sorted(name_of(name) for name in queues or ())
    identities = sorted(name_of(name) for name in processes or ())
    waits = {name_of(name) for name in paused or ()}
    seen = _SEEN.setdefault(access, _Seen())
    known = seen.known(identities, now)

    def ask(pipeline: Any) -> None:
        for name in names:
            key = raw_bytes(keys.queue(name))
            pipeline.llen(key).lindex(key, -1)
        for identity in identities:
            pipeline.hmget(raw_bytes(keys.process(identity)), *(_BEAT if identity in known else FIELDS))

    told = yield ask
    split = 2 * len(names)
    found = [
        QueueSummary(name, size or 0, JobEntry(oldest).latency(now) if oldest else 0.0, name in waits)
        for name, size, oldest in zip(names, told[0:split:2], told[1:split:2], strict=True)
    ]
    alive = tuple(seen.processes(identities, told[split:], known, now))
    processed, failed = (int(number(value)) for value in counted or (0, 0))
    limit = max((each.dead_limits.max_jobs for each in alive if each.dead_limits), default=10_000)
    ordered = tuple(sorted(found, key=lambda queue: (-queue.size, queue.name)))
    return Totals(now, processed, failed, scheduled or 0, retries or 0, dead or 0, ordered, alive, limit)


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that somebody should look at: which page tells more, a sentence, and the values in it."""

    page: str
    text: str
    values: dict[str, Any]


def attention(totals: Totals) -> list[Attention]:
    """What needs attention, the worst first."""
    found = []
    if totals.enqueued and not totals.processes:
        found.append(Attention("/busy", "No worker is running: {count} jobs wait.", {"count": totals.enqueued}))
    served = {name for process in totals.processes for name in process.queues if not process.quiet}
    for queue in totals.queues:
        values = {"queue": queue.name, "count": queue.size, "seconds": queue.latency}
        if queue.paused and queue.size:
            found.append(Attention("/queues", "Queue {queue} is paused with {count} jobs.", values))
        elif queue.size and totals.processes and queue.name not in served:
            found.append(Attention("/queues", "No process takes from queue {queue}: {count} jobs wait.", values))
        elif queue.latency > SLOW:
            found.append(Attention("/queues", "Queue {queue}: the next job has waited {seconds}.", values))
    for process in totals.processes:
        silent = totals.now - process.beat
        if silent > LATE:
            values = {"process": process.identity, "seconds": silent}
            found.append(Attention("/busy", "Process {process} has not shown itself for {seconds}.", values))
    if totals.dead >= NEARLY_FULL * totals.dead_limit:
        values = {"count": totals.dead, "limit": totals.dead_limit}
        found.append(Attention("/dead", "The dead set holds {count} of {limit}: its oldest jobs go next.", values))
    return found


def health(totals: Totals) -> tuple[str, dict[str, Any]]:
    """The state of the whole in one sentence, and the values in it."""
    values = {
        "busy": totals.busy,
        "threads": totals.threads,
        "processes": len(totals.processes),
        "enqueued": totals.enqueued,
        "seconds": totals.latency,
    }
    if not totals.processes:
        return ("No worker is running." if totals.enqueued else "No worker is running, and no job waits."), values
    if attention(totals):
        return "Needs attention: {busy} of {threads} threads busy, {enqueued} jobs wait.", values
    if totals.enqueued:
        return "Healthy: {busy} of {threads} threads busy, the next job has waited {seconds}.", values
    return "Healthy: {busy} of {threads} threads busy, no job waits.", values
