"""One job by its id: what became of it and when, all that it holds, where it is, and what can be done with it there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobd.client import metric_keys
from jobd.client.entry import JobEntry, search_bytes
from jobd.client.metric_keys import BUCKETS, MINUTE
from jobd.client.metrics import JobMetrics, buckets, unpack
from jobd.client.processes import Work, number
from jobd.client.queues import Queue
from jobd.client.scripts import raw_bytes
from jobd.web import causes, copies, story
from jobd.web.context import BadRequest, Context, MustSearch, NotFound, View
from jobd.web.documents import holds_hidden, job_detail, key_of
from jobd.web.masking import Masker, Open
from jobd.web.pages import busy, edit, queues, sets
from jobd.web.places import ACTIONS, Kind
from jobd.web.questions import Question, answer
from jobd.web.reach import queues_of

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

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that the job is of, that from which it was taken with them."""
        return (*queues_of(self.entry), *([self.queue] if self.place in ("queue", "busy") else []))


class OutOfTime(Exception):
    """The search has used up its time."""


def job(ctx: Context) -> View:
    """Show the job of which an id, or the key in its list, is given."""
    found, figures = _find(ctx)
    return _view(ctx, found, figures, ctx.masker)


def change(ctx: Context) -> View:
    """Show the job with what is hidden of it elsewhere, and change nothing."""
    if ctx.one("action") != "reveal":
        raise BadRequest(f"action is {ctx.one('action')[:50]!r}; give reveal")
    ctx.require_somewhere("reveal")
    found, figures = _find(ctx)
    ctx.require("reveal", *found.queues)
    view = _view(ctx, found, figures, Open())
    return replace(view, revealed=found.entry.jid or found.key)


def _find(ctx: Context) -> tuple[Found, Any]:
    """The job, and the figures of its class."""
    place, key = ctx.query.get("in", ""), ctx.query.get("key", "")
    found, figures = _named(ctx, place, key) if place and key else (None, None)
    if found is None:
        if not ctx.may_search:
            raise MustSearch("the job is not where it was: load this page again to have it looked for")
        found = _by_jid(ctx, ctx.path.get("jid", ""))
        [figures] = answer(ctx.access, _ask_figures(ctx, found.entry.name))
    return found, figures


def _view(ctx: Context, found: Found, figures: Any, masker: Masker) -> View:
    totals = ctx.read_totals()
    jobds = {each.identity for each in totals.processes if each.is_jobds} if found.work else ()
    actions: tuple[str, ...] = ()
    if found.place in ACTIONS:
        actions = ACTIONS[found.place]
    elif found.place == "queue":
        actions = ("delete",)
    whole = ctx.query.get("whole", "") == "yes"
    shown = job_detail(found.entry, masker, found.key, found.at, whole=whole)
    actions = tuple(each for each in actions if ctx.may(each, *found.queues))
    data: dict[str, Any] = {
        "place": found.place,
        "in_queue": found.queue,
        "actions": list(actions),
        "job": shown,
        "work": busy.document(found.work, masker) if found.work else None,
        "may_cancel": found.work is not None and busy.may_cancel(found.work, ctx, jobds),
        "class_now": figures,
        **_told(ctx, found, shown, actions, masker),
        **_hiding(ctx, found, shown, masker),
        "now": ctx.access.now(),
    }
    return View("job.html", data, "Job")


def _told(ctx: Context, found: Found, shown: dict[str, Any], actions: Sequence[str], masker: Masker) -> dict[str, Any]:
    """What can be made of the payload as it is `shown`; addresses get no secret, whatever is shown."""
    entry = found.entry
    at = found.work.run_at if found.work else found.at
    told = causes.tell(entry, ctx.masker)
    runs = next((each for each in ("retry", "enqueue") if each in actions), "")
    request = copies.request(ctx.url(f"/api/v1/{found.place}"), runs, found.key) if runs else ""
    return {
        "timeline": [asdict(event) for event in story.timeline(entry, found.place, shown["at"] if at is None else at)],
        "attempts": asdict(story.attempts(entry, found.at if found.place == "retries" else None)),
        "backtrace": asdict(story.backtrace(shown["error_backtrace"], ctx.shared.sources)),
        "cause": causes.search(entry, told) if entry.error_class or entry.error_message else "",
        "cause_id": told.cause,
        **asdict(copies.copies(entry, shown, masker, found.place, request)),
        "links": ctx.shared.links.of(entry),
        **_editing(ctx, found),
    }


