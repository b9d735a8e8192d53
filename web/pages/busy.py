"""Worker processes and what they run; the signals that can be left for one of them, or for all that are meant.

A job that runs is cancelled by `cancel.py`. What the threads of one process do is on a page of its own: `stacks.py`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jobd.client.access import Access
from jobd.client.errors import NotControllable
from jobd.client.processes import Process, ProcessSet, Work, parse_work
from jobd.client.scripts import raw_bytes
from jobd.client.trend import Trend, read_trend
from jobd.web.context import BadRequest, Context, Done, View
from jobd.web.documents import process_row, work_row
from jobd.web.masking import Masker
from jobd.web.pages import cancel
from jobd.web.questions import Question, answer, name_of
from jobd.web.reach import queues_of
from jobd.web.totals import LATE, remembered
from jobd.web.usual import usual_of

PROCESSES = 16
"""Processes on one page, those with what they run."""
ELDERS = 10
"""Processes besides those of the first page whose jobs are read too, those of which one has run longest."""
MOST_RUNNING = 30
"""Running jobs on one page, those that have run longest first."""
SORTS = ("name", "oldest")
"""What processes can be sorted by: `oldest` is the age of the job that each has run longest."""
MOST_UNKNOWN = 200
"""Names whose jobs are read while it is not known yet which of them are processes, and what those take."""
CELLS = 50
"""Threads of one process that are drawn."""
CHOICES = 50
"""Hosts, and queues, that are offered to choose from."""
SIGNALS = ("quiet", "stop", "dump")
RIGHTS = {**dict(zip(SIGNALS, SIGNALS, strict=True)), "resume": "quiet"}
"""What can be told to processes, with the right that it needs."""
AGES = (10.0, 60.0, 600.0)
"""Seconds from which on a job is drawn as older."""
SKEWED = 2.0
"""Seconds by which a clock may be wrong without being pointed out."""


More: TypeAlias = "tuple[Trend | None, bool]"
"""What a process used at its last heartbeats, and whether it stays quiet if told to resume, as far as it tells."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which processes are meant: on a host, taking from a queue. Empty: any."""

    host: str = ""
    queue: str = ""

    def takes(self, process: Process) -> bool:
        """Whether a process is meant."""
        return self.may_take(process.identity) and (not self.queue or self.queue in process.queues)

    def may_take(self, identity: str) -> bool:
        """The same as far as an identity tells it, which begins with the host."""
        return not self.host or identity.partition(":")[0] == self.host


def busy(ctx: Context) -> View:
    """Show the processes, and the jobs that those on this page run, the longest running first.

    On the first page also the jobs of others that have run longer.
    """
    first, start, wanted, name = ctx.number("offset"), ctx.number("jobs"), _filter(ctx), ctx.text("class")
    usual, now, sort = usual_of(ctx.access), ctx.access.now(), _sort(ctx)
    read, _ = ctx.ask(_ask_page(ctx.access, wanted, first, sort), usual.ask(ctx.access, now))
    totals = ctx.read_totals()
    meant = [process for process in totals.processes if wanted.takes(process)]
    shown = _of_page(meant, read, first, sort)
    told = _who_is_told(meant, shown, read, first)
    matching = [work for work in told.works if name in work.entry.name] if name else told.works
    listed = [_running(work, ctx, totals.now, told.jobds) for work in matching[start : start + MOST_RUNNING]]
    usual.note(row["class"] for row in listed)
    data = {
        "processes": _rows(shown, told.works, read, ctx.masker, totals.now),
        "running": listed,
        "left_out": max(len(matching) - start - MOST_RUNNING, 0),
        "next_jobs": start + MOST_RUNNING,
        "jobs": start,
        **told.counts,
        "count": len(totals.processes),
        "meant": len(meant),
        "busy": totals.busy,
        "threads": totals.threads,
        "offset": first,
        "next": first + PROCESSES if first + PROCESSES < len(meant) else None,
        "sort": sort,
        "may_cancel": any(row["cancellable"] for row in listed),
        "filters": {"host": wanted.host, "queue": wanted.queue, "class": name},
        "choices": _choices(totals.processes),
        "versions": versions(totals.processes),
        "ages": list(AGES),
        "now": totals.now,
        **_actions(ctx, meant, read),
    }
    return View("busy.html", data, "Busy")


