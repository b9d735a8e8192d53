"""What stands at the head of every page: totals, queues, processes; what needs attention, and how it is said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.keys import Keys
from jobd.client.processes import FIELDS, Process, number, parse, renewed
from jobd.client.queue_limits import USUAL, Kind, Limits, read_limits
from jobd.client.reading import packed
from jobd.client.scripts import raw_bytes
from jobd.client.stats import QueueSummary
from jobd.web.depths import Depths
from jobd.web.questions import Bearing, Question, name_of
from jobd.web.server import Server, Watch

T = TypeVar("T")

LATE = 30.0
"""Seconds without a heartbeat after which a process is pointed out; one is due every 10 s."""
NEARLY_FULL = 0.9
"""Share of the dead set's limit from which on it is."""
_BEAT = ("busy", "beat", "quiet", "rss", "cpu", "concurrency", "oldest_at")
"""Fields of a heartbeat that are read each time."""
_ANEW = 60.0
"""Seconds after which the others are at the latest, which change never or hardly."""
SAME = 5
"""Things of one kind that are named before the others are only counted."""


@dataclass(frozen=True)
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
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """Of the queues that have alert limits of their own."""

    @cached_property
    def enqueued(self) -> int:
        """Jobs in all queues."""
        return sum(queue.size for queue in self.queues)

    @cached_property
    def busy(self) -> int:
        """Jobs that run."""
        return sum(process.busy for process in self.processes)

    @cached_property
    def threads(self) -> int:
        """Threads of all processes."""
        return sum(process.concurrency for process in self.processes)

    @cached_property
    def latency(self) -> float:
        """Seconds for which the job that waits longest has waited."""
        return max((queue.latency for queue in self.queues), default=0.0)

    @cached_property
    def takers(self) -> frozenset[str]:
        """The queues from which somebody takes."""
        # Many processes have the same queues.
        named = {each.queues for each in self.processes if not each.quiet}
        return frozenset(name for queues in named for name in queues)

    def over(self, queue: QueueSummary) -> tuple[Kind, ...]:
        """Which of its alert limits a queue is over."""
        if (limits := self.limits.get(queue.name)) is None:  # as for most of them, and there are hundreds
            return ("wait",) if queue.latency > defaults.ALERT_WAIT else ()
        return limits.exceeded(queue.size, queue.latency)

    def document(self) -> dict[str, Any]:
        """For programs, and for what a page shows live."""
        names = ("now", "processed", "failed", "busy", "enqueued", "scheduled", "retries", "dead", "threads", "latency")
        return {**{name: getattr(self, name) for name in names}, "processes": len(self.processes)}


class _Names:
    """A set of Redis in the order of its names, which is found once for as long as it holds the same."""

    def __init__(self) -> None:
        self._last: tuple[set[bytes], list[str]] = set(), []

    def __call__(self, raw: set[bytes] | None) -> list[str]:
        """The names, sorted; nobody may change the list."""
        last, names = self._last
        if raw != last:
            last, names = self._last = raw or set(), sorted(map(name_of, raw or ()))
        return names


