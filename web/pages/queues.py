"""One queue: what waits in it; pausing, clearing, deleting a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from jobd.client.entry import JobEntry
from jobd.client.processes import number
from jobd.client.queue_history import Course
from jobd.client.queues import Queue, QueueEntry
from jobd.client.scripts import raw_bytes
from jobd.web import queue_limits
from jobd.web.consumers import NOBODY, consumers
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import as_many_as_fit, job_row, key_of, read_key
from jobd.web.filters import Filter
from jobd.web.pages.many import ASK_FOR_THE_NAME, Many, wanted
from jobd.web.pages.sets import seen_values
from jobd.web.places import QUEUE_ACTIONS, RIGHTS, QueuePlace
from jobd.web.questions import Question, answer, name_of
from jobd.web.queue_charts import QUEUE_RANGES, Recorded, ask_recorded, charts
from jobd.web.queue_courses import ask_courses, drains, going
from jobd.web.search import search

ROWS = 50
"""Jobs on a page."""
ORDERS = ("oldest", "newest")
SAMPLE = 200
"""Of the newest jobs of a queue, from which its classes are told."""
_SAMPLED_BYTES = 2_000_000
"""More is not read for it: then the jobs of the page are the sample."""
_CLASSES = 8
"""Classes that are told."""
_OTHERS = 30
"""Other queues that are offered to move jobs to, the fullest first."""
_AROUND = 900
"""Jobs nearer to the end in which one is looked for that was listed further away."""
_SOME = 100
"""Jobs further away among which it is looked for too, and those that are read at once."""
_STEP_BYTES = 4_000_000
"""About so much is read at once."""
_MOST_BYTES = 64_000_000
"""After so much it is looked for no more."""


def ask_pauses(ctx: Context) -> Question[dict[str, dict[str, Any]]]:
    """Who paused each of the queues that are paused, and when."""
    names = yield lambda pipeline: pipeline.smembers(ctx.access.keys.paused)
    paused = sorted(names[0] or ())
    if not paused:
        return {}
    [notes] = yield lambda pipeline: pipeline.hmget(ctx.access.keys.paused_by, paused)
    return {name_of(name): _note(note) for name, note in zip(paused, notes or [None] * len(paused), strict=True)}


def _note(note: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(note or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {"paused_by": "", "paused_at": 0.0}
    return {"paused_by": str(found.get("by", "")), "paused_at": number(found.get("at"))}


def name_in(ctx: Context) -> str:
    """The queue that a request is about. Raises `BadRequest` without any."""
    name = ctx.query.get("name") or _from_hex(ctx.query.get("hex", "")) or ctx.path.get("name", "")
    if not name or len(name) > 1_000:
        raise BadRequest("give the name of a queue")
    return name


def _from_hex(text: str) -> str:
    """A name as forms pass it on that is no word: the bytes of it, which no field of a form could hold."""
    try:
        return name_of(bytes.fromhex(text))
    except ValueError:
        return ""


def _ask_queue(ctx: Context, name: str, offset: int, newest_first: bool) -> Question[dict[str, Any]]:
    key = raw_bytes(ctx.access.keys.queue(name))
    first, last = (offset, offset + ROWS - 1) if newest_first else (-offset - ROWS, -offset - 1)
    size, raws, next_one, known, paused, note = (
        yield lambda pipeline: (
            pipeline.llen(key)
            .lrange(key, first, last)
            .lindex(key, -1)
            .sismember(ctx.access.keys.queues, raw_bytes(name))
            .sismember(ctx.access.keys.paused, raw_bytes(name))
            .hget(ctx.access.keys.paused_by, raw_bytes(name))
        )
    )
    found = raws or []
    # A sample of large jobs would cost more than it tells.
    few = SAMPLE if sum(map(len, found)) <= _SAMPLED_BYTES / SAMPLE * len(found) else 0
    [newest] = (yield lambda pipeline: pipeline.lrange(key, 0, few - 1)) if few and found else [found]
    return {
        "size": size or 0,
        "raws": found if newest_first else found[::-1],
        "known": bool(known or size or paused),
        "paused": bool(paused),
        "latency": JobEntry(next_one).latency(ctx.access.now()) if next_one else 0.0,
        **_sampled([JobEntry(raw) for raw in newest or ()]),
        **(_note(note) if paused else {}),
    }


def _sampled(newest: Sequence[JobEntry]) -> dict[str, Any]:
    """How often each class is among the newest."""
    counts = Counter(entry.name or "?" for entry in newest).most_common(_CLASSES)
    return {"sample": len(newest), "histogram": [{"class": name, "count": count} for name, count in counts]}


def queue(ctx: Context) -> View:
    """Show the jobs of one queue, the next to be taken first or the newest, or what a search finds in it."""
    name, offset, order = name_in(ctx), ctx.number("offset"), ctx.query.get("order", "oldest")
    if order not in ORDERS:
        raise BadRequest(f"order is {order[:50]!r}; give one of {', '.join(ORDERS)}")
    filtered, owner, drawn = wanted(ctx), Queue(name, ctx.client), _range(ctx)
    asked = _ask_queue(ctx, name, 0 if filtered else offset, order == "newest")
    found, recorded, courses, limits = ctx.ask(
        asked,
        ask_recorded(ctx.access, name, drawn),
        ask_courses(ctx.access),
        queue_limits.ask(ctx.access, name),
    )
    if not found["known"]:
        raise NotFound(f"there is no queue {name}")
    found |= _history(ctx, name, found, recorded, courses.get(name), drawn)
    raws = found.pop("raws")
    listed = _search(ctx, owner, filtered, order) if filtered else _listed(ctx, owner, raws, offset, found["size"])
    actions = [each for each in ("pause", "clear", "limits", *QUEUE_ACTIONS) if ctx.may(RIGHTS.get(each, each), name)]
    data = {"name": name, "offset": offset, "order": order, "rows": ROWS, "now": ctx.access.now(), "q": str(filtered)}
    others = (each.name for each in ctx.read_totals().queues if each.name != name)
    data["other_queues"] = list(islice(filter(ctx.reach.takes, others), _OTHERS))
    data |= queue_limits.document(limits, found["size"], found["latency"])
    data |= {**found, **listed, "actions": actions, **seen_values(listed["jobs"])}
    return View("queue.html", data, "Queue")


def _range(ctx: Context) -> str:
    chosen = ctx.query.get("range", "") or "1h"
    if chosen not in QUEUE_RANGES:
        raise BadRequest(f"range is {chosen[:20]!r}; give one of {', '.join(QUEUE_RANGES)}")
    return chosen


def _history(
    ctx: Context, name: str, found: dict[str, Any], recorded: Recorded, course: Course | None, drawn: str
) -> dict[str, Any]:
    """What was recorded of a queue: its charts, and how it goes now."""
    now = ctx.access.now()
    takers = consumers(process for process in ctx.read_totals().processes if name in process.queues).get(name, NOBODY)
    goes = going(ctx.access, name, course, now, counted=takers.counted)
    future, eta = drains(found["size"], found["paused"], goes.grown if goes else None)
    return {
        "range": drawn,
        "ranges": list(QUEUE_RANGES),
        "width": QUEUE_RANGES[drawn].width,
        "charts": charts(ctx, recorded, drawn, counted=takers.counted),
        "counted": takers.counted,
        "recorded": goes is not None,
        **{each: getattr(goes, each, None) for each in ("added", "taken", "grown", "failure_rate")},
        "future_now": future,
        "eta": eta,
        "processes": takers.processes,
        "threads": takers.threads,
    }


def _listed(ctx: Context, owner: Queue, raws: list[bytes], offset: int, size: int) -> dict[str, Any]:
    entries = as_many_as_fit([QueueEntry(raw, owner) for raw in raws])
    after = offset + len(entries) if len(raws) == ROWS or len(entries) < len(raws) else None
    rows = [_row(ctx, offset + place, entry, size) for place, entry in enumerate(entries)]
    return {"jobs": rows, "next": after if after is not None and after < size else None}


def _search(ctx: Context, owner: Queue, filtered: Filter, order: str) -> dict[str, Any]:
    found = search(QueuePlace(owner), filtered, ctx, newest_first=order == "newest")
    rows = [_row(ctx, place, entry, found.size) for place, entry in found.entries]
    return {"jobs": rows, "next": None, "cursor": found.cursor, "seen": found.seen, "size": found.size}


def _row(ctx: Context, place: int, entry: JobEntry, size: int) -> dict[str, Any]:
    row = job_row(entry, ctx.masker, _key(ctx, place, entry, size))
    return {**row, "place": place + 1, "locked": not ctx.reach.takes_job(entry)}


def _key(ctx: Context, place: int, entry: JobEntry, size: int) -> str:
    """The key of a job: its place from the end that is taken first, which pushes do not move."""
    return key_of(max(size - 1 - place, 0) if ctx.query.get("order") == "newest" else place, entry.raw)


def ask_entries(owner: Queue, keys: Sequence[str]) -> Question[list[QueueEntry | None]]:
    """The jobs that keys name: where they were listed, or near there, since all that workers take brings them nearer.

    Raises `BadRequest`.
    """
    named = [_named(key) for key in keys]
    *there, newest = yield lambda pipeline: (
        [pipeline.lindex(owner.key, -place - 1) for place, _ in named],
        pipeline.lindex(owner.key, 0),
    )
    found: dict[str, QueueEntry] = {}
    for (place, digest), raw in zip(named, there, strict=True):
        if raw and _digest(raw) == digest:
            found[digest] = QueueEntry(raw, owner, place)
    moved = [(place, digest) for place, digest in named if digest not in found]
    if moved and newest:
        lengths = [len(raw) for raw in (*there, newest) if raw]
        step = int(max(1, min(_SOME, _STEP_BYTES * len(lengths) / sum(lengths))))
        yield from _ask_near(owner, moved, step, found)
    return [found.get(digest) for _, digest in named]


def _ask_near(
    owner: Queue, moved: Sequence[tuple[int, str]], step: int, found: dict[str, QueueEntry]
) -> Question[None]:
    """Look around the places of jobs that are not there, the nearest first; each part of the queue is read once."""
    missing, read = {digest for _, digest in moved}, 0
    for first in _around([place for place, _ in moved], step):
        if not missing:
            return
        if read > _MOST_BYTES:
            raise BadRequest("the jobs of this queue are too large to look for one that has moved; open the list again")
        [raws] = yield partial(_ask_window, key=owner.key, first=first, count=step)
        for place, raw in enumerate(reversed(raws or ()), first):
            read += len(raw)
            if (digest := _digest(raw)) in missing:
                missing.remove(digest)
                found[digest] = QueueEntry(raw, owner, place)


def _ask_window(pipeline: Any, key: bytes, first: int, count: int) -> None:
    pipeline.lrange(key, -first - count, -first - 1)


def _around(places: Sequence[int], step: int) -> list[int]:
    """Where the windows of `step` jobs begin in which jobs may be that were at these places."""
    blocks = []
    for far in range(_AROUND // step + 2):
        for place in places:
            blocks += [place // step - far, *([place // step + far] if far * step <= _SOME else [])]
    return [block * step for block in dict.fromkeys(blocks) if block >= 0]


def _named(key: str) -> tuple[int, str]:
    named = read_key(key)
    if named is None or not named[0] >= 0:
        raise BadRequest(f"{key[:50]!r} names no job of a queue")
    return int(min(named[0], 10**9)), named[1]


def _digest(raw: bytes) -> str:
    return key_of(0, raw).rpartition("~")[2]


def change(ctx: Context) -> View | Done:
    """Pause, resume or clear a queue, or set its alert limits; delete, move or copy some of its jobs."""
    action, name = ctx.one("action"), name_in(ctx)
    owner = Queue(name, ctx.client)
    if action in ("pause", "resume"):
        ctx.require("pause", name)
        changed = owner.pause(ctx.user.name or None) if action == "pause" else owner.resume()
        return Done(action, ctx.url("/queues"), {"moved": int(changed)})
    if action == "clear":
        ctx.require("clear", name)
        return _clear(ctx, owner)
    if action == "limits":
        return queue_limits.change(ctx, owner)
    if not {action, ctx.one("page")} & set(QUEUE_ACTIONS):
        known = ", ".join(("pause", "resume", "clear", "limits", *QUEUE_ACTIONS))
        raise BadRequest(f"action is {action[:50]!r}; give one of {known}")
    place = QueuePlace(owner)

    def find_all(keys: Sequence[str]) -> list[QueueEntry | None]:
        found: list[QueueEntry | None] = answer(ctx.access, ask_entries(owner, keys))[0]
        return found

    def address(**query: str) -> str:
        return ctx.queue_url(name, **query)

    return Many(ctx, place, f"{ctx.t('Queue')} {place.name}", QUEUE_ACTIONS, address, find_all).change()


def _clear(ctx: Context, owner: Queue) -> View | Done:
    size = owner.size
    shown = raw_bytes(owner.name).decode("utf-8", "replace")
    typed = shown if size >= ASK_FOR_THE_NAME else ""
    if ctx.one("confirmed") != "yes" or (typed and ctx.one("typed") != typed):
        data = {
            "action": "clear",
            "count": size,
            "target": shown,
            "typed": typed,
            "post": ctx.queue_url(owner.name),
            "back": ctx.url("/queues"),
            "fields": [("action", "clear")],
        }
        return View("confirm.html", data, "Confirm", status=200 if ctx.for_people else 409)
    return Done("clear", ctx.url("/queues"), {"moved": owner.clear()})
