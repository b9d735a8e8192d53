"""One job with other arguments: the form, and the push of what it makes as a job of its own.

A job that holds a secret is not edited: it would go along unseen with whatever address is typed beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobd.client import edits
from jobd.client import payload as wire
from jobd.client.entry import JobEntry
from jobd.client.errors import InvalidArguments, InvalidPayload, JobdError, MalformedPayload
from jobd.client.queues import Queue, QueueEntry
from jobd.client.scripts import raw_bytes
from jobd.client.sets import SetEntry
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import LARGE
from jobd.web.masking import Masker
from jobd.web.pages import queues, sets
from jobd.web.places import ACTIONS
from jobd.web.questions import Question, answer
from jobd.web.reach import queues_of

GONE = "The job is gone: it has run, or somebody has changed or moved it. Nothing was pushed."
REFUSALS = {
    "damaged": "It is no job, so it cannot be edited.",
    "large": "It is larger than 256 kB, so it is not edited here.",
    "rails": "Rails has encoded its arguments, so they are not edited here.",
    "secret": "It holds secrets, which are hidden here, so it is not edited.",
}


class Wrong(Exception):
    """What was typed cannot be pushed; the message says why."""


def refusal(entry: JobEntry, masker: Masker) -> str:
    """Why a job is not edited; empty when it may be."""
    if entry.malformed:
        return REFUSALS["damaged"]
    if len(entry.raw) > LARGE:
        return REFUSALS["large"]
    if wire.is_active_job(entry.payload):
        return REFUSALS["rails"]
    # All that goes along into the new job, not the arguments alone.
    known = {name: value for name, value in entry.payload.items() if name not in edits.LEFT} | {"kwargs": entry.kwargs}
    return "" if masker.payload(entry.payload, known) == known else REFUSALS["secret"]


def show(ctx: Context) -> View:
    """Show the form with the arguments of a job; who may not retry it sees them alone."""
    [entry] = ctx.ask(_ask_entry(ctx))
    if entry is None:
        raise NotFound("the job is gone: it has run, or somebody has moved it")
    if problem := refusal(entry, ctx.masker):
        raise JobdError(ctx.t(problem))
    typed = {"args": _text(entry.args), "kwargs": _text(entry.kwargs)}
    return _form(ctx, entry, typed, delete=_may(ctx, "delete", entry))


def change(ctx: Context) -> View | Done:
    """Push the job with what was typed; what cannot be pushed stays in the form, which says why."""
    if ctx.one("action") != "edit":
        raise BadRequest(f"action is {ctx.one('action')[:50]!r}; give edit")
    rights = ("retry", "delete") if (delete := ctx.one("delete") == "yes") else ("retry",)
    for right in rights:
        ctx.require_somewhere(right)
    typed = {"args": ctx.one("args"), "kwargs": ctx.one("kwargs") or "{}"}
    [entry] = answer(ctx.access, _ask_entry(ctx))
    if entry is not None:
        for right in rights:
            ctx.require_job(right, entry)
        if problem := refusal(entry, ctx.masker):
            raise JobdError(ctx.t(problem))
    try:
        args, kwargs = read(typed["args"], "args", list), read(typed["kwargs"], "kwargs", dict)
        jid = edits.run_edited(entry, args, kwargs, delete=delete) if entry else None
    except (Wrong, InvalidArguments, InvalidPayload, MalformedPayload) as error:
        if not ctx.for_people:
            raise BadRequest(ctx.masker.text(str(error))) from None
        return _form(ctx, entry, typed, delete=delete, error=ctx.masker.text(str(error)), status=400)
    if entry is None or jid is None:
        if not ctx.for_people:
            raise NotFound(GONE)
        return _form(ctx, None, typed, delete=delete, error=ctx.t(GONE), status=404)
    target = f"{entry.jid} into {jid}" + (", and deleted" if delete else "")
    return Done("edit", _list_of(ctx), {"moved": 1}, target=target, jid=jid)


def read(text: str, name: str, kind: type) -> Any:
    """A value of JSON as it was typed. Raises `Wrong`, naming the place and what would be right."""
    wanted = 'an array such as [1, "two"]' if kind is list else 'an object such as {"to": "ann"}'
    if (size := len(text.encode("utf-8", "surrogateescape"))) > LARGE:
        raise Wrong(f"{name} has {size:,} bytes; give at most {LARGE:,}")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, character {error.colno}"
        raise Wrong(f"{name} is no JSON at {at}: {error.msg}; give {wanted}") from None
    except (ValueError, RecursionError):
        raise Wrong(f"{name} is no JSON that can be read: a number is too long, or it is too deep") from None
    if not isinstance(found, kind):
        raise Wrong(f"{name} is {text.strip()[:50]!r}; give {wanted}")
    return found


def _place(ctx: Context) -> tuple[str, str]:
    place, name = (ctx.one(field) or ctx.query.get(field, "") for field in ("in", "name"))
    if place not in (*ACTIONS, "queue"):
        raise BadRequest(f"in is {place[:50]!r}; give one of {', '.join(ACTIONS)}, queue")
    if place == "queue" and not name:
        raise BadRequest("name is missing; give that of the queue")
    return place, name


def _ask_entry(ctx: Context) -> Question[SetEntry | QueueEntry | None]:
    place, name = _place(ctx)
    key = ctx.one("key") or ctx.query.get("key", "")
    if place in ACTIONS:
        return (yield from sets.ask_entry(sets.set_of(place, ctx), key))
    [found] = yield from queues.ask_entries(Queue(name, ctx.client), [key])
    return found


def _form(
    ctx: Context,
    entry: JobEntry | None,
    typed: Mapping[str, str],
    *,
    delete: bool,
    error: str = "",
    status: int = 200,
) -> View:
    place, name = _place(ctx)
    key = ctx.one("key") or ctx.query.get("key", "")
    where = {"in": place, "key": key, "name": raw_bytes(name) if place == "queue" else ""}
    jid = entry.jid if entry else ""
    data = {
        "place": place,
        "key": key,
        "jid": ctx.masker.text(jid),
        "name": ctx.masker.text(entry.name) if entry else "",
        "queue": ctx.masker.text(entry.queue) if entry else "",
        **typed,
        "may": _may(ctx, "retry", entry),
        "may_delete": _may(ctx, "delete", entry),
        "delete": delete,
        "error": error,
        "post": ctx.url("/edit", **where),
        "back": ctx.job_url(jid, **where) if entry else _list_of(ctx),
    }
    return View("edit.html", data, "Edit and run as a new job", status)


def _may(ctx: Context, right: str, entry: JobEntry | None) -> bool:
    """Whether the user may do this to a job; of one that is gone, whether to some."""
    return right in ctx.allowed if entry is None else ctx.may(right, *queues_of(entry))


def _list_of(ctx: Context) -> str:
    place, name = _place(ctx)
    return ctx.queue_url(name) if place == "queue" else ctx.url(f"/{place}")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