def _rows(
    shown: Sequence[Process], works: Sequence[Work], read: _Read, masker: Masker, now: float
) -> list[dict[str, Any]]:
    by_process: dict[str, list[Work]] = {process.identity: [] for process in shown}
    for work in works:
        by_process.setdefault(work.process, []).append(work)
    return [
        {**_process(process, by_process[process.identity], masker, now), **more_row(process, read.more)}
        for process in shown
    ]


def _actions(ctx: Context, meant: Sequence[Process], read: _Read) -> dict[str, Any]:
    return {
        "actions": [each for each in SIGNALS if each in ctx.allowed],
        "curves": max((len(t.rss) * t.step for t, _ in read.more.values() if t), default=0.0),
        "may_resume": "quiet" in ctx.allowed and any(process.may_resume for process in meant),
    }


def _sort(ctx: Context) -> str:
    sort = ctx.text("sort") or "name"
    if sort not in SORTS:
        raise BadRequest(f"sort is {sort[:50]!r}; give one of {', '.join(SORTS)}")
    return sort


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for a page: the jobs of the processes `asked`, in the order in which these were to be shown."""

    works: list[Work]
    more: dict[str, More]
    asked: Sequence[str]
    by_name: bool
    """Whether it was not known yet which of them are processes, and what they run."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The jobs of a page, the oldest first; those of the processes `jobds` can be cancelled.

    `counts` are of processes: jobs of `elders` besides those of the page are there; of `unread` ones, of this page or
    with older jobs, these were not read yet; `untold` ones, of Ruby, do not tell how old theirs are.
    """

    works: list[Work]
    jobds: frozenset[str]
    counts: Mapping[str, int]


def _of_page(meant: Sequence[Process], read: _Read, first: int, sort: str) -> list[Process]:
    """The processes that a page shows."""
    if sort == "name":
        return list(meant[first : first + PROCESSES])
    asked = set(read.asked)
    # Which page a process is on was decided by what it told before; those that were read stay on it.
    found = _sorted([process for process in meant if process.identity in asked], sort)
    if read.by_name:
        return found[first : first + PROCESSES]
    own = set(read.asked[:PROCESSES])
    return [process for process in found if process.identity in own]


def _who_is_told(meant: Sequence[Process], shown: Sequence[Process], read: _Read, first: int) -> _Told:
    seen, asked = {process.identity for process in shown}, set(read.asked)
    eldest = [] if first else elders(meant, seen)
    besides = [process for process in eldest if process.identity in asked]
    untold = 0 if first else sum(1 for e in meant if e.oldest_at is None and e.busy and e.identity not in seen)
    unread = len(eldest) - len(besides) + sum(1 for each in shown if each.busy and each.identity not in asked)
    known = seen.union(process.identity for process in besides)
    return _Told(
        sorted((work for work in read.works if work.process in known), key=lambda work: work.run_at),
        frozenset(process.identity for process in (*shown, *besides) if process.is_jobds),
        {"elders": len(besides), "unread": unread, "untold": untold},
    )


def elders(processes: Iterable[Process], but: Collection[str]) -> list[Process]:
    """The processes that run the oldest jobs, of those that tell it."""
    rest = (process for process in processes if process.oldest_at and process.identity not in but)
    return heapq.nsmallest(ELDERS, rest, key=lambda process: process.oldest_at or 0.0)


def _sorted(processes: Sequence[Process], sort: str) -> list[Process]:
    """Processes of which a job has run longest come first; then those that run none, and those that do not tell."""
    if sort == "name":
        return list(processes)
    return sorted(processes, key=lambda each: (not each.oldest_at, each.oldest_at is None, each.oldest_at or 0.0))


def document(work: Work, masker: Masker) -> dict[str, Any]:
    """A running job for pages and programs."""
    return work_row(work, masker)


def _running(work: Work, ctx: Context, now: float, jobds: Collection[str]) -> dict[str, Any]:
    """The same with how long it has run, that as a multiple of what is usual for its class, and if it can be cancelled.

    That it can in the processes `jobds`.
    """
    row, seconds = document(work, ctx.masker), max(now - work.run_at, 0.0) if work.run_at else None
    usual = usual_of(ctx.access).seconds(row["class"])
    times = round(seconds / usual, 1) if seconds and usual else None
    may = may_cancel(work, ctx, jobds)
    return {**row, "seconds": seconds, "p95": usual, "times": times, "cancellable": may}


def may_cancel(work: Work, ctx: Context, jobds: Collection[str]) -> bool:
    """Whether the user may cancel this job, its process being one of `jobds`, and has not done so yet."""
    may = ctx.may("cancel", work.queue, *queues_of(work.entry))
    return may and work.process in jobds and bool(work.entry.jid) and not work.cancelled


def _process(process: Process, works: Sequence[Work], masker: Masker, now: float) -> dict[str, Any]:
    """A process with a figure for each of its threads: 0 idle, 1 to 4 by the age of its job, the oldest first."""
    ages = sorted((max(now - work.run_at, 0.0) for work in works), reverse=True)
    cells = [1 + sum(age >= bound for bound in AGES) for age in ages]
    threads = max(process.concurrency, len(cells))
    cells = (cells + [0] * min(threads - len(cells), CELLS))[:CELLS]
    told = max(now - process.oldest_at, 0.0) if process.oldest_at else None
    found = {"threads": cells, "more_threads": threads - len(cells), "oldest": ages[0] if ages else told}
    skewed = process.skew is not None and abs(process.skew) >= SKEWED
    return {**process_row(process, masker, now), **found, "skewed": skewed, "late": now - process.beat > LATE}


def _choices(processes: Iterable[Process]) -> dict[str, list[str]]:
    """Hosts and queues, those of most processes first, to choose from."""
    hosts = Counter([process.identity.partition(":")[0] for process in processes])
    queues: dict[str, int] = {}
    # Many processes have the same queues.
    for names, count in Counter([process.queues for process in processes]).items():
        for name in names:
            queues[name] = queues.get(name, 0) + count
    return {
        "host": [name for name, _ in hosts.most_common(CHOICES)],
        "queue": sorted(queues, key=lambda name: -queues[name])[:CHOICES],
    }


def versions(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """Versions of one product that run beside each other, with how many processes of each; empty without any."""
    products: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for (version, is_ours), count in Counter([(each.version, each.shows_stacks) for each in processes]).items():
        if version:
            products[is_ours][version] += count
    return [
        {"version": version, "count": count}
        for found in products.values()
        for version, count in (sorted(found.items())[:10] if len(found) > 1 else ())
    ]


def _filter(ctx: Context) -> Filter:
    return Filter(ctx.text("host"), ctx.text("queue"))


def trend_row(trend: Trend | None) -> dict[str, Any] | None:
    """What a process used at its last heartbeats, the newest last: bytes, and percent of a processor."""
    if trend is None or not trend.rss:
        return None
    return {"step": trend.step, "rss": [each * 1024 for each in trend.rss], "cpu": list(trend.cpu)}


def more_row(process: Process, more: Mapping[str, More]) -> dict[str, Any]:
    """What is read of a process on its page alone: what it used, and whether it is quiet and can be resumed here."""
    trend, held = more.get(process.identity, (None, True))
    return {"trend": trend_row(trend), "resumable": process.may_resume and not held}


def _ask_page(access: Access, wanted: Filter, first: int, sort: str) -> Question[_Read]:
    [names] = yield lambda pipeline: pipeline.smembers(access.keys.processes)
    identities = [name for name in sorted(map(name_of, names or ())) if wanted.may_take(name)]
    known = remembered(access)
    by_name = not any(identity in known for identity in identities)
    if by_name:
        begin = first if sort == "name" else 0
        asked, besides = identities[begin : begin + MOST_UNKNOWN], list[str]()
    else:
        # The others are gone, or new: their jobs are shown with the next look.
        processes = [known[each] for each in identities if each in known and wanted.takes(known[each])]
        asked = [process.identity for process in _sorted(processes, sort)[first : first + PROCESSES]]
        besides = [] if first else [process.identity for process in elders(processes, set(asked))]

    every = [*asked, *besides]
    jobds = {name for name in every if name in known and known[name].is_jobds}

    def ask(pipeline: Any) -> None:
        _put_running(pipeline, access, every, jobds)
        for identity in asked:
            _put_more(pipeline, access, identity)

    told = iter((yield ask))
    works = _running_of(every, told, jobds)
    return _Read(works, {name: _more_of(values) for name, values in zip(asked, told, strict=True)}, every, by_name)


def ask_more(access: Access, identity: str) -> Question[dict[str, More]]:
    """What `more_row` wants to know of one process."""
    [values] = yield lambda pipeline: _put_more(pipeline, access, identity)
    return {identity: _more_of(values)}


def _put_more(pipeline: Any, access: Access, identity: str) -> None:
    pipeline.hmget(raw_bytes(access.keys.process(identity)), "trend", "held")


def _more_of(values: Sequence[bytes | None] | None) -> More:
    trend, held = values or (None, None)
    return read_trend(trend), held != b"0"


def ask_running(access: Access, identities: Sequence[str]) -> Question[list[Work]]:
    """What these processes run."""
    told = yield lambda pipeline: _put_running(pipeline, access, identities)
    return _running_of(identities, iter(told))


def _put_running(
    pipeline: Any, access: Access, identities: Sequence[str], jobds: Collection[str] = frozenset()
) -> None:
    """Ask for what processes run, of which `jobds` are known to be jobd's."""
    for identity in identities:
        pipeline.hgetall(raw_bytes(access.keys.work(identity)))
        # Sidekiq up to 6.4.1 writes this name alone, newer ones the first, jobd both.
        if identity not in jobds:
            pipeline.hgetall(raw_bytes(access.keys.workers(identity)))


