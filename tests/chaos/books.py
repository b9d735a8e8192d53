"""Compares what Redis holds and has counted with what the jobs have noted of their runs, to the last one.

Each attempt of a job has a number, from 1, which is that of its acknowledged failures and one. An attempt is
acknowledged once the job has moved on: into `retry` or `dead`, which its payload shows, or out of Redis. Of several
runs of one attempt all but the last were interrupted, and so was the last one unless the attempt is acknowledged. So
the books say exactly

- where each job is: in one set, in one queue, or nowhere, and then it has succeeded, or was to be discarded;
- `stat:processed` and `stat:failed`: one for each acknowledged attempt, and one for each acknowledged failure. A crash
  that is a job's death is both, and its payload counts it;
- which runs were interrupted, and by the end of which process.

A job is known by a number, its first argument, with which it was pushed once.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jobd.worker.crash import CRASHED

SHOWN = 5
"""Jobs that a problem names."""

End: TypeAlias = Literal["ended", "failed", "discarded"]
Attempt: TypeAlias = tuple[int, int]
"""Number of a job, number of its attempt."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The ledger: which processes began an attempt, how its runs ended, and what each process ended, in order."""

    began: Mapping[Attempt, Sequence[int]]
    ends: Mapping[Attempt, Collection[str]]
    ended_by: Mapping[int, Sequence[Attempt]]

    @classmethod
    def read(cls, ledger: Path) -> Runs:
        """All lines that are whole: a kill may cut one off where a page of the file ends."""
        began: dict[Attempt, list[int]] = defaultdict(list)
        ends: dict[Attempt, set[str]] = defaultdict(set)
        ended_by: dict[int, list[Attempt]] = defaultdict(list)
        for line in ledger.read_text().splitlines():
            if not line.endswith(" ."):
                continue
            what, *numbers = line.removesuffix(" .").split()
            number, attempt, pid = map(int, numbers)
            if what in ("began", "ran"):
                began[number, attempt].append(pid)
            if what != "began":
                ends[number, attempt].add("ended" if what == "ran" else what)
                ended_by[pid].append((number, attempt))
        return cls(dict(began), dict(ends), dict(ended_by))

    @property
    def numbers(self) -> set[int]:
        """The jobs that ran."""
        return {number for number, _ in self.began}

    def has(self, attempt: Attempt, end: End) -> bool:
        """Whether a run of this attempt ended so."""
        return end in self.ends.get(attempt, ())


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as Redis has it: where, and its acknowledged attempts, the last of which may be a crash."""

    number: int
    place: str
    failures: int
    crashed: bool
    retries: object

    @classmethod
    def of(cls, place: str, payload: bytes) -> Entry:
        """Read it. Raises ValueError, KeyError or TypeError when it is no job of ours."""
        fields = json.loads(payload)
        count = fields.get("retry_count")
        failures = 0 if count is None else count + 1
        return cls(fields["args"][0], place, failures, fields.get("error_class") == CRASHED, fields["retry"])


@dataclass(frozen=True, slots=True)
class Counters:
    """Statistics: all-time, and the sum of the days."""

    processed: int
    failed: int
    processed_by_day: int
    failed_by_day: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in Redis once no process of jobd is left."""

    entries: Sequence[Entry]
    in_progress: Sequence[str]
    counters: Counters

    @classmethod
    def read(cls, redis: Any) -> Contents:
        """All of it. Raises ValueError, KeyError or TypeError when an entry is no job of ours."""
        found = [("retry", redis.zrange("retry", 0, -1)), ("dead", redis.zrange("dead", 0, -1))]
        found.append(("schedule", redis.zrange("schedule", 0, -1)))
        found += [(key.decode(), redis.lrange(key, 0, -1)) for key in redis.scan_iter("queue:*")]
        entries = [Entry.of(place, payload) for place, payloads in found for payload in payloads]
        records = [
            *redis.scan_iter("jobd:*:batch"),
            *redis.scan_iter("jobd:*:jobs"),
            *redis.zrange("jobd:procs", 0, -1),
        ]
        processed, failed = (int(value or 0) for value in redis.mget("stat:processed", "stat:failed"))
        by_day = [
            sum(int(redis.get(key)) for key in redis.scan_iter(f"stat:{name}:*")) for name in ("processed", "failed")
        ]
        return cls(entries, sorted(key.decode() for key in records), Counters(processed, failed, *by_day))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a job: its place (or "done", "discarded", "lost"), and which attempts are acknowledged."""

    place: str
    processed: int
    failed: int
    acknowledged: frozenset[Attempt]


@dataclass(frozen=True, slots=True)
class Audit:
    """The figures of a round, and what is wrong with them.

    `again`: runs that were interrupted; `most_again`: those of one process. `killed`: processes that were, after they
    had run anything.
    """

    places: Counter[str] = field(default_factory=Counter)
    processed: int = 0
    failed: int = 0
    again: int = 0
    most_again: int = 0
    killed: int = 0
    problems: list[str] = field(default_factory=list)


def audit(
    contents: Contents,
    runs: Runs,
    *,
    pushed: Collection[int],
    unsure: Collection[int],
    killed: Collection[int],
    threads: int,
    batch: int,
) -> Audit:
    """Compare. `killed` are the pids that were; each process has so many threads, and so long batches at most."""
    entries: dict[int, list[Entry]] = defaultdict(list)
    for entry in contents.entries:
        entries[entry.number].append(entry)
    seen = runs.numbers | entries.keys()
    last = _last_attempts(runs)
    fates = {number: _fate(number, entries.get(number, ()), last.get(number, 0), runs) for number in seen | set(pushed)}
    processed, failed = (sum(getattr(fate, name) for fate in fates.values()) for name in ("processed", "failed"))
    problems = [
        *_places(fates, entries, seen - set(pushed) - set(unsure)),
        *(problem for number, fate in fates.items() for problem in _history(number, fate, last.get(number, 0), runs)),
        *(f"left in progress: {name}" for name in contents.in_progress),
        *_counts(contents.counters, processed, failed),
    ]
    interrupted = _interrupted(runs, frozenset().union(*(fate.acknowledged for fate in fates.values())))
    problems += _excuses(interrupted, runs, killed, threads, batch)
    places = Counter("queue" if fate.place.startswith("queue:") else fate.place for fate in fates.values())
    again = [len(attempts) for attempts in interrupted.values()]
    at_work = len(runs.ended_by.keys() & set(killed))
    return Audit(places, processed, failed, sum(again), max(again, default=0), at_work, problems)


def _last_attempts(runs: Runs) -> dict[int, int]:
    last: dict[int, int] = {}
    for number, attempt in runs.began:
        last[number] = max(attempt, last.get(number, 0))
    return last


def _fate(number: int, entries: Sequence[Entry], last: int, runs: Runs) -> Fate:
    """`last` is the number of the job's last attempt, 0 if there was none."""
    if entries:
        entry = entries[0]
        own = entry.failures - entry.crashed
        return Fate(entry.place, entry.failures, entry.failures, _attempts(number, own))
    if runs.has((number, last), "ended"):
        return Fate("done", last, last - 1, _attempts(number, last))
    if runs.has((number, last), "discarded"):
        return Fate("discarded", last, last, _attempts(number, last))
    return Fate("lost", 0, 0, frozenset())


