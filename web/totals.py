"""What stands at the head of every page: totals, queues, processes; what needs attention, and how it is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.client.processes import FIELDS, Process, number, parse, renewed
from jobd.client.scripts import raw_bytes
from jobd.client.stats import QueueSummary
from jobd.web.questions import Bearing, Question, name_of
from jobd.web.server import Server, Watch

LATE = 30.0
"""Seconds without a heartbeat after which a process is pointed out; one is due every 10 s."""
SLOW = 60.0
"""Seconds of waiting after which a queue is."""
NEARLY_FULL = 0.9
"""Share of the dead set's limit from which on it is."""
_BEAT = ("busy", "beat", "quiet", "rss", "cpu")
"""Fields of a heartbeat that are read each time."""
_ANEW = 60.0
"""Seconds after which the others are at the latest, which change never or hardly."""
SAME = 5
"""Things of one kind that are named before the others are only counted."""


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
    server: Server | None = None
    """What Redis says of its memory and of its disk; None where it was not asked or refuses."""

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
    """The processes as read last, since most of what they tell never changes: that is read anew only now and then.

    Safe across threads: what is in place is replaced, and never changed.
    """

    def __init__(self) -> None:
        self._found: Mapping[str, _Beat] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter([beat.process for beat in self._found.values()])

    def known(self, identities: Iterable[str], now: float) -> Mapping[str, _Beat]:
        """Those of which the heartbeat alone is to be read."""
        found = self._found
        beats = ((name, found.get(name)) for name in identities)
        return {name: beat for name, beat in beats if beat is not None and now < beat.until <= now + _ANEW}

    def processes(
        self, identities: Sequence[str], told: Sequence[Any], known: Mapping[str, _Beat], now: float
    ) -> tuple[Process, ...]:
        """The processes with these answers to `HMGET`; what Redis has forgotten is forgotten here too."""
        found: dict[str, _Beat] = {}
        for identity, values in zip(identities, told, strict=True):
            if values and values.count(None) < len(values):
                beat = _read(identity, values, known.get(identity), now)
                if beat is not None:
                    found[identity] = beat
        self._found = found
        return tuple(beat.process for beat in found.values())


@dataclass(frozen=True, slots=True)
class _Beat:
    """A process as it was read; `values` are those of its last heartbeat, and serve alone `until` all is read anew."""

    until: float
    fields: dict[str, Any]
    process: Process
    values: list[Any]


def _read(identity: str, values: list[Any], last: _Beat | None, now: float) -> _Beat | None:
    """A process after an answer, of the heartbeat alone if there is a `last` one; None when it describes none."""
    if last is None:
        told: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
        process = parse(identity, told)
        # Not all in the same second, though all were read at once.
        until = now + _ANEW * (0.5 + hash(identity) % 1000 / 2000)
        return None if process is None else _Beat(until, told, process, [told[name] for name in _BEAT])
    if last.values == values:
        return last
    fields = {**last.fields, **dict(zip(_BEAT, values, strict=True))}
    return _Beat(last.until, fields, renewed(last.process, fields), values)


_SEEN: WeakKeyDictionary[Access, _Seen] = WeakKeyDictionary()


def remembered(access: Access) -> dict[str, Process]:
    """The processes that were read last, however long ago, by identity."""
    return {process.identity: process for process in _SEEN.get(access, _Seen())}


def _ask_head(access: Access, watch: Watch | None) -> Question[list[Any]]:
    """What does not depend on the names of queues and processes; now and then what Redis says of itself."""
    keys, looks = access.keys, watch is not None and watch.is_due

    def ask(pipeline: Any) -> None:
        pipeline.mget(keys.stat_processed, keys.stat_failed)
        pipeline.zcard(keys.schedule).zcard(keys.retry).zcard(keys.dead)
        pipeline.smembers(keys.queues).smembers(keys.paused).smembers(keys.processes)
        if looks:
            Watch.ask(pipeline)

    told = yield Bearing(ask)
    if watch is not None and looks:
        watch.note(told[7:])
    return [access.judged(each) for each in told[:7]]