def _running_of(identities: Sequence[str], told: Iterator[Any], jobds: Collection[str] = frozenset()) -> list[Work]:
    found = []
    for identity in identities:
        new = next(told)
        old = None if identity in jobds else next(told)
        for thread, value in sorted((new or old or {}).items()):
            if work := parse_work(identity, thread, value):
                found.append(work)
    return found


def running(access: Access, identities: Sequence[str]) -> Iterator[Work]:
    """What these processes run, read 50 processes at a time."""
    for first in range(0, len(identities), 50):
        yield from answer(access, ask_running(access, identities[first : first + 50]))[0]


_DONE = {"resume": "resume_process"}
"""Under which name it is told that it was done, where another page has the name for something else."""


def change(ctx: Context) -> View | Done:
    """Leave a signal for one process, or for all that are meant."""
    action, identity = ctx.one("action"), ctx.one("identity")
    if action == "cancel":
        return cancel.change(ctx)
    if action not in RIGHTS:
        raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join((*RIGHTS, 'cancel'))}")
    ctx.require(RIGHTS[action])
    processes = ProcessSet(ctx.client)
    if ctx.one("all") == "yes" and not identity:
        return _change_all(ctx, processes, action)
    if not identity:
        raise BadRequest("name the process in identity, or send all=yes")
    sends = {"quiet": processes.quiet, "stop": processes.stop, "dump": processes.dump, "resume": processes.resume}
    try:
        done = sends[action](identity)
    except NotControllable as error:
        raise BadRequest(str(error)) from None
    back = ctx.process_url(identity) if ctx.one("from") == "process" else ctx.url("/busy")
    return Done(_DONE.get(action, action), back, {"moved": int(done), "gone": int(not done)})