class _Seen:
    """The processes as read last, since most of what they tell never changes: that is read anew only now and then.

    Safe across threads: what is in place is replaced, and never changed.
    """

    def __init__(self) -> None:
        self._found: Mapping[str, _Beat] = {}
        self._asks: Mapping[str, bytes] = {}
        self.processes_named, self.queues_named = _Names(), _Names()
        self._limits: tuple[Mapping[bytes, bytes], Mapping[str, Limits]] = {}, {}
        self.depths = Depths()

    def __iter__(self) -> Iterator[Process]:
        return iter([beat.process for beat in self._found.values()])

    def limits(self, answer: Mapping[bytes, bytes] | None) -> Mapping[str, Limits]:
        """The limits of queues with this answer, which seldom differs from the one before."""
        known = self._limits
        if known[0] != (answer or {}):
            self._limits = known = answer or {}, read_limits(answer)
        return known[1]

    def known(self, identities: Iterable[str], now: float) -> Mapping[str, _Beat]:
        """Those of which the heartbeat alone is to be read."""
        found, last = self._found, now + _ANEW
        beats = [(name, found.get(name)) for name in identities]
        return {name: beat for name, beat in beats if beat is not None and now < beat.until <= last}

    def ask(self, pipeline: Any, keys: Keys, identities: Sequence[str], known: Mapping[str, _Beat]) -> None:
        """Put a command for each process into a pipeline; those that are not named are forgotten."""
        asks = self._asks
        self._asks = asks = {name: asks.get(name) or _asking(keys, name, _BEAT) for name in identities}
        packets = [asks[name] if name in known else _asking(keys, name, FIELDS) for name in identities]
        pipeline.put(b"".join(packets), len(packets))

    def processes(
        self, identities: Sequence[str], told: Sequence[Any], known: Mapping[str, _Beat], now: float
    ) -> tuple[Process, ...]:
        """The processes with these answers to `HMGET`; what Redis has forgotten is forgotten here too."""
        found: dict[str, _Beat] = {}
        for identity, values in zip(identities, told, strict=True):
            last = known.get(identity)
            if last is not None and last.values == values:
                found[identity] = last
            elif values and values.count(None) < len(values):
                beat = _read(identity, values, last, now)
                if beat is not None:
                    found[identity] = beat
        self._found = found
        return tuple([beat.process for beat in found.values()])


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
    fields = {**last.fields, **dict(zip(_BEAT, values, strict=True))}
    # Which of its capsules has other threads stands in what is read seldom.
    until = last.until if fields["concurrency"] == last.fields["concurrency"] else 0.0
    return _Beat(until, fields, renewed(last.process, fields), values)


def _asking(keys: Keys, identity: str, fields: Sequence[str]) -> bytes:
    return packed(("HMGET", raw_bytes(keys.process(identity)), *fields))


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
        pipeline.smembers(keys.queues).smembers(keys.paused).smembers(keys.processes).hgetall(keys.queue_limits)
        if looks:
            Watch.ask(pipeline)

    told = yield Bearing(ask)
    if watch is not None and looks:
        watch.note(told[8:])
    return [access.judged(each) for each in told[:8]]


