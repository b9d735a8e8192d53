"""Queues: how full they are, what waits in one; pausing, clearing, deleting a job."""

from __future__ import annotations

from typing import Any

import msgspec

from jobd.client.processes import number
from jobd.client.queues import Queue, QueueEntry
from jobd.client.scripts import raw_bytes
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import job_row, key_of, read_key
from jobd.web.questions import Question, answer, name_of

QUEUES = 100
ROWS = 50
"""Queues, and jobs of one, on a page."""
ASK_FOR_THE_NAME = 1_000
"""Jobs from which on clearing asks to type the name."""
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
    name = ctx.query.get("name") or ctx.path.get("name", "")
    if not name or len(name) > 1_000:
        raise BadRequest("give the name of a queue")
    return name


def _ask_queue(ctx: Context, name: str, offset: int) -> Question[dict[str, Any]]:
    key = raw_bytes(ctx.access.keys.queue(name))
    size, raws, known, paused, note = (
        yield lambda pipeline: (
            pipeline.llen(key)
            .lrange(key, -offset - ROWS, -offset - 1)
            .sismember(ctx.access.keys.queues, raw_bytes(name))
            .sismember(ctx.access.keys.paused, raw_bytes(name))
            .hget(ctx.access.keys.paused_by, raw_bytes(name))
        )
    )
    found = (raws or [])[::-1]
    pause = _note(note) if paused else {}
    return {"size": size or 0, "raws": found, "known": bool(known or size or paused), "paused": bool(paused), **pause}


def queue(ctx: Context) -> View:
    """Show the jobs of one queue, the next to be taken first."""
    name, offset = name_in(ctx), ctx.number("offset")
    [found] = ctx.ask(_ask_queue(ctx, name, offset))
    if not found["known"]:
        raise NotFound(f"there is no queue {name}")
    owner = Queue(name, ctx.client)
    rows = [
        job_row(QueueEntry(raw, owner), ctx.masker, key_of(offset + place, raw))
        for place, raw in enumerate(found.pop("raws"))
    ]
    after = offset + ROWS if offset + ROWS < found["size"] else None
    data = {"name": name, "offset": offset, "next": after, "rows": ROWS, "now": ctx.access.now(), "jobs": rows, **found}
    return View("queue.html", data, "Queue")


def find(ctx: Context, name: str, key: str) -> QueueEntry | None:
    """The job that a key names: near where it was listed, since all that the workers take brings it nearer."""
    return answer(ctx.access, ask_entry(ctx, name, key))[0]  # type: ignore[no-any-return]


def ask_entry(ctx: Context, name: str, key: str) -> Question[QueueEntry | None]:
    """The same among the questions of a page. Raises `BadRequest`."""
    named = read_key(key)
    if named is None or named[0] < 0:
        raise BadRequest(f"{key[:50]!r} names no job of a queue")
    owner, offset = Queue(name, ctx.client), int(min(named[0], 10**9))
    first = max(offset - _AROUND, 0)
    [raws] = yield lambda pipeline: pipeline.lrange(owner.key, -(offset + _SOME), -(first + 1))
    found = (raw for raw in raws or () if key_of(0, raw).endswith(f"~{named[1]}"))
    return next((QueueEntry(raw, owner) for raw in found), None)


def change(ctx: Context) -> View | Done:
    """Pause, resume or clear a queue, or delete one of its jobs."""
    action, name = ctx.one("action"), name_in(ctx)
    owner = Queue(name, ctx.client)
    back = ctx.queue_url(name)
    if action in ("pause", "resume"):
        ctx.require("pause")
        changed = owner.pause(ctx.user.name or None) if action == "pause" else owner.resume()
        return Done(action, ctx.url("/queues"), {"moved": int(changed)})
    if action == "delete":
        ctx.require("delete")
        entry = find(ctx, name, ctx.one("key"))
        deleted = entry is not None and entry.delete()
        return Done(action, back, {"moved": int(deleted), "gone": int(not deleted)})
    if action == "clear":
        ctx.require("clear")
        return _clear(ctx, owner)
    raise BadRequest(f"action is {action[:50]!r}; give one of pause, resume, clear, delete")


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
