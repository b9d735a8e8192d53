"""The last hours for the dashboard: recorded totals, or where there are none the figures of classes.

Also what changes slowly and costs more to read, kept for ten seconds: which classes fail most, which cron entries are
late or have failed.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from jobd.client import cron
from jobd.client import payload as wire
from jobd.client.access import Access
from jobd.client.cron import CronEntry
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import decoded
from jobd.client.history import RINGS, Sample, Step, highest, increases, key_of
from jobd.client.metric_keys import MINUTE, TEN_MINUTES
from jobd.client.metrics import counter_keys, counters
from jobd.web.figures import Figures, Point
from jobd.web.mutes import read as read_mutes
from jobd.web.questions import Question, name_of

Source: TypeAlias = Literal["samples", "counters", "days"]


@dataclass(frozen=True, slots=True)
class Range:
    """A period that ends now, in points of `width` seconds, from one of the rings; `longest` bridges a gap there."""

    span: float
    width: float
    step: Step
    longest: float


RANGES = {
    "5m": Range(300.0, 10.0, "10s", 60.0),
    "1h": Range(3600.0, 60.0, "10s", 60.0),
    "6h": Range(6 * 3600.0, 300.0, "5m", 900.0),
    "24h": Range(24 * 3600.0, 900.0, "5m", 900.0),
    "3d": Range(72 * 3600.0, 3600.0, "5m", 900.0),
}
FAILING = 5
"""Classes that are named as those that fail most."""
FAILING_BUCKETS = 6
"""The tens of minutes of the last hour."""
CRON_ENTRIES = 100
"""Entries of which is told whether they are late or have failed."""
CRON_RUNS = 5
"""Runs of each among which the last one that has ended is looked for."""
CRON_LATE = 90.0
"""Seconds after its tick at which an entry is; one that jobd cannot run is given up after a minute."""
SLOW_LASTS = 10.0
_NOT_ENDED = (None, "retry", "postponed")
_AHEAD = 60.0
"""Seconds by which the time of an entry may be ahead; what is further off is damaged and tells nothing."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A class and how often it ran and failed in the last hour."""

    name: str
    executed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Slow:
    """What is read each ten seconds at most.

    `late` are names of cron entries with the tick that they missed, `broken` those whose last job failed for good,
    `muted` the classes of causes that are muted.
    """

    at: float = 0.0
    failing: tuple[Failing, ...] = ()
    late: tuple[tuple[str, float], ...] = ()
    broken: tuple[str, ...] = ()
    muted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trend:
    """What was processed and failed from each of `starts` (epoch seconds) on for `width` seconds.

    What waited has `waiting_starts` of its own, as it may come from elsewhere; without any it is not known.
    """

    source: Source
    width: float
    starts: Sequence[float]
    processed: Sequence[float | None]
    failed: Sequence[float | None]
    waiting_starts: Sequence[float] = ()
    enqueued: Sequence[float | None] = ()
    latency: Sequence[float | None] = ()


