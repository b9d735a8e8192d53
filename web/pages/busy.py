"""Worker processes and what they run; the signals that can be left for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jobd.client.access import Access
from jobd.client.errors import NotControllable
from jobd.client.processes import ProcessSet, Work, parse_work
from jobd.client.scripts import raw_bytes
from jobd.web.context import BadRequest, Context, Done, View
from jobd.web.documents import process_row, work_row
from jobd.web.masking import Masker
from jobd.web.questions import Question, answer, name_of

PROCESSES = 50
"""Processes on one page, those with what they run."""
MOST_RUNNING = 100
"""Running jobs on one page, those that have run longest."""
SIGNALS = ("quiet", "stop", "dump")


def busy(ctx: Context) -> View:
    """Show the processes, and the jobs that those on this page run, the longest running first."""
    first = ctx.number("offset")
    [running] = ctx.ask(_ask_page(ctx.access, first))
    totals = ctx.read_totals()
    shown = totals.processes[first : first + PROCESSES]
    seen = {process.identity for process in shown}
    works = sorted((work for work in running if work.process in seen), key=lambda work: work.run_at)
    data = {
        "processes": [process_row(process, totals.now) for process in shown],
        "running": [document(work, ctx.masker) for work in works[:MOST_RUNNING]],
        "left_out": max(len(works) - MOST_RUNNING, 0),
        "count": len(totals.processes),
        "busy": totals.busy,
        "threads": totals.threads,
        "offset": first,
        "next": first + PROCESSES if first + PROCESSES < len(totals.processes) else None,
        "actions": [name for name in SIGNALS if name in ctx.allowed],
        "now": totals.now,
    }
    return View("busy.html", data, "Busy")


def document(work: Work, masker: Masker) -> dict[str, Any]:
    """A running job for pages and programs."""
    return work_row(work, masker)


def _ask_page(access: Access, first: int) -> Question[list[Work]]:
    [names] = yield lambda pipeline: pipeline.smembers(access.keys.processes)
    identities = sorted(map(name_of, names or ()))
    # Some may be gone, in which case the page shows fewer jobs for the length of a heartbeat.
    return (yield from _ask_running(access, identities[first : first + PROCESSES]))


def _ask_running(access: Access, identities: Sequence[str]) -> Question[list[Work]]:
    keys = access.keys

    def ask(pipeline: Any) -> None:
        for identity in identities:
            # Sidekiq up to 6.4.1 writes the second name alone, newer ones the first, jobd both.
            pipeline.hgetall(raw_bytes(keys.work(identity))).hgetall(raw_bytes(keys.workers(identity)))

    told = yield ask
    found = []
    for identity, new, old in zip(identities, told[::2], told[1::2], strict=True):
        for thread, value in sorted((new or old or {}).items()):
            if work := parse_work(identity, thread, value):
                found.append(work)
    return found


def running(access: Access, identities: Sequence[str]) -> Iterator[Work]:
    """What these processes run, read 50 processes at a time."""
    for first in range(0, len(identities), PROCESSES):
        yield from answer(access, _ask_running(access, identities[first : first + PROCESSES]))[0]


def change(ctx: Context) -> Done:
    """Leave a signal for one process, or for all."""
    action, identity = ctx.one("action"), ctx.one("identity")
    if action not in SIGNALS:
        raise BadRequest(f"action is {action[:50]!r}; give one of {', '.join(SIGNALS)}")
    ctx.require(action)
    processes = ProcessSet(ctx.client)
    if not identity:
        raise BadRequest("name the process in identity")
    send = {"quiet": processes.quiet, "stop": processes.stop, "dump": processes.dump}[action]
    try:
        done = send(identity)
    except NotControllable as error:
        raise BadRequest(str(error)) from None
    return Done(action, ctx.url("/busy"), {"moved": int(done), "gone": int(not done)})