def ask_totals(access: Access, watch: Watch | None = None) -> Question[Totals]:
    """Read them in two steps: so many commands as there are queues and processes, none of which grows with jobs."""
    keys, now = access.keys, access.now()
    counted, scheduled, retries, dead, queues, paused, processes = yield from _ask_head(access, watch)
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
    alive = seen.processes(identities, told[split:], known, now)
    processed, failed = (int(number(value)) for value in counted or (0, 0))
    limit = max((each.dead_limits.max_jobs for each in alive if each.dead_limits), default=10_000)
    ordered = tuple(sorted(found, key=lambda queue: (-queue.size, queue.name)))
    server = watch.server if watch is not None else None
    return Totals(now, processed, failed, scheduled or 0, retries or 0, dead or 0, ordered, alive, limit, server)


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that somebody should look at: which page tells more, a sentence, and the values in it."""

    page: str
    text: str
    values: dict[str, Any]


def served(processes: Iterable[Process]) -> frozenset[str]:
    """The queues from which somebody takes."""
    # Many processes have the same queues.
    return frozenset(name for queues in {each.queues for each in processes if not each.quiet} for name in queues)


_BESIDES = {
    "Queue {queue} is paused with {count} jobs.": "Queues that are paused with jobs, besides: {count}.",
    "No process takes from queue {queue}: {count} jobs wait.": "Queues from which no process takes, besides: {count}.",
    "Queue {queue}: the next job has waited {seconds}.": "Queues whose next job has waited long, besides: {count}.",
    "Process {process} has not shown itself for {seconds}.": "Processes not seen for long, besides: {count}.",
}


def summed(found: Iterable[Attention]) -> list[Attention]:
    """The first of each kind, and how many there are besides."""
    kept, seen = list[Attention](), Counter[str]()
    pages: dict[str, str] = {}
    for each in found:
        seen[each.text] += 1
        if seen[each.text] <= SAME or each.text not in _BESIDES:
            kept.append(each)
        pages[each.text] = each.page
    more = [(text, count - SAME) for text, count in seen.items() if count > SAME and text in _BESIDES]
    return kept + [Attention(pages[text], _BESIDES[text], {"count": count}) for text, count in more]


def attention(totals: Totals) -> list[Attention]:
    """What needs attention, the worst first."""
    found = []
    if totals.enqueued and not totals.processes:
        found.append(Attention("/busy", "No worker is running: {count} jobs wait.", {"count": totals.enqueued}))
    takers = served(totals.processes)
    for queue in totals.queues:
        values = {"queue": queue.name, "count": queue.size, "seconds": queue.latency}
        if queue.paused and queue.size:
            found.append(Attention("/queues", "Queue {queue} is paused with {count} jobs.", values))
        elif queue.size and totals.processes and queue.name not in takers:
            found.append(Attention("/queues", "No process takes from queue {queue}: {count} jobs wait.", values))
        elif queue.latency > SLOW:
            found.append(Attention("/queues", "Queue {queue}: the next job has waited {seconds}.", values))
    for process in totals.processes:
        silent = totals.now - process.beat
        if silent > LATE:
            values = {"process": process.identity, "seconds": silent}
            found.append(Attention("/busy", "Process {process} has not shown itself for {seconds}.", values))
    found = summed(found)
    if totals.dead >= NEARLY_FULL * totals.dead_limit:
        values = {"count": totals.dead, "limit": totals.dead_limit}
        found.append(Attention("/dead", "The dead set holds {count} of {limit}: its oldest jobs go next.", values))
    return [*found, *(Attention("/redis", text, values) for text, values in (totals.server or Server()).warnings())]


def health(totals: Totals, found: Sequence[Attention] | None = None) -> tuple[str, dict[str, Any]]:
    """The state of the whole in one sentence, and the values in it. `found` needs attention [what `totals` tell]."""
    found = attention(totals) if found is None else found
    values = {
        "busy": totals.busy,
        "threads": totals.threads,
        "processes": len(totals.processes),
        "enqueued": totals.enqueued,
        "seconds": totals.latency,
    }
    if not totals.processes:
        return ("No worker is running." if totals.enqueued else "No worker is running, and no job waits."), values
    if found:
        return "Needs attention: {busy} of {threads} threads busy, {enqueued} jobs wait.", values
    if totals.enqueued:
        return "Healthy: {busy} of {threads} threads busy, the next job has waited {seconds}.", values
    return "Healthy: {busy} of {threads} threads busy, no job waits.", values