def _change_all(ctx: Context, processes: ProcessSet, action: str) -> View | Done:
    """Those that were there when the question was asked; embedded ones take no signals."""
    wanted, now = _filter(ctx), processes.access.server_now()
    until = ctx.until(now)
    found = [each for each in processes if wanted.takes(each) and each.started_at <= until]
    told = processes.resumable(found) if action == "resume" else [e.identity for e in found if not e.embedded]
    back = ctx.url("/busy", host=wanted.host, queue=wanted.queue)
    if ctx.one("confirmed") == "yes":
        sends = {"quiet": processes.quiet_all, "stop": processes.stop_all, "dump": processes.dump_all}
        send = processes.resume_all if action == "resume" else sends[action]
        return Done(_DONE.get(action, action), back, {"moved": send(told)})
    fields = [
        ("action", action),
        ("all", "yes"),
        ("host", wanted.host),
        ("queue", wanted.queue),
        ("until", repr(until)),
    ]
    data = {
        "action": action,
        "count": len(told),
        "busy": sum(each.busy for each in found if each.identity in set(told)),
        "embedded": 0 if action == "resume" else len(found) - len(told),
        "filters": {"host": wanted.host, "queue": wanted.queue},
        "post": ctx.url("/busy"),
        "back": back,
        "fields": fields,
    }
    return View("confirm_processes.html", data, "Confirm", status=200 if ctx.for_people else 409)