def edges(span: float, width: float, now: float) -> list[float]:
    """The times between which points stand: the last one is not complete and ends now."""
    first = (now // width + 1 - span // width) * width
    return [*(first + width * nth for nth in range(int(span // width))), now]


def ask_samples(access: Access, now: float, *more: Step) -> Question[dict[Step, list[Sample]]]:
    """The samples of the last hour, and those of `more`."""
    wanted = list(dict.fromkeys(("10s", *more)))
    [raws] = yield lambda pipeline: pipeline.mget([key_of(access.keys, step) for step in wanted])
    raws = raws or [None] * len(wanted)
    return {step: RINGS[step].read(raw, now) for step, raw in zip(wanted, raws, strict=True)}


def ask_trend(
    access: Access, figures: Figures, now: float, name: str, *, hurried: bool
) -> Question[tuple[list[Sample], Trend]]:
    """The samples of the last hour, and what is drawn of a range: of samples if they reach back half of it."""
    wanted = RANGES[name]
    found = yield from ask_samples(access, now, wanted.step)
    drawn = of_samples(found[wanted.step], wanted, now)
    samples = found[wanted.step]
    if samples and samples[0].at <= now - wanted.span / 2:
        return found["10s"], drawn
    counted = yield from _ask_counters(access, figures, now, wanted, hurried)
    if not any(counted.processed):
        return found["10s"], drawn
    waiting = {name: getattr(drawn, name) for name in ("waiting_starts", "enqueued", "latency")}
    return found["10s"], replace(counted, **waiting)


def of_samples(samples: Sequence[Sample], wanted: Range, now: float) -> Trend:
    """A range as samples tell it."""
    between = edges(wanted.span, wanted.width, now)
    return Trend(
        "samples",
        wanted.width,
        between[:-1],
        _whole(increases(samples, "processed", between, wanted.longest)),
        _whole(increases(samples, "failed", between, wanted.longest)),
        between[:-1] if samples else (),
        highest(samples, "enqueued", between),
        highest(samples, "latency", between),
    )


def _whole(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(value) for value in values]


def _ask_counters(access: Access, figures: Figures, now: float, wanted: Range, hurried: bool) -> Question[Trend]:
    """A range as the figures of classes tell it: by the minute for an hour, else by ten minutes.

    What ended is kept. What `hurried` leaves out for now is None, and read in the background.
    """
    kept = MINUTE if wanted.span <= 3600 else TEN_MINUTES
    width = max(wanted.width, kept)
    width -= width % kept
    starts = edges(wanted.span, width, now)[:-1]
    points = [Point(start, kept, int(width // kept), old=kept == MINUTE) for start in starts]
    told = yield from figures.ask(access.keys, now, points, hurried=hurried, once=True)
    figures.read_on(access, points)
    ran, failed = (
        [None if rows is None else sum(row[kind] for row in rows.values()) for rows in told] for kind in (0, 1)
    )
    return Trend("counters", width, starts, ran, failed)


class _Kept:
    """What was read last of one Redis. Safe across threads."""

    def __init__(self) -> None:
        self.lock, self.found = threading.Lock(), Slow()


_KEPT: WeakKeyDictionary[Access, _Kept] = WeakKeyDictionary()


def ask_slow(access: Access, now: float) -> Question[Slow]:
    """What changes slowly; without a command where it was read within ten seconds."""
    kept = _KEPT.setdefault(access, _Kept())
    with kept.lock:
        found = kept.found
    if 0 <= now - found.at < SLOW_LASTS:
        yield lambda pipeline: None
        return found
    keys = access.keys
    first = (now // TEN_MINUTES - FAILING_BUCKETS + 1) * TEN_MINUTES
    named = list(counter_keys(keys, TEN_MINUTES, [first + TEN_MINUTES * nth for nth in range(FAILING_BUCKETS)]))

    def ask(pipeline: Any) -> None:
        for _, key in named:
            pipeline.hgetall(key)
        pipeline.hgetall(keys.muted).smembers(keys.cron_jobs)

    *hashes, mutes, members = yield ask
    muted = frozenset(mute.name for mute in read_mutes(mutes, now).values() if mute.name)
    prefix = keys.cron_entry("")
    names = sorted(name_of(member).removeprefix(prefix) for member in members or ())
    entries = [name for name in names if name.isprintable()][:CRON_ENTRIES]

    def ask_entries(pipeline: Any) -> None:
        for name in entries:
            pipeline.hgetall(keys.cron_entry(name)).lrange(keys.cron_runs(name), 0, CRON_RUNS - 1)

    told = yield ask_entries
    found_entries = _entries(entries, told[::2], told[1::2])
    broken = tuple(entry.name for entry, raws in found_entries if entry.enabled and _has_failed(raws))
    found = Slow(now, failing(hashes, muted), tuple(_late(found_entries, now)), broken, muted)
    with kept.lock:
        kept.found = found
    return found


def failing(hashes: Sequence[Any], muted: Collection[str] = ()) -> tuple[Failing, ...]:
    """The classes with most failures in these hashes of counters; those of which a cause is muted after the others."""
    totals: dict[str, list[int]] = {}
    for answer in hashes:
        for name, kind, value in counters(answer or {}):
            totals.setdefault(name, [0, 0, 0])[kind] += value
    found = [Failing(name, ran, failed) for name, (ran, failed, _) in totals.items() if failed > 0]
    return tuple(sorted(found, key=lambda each: (each.name in muted, -each.failed, each.name))[:FAILING])


def _entries(
    names: Sequence[str], entries: Sequence[Any], runs: Sequence[Any]
) -> list[tuple[CronEntry, Sequence[bytes]]]:
    return [
        (cron.from_fields(name, decoded(fields)), raws or ())
        for name, fields, raws in zip(names, entries, runs, strict=True)
        if fields
    ]


def _has_failed(runs: Sequence[bytes]) -> bool:
    """Whether the last of these runs of which it is known how their job ended is one that failed for good."""
    ends = (run.outcome for run in map(CronRun.from_json, runs) if run is not None)
    return next((end for end in ends if end not in _NOT_ENDED), None) in ("dead", "failed")


def _late(entries: Sequence[tuple[CronEntry, Sequence[bytes]]], now: float) -> Iterator[tuple[str, float]]:
    """The entries whose last run, or what else is known to have been dealt with, lies before a tick that is over."""
    for entry, raws in entries:
        run = CronRun.from_json(raws[0]) if raws else None
        stored = [wire.read_time(entry.stored.get(each)) for each in ("since", "caught_up")]
        times = (entry.last_time, *stored, *((run.tick, run.at) if run else ()))
        known = [at for at in times if at and 0 < at <= now + _AHEAD]
        try:
            tick = entry.next_time(max(known)) if known else None
        except (OverflowError, OSError, ValueError):
            continue
        if tick is not None and tick + CRON_LATE < now:
            yield entry.name, tick