def _hiding(ctx: Context, found: Found, shown: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """The address that shows what is hidden, for whom may see it, and the one that hides it again."""
    name = raw_bytes(found.queue) if found.place == "queue" else ""
    where = {"in": found.place, "key": found.key, "name": name} if found.key else {}
    address = ctx.job_url(
        ctx.masker.text(found.entry.jid), **where, whole="yes" if ctx.query.get("whole", "") == "yes" else ""
    )
    may_see = ctx.may("reveal", *found.queues) and not masker.reveals and holds_hidden(shown)
    return {"revealed": masker.reveals, "reveal": address if may_see else "", "hide": address if masker.reveals else ""}


def _editing(ctx: Context, found: Found) -> dict[str, Any]:
    """The address at which it is run with other arguments, or why it is not."""
    if not ctx.may("retry", *found.queues) or found.place == "busy":
        return {"edit": "", "not_edited": ""}
    if problem := edit.refusal(found.entry, ctx.masker):
        return {"edit": "", "not_edited": ctx.t(problem)}
    name = raw_bytes(found.queue) if found.place == "queue" else ""
    return {"edit": ctx.url("/edit", **{"in": found.place, "key": found.key, "name": name}), "not_edited": ""}


def _named(ctx: Context, place: str, key: str) -> tuple[Found | None, Any]:
    if place not in (*ACTIONS, "queue"):
        raise BadRequest(f"in is {place[:50]!r}; give one of {', '.join(ACTIONS)}, queue")
    if place == "queue" and not ctx.query.get("name", ""):
        return None, None
    found: tuple[Found | None, Any] = ctx.ask(_ask_named(ctx, place, key))[0]
    return found


def _ask_named(ctx: Context, place: str, key: str) -> Question[tuple[Found | None, Any]]:
    """The job that a key names, and the figures of its class."""
    found = None
    if place in ACTIONS:
        entry = yield from sets.ask_entry(sets.set_of(place, ctx), key)
        found = Found(entry, place, key=key, at=entry.score) if entry else None
    else:
        name = ctx.query.get("name", "")
        [waiting] = yield from queues.ask_entries(Queue(name, ctx.client), [key])
        found = Found(waiting, "queue", name, key_of(waiting.place, waiting.raw)) if waiting else None
    return found, (yield from _ask_figures(ctx, found.entry.name)) if found else None


def _ask_figures(ctx: Context, name: str) -> Question[dict[str, Any] | None]:
    """How the class did in the last hour; None when it did not run, or has no figures of its own."""
    if not metric_keys.is_countable(name):
        return None
    keys, fields = ctx.access.keys, [raw_bytes(field) for field in metric_keys.fields(name)]
    _, starts = buckets("1h", ctx.access.now())
    counters = [slot for at in starts for slot in (metric_keys.slot(at, MINUTE), metric_keys.old_slot(at))]
    histograms = [keys.histogram(metric_keys.histogram_slot(name, at)) for at in starts]
    histograms += [keys.old_histogram(slot) for at in starts for slot in metric_keys.old_histogram_slots(name, at)]

    def ask(pipeline: Any) -> None:
        for slot in counters:
            pipeline.hmget(keys.metrics(slot), fields)
        pipeline.mget([raw_bytes(key) for key in histograms])

    *told, values = yield ask
    sums = [int(sum(number(each[kind]) for each in told if each)) for kind in range(3)]
    if not sums[0]:
        return None
    counts = [0] * BUCKETS
    for value in filter(None, values or ()):
        counts = [before + more for before, more in zip(counts, unpack(value), strict=True)]
    metrics = JobMetrics(name, [sums[0]], [sums[1]], [sums[2]], [counts])
    known = sum(counts) > 0
    percentiles = {f"p{p}": metrics.percentile(p).milliseconds if known else None for p in (50, 95)}
    return {"executed": sums[0], "failed": sums[1], "failure_rate": sums[1] / sums[0], **percentiles}


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
    for kind in ACTIONS:
        yield from _in_set(ctx, kind, jid, deadline)
    for queue in totals.queues:
        if queue.size:
            yield from _in_queue(Queue(queue.name, ctx.client), jid, deadline)


def _in_set(ctx: Context, kind: Kind, jid: str, deadline: float) -> Iterator[Found]:
    owner, cursor = sets.set_of(kind, ctx), 0
    if not sets.place_of(kind, ctx).size():
        return  # or no sorted set at all
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
