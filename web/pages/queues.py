"""Queues: how full they are, what waits in one; pausing, clearing, deleting a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from jobd.client.entry import JobEntry
from jobd.client.processes import number
from jobd.client.queues import Queue, QueueEntry
from jobd.client.scripts import raw_bytes
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import as_many_as_fit, job_row, key_of, read_key
from jobd.web.filters import Filter
from jobd.web.pages.many import ASK_FOR_THE_NAME, Many, wanted
from jobd.web.pages.sets import seen_values
from jobd.web.places import QueuePlace
from jobd.web.questions import Question, answer, name_of
from jobd.web.search import search

QUEUES = 100
ROWS = 50
"""Queues, and jobs of one, on a page."""
ORDERS = ("oldest", "newest")
SAMPLE = 200
"""Of the newest jobs of a queue, from which its classes are told."""
_SAMPLED_BYTES = 2_000_000
"""More is not read for it: then the jobs of the page are the sample."""
_CLASSES = 8
"""Classes that are told."""
_AROUND = 900
"""Jobs nearer to the end in which one is looked for that was listed further away."""
_SOME = 100


def queues(ctx: Context) -> View:
    """Show the queues, the fullest first."""
    offset = ctx.number("offset")
    [notes] = ctx.ask(_ask_pauses(ctx))
    totals = ctx.read_totals()
    served: dict[str, int] = {}
    for process in totals.processes:
        for name in process.queues if not process.quiet else ():
            served[name] = served.get(name, 0) + 1
    rows = [
        {
            "name": queue.name,
            "size": queue.size,
            "latency": queue.latency,
            "paused": queue.paused,
            "processes": served.get(queue.name, 0),
            **(notes.get(queue.name, {}) if queue.paused else {}),
        }
        for queue in totals.queues[offset : offset + QUEUES]
    ]
    after = offset + QUEUES if offset + QUEUES < len(totals.queues) else None
    data = {"queues": rows, "count": len(totals.queues), "offset": offset, "next": after}
    return View("queues.html", data, "Queues")


def _ask_pauses(ctx: Context) -> Question[dict[str, dict[str, Any]]]:
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
    filtered, owner = wanted(ctx), Queue(name, ctx.client)
    [found] = ctx.ask(_ask_queue(ctx, name, 0 if filtered else offset, order == "newest"))
    if not found["known"]:
        raise NotFound(f"there is no queue {name}")
    raws = found.pop("raws")
    listed = _search(ctx, owner, filtered, order) if filtered else _listed(ctx, owner, raws, offset, found["size"])
    actions = [each for each in ("pause", "clear", "delete") if each in ctx.allowed]
    data = {"name": name, "offset": offset, "order": order, "rows": ROWS, "now": ctx.access.now(), "q": str(filtered)}
    data |= {**found, **listed, "actions": actions, **seen_values(listed["jobs"])}
    return View("queue.html", data, "Queue")


def _listed(ctx: Context, owner: Queue, raws: list[bytes], offset: int, size: int) -> dict[str, Any]:
    entries = as_many_as_fit([QueueEntry(raw, owner) for raw in raws])
    after = offset + len(entries) if len(raws) == ROWS or len(entries) < len(raws) else None
    rows = [
        {**job_row(entry, ctx.masker, _key(ctx, offset + place, entry, size)), "place": offset + place + 1}
        for place, entry in enumerate(entries)
    ]
    return {"jobs": rows, "next": after if after is not None and after < size else None}


def _search(ctx: Context, owner: Queue, filtered: Filter, order: str) -> dict[str, Any]:
    found = search(QueuePlace(owner), filtered, ctx, newest_first=order == "newest")
    rows = [
        {**job_row(entry, ctx.masker, _key(ctx, place, entry, found.size)), "place": place + 1}
        for place, entry in found.entries
    ]
    return {"jobs": rows, "next": None, "cursor": found.cursor, "seen": found.seen, "size": found.size}


def _key(ctx: Context, place: int, entry: JobEntry, size: int) -> str:
    """The key of a job: its place from the end that is taken first, which pushes do not move."""
    return key_of(max(size - 1 - place, 0) if ctx.query.get("order") == "newest" else place, entry.raw)


def ask_entry(ctx: Context, name: str, key: str) -> Question[QueueEntry | None]:
    """The job that a key names: near where it was listed, since all that the workers take brings it nearer.

    Raises `BadRequest`.
    """
    named = read_key(key)
    if named is None or named[0] < 0:
        raise BadRequest(f"{key[:50]!r} names no job of a queue")
    owner, offset = Queue(name, ctx.client), int(min(named[0], 10**9))
    first = max(offset - _AROUND, 0)
    [raws] = yield lambda pipeline: pipeline.lrange(owner.key, -(offset + _SOME), -(first + 1))
    near = (raws or [])[::-1]
    found = (place for place, raw in enumerate(near) if key_of(0, raw).endswith(f"~{named[1]}"))
    return next((QueueEntry(near[place], owner, first + place) for place in found), None)


def change(ctx: Context) -> View | Done:
    """Pause, resume or clear a queue, or delete one of its jobs."""
    action, name = ctx.one("action"), name_in(ctx)
    owner = Queue(name, ctx.client)
    if action in ("pause", "resume"):
        ctx.require("pause")
        changed = owner.pause(ctx.user.name or None) if action == "pause" else owner.resume()
        return Done(action, ctx.url("/queues"), {"moved": int(changed)})
    if action == "clear":
        ctx.require("clear")
        return _clear(ctx, owner)
    if "delete" not in (action, ctx.one("page")):
        raise BadRequest(f"action is {action[:50]!r}; give one of pause, resume, clear, delete")
    place = QueuePlace(owner)

    def find_all(keys: Sequence[str]) -> list[QueueEntry | None]:
        return answer(ctx.access, *(ask_entry(ctx, name, key) for key in keys))

    def address(**query: str) -> str:
        return ctx.queue_url(name, **query)

    return Many(ctx, place, f"{ctx.t('Queue')} {place.name}", ("delete",), address, find_all).change()


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