def ask_totals(access: Access, watch: Watch | None = None) -> Question[Totals]:
    """Read them in two steps: so many commands as there are queues and processes, none of which grows with jobs."""
    keys, now = access.keys, access.now()
    counted, scheduled, retries, dead, queues, paused, processes, limits = yield from _ask_head(access, watch)
    seen = _SEEN.setdefault(access, _Seen())
    names, identities = seen.queues_named(queues), seen.processes_named(processes)
    waits = {name_of(name) for name in paused or ()}
    known = seen.known(identities, now)

    def ask(pipeline: Any) -> None:
        seen.depths.ask(pipeline, keys, names)
        seen.ask(pipeline, keys, identities, known)

    told = yield ask
    split = 2 * len(names)
    found = seen.depths.summaries(names, told[:split], waits, keys, now)
    alive = seen.processes(identities, told[split:], known, now)
    processed, failed = (int(number(value)) for value in counted or (0, 0))
    limit = max((each.dead_limits.max_jobs for each in alive if each.dead_limits), default=10_000)
    server = watch.server if watch is not None else None
    sets = scheduled or 0, retries or 0, dead or 0
    return Totals(now, processed, failed, *sets, found, alive, limit, server, seen.limits(limits))


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that somebody should look at: which page tells more, a sentence, and the values in it."""

    page: str
    text: str
    values: dict[str, Any]


_WAITS_LONG = "Queue {queue}: the next job has waited {seconds}, its limit is {limit_seconds}."
_HOLDS_MANY = "Queue {queue} holds {count} jobs, its limit is {limit}."
_BESIDES = {
    "Queue {queue} is paused with {count} jobs.": "Queues that are paused with jobs, besides: {count}.",
    "No process takes from queue {queue}: {count} jobs wait.": "Queues from which no process takes, besides: {count}.",
    _WAITS_LONG: "Queues whose next job has waited longer than its limit, besides: {count}.",
    _HOLDS_MANY: "Queues that hold more jobs than their limit, besides: {count}.",
    "Process {process} has not shown itself for {seconds}.": "Processes not seen for long, besides: {count}.",
}


def summed(found: Iterable[tuple[str, str, T]], values: Callable[[T], dict[str, Any]]) -> list[Attention]:
    """Of each kind the first, and how many there are besides. `found` are a page, a sentence and what it is about.

    The `values` of it are only made for what is named: there may be hundreds.
    """
    kept, seen = list[Attention](), Counter[str]()
    pages: dict[str, str] = {}
    for page, text, about in found:
        seen[text] += 1
        if seen[text] <= SAME or text not in _BESIDES:
            kept.append(Attention(page, text, values(about)))
            pages[text] = page
    more = [(text, count - SAME) for text, count in seen.items() if count > SAME and text in _BESIDES]
    return kept + [Attention(pages[text], _BESIDES[text], {"count": count}) for text, count in more]


def attention(totals: Totals) -> list[Attention]:
    """What needs attention, the worst first."""
    found = []
    if totals.enqueued and not totals.processes:
        found.append(Attention("/busy", "No worker is running: {count} jobs wait.", {"count": totals.enqueued}))
    queues, late = _queues_in_need(totals), _late_processes(totals)
    found += summed(queues, lambda each: _told_of(each, totals.limits.get(each.name, USUAL)))
    found += summed(late, lambda each: {"process": each.identity, "seconds": totals.now - each.beat})
    if totals.dead >= NEARLY_FULL * totals.dead_limit:
        values = {"count": totals.dead, "limit": totals.dead_limit}
        found.append(Attention("/dead", "The dead set holds {count} of {limit}: its oldest jobs go next.", values))
    return [*found, *(Attention("/redis", text, values) for text, values in (totals.server or Server()).warnings())]


def _told_of(queue: QueueSummary, limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {"queue": queue.name, "count": queue.size, "seconds": queue.latency}
    # Infinity is no JSON; a limit that there is not is in no sentence.
    numbers = {"limit_seconds": limits.most_wait, "limit": limits.most_size}
    return found | {name: number for name, number in numbers.items() if number < math.inf}


def _queues_in_need(totals: Totals) -> Iterator[tuple[str, str, QueueSummary]]:
    takers, somebody = totals.takers, bool(totals.processes)
    for queue in totals.queues:
        if queue.paused and queue.size:
            yield "/queues", "Queue {queue} is paused with {count} jobs.", queue
        elif queue.size and somebody and queue.name not in takers:
            yield "/queues", "No process takes from queue {queue}: {count} jobs wait.", queue
        else:
            for kind in totals.over(queue):
                yield "/queues", _WAITS_LONG if kind == "wait" else _HOLDS_MANY, queue


def _late_processes(totals: Totals) -> Iterator[tuple[str, str, Process]]:
    due = totals.now - LATE
    for process in totals.processes:
        if process.beat < due:
            yield "/busy", "Process {process} has not shown itself for {seconds}.", process


_STATES = {
    "alone": "No worker is running: {count} jobs wait.",
    "nothing": "No worker is running, and no job waits.",
    "attention": (
        "Needs attention: {up} of {processes} processes up, {busy} of {threads} threads busy, {enqueued} jobs wait."
    ),
    "waits": (
        "Healthy: {up} of {processes} processes up, {busy} of {threads} threads busy, "
        "the next job has waited {seconds}."
    ),
    "idle": "Healthy: {up} of {processes} processes up, {busy} of {threads} threads busy, no job waits.",
}


def health(totals: Totals, found: Sequence[Attention] | None = None) -> tuple[str, dict[str, Any]]:
    """The state of the whole in one sentence, and the values in it. `found` needs attention [what `totals` tell]."""
    found = attention(totals) if found is None else found
    values = {
        "busy": totals.busy,
        "threads": totals.threads,
        "processes": len(totals.processes),
        "up": len(totals.processes) - sum(1 for _ in _late_processes(totals)),
        "enqueued": totals.enqueued,
        "count": totals.enqueued,
        "seconds": totals.latency,
    }
    if not totals.processes:
        return _STATES["alone" if totals.enqueued else "nothing"], values
    return _STATES["attention" if found else "waits" if totals.enqueued else "idle"], values