def _attempts(number: int, count: int) -> frozenset[Attempt]:
    return frozenset((number, attempt) for attempt in range(1, count + 1))


def _places(fates: Mapping[int, Fate], entries: Mapping[int, Sequence[Entry]], strangers: set[int]) -> list[str]:
    lost = [number for number, fate in fates.items() if fate.place == "lost"]
    several = [f"{number} in {[entry.place for entry in found]}" for number, found in entries.items() if len(found) > 1]
    early = [
        f"{entry.number} after {entry.failures} failures"
        for found in entries.values()
        for entry in found
        if entry.place == "dead" and not entry.crashed and entry.failures != _limit(entry.retries)
    ]
    return [
        *_told("lost", lost),
        *_told("in several places", several),
        *_told("there, though their push has failed", strangers),
        *_told("dead too early or too late", early),
    ]


def _limit(retries: object) -> int:
    """With which failure a job is dead."""
    return retries + 1 if isinstance(retries, int) and not isinstance(retries, bool) else 0


def _history(number: int, fate: Fate, last: int, runs: Runs) -> list[str]:
    """What does not fit the place of one job."""
    if fate.place == "lost":
        return []
    acknowledged, gone = len(fate.acknowledged), fate.place in ("done", "discarded")
    if last > acknowledged + (not gone):
        return [f"job {number} is {fate.place} after {acknowledged} attempts, but began number {last}"]
    failures = acknowledged - gone
    unknown = [attempt for attempt in range(1, failures + 1) if not runs.has((number, attempt), "failed")]
    return [f"job {number} is {fate.place}, but its attempts {unknown} did not fail"] if unknown else []


def _counts(counters: Counters, processed: int, failed: int) -> list[str]:
    told = [
        ("stat:processed", counters.processed, processed),
        ("stat:failed", counters.failed, failed),
        ("stat:processed of all days", counters.processed_by_day, processed),
        ("stat:failed of all days", counters.failed_by_day, failed),
    ]
    return [f"{name} is {found}, the books say {wanted}" for name, found, wanted in told if found != wanted]


def _interrupted(runs: Runs, acknowledged: Collection[Attempt]) -> dict[int, list[Attempt]]:
    """By process: what it has begun and nobody has acknowledged."""
    found: dict[int, list[Attempt]] = defaultdict(list)
    for attempt, pids in runs.began.items():
        for pid in pids[:-1] if attempt in acknowledged else pids:
            found[pid].append(attempt)
    return found


def _excuses(
    interrupted: Mapping[int, Sequence[Attempt]], runs: Runs, killed: Collection[int], threads: int, batch: int
) -> list[str]:
    """Only a process that was killed may have interrupted any.

    They are what had ended after its last call, and one for each thread that still ran it. For each thread one more may
    have noted its end long before, and the thread not have gone on until after that call.
    """
    problems = []
    for pid, attempts in interrupted.items():
        ended = runs.ended_by.get(pid, ())
        running, old = set(attempts) - {*ended}, set(attempts) & {*ended[: -threads - batch]}
        if pid not in killed:
            problems += _told(f"interrupted by process {pid}, which was not killed", attempts)
        elif len(attempts) - len(running) > threads + batch or max(len(running), len(old)) > threads:
            what = f"interrupted by process {pid}, {len(running)} of them at work and {len(old)} not its last"
            problems += _told(what, sorted(attempts))
    return problems


def _told(what: str, jobs: Iterable[object]) -> list[str]:
    found = list(jobs)
    return [f"{len(found)} jobs {what}: {found[:SHOWN]}"] if found else []
