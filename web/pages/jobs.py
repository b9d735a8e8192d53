"""One job by its id: all that it holds, where it is, and what can be done with it there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobd.client.entry import JobEntry, search_bytes
from jobd.client.processes import Work
from jobd.client.queues import Queue
from jobd.web.context import BadRequest, Context, NotFound, View
from jobd.web.documents import job_detail, key_of
from jobd.web.pages import busy, queues, sets
from jobd.web.pages.sets import Kind

FIND_SECONDS = 1.0
"""How long a job is looked for of which only the id is known; nothing in Redis says where it is."""
_STEP = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """A job and where it is: `place` is retries, scheduled, dead, queue or busy."""

    entry: JobEntry
    place: str
    queue: str = ""
    key: str = ""
    at: float | None = None
    work: Work | None = None


class OutOfTime(Exception):
    """The search has used up its time."""


def job(ctx: Context) -> View:
    """Show the job of which an id, or the key in its list, is given."""
    place, key = ctx.query.get("in", ""), ctx.query.get("key", "")
    found = _named(ctx, place, key) if place and key else None
    if found is None:
        found = _by_jid(ctx, ctx.path.get("jid", ""))
    ctx.read_totals()
    actions: tuple[str, ...] = ()
    if found.place in sets.ACTIONS:
        actions = sets.ACTIONS[found.place]
    elif found.place == "queue":
        actions = ("delete",)
    data: dict[str, Any] = {
        "place": found.place,
        "in_queue": found.queue,
        "actions": [each for each in actions if each in ctx.allowed],
        "job": job_detail(found.entry, ctx.masker, found.key, found.at),
        "work": busy.document(found.work, ctx.masker) if found.work else None,
        "now": ctx.access.now(),
    }
    return View("job.html", data, "Job")


def _named(ctx: Context, place: str, key: str) -> Found | None:
    if place in sets.ACTIONS:
        [entry] = ctx.ask(sets.ask_entry(sets.set_of(place, ctx), key))
        return Found(entry, place, key=key, at=entry.score) if entry else None
    if place == "queue":
        name = ctx.query.get("name", "")
        [waiting] = ctx.ask(queues.ask_entry(ctx, name, key)) if name else [None]
        return Found(waiting, "queue", name, key) if waiting else None
    raise BadRequest(f"in is {place[:50]!r}; give one of {', '.join(sets.ACTIONS)}, queue")


def _by_jid(ctx: Context, jid: str) -> Found:
    if not jid or jid == "-" or len(jid) > 200:
        raise NotFound("the job is gone: it has run, or somebody has moved it")
    deadline = time.monotonic() + FIND_SECONDS
    try:
        for found in _everywhere(ctx, jid, deadline):
            if found.entry.jid == jid:
                return found
    except OutOfTime:
        raise NotFound(
            f"job {jid} was not found within {FIND_SECONDS:g} s: look for it in the list where it may be"
        ) from None
    raise NotFound(f"there is no job {jid}: it has succeeded, or was removed")


def _everywhere(ctx: Context, jid: str, deadline: float) -> Iterator[Found]:
    totals = ctx.read_totals()
    for work in busy.running(ctx.access, [process.identity for process in totals.processes if process.busy]):
        yield Found(work.entry, "busy", work.queue, work=work)
    for kind in sets.ACTIONS:
        yield from _in_set(ctx, kind, jid, deadline)
    for queue in totals.queues:
        yield from _in_queue(Queue(queue.name, ctx.client), jid, deadline)


def _in_set(ctx: Context, kind: Kind, jid: str, deadline: float) -> Iterator[Found]:
    owner, cursor = sets.set_of(kind, ctx), 0
    while True:
        cursor, page = owner.scan_page(jid, cursor, count=_STEP)
        yield from (Found(each, kind, key=key_of(each.score, each.raw), at=each.score) for each in page)
        if not cursor:
            return
        _check(deadline)


def _in_queue(owner: Queue, jid: str, deadline: float) -> Iterator[Found]:
    wanted, offset = search_bytes(jid), 0
    while page := owner.page(offset, _STEP):
        for place, entry in enumerate(page):
            if wanted in entry.raw:
                yield Found(entry, "queue", owner.name, key_of(offset + place, entry.raw))
        offset += len(page)
        _check(deadline)


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise OutOfTime
